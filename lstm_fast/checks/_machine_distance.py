"""How near what was recorded is to one machine, beside what rounding allows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .._weights import Weights, check_weight_dtype
from ._mistakes import TIES, Float64, Machine, Moment, Noise, intended, run
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


# A machine that keeps its state in a smaller type is told from the right one by ENOUGH values,
# where rounding allows less than this part of what a value near 1 may lose in that type.
NARROW = 1 / 8
KEPT_UNITS = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
ENOUGH = 32
WINDOW = 8  # steps from the first one that is off, to fit numbers and to say what is nearest

Key = tuple[str, int, int]  # "y", or "h" or "c" with the number of a layer; recording; step


class Pair(NamedTuple):
    """What a machine shows, (B, n), beside what was recorded there.

    single: each value is held to what its own disturbed ones are, for it may have fallen either way
    where it was rounded, and that goes no further.
    """

    key: Key
    shown: Float64
    recorded: Float64
    single: bool = False


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
    distances: dict[Key, float] = field(default_factory=dict)
    allowed: dict[Key, float] = field(default_factory=dict)
    beyond: list[Key] = field(default_factory=list)  # what is not within rounding


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
        self.first = min((key[1:] for key in self.before.beyond), default=None)
        at_first = (much for key, much in self.before.allowed.items() if key[1:] == self.first)
        self.allowed_first = max(at_first, default=0.0)

    def _run(
        self, machine: Machine, noise: Noise | None = None, tie: float = TIES[0]
    ) -> Iterator[Moment]:
        evidence = self.evidence
        made, starts = evidence.recordings, evidence.starts
        return run(machine, made, starts, noise, done=evidence.done, tie=tie)

    def _compared(self, machine: Machine, moment: Moment, number: int) -> Iterator[Pair]:
        """Yield what is to be seen of a moment beside its record, which has that number."""
        t = moment.t
        recording = self.evidence.recordings[number]
        at = len(recording.xs) - 1 - t if machine.backwards else t + machine.late
        led = moment.led and machine.keeps
        if 0 <= at < len(recording.xs):
            single = led or bool(machine.output_rounding)
            yield Pair(("y", number, at), moment.y, np.float64(recording.ys[at]), single)
        at = t + machine.late * machine.late_states
        if machine.backwards or not 0 <= at < len(recording.xs):
            return
        for part, states in (("h", moment.hs), ("c", moment.cs)):
            seen = recording.hs if part == "h" else recording.cs
            if seen is None or part not in machine.shows or seen.shape[1] != len(states):
                continue
            for n, shown in enumerate(states):
                if seen.shape[2] == shown.shape[1]:
                    yield Pair((f"{part}{n}", number, at), shown, np.float64(seen[at, n]), led)

    def _scales(self) -> dict[tuple[str, int], float]:
        """Return the root mean square of y, h and c in each recording.

        It is that of the right machine's or that of the recorded, whichever is larger.
        """
        values: dict[tuple[str, int], tuple[list[Float64], list[Float64]]] = {
            (part, n): ([], []) for part in "yhc" for n in range(len(self.evidence.recordings))
        }
        for moment in self._run(self.machine):
            for part, shown in (("y", [moment.y]), ("h", moment.hs), ("c", moment.cs)):
                values[part, moment.sequence][0].extend(value.ravel() for value in shown)
        for n, recording in enumerate(self.evidence.recordings):
            for part, array in (("y", recording.ys), ("h", recording.hs), ("c", recording.cs)):
                if array is not None:
                    values[part, n][1].append(np.float64(array).ravel())
        return {key: max(map(_root, both)) for key, both in values.items()}

    def judge(self, machine: Machine) -> Outcome:
        """Compare all that was recorded with a machine; stop where a mistake can't be it."""
        for tie in TIES if machine.keeps else TIES[:1]:
            outcome = self._judge(machine, tie)
            if outcome.explains:
                break
        return outcome

    def _judge(self, machine: Machine, tie: float) -> Outcome:
        outcome, spread = Outcome(), dict[tuple[str, int], float]()
        is_right = machine is self.machine
        flips = _flips(machine, self.evidence)
        narrow = _narrow(machine)
        total = 0
        with np.errstate(all="ignore"):
            for moment in self._run(machine, self.noise, tie):
                for pair in self._compared(machine, moment, moment.sequence):
                    total += 1
                    self._compare(outcome, spread, pair, flips[moment.sequence], narrow)
                if outcome.ratio > 1 and not is_right:
                    outcome.explains = False
                    return outcome
        judged = len(outcome.distances)
        fits = judged > 0 and outcome.ratio <= 1 and outcome.slips <= SLIPS * judged
        if is_right:
            outcome.explains = fits
        else:
            enough = 3 * judged >= total or (machine.keeps and outcome.values >= ENOUGH)
            outcome.explains = fits and enough and self._is_far(outcome)
        return outcome

    def _compare(
        self,
        outcome: Outcome,
        spread: dict[tuple[str, int], float],
        pair: Pair,
        flip: float,
        narrow: float,
    ) -> None:
        """Add one comparison to an outcome."""
        (key, shown, recorded, single), doubt = pair, np.float64(0.0)
        part, number, _ = key
        off = np.abs(shown[1:] - shown[0]).max(axis=0) if len(shown) > 1 else np.zeros(1)
        size = max(1.0, _largest(recorded) if np.isfinite(recorded).all() else 1.0)
        if single:  # what rounding left in doubt does not disturb
            doubt = np.where(off > 8 * ACTIVATION * np.maximum(1, np.abs(shown[0])), off, 0.0)
            off = np.where(doubt > 0, 0.0, off)
        spread[part, number] = max(spread.get((part, number), 0.0), _largest(off))
        allowed = FACTOR * (spread[part, number] + ACTIVATION * size)
        distance = _largest(np.maximum(np.abs(shown[0] - recorded) - doubt, 0.0))
        if allowed > max(BLIND * self.scales[part[0], number], 2 * FACTOR * ACTIVATION * size):
            return
        ratio = distance / (allowed + flip)
        outcome.ratio = max(outcome.ratio, ratio)
        if allowed > narrow * size:
            return
        if allowed < distance <= allowed + flip:
            outcome.slips += 1
        if ratio > 1:
            outcome.beyond.append(key)
        outcome.distances[key], outcome.allowed[key] = distance, allowed
        outcome.residual = max(outcome.residual, distance)
        outcome.tolerance = max(outcome.tolerance, allowed)
        outcome.values += recorded.size

    def _is_far(self, outcome: Outcome) -> bool:
        """Say whether the right LSTM is much farther away, where this machine was judged.

        Distances are parts of what is allowed there: cells may be large, and outputs are not.
        """
        right = self.before.distances
        judged = outcome.allowed.items()
        before = max((right[key] / much for key, much in judged if key in right), default=np.inf)
        after = max((outcome.distances[key] / much for key, much in judged), default=np.inf)
        return before >= max(2 / FACTOR, FAR * after)

    def window_residuals(self, machine: Machine) -> Float64:
        """Return all distances with their signs up to some steps after the first one that is off.

        Of the recording that this is in alone, so that it is soon done, but for machines that take
        something over from the one before.
        """
        number, t = self.first or (0, 0)
        first = 0 if machine.leak or machine.timer else number
        evidence, made = self.evidence, slice(first, number + 1)
        moments = run(
            machine,
            evidence.recordings[made],
            evidence.starts[made],
            steps=None if first < number else t + WINDOW,
            done=evidence.done[made],
        )
        rows = [
            (pair.shown[0] - pair.recorded).ravel()
            for moment in moments
            if moment.sequence == number - first and moment.t < t + WINDOW
            for pair in self._compared(machine, moment, number)
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


def _narrow(machine: Machine) -> float:
    """Return what may be allowed at most where a machine is judged; infinite for most."""
    kept = [layer.kept for layer in machine.layers if layer.kept is not None]
    return NARROW * min((KEPT_UNITS[one.how] for one in kept), default=np.inf)


def _flips(machine: Machine, evidence: Evidence) -> list[float]:
    """Return what one whole number that fell the other way may change of a gate's input.

    One for each recording.
    """
    return [_flip(machine, float(np.abs(one.xs).max(initial=0.0))) for one in evidence.recordings]


def _flip(machine: Machine, frames: float) -> float:
    if machine.int8 is None:
        return 0.0
    sizes = [
        max(
            float(np.abs(layer.w_ih.value).max()) * (max(1.0, frames) if n == 0 else 1.0),
            float(np.abs(layer.w_hh.value).max()),
        )
        for n, layer in enumerate(machine.layers)
    ]
    return max(sizes) / 127
