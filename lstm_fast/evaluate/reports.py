"""Evaluations, comparisons and drifts as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._tables import Table, render
from .cohorts import Cohort, Latency
from .statistics import Interval

if TYPE_CHECKING:
    from .comparisons import Bill, Comparison, Pair
    from .drifts import CohortDrift, Drift
    from .runs import Evaluation

__all__ = ["comparison", "drift", "evaluation", "time_text"]

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


def _share(value: float) -> str:
    return f"{value:.1%}".replace("%", " %")


def _interval(value: Interval) -> str:
    return f"{_share(value.value)} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _points(value: Interval) -> str:
    """Return a difference of shares, in points of a hundred."""
    low, high = 100 * value.low, 100 * value.high
    return f"{100 * value.value:+.1f} [{low:+.1f}, {high:+.1f}]"


def _p(value: float | None) -> str:
    if value is None:
        return NONE
    return "<0.0001" if value < 1e-4 else f"{value:.4f}"


def _latency(latency: Latency | None) -> list[str]:
    if latency is None:
        return [NONE, NONE]
    return [time_text(latency.p50), time_text(latency.p99)]


def evaluation(result: Evaluation, rich: bool | None, width: int | None) -> str:
    """Return a table for each way to part, and the cohorts that stand out."""
    named = {(s.cohort.bucket, s.cohort.name): s for s in result.stand_outs}
    tables = []
    for bucket, cohorts in (result.buckets or {"": []}).items():
        level = f"{100 * result.level:g} %"
        title = f"{result.name}: {len(result)} sequences" + (f" by {bucket}" if bucket else "")
        columns = [
            bucket,
            "count",
            f"right [{level}]",
            "wrong",
            "p50",
            "p99",
            "confidence",
            "verdict",
        ]
        table = Table(title, columns, total=bool(cohorts))
        for number, cohort in enumerate(cohorts):
            found = named.get((bucket, cohort.name))
            if found is not None:
                table.marked[number] = BAD if found.worse else GOOD
            verdict = "" if found is None else "worse" if found.worse else "better"
            table.rows.append([*_row(cohort), verdict])
        table.rows.append([*_row(result.overall), ""])
        tables.append(table)
    return render(tables, _stand_out_lines(result), rich, width)


def _row(cohort: Cohort) -> list[str]:
    sure = NONE if cohort.confidence is None else f"{cohort.confidence.mean:.3f}"
    fails = f"{cohort.count - cohort.correct} ({_share(cohort.fail_rate.value)})"
    return [
        cohort.name,
        str(cohort.count),
        _interval(cohort.accuracy),
        fails,
        *_latency(cohort.latency),
        sure,
    ]


def _stand_out_lines(result: Evaluation) -> list[str]:
    lines = [
        f"{'FAILS' if s.worse else 'better'} at {s.cohort.bucket} {s.cohort.name}: "
        f"{_share(s.cohort.accuracy.value)} right, the rest {_share(s.rest.value)}, "
        f"{_points(s.difference)} points, p {_p(s.pvalue)}"
        for s in result.stand_outs
    ]
    if errors := result.overall.errors:
        lines.append(f"the predictor raised for {errors} sequences, which count as failed")
    if any(len(cohorts) > 1 for cohorts in result.buckets.values()) and not result.stand_outs:
        lines.append(
            f"no cohort stands out: none differs from the rest by {100 * result.min_difference:g} "
            f"points or more with p at most {result.alpha:g}"
        )
    return lines


def comparison(result: Comparison, rich: bool | None, width: int | None) -> str:
    """Return a table for each way to part, and a summary."""
    a, b = result.a.name, result.b.name
    billed = result.overall.bill_a is not None or result.overall.bill_b is not None
    tables = []
    for bucket, pairs in (result.buckets or {"": []}).items():
        title = f"{a} and {b}: {len(result.a)} sequences" + (f" by {bucket}" if bucket else "")
        columns = [bucket, "count", a, b, "points", "p", "agree", "kappa", "p50", "p99"]
        columns += ["cost"] if billed else []
        table = Table(title, [*columns, "better"], total=bool(pairs))
        for number, pair in enumerate([*pairs, result.overall]):
            if pair.better is not None:
                table.marked[number] = "bold"
            table.rows.append(_pair_row(pair, a, b, billed))
        tables.append(table)
    lines = [f"points: accuracy of {a} minus that of {b}; what stands in pairs is {a} | {b}"]
    if result.same_windows < 1:
        other = _share(1 - result.same_windows)
        lines.append(f"of {other} of the sequences they saw DIFFERENT windows")
    return render(tables, lines, rich, width)


def _pair_row(pair: Pair, a: str, b: str, billed: bool) -> list[str]:
    (a50, a99), (b50, b99) = _latency(pair.a.latency), _latency(pair.b.latency)
    row = [pair.name, str(pair.a.count)]
    row += [_share(pair.a.accuracy.value), _share(pair.b.accuracy.value)]
    row += [_points(pair.difference), _p(pair.pvalue)]
    row.append(NONE if pair.agreement is None else _share(pair.agreement.value))
    row.append(NONE if pair.kappa is None else f"{pair.kappa:.3f}")
    row += [f"{a50} | {b50}", f"{a99} | {b99}"]
    if billed:
        row.append(f"{_bill(pair.bill_a)} | {_bill(pair.bill_b)}")
    return [*row, {"a": a, "b": b, None: ""}[pair.better]]


def _bill(bill: Bill | None) -> str:
    return NONE if bill is None else f"{bill.total:.4g}"


def drift(result: Drift, rich: bool | None, width: int | None) -> str:
    """Return a table of all cohorts, and those that drifted."""
    columns = ["cohort", "before", "after", "mean before", "mean after"]
    columns += ["PSI", "by chance", "p", "KS", "p", "verdict"]
    table = Table("Drift of confidence", columns)
    for number, cohort in enumerate(result.cohorts):
        if cohort.drifted:
            table.marked[number] = BAD
        table.rows.append(_drift_row(cohort))
    lines = [
        f"DRIFTED: {_place(c)}: mean {c.mean_before:.3f} to {c.mean_after:.3f}"
        for c in result.drifted
    ]
    if not lines:
        lines = [
            f"no drift: nowhere PSI of {result.psi_size:g} or KS of {result.ks_size:g} with p at "
            f"most {result.alpha:g}"
        ]
    for when, keys in (("before", result.only_before), ("after", result.only_after)):
        if keys:
            lines.append(f"only {when}: " + ", ".join(f"{bucket} {name}" for bucket, name in keys))
    return render([table], lines, rich, width)


def _place(cohort: CohortDrift) -> str:
    return "all" if cohort.bucket == "all" else f"{cohort.bucket} {cohort.name}"


def _drift_row(cohort: CohortDrift) -> list[str]:
    row = [_place(cohort), str(cohort.count_before), str(cohort.count_after)]
    row += [f"{cohort.mean_before:.3f}", f"{cohort.mean_after:.3f}"]
    if cohort.psi is None or cohort.ks is None:
        return [*row, *[NONE] * 5, "too few"]
    row += [f"{cohort.psi.value:.3f}", f"{cohort.psi.chance:.3f}", _p(cohort.psi_pvalue)]
    row += [f"{cohort.ks:.3f}", _p(cohort.ks_pvalue)]
    return [*row, "drifted" if cohort.drifted else ""]
