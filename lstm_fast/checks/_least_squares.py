"""The numbers in a mistake that has some, such as a scale: found by least squares."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ._machine_distance import Case
from ._mistakes import Family, Float64, Machine, Mistake
from ._mistakes.mistake import Numbers

PROMISING = 0.5  # of the distance at the start is left, at most, after two steps towards a number
FEWEST_VALUES = 8  # to believe a number that was found by them
TURNS = 12
NARROWINGS = 4
ROUND = 1e-3  # a round number may be that far, relative, where it is as near to the record


@dataclass
class _Point:
    """Numbers, and how far the record is from a machine that has them."""

    numbers: Float64
    rows: Float64

    @property
    def loss(self) -> float:
        """The sum of squares."""
        return float(np.nan_to_num(np.square(self.rows).sum(), nan=np.inf))


def fit(case: Case, family: Family, machine: Machine) -> tuple[Mistake, Machine] | None:
    """Find the numbers with which a mistake is nearest: Gauss-Newton, from the best starts."""

    def point(numbers: Float64) -> _Point:
        rows = case.window_residuals(family.change(machine, *map(float, numbers)))
        return _Point(numbers, rows)

    with np.errstate(all="ignore"):
        neutral = point(np.array(family.neutral))
        tried = [point(np.array(start)) for start in family.starts]
        if np.isfinite(neutral.numbers).all():
            tried.append(neutral)
        if min(len(one.rows) for one in (neutral, *tried)) < FEWEST_VALUES:
            return None
        if not np.isfinite(neutral.numbers).all():
            tried = _narrowed(point, tried)
            if min(one.loss for one in tried) > PROMISING * neutral.loss:
                return None
        tried.sort(key=lambda one: one.loss)
        best = min((_gauss_newton(point, one) for one in tried[:2]), key=lambda one: one.loss)
        found = _rounded(point, best, family)
    if np.allclose(found, family.neutral, rtol=0, atol=1e-6) or not best.loss < neutral.loss:
        return None
    if not family.makes_sense(*found):
        return None
    return family.at(found), family.change(machine, *found)


def _narrowed(point: Callable[[Float64], _Point], tried: list[_Point]) -> list[_Point]:
    """Return bounds nearer to the best: what a bound clips jumps, so the start must be near."""
    for _ in range(NARROWINGS):
        tried.sort(key=lambda one: float(one.numbers[0]))
        best = min(range(len(tried)), key=lambda n: tried[n].loss)
        near = tried[max(0, best - 1) : best + 2]
        between = [np.sqrt(a.numbers * b.numbers) for a, b in itertools.pairwise(near)]
        tried = [*near, *map(point, between)]
    return tried


def _rounded(point: Callable[[Float64], _Point], best: _Point, family: Family) -> Numbers:
    """Return the numbers that were meant, where a round one is as near to the record."""
    allowed = 2 * best.loss + 1e-12 * len(best.rows)
    for at in range(len(best.numbers)):
        number = best.numbers[at]
        known = [start[at] for start in family.starts] + [family.neutral[at]]
        for meant in (
            *known,
            float(f"{number:.2g}"),
            float(f"{number:.3g}"),
            float(f"{number:.4g}"),
        ):
            if abs(number - meant) <= ROUND * max(abs(number), ROUND):
                numbers = best.numbers.copy()
                numbers[at] = meant
                one = point(numbers)
                if one.loss <= allowed:
                    best = one
                    break
    return tuple(map(float, best.numbers))


def _gauss_newton(point: Callable[[Float64], _Point], best: _Point) -> _Point:
    """Return a point with a smaller sum of squares."""
    first = best.loss
    for turn in range(TURNS):
        if turn == 2 and best.loss > PROMISING**2 * first:
            break
        slopes = _slopes(point, best)
        step = np.linalg.lstsq(slopes, best.rows, rcond=None)[0] if _is_fine(slopes, best) else None
        if step is None:
            break
        for _ in range(8):
            new = point(best.numbers - step)
            if new.loss < best.loss:
                break
            step = step / 4
        else:
            break
        gained, best = best.loss - new.loss, new
        if gained <= 1e-9 * best.loss:
            break
    return best


def _slopes(point: Callable[[Float64], _Point], at: _Point) -> Float64:
    """Return how each number moves the distances, (n, numbers)."""
    columns = []
    for index, number in enumerate(at.numbers):
        width = 1e-5 * max(1e-3, abs(number))
        moved = at.numbers.copy()
        moved[index] += width
        columns.append((point(moved).rows - at.rows) / width)
    return np.stack(columns, axis=1)


def _is_fine(slopes: Float64, at: _Point) -> bool:
    return bool(np.isfinite(slopes).all() and np.isfinite(at.rows).all())
