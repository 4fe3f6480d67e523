"""PyTorch's storages: runs of values outside of a pickle, which its tensors are views of."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from ._pickle_values import Global, Object, PickleError

# By the name of the storage's class: PyTorch's name of the dtype, and how many bytes a value takes.
KINDS = {
    **{"DoubleStorage": ("float64", 8), "FloatStorage": ("float32", 4)},
    **{"HalfStorage": ("float16", 2), "BFloat16Storage": ("bfloat16", 2)},
    **{"LongStorage": ("int64", 8), "IntStorage": ("int32", 4), "ShortStorage": ("int16", 2)},
    **{"CharStorage": ("int8", 1), "ByteStorage": ("uint8", 1), "BoolStorage": ("bool", 1)},
    **{"ComplexDoubleStorage": ("complex128", 16), "ComplexFloatStorage": ("complex64", 8)},
    **{"QInt8Storage": ("qint8", 1), "QUInt8Storage": ("quint8", 1)},
    **{"QInt32Storage": ("qint32", 4)},
    **{"QUInt4x2Storage": ("quint4x2", 1), "QUInt2x4Storage": ("quint2x4", 1)},
    **{"UntypedStorage": ("bytes", 1)},
}
ITEM_BYTES = {name: size for name, size in KINDS.values() if name != "bytes"}

LONGEST_KEY = 256  # of a storage; PyTorch numbers them

ReadBytes = Callable[[int, int], bytes]  # from which byte on, and how many


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of values somewhere in a file.

    key: tells it from the others of a file.
    dtype: PyTorch's name, such as "float32"; "bytes" where only the tensor knows.
    size_bytes: what the file says that it has.
    read: reads some of it, or raises ValueError.
    is_big_endian: whether each value begins with its highest byte.
    """

    key: Hashable
    dtype: str
    size_bytes: int
    read: ReadBytes
    is_big_endian: bool = False


@dataclass(frozen=True, slots=True)
class StorageId:
    """What a pickle says of a storage outside of it."""

    dtype: str
    item_bytes: int
    key: str
    count: int
    view: tuple[str, int, int] | None  # of part of it: its key, where it begins, its count


def is_count(value: Any) -> bool:
    """Return whether it is a whole number that can count something in a file."""
    return type(value) is int and 0 <= value < 2**63


def storage_id(value: Any) -> StorageId | None:
    """Return what a persistent id says, or None where it is of something else.

    Raises:
        PickleError: it is damaged.
    """
    if not isinstance(value, tuple) or not value or _text(value[0]) != "storage":
        return None
    fields: list[Any] = [*value[:6], *[None] * 5]  # many ids may share one long tuple
    kind, key, count, view = fields[1], _text(fields[2]), fields[4], fields[5]
    if not isinstance(kind, Global) or key is None or not is_count(count):
        raise PickleError("what it says of a storage makes no sense")
    name = kind.name.rpartition(".")[2]
    dtype, item_bytes = KINDS.get(name, (name, 0))
    return StorageId(dtype, item_bytes, key, count, _view(view, count))


def _view(value: Any, count: int) -> tuple[str, int, int] | None:
    if value is None:
        return None
    if isinstance(value, tuple) and len(value) == 3:
        key, offset, length = value
        key = _text(key)
        if key is not None and is_count(offset) and is_count(length) and offset + length <= count:
            return key, offset, length
    raise PickleError("what it says of a part of a storage makes no sense")


def _text(value: Any) -> str | None:
    """Return a name that may be kept as text, bytes or a number; none is long."""
    if isinstance(value, (str, bytes)) and len(value) > LONGEST_KEY:
        return None
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if type(value) is int and is_count(value):
        value = str(value)
    return value if isinstance(value, str) else None


def persistent(value: Any, find: Callable[[StorageId], Storage]) -> Any:
    """Return what stands for something outside of a pickle: mostly a storage, sometimes a class."""
    known = storage_id(value)
    if known is not None:
        return find(known)
    if isinstance(value, tuple) and len(value) > 1 and _text(value[0]) == "module":
        return value[1]  # a class, with the text of its source behind it
    return Object("persistent_id")
