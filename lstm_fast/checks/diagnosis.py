"""Which mistake explains what an LSTM did: try them all, and believe the one that fits.

    found = diagnose(gather(target), weights)
    for one in found:
        print(one.words, "->", one.explanation)
    print(found.note)

Each mistake that ports are known to make (see _mistakes) is computed in float64 and compared
with what was recorded. One explains the record where everything that was recorded is as near to it
as float32 rounding leads any two correct implementations apart, and by far nearer than to the right
LSTM. That leaves little to chance: hundreds of values agree in four digits or more, or none is
named. Single mistakes are tried before pairs, those without a number before those with one, and
those in all layers before those in one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from .._weights import Weights
from ._least_squares import fit
from ._machine_distance import FAR, Case, Outcome
from ._mistakes import Machine, Mistake, catalogue, families, numbered, same, timers
from .bounds import ACTIVATION
from .evidence import Evidence, evidence_of, gather
from .references import as_reference
from .target import Recording

__all__ = ["Diagnoses", "Diagnosis", "Evidence", "diagnose", "gather"]

Candidate = tuple[Mistake, Machine]


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
        same: the ids of mistakes that come to the same with these weights.
        first_step: the first step, from 0, at which what was recorded is not the right LSTM's; None
            where that is nowhere beyond rounding.
        shows: the same in words: in which recording, and in what of it.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> from lstm_fast.checks import adapters
        >>> right = LSTM.random(3, 4)
        >>> weights = right.state_dict() | {"bias_hh_l0": np.zeros(16, np.float32)}
        >>> mine = adapters.from_lstm(LSTM.from_state_dict(weights))
        >>> found = diagnose(gather(mine, right), right)[0]
        >>> print(f"{found.mistake}: {found.words}")
        bias:only_b_ih: only b_ih is added, b_hh is missing
    """

    mistake: str
    words: str
    explanation: str
    residual_before: float
    residual_after: float
    tolerance: float
    confident: bool = True
    also: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    first_step: int | None = None
    shows: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """The ids of the single mistakes in it."""
        return tuple(self.mistake.split(" + "))

    def __str__(self) -> str:
        sure = "" if self.confident else f" (or: {', '.join(self.also)})"
        shows = f" It {self.shows}." if self.shows else ""
        return (
            f"{self.words}{sure}: {self.explanation}.{shows} [error {self.residual_before:.2g}, "
            f"{self.residual_after:.2g} with this mistake, {self.tolerance:.2g} allowed]"
        )


