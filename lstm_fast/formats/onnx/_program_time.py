"""Which axes of a graph are time, and what it keeps of the frames before to get them one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .._files import FormatError
from ._graph import Scope
from ._program_builder import Builder
from ._program_frames import MAYBE, Longer
from ._program_inputs import Inputs
from ._program_nodes import Registers
from ._program_trace import Key, Tracer

FRAMES = (8, 13)  # that a free axis gets, of which the second is for what several frames change
LENGTHS = "does something else with {1} frames than with {0}"
End = tuple[str, Scope, str]  # what a value is called, and where it is


@dataclass(frozen=True)
class Verdict:
    """What frames one by one come to.

    found: the node that gets them wrong, and why; None for none. past: the nodes that keep some of
    those before. times: of outputs, which axes are time. ahead: the nodes that put something in
    front of the frames, and the inputs that it is made of. is_traced: the graph takes several
    frames; else `error` says why not, and found is a node that takes each of them as a sequence.
    """

    found: tuple[str, str] | None = None
    past: Mapping[Key, int] = field(default_factory=dict)
    times: Mapping[str, Sequence[int]] = field(default_factory=dict)
    ahead: Sequence[tuple[str, Sequence[str]]] = ()
    is_traced: bool = True
    error: str = ""


class Times:
    """Looks at a graph with several frames.

    Args:
        path: for errors.
        builder: takes nothing in the end.
        tracer: has traced one frame.
        inputs_with: makes the inputs with so many frames along axes, by their names.
        ends: what leaves a step.
    """

    def __init__(
        self,
        path: object,
        builder: Builder,
        tracer: Tracer,
        inputs_with: Callable[[Mapping[str, int]], Inputs],
        ends: Sequence[End],
    ) -> None:
        self._path, self._builder, self._tracer = path, builder, tracer
        self._inputs_with, self._ends = inputs_with, ends

    def fixed(self, lengths: Mapping[str, int]) -> Verdict:
        """Return what frames of a file come to that takes so many along some axes, and no others.

        Raises:
            FormatError: it does not take them.
        """
        return self._traced(lengths, is_whole=True)

    def free(self, names: Sequence[str]) -> Verdict:
        """Return what frames along axes come to that may have any size.

        Raises:
            FormatError: several of them may be time, each alone.
        """
        joint = self._tried(names)
        if len(names) == 1 or (joint.is_traced and joint.found is None):
            return joint
        alone = [self._tried([name]) for name in names]
        traced = [one for one in alone if one.is_traced]
        if not traced:
            failed = [one for one in (joint, *alone) if one.found is not None]
            return failed[0] if failed else joint
        if found := [one for one in traced if one.found is not None]:
            return found[0]
        past = [one for one in traced if one.past]
        if len(past) > 1:
            which = " and ".join(name for name, one in zip(names, alone, strict=True) if one.past)
            raise FormatError(
                f"{self._path}: {which} do not grow together, and convolutions pad each of them: "
                'say which is time, time_axis={"<input>": <axis>}, and shapes= for the others'
            )
        times: dict[str, list[int]] = {}
        for one in traced:
            for name, axes in one.times.items():
                times.setdefault(name, []).extend(axes)
        ahead = [pair for one in traced for pair in one.ahead]
        return Verdict(past=past[0].past if past else {}, times=times, ahead=ahead)

    def _tried(self, names: Sequence[str]) -> Verdict:
        first, *others = [dict.fromkeys(names, frames) for frames in FRAMES]
        verdict = self._attempt(first)
        if not verdict.past or verdict.found is not None:
            return verdict
        for other in others:
            again = self._attempt(other)
            if not again.is_traced or again.found is not None:
                return again
            if again.past != verdict.past:
                return Verdict(found=("of this graph", LENGTHS.format(*FRAMES)))
        return verdict

    def _attempt(self, frames: Mapping[str, int]) -> Verdict:
        try:
            return self._traced(frames, is_whole=False)
        except _UntracedError as error:  # it does not take several, of all inputs or at all
            return Verdict(found=error.found, is_traced=False, error=str(error))

    def _traced(self, frames: Mapping[str, int], *, is_whole: bool) -> Verdict:
        inputs, more = self._inputs_with(frames), max(frames.values()) - 1
        budget = self._tracer.file.budget
        left = budget.memory_left
        with self._builder.aside():
            registers = Registers(self._builder)
            longer = Longer(self._tracer, inputs, registers, more, is_whole=is_whole)
            try:
                longer.outputs(self._ends)
            except ValueError as error:
                raise _UntracedError(str(error), longer.anew) from error
            finally:
                budget.give_back(left - budget.memory_left)
        times = {name: (axis,) for name, axis in longer.times.items()}
        return Verdict(longer.found, dict(longer.past), times, longer.ahead)


class _UntracedError(FormatError):
    """A graph does not take so many frames; found: the node that takes each as a sequence."""

    def __init__(self, text: str, found: tuple[str, str] | None) -> None:
        super().__init__(text)
        self.found = found


def alone(tracer: Tracer, works: int) -> tuple[str, str] | None:
    """Return the first of so many nodes that works along an axis of one value, None for none."""
    for one in list(tracer.works.values())[:works]:
        if 1 in one.along:
            return one.source, MAYBE
    return None
