"""Whether one frame a step computes what the file does along a time axis.

The graph is traced once more, for several frames. What it does to the last of them has to be what
it does to one alone, behind what is kept of those before: a node may not bring frames together, but
for a convolution that pads in front of them; nor take other frames than the last ones, or compute
with numbers that follow from how many there are.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from .._files import FormatError
from ._file import BYTES_A_STEP, Array, Proto
from ._graph import Scope, label
from ._program_builder import Sym, Value, shape_of
from ._program_inputs import Inputs
from ._program_nodes import Registers
from ._program_reach import PLACES, RECURRENT, TAKERS, Pairs, Reaches, grown
from ._program_trace import Key, Tracer, place

RESIZED = "makes another number of frames than it gets, or parts of frames"
ALONG = "works along time, where each of its results takes several frames"
MAYBE = (
    "works along an axis of size 1, which may be this one: each result then takes several frames"
)
LENGTH = "computes with numbers that follow from how many frames the file gets at once"
ORDER = "puts frames in another order"
BRANCH = "takes another branch where the file gets several frames at once"
ANEW = "gets each frame as a sequence of its own, and would not start anew with it here"
SQUEEZED = (
    "gets a value that has no axis of time where there is one frame, since a Squeeze without axes "
    "takes that as well: name the axes, x.squeeze(0)"
)
# What takes each value alone, so that an axis of time more or less is the same to it.
ALONE = {"Identity", "Cast", "Dropout", "Squeeze", "Abs", "Neg", "Exp", "Log", "Sqrt", "Erf"}
ALONE |= {"Relu", "LeakyRelu", "Elu", "Sigmoid", "HardSigmoid", "Tanh", "Softplus", "Clip"}
PAIRED = {"Add", "Sub", "Mul", "Div", "Max", "Min"}
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
        more: so many more than one.
        is_whole: the file takes these frames and no others.

    found: the first node that one frame a step gets wrong, and why; None for none. anew: the same
    of a node that takes each frame as a sequence, which ends the trace. past: the nodes
    that keep frames of the steps before, with the axis of their input that is time. ahead: the
    nodes that put something in front of the frames, and the inputs that it is made of. times: of
    outputs, which axis is.
    """

    def __init__(
        self, first: Tracer, inputs: Inputs, registers: Registers, more: int, *, is_whole: bool
    ) -> None:
        super().__init__(first.file, first.opset, inputs, first.cuts, first.builder, registers)
        self._first = first
        self._reaches = Reaches(more, is_whole=is_whole)
        self._more, self._is_whole = more, is_whole
        self.found: tuple[str, str] | None = None
        self.anew: tuple[str, str] | None = None
        self.past: dict[Key, int] = {}
        self.ahead: list[tuple[str, Sequence[str]]] = []
        self.times: dict[str, int] = {}
        self._longer: list[tuple[str, str]] = []

    def outputs(self, names: Sequence[tuple[str, Scope, str]]) -> None:
        """Trace values that leave the step: what they are called, and where they are.

        Raises:
            FormatError: the graph does not take so many frames.
        """
        for shown, scope, name in names:
            before, now = self._first.value(scope, name), self.value(scope, name)
            source = f"of output {shown}"
            if self._depends(before, now):
                self._wrong(source, LENGTH)
            if not isinstance(now, Sym):
                continue
            axes = grown(shape_of(before), now.shape)
            if len(axes) > 1:
                self._wrong(source, ORDER)
            elif axes:
                self.times[shown] = axes[0]
                self._wrong(*self._reaches.beyond(now))
                count = self._frames_of_one(before, now, axes[0])
                if count > 1:
                    text = f"has {count} values along time for one frame: it is padded, and not cut"
                    self._longer.append((source, text))
        if self.past and self._longer:
            self._wrong(*self._longer[0])

    def _frames_of_one(self, before: Value, now: Value, axis: int) -> int:
        """Return how many frames a value has where the inputs have one."""
        one, many = shape_of(before)[axis], shape_of(now)[axis]
        return one * self._more // (many - one)

    def _wrong(self, source: str, why: str) -> None:
        self.found = self.found or ((source, why) if why else None)

    def _compute(self, scope: Scope, name: str) -> None:
        key = (id(scope), name)
        before = self._first.known.get(key)
        same = name in scope.tensors
        if key in self.cuts:
            again = self.inputs.value(self.cuts[key])
            same = before is not None and shape_of(before) == shape_of(again)
            if not same and isinstance(again, Sym):
                self._reaches.given(again)
        if same and before is not None:
            self.known[key] = before
        else:
            super()._compute(scope, name)

    def _misfit(self) -> str:
        return ", so it is made for another number of frames"

    def _branch(self, scope: Scope, index: int) -> Scope:
        branch = super()._branch(scope, index)
        owner, name = self._owned(scope, scope.nodes[index].input[0])
        known = (id(owner), name) in self._first.known
        if known and self._first._branch(scope, index) is not branch:
            self._wrong(f"If {label(scope.nodes[index])}", BRANCH)
        return branch

    def _operate(self, scope: Scope, node: Proto, inputs: list[Value | None]) -> list[Value]:
        before = [self._before(scope, name) for name in node.input]
        known = [self._before(scope, name) for name in node.output]
        if all(one is other for one, other in zip(before, inputs, strict=True)) and all(
            one is not None or not name for one, name in zip(known, node.output, strict=True)
        ):
            return [PLACEHOLDER if one is None else one for one in known]
        source = f"{node.op_type} {label(node)}"
        try:
            values = super()._operate(scope, node, inputs)
        except FormatError:
            layout = int(scope.attributes_of(node).get("layout", 0))
            if node.op_type in RECURRENT and 1 - layout in _longer_axes(before[0], inputs[0]):
                self.anew = self.anew or (source, ANEW)
            elif node.op_type == "Slice" and _longer_axes(before[0], inputs[0]):
                self.anew = self.anew or (source, PLACES)  # nothing, of several frames
            raise
        if any(isinstance(value, Sym) for value in values):
            why = self._judged(scope, node, before, inputs, known, values)
            self._wrong(self._reaches.blamed or source, why)
        return values

    def _depends(self, one: Value | None, many: Value | None) -> bool:
        if isinstance(one, np.ndarray) and isinstance(many, np.ndarray) and one is not many:
            self.file.work((one.size + many.size) / BYTES_A_STEP)
        return _depends(one, many)

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
        made: Sequence[Value | None],
        values: Sequence[Value],
    ) -> str:
        """Return what a node does that one frame alone gets wrong, "" for nothing."""
        self._reaches.blamed = ""
        for index, (one, many) in enumerate(zip(before, inputs, strict=True)):
            if (node.op_type, index) not in SHAPES and self._depends(one, many):
                return LENGTH
        first, work = (one.works.get(place(scope, node)) for one in (self._first, self))
        pairs = list(zip(before, inputs, strict=True))
        if _has_lost_time(node.op_type, pairs):
            return SQUEEZED
        if first is not None and work is not None:
            why, in_front = self._reaches.judge(node.op_type, pairs, first, work)
            if not self._reaches.is_window and Counter(first.along) - Counter(work.along):
                return ALONG
            if why:
                return why
            if in_front is not None:
                self.past[place(scope, node)] = in_front
        results = list(zip(made, values, strict=False))
        lost = self._reaches.follow(node.op_type, pairs, results)
        why = LENGTH if lost else self._moved(scope, node, pairs, made, values)
        is_resized = node.op_type not in TAKERS or self._is_whole
        is_resized = is_resized and any(self._is_resized(pairs, *one) for one in results)
        return why or (RESIZED if is_resized else "")

    def _is_resized(self, pairs: Pairs, one: Value | None, many: Value) -> bool:
        """Tell whether a value has not as many frames more as the inputs have, and whole ones.

        pairs: what it is made of.
        """
        before, after = () if one is None else shape_of(one), shape_of(many)
        for axis in grown(before, after):
            more = after[axis] - before[axis]
            each, rest = divmod(more, self._more)
            if rest and not self._is_whole:  # of a long sequence some of the last ones alone
                if not any(more % given == 0 for given in _growths(pairs)):
                    return True
            elif rest or each < 1 or before[axis] % each:
                return True
        return False

    def _moved(
        self,
        scope: Scope,
        node: Proto,
        pairs: Sequence[tuple[Value | None, Value | None]],
        made: Sequence[Value | None],
        values: Sequence[Value],
    ) -> str:
        """Return what becomes of the order of frames, "" where they keep it."""
        if node.op_type == "Concat":
            axis = int(scope.attributes_of(node).get("axis", 1))
            of_frames = [self._reaches.depends(many) for _, many in pairs]
            longer = [_is_longer(axis, *pair) for pair in pairs]
            for (_, many), is_of_frames, is_longer in zip(pairs, of_frames, longer, strict=True):
                if any(longer) and isinstance(many, Sym) and not (is_of_frames or is_longer):
                    self.ahead.append((f"Concat {label(node)}", self._first._roots(many)))
            return _joined(axis, pairs, of_frames)
        (one, many), result = pairs[0] if pairs else (None, None), made[0] if made else None
        if result is None or one is None or many is None:
            return ""
        shapes = [(shape_of(one), shape_of(many)), (shape_of(result), shape_of(values[0]))]
        if node.op_type == "Reshape":
            return ORDER if _reordered(*shapes) else ""
        if node.op_type == "Tile":
            return ALONG if _repeated(*shapes) else ""
        return ""


