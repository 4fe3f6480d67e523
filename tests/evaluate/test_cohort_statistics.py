"""Each interval, test and size against SciPy, a closed form or a published figure."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lstm_fast.evaluate import statistics
from lstm_fast.evaluate.statistics import Interval

stats = pytest.importorskip("scipy.stats")

CLOSE = 1e-9  # both sides compute the same formula in float64, in another order
Z = 1.959963984540054  # the 97.5 % quantile of the normal distribution


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 20), (3, 10), (50, 100), (999, 1000)])
def test_wilson_is_its_closed_form(k, n):
    p = k / n
    middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2))
    found = statistics.wilson(k, n)
    assert found == pytest.approx((p, max(0, middle - half), min(1, middle + half)), abs=CLOSE)
    assert found.mirrored() == pytest.approx(statistics.wilson(n - k, n), abs=CLOSE)


def test_wilson_covers_as_often_as_it_says():
    """Exactly, from the binomial distribution: 95 % on average over p; the 80 % one does not."""
    n = 40
    shares = np.linspace(0.05, 0.95, 91)
    odds = stats.binom.pmf(np.arange(n + 1), n, shares[:, None])

    def coverage(level):
        bounds = np.array([statistics.wilson(k, n, level) for k in range(n + 1)])
        inside = (bounds[:, 1] <= shares[:, None]) & (shares[:, None] <= bounds[:, 2])
        return (odds * inside).sum(axis=1).mean()

    assert abs(coverage(0.95) - 0.95) < 0.01
    assert coverage(0.80) < 0.85


def test_a_proportion_of_nothing_is_refused():
    with pytest.raises(ValueError, match="nothing"):
        statistics.wilson(0, 0)


def test_newcombe_is_what_newcombe_printed():
    """56/70 - 48/80, method 10 in table II of the paper: 0.0524 to 0.3339."""
    found = statistics.difference(56, 70, 48, 80)
    assert found == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)


def test_fisher_sums_the_hypergeometric_distribution():
    k1, n1, k2, n2 = 7, 12, 30, 33
    outcomes = np.arange(max(0, k1 + k2 - n2), min(n1, k1 + k2) + 1)
    odds = stats.hypergeom.pmf(outcomes, n1 + n2, k1 + k2, n1)
    here = stats.hypergeom.pmf(k1, n1 + n2, k1 + k2, n1)
    expected = odds[odds <= here * (1 + 1e-7)].sum()
    assert statistics.fisher(k1, n1, k2, n2) == pytest.approx(expected, rel=1e-7)


def test_holm():
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]
    assert statistics.holm([]) == []


def test_mcnemar_is_a_fair_coin():
    assert statistics.mcnemar(0, 0) == 1
    assert statistics.mcnemar(0, 6) == pytest.approx(2 * 0.5**6)
    tail = sum(math.comb(12, k) for k in range(3)) / 2**12
    assert statistics.mcnemar(10, 2) == pytest.approx(2 * tail)
    assert statistics.mcnemar(10, 2) == statistics.mcnemar(2, 10)


def test_paired_difference_is_its_closed_form():
    a, b, n = 9, 3, 50
    more, less = 10 / 52, 4 / 52
    half = Z * math.sqrt((more + less - (more - less) ** 2) / 52)
    expected = Interval(6 / 50, more - less - half, more - less + half)
    assert statistics.paired_difference(a, b, n) == pytest.approx(expected, abs=CLOSE)
    assert statistics.paired_difference(2, 0, 2).high == 1


def test_paired_difference_covers_as_often_as_it_says():
    """Exactly, from the multinomial distribution of both kinds of disagreement."""
    n, p_a, p_b = 40, 0.2, 0.1
    covered = 0.0
    for a in range(n + 1):
        for b in range(n + 1 - a):
            odds = stats.multinomial.pmf([a, b, n - a - b], n, [p_a, p_b, 1 - p_a - p_b])
            _, low, high = statistics.paired_difference(a, b, n)
            covered += odds * (low <= p_a - p_b <= high)
    assert 0.94 < covered < 0.97


def test_kappa():
    """The textbook's two raters: 0.7 observed, 0.5 by chance."""
    assert statistics.cohen_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4)
    assert statistics.cohen_kappa(np.eye(3, dtype=int) * 4) == pytest.approx(1)
    assert statistics.cohen_kappa(np.array([[0, 5], [5, 0]])) == pytest.approx(-1)
    assert statistics.cohen_kappa(np.outer([3, 7], [4, 6])) == pytest.approx(0, abs=CLOSE)
    assert statistics.cohen_kappa(np.array([[8, 0], [0, 0]])) is None


