"""The statistics: intervals, tests and sizes, each with its source; SciPy does the computing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._extras import stats

__all__ = [
    "PSI_CHANGED",
    "PSI_SHIFTED",
    "Interval",
    "cohen_kappa",
    "difference",
    "fisher",
    "holm",
    "ks",
    "mcnemar",
    "paired_difference",
    "psi",
    "wilson",
]

# Lewis, An Introduction to Credit Scoring (1994), and Siddiqi, Credit Risk Scorecards (2006): below
# 0.1 no change to speak of, up to 0.25 some, above it a large one. Practice, which nothing derives.
PSI_CHANGED = 0.1
PSI_SHIFTED = 0.25


class Interval(NamedTuple):
    """An estimate and its confidence interval.

    Example:
        >>> Interval(0.75, low=0.5, high=0.875).mirrored()  # of failures, where it is of successes
        Interval(value=0.25, low=0.125, high=0.5)
    """

    value: float
    low: float
    high: float

    def mirrored(self) -> Interval:
        """Return the interval of 1 minus it."""
        return Interval(1 - self.value, 1 - self.high, 1 - self.low)


def wilson(successes: int, count: int, level: float = 0.95) -> Interval:
    """Return a proportion with Wilson's score interval, without continuity correction.

    Wilson, J. Am. Stat. Assoc. 22 (1927) 209; through scipy.stats.binomtest.

    Raises:
        ValueError: count is 0, or level not within 0 and 1.
    """
    if count < 1:
        raise ValueError("a proportion of nothing has no interval")
    found = stats().binomtest(int(successes), int(count))
    low, high = found.proportion_ci(confidence_level=level, method="wilson")
    return Interval(successes / count, float(low), float(high))


def difference(k1: int, n1: int, k2: int, n2: int, level: float = 0.95) -> Interval:
    """Return k1/n1 - k2/n2 with an interval made of the two Wilson intervals.

    Newcombe, Statistics in Medicine 17 (1998) 873, method 10.
    """
    p1, low1, high1 = wilson(k1, n1, level)
    p2, low2, high2 = wilson(k2, n2, level)
    delta = p1 - p2
    return Interval(
        delta, delta - math.hypot(p1 - low1, high2 - p2), delta + math.hypot(high1 - p1, p2 - low2)
    )


def fisher(k1: int, n1: int, k2: int, n2: int) -> float:
    """Return the two-sided p-value of Fisher's exact test that both proportions are one."""
    return float(stats().fisher_exact([[k1, n1 - k1], [k2, n2 - k2]]).pvalue)


def holm(pvalues: Sequence[float]) -> list[float]:
    """Return Holm's adjusted p-values.

    Of the claims with one of at most alpha, any is wrong with probability alpha at most.
    Holm, Scandinavian Journal of Statistics 6 (1979) 65.
    """
    order = np.argsort(pvalues, kind="stable")
    scaled = np.asarray(pvalues, np.float64)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return [float(p) for p in adjusted]


