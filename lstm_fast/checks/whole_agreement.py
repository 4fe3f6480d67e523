"""Does a whole model compute what its program says, step by step, against float64."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from .._arrays import Float32
from .._backends._stepwise import StepwiseStream
from . import reproduction
from ._context import Context
from ._moved import Expected, Moved, distance, expected, part_of
from .layout import Layout
from .options import Options
from .probes import Frames, given
from .results import CheckResult
from .target import Recording, Target, step
from .whole_references import WholeReference, whole_reference_for

__all__ = ["whole_agreement", "whole_drift"]

LENGTHS = (1, 2, 5, 24)
LOUDNESS = (1.0, 1e-2, 10.0)  # of frames, each for a sequence of its own
NARROW = 2.0**-6  # of max(1, |value|): what allows more tells hardly a mistake
DRIFT_STEPS = 96  # of which it is known how far they may be off
DRIFT_BLOCK = 64


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


def whole_agreement(
    target: Target,
    reference: Any,
    options: Options | None = None,
    *,
    sequences: Any = None,
) -> CheckResult:
    """Check every output of every step, and the state where it is seen, against float64.

    The program runs in float64 beside the target, each from its own start. How far they may be
    apart is what the program's own roundings come to on these frames, see `_moved`.

    Args:
        target: what to check.
        reference: the model that it should be, see `whole_references`.
        options: see `Options`.
        sequences: flat frames (T, I) each, to take instead of random ones.

    Raises:
        ValueError: the reference takes or returns something else than the target.
    """
    context, wanted = Context(target, options), whole_reference_for(target, reference)
    layout = target.layout or Layout.of(wanted.model)
    if sequences is None:
        frames = [context.frames(n, 200 + k) for k, n in enumerate(LENGTHS)]
        frames += [context.frames(8, 220 + k, x) for k, x in enumerate(LOUDNESS[1:])]
    else:
        frames = [given(xs) for xs in sequences]
    first: Parting | None = None
    of_outputs: Parting | None = None  # the first that is no state's
    steps, judged, worst, largest, sees_state = 0, 0, 0.0, 0.0, False
    for one in frames:
        recording = context.solo(one)
        should = expected(wanted.model, one.array, layout=layout)
        steps += len(one)
        narrow = should.allowed <= NARROW * np.maximum(1, np.abs(should.ys))
        judged += int(narrow.all(axis=1).sum())
        for where, found, exact, allowed in _parts(recording, should, layout):
            sees_state |= where.startswith("state")
            largest = max(largest, float(distance(found, exact).max(initial=0.0)))
            ratio = part_of(found, exact, allowed).reshape(len(one), -1)
            worst = max(worst, float(ratio.max(initial=0.0)))
            beyond = (ratio > 1).any(axis=1)
            at = int(np.argmax(beyond))
            if not beyond.any():
                continue
            unit = int(np.argmax(ratio[at]))
            values = (float(a.reshape(len(one), -1)[at, unit]) for a in (found, exact, allowed))
            here = Parting(one, at, f"{where}[{unit}]", *values)
            first = here if first is None or at < first.step else first
            if where.startswith("output") and (of_outputs is None or at < of_outputs.step):
                of_outputs = here
    numbers: dict[str, Any] = {
        "steps": steps,
        "steps_with_a_bound": judged,
        "max_error": largest,
        "of_allowed": worst,
    }
    what = "every output and the state" if sees_state else "every output"
    figures = f"max error {largest:.2g} against float64"
    if first is None:
        text = (
            f"{what} within {worst:.2g} of what float32's roundings may come to in this model, at "
            f"each of {steps} steps; {figures}"
        )
        return CheckResult("agreement", "passed", text, numbers)
    numbers["first_parting"] = {
        name: getattr(first, name) for name in ("step", "where", "found", "exact", "allowed")
    }
    numbers["first_step_of_outputs"] = of_outputs and of_outputs.step
    text = str(first)
    if first is not of_outputs:
        text += "; the outputs stay right" if of_outputs is None else f"; outputs: {of_outputs}"
    code = None if of_outputs is None else _reproduction(target, of_outputs)
    return CheckResult("agreement", "failed", f"{text}; {figures}", numbers, code)


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


def _reproduction(target: Target, first: Parting) -> str:
    frames = first.frames.first(first.step + 1)
    unit = int(first.where.rpartition("[")[2].rstrip("]"))
    name = first.where.partition("'")[2].rpartition("'")[0]
    at = unit if target.layout is None else target.layout.parts()[name].start + unit
    body = f"""
xs = {frames.code}
y = record(target, xs).ys[-1, {at}]  # {first.where}
assert abs(y - {first.exact!r}) <= {first.allowed!r}, y
"""
    return reproduction.code(target, body)


def whole_drift(target: Target, reference: Any, options: Options | None = None) -> CheckResult:
    """Check that errors do not grow over a long time: float64 goes along, from the same start.

    The largest error may be twice what is allowed anywhere in the first steps, see `_moved`.
    """
    context, wanted = Context(target, options), whole_reference_for(target, reference)
    layout = target.layout or Layout.of(wanted.model)
    settings = context.options
    begin = min(DRIFT_STEPS, settings.drift_steps)
    first = context.frames(begin, 1000).array
    should = expected(wanted.model, first, layout=layout)
    allowed = 2 * should.allowed.max(axis=0)
    beside = StepwiseStream(wanted.model, Moved(wanted.model, None))
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
options = {reproduction.options(settings, drift_steps=max(100, at + 1))}
report = checks.run(target, reference, options, only=["drift"])
assert report.passed, report
"""
    code = reproduction.code(target, body, "from lstm_fast import checks", reference=wanted)
    text = f"{figures}: beyond it at step {at} for the first time"
    return CheckResult("drift", "failed", text, numbers, code)
