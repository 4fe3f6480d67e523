"""The members of zip files that PyTorch writes: stored as they are, each with its checksum."""

from __future__ import annotations

import zipfile
import zlib
from typing import BinaryIO

from ..._shown import plain
from ..._source import Source
from .. import _zip
from .._files import FormatError
from .._recognise_ours import ZIP

LOCAL_HEADER_BYTES = 30  # before the member's name, which is here a second time
PACK_AGAIN = (
    "PyTorch never does that: unpack it, and pack its folder again without compression, `zip -0 -r "
    "model.pt FOLDER`"
)
ENCRYPTED = 1  # a flag
PIECE_BYTES = 1 << 20
STEPS_A_BYTE = 0.001  # for a checksum


class Members:
    """An open zip file whose sizes are checked; values are read with the file, never mapped.

    A mapped file that another process cuts short ends ours with SIGBUS.
    """

    def __init__(self, source: Source, file: BinaryIO) -> None:
        """Look at the list of members.

        Raises:
            FormatError: it is damaged.
        """
        self.source = source
        self.file = file
        try:
            with _zip.opened(source, file) as archive:
                members = archive.infolist()
        except FormatError:
            raise
        except Exception as error:  # zipfile has many errors for damaged files
            text = error or type(error).__name__
            raise FormatError(f"{source}: damaged zip file: {text}") from error
        source.budget.memory(_zip.ENTRY_MEMORY * len(members), "its list of members")
        self.members = {member.filename: member for member in members}
        if len(self.members) != len(members):
            raise FormatError(f"{source}: damaged zip file: two of its members have the same name")
        plain = [one for one in members if one.compress_type == zipfile.ZIP_STORED]
        if sum(member.file_size for member in plain) > source.size:
            raise FormatError(f"{source}: its members claim more bytes than the file can hold")
        self.is_compressed = len(plain) < len(members)
        self._places: dict[str, tuple[int, int]] = {}

    def size(self, name: str) -> int:
        """Return how many bytes a member has.

        Raises:
            ValueError: it is missing or damaged.
            OSError: of the file.
        """
        return self._checked(name)[1]

    def read(self, name: str, start: int = 0, count: int | None = None) -> bytes:
        """Return some of a member's bytes.

        Raises:
            ValueError: it is missing, damaged or cut short.
            OSError: of the file.
        """
        begin, size_bytes = self._checked(name)
        count = max(0, size_bytes - start) if count is None else count
        if start + count > size_bytes:
            raise ValueError(f"damaged: {plain(name)} has {size_bytes} bytes, not {start + count}")
        return self._take(name, begin + start, count)

    def _take(self, name: str, begin: int, count: int) -> bytes:
        if not 0 <= begin < 2**63:
            raise ValueError(f"damaged: {plain(name)} is not where it should be")
        self.file.seek(begin)
        data = self.file.read(count)
        if len(data) != count:
            raise ValueError(f"damaged: the file ends within {plain(name)}")
        return data

    def _checked(self, name: str) -> tuple[int, int]:
        """Return where a member's bytes begin in the file, and how many there are."""
        if name in self._places:
            return self._places[name]
        member = self.members.get(name)
        if member is None:
            raise ValueError(f"damaged: there is no {plain(name)} in it")
        if member.flag_bits & ENCRYPTED:
            raise ValueError(f"{plain(name)} is encrypted; PyTorch never does that")
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise ValueError(f"{plain(name)} is compressed; {PACK_AGAIN}")
        header = self._take(name, member.header_offset, LOCAL_HEADER_BYTES)
        if not header.startswith(ZIP):
            raise ValueError(f"damaged: {plain(name)} is not where it should be")
        begin = member.header_offset + LOCAL_HEADER_BYTES
        for length in (header[26:28], header[28:30]):  # of the name, and of what pads it
            begin += int.from_bytes(length, "little")
        self._check_sum(name, member, begin)
        self._places[name] = begin, member.file_size
        return self._places[name]

    def _check_sum(self, name: str, member: zipfile.ZipInfo, begin: int) -> None:
        """Compare the bytes with their CRC-32, which PyTorch leaves at 0 where it is told to."""
        found = 0
        self.source.budget.work(STEPS_A_BYTE * member.file_size, "its checksums")
        for start in range(0, member.file_size, PIECE_BYTES):
            count = min(PIECE_BYTES, member.file_size - start)
            found = zlib.crc32(self._take(name, begin + start, count), found)
        if member.CRC not in (0, found):
            raise ValueError(f"damaged: the checksum of {plain(name)} is wrong")
