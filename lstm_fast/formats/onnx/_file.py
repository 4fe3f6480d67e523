"""What an ONNX file holds, read without trusting it: the model, its tensors, external data."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..._source import Source
from .._files import FormatError, MissingExtraError

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
FOLDED_BYTES = 8 << 20  # what computing weights may take beside four times the files
KEPT_BYTES = 64 << 20  # what a program's constants may take beside sixteen times the files


class File:
    """One model file, the external files that its tensors name, and the memory it may still take.

    Args:
        source: the model.

    Raises:
        OSError: it cannot be opened.
        FormatError: it is no ONNX model, or the library is missing.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        try:
            import onnx
        except ImportError:
            raise MissingExtraError(source, "onnx", "onnx") from None
        data = source.read()
        self.model: Proto = onnx.ModelProto()
        try:
            self.model.ParseFromString(data)
        except Exception as error:  # what protobuf raises depends on which of its parsers is there
            raise FormatError(f"{source}: damaged, or no ONNX model: {error}") from error
        if not self.model.HasField("graph"):
            raise FormatError(f"{source}: damaged, or no ONNX model: there is no graph in it")
        if self.model.ir_version >= 3 and not self.model.opset_import:  # it stands at the end
            raise FormatError(
                f"{source}: damaged: the version of its operators (opset_import) is missing, as "
                "where a file is cut short: fetch or export it again"
            )
        self._budget = FOLDED_BYTES + 4 * len(data)
        self._kept = KEPT_BYTES + 16 * len(data)
        self._external: set[Source] = set()

    def take(self, size_bytes: int) -> None:
        """Count memory that computing weights is about to take.

        Raises:
            ValueError: it is more than such a file can need.
        """
        self._budget -= size_bytes
        if self._budget < 0:
            raise ValueError(
                f"computing it takes {size_bytes} bytes too many for a file of this size"
            )

    def keep(self, size_bytes: int) -> None:
        """Count memory that a program's constants take: weights, and what is made of them.

        Raises:
            ValueError: it is more than such a file can need.
        """
        self._kept -= size_bytes
        if self._kept < 0:
            raise ValueError(
                f"its constants take {-self._kept} bytes too many for a file of this size"
            )

    def array(self, tensor: Proto) -> Array:
        """Return a tensor's values.

        Raises:
            ValueError: its type is none of numbers, or its data does not fit its shape.
            FormatError: its external data is missing.
        """
        if tensor.data_type not in KEPT:
            raise ValueError(f"tensors of ONNX's type number {tensor.data_type} are not read")
        kept, typed = KEPT[tensor.data_type]
        dims, dtype = tuple(tensor.dims), np.dtype(kept)
        if any(size < 0 for size in dims):
            raise ValueError(f"its shape is {dims}")
        count = math.prod(dims)
        if tensor.data_location:
            raw: Any = self._external_bytes(tensor, count * dtype.itemsize)
        elif tensor.HasField("raw_data"):
            raw = tensor.raw_data
        else:
            return _finished(_typed(getattr(tensor, typed), dtype, count, dims), tensor, dims)
        if len(raw) != count * dtype.itemsize:
            raise ValueError(
                f"shape {dims} takes {count * dtype.itemsize} bytes, found {len(raw)} of data"
            )
        return _finished(np.frombuffer(raw, dtype), tensor, dims)

    def _external_bytes(self, tensor: Proto, size_bytes: int) -> bytes:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        file = self.source.beside(entries.get("location", ""))
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
            self._budget += 4 * file.size
            self._kept += 16 * file.size
        with file.open() as opened:
            opened.seek(offset)
            return opened.read(length)


def _typed(values: Any, dtype: np.dtype[Any], count: int, dims: tuple[int, ...]) -> Array:
    """Return what a typed field holds; float16 and bfloat16 are in it as bits."""
    if len(values) != count:
        raise ValueError(f"shape {dims} takes {count} values, found {len(values)}")
    kind = np.dtype("<u2") if dtype == np.float16 else dtype
    wide = kind if kind.kind == "f" else np.dtype(np.uint64 if kind.kind == "u" else np.int64)
    found = np.fromiter(values, wide, count)
    return found.astype(kind).view(dtype)


def _finished(flat: Array, tensor: Proto, dims: tuple[int, ...]) -> Array:
    if tensor.data_type == BFLOAT16:
        flat = (flat.astype(np.uint32) << 16).view(np.float32)
    return flat.reshape(dims)
