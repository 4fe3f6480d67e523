"""A program as the bytes of a `.lfm` file, and back; docs/lfm.md describes them.

A program has exactly one form in bytes: what differs from it in anything, padding too, is refused.
So the checksum at the end is the program's fingerprint.
"""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ._budget import Budget
from ._program_checks import MAX_NOTE, MAX_TENSORS, MAX_TEXT, checked
from ._program_shapes import check_shape
from .errors import FormatError
from .operations import OPERATIONS, Attribute
from .program import VERSION, Input, Kind, Op, Output, Program, State, Tensor

MAGIC = b"\x89LFM\r\n\x1a\n"
HEADER_WORDS = 16
ALIGNMENT = 64
CHECKSUM_BYTES = 32
WORD = np.dtype("<u4")
LEFT_OUT = 2**32 - 1  # an input that is
MAX_WORDS = 2**24
KINDS: tuple[Kind, ...] = ("float32", "int64", "bool")
NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
STORED: Mapping[str, np.dtype[Any]] = {
    "float32": np.dtype("<f4"),
    "int64": np.dtype("<i8"),
    "bool": np.dtype("u1"),
}
# What a file becomes: bytes and steps for an operation; for all else that is counted; for a word of
# its records; and steps for a byte of it.
OP_BYTES, OP_STEPS = 900, 55
RECORD_BYTES, RECORD_STEPS = 250, 4
WORD_BYTES, WORD_STEPS = 40, 0.2
BYTE_STEPS = 0.005
CODES = {one.number: one for one in OPERATIONS.values()}

T = TypeVar("T")


