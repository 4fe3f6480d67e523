"""Does a whole model compute what its program says, step by step, against float64."""

from __future__ import annotations

from typing import Any

from . import reproduction
from ._context import Context
from ._partings import Parting, Partings
from .layout import Layout
from .options import Options
from .probes import given
from .results import CheckResult
from .target import Target
from .whole_references import whole_reference_for

__all__ = ["whole_agreement"]

LENGTHS = (1, 2, 5, 24)
LOUDNESS = (1e-2, 10.0)  # of frames, each for a sequence of its own


def whole_agreement(
    target: Target,
    reference: Any,
    options: Options | None = None,
    *,
    sequences: Any = None,
) -> CheckResult:
    """Check every output of every step, and the state where it is seen, against float64.

    The program runs in float64 beside the target, each from its own start. How far they may be
    apart is what the program's own roundings come to on these frames, see `_moved`. Where the state
    is seen and each operation has a rule, each step is also held to a bound that is derived, from
    the state before it, see `_program_bounds`.

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
        frames += [context.frames(8, 220 + k, x) for k, x in enumerate(LOUDNESS)]
    else:
        frames = [given(xs) for xs in sequences]
    found = Partings(wanted.model, layout, wanted.simulate)
    for one in frames:
        found.add(one, context.solo(one))
    return _result(target, found)


def _result(target: Target, found: Partings) -> CheckResult:
    numbers: dict[str, Any] = {
        "steps": found.steps,
        "steps_with_a_bound": found.judged,
        "steps_with_a_derived_bound": found.bounded,
        "max_error": found.largest,
        "of_allowed": found.of_allowed,
        "of_bound": found.of_bound,
    }
    figures = f"max error {found.largest:.2g} against float64"
    if found.bounded:
        figures += (
            f"; {found.bounded} steps, each from the state before, within {found.of_bound:.2g} of "
            "the derived bound"
        )
    first, of_outputs = found.first, found.of_outputs
    if first is None and found.in_a_step is None:
        what = "every output and the state" if found.sees_state else "every output"
        text = (
            f"{what} within {found.of_allowed:.2g} of what float32's roundings may come to in this "
            f"model, at each of {found.steps} steps; {figures}"
        )
        return CheckResult("agreement", "passed", text, numbers)
    at = first or found.in_a_step
    numbers["first_parting"] = {
        name: getattr(at, name) for name in ("step", "where", "found", "exact", "allowed")
    }
    numbers["first_step_of_outputs"] = of_outputs and of_outputs.step
    text = str(at) if first else f"from the state before, {at}"
    if first is not of_outputs:
        text += "; the outputs stay right" if of_outputs is None else f"; outputs: {of_outputs}"
    code = None if of_outputs is None else _reproduction(target, of_outputs)
    return CheckResult("agreement", "failed", f"{text}; {figures}", numbers, code)


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
