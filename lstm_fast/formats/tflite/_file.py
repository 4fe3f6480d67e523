"""A TFLite file, read with care: FlatBuffers' Python accessors check nothing that a file claims.

Every list is charged against the file's budget before it is walked: one that claims more than the
file can hold, or one that thousands of places name, ends in an error and not in memory.
"""

from __future__ import annotations

import math
import struct
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._arrays import Float32
from ..._source import Source
from .._files import FormatError, MissingExtraError, checked
from .._recognise_ours import TFLITE

MAX_CODES, MAX_SUBGRAPHS, MAX_RANK = 10_000, 1_000, 8
# Steps of work: an operator's code, all of it, a tensor, an entry of a list, one of Python's.
CODE_STEPS, OPERATOR_STEPS, TENSOR_STEPS, ENTRY_STEPS, NUMBER_STEPS = 10, 45, 90, 0.01, 0.5
VALUES_STEPS = 30  # to find a tensor's values
CODE_BYTES, OPERATOR_BYTES, NUMBER_BYTES = 20, 800, 200
BYTES_A_STEP = 500  # of memory that is filled
# What is stored as weights, and how TFLite's kernels take it: UINT8 are the bits of signed ones.
STORED = {"FLOAT32": "<f4", "FLOAT16": "<f2", "INT8": "i1", "UINT8": "i1"}


@dataclass(frozen=True)
class Tensor:
    """What a file says of a tensor."""

    index: int
    name: str
    shape: tuple[int, ...]
    type: str
    variable: bool
    table: Any = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"tensor {self.index} {self.name!r}"


@dataclass(frozen=True)
class Operator:
    """What a file says of an operator; an input of -1 is an optional one that is not there."""

    number: int
    code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    table: Any = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"operator {self.number} {self.code}"


def _names(enum: Any) -> dict[int, str]:
    """Return the names of a generated enum's values."""
    return {value: name for name, value in vars(enum).items() if isinstance(value, int)}


class File:
    """A file's bytes with what of its structure is safe to use."""

    def __init__(self, source: Source) -> None:
        try:
            import tflite
        except ImportError as error:
            raise MissingExtraError(source, "tflite", "tflite") from error
        self.schema: Any = tflite
        self.source, self.budget = source, source.budget
        self.data = source.read()
        if self.data[4:8] != TFLITE:
            raise FormatError(
                f"{source}: not a TFLite file: its identifier is {self.data[4:8]!r}, not {TFLITE!r}"
            )
        self.types = _names(self.schema.TensorType)
        with self.reading("the model"):
            self.model = self.schema.Model.GetRootAs(self.data, 0)
            self.codes = self._codes()
            number = self._count(self.model.SubgraphsLength(), 4, MAX_SUBGRAPHS, "subgraphs")
            self.subgraphs = [Subgraph(self, n, self.model.Subgraphs(n)) for n in range(number)]

    def reading(self, part: str) -> AbstractContextManager[None]:
        """Turn what the accessors raise on damaged bytes into an error that names the part."""
        return checked(self.source, part, struct.error, IndexError, TypeError, OverflowError)

    def _count(self, number: int, size: int, limit: int | None, what: str) -> int:
        """Return the number of a list's entries, of that many bytes, after a check of it."""
        self.budget.work(1)
        if number * size > len(self.data):
            raise ValueError(f"claims {number} {what}, which it cannot hold")
        self.budget.work(ENTRY_STEPS * number)
        if limit is not None and number > limit:
            raise ValueError(f"claims {number} {what}, more than the {limit} that are read")
        return number

    def _codes(self) -> list[str]:
        number = self._count(self.model.OperatorCodesLength(), 16, MAX_CODES, "operator codes")
        names = _names(self.schema.BuiltinOperator)
        codes = []
        for n in range(number):
            code = self.model.OperatorCodes(n)
            value = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())  # since 2.4, and before
            codes.append(names.get(value, f"number {value}"))
        return codes

    def vector(self, table: Any, name: str, what: str) -> NDArray[Any]:
        """Return a vector of numbers, or an empty one if there is none."""
        self._count(getattr(table, f"{name}Length")(), 4, None, what)
        values = getattr(table, f"{name}AsNumpy")()
        return values if isinstance(values, np.ndarray) else np.zeros(0, np.int32)

    def text(self, value: bytes | None) -> str:
        """Decode a name, of which 1,000 bytes are enough."""
        self.budget.work(len(value or b"") / BYTES_A_STEP)
        return (value or b"")[:1000].decode("utf-8", "replace")

    def numbers(self, table: Any, name: str, what: str) -> tuple[int, ...]:
        """Return a vector of numbers as Python has them."""
        values = self.vector(table, name, what)
        self.budget.work(NUMBER_STEPS * len(values))
        self.budget.memory(NUMBER_BYTES * len(values), what)
        return tuple(values.tolist())

    def take_memory(self, count: int) -> None:
        """Charge memory for so many float32 values, before it is taken."""
        self.budget.memory(4 * count, "what its LSTMs claim as weights")
        self.budget.work(4 * count / BYTES_A_STEP)

    def _raw(self, tensor: Tensor) -> NDArray[np.uint8]:
        """Return a tensor's bytes, without a copy; empty where it is not a constant."""
        self.budget.work(VALUES_STEPS)
        index = tensor.table.Buffer()
        if index >= self.model.BuffersLength():
            raise ValueError(f"is in buffer {index}, but there are {self.model.BuffersLength()}")
        buffer = self.model.Buffers(index)
        offset, size = buffer.Offset(), buffer.Size()
        if offset > 1:  # outside of the FlatBuffer, as in files above 2 GB
            if offset + size > len(self.data):
                raise ValueError(f"is at byte {offset}, {size} bytes, but the file is cut short")
            return np.frombuffer(self.data, np.uint8, size, offset)
        values = buffer.DataAsNumpy()
        return values if isinstance(values, np.ndarray) else np.zeros(0, np.uint8)

    def is_constant(self, tensor: Tensor) -> bool:
        """Whether the file holds its values."""
        with self.reading(str(tensor)):
            return self._raw(tensor).size > 0

    def values(self, tensor: Tensor, dtype: str) -> NDArray[Any]:
        """Return a constant's values as they are stored, without a copy."""
        with self.reading(str(tensor)):
            raw = self._raw(tensor)
            expected = math.prod(tensor.shape) * np.dtype(dtype).itemsize
            if raw.size != expected:
                raise ValueError(
                    f"has {raw.size} bytes, but {tensor.type} of shape {tensor.shape} takes "
                    f"{expected}"
                )
            return raw.view(dtype).reshape(tensor.shape)

    def floats(self, tensor: Tensor) -> Float32:
        """Return a constant as float32; dequantised where it is quantised."""
        if tensor.type not in STORED:
            raise FormatError(
                f"{self.source}: {tensor} is {tensor.type}; weights are {', '.join(STORED)}"
            )
        stored = self.values(tensor, STORED[tensor.type])
        with self.reading(str(tensor)):
            if tensor.table.Sparsity() is not None:
                raise ValueError("is sparse, which is not supported: convert without sparsity")
            if tensor.type == "FLOAT32":
                return stored
            self.take_memory(stored.size)
            self.budget.give_back(4 * stored.size)  # who asks for it keeps it elsewhere
            value: Float32 = stored.astype(np.float32)
            if tensor.type != "FLOAT16":
                with np.errstate(all="ignore"):  # what isn't finite is refused with its place
                    value *= self._scale(tensor)
            return value

    def _scale(self, tensor: Tensor) -> NDArray[Any]:
        """Return the scales of a quantised tensor, in a shape that multiplies it."""
        table = tensor.table.Quantization()
        if table is None or table.ScaleLength() == 0:
            raise ValueError(f"is {tensor.type} without a scale")
        scales = self.vector(table, "Scale", "scales").astype(np.float32)
        if self.vector(table, "ZeroPoint", "zero points").any():
            raise ValueError("has a zero point, but an LSTM's weights are quantised symmetrically")
        if len(scales) == 1:
            return scales
        axis = table.QuantizedDimension()
        if not 0 <= axis < len(tensor.shape) or len(scales) != tensor.shape[axis]:
            raise ValueError(
                f"has {len(scales)} scales along axis {axis} for the shape {tensor.shape}"
            )
        return scales.reshape([-1 if n == axis else 1 for n in range(len(tensor.shape))])


