"""What predictions cost, in any one currency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ._options import check_number
from .records import Records

__all__ = ["Bill", "Cost", "bill_of", "to_costs"]


@dataclass(frozen=True)
class Cost:
    """What a predictor costs, in any one currency.

    Args:
        per_call: of a prediction.
        per_step: of each step that it sees.

    Example:
        >>> Cost(per_call=0.001, per_step=0.00002).per_step
        2e-05
    """

    per_call: float = 0.0
    per_step: float = 0.0

    def __post_init__(self) -> None:
        for what in ("per_call", "per_step"):
            check_number(getattr(self, what), what)
            if not 0 <= getattr(self, what) < float("inf"):
                raise ValueError(f"{what} must be 0 or more, found {getattr(self, what)}")


@dataclass(frozen=True)
class Bill:
    """What the predictions of a cohort cost: in all, each, and for each that is right."""

    total: float
    per_sequence: float
    per_correct: float | None  # None where none is right


def to_costs(costs: Any) -> tuple[Cost | None, Cost | None]:
    """Return what two predictors cost.

    Raises:
        TypeError: it is not a pair of Cost or None.
    """
    if (
        isinstance(costs, Sequence)
        and len(costs) == 2
        and all(one is None or isinstance(one, Cost) for one in costs)
    ):
        return costs[0], costs[1]
    raise TypeError(
        "costs is a pair of Cost or None, one for each predictor, such as (Cost(per_call=1.0), "
        f"Cost(per_step=0.5)), found {costs!r}"
    )


def bill_of(records: Records, cost: Cost | None) -> Bill | None:
    """Return what the predictions of these sequences cost; None: not known."""
    if cost is None:
        return None
    total = len(records) * cost.per_call + int(records.seen.sum()) * cost.per_step
    right = int(records.correct.sum())
    return Bill(total, total / len(records), total / right if right else None)