def _growths(pairs: Pairs) -> list[int]:
    """Return how much longer axes are with several frames."""
    shapes = [(shape_of(a), shape_of(b)) for a, b in pairs if a is not None and b is not None]
    return [many[axis] - one[axis] for one, many in shapes for axis in grown(one, many)]


def _depends(one: Value | None, many: Value | None) -> bool:
    """Tell whether constants differ in more than how often they repeat the same."""
    if not isinstance(one, np.ndarray) or not isinstance(many, np.ndarray) or one is many:
        return False
    if one.shape == many.shape:
        return not np.array_equal(one, many)
    if one.ndim != many.ndim or not one.size or not many.size:
        return not (_single(one) and _single(many) and one.flat[0] == many.flat[0])
    rows = one
    for axis in grown(one.shape, many.shape):
        rows = rows.take([0], axis)
    return not (np.all(one == rows) and np.all(many == rows))


def _single(values: Array) -> bool:
    return values.size > 0 and bool(np.all(values == values.flat[0]))


def _longer_axes(one: Value | None, many: Value | None) -> list[int]:
    """Return the axes that are longer where there are more frames."""
    return [] if one is None or many is None else grown(shape_of(one), shape_of(many))


def _is_longer(axis: int, one: Value | None, many: Value | None) -> bool:
    """Tell whether that axis is longer where there are more frames."""
    return one is not None and axis % max(len(shape_of(one)), 1) in _longer_axes(one, many)


