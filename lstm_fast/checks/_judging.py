"""How near what was recorded is to one machine, beside what rounding allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .._weights import Weights, check_weight_dtype
from ._mistakes import Float64, Machine, Moment, Noise, intended, run
from .bounds import ACTIVATION
from .evidence import Evidence

ROWS = 4  # one exact trajectory, and three that are disturbed as float32 may disturb them
# Three random disturbances do not find the worst: of what they do, the largest over the units of a
# layer and over all steps so far is taken, and four times that allowed. Since all units are
# disturbed by the whole of what they may be, that is wide: PyTorch 2.13 uses about a hundredth.
FACTOR = 4.0
# What has to be nearer to a mistake than to the right LSTM, by that much, to count as explained.
FAR = 8.0
# Where rounding alone may reach this part of the values' root mean square, nothing is judged.
BLIND = 1 / 64
# Of an int8 machine's outputs, those that a whole number may have spoiled that fell the other way.
SLIPS = 0.25


class Pair(NamedTuple):
    """What a machine shows, (B, n), beside what was recorded there; key: what, where, when.

    What is "y", or "h" or "c" with the number of a layer.
    """

    key: tuple[str, int, int]
    shown: Float64
    recorded: Float64


@dataclass
class Outcome:
    """How near a record is to a machine."""

    explains: bool = True
    residual: float = 0.0  # the largest distance
    ratio: float = 0.0  # the largest distance over what is allowed there
    tolerance: float = 0.0  # the largest that was allowed
    values: int = 0  # judged
    slips: int = 0
    sizes: dict[str, float] = field(default_factory=dict)  # of what is shown, the largest rms
    distances: dict[tuple[str, int, int], float] = field(default_factory=dict)


class Case:
    """One record, and the machine that should have made it."""

    def __init__(self, evidence: Evidence, weights: Weights, weight_dtype: str) -> None:
        check_weight_dtype(weights, weight_dtype)
        self.evidence = evidence
        self.machine = intended(weights, weight_dtype)
        width = max(4 * weights.hidden_size, weights.output_size)
        self.noise = Noise(ROWS, width)
        self.scales = self._scales()
        self.before = self.judge(self.machine)

    def _run(
        self,
        machine: Machine,
        noise: Noise | None = None,
        steps: int | None = None,
        recordings: int | None = None,
    ) -> Iterator[Moment]:
        made, starts = self.evidence.recordings[:recordings], self.evidence.starts[:recordings]
        return run(machine, made, starts, noise, steps=steps)

    def _compared(self, machine: Machine, moment: Moment) -> Iterator[Pair]:
        """Yield what is to be seen of a moment beside its record."""
        number, t = moment.sequence, moment.t
        recording = self.evidence.recordings[number]
        at = len(recording.xs) - 1 - t if machine.backwards else t + machine.late
        if 0 <= at < len(recording.xs):
            yield Pair(("y", number, at), moment.y, np.float64(recording.ys[at]))
        at = t + machine.late * machine.late_states
        if machine.backwards or not 0 <= at < len(recording.xs):
            return
        for part, states in (("h", moment.hs), ("c", moment.cs)):
            seen = recording.hs if part == "h" else recording.cs
            if seen is None or part not in machine.shows or seen.shape[1] != len(states):
                continue
            for n, shown in enumerate(states):
                if seen.shape[2] == shown.shape[1]:
                    yield Pair((f"{part}{n}", number, at), shown, np.float64(seen[at, n]))

    def _scales(self) -> dict[str, float]:
        """Return the root mean square of y, h and c, right or recorded, whichever is larger."""
        right: dict[str, list[Float64]] = {"y": [], "h": [], "c": []}
        seen: dict[str, list[Float64]] = {"y": [], "h": [], "c": []}
        for moment in self._run(self.machine):
            shown = [moment.y], moment.hs, moment.cs
            for part, values in zip(right, shown, strict=True):
                right[part] += [value.ravel() for value in values]
        for recording in self.evidence.recordings:
            for part, array in zip(seen, (recording.ys, recording.hs, recording.cs), strict=True):
                if array is not None:
                    seen[part].append(np.float64(array).ravel())
        return {part: max(_root(right[part]), _root(seen[part])) for part in right}

    def judge(self, machine: Machine) -> Outcome:
        """Compare all that was recorded with a machine; stop where a mistake can't be it."""
        outcome, spread = Outcome(), dict[tuple[str, int], float]()
        is_right = machine is self.machine
        flip = _flip(machine, self.evidence)
        total = 0
        with np.errstate(all="ignore"):
            for moment in self._run(machine, self.noise):
                for key, shown, recorded in self._compared(machine, moment):
                    total += 1
                    self._compare(outcome, spread, key, shown, recorded, flip)
                if outcome.ratio > 1 and not is_right:
                    outcome.explains = False
                    return outcome
        judged = len(outcome.distances)
        fits = judged > 0 and outcome.ratio <= 1 and outcome.slips <= SLIPS * judged
        if is_right:
            outcome.explains = fits
        else:
            outcome.explains = fits and 3 * judged >= total and self._is_far(outcome)
        return outcome

    def _compare(
        self,
        outcome: Outcome,
        spread: dict[tuple[str, int], float],
        key: tuple[str, int, int],
        shown: Float64,
        recorded: Float64,
        flip: float,
    ) -> None:
        """Add one comparison to an outcome."""
        part, number, _ = key
        apart = _largest(shown[1:] - shown[0]) if len(shown) > 1 else 0.0
        spread[part, number] = max(spread.get((part, number), 0.0), apart)
        size = max(1.0, _largest(recorded) if np.isfinite(recorded).all() else 1.0)
        allowed = FACTOR * (spread[part, number] + ACTIVATION * size)
        distance = _largest(shown[0] - recorded)
        if allowed > max(BLIND * self.scales[part[0]], 2 * FACTOR * ACTIVATION * size):
            return
        if allowed < distance <= allowed + flip:
            outcome.slips += 1
        outcome.distances[key] = distance
        outcome.residual = max(outcome.residual, distance)
        outcome.ratio = max(outcome.ratio, distance / (allowed + flip))
        outcome.tolerance = max(outcome.tolerance, allowed)
        outcome.values += recorded.size

    def _is_far(self, outcome: Outcome) -> bool:
        """Say whether the right LSTM is much farther away, where this machine was judged."""
        right = self.before.distances
        before = max((right[key] for key in outcome.distances if key in right), default=np.inf)
        return before >= max(2 * outcome.tolerance / FACTOR, FAR * outcome.residual)

    def residuals(self, machine: Machine, steps: int, recordings: int | None = None) -> Float64:
        """Return all distances with their signs on the first steps of the first recordings."""
        rows = [
            (shown[0] - recorded).ravel()
            for moment in self._run(machine, steps=steps, recordings=recordings)
            for _, shown, recorded in self._compared(machine, moment)
        ]
        return np.concatenate(rows) if rows else np.zeros(0)


def _root(parts: list[Float64]) -> float:
    """Return the root mean square of all that is finite, 0 where nothing is."""
    values = np.concatenate([np.zeros(0), *parts])
    values = values[np.isfinite(values)]
    return float(np.sqrt(np.square(values).mean())) if values.size else 0.0


def _largest(values: Float64) -> float:
    """Return the largest magnitude; infinity where one is NaN."""
    found = float(np.abs(values).max(initial=0.0))
    return np.inf if np.isnan(found) else found


def _flip(machine: Machine, evidence: Evidence) -> float:
    """Return what one whole number that fell the other way may change of a gate's input."""
    if machine.int8 is None:
        return 0.0
    frames = max(np.abs(one.xs).max(initial=0.0) for one in evidence.recordings)
    sizes = [
        max(
            float(np.abs(layer.w_ih.value).max()) * (max(1.0, float(frames)) if n == 0 else 1.0),
            float(np.abs(layer.w_hh.value).max()),
        )
        for n, layer in enumerate(machine.layers)
    ]
    return max(sizes) / 127
