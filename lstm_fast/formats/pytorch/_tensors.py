"""Tensors and arrays among the inert values of a pickle: their shapes, and how to read them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..._arrays import Float32
from ..._budget import Budget
from ..._weights import frozen
from .._state_dicts import decode, reading
from ._legacy import Nested
from ._pickle_values import Dict, Global, Object, contents, encoded
from ._storages import ITEM_BYTES, Storage, is_count

MAX_DIMENSIONS = 64  # of a NumPy array
MAX_WRAPPERS = 8  # around a tensor
READABLE = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64"}
# What has a tensor as its first argument, by the last part of the name.
WRAPPERS = (
    *("_rebuild_parameter", "_rebuild_parameter_with_state", "Parameter", "Buffer", "Variable"),
    "_rebuild_device_tensor_from_cpu_tensor",
)
ARRAY_WRAPPERS = ("_rebuild_xla_tensor", "_rebuild_hpu_tensor", "_rebuild_device_tensor_from_numpy")
# Tensors without plain values, by the last part of the name: what they are, and where among the
# arguments their sizes are; a nested tensor has none.
OTHERS = {
    "_rebuild_qtensor": ("a quantized tensor", (2,)),
    "_rebuild_meta_tensor_no_storage": ("a tensor on the meta device (without values)", (1,)),
    "_rebuild_sparse_tensor": ("a sparse tensor", (1, 2)),
    "_rebuild_sparse_csr_tensor": ("a sparse tensor", (1, 3)),
    "_rebuild_nested_tensor": ("a nested tensor", (0, 0)),
    "_rebuild_wrapper_subclass": ("a tensor of a subclass that keeps its values elsewhere", (2,)),
}
DILL_ARRAY = "dill._dill._create_array"  # with what makes the array, and its state
NUMPY_DTYPES = {"f2": "float16", "f4": "float32", "f8": "float64"}


@dataclass(frozen=True, slots=True)
class Values:
    """A tensor.

    shape: () where it cannot be known.
    dtype: in words.
    read: returns its values, or raises ValueError.
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], Float32]


class Tensors:
    """Finds out what is a tensor; what is read of one is charged, and kept for its other names."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._nested = Nested(budget)
        self._read_before: dict[Any, Float32] = {}

    def find(self, value: Any) -> Values | None:
        """Return the tensor or array that an inert value stands for, or None.

        Raises:
            ValueError: the sizes of a tensor make no sense.
        """
        for _ in range(MAX_WRAPPERS):
            if not isinstance(value, Object):
                return None
            package, _, name = value.name.partition(".")
            name = name.rpartition(".")[2]
            if value.name == DILL_ARRAY:
                value = _array_of_dill(value.args)
                continue
            if package == "numpy":
                return self._array(name, value)
            if not package.startswith("torch"):
                return None
            if name == "_rebuild_from_type_v2" and len(value.args) > 2:
                function, _, args, *_ = value.args
                if not isinstance(function, Global) or not isinstance(args, tuple):
                    return None
                value = Object(function.name, args)
            elif name in (*WRAPPERS, *ARRAY_WRAPPERS) and value.args:
                value = value.args[0]
            else:
                return self._tensor(name, value.args)
        return None

    def _tensor(self, name: str, args: tuple[Any, ...]) -> Values | None:
        args = (*args[:8], *[None] * 8)  # many objects may share one long tuple
        if name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return self._strided(args[:4], None, args[6])
        if name == "_rebuild_tensor_v3":
            return self._strided(args[:4], args[6], args[7])
        if name in OTHERS:
            kind, where = OTHERS[name]
            sizes: Any = args
            for index in where:
                is_there = isinstance(sizes, tuple) and len(sizes) > index
                sizes = sizes[index] if is_there else None
            return _unreadable(_sizes(sizes) or (), kind, f"{kind} {EXPECTED}")
        return None

    def strided(self, storage: Storage, offset: int, sizes: Any, strides: Any) -> Values:
        """Return a tensor in a storage of its dtype.

        Raises:
            ValueError: its sizes make no sense.
        """
        return self._strided((storage, offset, sizes, strides), None, None)

    def _strided(self, layout: tuple[Any, ...], dtype: Any, metadata: Any) -> Values:
        """Return a tensor in a storage.

        Args:
            layout: a `Storage`, or bytes with one; the place of the first value; sizes; strides.
            dtype: None where the storage has one.
            metadata: such as whether the values are to be negated.
        """
        storage, offset, sizes, strides = layout
        shape, steps = _sizes(sizes), _sizes(strides)
        if shape is None:
            raise ValueError("damaged: the sizes of a tensor make no sense")
        if isinstance(storage, Object) and storage.name == Nested.NAME and storage.args:
            storage = self._nested.storage(storage.args[0])
        is_whole = isinstance(storage, Storage) and is_count(offset)
        if not is_whole or steps is None or len(shape) != len(steps):
            return _unreadable(shape, "unknown", "damaged: its layout makes no sense")
        name = storage.dtype if dtype is None else _last(dtype)
        if name not in READABLE:
            return _unreadable(shape, name, f"a tensor of torch.{name} {EXPECTED}")
        if isinstance(metadata, Dict) and any(metadata.entries().values()):
            text = "a view that negates or conjugates another tensor; save its .clone()"
            return _unreadable(shape, name, text)
        read = partial(self._read, storage, name, offset, shape, steps)
        return Values(shape, name, read)

    def _read(
        self,
        storage: Storage,
        dtype: str,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
    ) -> Float32:
        count, item = math.prod(shape), ITEM_BYTES[dtype]
        if count == 0:
            return np.zeros(shape, np.float32)
        steps = zip(shape, strides, strict=True)
        reach = 1 + sum((length - 1) * stride for length, stride in steps)
        if (offset + reach) * item > storage.size_bytes:
            raise ValueError("damaged: it reaches beyond its storage")
        key = (storage.key, dtype, offset, shape, strides)
        if key in self._read_before:
            return self._read_before[key]
        plain = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        moves = any(n > 1 and a != b for n, a, b in zip(shape, strides, plain, strict=True))
        swaps = storage.is_big_endian
        with reading(self._budget, count, reach, READABLE[dtype], swaps=swaps, moves=moves):
            values = decode(_raw(storage, item, offset, reach), READABLE[dtype])
            # A dimension of one value may have any stride.
            byte_strides = [
                4 * step if length > 1 else 0 for length, step in zip(shape, strides, strict=True)
            ]
            view = np.lib.stride_tricks.as_strided(values, shape, byte_strides, writeable=False)
            if moves:
                values = frozen(np.array(view, order="C"))
            self._read_before[key] = values.reshape(shape)
            return self._read_before[key]

    # ---- NumPy ----

    def _array(self, name: str, value: Object) -> Values | None:
        """Return an array; None for one of objects and for all else of NumPy's."""
        args, state = (*value.args[:4], *[None] * 4), value.state
        if name == "_reconstruct" and isinstance(state, tuple) and len(state) == 5:
            _, sizes, dtype, is_fortran, data = state
        elif name == "_frombuffer":
            data, dtype, sizes, order = args[:4]
            is_fortran = order == "F" if isinstance(order, str) else False
        else:
            return None
        shape, kind = _sizes(sizes), _numpy_dtype(dtype)
        if shape is None or kind is None:
            return None
        title, order = kind
        read = partial(self._read_array, data, title, order, shape, is_fortran is True)
        return Values(shape, title, read)

    def _read_array(
        self, data: Any, dtype: str, order: str, shape: tuple[int, ...], is_fortran: bool
    ) -> Float32:
        if dtype not in READABLE:
            raise ValueError(f"an array of {dtype} {EXPECTED}")
        item, held, count = ITEM_BYTES[dtype], encoded(data), math.prod(shape)
        if not isinstance(held, (str, bytes)) or len(held) != count * item:
            raise ValueError("damaged: its shape does not fit its bytes")
        moves, swaps = is_fortran and len(shape) > 1, order == ">"
        with reading(self._budget, count, count, READABLE[dtype], swaps=swaps, moves=moves):
            data = contents(held)
            if data is None:
                raise ValueError("damaged: its bytes are kept as text that is none of them")
            values = decode(_swapped(data, item) if order == ">" else data, READABLE[dtype])
            if moves:
                view = values.reshape(shape, order="F")
                values = frozen(np.array(view, order="C"))
            return values.reshape(shape)


