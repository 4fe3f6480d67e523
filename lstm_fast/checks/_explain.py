"""What a report says of a target that is wrong: which mistake explains it, or that none does."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .references import Reference
from .target import Target, TargetError

STEPS = (24, 128)  # of each recording; more where the first ones show nothing


def explain(target: Target, wanted: Reference) -> tuple[tuple[dict[str, Any], ...], str]:
    """Return the mistakes that explain what a target does, best first, and a note on that."""
    from .diagnosis import Diagnoses, Evidence, diagnose, gather

    weights, dtype = wanted.weights, wanted.weight_dtype
    try:
        found = Diagnoses(agrees=True)
        for steps in STEPS:
            if found.agrees:
                evidence = gather(target, weights, steps=steps)
                found = diagnose(evidence, weights, weight_dtype=dtype)
        if not found and not found.agrees and any(evidence.starts):
            # What shows its state need not take one that is set, and there is no harm in that.
            after_resets = Evidence(
                tuple(
                    one
                    for one, start in zip(evidence.recordings, evidence.starts, strict=True)
                    if start is None
                )
            )
            found = diagnose(after_resets, weights, weight_dtype=dtype) or found
    except (TargetError, ValueError, MemoryError) as error:
        return (), f"not diagnosed: {error}"
    if found.agrees:
        return (), (
            f"no mistake shows in the first {STEPS[-1]} steps after a reset, on ordinary frames: "
            "it differs only later, or on others"
        )
    return tuple(asdict(one) for one in found), found.note
