"""Two predictors on the same input windows, side by side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import pictures
from ._extras import stats, with_progress
from ._options import check_options, check_sequences, to_buckets, to_names
from ._tables import Table, render
from ._texts import NONE, latency_texts, points_text, pvalue_text, share_text
from .buckets import Buckets
from .cohorts import Cohort
from .costs import Bill, Cost, bill_of, to_costs
from .evaluations import Evaluation, Path
from .predictors import Predictor
from .records import NO_LABEL, Recorder, Records
from .runs import Item, OnError, Step, length, visible_steps
from .statistics import Interval, cohen_kappa, holm, mcnemar, paired_difference, wilson

__all__ = ["Comparison", "Pair", "compare", "compare_runs"]


@dataclass(frozen=True)
class Pair:
    """Two predictors in one cohort.

    Attributes:
        bucket, name: the way to part, and the cohort's name in it; "all" for everything.
        a, b: how each did.
        only_a, only_b: sequences that only one of them got right.
        answered: sequences for which neither raised; the next two are of these.
        agreement: the share of equal answers, right or wrong; None where nothing was answered.
        kappa: Cohen's, agreement beyond chance; None where it has no value.
        difference: accuracy of a minus that of b, with the paired interval of Bonett and Price.
        pvalue: of McNemar's exact test; of cohorts adjusted by Holm over all of them.
        better: "a" or "b" where one is better by more than chance and by enough, else None.
        bill_a, bill_b: what they cost; None where no cost was given.

    Example:
        >>> from lstm_fast import evaluate
        >>> sequences = [{"xs": [n], "gold": n % 2 == 0} for n in range(40)]
        >>> pair = evaluate.compare(lambda xs: xs[0] % 2 == 0, lambda xs: True, sequences).overall
        >>> pair.only_a, pair.only_b, pair.agreement.value, pair.difference.value
        (20, 0, 0.5, 0.5)
    """

    bucket: str
    name: str
    a: Cohort
    b: Cohort
    only_a: int
    only_b: int
    answered: int
    agreement: Interval | None
    kappa: float | None
    difference: Interval
    pvalue: float
    better: str | None
    bill_a: Bill | None
    bill_b: Bill | None

    def to_json(self) -> dict[str, Any]:
        """Return it as numbers, strings and dicts."""
        result: dict[str, Any] = {
            "bucket": self.bucket,
            "name": self.name,
            "a": self.a.to_json(),
            "b": self.b.to_json(),
        }
        for name in ("only_a", "only_b", "answered", "kappa", "pvalue", "better"):
            result[name] = getattr(self, name)
        result["agreement"] = None if self.agreement is None else self.agreement._asdict()
        result["difference"] = self.difference._asdict()
        for name in ("bill_a", "bill_b"):
            bill = getattr(self, name)
            result[name] = None if bill is None else dict(vars(bill))
        return result


class Comparison:
    """Two evaluations of the same sequences; made by `compare` or `compare_runs`.

    Attributes:
        a, b: the evaluations.
        same_windows: the share of sequences of which both saw the very same steps.
        overall: everything as one cohort.
        buckets: for each way to part, by its name, a `Pair` for each cohort, in order.

    Example:
        >>> from lstm_fast import evaluate
        >>> sequences = [{"xs": [n], "gold": n % 2 == 0} for n in range(40)]
        >>> found = evaluate.compare(lambda xs: xs[0] % 2 == 0, lambda xs: True, sequences)
        >>> found.overall.better, found.a.overall.correct, found.b.overall.correct
        ('a', 40, 20)
    """

    def __init__(
        self, a: Evaluation, b: Evaluation, costs: tuple[Cost | None, Cost | None] = (None, None)
    ) -> None:
        self.a, self.b = a, b
        self.costs = costs
        self.same_windows = float(np.mean(a.records.windows == b.records.windows))
        everything = np.ones(len(a), np.bool_)
        self.overall = self._pair(a.overall, b.overall, everything)
        self.overall = self._judged(self.overall, self.overall.pvalue)
        pairs = [
            self._pair(own, b.cohort(bucket, own.name), codes == texts.index(own.name))
            for bucket, (texts, codes) in a.records.cohorts.items()
            for own in a.buckets[bucket]
        ]
        adjusted = holm([pair.pvalue for pair in pairs])
        self.buckets: dict[str, list[Pair]] = {bucket: [] for bucket in a.buckets}
        for pair, pvalue in zip(pairs, adjusted, strict=True):
            self.buckets[pair.bucket].append(self._judged(pair, pvalue))

    def _judged(self, pair: Pair, pvalue: float) -> Pair:
        """Return it with its adjusted p-value, and which predictor is better."""
        delta = pair.difference.value
        matters = pvalue <= self.a.alpha and abs(delta) >= self.a.min_difference and delta != 0
        better = ("a" if delta > 0 else "b") if matters else None
        return Pair(**{**vars(pair), "pvalue": pvalue, "better": better})

    def _pair(self, own: Cohort, other: Cohort, mask: Any) -> Pair:
        a, b = self.a.records.select(mask), self.b.records.select(mask)
        right_a, right_b = a.correct, b.correct
        only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
        said_a, said_b, count = _in_common_codes(a, b)
        answered = (said_a != NO_LABEL) & (said_b != NO_LABEL)
        agreement, kappa = None, None
        if answered.any():
            table = np.zeros((count, count), np.int64)
            np.add.at(table, (said_a[answered], said_b[answered]), 1)
            agreement = wilson(int(np.trace(table)), int(table.sum()), self.a.level)
            kappa = cohen_kappa(table)
        return Pair(
            own.bucket,
            own.name,
            own,
            other,
            only_a,
            only_b,
            int(answered.sum()),
            agreement,
            kappa,
            paired_difference(only_a, only_b, len(a), self.a.level),
            mcnemar(only_a, only_b),
            None,
            bill_of(a, self.costs[0]),
            bill_of(b, self.costs[1]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what was found, without the rows, as numbers, strings and dicts."""
        return {
            "a": self.a.to_json(),
            "b": self.b.to_json(),
            "same_windows": self.same_windows,
            "overall": self.overall.to_json(),
            "buckets": {
                bucket: [pair.to_json() for pair in pairs] for bucket, pairs in self.buckets.items()
            },
        }

    def report(self, rich: bool | None = None, width: int | None = None) -> str:
        """Return it as text; see `Evaluation.report`."""
        return _report(self, rich, width)

    def __str__(self) -> str:
        return self.report(rich=False)

    def draw(self, path: Path) -> None:
        """Draw both by cohort into a file; see `Evaluation.draw`."""
        pictures.draw([self.a, self.b], path)


