"""Where a whole model and its program part: from the start on, and in single steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model import Model
from ._moved import Expected, Simulation, distance, expected, part_of, plain
from ._program_bounds import StepBounds
from .layout import Layout
from .probes import Frames
from .target import Recording

__all__ = ["Parting", "Partings"]

NARROW = 2.0**-6  # of max(1, |value|): what allows more tells hardly a mistake


@dataclass(frozen=True)
class Parting:
    """The first value of a sequence that is further off than float32 may be."""

    frames: Frames
    step: int
    where: str
    found: float
    exact: float
    allowed: float

    def __str__(self) -> str:
        return (
            f"they part at step {self.step}, in {self.where}: {self.found:.9g}, expected "
            f"{self.exact:.9g} within {self.allowed:.2g}"
        )


class Partings:
    """What sequences come to.

    first: the first parting of a sequence from its start on, of_outputs: the first that is no
    state's, in_a_step: the first from the state before. steps, judged, bounded: how many there
    were, how many of them with a narrow tolerance, and with a narrow bound of their own.
    of_allowed, of_bound: the largest distances as parts of these. largest: absolute.
    """

    def __init__(self, model: Model, layout: Layout, simulate: Simulation = plain) -> None:
        self._model, self._layout, self._bounds = model, layout, StepBounds(model)
        self._simulate = simulate
        self.first: Parting | None = None
        self.of_outputs: Parting | None = None
        self.in_a_step: Parting | None = None
        self.steps = self.judged = self.bounded = 0
        self.of_allowed = self.of_bound = self.largest = 0.0
        self.sees_state = False

    def add(self, frames: Frames, recording: Recording) -> None:
        """Compare a recording of a new session."""
        should = expected(self._model, frames.array, self._simulate, self._layout)
        narrow = should.allowed <= NARROW * np.maximum(1, np.abs(should.ys))
        self.judged += int(narrow.all(axis=1).sum())
        self.steps += len(frames)
        for where, found, exact, allowed in _parts(recording, should, self._layout):
            self._compare(frames, where, found, exact, allowed)
        self._add_steps(frames, recording)

    def _compare(self, frames: Frames, where: str, found: Any, exact: Any, allowed: Any) -> None:
        self.sees_state |= where.startswith("state")
        self.largest = max(self.largest, float(distance(found, exact).max(initial=0.0)))
        ratio = part_of(found, exact, allowed).reshape(len(frames), -1)
        self.of_allowed = max(self.of_allowed, float(ratio.max(initial=0.0)))
        beyond = (ratio > 1).any(axis=1)
        at = int(np.argmax(beyond))
        if not beyond.any():
            return
        unit = int(np.argmax(ratio[at]))
        values = (float(a.reshape(len(frames), -1)[at, unit]) for a in (found, exact, allowed))
        here = Parting(frames, at, f"{where}[{unit}]", *values)
        if self.first is None or at < self.first.step:
            self.first = here
        if where.startswith("output") and (self.of_outputs is None or at < self.of_outputs.step):
            self.of_outputs = here

    def _add_steps(self, frames: Frames, recording: Recording) -> None:
        """Hold each step to its derived bound, where the state is seen; wide ones tell nothing."""
        seen, start, layout = recording.states, self._bounds.start, self._layout
        if not self._bounds.fits or seen is None:
            return
        if {n: v.shape[1:] for n, v in seen.items()} != {n: v.shape for n, v in start.items()}:
            return
        parts = layout.parts()
        for t, x in enumerate(recording.xs):
            given = layout.by_name(x)
            before = {n: v[t - 1] for n, v in seen.items()} if t else start
            outputs, after = self._bounds(given, before)
            found = {
                f"output {n!r}": (recording.ys[t, parts[n]], one) for n, one in outputs.items()
            }
            found |= {f"state {n!r}": (seen[n][t], one) for n, one in after.items()}
            is_judged = True
            for where, (value, one) in found.items():
                exact, error = one.value.ravel(), one.error.ravel()
                narrow = error <= NARROW * np.maximum(1, np.abs(exact))
                is_judged &= bool(narrow.all())
                ratio = part_of(value.ravel(), exact, np.where(narrow, error, np.inf))
                self.of_bound = max(self.of_bound, float(ratio.max(initial=0.0)))
                if self.in_a_step is None and (ratio > 1).any():
                    unit = int(np.argmax(ratio))
                    values = (float(a[unit]) for a in (value.ravel(), exact, error))
                    self.in_a_step = Parting(frames, t, f"{where}[{unit}]", *values)
            self.bounded += is_judged


def _parts(
    recording: Recording, should: Expected, layout: Layout
) -> list[tuple[str, Any, Any, Any]]:
    """Return what is to be compared: where it is, what was found, float64's, what is allowed."""
    parts = [
        (f"output {name!r}", recording.ys[:, at], should.ys[:, at], should.allowed[:, at])
        for name, at in layout.parts().items()
    ]
    seen = recording.states or {}
    for name, exact in should.states.items():
        if name in seen and seen[name].shape == exact.shape:
            parts.append((f"state {name!r}", seen[name], exact, should.allowed_states[name]))
    return parts
