"""Cohorts: how right, how fast and how sure a predictor is in each, and which ones stand out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .records import Records
from .statistics import Interval, difference, fisher, holm, wilson

__all__ = ["Cohort", "Confidence", "Latency", "StandOut"]

P99_COUNT = 100  # with fewer calls there is nothing beyond the 99th percentile but the maximum


@dataclass(frozen=True)
class Latency:
    """Of the calls, in seconds; p99 is None below 100 of them.

    Example:
        >>> from lstm_fast import evaluate
        >>> predict = lambda xs: evaluate.Prediction(True, seconds=0.25)  # or it is timed
        >>> evaluate.run(predict, [{"xs": [1], "gold": True}] * 3).overall.latency
        Latency(p50=0.25, p99=None, max=0.25)
    """

    p50: float
    p99: float | None
    max: float


@dataclass(frozen=True)
class Confidence:
    """Of the answers that have one: how many, their mean and quantiles.

    Example:
        >>> from lstm_fast import evaluate
        >>> sequences = [{"xs": [p], "gold": True} for p in (0.5, 0.75, 1.0)]
        >>> predict = lambda xs: evaluate.Prediction(True, confidence=xs[-1])
        >>> evaluate.run(predict, sequences).overall.confidence.mean
        0.75
    """

    count: int
    mean: float
    p10: float
    p50: float
    p90: float


@dataclass(frozen=True)
class Cohort:
    """What was measured in one cohort.

    Attributes:
        bucket, name: the way to part, and the cohort's name in it; "all" for everything.
        count, correct: sequences, and those of which predicted and gold label are the same.
        errors: those for which the predictor raised; they count as failed.
        accuracy, fail_rate: correct / count and its complement, with Wilson intervals.
        latency: None where no call was timed.
        confidence: None where the predictor gives none.

    Example:
        >>> from lstm_fast import evaluate
        >>> sequences = [{"xs": [n], "gold": n > 2} for n in range(4)]
        >>> cohort = evaluate.run(lambda xs: False, sequences).overall
        >>> cohort.count, cohort.correct, cohort.accuracy.value, cohort.fail_rate.value
        (4, 3, 0.75, 0.25)
    """

    bucket: str
    name: str
    count: int
    correct: int
    errors: int
    accuracy: Interval
    fail_rate: Interval
    latency: Latency | None
    confidence: Confidence | None

    def to_json(self) -> dict[str, Any]:
        """Return it as numbers, strings and dicts."""
        result = asdict(self)
        for name in ("accuracy", "fail_rate"):
            result[name] = getattr(self, name)._asdict()
        return result


@dataclass(frozen=True)
class StandOut:
    """A cohort whose accuracy differs from that of the rest by more than chance and by enough.

    Attributes:
        cohort: which.
        rest: the accuracy of what it was tested against: the cohorts of the same bucket that were
            not named before it.
        difference: its accuracy minus the rest's, with Newcombe's interval.
        pvalue: of Fisher's exact test, adjusted for all the cohorts tested.

    Example:
        >>> from lstm_fast import evaluate
        >>> devices = ["phone"] * 30 + ["desk"] * 30
        >>> sequences = [{"xs": [1], "gold": d == "desk", "keys": {"device": d}} for d in devices]
        >>> found = evaluate.run(lambda xs: True, sequences, evaluate.by("device")).stand_outs[0]
        >>> found.cohort.name, found.worse, found.rest.value
        ('phone', True, 1.0)
    """

    cohort: Cohort
    rest: Interval
    difference: Interval
    pvalue: float

    @property
    def worse(self) -> bool:
        """Whether it fails more often than the rest."""
        return self.difference.value < 0

    def to_json(self) -> dict[str, Any]:
        """Return it as numbers, strings and dicts."""
        return {
            "bucket": self.cohort.bucket,
            "cohort": self.cohort.name,
            "worse": self.worse,
            "accuracy": self.cohort.accuracy.value,
            "rest": self.rest._asdict(),
            "difference": self.difference._asdict(),
            "pvalue": self.pvalue,
        }


def measure(records: Records, bucket: str, name: str, level: float) -> Cohort:
    """Return what there is to say about all of these records."""
    correct = int(records.correct.sum())
    accuracy = wilson(correct, len(records), level)
    return Cohort(
        bucket,
        name,
        len(records),
        correct,
        len(records.errors),
        accuracy,
        accuracy.mirrored(),
        latency_of(records.seconds),
        confidence_of(records.confidence),
    )


def latency_of(seconds: NDArray[np.float64]) -> Latency | None:
    """Return the quantiles of what calls took, those that were not timed left out."""
    timed = seconds[~np.isnan(seconds)]
    if not len(timed):
        return None
    p50, p99 = (float(q) for q in np.quantile(timed, [0.5, 0.99]))
    return Latency(p50, p99 if len(timed) >= P99_COUNT else None, float(timed.max()))


def confidence_of(values: NDArray[np.float64]) -> Confidence | None:
    """Return mean and quantiles of the confidences that there are."""
    given = values[~np.isnan(values)]
    if not len(given):
        return None
    p10, p50, p90 = (float(q) for q in np.quantile(given, [0.1, 0.5, 0.9]))
    return Confidence(len(given), float(given.mean()), p10, p50, p90)


def find_stand_outs(
    buckets: dict[str, list[Cohort]], alpha: float, min_difference: float, level: float
) -> list[StandOut]:
    """Name the cohorts that differ from the rest.

    In each bucket, each cohort is tested against all the others with Fisher's exact test, and the
    p-values are adjusted by Holm, and by Bonferroni over the buckets. Of those that differ
    significantly and by min_difference, the worse ones before the better ones, the most significant
    is named and set aside, and the others are tested once more among themselves: otherwise one bad
    cohort would make every other one better than a rest that it is part of. Where all cohorts are
    alike, any is named with probability alpha at most.
    """
    found: list[StandOut] = []
    tested = sum(len(cohorts) > 1 for cohorts in buckets.values())
    for cohorts in buckets.values():
        left = list(cohorts)
        while (named := _most_different(left, alpha, min_difference, level, tested)) is not None:
            found.append(named)
            left.remove(named.cohort)
    return found


def _most_different(
    cohorts: list[Cohort], alpha: float, min_difference: float, level: float, buckets: int
) -> StandOut | None:
    """Test each against all the others, and return the one to be named, if there is one."""
    if len(cohorts) < 2:
        return None
    count, correct = sum(c.count for c in cohorts), sum(c.correct for c in cohorts)
    pvalues = holm(
        [fisher(c.correct, c.count, correct - c.correct, count - c.count) for c in cohorts]
    )
    claims = []
    for cohort, p in zip(cohorts, pvalues, strict=True):
        rest = (correct - cohort.correct, count - cohort.count)
        pvalue = min(1.0, p * buckets)
        delta = difference(cohort.correct, cohort.count, *rest, level)
        if pvalue <= alpha and abs(delta.value) >= min_difference:
            claims.append(StandOut(cohort, wilson(*rest, level), delta, pvalue))
    return min(claims, key=lambda c: (not c.worse, c.pvalue, c.difference.value), default=None)
