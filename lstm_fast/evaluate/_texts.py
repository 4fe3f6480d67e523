"""Numbers as the text of a report."""

from __future__ import annotations

from .cohorts import Latency
from .statistics import Interval

NONE = "-"
BAD, GOOD = "bold red", "green"


def time_text(seconds: float | None) -> str:
    """Return a time in the unit that suits it, with three digits."""
    if seconds is None:
        return NONE
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def share_text(value: float) -> str:
    return f"{value:.1%}".replace("%", " %")


def interval_text(value: Interval) -> str:
    return f"{share_text(value.value)} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def points_text(value: Interval) -> str:
    """Return a difference of shares, in points of a hundred."""
    low, high = 100 * value.low, 100 * value.high
    return f"{100 * value.value:+.1f} [{low:+.1f}, {high:+.1f}]"


def pvalue_text(value: float | None) -> str:
    if value is None:
        return NONE
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


def latency_texts(latency: Latency | None) -> list[str]:
    if latency is None:
        return [NONE, NONE]
    return [time_text(latency.p50), time_text(latency.p99)]
