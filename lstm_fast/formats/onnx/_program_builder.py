"""Values of a graph that is read into a program, and the program as it grows.

A value has the shape that ONNX gives it, batch axis and all. The tensor that holds it may have
another shape with the same elements in the same order: as a rule the one without leading axes of
size 1. So most of what only changes a shape costs nothing.
"""

from __future__ import annotations

import hashlib
import math
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from ..._weights import cannot_change
from ...program import Kind, Op, Shape, Tensor
from ._file import LARGE, Array, File

MOST_OPS = 20_000
# What an operation takes in a program, one of its inputs or outputs, and a constant.
OP_STEPS, OP_BYTES, NAME_BYTES, CONSTANT_BYTES = 45, 900, 120, 600
HASHED_A_STEP = 50  # values
MOST_ELEMENTS = 1 << 24  # of one tensor
MOST_COPIED = 1 << 20  # values that a file need not hold one by one
MOST_IN_ALL = 1 << 28  # of all tensors that are not constants


class UnsupportedError(ValueError):
    """A node asks for what no operation of ours computes; the text says what."""


@dataclass(frozen=True)
class Sym:
    """A value that is known when the model runs: its tensor, and its shape in the file."""

    tensor: int
    shape: Shape


Value: TypeAlias = "Array | Sym"


def shape_of(value: Value) -> Shape:
    """Return a value's shape in the file."""
    return tuple(value.shape)


def stripped(shape: Sequence[int], most: int | None = None) -> Shape:
    """Return a shape without leading axes of size 1: so many at most, and one axis stays."""
    limit = len(shape) - 1 if most is None else min(most, len(shape) - 1)
    start = 0
    while start < limit and shape[start] == 1:
        start += 1
    return tuple(shape[start:]) or (1,)


def without_leading(shape: Sequence[int], keep: int) -> int:
    """Return how many leading axes of size 1 stand before an axis that must stay."""
    return len(shape) - len(stripped(shape, keep)) if shape else 0


def kind_of(dtype: np.dtype[Any]) -> Kind:
    """Return what a constant of this dtype becomes."""
    if dtype.kind == "b":
        return "bool"
    return "float32" if dtype.kind == "f" else "int64"


@dataclass(frozen=True)
class Taken:
    """Which part a node takes of an axis of its input.

    size: of the axis. first: the first value taken. behind: how many are behind the last one; -1
    where they are taken in an order of their own, or only some. end: where that is counted from
    the front.
    is_tail: the first is counted from the end.
    """

    axis: int
    size: int
    first: int
    behind: int
    end: int | None = None
    is_tail: bool = False


@dataclass(frozen=True)
class Window:
    """How a node works along an axis of its input: padding and convolution.

    before, after: so many values are put there. reach: so many make one result. stride: from one
    result to the next. mode: what is put there, as in ONNX's Pad.
    """

    axis: int
    before: int
    after: int
    reach: int = 1
    stride: int = 1
    mode: str = "constant"


@dataclass
class Work:
    """What a node does along axes, which tells whether frames can be given one by one.

    along: sizes of axes whose values it brings together. taken: the parts of axes that it takes.
    windows: what it pads, and what it convolves, also where that brings nothing together.
    """

    source: str = ""
    along: list[int] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    windows: list[Window] = field(default_factory=list)


@dataclass(frozen=True)
class Saved:
    """Where a builder stood: how many operations, constants and elements it had, and the rest."""

    ops: int
    constants: int
    elements: int
    same: dict[object, int]
    seen: dict[object, tuple[weakref.ref[Array], int]]
    notes: dict[str, None]