def _padded(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


# ---- writing ----


class _Writer:
    """The three parts of a file as they grow: words, text, and arrays."""

    def __init__(self) -> None:
        self.words: list[int] = []
        self.text = bytearray()
        self.arrays: list[tuple[NDArray[Any], np.dtype[Any]]] = []
        self.blob_bytes = 0
        self._known: dict[str, tuple[int, int]] = {"": (0, 0)}

    def string(self, text: str) -> None:
        if text not in self._known:
            data = text.encode()
            self._known[text] = len(self.text), len(data)
            self.text += data
        self.words += self._known[text]

    def shape(self, shape: tuple[int, ...]) -> None:
        self.words += [len(shape), *shape]

    def array(self, value: NDArray[Any], kind: str) -> None:
        self.words.append(self.blob_bytes // ALIGNMENT)
        self.blob_bytes += _padded(value.size * STORED[kind].itemsize)
        self.arrays.append((value, STORED[kind]))

    def attribute(self, one: Attribute, value: Any) -> None:
        if one.type == "name":
            self.words.append(one.choices.index(value))
        elif one.type == "float":
            self.words.append(int(np.float32(value).view(np.uint32)))
        elif one.type == "ints":
            self.words += [len(value), *(item % 2**32 for item in value)]
        else:
            self.words.append(int(value) % 2**32)


def to_bytes(program: Program) -> bytes:
    """Return the bytes of a program that `checked` has returned.

    Raises:
        FormatError: it is too large for a file.
    """
    writer = _Writer()
    words = writer.words
    for tensor in program.tensors:
        words.append(NUMBERS[tensor.kind])
        writer.shape(tensor.shape)
    for given in program.inputs:
        writer.string(given.name)
        words.extend((given.tensor, given.history))
        writer.shape(given.shape)
    for output in program.outputs:
        writer.string(output.name)
        words.append(output.tensor)
    for state in program.states:
        writer.string(state.name)
        words.extend((state.tensor, state.next))
        writer.array(state.initial, "float32")
    for number, value in program.constants.items():
        words.append(number)
        writer.array(value, program.tensors[number].kind)
    for op in program.ops:
        operation = OPERATIONS[op.code]
        words.extend((operation.number, len(op.inputs), len(op.outputs)))
        writer.string(op.source)
        words.extend(LEFT_OUT if number == -1 else number for number in op.inputs)
        words.extend(op.outputs)
        for name, one in operation.attributes.items():
            writer.attribute(one, op.attributes[name])
    for note in program.notes:
        writer.string(note)
    many: list[Any] = [program.tensors, program.inputs, program.outputs, program.states]
    many += [program.constants, program.ops, program.notes]
    if len(words) > MAX_WORDS or len(writer.text) >= 2**32:
        raise FormatError("the program has too many operations or too much text for a .lfm file")
    blob = writer.blob_bytes
    numbers = [VERSION, *map(len, many), len(words), len(writer.text), blob % 2**32, blob // 2**32]
    header = np.array([*numbers, 0, 0], WORD).tobytes()
    head = MAGIC + header + np.array(words, WORD).tobytes() + writer.text
    file = io.BytesIO()  # whose bytes become the result without a copy
    file.write(head.ljust(_padded(len(head)), b"\0"))
    for value, stored in writer.arrays:
        size = file.write(np.ascontiguousarray(value, stored).data)
        file.write(bytes(_padded(size) - size))
    with file.getbuffer() as body:
        checksum = hashlib.sha256(body).digest()
    file.write(checksum)
    return file.getvalue()


# ---- reading ----


class _Reader:
    """The parts of a file, read once from the front; a number beyond them is a ValueError."""

    def __init__(self, data: bytes) -> None:
        header = np.frombuffer(data, WORD, HEADER_WORDS)[2:].tolist()
        version, *self.many = header[:8]
        words, text, low, high, *reserved = header[8:]
        if version != VERSION:
            raise ValueError(f"it has version {version}, this lstm_fast reads {VERSION}")
        if max(self.many) > MAX_TENSORS or words > MAX_WORDS or any(reserved):
            raise ValueError("its header claims more than a file can have")
        begin = 4 * (HEADER_WORDS + words)
        self.blob_at, self.blob_bytes = _padded(begin + text), low + 2**32 * high
        if self.blob_at + self.blob_bytes + CHECKSUM_BYTES != len(data):
            raise ValueError("its length is not what its header says: it is cut short, or damaged")
        self.data = data
        self.words = np.frombuffer(data, WORD, words, 4 * HEADER_WORDS)
        self.text = data[begin : begin + text]
        self.at = self.text_at = self.array_at = 0
        self._known = {(0, 0): ""}

    def word(self) -> int:
        if self.at >= len(self.words):
            raise ValueError("its records end too early")
        self.at += 1
        return int(self.words[self.at - 1])

    def several(self, count: int) -> tuple[int, ...]:
        if count > len(self.words) - self.at:
            raise ValueError("its records end too early")
        self.at += count
        return tuple(self.words[self.at - count : self.at].tolist())

    def shape(self) -> tuple[int, ...]:
        return self.several(self.word())

    def string(self, limit: int = MAX_TEXT) -> str:
        """Return a text; each stands behind the one before, or is one that was there already.

        The same object for the same text: thousands of records may name a long one.

        Args:
            limit: the most characters that it may have.
        """
        begin, size = self.several(2)
        text = self._known.get((begin, size))
        if text is None:
            if begin != self.text_at or begin + size > len(self.text):
                raise ValueError("a text is not where it should be")
            if size > 4 * limit:  # bytes of a character in UTF-8, at most
                raise ValueError(f"a text of {size} bytes is longer than {limit} characters")
            text = self.text[begin : begin + size].decode()
            self._known[begin, size] = text
            self.text_at += size
        return text

    def array(self, tensor: Tensor) -> NDArray[Any]:
        """Return a view; each array stands behind the one before."""
        dtype, count = STORED[tensor.kind], math.prod(tensor.shape)
        size = _padded(count * dtype.itemsize)
        if self.word() * ALIGNMENT != self.array_at or self.array_at + size > self.blob_bytes:
            raise ValueError("an array is not where it should be")
        begin = self.blob_at + self.array_at
        value: NDArray[Any] = np.frombuffer(self.data, dtype, count, begin)
        self.array_at += size
        if tensor.kind == "bool":
            if (value > 1).any():
                raise ValueError("a bool is neither 0 nor 1")
            return value.view(np.bool_).reshape(tensor.shape)
        return value.reshape(tensor.shape)

    def attribute(self, one: Attribute) -> Any:
        if one.type == "ints":
            return tuple(_signed(item) for item in self.shape())
        value = self.word()
        if one.type == "name":
            return _chosen(one.choices, value)
        if one.type == "float":
            return float(np.uint32(value).view(np.float32))
        return _chosen((False, True), value) if one.type == "flag" else _signed(value)

    def tensor(self) -> Tensor:
        kind = _chosen(KINDS, self.word())
        shape = self.shape()
        check_shape(shape)  # before anything multiplies its sizes
        return Tensor(shape, kind)

    def op(self) -> Op:
        number, inputs, outputs = self.several(3)
        if number not in CODES:
            raise ValueError(f"it has an operation {number}, which this lstm_fast does not know")
        source = self.string()
        ids = tuple(-1 if i == LEFT_OUT else i for i in self.several(inputs))
        made = self.several(outputs)
        table: Mapping[str, Attribute] = CODES[number].attributes
        attributes = {name: self.attribute(one) for name, one in table.items()}
        return Op(CODES[number].code, ids, made, attributes, source)


def _signed(word: int) -> int:
    return word - 2**32 if word >= 2**31 else word


def _chosen(choices: tuple[T, ...], number: int) -> T:
    if number >= len(choices):
        raise ValueError(f"it has {number} where {len(choices) - 1} is the most")
    return choices[number]


def from_bytes(data: bytes, where: object = ".lfm", budget: Budget | None = None) -> Program:
    """Return the program in the bytes of a file. Its constants are views of them.

    Args:
        data: the bytes, which are not trusted.
        where: what errors begin with: the file.
        budget: is charged for what is made of them; None makes one by their size.

    Raises:
        FormatError: they are damaged, of an unknown version, or no such program.
    """
    if not data.startswith(MAGIC):
        raise FormatError(f"{where}: it does not begin as a .lfm file does")
    if len(data) < 4 * HEADER_WORDS + CHECKSUM_BYTES:
        raise FormatError(f"{where}: it is cut short")
    checksum = hashlib.sha256(memoryview(data)[:-CHECKSUM_BYTES]).digest()
    if checksum != data[-CHECKSUM_BYTES:]:
        raise FormatError(f"{where}: its checksum does not fit: it is damaged or cut short")
    budget = budget or Budget(where, len(data))
    try:
        reader = _Reader(data)
        ops, records, words = reader.many[5], sum(reader.many), len(reader.words)
        size = OP_BYTES * ops + RECORD_BYTES * records + WORD_BYTES * words + 4 * len(reader.text)
        budget.memory(size + reader.blob_at, "what its records make")
        steps = OP_STEPS * ops + RECORD_STEPS * records + WORD_STEPS * words
        budget.work(steps + BYTE_STEPS * len(data))
        budget.memory(len(data), "its one form, for comparison")
        program = _parse(reader)
    except FormatError:
        raise
    except ValueError as error:
        raise FormatError(f"{where}: {error}") from None
    result = checked(program, where)
    if to_bytes(result) != data:
        raise FormatError(f"{where}: it is not written as .lfm files are")
    return result


def _parse(reader: _Reader) -> Program:
    def several(count: int, read: Callable[[], T]) -> tuple[T, ...]:
        return tuple(read() for _ in range(count))

    def given() -> Input:
        name, tensor, history = reader.string(), reader.word(), reader.word()
        return Input(name, tensor, reader.shape(), history)

    def state() -> State:
        name, tensor, following = reader.string(), reader.word(), reader.word()
        return State(name, tensor, following, reader.array(_chosen(tensors, tensor)))

    def constant() -> tuple[int, NDArray[Any]]:
        number = reader.word()
        return number, reader.array(_chosen(tensors, number))

    many = reader.many
    tensors = several(many[0], reader.tensor)
    inputs = several(many[1], given)
    outputs = several(many[2], lambda: Output(reader.string(), reader.word()))
    states = several(many[3], state)
    constants = several(many[4], constant)
    ops = several(many[5], reader.op)
    notes = several(many[6], lambda: reader.string(MAX_NOTE))
    if reader.at != len(reader.words):
        raise ValueError("it has records that nothing counts")
    return Program(inputs, outputs, states, tensors, dict(constants), ops, notes)


def fingerprint(data: bytes) -> str:
    """Return the checksum of a file's bytes, in hex."""
    return data[-CHECKSUM_BYTES:].hex()
