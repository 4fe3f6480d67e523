"""One frame of a graph that is made for a fixed number of frames.

Exporters write that number into the shapes that a graph reshapes to, the ends of its slices, and
constants that they repeat for each frame. What the graph does to all of its frames says which of
these it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._files import FormatError
from ._file import Array, Proto
from ._graph import Scope
from ._program_advice import FIX_AXIS
from ._program_builder import Sym, Taken, Value, shape_of
from ._program_reach import PLACES, RECURRENT, grown
from ._program_trace import SEVERAL, Key, Tracer, place

# Operators whose inputs are broadcast against each other.
BROADCAST = {"Add", "Sub", "Mul", "Div", "Pow", "PRelu", "Min", "Max", "Sum", "Mean", "Where"}
BROADCAST |= {"And", "Or", "Less", "Greater", "Equal", "LessOrEqual", "GreaterOrEqual", "Concat"}
Pair = tuple["Value | None", "Value | None"]  # of one frame, of all


class Shorter(Tracer):
    """Traces one frame of a graph, by what it does to all frames of the file.

    Args:
        like: has what `Tracer` takes.
        whole: a trace of these, of all values that are wanted here.
        length: how many they are.
        past: as of `Tracer`.
    """

    def __init__(
        self, like: Tracer, whole: Tracer, length: int, past: Mapping[Key, int] | None
    ) -> None:
        super().__init__(
            like.file, like.opset, like.inputs, like.cuts, like.builder, like.registers, past
        )
        self._whole, self._length = whole, length

    def _compute(self, scope: Scope, name: str) -> None:
        key = (id(scope), name)
        if key in self._whole.fixed:
            self.known[key] = self._whole.known[key]
            self.fixed.add(key)
        else:
            super()._compute(scope, name)

    def _operate(self, scope: Scope, node: Proto, inputs: list[Value | None]) -> list[Value]:
        pairs = [
            (one, self._there(scope, name)) for one, name in zip(inputs, node.input, strict=True)
        ]
        if not any(_axes(*pair) for pair in pairs):
            return super()._operate(scope, node, inputs)
        try:
            return super()._operate(scope, node, self._fitted(scope, node, pairs))
        except FormatError as error:
            raise FormatError(
                f"{error}. That is with one frame instead of the {self._length} in the file, as "
                f"time_axis= says: look whether that axis is time, or {FIX_AXIS}"
            ) from error
        finally:
            self._cuts = {}

    def _misfit(self) -> str:
        return f": {SEVERAL}"

    def _there(self, scope: Scope, name: str) -> Value | None:
        """Return what a name stands for in the whole."""
        owned = scope.owner(name) if name else None
        return None if owned is None else self._whole.known.get((id(owned[0]), owned[1]))

    def _fitted(self, scope: Scope, node: Proto, pairs: Sequence[Pair]) -> list[Value | None]:
        """Return the inputs of a node as they are with one frame.

        Raises:
            FormatError: its numbers are for the frames of the file.
        """
        attributes = scope.attributes_of(node)
        inputs = [one for one, _ in pairs]
        (one, all_), axes = pairs[0], _axes(*pairs[0])
        made = self._there(scope, node.output[0])
        if node.op_type in BROADCAST or node.op_type == "Gemm":
            return self._rows(node, attributes, pairs)
        if one is None or all_ is None or len(axes) != 1:
            return inputs
        (axis,) = axes
        sizes = shape_of(one)[axis], shape_of(all_)[axis]
        if node.op_type in ("Reshape", "Expand") and made is not None:
            each, rest = divmod(sizes[1] - sizes[0], self._length - 1)  # of a frame on the axis
            shape = None
            if node.op_type == "Expand":
                shape = _expanded(shape_of(all_), shape_of(made), axis, sizes[0])
            elif each and not rest:
                inner = each * math.prod(shape_of(all_)[axis + 1 :])
                shape = _reshaped(shape_of(made), inner, sizes[1] // each, sizes[0] // each)
            if shape is None:
                raise self._error(node, "it puts frames in another order")
            return [one, np.array(shape, np.int64), *inputs[2:]]
        if node.op_type == "Squeeze" and len(inputs) < 2 and not attributes.get("axes"):
            gone = [n for n, size in enumerate(shape_of(all_)) if size == 1]
            return [one, np.array(gone, np.int64)]
        if node.op_type in ("Slice", "Gather", "Split"):
            return self._taken(scope, node, inputs, axis, sizes)
        if node.op_type in RECURRENT and len(inputs) > 4:
            lengths = inputs[4]
            if isinstance(lengths, np.ndarray) and np.all(lengths == sizes[1]):
                inputs[4] = np.full_like(lengths, sizes[0])
        return inputs

    def _rows(
        self, node: Proto, attributes: Mapping[str, Any], pairs: Sequence[Pair]
    ) -> list[Value | None]:
        """Return inputs of which constants have as many rows as there are frames of the others."""
        result = [one for one, _ in pairs]
        joined = None
        if node.op_type == "Concat":
            rank = max(len(shape_of(one)) for one, _ in pairs if one is not None)
            joined = rank - int(attributes.get("axis", 1)) % rank  # counted from the end
        for one, all_ in pairs:
            for axis in _axes(one, all_):
                assert one is not None
                assert all_ is not None
                behind = len(shape_of(one)) - axis
                if behind == joined:
                    continue
                for index, other in enumerate(result):
                    if isinstance(other, np.ndarray) and (node.op_type != "Gemm" or index == 2):
                        sizes = shape_of(one)[axis], shape_of(all_)[axis]
                        result[index] = self._cut(node, other, behind, *sizes)
        return result

    def _cut(self, node: Proto, rows: Array, behind: int, size: int, whole: int) -> Array:
        """Return as many rows of a constant as there are frames; it is the same for each frame."""
        if rows.ndim < behind or rows.shape[-behind] != whole:
            return rows
        first = np.take(rows, range(size), axis=-behind)
        if np.any(rows != np.take(rows, [0], axis=-behind)):
            raise self._error(node, f"it has other numbers for each of {whole} frames")
        return first

    def _taken(
        self,
        scope: Scope,
        node: Proto,
        inputs: list[Value | None],
        axis: int,
        sizes: tuple[int, int],
    ) -> list[Value | None]:
        """Return the inputs of a node that takes frames, or say in `_cuts` which ones."""
        work = self._whole.works.get(place(scope, node))
        parts = [part for part in work.taken if part.axis == axis] if work else []
        if not parts:
            return inputs
        cut = _fitting(parts[0], sizes[0], sizes[1] - sizes[0]) if len(parts) == 1 else None
        if cut is None or node.op_type == "Split":
            raise self._error(node, f"it {PLACES}")
        if node.op_type == "Slice":
            self._cuts = {axis: cut}
            return inputs
        indices = inputs[1]
        if not isinstance(indices, np.ndarray) or indices.size != cut.stop - cut.start:
            raise self._error(node, f"it {PLACES}")
        return [inputs[0], np.arange(cut.start, cut.stop).reshape(indices.shape)]


def _axes(one: Value | None, all_: Value | None) -> list[int]:
    """Return the axes that are shorter with one frame."""
    if not isinstance(one, Sym) or all_ is None:
        return []
    return grown(one.shape, shape_of(all_))


def _reshaped(after: Sequence[int], inner: int, frames: int, fewer: int) -> Sequence[int] | None:
    """Return what a shape of so many frames becomes with fewer; None where one axis has not all.

    inner: so many values of a frame stand together.
    """
    for at, length in enumerate(after):
        behind = math.prod(after[at + 1 :])
        if inner % behind == 0 and (behind * length) % (inner * frames) == 0:
            return [*after[:at], length // frames * fewer, *after[at + 1 :]]
    return None


def _expanded(
    before: Sequence[int], after: Sequence[int], axis: int, size: int
) -> Sequence[int] | None:
    """Return what a shape to which a value is repeated becomes where an axis has another size."""
    shape = list(after)
    shape[axis - len(before)] = size
    return shape


def _fitting(part: Taken, size: int, fewer: int) -> slice | None:
    """Return which part of an axis of another size is the same one, None for none.

    fewer: so many frames there are more of where the part was taken.
    """
    end, length = size - part.behind, part.size - part.behind - part.first
    if part.behind < 0:
        return None
    if length > fewer:  # from so many at the front to so many at the end
        return slice(part.first, end)
    start = end - length
    return slice(start, end) if start >= 0 else None
