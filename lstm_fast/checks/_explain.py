"""What a report says of a target that is wrong: which mistake explains it, or that none does."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from .references import Reference
from .target import Target, TargetError

if TYPE_CHECKING:
    from .diagnosis import Diagnoses
    from .evidence import Evidence

ALONE = "it explains what ordinary frames do, and with large ones something else is wrong, too"
MORE_STEPS = 128  # of each recording, where the first ones show nothing


def explain(target: Target, wanted: Reference) -> tuple[tuple[dict[str, Any], ...], str]:
    """Return the mistakes that explain what a target does, best first, and a note on that."""
    try:
        found, later = _diagnosed(target, wanted)
    except (TargetError, ValueError, MemoryError) as error:
        return (), f"not diagnosed: {error}"
    if found.agrees:
        return (), (
            f"no mistake shows in the first {MORE_STEPS} steps after a reset, on ordinary frames, "
            "nor on large ones: it differs only later, or on others"
        )
    more = f"it differs only later, after {later} steps; " if later else ""
    return tuple(asdict(one) for one in found), more + found.note


def _diagnosed(target: Target, wanted: Reference) -> tuple[Diagnoses, int]:
    """Return what was found, and after how many steps the first that differs was looked for."""
    from .diagnosis import diagnose
    from .evidence import gather, gather_later

    weights, dtype = wanted.weights, wanted.weight_dtype
    for steps in (24, MORE_STEPS):
        evidence = gather(target, weights, steps=steps, large=steps < MORE_STEPS)
        found = diagnose(evidence, weights, weight_dtype=dtype)
        if not found.agrees:
            return found or _of_a_part(evidence, wanted) or found, 0
    made_later = gather_later(target, weights) if dtype == "float32" else None
    if made_later is None:
        return found, 0
    return diagnose(made_later, weights, weight_dtype=dtype), made_later.done[0]


def _of_a_part(evidence: Evidence, wanted: Reference) -> Diagnoses | None:
    """Return what explains the recordings after resets, or those of ordinary frames among them.

    What shows its state need not take one that is set, and there is no harm in that. But what is
    right with ordinary frames alone has something wrong beside, and that is said.
    """
    from .diagnosis import diagnose

    numbers = range(len(evidence.recordings))
    after_resets = [n for n in numbers if evidence.starts[n] is None]
    ordinary = [n for n in after_resets if not evidence.labels[n]]
    for chosen, more in ((after_resets, ""), (ordinary, f"; {ALONE}")):
        if chosen and len(chosen) < len(numbers):
            part = evidence.only(chosen)
            found = diagnose(part, wanted.weights, weight_dtype=wanted.weight_dtype)
            if found:
                found[:] = [replace(one, explanation=one.explanation + more) for one in found]
                return found
    return None