def _has_lost_time(op_type: str, pairs: Sequence[tuple[Value | None, Value | None]]) -> bool:
    """Tell whether a value has fewer axes where there is one frame, and that matters to a node."""
    both = [(one, many) for one, many in pairs if one is not None and many is not None]
    if all(len(shape_of(one)) == len(shape_of(many)) for one, many in both):
        return False
    shapes = {shape_of(many) for _, many in both if math.prod(shape_of(many)) != 1}
    return op_type not in ALONE and (op_type not in PAIRED or len(shapes) > 1)


def _joined(
    axis: int, pairs: Sequence[tuple[Value | None, Value | None]], depends: Sequence[bool]
) -> str:
    """Return ORDER where something stands behind the frames along their axis, "" where not.

    Nor may what depends on frames stand in front of them: in the file it does so once.
    """
    longer = []
    for (one, many), of_frames in zip(pairs, depends, strict=True):
        if one is not None and many is not None and 0 not in shape_of(one):
            longer.append((_is_longer(axis, one, many), of_frames))
    is_ahead = any(of_frames and not is_longer for is_longer, of_frames in longer[:-1])
    is_behind = any(is_longer for is_longer, _ in longer[:-1])
    return ORDER if is_behind or (is_ahead and any(is_longer for is_longer, _ in longer)) else ""


def _repeated(before: Shapes, after: Shapes) -> bool:
    """Tell whether the longer axes are repeated."""
    return any(before[1][axis] != after[1][axis] for axis in grown(*before))


def _reordered(before: Shapes, after: Shapes) -> bool:
    """Tell whether another shape makes frames of what were parts of several."""
    blocks = []
    for one, many in (before, after):
        axes = grown(one, many)
        if len(axes) != 1:
            return False
        blocks.append(one[axes[0]] * math.prod(many[axes[0] + 1 :]))
    return blocks[0] != blocks[1]