EXPECTED = "cannot be read; expected a plain one of float32, float16, bfloat16 or float64"


def _unreadable(shape: tuple[int, ...], dtype: str, text: str) -> Values:
    """Return a tensor that raises ValueError where it is read."""

    def read() -> Float32:
        raise ValueError(text)

    return Values(shape, dtype, read)


def _raw(storage: Storage, item: int, offset: int, count: int) -> bytes:
    """Return the bytes of values of so many bytes each, the lowest first."""
    data = storage.read(offset * item, count * item)
    return _swapped(data, item) if storage.is_big_endian else data


def _swapped(data: bytes, item: int) -> bytes:
    """Return values of so many bytes each with their bytes in the other order."""
    swapped: bytes = np.frombuffer(data, f"u{item}").byteswap().tobytes()
    return swapped


def _array_of_dill(args: tuple[Any, ...]) -> Object | None:
    if len(args) < 3 or not isinstance(args[0], Global) or not isinstance(args[1], tuple):
        return None
    array = Object(args[0].name, args[1])
    array.state = args[2]
    return array


def _last(value: Any) -> str:
    return value.name.rpartition(".")[2] if isinstance(value, Global) else "an unknown dtype"


def _sizes(value: Any) -> tuple[int, ...] | None:
    """Return a shape, also where it was pickled as `torch.Size`."""
    if isinstance(value, Object) and value.name == "torch.Size" and value.args:
        value = value.args[0]
    if isinstance(value, (tuple, list)) and len(value) <= MAX_DIMENSIONS:
        return tuple(value) if all(map(is_count, value)) else None
    return None


def _numpy_dtype(value: Any) -> tuple[str, str] | None:
    """Return the name of a dtype and its order of bytes; None for one of objects."""
    if not isinstance(value, Object) or value.name != "numpy.dtype" or not value.args:
        return None
    code = value.args[0]
    if isinstance(code, Global):  # one that NumPy does not have itself
        return _last(code), "<"
    if not isinstance(code, str) or code.startswith("O"):
        return None
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "<"
    return NUMPY_DTYPES.get(code, code), ">" if isinstance(order, str) and order == ">" else "<"