def _report(result: Comparison, rich: bool | None, width: int | None) -> str:
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
    lines = [f"points: accuracy of {a} minus that of {b}; pairs of figures are {a} | {b}"]
    if result.same_windows < 1:
        other = share_text(1 - result.same_windows)
        lines.append(f"of {other} of the sequences they saw DIFFERENT windows")
    return render(tables, lines, rich, width)


def _pair_row(pair: Pair, a: str, b: str, billed: bool) -> list[str]:
    (a50, a99), (b50, b99) = latency_texts(pair.a.latency), latency_texts(pair.b.latency)
    row = [pair.name, str(pair.a.count)]
    row += [share_text(pair.a.accuracy.value), share_text(pair.b.accuracy.value)]
    row += [points_text(pair.difference), pvalue_text(pair.pvalue)]
    row.append(NONE if pair.agreement is None else share_text(pair.agreement.value))
    row.append(NONE if pair.kappa is None else f"{pair.kappa:.3f}")
    row += [f"{a50} | {b50}", f"{a99} | {b99}"]
    if billed:
        row.append(f"{_bill_text(pair.bill_a)} | {_bill_text(pair.bill_b)}")
    return [*row, {"a": a, "b": b, None: ""}[pair.better]]


def _bill_text(bill: Bill | None) -> str:
    return NONE if bill is None else f"{bill.total:.4g}"


def _in_common_codes(a: Records, b: Records) -> tuple[Any, Any, int]:
    """Return both ones' predicted labels in codes of one list, and its length."""
    texts = list(dict.fromkeys(a.labels + b.labels))
    code = {text: number for number, text in enumerate(texts)}
    found = []
    for records in (a, b):
        # NO_LABEL is -1, so it takes the last one
        codes = np.array([*(code[text] for text in records.labels), NO_LABEL], np.int64)
        found.append(codes[records.predicted])
    return found[0], found[1], len(texts)