class Builder:
    """The tensors, constants and operations so far.

    Args:
        file: counts the memory that constants take.

    source: what the operations that come next are in the file. work: what their node does along
    axes. is_aside: only shapes are wanted, and what is added is left out in the end, so that it
    need not be what a step of one session computes.
    """

    def __init__(self, file: File) -> None:
        self._file = file
        self.tensors: list[Tensor] = []
        self.constants: dict[int, Array] = {}
        self.ops: list[Op] = []
        self.made: dict[int, Op] = {}
        self.notes: dict[str, None] = {}
        self.work = Work()
        self.source = ""
        self.is_aside = False
        self._same: dict[object, int] = {}
        self._seen: dict[object, tuple[weakref.ref[Array], int]] = {}
        self._elements = 0

    def tensor(self, shape: Sequence[int], kind: Kind = "float32") -> int:
        """Add a tensor, and return its number.

        Raises:
            UnsupportedError: it is empty, or larger than any step needs.
        """
        sizes = tuple(int(size) for size in shape)
        if any(size < 1 for size in sizes):
            raise UnsupportedError(f"a value of shape {sizes} has no elements")
        elements = math.prod(sizes)
        self._elements += elements
        if elements > MOST_ELEMENTS or self._elements > MOST_IN_ALL:
            raise UnsupportedError(
                f"a value of shape {sizes} is too large for one step of a session"
            )
        self.tensors.append(Tensor(sizes, kind))
        return len(self.tensors) - 1

    def constant(self, values: Array) -> int:
        """Return the tensor of a constant; equal ones have one.

        Raises:
            ValueError: all of them take more memory than such a file can need.
        """
        # Nodes that share a weight come with the same memory, or with a view of it.
        owner = values.base if isinstance(values.base, np.ndarray) else values
        place = (id(owner), values.ctypes.data, values.shape, values.strides, values.dtype.str)
        if place in self._seen and self._seen[place][0]() is owner:
            return self._seen[place][1]
        found = self._constant(values)
        self._seen[place] = (weakref.ref(owner), found)
        return found

    def _constant(self, values: Array) -> int:
        kind = kind_of(values.dtype)
        self._file.work(10 + values.size / HASHED_A_STEP)
        with np.errstate(over="ignore"):
            kept = np.ascontiguousarray(values, np.dtype(kind))
        if values.dtype == np.float64 and np.any(kept != values):
            self.note("constants of 64 bits are rounded to float32")
        kept = kept.reshape(values.shape)  # ascontiguousarray makes (1,) of ()
        key = (kind, kept.shape, hashlib.sha256(kept.data).digest())
        if key not in self._same:
            self._file.keep(kept.nbytes)
            self._file.budget.memory(CONSTANT_BYTES, "its constants")
            if not np.may_share_memory(kept, values):
                self._file.take(kept.nbytes, "its constants")
                kept = self._file.frozen(kept)
            elif not cannot_change(kept) or kept.nbytes < LARGE:
                kept = kept.copy()
            self.tensors.append(Tensor(kept.shape, kind))
            self._same[key] = len(self.tensors) - 1
            self.constants[self._same[key]] = kept
        return self._same[key]

    def emit(
        self,
        code: str,
        inputs: Sequence[int],
        shape: Sequence[int],
        kind: Kind = "float32",
        /,
        **attributes: Any,
    ) -> int:
        """Add an operation with one output, and return that."""
        return self.emit_all(code, inputs, [shape], attributes, kind)[0]

    def emit_all(
        self,
        code: str,
        inputs: Sequence[int],
        shapes: Sequence[Sequence[int]],
        attributes: Mapping[str, Any],
        kind: Kind = "float32",
    ) -> list[int]:
        """Add an operation, and return its outputs."""
        if len(self.ops) >= MOST_OPS:
            raise UnsupportedError(f"the model takes more than {MOST_OPS} operations")
        count = len(inputs) + len(shapes)
        size = OP_BYTES + NAME_BYTES * count
        self._file.budget.charge(OP_STEPS + count, size, "its operations")
        outputs = [self.tensor(shape, kind) for shape in shapes]
        op = Op(code, tuple(inputs), tuple(outputs), dict(attributes), self.source)
        self.ops.append(op)
        self.made.update(dict.fromkeys(outputs, op))
        return outputs

    def shape(self, tensor: int) -> Shape:
        return self.tensors[tensor].shape

    def kind(self, value: Value) -> Kind:
        """Return what a value's elements are."""
        if isinstance(value, Sym):
            return self.tensors[value.tensor].kind
        return kind_of(value.dtype)

    def shaped(self, value: Value, shape: Sequence[int]) -> int:
        """Return a tensor of this shape that holds a value."""
        wanted = tuple(shape)
        if not isinstance(value, Sym):
            return self.constant(value.reshape(wanted))
        if self.shape(value.tensor) == wanted:
            return value.tensor
        key = ("reshape", value.tensor, wanted)
        if key not in self._same:
            kind = self.tensors[value.tensor].kind
            self._same[key] = self.emit("reshape", [value.tensor], wanted, kind, shape=wanted)
        return self._same[key]

    def plain(self, value: Value) -> int:
        """Return a tensor that holds a value, of whatever shape."""
        if isinstance(value, Sym):
            return value.tensor
        return self.constant(value.reshape(stripped(value.shape)))

    def take(self, size_bytes: int) -> None:
        """Charge memory for numbers that are about to be made; see `File.take`."""
        self._file.take(size_bytes)

    def foresee(self, size_bytes: int) -> None:
        """See that there is memory for a constant that is made; see `File.foresee`."""
        self._file.foresee(size_bytes)

    def spend(self, steps: float = 1) -> None:
        """Charge steps of work."""
        self._file.work(steps)

    def note(self, text: str) -> None:
        self.notes[text] = None

    def works_along(self, *sizes: int) -> None:
        """Say that the node brings together the values along axes of these sizes."""
        self.work.along += sizes

    def saved(self) -> Saved:
        """Return where it stands, for `restore`."""
        self._file.work((len(self._same) + len(self._seen) + len(self.notes)) / 20)
        return Saved(
            len(self.ops),
            len(self.constants),
            self._elements,
            dict(self._same),
            dict(self._seen),
            dict(self.notes),
        )

    def restore(self, saved: Saved) -> None:
        """Leave out what was added since."""
        del self.ops[saved.ops :]
        for number in list(self.constants)[saved.constants :]:
            del self.constants[number]
        self._same, self._seen, self.notes = saved.same, saved.seen, saved.notes
        self._elements = saved.elements

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Leave out in the end what is added meanwhile; only its shapes are right."""
        saved = self.saved()
        self.is_aside = True
        try:
            yield
        finally:
            self.is_aside = False
            self.restore(saved)
