"""Whether one frame a step computes what the file does along a time axis that it leaves free.

The graph is traced once more, for several frames. What it does to the last of them has to be what
it does to one alone: a node may not work along the axis, take other frames than the last ones, or
compute with numbers that follow from how many there are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from ._file import Array, Proto
from ._graph import Scope, label
from ._program_builder import Sym, Value, Work, shape_of
from ._program_inputs import Inputs
from ._program_nodes import Registers
from ._program_trace import Tracer

FRAMES = 8
ALONG = "works along an axis of one value if that is 1"
LENGTH = "computes with numbers that follow from how many frames the file gets at once"
PLACES = "takes frames by where they stand in the file's sequence, and not the last ones"
ORDER = "puts frames in another order"
BRANCH = "takes another branch where the file gets several frames at once"
# Inputs that only say shapes, or frames that are taken: what comes of them is looked at instead.
SHAPES = {("Reshape", 1), ("Expand", 1), ("Tile", 1), ("Split", 1), ("Gather", 1)}
SHAPES |= {("Slice", n) for n in range(1, 5)} | {("LSTM", 4), ("GRU", 4)}
Shapes: TypeAlias = tuple[Sequence[int], Sequence[int]]  # with one frame, with several
PLACEHOLDER = np.zeros(0, np.float32)  # for an output that has no name


class Longer(Tracer):
    """Traces values of a graph again, with more frames, and finds what looks beyond its frame.

    Args:
        first: the trace with one frame; what does not depend on the frames is taken from there.
        inputs: the same with more frames.
        registers: take the states of this trace.

    found: the first node that one frame a step gets wrong, and why; None for none.
    """

    def __init__(self, first: Tracer, inputs: Inputs, registers: Registers) -> None:
        super().__init__(first.file, first.opset, inputs, first.cuts, first.builder, registers)
        self._first = first
        self.found: tuple[str, str] | None = None

    def output(self, scope: Scope, name: str) -> None:
        """Trace a value that leaves the step.

        Raises:
            FormatError: the graph does not take so many frames.
        """
        before, now = self._first.value(scope, name), self.value(scope, name)
        if _depends(before, now):
            self._wrong(f"of output {name}", LENGTH)
        if isinstance(now, Sym) and len(_grown(shape_of(before), now.shape)) > 1:
            self._wrong(f"of output {name}", ORDER)

    def _wrong(self, source: str, why: str) -> None:
        self.found = self.found or (source, why)

    def _compute(self, scope: Scope, name: str) -> None:
        key = (id(scope), name)
        before = self._first.known.get(key)
        same = name in scope.tensors
        if key in self.cuts:
            again = self._inputs.value(self.cuts[key])
            same = before is not None and shape_of(before) == shape_of(again)
        if same and before is not None:
            self.known[key] = before
        else:
            super()._compute(scope, name)

    def _branch(self, scope: Scope, index: int) -> Scope:
        branch = super()._branch(scope, index)
        owner, name = self._owned(scope, scope.nodes[index].input[0])
        known = (id(owner), name) in self._first.known
        if known and self._first._branch(scope, index) is not branch:
            self._wrong(f"If {label(scope.nodes[index])}", BRANCH)
        return branch

    def _operate(self, scope: Scope, node: Proto, inputs: list[Value | None]) -> list[Value]:
        before = [self._before(scope, name) for name in node.input]
        if all(one is other for one, other in zip(before, inputs, strict=True)):
            known = [self._before(scope, name) for name in node.output]
            if all(
                one is not None or not name for one, name in zip(known, node.output, strict=True)
            ):
                return [PLACEHOLDER if one is None else one for one in known]
        values = super()._operate(scope, node, inputs)
        if any(isinstance(value, Sym) for value in values):
            why = self._judged(scope, node, before, inputs, values)
            if why:
                self._wrong(f"{node.op_type} {label(node)}", why)
        return values

    def _before(self, scope: Scope, name: str) -> Value | None:
        """Return what a name stood for where there was one frame."""
        owned = scope.owner(name) if name else None
        return None if owned is None else self._first.known.get((id(owned[0]), owned[1]))

    def _judged(
        self,
        scope: Scope,
        node: Proto,
        before: Sequence[Value | None],
        inputs: Sequence[Value | None],
        values: Sequence[Value],
    ) -> str:
        """Return what a node does that one frame alone gets wrong, "" for nothing."""
        for index, (one, many) in enumerate(zip(before, inputs, strict=True)):
            if (node.op_type, index) not in SHAPES and _depends(one, many):
                return LENGTH
        key = (id(scope), label(node))
        first, work = self._first.works.get(key), self.works.get(key)
        if first is not None and work is not None:
            if Counter(first.along) - Counter(work.along):
                return ALONG
            if _takes_others(first, work):
                return PLACES
        return self._moved(scope, node, before, inputs, values)

    def _moved(
        self,
        scope: Scope,
        node: Proto,
        before: Sequence[Value | None],
        inputs: Sequence[Value | None],
        values: Sequence[Value],
    ) -> str:
        """Return what becomes of the order of frames, "" where they keep it."""
        if node.op_type == "Concat":
            return _joined(int(scope.attributes_of(node).get("axis", 1)), before, inputs)
        made = self._before(scope, node.output[0])
        one, many = (given[0] if given else None for given in (before, inputs))
        if made is None or one is None or many is None:
            return ""
        shapes = [(shape_of(one), shape_of(many))]
        shapes.append((shape_of(made), shape_of(values[0])))
        if node.op_type == "Reshape":
            return ORDER if _reordered(*shapes) else ""
        if node.op_type == "Tile":
            return ALONG if _repeated(*shapes) else ""
        return ""


def _depends(one: Value | None, many: Value | None) -> bool:
    """Tell whether constants differ in more than how often they repeat one number."""
    if not isinstance(one, np.ndarray) or not isinstance(many, np.ndarray) or one is many:
        return False
    if one.shape == many.shape and np.array_equal(one, many):
        return False
    return not (_single(one) and _single(many) and one.flat[0] == many.flat[0])


def _single(values: Array) -> bool:
    return values.size > 0 and bool(np.all(values == values.flat[0]))


def _grown(one: Sequence[int], many: Sequence[int]) -> list[int]:
    """Return the axes that several frames make longer."""
    if len(one) != len(many):
        return []
    return [n for n, (size, larger) in enumerate(zip(one, many, strict=True)) if size != larger]


def _takes_others(one: Work, many: Work) -> bool:
    """Tell whether the last value that is taken of a longer axis is not its last one."""
    if len(one.taken) != len(many.taken):
        return True
    return any(
        size != larger and (behind != 0 or (end is not None and end == first_end))
        for (size, _, first_end), (larger, behind, end) in zip(one.taken, many.taken, strict=True)
    )


def _joined(axis: int, before: Sequence[Value | None], inputs: Sequence[Value | None]) -> str:
    """Return ORDER where something stands behind the frames along their axis, "" where not."""
    longer = []
    for one, many in zip(before, inputs, strict=True):
        if one is not None and many is not None and shape_of(one) != (0,):
            rank = len(shape_of(one))
            longer.append(axis % rank in _grown(shape_of(one), shape_of(many)))
    return ORDER if any(longer[:-1]) else ""


def _repeated(before: Shapes, after: Shapes) -> bool:
    """Tell whether the longer axes are repeated."""
    return any(before[1][axis] != after[1][axis] for axis in _grown(*before))


def _reordered(before: Shapes, after: Shapes) -> bool:
    """Tell whether another shape makes frames of what were parts of several."""
    blocks = []
    for one, many in (before, after):
        grown = _grown(one, many)
        if len(grown) != 1:
            return False
        blocks.append(one[grown[0]] * math.prod(many[grown[0] + 1 :]))
    return blocks[0] != blocks[1]
