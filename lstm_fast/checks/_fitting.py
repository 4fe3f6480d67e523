"""The number in a mistake that has one, such as a scale: found by least squares."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._judging import Case
from ._mistakes import Family, Float64, Machine, Mistake

FITTED_STEPS = 8  # of the first recording, to find a number
PROMISING = 0.5  # of the distance at the start is left, at most, after two steps towards a number
FEWEST_VALUES = 8  # to believe a number that was found by them


def fit(case: Case, family: Family, machine: Machine) -> tuple[Mistake, Machine] | None:
    """Find the number with which a mistake is nearest: Gauss-Newton, from the best starts."""

    def residuals(number: float) -> Float64:
        return case.residuals(family.change(machine, number), FITTED_STEPS, 1)

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
