"""Whether two recordings have the same bits, and by how much they have not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arrays import Float32
from .target import Recording


@dataclass(frozen=True)
class Difference:
    """How two recordings of the same frames differ.

    step: the first that does; what: "y", "h", "c" or a state's name there; largest: absolute, over
    all of them; ulp: likewise, counted in float32 values between the two; steps: how many differ.
    """

    step: int
    what: str
    largest: float
    ulp: int
    steps: int

    def __str__(self) -> str:
        size = f"{self.largest:.3g} ({self.ulp} ULP)"
        return f"{self.what} differs from step {self.step} on by up to {size}"

    def numbers(self) -> dict[str, Any]:
        """Return it by name."""
        return {
            "first_step": self.step,
            "first_in": self.what,
            "max_difference": self.largest,
            "max_ulp": self.ulp,
            "steps_that_differ": self.steps,
        }


def ordered(values: Float32) -> NDArray[np.int64]:
    """Return float32 values as integers that count them in ascending order; both zeros are 0."""
    bits = np.ascontiguousarray(values, np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(2**31) - bits, bits)


def _unlike(a: Float32, b: Float32) -> NDArray[np.bool_]:
    """Return where bits differ."""
    return np.asarray(a.view(np.uint32) != b.view(np.uint32))


def difference(a: Recording, b: Recording) -> Difference | None:
    """Return how b differs from a, or None where every bit that both show is the same."""
    pairs = {"y": (a.ys, b.ys)}
    if a.hs is not None and b.hs is not None:
        pairs["h"] = (a.hs, b.hs)
    if a.cs is not None and b.cs is not None:
        pairs["c"] = (a.cs, b.cs)
    for name in (a.states or {}).keys() & (b.states or {}).keys():
        pairs[f"state {name!r}"] = (a.states[name], b.states[name])  # type: ignore[index]
    unlike, first, largest, ulp = np.zeros(len(a), bool), "", 0.0, 0
    step = len(a)
    for what, (left, right) in pairs.items():
        apart = _unlike(left, right)
        if not apart.any():
            continue
        rows = apart.reshape(len(a), -1).any(axis=1)
        unlike |= rows
        if int(np.argmax(rows)) < step:
            step, first = int(np.argmax(rows)), what
        with np.errstate(all="ignore"):
            distance = np.abs(left[apart].astype(np.float64) - right[apart])
        largest = max(largest, float(np.where(np.isnan(distance), np.inf, distance).max()))
        ulp = max(ulp, int(np.abs(ordered(left[apart]) - ordered(right[apart])).max()))
    return Difference(step, first, largest, ulp, int(unlike.sum())) if first else None
