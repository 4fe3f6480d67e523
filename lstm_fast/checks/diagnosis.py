"""Which mistake explains what an LSTM did: try them all, and believe the one that fits.

    found = diagnose(gather(target), weights)
    for one in found:
        print(one.words, "->", one.explanation)
    print(found.note)

Each mistake that ports are known to make (see _mistakes) is computed in float64 and compared
with what was recorded. One explains the record where everything that was recorded is as near to it
as float32 rounding leads any two correct implementations apart, and by far nearer than to the right
LSTM. That leaves little to chance: hundreds of values agree in four digits or more, or none is
named. Single mistakes are tried before pairs, and those without a number before those with one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._weights import Weights
from ._fitting import fit
from ._judging import Case, Outcome
from ._mistakes import Machine, Mistake, catalogue, families, same
from .evidence import Evidence, evidence_of, gather
from .references import as_reference
from .target import Recording

__all__ = ["Diagnoses", "Diagnosis", "Evidence", "diagnose", "gather"]

NEAR_STEPS = 8  # of each recording, to say what is nearest


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
    stages: list[Iterable[tuple[Mistake, Machine]]] = [singles, _finer(case, singles)]
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
    nearest = _nearest(case, singles)
    note = f"it differs, and nothing known explains it: none of {sum(tried[:2])} mistakes"
    note += f", nor of {tried[2]} pairs" if pairs else ""
    if nearest is not None:
        note += f"; on the first steps the nearest is: {nearest.words}"
    return Diagnoses(residual=before.residual, note=note, nearest=nearest)


def _explaining(
    case: Case, candidates: Iterable[tuple[Mistake, Machine]]
) -> tuple[list[Diagnosis], int]:
    """Return those that explain the record, and how many were tried.

    Those that are the same by number count once, as the first of them.
    """
    found: list[tuple[Mistake, Machine, Outcome]] = []
    names: list[list[str]] = []  # of each that was found, and of what is the same
    count = 0
    for mistake, machine in candidates:
        count += 1
        if any(mistake.id in ids for ids in names):
            continue
        outcome = case.judge(machine)
        if not outcome.explains:
            continue
        twin = next((n for n, (_, other, _) in enumerate(found) if same(machine, other)), None)
        if twin is None:
            found.append((mistake, machine, outcome))
            names.append([mistake.id])
        else:
            names[twin].append(mistake.id)
    return [
        Diagnosis(
            mistake.id,
            mistake.words,
            mistake.advice,
            case.before.residual,
            outcome.residual,
            outcome.tolerance,
            confident=len(found) == 1,
            also=tuple(other.id for other, *_ in found if other.id != mistake.id),
            same=tuple(ids[1:]),
        )
        for (mistake, _, outcome), ids in zip(found, names, strict=True)
    ], count


def _finer(case: Case, singles: list[tuple[Mistake, Machine]]) -> Iterator[tuple[Mistake, Machine]]:
    """Yield mistakes in one layer alone, and those with a number."""
    for family in families(case.machine):
        fitted = fit(case, family, case.machine)
        if fitted is not None:
            yield fitted
    count = len(case.machine.layers)
    for mistake, _ in singles:
        if mistake.layer_change is not None and count > 1:
            for index in range(count):
                alone = mistake.in_layer(index)
                machine = alone.change(case.machine)
                if machine is not None and not same(machine, case.machine):
                    yield alone, machine


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


def _nearest(case: Case, singles: list[tuple[Mistake, Machine]]) -> Diagnosis | None:
    """Return the single mistake that comes nearest on the first steps of each recording."""

    def distance(machine: Machine) -> float:
        rows = case.residuals(machine, NEAR_STEPS)
        return float(np.sqrt(np.square(rows).mean())) if rows.size else np.inf

    with np.errstate(all="ignore"):
        before = distance(case.machine)
        rows = [(distance(machine), one) for one, machine in singles]
    rows = [row for row in rows if row[0] < before / 2]
    if not rows:
        return None
    after, best = min(rows, key=lambda row: row[0])
    advice = f"not explained by this: {best.advice}"
    return Diagnosis(best.id, best.words, advice, before, after, 0.0, confident=False)


def _joined(first: Mistake, second: Mistake) -> Mistake:
    return replace(
        first,
        id=f"{first.id} + {second.id}",
        words=f"{first.words}; and {second.words}",
        advice=f"{first.advice}; and {second.advice}",
        layer_change=None,
    )