class Diagnoses(list[Diagnosis]):
    """All that explain a record, best first; empty where it is right or where nothing does.

    Attributes:
        agrees: whether the record is that of the right LSTM, within rounding.
        residual: the largest distance to it, absolute.
        note: the result in a sentence.
        nearest: where nothing explains it, the single mistake that comes nearest around the first
            step that is off; None where none comes nearer than the right LSTM. Its residuals are
            root mean squares. It explains nothing: to be looked at, not to be believed.

    Example:
        >>> from lstm_fast import LSTM
        >>> from lstm_fast.checks import adapters
        >>> lstm = LSTM.random(3, 4)
        >>> found = diagnose(gather(adapters.from_lstm(lstm), lstm), lstm)
        >>> found.agrees, len(found)
        (True, 0)
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


def diagnose(
    evidence: Evidence | Recording | Sequence[Recording],
    weights: Any,
    *,
    weight_dtype: str | None = None,
    pairs: bool = True,
) -> Diagnoses:
    """Name the mistakes that explain what was recorded.

    Args:
        evidence: what was recorded; recordings alone are taken as each after a reset.
        weights: what it should have computed with, as `checks.run` takes it: an `LSTM`, its
            weights, a state dict, a torch module or a file; any variant that runs forwards.
        weight_dtype: how it should have stored them: "float32", "float16" or, as our contract
            does, "int8". None takes that of an `LSTM`, and "float32" for all else.
        pairs: whether to try two mistakes at once, where one alone explains nothing; this takes up
            to a few seconds.

    Raises:
        ValueError: the sizes of what was recorded are not those of the weights, or there are no
            steps; the LSTM does not run forwards; weight_dtype is unknown, or not for these.
        TypeError: one of them is nothing of this kind.
        OSError, FormatError: the file can't be read.

    Example:
        >>> from lstm_fast import LSTM
        >>> from lstm_fast.checks import adapters
        >>> from lstm_fast.formats import gates
        >>> right = LSTM.random(3, 4)
        >>> rows = {name: gates.to_pytorch(w, "onnx") for name, w in right.state_dict().items()}
        >>> mine = adapters.from_lstm(LSTM.from_state_dict(rows))  # as if they were in ONNX's order
        >>> diagnose(gather(mine, right), right)[0].mistake
        'gate_order:iofg'
    """
    if not isinstance(weights, Weights):
        wanted = as_reference(weights, None, weight_dtype)
        weights, weight_dtype = wanted.weights, wanted.weight_dtype
    case = Case(evidence_of(evidence, weights), weights, weight_dtype or "float32")
    before = case.before
    if before.explains:
        note = "no difference: it computes what it should, as exactly as float32 does"
        return Diagnoses(agrees=True, residual=before.residual, note=note)
    machine = case.machine
    listed = [(one, one.change(machine)) for one in catalogue(machine)]
    singles = [(one, m) for one, m in listed if m is not None and not same(m, machine)]
    seen: list[Candidate] = []
    stages: list[Iterable[Candidate]] = [
        singles,
        _kept(_with_numbers(case), seen),
        _kept(_in_one_layer(case, singles), seen),
    ]
    if pairs:  # a scale of int8 can be wrong only together with int8
        alone = [one for one, _ in singles]
        stages.append(_pairs(case, [one for one, m in listed if m is None or one in alone]))
    tried: list[int] = []
    for stage in stages:
        found, count = _explaining(case, stage)
        tried.append(count)
        if found:
            note = f"explained by {found[0].words}" + (
                "" if found[0].confident else ", or by something that this record does not tell"
            )
            return Diagnoses(found, residual=before.residual, note=note)
    nearest = _nearest(case, [*singles, *seen])
    note = f"it differs, and nothing known explains it: none of {sum(tried[:3])} mistakes"
    note += f", nor of {tried[3]} pairs" if pairs else ""
    return Diagnoses(
        residual=before.residual, note=f"{note}; {_nearest_words(case, nearest)}", nearest=nearest
    )


def _kept(candidates: Iterable[Candidate], seen: list[Candidate]) -> Iterator[Candidate]:
    """Yield candidates, and keep those that were tried."""
    for one in candidates:
        seen.append(one)
        yield one


def _explaining(
    case: Case, candidates: Iterable[tuple[Mistake, Machine]]
) -> tuple[list[Diagnosis], int]:
    """Return those that explain the record, and how many were tried.

    Those that are the same by number count once, as the first of them.
    """
    found: list[_Found] = []
    count = 0
    for mistake, machine in candidates:
        count += 1
        if not machine.keeps and any(mistake.id in one.ids for one in found):
            continue
        outcome = case.judge(machine)
        if not outcome.explains:
            continue
        twin = next((one for one in found if same(machine, one.machine)), None)
        if twin is None:
            found.append(_Found(mistake, machine, outcome, [mistake.id]))
        else:
            twin.ids.append(mistake.id)
    found = _told_apart(case, found)
    return [
        Diagnosis(
            one.mistake.id,
            one.mistake.words,
            one.mistake.advice,
            case.before.residual,
            one.outcome.residual,
            one.outcome.tolerance,
            confident=len(found) == 1,
            also=tuple(other.mistake.id for other in found if other is not one),
            same=tuple(one.ids[1:]),
            first_step=_first_step(case),
            shows=_shows(case),
        )
        for one in found
    ], count


class _Found(NamedTuple):
    """A mistake that explains the record; ids: its own, and of those that are the same."""

    mistake: Mistake
    machine: Machine
    outcome: Outcome
    ids: list[str]


def _told_apart(case: Case, found: list[_Found]) -> list[_Found]:
    """Return what is left where states are rounded, each id once.

    Once a hidden value may have fallen either way, much is allowed; but those that follow the
    record to the last bit until then are believed before those that do not.
    """
    if any(one.machine.keeps for one in found):
        rows = [np.square(case.window_residuals(one.machine)).mean() for one in found]
        most = FAR**2 * min(rows) + ACTIVATION**2
        found = [one for one, row in zip(found, rows, strict=True) if row <= most]
    first = {one.mistake.id: one for one in reversed(found)}
    return [one for one in found if first[one.mistake.id] is one]


def _first_step(case: Case) -> int | None:
    """Return the first step that is off, counted from the reset before it."""
    return None if case.first is None else case.evidence.done[case.first[0]] + case.first[1]


def _shows(case: Case) -> str:
    """Say where the record first shows that it is not the right LSTM's."""
    if case.first is None:
        return ""
    number = case.first[0]
    parts = {key[0] for key in case.before.beyond if key[1:] == case.first}
    states = sorted((part for part in parts if part != "y"), key=lambda part: part[::-1])
    names = [f"{part[0]} of layer {part[1:]} (counted from 0)" for part in states[:2]] or [
        "the output"
    ]
    label = case.evidence.label(number)
    return f"first shows at step {_first_step(case)} {label}, in {' and '.join(names)}"


