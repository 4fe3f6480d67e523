"""The tensors of a TorchScript archive, without running any of it.

`torch.jit.load` would compile the archive's code and run parts of it, and ends the whole process on
some damaged files. What is wanted is only data: the archive is a zip file whose data.pkl describes
objects with named attributes. It is unpickled here with nothing that it names being imported: all
becomes an `_Object`, which remembers what it was called with and does nothing.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .._arrays import Float32
from ._files import FormatError, checked
from ._state_dicts import Tensor, decode

STORAGES = {
    "DoubleStorage": "F64",
    "FloatStorage": "F32",
    "HalfStorage": "F16",
    "BFloat16Storage": "BF16",
}
REBUILD = "torch._utils._rebuild_tensor_v2"
NEWEST_PROTOCOL = 2  # of what PyTorch writes


class _Object:
    """What stands for an object of any class: its name, its arguments and its state."""

    args: tuple[Any, ...]
    state: Any = None
    name = ""

    def __new__(cls, *args: Any) -> _Object:
        self = object.__new__(cls)
        self.args = args
        return self

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Storage(NamedTuple):
    dtype: str  # by PyTorch's name of the class
    key: str


# The C unpickler would take memory for any place in its memo that a file names.
class _Unpickler(pickle._Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return type("_Object", (_Object,), {"name": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> _Storage:
        _, kind, key, *_ = pid
        return _Storage(kind.name.rpartition(".")[2], str(key))


def read(path: object, archive: zipfile.ZipFile, root: str) -> dict[str, Tensor]:
    """Return the tensors by the names that `state_dict` would give them.

    Args:
        path: for errors.
        archive: open, its sizes checked, for as long as tensors are to be read.
        root: what stands before the names of its members, with a slash.

    Raises:
        FormatError: it is damaged.
    """
    with checked(path, "data.pkl"):
        try:
            data = archive.read(f"{root}data.pkl")
            for opcode, _, _ in pickletools.genops(data):
                if opcode.proto > NEWEST_PROTOCOL:
                    raise ValueError(f"there is a {opcode.name} in it, which PyTorch never writes")
            top = _Unpickler(io.BytesIO(data)).load()
        except Exception as error:  # a damaged pickle can raise anything
            raise ValueError(f"damaged: {error or type(error).__name__}") from error
    return {
        name: _tensor(path, archive, root, name, value.args) for name, value in _attributes(top)
    }


def _attributes(top: Any) -> Iterator[tuple[str, _Object]]:
    """Yield every tensor that is an attribute of an object, with its name; each object once."""
    seen: set[int] = set()
    waiting = [("", top)]
    while waiting:
        prefix, value = waiting.pop()
        if not isinstance(value, _Object) or id(value) in seen:
            continue
        seen.add(id(value))
        if not isinstance(value.state, dict):
            continue
        for key, part in value.state.items():
            if not isinstance(key, str) or not isinstance(part, _Object):
                continue
            if part.name == REBUILD:
                yield prefix + key, part
            elif len(prefix) + len(key) < 4096:
                waiting.append((f"{prefix}{key}.", part))


def _tensor(
    path: object, archive: zipfile.ZipFile, root: str, name: str, args: tuple[Any, ...]
) -> Tensor:
    """Check the arguments of `_rebuild_tensor_v2`: storage, offset, sizes, strides, and more."""
    storage, offset, sizes, strides = (*args, None, None, None, None)[:4]
    is_one = (
        isinstance(storage, _Storage)
        and isinstance(sizes, tuple)
        and isinstance(strides, tuple)
        and len(sizes) == len(strides) <= 64
        and all(type(n) is int and 0 <= n < 2**63 for n in (offset, *sizes, *strides))
    )
    if not is_one:
        raise FormatError(f"{path}: tensor {name!r}: damaged")
    where = f"attribute {name}, {STORAGES.get(storage.dtype, storage.dtype)}"
    layout = (offset, sizes, strides)
    return Tensor(sizes, where, partial(_read_tensor, path, archive, root, name, storage, layout))


def _read_tensor(
    path: object,
    archive: zipfile.ZipFile,
    root: str,
    name: str,
    storage: _Storage,
    layout: tuple[int, tuple[int, ...], tuple[int, ...]],
) -> Float32:
    part = f"tensor {name!r}"
    if storage.dtype not in STORAGES:
        raise FormatError(f"{path}: {part}: a {storage.dtype} is no storage of real numbers")
    with checked(path, part):
        try:
            data = archive.read(f"{root}data/{storage.key}")
        except Exception as error:  # zipfile has many errors for damaged members
            raise ValueError(f"damaged: {error or type(error).__name__}") from error
        values = decode(data, STORAGES[storage.dtype])
    offset, sizes, strides = layout
    last = offset + sum((n - 1) * stride for n, stride in zip(sizes, strides, strict=True))
    if math.prod(sizes) and last >= values.size:
        raise FormatError(f"{path}: {part}: it reaches beyond its storage")
    if not math.prod(sizes):
        return np.zeros(sizes, np.float32)
    steps = [4 * stride for stride in strides]
    view = np.lib.stride_tricks.as_strided(values[offset:], sizes, steps, writeable=False)
    return np.ascontiguousarray(view)
