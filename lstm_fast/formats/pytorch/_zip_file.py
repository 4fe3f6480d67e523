"""The zip files that PyTorch writes since 1.6: data.pkl, and a member for each storage."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

from .._files import FormatError, checked
from .._recognise_ours import torch_root
from ._members import Members
from ._pickle_machine import Machine
from ._storages import Storage, StorageId, persistent


class Archive:
    """An open archive that `torch.save` or `torch.jit.save` wrote."""

    def __init__(self, members: Members) -> None:
        """Look at the list of members.

        Raises:
            FormatError: it is damaged, or no archive of PyTorch's.
        """
        self.source, self._all = members.source, members
        self.members, self.is_compressed = members.members, members.is_compressed
        source = self.source
        root = torch_root(self.members)
        if root is None:
            raise FormatError(
                f"{source}: there is no data.pkl in it, as torch.save and torch.jit.save write"
            )
        self.root: str = root
        self.is_script = f"{root}constants.pkl" in self.members
        self.is_big_endian = self._order() == b"big"

    def _order(self) -> bytes:
        """Return the order of bytes, which files before PyTorch 2.1 do not say."""
        name = f"{self.root}byteorder"
        if name not in self.members:
            return b"little"
        with checked(self.source, name):
            order = self._all.read(name, 0, min(self._all.size(name), 20))
            if order not in (b"little", b"big"):
                raise ValueError(f"{order!r} is not an order of bytes")
            return order

    def load(self, name: str = "data.pkl") -> Any:
        """Return what one of its pickles holds.

        Raises:
            ValueError: it is damaged, or larger than a file of this size may be.
            OSError: of the file.
        """
        budget, path = self.source.budget, f"{self.root}{name}"
        size = self._all.size(path)
        budget.memory(size, name)
        file = io.BytesIO(self._all.read(path))
        try:
            return Machine(file, size, budget, self._persistent).load()
        finally:
            budget.give_back(size)

    def _persistent(self, value: Any) -> Any:
        return persistent(value, self._storage)

    def _storage(self, known: StorageId) -> Storage:
        read = partial(self._read_storage, known.key)
        member = self.members.get(f"{self.root}data/{known.key}")
        claimed = known.count * known.item_bytes
        size = claimed if member is None else member.file_size  # the first cannot be read anyway
        return Storage(known.key, known.dtype, size, read, self.is_big_endian)

    def _read_storage(self, key: str, start: int, count: int) -> bytes:
        return self._all.read(f"{self.root}data/{key}", start, count)