def _with_numbers(case: Case) -> Iterator[Candidate]:
    """Yield mistakes whose numbers are found by fitting, or by when they show first."""
    for family in (*families(case.machine), *numbered(case.machine)):
        fitted = fit(case, family, case.machine)
        if fitted is not None:
            yield fitted
    if case.first is not None:
        number, step = case.first
        before = sum(map(len, case.evidence.recordings[:number]))
        step += case.evidence.done[number]
        for mistake in timers(number, before, step):
            machine = mistake.change(case.machine)
            assert machine is not None
            yield mistake, machine


def _in_one_layer(case: Case, singles: list[Candidate]) -> Iterator[Candidate]:
    """Yield mistakes in one layer alone."""
    count = len(case.machine.layers)
    if count == 1:
        return
    for mistake, _ in singles:
        if mistake.layer_change is not None:
            for index in range(count):
                alone = mistake.in_layer(index)
                machine = alone.change(case.machine)
                if machine is not None and not same(machine, case.machine):
                    yield alone, machine
    for family in numbered(case.machine, in_one_layer=True):
        fitted = fit(case, family, case.machine)
        if fitted is not None:
            yield fitted


def _pairs(case: Case, mistakes: list[Mistake]) -> Iterator[tuple[Mistake, Machine]]:
    """Yield two of these at once."""
    usable = [one for one in mistakes if one.pairs]
    for number, first in enumerate(usable):
        machine = first.change(case.machine)
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
                fitted = fit(case, family, machine)
                if fitted is not None:
                    yield _joined(first, fitted[0]), fitted[1]


def _nearest(case: Case, candidates: list[Candidate]) -> Diagnosis | None:
    """Return the mistake that comes nearest around the first step that is off."""

    def distance(machine: Machine) -> float:
        rows = case.window_residuals(machine)
        return float(np.sqrt(np.square(rows).mean())) if rows.size else np.inf

    with np.errstate(all="ignore"):
        before = distance(case.machine)
        rows = [(distance(machine), one) for one, machine in candidates]
    rows = [row for row in rows if row[0] < before]
    if not rows:
        return None
    after, best = min(rows, key=lambda row: row[0])
    return Diagnosis(
        best.id,
        best.words,
        f"not explained by this: {best.advice}",
        before,
        after,
        max(
            (much for key, much in case.before.allowed.items() if key[1:] == case.first),
            default=0.0,
        ),
        confident=False,
        first_step=_first_step(case),
        shows=_shows(case),
    )


def _nearest_words(case: Case, nearest: Diagnosis | None) -> str:
    """Say what is nearest, and how far that is from explaining anything."""
    shows = f"it {_shows(case)}; " if case.first is not None else ""
    if nearest is None:
        return f"{shows}no single one of them comes nearer than the right LSTM does"
    left = f"{nearest.residual_after:.2g} of an error of {nearest.residual_before:.2g}"
    allowed = f"{nearest.tolerance:.2g} is allowed"
    near = nearest.residual_after < nearest.residual_before / 2
    start = "around that step the nearest is" if near else "nothing comes near: even the nearest is"
    return f"{shows}{start} {nearest.mistake}: {nearest.words}; it leaves {left}, where {allowed}"


def _joined(first: Mistake, second: Mistake) -> Mistake:
    return replace(
        first,
        id=f"{first.id} + {second.id}",
        words=f"{first.words}; and {second.words}",
        advice=f"{first.advice}; and {second.advice}",
        layer_change=None,
    )
