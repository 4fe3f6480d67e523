"""The last line of a report, which is all that many people read of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .results import CheckResult, Report

HEADS = {0: "passed", 1: "FAILED", 2: "NOTHING COULD BE CHECKED", 3: "INCOMPLETE"}


def text(report: Report) -> str:
    """Return the verdict, in one line.

    Such as "port: passed, with 1 warning: ... (8 passed, 1 skipped in 12.1 s)" or
    "port: INCOMPLETE; agreement and drift were skipped: ... (4 passed, 3 skipped in 0.8 s)".
    """
    head = HEADS[report.exit_status]
    if report.failures:
        head += f": {_list([one.name for one in report.failures])}"
    parts = [f"{head}{_warnings(report)}", *_skipped(report)]
    return f"{report.target}: {'; '.join(parts)} ({_counts(report)})"


def _warnings(report: Report) -> str:
    count = len(report.warnings)
    if not count:
        return ""
    return f", with {count} warning{'s' if count > 1 else ''}: {'; '.join(report.warnings)}"


def _skipped(report: Report) -> list[str]:
    """Say which main checks were skipped and why, those that have one reason together."""
    reasons: dict[tuple[str, str], list[CheckResult]] = {}
    for result in report.results:
        if result.is_main and result.status == "skipped":
            how = "left out" if result.on_purpose else "skipped"
            reasons.setdefault((how, result.text), []).append(result)
    return [
        f"{_list([one.name for one in results])} {'was' if len(results) == 1 else 'were'} {how}: "
        f"{reason}"
        for (how, reason), results in reasons.items()
    ]


def _list(names: Sequence[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _counts(report: Report) -> str:
    counts = [
        f"{n} {status}"
        for status in ("failed", "passed", "skipped")
        if (n := sum(result.status == status for result in report.results))
    ]
    seconds = sum(result.seconds for result in report.results)
    return f"{', '.join(counts) or 'nothing ran'} in {seconds:.1f} s"
