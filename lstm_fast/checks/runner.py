"""All checks of a target, one after the other, and the report."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from . import reproduction
from ._context import SEE_DETERMINISM
from ._explaining import Explainer, Wanted
from ._vads.explaining import settle
from ._vads.references import VadReference
from .adapters.vad import VadTarget
from .agreement import agreement
from .containment import nan_containment
from .endurance import drift
from .isolation import isolation
from .options import DEFAULT, Options
from .references import LEFT_OUT, NOT_GIVEN, NoReference, reference_for
from .results import CheckResult, Report, machine_facts
from .sessions import chunks, determinism, reset
from .speed import latency, slow_paths
from .target import Target, TargetError, check_target, record, told
from .whole_agreement import whole_agreement
from .whole_drift import whole_drift
from .whole_references import WholeReference, is_whole, whole_reference_for

__all__ = ["NAMES", "run"]

WITH_REFERENCE: dict[str, Callable[..., CheckResult]] = {"agreement": agreement, "drift": drift}
WITH_WHOLE: dict[str, Callable[..., CheckResult]] = {
    "agreement": whole_agreement,
    "drift": whole_drift,
}
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


def run(
    target: Target,
    reference: Any = NOT_GIVEN,
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
            or a file; or the whole model: a `Model`, a program, or a file for a target that is
            one. Without one, agreement and drift are skipped, nothing is diagnosed, and the
            report has not passed (`Report.missing`, exit status 3), unless that was asked for: by
            None, or by leaving these two out with `only` or `skip`.
        options: see `Options`.
        only: names of checks, of NAMES; None is all.
        skip: names of those to leave out.
        progress: is told which check comes next.

    Raises:
        TargetError: the target can't be run at all.
        TypeError, ValueError, OSError, FormatError: target is not a Target; a name is unknown; the
            reference can't be read or does not fit.

    Example:
        >>> from lstm_fast import LSTM, checks
        >>> from lstm_fast.checks import adapters
        >>> lstm = LSTM.random(3, 4)
        >>> report = checks.run(adapters.from_lstm(lstm), lstm, only=["agreement", "reset"])
        >>> report.passed
        True
    """
    check_target(target)
    options = options or DEFAULT
    chosen = _chosen(only, skip)
    wanted = _wanted(target, reference)
    # What can't take a single step is not checked at all.
    first = record(target, target.drawn(1, options.seed, options.scale).array)
    if isinstance(target, VadTarget) and isinstance(wanted, VadReference):
        settle(target, wanted, options)
    results: list[CheckResult] = []
    explained = Explainer(target, wanted, options)
    for name in chosen:
        if progress:
            progress(name)
        start = time.monotonic()
        result = _one(name, target, wanted, options)
        if result.failed:
            result = explained(result)
        if result.failed and not result.reproduction:
            needed = None
            if name in WITH_REFERENCE and not isinstance(wanted, NoReference):
                needed = wanted
            whole = reproduction.whole(name, target, options, needed)
            result = replace(result, reproduction=whole)
        if "determinism" not in chosen:
            result = replace(result, text=result.text.replace(SEE_DETERMINISM, ""))
        result = replace(result, warnings=result.warnings + _few_judged(result))
        results.append(replace(result, seconds=time.monotonic() - start))
    facts = {
        "input_size": target.input_size,
        "output_size": first.ys.shape[1],
        "state_is_seen": first.has_state or first.states is not None,
        **machine_facts(),
        **{f"option {name}": value for name, value in asdict(options).items()},
    }
    return Report(str(target.name), tuple(results), facts, _remarks(target, wanted))


def _wanted(target: Target, reference: Any) -> Wanted:
    if reference is None:
        return LEFT_OUT
    if reference is NOT_GIVEN and isinstance(target, VadTarget):  # it says what it should be
        return whole_reference_for(target, None)
    if is_whole(target, reference):
        return whole_reference_for(target, reference)
    return reference if isinstance(reference, NoReference) else reference_for(target, reference)


def _remarks(target: Target, wanted: Wanted) -> tuple[str, ...]:
    """Return what is doubtful about the target or the reference themselves."""
    assumed = () if isinstance(wanted, NoReference) else wanted.assumptions
    return *map(str, target.remarks), *(f"reference: {text}" for text in assumed)


def _few_judged(result: CheckResult) -> tuple[str, ...]:
    """Return a warning where a check passed without a bound for most of its steps."""
    steps, judged = (result.numbers.get(name) for name in ("steps", "steps_with_a_bound"))
    if result.status != "passed" or steps is None or judged is None or 2 * judged >= steps:
        return ()
    return (f"{result.name} could judge only {judged} of {steps} steps",)


def _chosen(only: Sequence[str] | None, skip: Sequence[str]) -> list[str]:
    for name in (*(only or ()), *skip):
        if name not in NAMES:
            raise ValueError(f"there is no check {name!r}; choose from {', '.join(NAMES)}")
    return [name for name in NAMES if (only is None or name in only) and name not in skip]


def _one(name: str, target: Target, wanted: Wanted, options: Options) -> CheckResult:
    """Run one check; a target that breaks down in it has failed it."""
    try:
        if name in ALONE:
            return ALONE[name](target, options)
        if isinstance(wanted, NoReference):
            return CheckResult(name, "skipped", wanted.reason, on_purpose=wanted.on_purpose)
        table = WITH_WHOLE if isinstance(wanted, WholeReference) else WITH_REFERENCE
        return table[name](target, wanted, options)
    except TargetError as error:
        return CheckResult(name, "failed", f"the target broke down: {error}")
    except Exception as error:  # what it gave was of a shape or a size that no check can use
        text = f"the check broke down, with what the target gave it: {told(error)}"
        return CheckResult(name, "failed", text)
