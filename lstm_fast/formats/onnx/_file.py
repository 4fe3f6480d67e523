"""What an ONNX file holds, read without trusting it: the model, its tensors, external data."""

from __future__ import annotations

import math
from functools import cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..._source import Source
from ..._weights import cannot_change, frozen
from .. import _recognise_others
from .._files import FormatError, MissingExtraError
from ._wire import MARK_BYTES, Kind, kinds, marked, outline

Array: TypeAlias = NDArray[Any]
Proto: TypeAlias = Any  # a message of the package onnx, whose classes are made at run time

BFLOAT16 = 16
# TensorProto.DataType: how raw_data keeps it, and which typed field keeps it otherwise
KEPT = {
    1: ("<f4", "float_data"),
    2: ("<u1", "int32_data"),
    3: ("<i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("?", "int32_data"),
    10: ("<f2", "int32_data"),  # as bits
    11: ("<f8", "double_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
    BFLOAT16: ("<u2", "int32_data"),  # as bits; read into float32, which holds all its values
}
DTYPES = {number: np.dtype(kept) for number, (kept, _) in KEPT.items() if number != BFLOAT16}
HELD = 1 << 24  # a file of so many bytes stays in memory; of a larger one tensors are read
LARGE = 1 << 16  # bytes of a constant that is not copied where that can be helped
MOST_AXES = 64  # as NumPy has it
TAKE_STEPS, BYTES_A_STEP = 5, 500  # of making an array, and of the memory that is filled


class File:
    """One model file, and the external files that its tensors name; charges what is made of them.

    Args:
        source: the model.

    Raises:
        OSError: it cannot be opened.
        FormatError: it is not an ONNX model, or the library is missing.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        try:
            import onnx
        except ImportError:
            raise MissingExtraError(source, "onnx", "onnx") from None
        self.budget = source.budget
        self.work = self.budget.work
        self.budget.memory(source.size, "the file")
        data = source.read()
        self.model: Proto = onnx.ModelProto()
        try:
            self.model.ParseFromString(outline(data, _kind(), self.budget))
        except FormatError:
            raise
        except Exception as error:  # what protobuf raises depends on which of its parsers is there
            raise FormatError(f"{source}: damaged, or no ONNX model: {error}") from error
        is_held = source.path is None or source.size <= HELD
        self._data = data if is_held else None
        if not is_held:
            self.budget.give_back(source.size)
        if not self.model.HasField("graph"):
            raise FormatError(f"{source}: damaged, or no ONNX model: there is no graph in it")
        if self.model.ir_version >= 3 and not self.model.opset_import:  # it stands at the end
            raise FormatError(
                f"{source}: damaged: the version of its operators (opset_import) is missing, as "
                "where a file is cut short: fetch or export it again"
            )
        self._packed, self._size, self._has_small = 0, source.size, False
        self._external: set[Source] = set()

    def take(self, size_bytes: int, what: str = "what it computes from its constants") -> None:
        """Charge memory that computing constants is about to take, and the work of filling it.

        Raises:
            FormatError: it is more than such a file can need.
        """
        self.budget.charge(TAKE_STEPS + size_bytes / BYTES_A_STEP, size_bytes, what)

    def keep(self, size_bytes: int) -> None:
        """Charge what a constant takes once more when it is packed, for a layer or for a program.

        And in a model, where it is more than the file's own weights can become. Four times the
        file is for free where it has weights of 8 or 16 bits: those become some of 32 in any case.

        Raises:
            FormatError: it is more than such a file can need.
        """
        charged = self._beyond(size_bytes)
        self._packed += size_bytes
        self.take(charged, "its constants")

    def foresee(self, size_bytes: int) -> None:
        """See that there is memory for a constant that is made before it is charged.

        Raises:
            FormatError: it is more than such a file can need.
        """
        charged = self._beyond(size_bytes)
        self.budget.memory(charged, "its constants")
        self.budget.give_back(charged)

    def _beyond(self, size_bytes: int) -> int:
        """Return what a constant is charged: more where the file's own weights cannot be so many.

        A model has it twice more: in the bytes of its program, and packed for the kernels.
        """
        own = (4 if self._has_small else 1) * self._size - self._packed
        beyond = size_bytes - max(0, min(size_bytes, own))
        return 3 * beyond if self._has_small else size_bytes + 2 * beyond

    def frozen(self, values: Array) -> Array:
        """Return a computed constant so that nothing can change it, and no one needs a copy."""
        if values.nbytes < LARGE or values.dtype == object or cannot_change(values):
            return values
        if values.flags.owndata:
            return frozen(values)
        self.budget.memory(values.nbytes, "its constants")  # beside what is copied
        copied = values.copy()
        self.budget.give_back(values.nbytes)
        return frozen(copied)

    def array(self, tensor: Proto) -> Array:
        """Return a tensor's values.

        Raises:
            ValueError: its type is none of numbers, or its data does not fit its shape.
            FormatError: its external data is missing.
        """
        if tensor.data_type not in KEPT:
            raise ValueError(f"tensors of ONNX's type number {tensor.data_type} are not read")
        kept, typed = KEPT[tensor.data_type]
        if len(tensor.dims) > MOST_AXES:
            raise ValueError(f"its shape has {len(tensor.dims)} axes")
        dims, dtype = tuple(tensor.dims), np.dtype(kept)
        if any(size < 0 for size in dims):
            raise ValueError(f"its shape is {dims}")
        self._has_small |= dtype.itemsize < 4
        count = math.prod(dims)
        if tensor.data_location:
            raw: Any = self._external_bytes(tensor, count * dtype.itemsize)
        elif tensor.HasField("raw_data"):
            raw = self._raw(tensor.raw_data)
        else:
            values = getattr(tensor, typed)
            self.take(2 * 8 * len(values), "a tensor")  # of which the half is free again
            self.budget.give_back(8 * len(values))
            self.work(0.1 * len(values))
            return self._finished(_typed(values, dtype, count, dims), tensor, dims)
        if len(raw) != count * dtype.itemsize:
            raise ValueError(
                f"shape {dims} takes {count * dtype.itemsize} bytes, found {len(raw)} of data"
            )
        return self._finished(np.frombuffer(raw, dtype), tensor, dims)

    def _raw(self, values: bytes) -> bytes:
        """Return the values of a tensor, which may have been left out of the message."""
        self.take(len(values), "a tensor")
        if len(values) != MARK_BYTES or (found := marked(values)) is None:
            return values
        at, size = found
        self.take(size, "a tensor")
        if self._data is not None:
            return self._data[at : at + size]
        with self.source.open() as file:
            file.seek(at)
            return file.read(size)

    def _finished(self, flat: Array, tensor: Proto, dims: tuple[int, ...]) -> Array:
        if tensor.data_type == BFLOAT16:
            self.take(12 * flat.size, "a tensor")
            self.budget.give_back(8 * flat.size)
            flat = (flat.astype(np.uint32) << 16).view(np.float32)
        return flat.reshape(dims)

    def _external_bytes(self, tensor: Proto, size_bytes: int) -> bytes:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        self.work(50)
        file = self.source.beside(entries.get("location", ""))
        if file not in self._external and (text := _recognise_others.instead(file)):
            raise ValueError(f"{file.name}: {text}")
        offset, length = (
            int(entries.get(k, d)) for k, d in (("offset", 0), ("length", size_bytes))
        )
        if length != size_bytes:
            raise ValueError(
                f"its shape takes {size_bytes} bytes, it claims {length} of {file.name}"
            )
        if offset < 0 or offset + length > file.size:
            raise ValueError(
                f"it claims bytes {offset} to {offset + length} of {file.name}, which has "
                f"{file.size}"
            )
        if file not in self._external:
            self._external.add(file)
            self._size += file.size
        self.take(length, "a tensor")
        with file.open() as opened:
            opened.seek(offset)
            return opened.read(length)


@cache
def _kind() -> Kind:
    """Return the kind of the messages that models are."""
    import onnx

    return kinds(onnx.ModelProto.DESCRIPTOR)


def _typed(values: Any, dtype: np.dtype[Any], count: int, dims: tuple[int, ...]) -> Array:
    """Return what a typed field holds; float16 and bfloat16 are in it as bits."""
    if len(values) != count:
        raise ValueError(f"shape {dims} takes {count} values, found {len(values)}")
    kind = np.dtype("<u2") if dtype == np.float16 else dtype
    wide = kind if kind.kind == "f" else np.dtype(np.uint64 if kind.kind == "u" else np.int64)
    found = np.fromiter(values, wide, count)
    return found.astype(kind).view(dtype)