class Subgraph:
    """The operators of one subgraph; what they say is read where there is an LSTM among them."""

    def __init__(self, file: File, number: int, table: Any) -> None:
        self.file, self.number, self._table = file, number, table
        with file.reading(f"subgraph {number}"):
            count = file._count(table.OperatorsLength(), 4, None, "operators")
            file.budget.work(CODE_STEPS * count, f"reading its {count} operators")
            file.budget.memory(CODE_BYTES * count, "its operators")
            self.codes = [self._code(table.Operators(n)) for n in range(count)]

    def _code(self, operator: Any) -> str:
        code: str = self.file.codes[operator.OpcodeIndex()]
        return code

    def operators(self) -> list[Operator]:
        """Read all of them."""
        what = f"reading its {len(self.codes)} operators"
        self.file.budget.work(OPERATOR_STEPS * len(self.codes), what)
        self.file.budget.memory(OPERATOR_BYTES * len(self.codes), "its operators")
        return [self._operator(number, code) for number, code in enumerate(self.codes)]

    def _operator(self, number: int, code: str) -> Operator:
        with self.file.reading(f"operator {number} {code}"):
            table = self._table.Operators(number)
            inputs = self.file.numbers(table, "Inputs", "inputs")
            outputs = self.file.numbers(table, "Outputs", "outputs")
            return Operator(number, code, inputs, outputs, table)

    def outputs(self) -> set[int]:
        """Return the tensors that leave the subgraph."""
        with self.file.reading(f"subgraph {self.number}"):
            return set(self.file.numbers(self._table, "Outputs", "outputs"))

    def tensor(self, index: int) -> Tensor:
        """Return the tensor of that index."""
        self.file.budget.work(TENSOR_STEPS)
        with self.file.reading(f"tensor {index}"):
            if not 0 <= index < self._table.TensorsLength():
                raise ValueError(f"there are only {self._table.TensorsLength()} tensors")
            table = self._table.Tensors(index)
            self.file._count(table.ShapeLength(), 4, MAX_RANK, "dimensions")
            shape = tuple(self.file.vector(table, "Shape", "dimensions").tolist())
            if any(size < 0 for size in shape):
                raise ValueError(f"has shape {shape}")
            type_name = self.file.types.get(table.Type(), f"of type {table.Type()}")
            name = self.file.text(table.Name())
            return Tensor(index, name, shape, type_name, bool(table.IsVariable()), table)
