"""The zip files that PyTorch writes since 1.6: data.pkl, and a member for each storage."""

from __future__ import annotations

import io
import zipfile
import zlib
from functools import partial
from typing import Any, BinaryIO

from ..._source import Source
from .._files import FormatError, checked, size_limit
from .._recognise_ours import ZIP, torch_root
from ._pickle_machine import Machine
from ._storages import Storage, StorageId, persistent

LOCAL_HEADER_BYTES = 30  # before the member's name, which stands here a second time
PACK_AGAIN = (
    "PyTorch never does that: unpack it, and pack its folder again without compression, `zip -0 -r "
    "model.pt FOLDER`"
)
ENCRYPTED = 1  # a flag
PIECE_BYTES = 1 << 20


class Archive:
    """An open archive whose sizes are checked; values are read with the file, never mapped.

    A mapped file that another process cuts short ends ours with SIGBUS.
    """

    def __init__(self, source: Source, file: BinaryIO) -> None:
        """Look at the list of members.

        Raises:
            FormatError: it is damaged, or no archive of PyTorch's.
        """
        self.source = source
        self.file = file
        self.size_bytes = size_limit(source)
        try:
            self._zip = zipfile.ZipFile(file)
        except Exception as error:  # zipfile has many errors for damaged files
            text = error or type(error).__name__
            raise FormatError(f"{source}: damaged zip file: {text}") from error
        root = torch_root(self._zip.namelist())
        if root is None:
            raise FormatError(
                f"{source}: there is no data.pkl in it, as torch.save and torch.jit.save write; an "
                "exported program (.pt2) has none: save its module's state_dict() with torch.save"
            )
        self.root: str = root
        members = self._zip.infolist()
        self.members = {member.filename: member for member in members}
        if len(self.members) != len(members):
            raise FormatError(f"{source}: damaged zip file: two of its members have the same name")
        if sum(member.file_size for member in members) > self.size_bytes:
            raise FormatError(f"{source}: its members claim more bytes than the file can hold")
        self._places: dict[str, tuple[int, int]] = {}
        self.is_script = f"{root}constants.pkl" in self.members
        self.is_compressed = any(one.compress_type != zipfile.ZIP_STORED for one in members)
        self.is_big_endian = self._order() == b"big"

    def _order(self) -> bytes:
        """Return the order of bytes, which files before PyTorch 2.1 do not say."""
        name = f"{self.root}byteorder"
        if name not in self.members:
            return b"little"
        with checked(self.source, name):
            order = self._read(name)
            if order not in (b"little", b"big"):
                raise ValueError(f"{order[:20]!r} is not an order of bytes")
            return order

    def load(self, name: str = "data.pkl") -> Any:
        """Return what one of its pickles holds.

        Raises:
            ValueError: it is damaged, or larger than a file of this size may be.
            OSError: of the file.
        """
        data = self._read(f"{self.root}{name}")
        return Machine(io.BytesIO(data), len(data), self._persistent).load()

    def _persistent(self, value: Any) -> Any:
        return persistent(value, self._storage)

    def _storage(self, known: StorageId) -> Storage:
        read = partial(self._read_storage, known.key)
        member = self.members.get(f"{self.root}data/{known.key}")
        claimed = known.count * known.item_bytes
        size = claimed if member is None else member.file_size  # the first cannot be read anyway
        return Storage(known.dtype, size, read, self.is_big_endian)

    def _read_storage(self, key: str, start: int, count: int) -> bytes:
        return self._read(f"{self.root}data/{key}", start, count)

    def _read(self, name: str, start: int = 0, count: int | None = None) -> bytes:
        """Return some of a member's bytes.

        Raises:
            ValueError: it is missing, damaged or cut short.
            OSError: of the file.
        """
        begin, size_bytes = self._checked(name)
        count = max(0, size_bytes - start) if count is None else count
        if start + count > size_bytes:
            raise ValueError(f"damaged: {name} has {size_bytes} bytes, not {start + count}")
        return self._take(name, begin + start, count)

    def _take(self, name: str, begin: int, count: int) -> bytes:
        if not 0 <= begin < 2**63:
            raise ValueError(f"damaged: {name} is not where it should be")
        self.file.seek(begin)
        data = self.file.read(count)
        if len(data) != count:
            raise ValueError(f"damaged: the file ends within {name}")
        return data

    def _checked(self, name: str) -> tuple[int, int]:
        """Return where a member's bytes begin in the file, and how many there are."""
        if name in self._places:
            return self._places[name]
        member = self.members.get(name)
        if member is None:
            raise ValueError(f"damaged: there is no {name} in it")
        if member.flag_bits & ENCRYPTED:
            raise ValueError(f"{name} is encrypted; PyTorch never does that")
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise ValueError(f"{name} is compressed; {PACK_AGAIN}")
        header = self._take(name, member.header_offset, LOCAL_HEADER_BYTES)
        if not header.startswith(ZIP):
            raise ValueError(f"damaged: {name} is not where it should be")
        begin = member.header_offset + LOCAL_HEADER_BYTES
        for length in (header[26:28], header[28:30]):  # of the name, and of what pads it
            begin += int.from_bytes(length, "little")
        self._check_sum(name, member, begin)
        self._places[name] = begin, member.file_size
        return self._places[name]

    def _check_sum(self, name: str, member: zipfile.ZipInfo, begin: int) -> None:
        """Compare the bytes with their CRC-32, which PyTorch leaves at 0 where it is told to."""
        found = 0
        for start in range(0, member.file_size, PIECE_BYTES):
            count = min(PIECE_BYTES, member.file_size - start)
            found = zlib.crc32(self._take(name, begin + start, count), found)
        if member.CRC not in (0, found):
            raise ValueError(f"damaged: the checksum of {name} is wrong")