def test_psi_by_hand():
    """Quartiles of 40 values; all of the new ones but a few lie in the lowest bin."""
    before = np.arange(40) / 40
    after = np.concatenate([np.zeros(37), [0.3, 0.6, 0.9]])
    found = statistics.psi(before, after, bins=4)
    p, q = np.full(4, 10.5 / 42), np.array([37.5, 1.5, 1.5, 1.5]) / 42
    assert found.value == pytest.approx(((q - p) * np.log(q / p)).sum(), abs=CLOSE)
    assert found.bins == 4
    scale = 1 / 40 + 1 / 40
    assert found.pvalue == pytest.approx(stats.chi2.sf(found.value / scale, 3))
    assert found.chance == pytest.approx(stats.chi2.isf(0.05, 3) * scale)


def test_psi_of_the_same_sample_is_zero():
    values = np.random.default_rng(0).random(500)
    found = statistics.psi(values, values)
    assert (found.value, found.pvalue) == (0, 1)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_psi_sees_what_leaves_a_single_value(value):
    """Confidences that all were the same have no quantiles to part them by."""
    before = np.full(100, value)
    assert statistics.psi(before, before).value == 0
    for after in (np.full(100, 0.5), np.concatenate([before[:50], np.full(50, 0.5)])):
        assert statistics.psi(before, after).value > 0.5


def test_psi_with_most_values_at_the_bottom():
    before = np.concatenate([np.zeros(97), [0.2, 0.5, 0.9]])
    after = np.concatenate([np.zeros(50), np.full(50, 0.7)])
    assert statistics.psi(before, before).value == 0
    assert statistics.psi(before, after).value > 0.5


def test_psi_has_fewer_bins_for_fewer_values():
    values = np.random.default_rng(0).random(1000)
    assert statistics.psi(values, values[:40]).bins == 4
    assert statistics.psi(values[:5], values).bins == 2
    assert statistics.psi(values, values).bins == 10


@pytest.mark.parametrize("ties", [False, True])
def test_psi_of_nothing_but_chance_follows_chi_squared(ties):
    """Over 1000 pairs of samples the p-value is below 0.05 in 5 % of them; and psi.chance with it.

    With n = 400 and m = 300 the limit is near, not reached: twice the binomial error on top.
    """
    rng = np.random.default_rng(3)

    def sample(n):
        values = rng.beta(8, 2, n)
        return np.minimum(np.round(values, 2), 0.9) if ties else values

    found = [statistics.psi(sample(400), sample(300)) for _ in range(1000)]
    below = np.array([f.pvalue <= 0.05 for f in found])
    assert [f.value >= f.chance for f in found] == below.tolist()
    assert 0.02 < below.mean() < 0.07
    pvalues = np.array([f.pvalue for f in found])
    assert abs(np.median(pvalues) - 0.5) < 0.06


@pytest.mark.parametrize("size", [30, 900])
def test_ks(size):
    """The statistic is the largest distance of both distributions, from 0 to 1."""
    rng = np.random.default_rng(1)
    before, after = rng.random(size), rng.random(size) ** 1.3
    grid = np.concatenate([before, after])
    shares = [(sample[:, None] <= grid).mean(axis=0) for sample in (before, after)]
    statistic, pvalue = statistics.ks(before, after)
    assert statistic == pytest.approx(np.abs(shares[0] - shares[1]).max(), abs=CLOSE)
    # Kolmogorov's limit; what comes after it is of the order of 1 / sqrt(n)
    root = statistic * math.sqrt(size / 2)
    assert pvalue == pytest.approx(stats.kstwobign.sf(root), abs=2 / math.sqrt(size))
    assert statistics.ks(before, before) == (0, 1)


@pytest.mark.parametrize("size", [30, 200])
def test_ks_of_nothing_but_chance(size):
    """Over 500 pairs of samples the p-value is below 0.05 in at most 5 %, and in some."""
    rng = np.random.default_rng(2)
    pairs = ((rng.random(size), rng.random(size)) for _ in range(500))
    below = sum(statistics.ks(*pair)[1] <= 0.05 for pair in pairs)
    assert below <= stats.binom.ppf(0.999, 500, 0.05)
    assert below >= 5
