"""What an evaluation found, over all and by cohort."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from typing import Any, TypeAlias

from . import export, pictures
from ._tables import Table, render
from ._texts import (
    BAD,
    GOOD,
    NONE,
    interval_text,
    latency_texts,
    points_text,
    pvalue_text,
    share_text,
)
from .cohorts import Cohort, StandOut, find_stand_outs, measure
from .records import Records

__all__ = ["Evaluation", "Path"]

Path: TypeAlias = "str | PathLike[str]"


class Evaluation:
    """How a predictor did, over all and by cohort; made by `run`.

    Attributes:
        records: what is kept of each sequence.
        level: of the intervals.
        alpha: the probability with which any cohort is named where all are alike, at most.
        min_difference: the difference in accuracy that matters.
        overall: everything as one cohort.
        buckets: for each way to part, by its name, the cohorts in order.
        stand_outs: the cohorts that differ from the rest, see `StandOut`.

    Example:
        >>> from lstm_fast import evaluate
        >>> sequences = [{"xs": [n] * n, "gold": n % 2 == 0} for n in range(1, 9)]
        >>> result = evaluate.run(lambda xs: xs[0] % 2 == 0, sequences, evaluate.by_steps([5]))
        >>> len(result), result.cohort("steps", "<5").accuracy.value
        (8, 1.0)
        >>> [row["correct"] for row in result.rows()][:2]
        [True, True]
    """

    def __init__(
        self, records: Records, level: float, alpha: float, min_difference: float, name: str
    ) -> None:
        self.records = records
        self.level, self.alpha, self.min_difference = level, alpha, min_difference
        self.name = name
        self.overall = measure(records, "all", "all", level)
        self.buckets: dict[str, list[Cohort]] = {
            bucket: [
                measure(records.select(codes == code), bucket, text, level)
                for code, text in enumerate(texts)
                if (codes == code).any()
            ]
            for bucket, (texts, codes) in records.cohorts.items()
        }
        self.stand_outs: list[StandOut] = find_stand_outs(
            self.buckets, alpha, min_difference, level
        )

    def __len__(self) -> int:
        return len(self.records)

    def cohort(self, bucket: str, name: str) -> Cohort:
        """Return one cohort.

        Raises:
            KeyError: there is no such bucket or cohort.
        """
        for cohort in self._cohorts(bucket):
            if cohort.name == name:
                return cohort
        names = ", ".join(repr(c.name) for c in self.buckets[bucket])
        raise KeyError(f"bucket {bucket!r} has no cohort {name!r}; it has {names}")

    def _cohorts(self, bucket: str) -> list[Cohort]:
        if bucket not in self.buckets:
            known = f"there are {', '.join(self.buckets)}" if self.buckets else "none was asked for"
            raise KeyError(f"there is no bucket {bucket!r}; {known}")
        return self.buckets[bucket]

    def subset(self, bucket: str, name: str) -> Evaluation:
        """Return the evaluation of one cohort alone, such as one release or one month.

        Raises:
            KeyError: there is no such bucket or cohort.
        """
        self.cohort(bucket, name)
        texts, codes = self.records.cohorts[bucket]
        records = self.records.select(codes == texts.index(name))
        return Evaluation(records, self.level, self.alpha, self.min_difference, name)

    def rows(self, details: bool = True) -> Iterator[dict[str, Any]]:
        """Give a row for each sequence: see `lstm_fast.evaluate.export`."""
        return export.rows(self.records, details)

    def write_rows(self, path: Path, details: bool = True) -> None:
        """Write the rows as .csv, .json (one list) or .jsonl (one object a line).

        Raises:
            ValueError: path ends with none of these.
            OSError: it cannot be written.
        """
        export.write(path, self.rows(details))

    def to_json(self) -> dict[str, Any]:
        """Return what was found, without the rows, as numbers, strings and dicts."""
        return {
            "name": self.name,
            "level": self.level,
            "alpha": self.alpha,
            "min_difference": self.min_difference,
            "overall": self.overall.to_json(),
            "buckets": {
                bucket: [cohort.to_json() for cohort in cohorts]
                for bucket, cohorts in self.buckets.items()
            },
            "stand_outs": [named.to_json() for named in self.stand_outs],
        }

    def report(self, rich: bool | None = None, width: int | None = None) -> str:
        """Return tables and the cohorts that stand out as text.

        Args:
            rich: whether tables are drawn by rich; None: where it is installed.
            width: of rich's tables in characters, which folds them; None: as wide as they are.

        Raises:
            ImportError: rich is True, and rich is not installed.
        """
        return _report(self, rich, width)

    def __str__(self) -> str:
        return self.report(rich=False)

    def draw(self, path: Path) -> None:
        """Draw accuracy with its interval and latency beside it, by cohort, into a file.

        Raises:
            ImportError: matplotlib is not installed.
            OSError, ValueError: the file cannot be written, or its suffix is of no picture.
        """
        pictures.draw([self], path)


def _report(result: Evaluation, rich: bool | None, width: int | None) -> str:
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
    fails = f"{cohort.count - cohort.correct} ({share_text(cohort.fail_rate.value)})"
    return [
        cohort.name,
        str(cohort.count),
        interval_text(cohort.accuracy),
        fails,
        *latency_texts(cohort.latency),
        sure,
    ]


def _stand_out_lines(result: Evaluation) -> list[str]:
    lines = [
        f"{'FAILS' if s.worse else 'better'} at {s.cohort.bucket} {s.cohort.name}: "
        f"{share_text(s.cohort.accuracy.value)} right, the rest {share_text(s.rest.value)}, "
        f"{points_text(s.difference)} points, p {pvalue_text(s.pvalue)}"
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