def compare(
    a: Predictor,
    b: Predictor,
    sequences: Iterable[Any],
    buckets: Buckets | Sequence[Buckets] = (),
    *,
    window: int | None = None,
    different_windows: bool = False,
    names: tuple[str, str] = ("a", "b"),
    costs: tuple[Cost | None, Cost | None] = (None, None),
    level: float = 0.95,
    alpha: float = 0.05,
    min_difference: float = 0.05,
    on_error: OnError = "raise",
    progress: bool | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Run two predictors over the same labelled sequences, and set them side by side.

    Both get the same steps, each as a copy of its own; they take turns in going first, so that
    neither finds the caches warmer. What a predictor keeps from one call to the next cannot be
    seen from here: one that does sees more than its window.

    Args:
        a: a predictor as for `run`. One that sees no more than some last steps says so by an
            attribute `window`, see `windowed`.
        b: the other one.
        window: how many steps both see, the last ones; None: all.
        different_windows: go on where one sees more steps than the other, which is an error
            otherwise.
        names: of the two in reports.
        costs: of the two, in one currency.
        sequences: as for `run`; taken once, one by one.
        buckets: as for `run`.
        level: as for `run`.
        alpha: as for `run`; also of the tests which predictor is better.
        min_difference: as for `run`; also the difference between the two that matters.
        on_error: as for `run`.
        progress: as for `run`.
        clock: as for `run`.

    Raises:
        ValueError: they see different windows; and as `run`.
        TypeError: names or costs are not a pair, or costs hold no `Cost`; and as `run`.
        ImportError: as `run`.

    Example:
        >>> from lstm_fast import evaluate
        >>> sequences = [{"xs": [[n]] * 30, "gold": n % 2 == 0} for n in range(10)]
        >>> is_even = lambda xs: xs[-1][0] % 2 == 0
        >>> result = evaluate.compare(is_even, lambda xs: True, sequences)
        >>> result.overall.agreement.value
        0.5
    """
    check_options(level, alpha, min_difference, on_error, clock)
    check_sequences(sequences)
    names, costs = to_names(names), to_costs(costs)
    stats()
    seen = [visible_steps(predictor, window) for predictor in (a, b)]
    if seen[0] != seen[1] and not different_windows:
        known = [limit for limit in seen if limit is not None]
        raise ValueError(
            f"{names[0]} sees {_words(seen[0])} and {names[1]} {_words(seen[1])}: window="
            f"{min(known)} shows both the same, different_windows=True compares them as they are"
        )
    ways = to_buckets(buckets)
    recorders = [Recorder(ways), Recorder(ways)]
    steps = [Step(predictor, None, on_error, clock) for predictor in (a, b)]
    shown = with_progress(sequences, progress, "sequence", length(sequences))
    for number, raw in enumerate(shown):
        first = Item(number, raw, recorders[0], seen[0])
        items = [first, first.again(seen[1])]
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            (answer,) = steps[which]([items[which]])
            items[which].add_to(recorders[which], answer)
    options = (level, alpha, min_difference)
    done = [
        Evaluation(recorder.records(), *options, name)
        for recorder, name in zip(recorders, names, strict=True)
    ]
    return Comparison(done[0], done[1], costs)


def _words(window: int | None) -> str:
    return "all steps" if window is None else f"the last {window}"


def compare_runs(
    a: Evaluation,
    b: Evaluation,
    *,
    different_windows: bool = False,
    costs: tuple[Cost | None, Cost | None] = (None, None),
) -> Comparison:
    """Set two evaluations side by side that were made apart, on the same sequences in one order.

    Args:
        a: an evaluation; level, alpha and min_difference are taken from it.
        b: the other one.
        different_windows: go on where they saw different steps, which is an error otherwise.
        costs: of the two, in one currency.

    Raises:
        TypeError: a or b is not an evaluation, or costs are not a pair of `Cost`.
        ValueError: the numbers of sequences, the gold labels, the lengths or the cohorts differ; or
            the steps that were seen do, to the bit.

    Example:
        >>> from lstm_fast import evaluate
        >>> sequences = [{"xs": [n], "gold": n % 2 == 0} for n in range(40)]
        >>> old, new = (evaluate.run(lambda xs: answer, sequences) for answer in (True, False))
        >>> compare_runs(old, new).overall.agreement.value
        0.0
    """
    for what, given in (("a", a), ("b", b)):
        if not isinstance(given, Evaluation):
            raise TypeError(
                f"{what} must be an Evaluation, which `run` returns, found {type(given).__name__}; "
                "`compare` takes predictors"
            )
    costs = to_costs(costs)
    old, new = a.records, b.records
    if len(old) != len(new):
        raise ValueError(f"{a.name} has {len(old)} sequences, {b.name} has {len(new)}")
    gold_a, gold_b = (np.array(r.labels)[r.gold] for r in (old, new))
    for what, differ in (
        ("gold labels", gold_a != gold_b),
        ("numbers of steps", old.steps != new.steps),
        ("windows", (old.windows != new.windows) & (not different_windows)),
    ):
        if differ.any():
            hint = "; different_windows=True goes on" if what == "windows" else ""
            raise ValueError(
                f"{a.name} and {b.name} saw different {what}, first in sequence "
                f"{int(np.argmax(differ))}, {int(differ.sum())} in all{hint}"
            )
    if _cohort_names(old) != _cohort_names(new):
        raise ValueError(f"{a.name} and {b.name} were parted into different cohorts")
    return Comparison(a, b, costs)


def _cohort_names(records: Records) -> dict[str, list[str]]:
    return {
        bucket: [texts[code] for code in codes]
        for bucket, (texts, codes) in records.cohorts.items()
    }