def mcnemar(only_a: int, only_b: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    Of the sequences that only one of two predictors got right, each is the better one's with
    probability 1/2 if both are equally good.

    Args:
        only_a: how many only the first got right.
        only_b: how many only the second got right.
    """
    if only_a + only_b == 0:
        return 1.0
    return float(stats().binomtest(only_a, only_a + only_b).pvalue)


def paired_difference(only_a: int, only_b: int, count: int, level: float = 0.95) -> Interval:
    """Return the accuracy of one predictor minus that of another on the same sequences.

    The interval is Bonett and Price's, Journal of Educational and Behavioral Statistics 37 (2012)
    479: Wald's with one sequence added to both kinds on which they differ.

    Args:
        only_a: how many only the first got right.
        only_b: how many only the second got right.
        count: how many sequences there are.
        level: of the interval.
    """
    more, less = (only_a + 1) / (count + 2), (only_b + 1) / (count + 2)
    z = float(stats().norm.ppf((1 + level) / 2))
    half = z * math.sqrt((more + less - (more - less) ** 2) / (count + 2))
    low, high = more - less - half, more - less + half
    return Interval((only_a - only_b) / count, max(-1.0, low), min(1.0, high))


def cohen_kappa(table: NDArray[np.int64]) -> float | None:
    """Return Cohen's kappa, agreement beyond chance: (p_o - p_e) / (1 - p_e).

    Cohen, Educational and Psychological Measurement 20 (1960) 37.

    Args:
        table: how often the first gave label i and the second label j, shape (C, C).

    Returns:
        -1 to 1; None where both always give the one same label, and chance alone agrees always.
    """
    shares = np.asarray(table, np.float64) / np.sum(table)
    observed = float(np.trace(shares))
    expected = float(shares.sum(axis=1) @ shares.sum(axis=0))
    if math.isclose(expected, 1.0, rel_tol=0, abs_tol=1e-12):
        return None
    return (observed - expected) / (1 - expected)


class Psi(NamedTuple):
    """A population stability index.

    Example:
        >>> import numpy as np
        >>> before = np.linspace(0.5, 1, 1000)
        >>> index = drift(before, before**4).cohorts[0].psi
        >>> index.value > PSI_SHIFTED, index.bins
        (True, 10)
    """

    value: float
    bins: int
    pvalue: float  # of no change at all
    chance: float  # what it exceeds with probability alpha where nothing has changed


def psi(before: Any, after: Any, bins: int = 10, alpha: float = 0.05) -> Psi:
    """Return the population stability index of two samples, and how much of it is chance.

        PSI = sum over bins of (q - p) log(q / p)

    p and q are the shares of before and after in bins whose edges are quantiles of before, one
    value in one bin only; half a count is added to each bin, so that an empty one gives a number.
    With fewer than ten values a bin in the smaller sample there are fewer bins. Where nothing has
    changed, PSI / (1/n + 1/m) follows chi-squared with bins - 1 degrees of freedom for large n
    and m: Yurdakul and Naranjo, Journal of Risk Model Validation 14 (2020) 89.

    Args:
        before: n values.
        after: m values.
        bins: how many there are at most.
        alpha: for `chance`.
    """
    old, new = np.sort(np.asarray(before, np.float64)), np.asarray(after, np.float64)
    wanted = max(2, min(bins, min(len(old), len(new)) // 10))
    # inner edges; values that many share make equal ones, of which one is kept, and the smallest
    # value is none, since nothing lies below it
    edges = np.unique(np.quantile(old, np.arange(1, wanted) / wanted))
    edges = edges[edges > old[0]]
    if len(edges) == 0:  # more than all but a bin's share are the smallest value
        larger = old[old > old[0]]
        edges = larger[:1] if len(larger) else np.array([old[0], np.nextafter(old[0], np.inf)])
    counts = [
        np.bincount(np.searchsorted(edges, v, "right"), minlength=len(edges) + 1)
        for v in (old, new)
    ]
    p, q = ((c + 0.5) / (c.sum() + 0.5 * len(c)) for c in counts)
    value = float(np.sum((q - p) * np.log(q / p)))
    scale, freedom = 1 / len(old) + 1 / len(new), len(edges)
    chi2 = stats().chi2
    return Psi(
        value,
        len(edges) + 1,
        float(chi2.sf(value / scale, freedom)),
        float(chi2.isf(alpha, freedom)) * scale,
    )


def ks(before: Any, after: Any) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov statistic of two samples and its p-value.

    The statistic is the largest difference between the shares of both that lie below a value. With
    values that many share the test is conservative. The p-value is the asymptotic one of
    scipy.stats.ks_2samp, whose exact one fails for some pairs of nearly equal samples.
    """
    found = stats().ks_2samp(before, after, method="asymp")
    return float(found.statistic), float(found.pvalue)
