"""Does a whole model stay as near to float64 over a long time as it is at first."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from .._arrays import Float32
from .._backends._stepwise import StepwiseStream
from . import reproduction
from ._context import Context
from ._moved import Moved, expected, part_of
from .layout import Layout
from .options import Options
from .results import CheckResult
from .target import Target, step
from .whole_references import WholeReference, whole_reference_for

__all__ = ["whole_drift"]

DRIFT_STEPS = 96  # of which it is known how far they may be off
DRIFT_BLOCK = 64


def whole_drift(target: Target, reference: Any, options: Options | None = None) -> CheckResult:
    """Check that errors do not grow over a long time: float64 goes along, from the same start.

    The largest error may be twice what is allowed anywhere in the first steps, see `_moved`.
    """
    context, wanted = Context(target, options), whole_reference_for(target, reference)
    layout = target.layout or Layout.of(wanted.model)
    settings = context.options
    begin = min(DRIFT_STEPS, settings.drift_steps)
    first = context.frames(begin, 1000).array
    should = expected(wanted.model, first, wanted.simulate, layout)
    allowed = 2 * should.allowed.max(axis=0)
    beside = wanted.beside(StepwiseStream(wanted.model, Moved(wanted.model, None)))
    ratios: list[float] = []
    start = time.monotonic()
    with context.session() as session, np.errstate(all="ignore"):
        number = 0
        while len(ratios) < settings.drift_steps:
            if time.monotonic() - start > settings.drift_seconds and ratios:
                break
            count = min(DRIFT_BLOCK, settings.drift_steps - len(ratios))
            xs = context.frames(count, 2000 + number).array
            ratios += [_ratio(session, beside, layout, x, allowed) for x in xs]
            number += 1
    return _drift_result(target, wanted, settings, np.array(ratios), float(allowed.max()))


def _ratio(session: Any, beside: Any, layout: Layout, x: Float32, allowed: Any) -> float:
    """Take one step; return the largest error as a part of what is allowed."""
    exact = layout.flat(beside.step(layout.values(x)))
    return float(part_of(step(session, x, len(exact)), exact, allowed).max())


def _drift_result(
    target: Target, wanted: WholeReference, settings: Options, ratios: Any, allowed: float
) -> CheckResult:
    steps = len(ratios)
    tenth = max(1, steps // 10)
    numbers: dict[str, Any] = {
        "steps": steps,
        "steps_wanted": settings.drift_steps,
        "allowed": allowed,
        "of_allowed": float(ratios.max()),
        "of_allowed_first_tenth": float(ratios[:tenth].max()),
        "of_allowed_last_tenth": float(ratios[-tenth:].max()),
    }
    figures = (
        f"max error {ratios[:tenth].max():.2g} of what is allowed in the first tenth of {steps:,} "
        f"steps, {ratios[-tenth:].max():.2g} in the last"
    )
    if steps < settings.drift_steps:
        figures = (
            f"only {steps:,} of the {settings.drift_steps:,} steps asked for: ended after "
            f"{settings.drift_seconds:g} s (drift_seconds=, in the shell --seconds, is more); "
            f"{figures}"
        )
    if (ratios <= 1).all():
        return CheckResult("drift", "passed", figures, numbers)
    at = int(np.argmax(ratios > 1))
    body = f"""
options = checks.{reproduction.options(settings, drift_steps=max(100, at + 1))}
report = checks.run(target, reference, options, only=["drift"])
assert report.passed, report
"""
    code = reproduction.code(target, body, "from lstm_fast import checks", reference=wanted)
    text = f"{figures}: beyond it at step {at} for the first time"
    return CheckResult("drift", "failed", text, numbers, code)
