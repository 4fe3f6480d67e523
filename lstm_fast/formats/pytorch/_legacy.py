"""What PyTorch wrote before 1.6, and writes where it is told to: pickles, then raw storages.

There are five pickles: a magic number, a version, facts on the machine, the object, and the keys of
its storages in the order in which they follow. Each storage is a count and so many values, which
are little-endian on every machine. A pickle that begins with anything else is one of Python's.
"""

from __future__ import annotations

import io
from functools import partial
from typing import Any, BinaryIO

from ..._budget import Budget
from ..._shown import plain
from .._recognise_ours import TORCH_MAGIC
from ._pickle_machine import Machine
from ._pickle_values import PickleError, contents, encoded
from ._storages import Storage, StorageId, persistent

VERSION = 1001
COUNT_BYTES = 8  # of the count before a storage's values


def is_magic(value: Any) -> bool:
    """Return whether it is what PyTorch's files begin with."""
    return type(value) is int and value == TORCH_MAGIC


class Legacy:
    """An open file of pickles, and of storages behind them."""

    def __init__(self, file: BinaryIO, size: int, budget: Budget) -> None:
        """Make one of a buffered file of so many bytes, which charges a budget."""
        self.file = file
        self.size = size
        self.machine = Machine(file, size, budget, self._persistent)
        self.is_torch = False
        self._known: dict[str, StorageId] = {}
        self._places: dict[str, int] = {}  # where the values of each storage begin

    def load(self) -> Any:
        """Return the object.

        Raises:
            ValueError: it is damaged.
            OSError: of the file.
        """
        first = self.machine.load()
        self.is_torch = is_magic(first)
        if not self.is_torch:
            return first
        version = self.machine.load()
        if type(version) is not int or version != VERSION:
            raise PickleError("its version is unknown")
        self.machine.load()  # facts on the machine, of which none matters
        top = self.machine.load()
        self._find_storages(self.machine.load())
        return top

    def _persistent(self, value: Any) -> Any:
        return persistent(value, self._storage)

    def _storage(self, known: StorageId) -> Storage:
        first = self._known.setdefault(known.key, known)
        if (first.dtype, first.count) != (known.dtype, known.count):
            raise PickleError(f"it says two things of the storage {plain(known.key)}")
        count, offset = known.count, 0
        if known.view is not None:
            _, offset, count = known.view
        item = known.item_bytes
        read = partial(self._read, known.key, offset * item)
        key = (id(self), known.key, offset)
        return Storage(key, known.dtype, count * item, read)

    def _find_storages(self, keys: Any) -> None:
        """Go over the storages behind the pickles, which stand in the order of these keys."""
        if not isinstance(keys, list):
            raise PickleError("the list of its storages is not a list")
        place = self.file.tell()
        for key in keys:
            known = self._known.get(key) if isinstance(key, str) else None
            if known is None or not known.item_bytes:
                raise PickleError("it has a storage that nothing refers to, or of an unknown kind")
            self.file.seek(place)
            counts = self.file.read(COUNT_BYTES)
            expected = (known.count.to_bytes(COUNT_BYTES, order) for order in ("little", "big"))
            if counts not in expected:
                raise PickleError(f"a storage claims {known.count} values, the file says otherwise")
            self._places[key] = place + COUNT_BYTES
            place += COUNT_BYTES + known.count * known.item_bytes
            if place > self.size:
                raise PickleError(f"a storage claims {known.count} values, more than there are")

    def _read(self, key: str, offset: int, start: int, count: int) -> bytes:
        if key not in self._places:
            raise ValueError("damaged: its values are missing")
        self.file.seek(self._places[key] + offset + start)
        data = self.file.read(count)
        if len(data) != count:
            raise ValueError("damaged: the file ends within its values")
        return data


class Nested:
    """Storages that were pickled by Python's own `pickle`: each is a whole file within bytes."""

    NAME = "torch.storage._load_from_bytes"

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._made: dict[int, tuple[Any, Storage]] = {}

    def storage(self, value: Any) -> Storage:
        """Return the storage in what was to be given to PyTorch's function of that name.

        Raises:
            ValueError: it is damaged.
        """
        value = encoded(value)  # of which many objects may share one
        if id(value) not in self._made:
            if isinstance(value, str):
                self._budget.memory(len(value), "a storage in bytes")
            data = contents(value) or b""
            top = Legacy(io.BytesIO(data), len(data), self._budget).load()
            if not isinstance(top, Storage):
                raise ValueError("damaged: a storage in it is none")
            self._made[id(value)] = value, top  # kept, so that no other value gets its number
        return self._made[id(value)][1]
