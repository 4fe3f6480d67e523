"""All checks of a target, one after the other, and the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from .._weights import Weights
from . import reproduction
from .agreement import agreement
from .containment import nan_containment
from .endurance import drift
from .isolation import isolation
from .options import DEFAULT, Options
from .oracle import as_weights
from .probes import uniform
from .results import CheckResult, Report, machine_facts
from .sessions import chunks, determinism, reset
from .speed import latency, slow_paths
from .target import Target, TargetError, record

__all__ = ["NAMES", "run"]

WITH_REFERENCE: dict[str, Callable[..., CheckResult]] = {"agreement": agreement, "drift": drift}
ALONE: dict[str, Callable[..., CheckResult]] = {
    "determinism": determinism,
    "reset": reset,
    "isolation": isolation,
    "chunks": chunks,
    "nan": nan_containment,
    "slow_paths": slow_paths,
    "latency": latency,
}
NAMES = ("agreement", *ALONE, "drift")
DIAGNOSED = ("agreement", "reset")


def run(
    target: Target,
    reference: Any = None,
    options: Options | None = None,
    *,
    only: Sequence[str] | None = None,
    skip: Sequence[str] = (),
    progress: Callable[[str], None] | None = None,
) -> Report:
    """Run the checks, and say what was found.

    Args:
        target: what to check, see `Target` and `adapters`.
        reference: the LSTM that it should be: an `LSTM`, its weights, a state dict, a torch module
            or a file. None: agreement and drift are skipped, and nothing is diagnosed.
        options: see `Options`.
        only: names of checks, of NAMES; None is all.
        skip: names of those to leave out.
        progress: is told which check comes next.

    Raises:
        TargetError: the target can't be run at all.
        TypeError, ValueError, OSError, FormatError: a name is unknown; the reference can't be read
            or does not fit.
    """
    options = options or DEFAULT
    chosen = _chosen(only, skip)
    weights = None if reference is None else as_weights(reference)
    if weights is not None and weights.input_size != target.input_size:
        raise ValueError(
            f"the reference takes {weights.input_size} values per frame, {target.name} takes "
            f"{target.input_size}"
        )
    # What can't take a single step is not checked at all.
    first = record(target, uniform(1, target.input_size, options.seed, options.scale).array)
    results = []
    for name in chosen:
        if progress:
            progress(name)
        start = time.monotonic()
        result = _one(name, target, weights, options)
        if result.failed and name in DIAGNOSED and weights is not None:
            result = replace(result, diagnosis=_diagnosis(target, weights))
        if result.failed and not result.reproduction:
            result = replace(result, reproduction=_whole(name, target, weights, options))
        results.append(replace(result, seconds=time.monotonic() - start))
    facts = {
        "input_size": target.input_size,
        "output_size": first.ys.shape[1],
        "state_is_seen": first.has_state,
        **machine_facts(),
        **{f"option {name}": value for name, value in asdict(options).items()},
    }
    return Report(target.name, tuple(results), facts)


def _chosen(only: Sequence[str] | None, skip: Sequence[str]) -> list[str]:
    for name in (*(only or ()), *skip):
        if name not in NAMES:
            raise ValueError(f"there is no check {name!r}; choose from {', '.join(NAMES)}")
    return [name for name in NAMES if (only is None or name in only) and name not in skip]


def _one(name: str, target: Target, weights: Weights | None, options: Options) -> CheckResult:
    """Run one check; a target that breaks down in it has failed it."""
    try:
        if name in ALONE:
            return ALONE[name](target, options)
        if weights is None:
            return CheckResult(name, "skipped", "no reference was given: reference=")
        return WITH_REFERENCE[name](target, weights, options)
    except TargetError as error:
        return CheckResult(name, "failed", f"the target broke down: {error}")


def _whole(name: str, target: Target, weights: Weights | None, options: Options) -> str:
    """Return a reproduction that runs the whole check."""
    changed = [
        f"{field}={value!r}"
        for field, value in asdict(options).items()
        if value != getattr(DEFAULT, field)
    ]
    needs = name in WITH_REFERENCE and weights is not None
    comment = "# reference: the LSTM that it should be, as it was given to the check\n"
    body = f"""
{comment if needs else ""}options = checks.Options({", ".join(changed)})
report = checks.run(target, {"reference" if needs else "None"}, options, only=[{name!r}])
assert report.passed, report
"""
    return reproduction.code(target, body, "from lstm_fast import checks")


def _diagnosis(target: Target, weights: Weights) -> tuple[dict[str, Any], ...]:
    """Return the mistakes that explain what the target does."""
    from .diagnosis import diagnose, gather

    try:
        found = diagnose(gather(target, weights), weights)
    except (TargetError, ValueError, MemoryError) as error:
        return ({"mistake": "not diagnosed", "explanation": str(error), "confident": False},)
    return tuple(
        {
            name: getattr(one, name)
            for name in (
                "mistake",
                "words",
                "explanation",
                "residual_before",
                "residual_after",
                "tolerance",
                "confident",
                "also",
            )
        }
        for one in found
    )
