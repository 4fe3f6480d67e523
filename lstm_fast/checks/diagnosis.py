"""Which mistake explains what an LSTM did: try them all, and believe the one that fits.

    found = diagnose(gather(target), weights)
    for one in found:
        print(one.words, "->", one.explanation)
    print(found.note)

Each mistake that ports are known to make (see _mistakes.py) is computed in float64 and compared
with what was recorded. One explains the record where everything that was recorded is as near to it
as float32 rounding leads any two correct implementations apart, and by far nearer than to the right
LSTM. That leaves little to chance: hundreds of values agree in four digits or more, or none is
named. Single mistakes are tried before pairs, and those without a number before those with one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from .._weights import Weights, check_weight_dtype
from ._mistakes import (
    Family,
    Float64,
    Machine,
    Mistake,
    Moment,
    Noise,
    catalogue,
    families,
    intended,
    run,
    same,
)
from .bounds import ACTIVATION
from .target import Recording, State, Target, close, record, state_of

__all__ = ["Diagnoses", "Diagnosis", "Evidence", "diagnose", "gather"]

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
MOST_STEPS = 512  # in all recordings together
FITTED_STEPS = 8  # of the first recording, to find a number
PROMISING = 0.5  # of the distance at the start is left, at most, after two steps towards a number
NEAR_STEPS = 8  # of each recording, to say what is nearest
FEWEST_VALUES = 8  # to believe a number that was found by them


@dataclass(frozen=True)
class Evidence:
    """What one session did, several times over.

    Args:
        recordings: in the order in which they were made, by one session. Before each it was reset
            (or new). Two are needed to see what a reset leaves behind; 20 to 50 steps each are
            enough, and of more than 512 in all the rest is not looked at. h and c in them are not
            needed, but make it surer.
        starts: for each, the state (h (L, P), c (L, H)) that it was set to before its first step,
            or None where it was reset. Empty: none was set.

    Raises:
        ValueError: there is no recording, or not as many starts.
    """

    recordings: tuple[Recording, ...]
    starts: tuple[State | None, ...] = ()

    def __post_init__(self) -> None:
        if not self.recordings:
            raise ValueError("evidence needs one recording at least")
        if not self.starts:
            object.__setattr__(self, "starts", (None,) * len(self.recordings))
        if len(self.starts) != len(self.recordings):
            raise ValueError(
                f"there are {len(self.recordings)} recordings and {len(self.starts)} starts"
            )

    def first_steps(self, most: int) -> Evidence:
        """Return what was recorded up to that many steps."""
        kept, left = [], most
        for recording in self.recordings:
            if left == 0:
                break
            cut: dict[str, Any] = {
                name: None if value is None else value[:left]
                for name in ("xs", "ys", "hs", "cs")
                for value in [getattr(recording, name)]
            }
            kept.append(replace(recording, **cut))
            left -= len(kept[-1])
        return Evidence(tuple(kept), self.starts[: len(kept)])


@dataclass(frozen=True)
class Diagnosis:
    """A mistake that explains what was recorded.

    Args:
        mistake: a short stable id, "gate_order:iofg"; of two at once both, joined by " + ".
        words: the same in words.
        explanation: what to change.
        residual_before: the largest distance of what was recorded to the right LSTM, absolute.
        residual_after: the same to an LSTM that makes this mistake.
        tolerance: the distance that float32 rounding allows, where it was the widest.
        confident: whether nothing else explains it, too.
        also: the ids of the others that do.
    """

    mistake: str
    words: str
    explanation: str
    residual_before: float
    residual_after: float
    tolerance: float
    confident: bool = True
    also: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """The ids of the single mistakes in it."""
        return tuple(self.mistake.split(" + "))

    def __str__(self) -> str:
        sure = "" if self.confident else f" (or: {', '.join(self.also)})"
        return (
            f"{self.words}{sure}: {self.explanation} [error {self.residual_before:.2g}, "
            f"{self.residual_after:.2g} with this mistake, {self.tolerance:.2g} allowed]"
        )


class Diagnoses(list[Diagnosis]):
    """All that explain a record, best first; empty where it is right or where nothing does.

    Attributes:
        agrees: whether the record is that of the right LSTM, within rounding.
        residual: the largest distance to it, absolute.
        note: the result in a sentence.
        nearest: where nothing explains it, the single mistake that comes nearest on the first
            steps. It explains nothing: to be looked at, not to be believed.
    """

    def __init__(
        self,
        found: Iterable[Diagnosis] = (),
        *,
        agrees: bool = False,
        residual: float = 0.0,
        note: str = "",
        nearest: Diagnosis | None = None,
    ) -> None:
        """Make one of what was found."""
        super().__init__(found)
        self.agrees, self.residual = agrees, residual
        self.note, self.nearest = note, nearest


def gather(target: Target, weights: Weights, *, steps: int = 24, seed: int = 0) -> Evidence:
    """Record what diagnosis needs from a target: fresh, after a reset, from a set state.

    Args:
        target: what to look at; one session of it is made. The last recording is left out where
            its `state` cannot be assigned.
        weights: for the sizes.
        steps: of each recording.
        seed: of the frames, standard normal, and of the state.

    A state that is not to be seen, or has other sizes than these weights, is not set either.

    Raises:
        TargetError: see `lstm_fast.checks.target.record`.
    """
    rng = np.random.default_rng(seed)
    layers, inputs = len(weights.layers), weights.input_size
    session = target.session()
    recordings, starts = [], list[State | None]()

    def note(start: State | None) -> None:
        xs = rng.standard_normal((steps, inputs)).astype(np.float32)
        recordings.append(record(session, xs, name=target.name))
        starts.append(start)

    try:
        for number in range(2):
            if number:
                session.reset()
            note(None)
        shown = state_of(session)
        sizes = (layers, weights.output_size), (layers, weights.hidden_size)
        if shown is None or (shown[0].shape, shown[1].shape) != sizes:
            return Evidence(tuple(recordings), tuple(starts))
        h = np.tanh(rng.standard_normal(sizes[0]) / 2).astype(np.float32)
        c = rng.standard_normal(sizes[1]).astype(np.float32)
        session.reset()
        try:
            session.state = (h.copy(), c.copy())  # type: ignore[attr-defined]
        except Exception:  # it is theirs: whatever it raises, it cannot be set
            return Evidence(tuple(recordings), tuple(starts))
        note((h, c))
    finally:
        close(session)
    return Evidence(tuple(recordings), tuple(starts))


def diagnose(
    evidence: Evidence | Recording | Sequence[Recording],
    weights: Weights,
    *,
    weight_dtype: str = "float32",
    pairs: bool = True,
) -> Diagnoses:
    """Name the mistakes that explain what was recorded.

    Args:
        evidence: what was recorded; recordings alone are taken as each after a reset.
        weights: those that it should have computed with, of any variant that runs forwards.
        weight_dtype: how it should have stored them: "float32", "float16" or, as our contract
            does, "int8".
        pairs: whether to try two mistakes at once, where one alone explains nothing; this takes up
            to a few seconds.

    Raises:
        ValueError: the sizes of what was recorded are not those of the weights, or there are no
            steps; the LSTM does not run forwards; weight_dtype is unknown, or not for these.
    """
    case = _Case(_evidence(evidence, weights), weights, weight_dtype)
    before = case.before
    if before.explains:
        note = "no difference: it computes what it should, as exactly as float32 does"
        return Diagnoses(agrees=True, residual=before.residual, note=note)
    machine = case.machine
    listed = [(one, one.change(machine)) for one in catalogue(machine)]
    singles = [(one, m) for one, m in listed if m is not None and not same(m, machine)]
    stages: list[Iterable[tuple[Mistake, Machine]]] = [singles, case.finer(singles)]
    if pairs:  # a scale of int8 can be wrong only together with int8
        alone = [one for one, _ in singles]
        stages.append(case.pairs([one for one, m in listed if m is None or one in alone]))
    for stage in stages:
        found = case.explaining(stage)
        if found:
            note = f"explained by {found[0].words}" + (
                "" if found[0].confident else ", or by something that this record does not tell"
            )
            return Diagnoses(found, residual=before.residual, note=note)
    nearest = case.nearest(singles)
    note = "it differs, and nothing known explains it"
    if nearest is not None:
        note += f"; on the first steps the nearest is: {nearest.words}"
    return Diagnoses(residual=before.residual, note=note, nearest=nearest)


def _evidence(given: Evidence | Recording | Sequence[Recording], weights: Weights) -> Evidence:
    """Return evidence, checked against the weights."""
    if isinstance(given, Recording):
        given = [given]
    evidence = given if isinstance(given, Evidence) else Evidence(tuple(given))
    if weights.direction != "forward":
        raise ValueError(f"diagnosis is for LSTMs that run forwards, not {weights.direction}")
    layers = len(weights.layers)
    state = {"h": (layers, weights.output_size), "c": (layers, weights.hidden_size)}
    for number, (one, start) in enumerate(zip(evidence.recordings, evidence.starts, strict=True)):
        sizes: dict[str, tuple[int, ...]] = {"xs": (weights.input_size,)}
        sizes["ys"] = (weights.output_size,)
        for part in state:  # any number of layers may be shown: one may be missing
            seen = getattr(one, f"{part}s")
            count = layers if seen is None or seen.ndim != 3 else seen.shape[1]
            sizes[f"{part}s"] = (count, state[part][1])
        for name, shape in sizes.items():
            value = getattr(one, name)
            if value is not None and value.shape != (len(one.xs), *shape):
                text = ", ".join(map(str, (len(one.xs), *shape)))
                raise ValueError(
                    f"recordings[{number}].{name} has shape {value.shape}, expected ({text})"
                )
        for part, value in zip(state, start or (), strict=False):
            if np.shape(value) != state[part]:
                raise ValueError(
                    f"{part} of starts[{number}] has shape {np.shape(value)}, expected "
                    f"{state[part]}"
                )
    if not any(len(one.xs) for one in evidence.recordings):
        raise ValueError("there is no step in the recordings")
    return evidence.first_steps(MOST_STEPS)


# ---- judging one machine -------------------------------------------------------------------------


class _Pair(NamedTuple):
    """What a machine shows, (B, n), beside what was recorded there; key: what, where, when.

    What is "y", or "h" or "c" with the number of a layer.
    """

    key: tuple[str, int, int]
    shown: Float64
    recorded: Float64


@dataclass
class _Outcome:
    """How near a record is to a machine."""

    explains: bool = True
    residual: float = 0.0  # the largest distance
    ratio: float = 0.0  # the largest distance over what is allowed there
    tolerance: float = 0.0  # the largest that was allowed
    values: int = 0  # judged
    slips: int = 0
    sizes: dict[str, float] = field(default_factory=dict)  # of what is shown, the largest rms
    distances: dict[tuple[str, int, int], float] = field(default_factory=dict)


class _Case:
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

    def _compared(self, machine: Machine, moment: Moment) -> Iterator[_Pair]:
        """Yield what is to be seen of a moment beside its record."""
        number, t = moment.sequence, moment.t
        recording = self.evidence.recordings[number]
        at = len(recording.xs) - 1 - t if machine.backwards else t + machine.late
        if 0 <= at < len(recording.xs):
            yield _Pair(("y", number, at), moment.y, np.float64(recording.ys[at]))
        at = t + machine.late * machine.late_states
        if machine.backwards or not 0 <= at < len(recording.xs):
            return
        for part, states in (("h", moment.hs), ("c", moment.cs)):
            seen = recording.hs if part == "h" else recording.cs
            if seen is None or part not in machine.shows or seen.shape[1] != len(states):
                continue
            for n, shown in enumerate(states):
                if seen.shape[2] == shown.shape[1]:
                    yield _Pair((f"{part}{n}", number, at), shown, np.float64(seen[at, n]))

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

    def judge(self, machine: Machine) -> _Outcome:
        """Compare all that was recorded with a machine; stop where a mistake can't be it."""
        outcome, spread = _Outcome(), dict[tuple[str, int], float]()
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
        fits = outcome.ratio <= 1 and outcome.slips <= SLIPS * judged
        if is_right:
            outcome.explains = fits
        else:
            outcome.explains = fits and 3 * judged >= total and self._is_far(outcome)
        return outcome

    def _compare(
        self,
        outcome: _Outcome,
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

    def _is_far(self, outcome: _Outcome) -> bool:
        """Say whether the right LSTM is much farther away, where this machine was judged."""
        right = self.before.distances
        before = max((right[key] for key in outcome.distances if key in right), default=np.inf)
        return before >= max(2 * outcome.tolerance / FACTOR, FAR * outcome.residual)

    # ---- many of them ----------------------------------------------------------------------------

    def explaining(self, candidates: Iterable[tuple[Mistake, Machine]]) -> list[Diagnosis]:
        """Return those that explain the record; those that are the same by number count once."""
        found: list[tuple[Mistake, Machine, _Outcome]] = []
        for mistake, machine in candidates:
            if any(mistake.id == other.id for other, *_ in found):
                continue
            outcome = self.judge(machine)
            if outcome.explains and not any(same(machine, other) for _, other, _ in found):
                found.append((mistake, machine, outcome))
        ids = [mistake.id for mistake, *_ in found]
        return [
            Diagnosis(
                mistake.id,
                mistake.words,
                mistake.advice,
                self.before.residual,
                outcome.residual,
                outcome.tolerance,
                confident=len(found) == 1,
                also=tuple(id for id in ids if id != mistake.id),
            )
            for mistake, _, outcome in found
        ]

    def finer(self, singles: list[tuple[Mistake, Machine]]) -> Iterator[tuple[Mistake, Machine]]:
        """Yield mistakes in one layer alone, and those with a number."""
        for family in families(self.machine):
            fitted = self._fit(family, self.machine)
            if fitted is not None:
                yield fitted
        count = len(self.machine.layers)
        for mistake, _ in singles:
            if mistake.layer_change is not None and count > 1:
                for index in range(count):
                    alone = mistake.in_layer(index)
                    machine = alone.change(self.machine)
                    if machine is not None and not same(machine, self.machine):
                        yield alone, machine

    def pairs(self, mistakes: list[Mistake]) -> Iterator[tuple[Mistake, Machine]]:
        """Yield two of these at once."""
        usable = [one for one in mistakes if one.pairs]
        for number, first in enumerate(usable):
            machine = first.change(self.machine)
            if machine is None:
                continue
            for second in usable[number + 1 :]:
                if second.group == first.group:
                    continue
                both = second.change(machine)
                if both is not None and not same(both, machine):
                    yield _joined(first, second), both
            if first.group == "rounding" and "int8" in machine.rounding:
                for family in families(machine):
                    fitted = self._fit(family, machine)
                    if fitted is not None:
                        yield _joined(first, fitted[0]), fitted[1]

    def nearest(self, singles: list[tuple[Mistake, Machine]]) -> Diagnosis | None:
        """Return the single mistake that comes nearest on the first steps of each recording."""

        def distance(machine: Machine) -> float:
            rows = self._residuals(machine, NEAR_STEPS)
            return float(np.sqrt(np.square(rows).mean())) if rows.size else np.inf

        with np.errstate(all="ignore"):
            before = distance(self.machine)
            rows = [(distance(machine), one) for one, machine in singles]
        rows = [row for row in rows if row[0] < before / 2]
        if not rows:
            return None
        after, best = min(rows, key=lambda row: row[0])
        advice = f"not explained by this: {best.advice}"
        return Diagnosis(best.id, best.words, advice, before, after, 0.0, confident=False)

    def _residuals(self, machine: Machine, steps: int, recordings: int | None = None) -> Float64:
        """Return all distances with their signs on the first steps of the first recordings."""
        rows = [
            (shown[0] - recorded).ravel()
            for moment in self._run(machine, steps=steps, recordings=recordings)
            for _, shown, recorded in self._compared(machine, moment)
        ]
        return np.concatenate(rows) if rows else np.zeros(0)

    def _fit(self, family: Family, machine: Machine) -> tuple[Mistake, Machine] | None:
        """Find the number with which a mistake is nearest: Gauss-Newton, from the best starts."""

        def residuals(number: float) -> Float64:
            return self._residuals(family.change(machine, number), FITTED_STEPS, 1)

        def loss(rows: Float64) -> float:
            return float(np.nan_to_num(np.square(rows).sum(), nan=np.inf))

        with np.errstate(all="ignore"):
            tried = {start: residuals(start) for start in (family.neutral, *family.starts)}
            if min(map(len, tried.values())) < FEWEST_VALUES:
                return None
            starts = sorted(tried, key=lambda start: loss(tried[start]))[:2]
            number = min(
                (_gauss_newton(residuals, start, tried[start]) for start in starts),
                key=lambda one: loss(residuals(one)),
            )
        for known in family.starts:  # the number that was meant, where it is that
            if abs(number - known) <= 2e-5 * abs(known):
                number = known
        if abs(number - family.neutral) < 1e-6:
            return None
        return family.at(number), family.change(machine, number)


def _gauss_newton(residuals: Any, number: float, rows: Float64) -> float:
    """Return a number with a smaller sum of squares, from one and its residuals."""
    best = first = float(np.square(rows).sum())
    for turn in range(12):
        if turn == 2 and best > PROMISING**2 * first:
            break
        width = 1e-5 * max(1e-3, abs(number))
        slope = (residuals(number + width) - rows) / width
        step = float(slope @ rows) / (float(slope @ slope) or 1.0)
        if not np.isfinite(step):
            break
        for _ in range(8):
            new_rows = residuals(number - step)
            new = float(np.square(new_rows).sum())
            if new < best:
                break
            step /= 4
        else:
            break
        number, rows, gained = number - step, new_rows, best - new
        best = new
        if gained <= 1e-9 * best:
            break
    return number


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


def _joined(first: Mistake, second: Mistake) -> Mistake:
    return replace(
        first,
        id=f"{first.id} + {second.id}",
        words=f"{first.words}; and {second.words}",
        advice=f"{first.advice}; and {second.advice}",
        layer_change=None,
    )
