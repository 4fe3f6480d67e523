"""How far the values of a graph depend on frames that come later, which decides what can be kept.

Of a value along time, the last ones may change when more frames come: those of a convolution that
pads behind, until they are cut off. What is kept for the steps that follow, and what leaves a step,
must not change any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ._program_builder import Sym, Taken, Value, Window, Work, shape_of

LAST = 1 << 30  # of a value that depends on where the sequence ends
RECURRENT = ("LSTM", "GRU")
TAKERS = (*RECURRENT, "Slice", "Gather", "Split")  # their results may have no time axis any more
Pairs: TypeAlias = Sequence[tuple["Value | None", "Value | None"]]  # with one frame, with several

PLACES = "takes frames by their place in the file's sequence, and not the last ones"
MERGED = "works along an axis that has more than frames in it"
ONLY_LAST = "keeps its state from step to step, and in the file gets the last frames alone"
CHANGES = "keeps what it gets for the steps that follow, which changes with each of them by "


@dataclass(frozen=True)
class Reach:
    """So many of the last values along time may change; which node makes that so."""

    behind: int
    source: str


def grown(one: Sequence[int], many: Sequence[int]) -> list[int]:
    """Return the axes that several frames make longer."""
    if len(one) != len(many):
        return []
    return [n for n, (size, larger) in enumerate(zip(one, many, strict=True)) if size != larger]


class Reaches:
    """The reach of each tensor that depends on frames.

    Args:
        more: so many more frames are traced than one.
        is_whole: the file takes these frames and no others.

    blamed: the node that what `judge` found is about, "" for the one that it was given. is_window:
    the node that it was given pads or convolves time.
    """

    def __init__(self, more: int, *, is_whole: bool) -> None:
        self._more, self._is_whole = more, is_whole
        self._of: dict[int, Reach] = {}
        self._result: Reach | None = None
        self._source = ""
        self.blamed, self.is_window = "", False

    def given(self, value: Sym) -> None:
        """Say that an input has frames."""
        self._of[value.tensor] = Reach(0, "")

    def depends(self, value: Value | None) -> bool:
        """Tell whether a value depends on frames."""
        return isinstance(value, Sym) and value.tensor in self._of

    def beyond(self, value: Sym) -> tuple[str, str]:
        """Return which node makes a value along time look into the future, and how; "" for none.

        Where the file leaves the axis free, each step has the last value of the frames so far.
        """
        found = self._of.get(value.tensor)
        if found is None or found.behind == 0 or (found.behind == LAST and not self._is_whole):
            return "", ""
        if found.behind == LAST:
            return found.source, "is in each frame of the result, and changes with the last one"
        return found.source, _future(found.behind)

    def judge(self, op_type: str, pairs: Pairs, first: Work, work: Work) -> tuple[str, int | None]:
        """Return what a node does wrong, "" for nothing, and the axis in front of which it pads.

        pairs: its inputs. first, work: what it does with one frame, and with several.
        """
        self.blamed, self.is_window, self._source = "", False, work.source
        self._result = self._most(pairs)
        given = [(one, many) for one, many in pairs if isinstance(many, Sym) and one is not None]
        if self._result is None or not given:
            return "", None
        one, many = (shape_of(value) for value in given[0])
        axes = grown(one, many)
        if op_type in RECURRENT:
            return self._recurrent(pairs, axes), None
        parts = [[part for part in each.taken if part.axis in axes] for each in (first, work)]
        windows = [window for window in work.windows if window.axis in axes]
        self.is_window = bool(windows)
        why = _modes(windows) or self._taken(op_type, *parts)
        if why or not windows:
            return why, None
        (axis, *others), window = axes, windows[0]
        if others or many[axis] - one[axis] != self._more or window not in first.windows:
            return MERGED, None
        why = self._along(window, _left(one[axis], parts[0]), len(many) - 1 - axis)
        return why, axis if window.before and not why else None

    def follow(self, op_type: str, pairs: Pairs, made: Pairs) -> bool:
        """Note the reach of what a node makes; tell whether it has lost its time axis."""
        if self._result is None:
            return False
        shapes = [(shape_of(a), shape_of(b)) for a, b in pairs if a is not None and b is not None]
        is_longer, is_lost = any(grown(*pair) for pair in shapes), False
        for number, (one, many) in enumerate(made):
            if not isinstance(many, Sym):
                continue
            reach = self._result
            axes = [] if one is None else grown(shape_of(one), many.shape)
            if len(axes) != 1 or (number and op_type in RECURRENT):
                reach = Reach(LAST, reach.source or self._source)
            same = one is not None and shape_of(one) == many.shape
            is_lost = is_lost or (is_longer and same and op_type not in TAKERS)
            self._of[many.tensor] = reach
        return is_lost

    def _most(self, pairs: Pairs) -> Reach | None:
        """Return the reach of what a node gets, None where that depends on no frame."""
        found = [self._of.get(many.tensor) for _, many in pairs if isinstance(many, Sym)]
        return max((one for one in found if one), key=lambda one: one.behind, default=None)

    def _recurrent(self, pairs: Pairs, axes: Sequence[int]) -> str:
        reach, is_told = self._result, len(pairs) > 5 and isinstance(pairs[5][1], Sym)
        one = pairs[0][0]
        if reach is None or one is None:
            return ""
        if 0 < reach.behind < LAST:
            self.blamed = reach.source
            return _future(reach.behind)
        if is_told:  # its state is the caller's, who gives it one frame after the other
            return ""
        if reach.behind == LAST:
            return CHANGES + reach.source if axes else ONLY_LAST
        if axes and (frames := shape_of(one)[axes[0]]) != 1:
            return f"gets {frames} values along time for one frame: they are padded, and not cut"
        return ""

    def _taken(self, op_type: str, first: Sequence[Taken], taken: Sequence[Taken]) -> str:
        """Return what is wrong with the frames that a node takes."""
        if (taken and op_type == "Split") or len(first) != len(taken):
            return PLACES
        for one, many in zip(first, taken, strict=True):
            if many.behind < 0 or one.behind != many.behind or self._result is None:
                return PLACES
            reach = self._result
            left, more_left = (part.size - part.behind - part.first for part in (one, many))
            if more_left == left:
                if many.behind < reach.behind < LAST:
                    self.blamed = reach.source
                    return _future(reach.behind)
                self._result = Reach(LAST, reach.source or self._source)
            elif (
                more_left - left != many.size - one.size
                or one.first != many.first
                or (not self._is_whole and many.end is not None and many.end == one.end)
            ):
                return PLACES
            elif many.is_tail and not self._is_whole:  # all of a short one, less of a longer one
                self._result = Reach(LAST, reach.source or self._source)
            elif reach.behind < LAST:
                self._result = Reach(max(reach.behind - many.behind, 0), reach.source)
        return ""

    def _along(self, window: Window, frames: int, behind_time: int) -> str:
        """Return what is wrong with a padding or a convolution along time.

        frames: that it gets where the inputs have one. behind_time: the axes behind that of time.
        """
        reach = self._result
        if reach is None:
            return ""
        if window.stride != 1:
            return (
                f"takes a stride of {window.stride} along time, so that not every frame has a "
                "result; what comes before it can run with outputs="
            )
        if window.before and reach.behind == LAST:
            return CHANGES + reach.source
        if window.before and frames <= reach.behind:  # what is kept of it would change, too
            self.blamed = reach.source
            return _future(reach.behind - frames + 1)
        count = frames + window.before + window.after - window.reach + 1
        behind = min(reach.behind + window.after, LAST)
        if count <= behind < LAST:
            whole = window.reach - 1
            pads = "0, 0, " * behind_time + f"{whole}, 0"  # the last axis comes first
            hint = f" (F.pad(x, ({pads})))" if whole else ""
            return _future(behind - count + 1, hint)
        self._result = Reach(behind, self._source if window.after else reach.source)
        return ""


def _modes(windows: Sequence[Window]) -> str:
    """Return what is wrong with what is put in front of time, or behind it."""
    for window in windows:
        if window.mode != "constant":
            return (
                f"pads time with frames (mode {window.mode!r}); only a number can be put in front "
                "of a stream: pad with a constant"
            )
    return ""


def _left(frames: int, taken: Sequence[Taken]) -> int:
    """Return how many frames a crop leaves."""
    for part in taken:
        frames = part.size - part.behind - part.first
    return frames


def _future(frames: int, hint: str = "") -> str:
    count = "1 frame" if frames == 1 else f"{frames} frames"
    return (
        f"looks {count} into the future: pad in front of time alone{hint}, or cut what is padded "
        "behind off its result"
    )
