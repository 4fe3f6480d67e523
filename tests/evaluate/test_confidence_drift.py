"""Drift: found where confidences have changed by enough, and seldom where they have not."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_fast import evaluate
from lstm_fast.evaluate import Labelled, Prediction, by, drift, statistics

pytest.importorskip("scipy")


def beta(rng, n, a=8, b=2):
    return rng.beta(a, b, n)


@pytest.mark.parametrize("ties", [False, True])
def test_where_nothing_has_changed_few_drift(ties):
    """Over 300 pairs of releases with 4 cohorts each, with sizes of 0, so that only tests decide.

    26 is the 99.9 % quantile of B(300, 0.05). Ties: confidences of two digits, a third of them 1.
    """
    rng, drifted = np.random.default_rng(6), 0

    def release():
        found = {str(n): beta(rng, 200) for n in range(4)}
        if ties:
            found = {n: np.round(np.minimum(v * 1.15, 1), 2) for n, v in found.items()}
        return found

    for _ in range(300):
        drifted += bool(drift(release(), release(), psi_size=0, ks_size=0).drifted)
    assert drifted <= 26


def test_what_has_changed_is_found_and_only_there():
    """Over 100 pairs of releases: cohort "2" is less sure, the others are as before."""
    rng, found, others = np.random.default_rng(7), 0, 0
    for _ in range(100):
        before = {str(n): beta(rng, 300) for n in range(4)}
        after = {str(n): beta(rng, 300, 8, 4 if n == 2 else 2) for n in range(4)}
        named = {c.name for c in drift(before, after).drifted} - {"all"}
        found += "2" in named
        others += bool(named - {"2"})
    assert found >= 99
    assert others <= 12  # the 99.9 % quantile of B(100, 0.05)


def test_a_change_too_small_to_matter_is_no_drift():
    """Significant as it is: with smaller sizes it counts."""
    rng = np.random.default_rng(8)
    before, after = beta(rng, 50_000), beta(rng, 50_000, 8, 2.1)
    (cohort,) = drift(before, after).cohorts
    assert cohort.psi_pvalue < 1e-6
    assert cohort.ks_pvalue < 1e-6
    assert not cohort.drifted
    (smaller,) = drift(before, after, psi_size=0.001, ks_size=0.01).cohorts
    assert smaller.psi_drifted
    assert smaller.ks_drifted


def test_a_large_measure_of_few_is_no_drift():
    """With 40 on each side chance alone makes the PSI exceed 0.25."""
    rng = np.random.default_rng(9)
    pairs = [(beta(rng, 40), beta(rng, 40)) for _ in range(50)]
    large = [drift(*pair).cohorts[0] for pair in pairs]
    assert sum(c.psi.value >= evaluate.PSI_SHIFTED for c in large) >= 5
    assert sum(c.drifted for c in large) <= 9  # the 99.9 % quantile of B(50, 0.05)


def test_too_few_are_not_tested():
    report = drift({"a": [0.1] * 29, "b": [0.1] * 40}, {"a": [0.9] * 40, "b": [0.9] * 40})
    few = next(c for c in report.cohorts if c.name == "a")
    assert (few.psi, few.ks, few.drifted) == (None, None, False)
    assert "too few" in str(report)
    assert {c.name for c in report.drifted} == {"all", "b"}
    assert few.to_json()["drifted"] is False


def test_measures_and_pvalues_are_those_of_the_statistics():
    rng = np.random.default_rng(10)
    before, after = (
        {"a": beta(rng, 90), "b": beta(rng, 80)},
        {"a": beta(rng, 70), "b": beta(rng, 99)},
    )
    done = drift(before, after)
    whole = [np.concatenate(list(side.values())) for side in (before, after)]
    samples = [whole, *([before[n], after[n]] for n in "ab")]
    raw = []
    for cohort, (old, new) in zip(done.cohorts, samples, strict=True):
        assert cohort.psi == statistics.psi(old, new)
        assert cohort.ks == statistics.ks(old, new)[0]
        assert cohort.mean_after == pytest.approx(new.mean())
        raw += [cohort.psi.pvalue, statistics.ks(old, new)[1]]
    adjusted = [p for c in done.cohorts for p in (c.psi_pvalue, c.ks_pvalue)]
    assert adjusted == statistics.holm(raw)


def evaluation(seed, shift=0.0, count=400):
    rng = np.random.default_rng(seed)
    items = [
        Labelled(np.zeros((1, 1)), "a", keys={"device": "ab"[n % 2], "month": str(n * 2 // count)})
        for n in range(count)
    ]

    def predict(xs):
        number = next(numbers)
        moved = shift if number % 2 and number * 2 >= count else 0.0
        return Prediction("a", float(rng.beta(8, 2) * (1 - moved)))

    numbers = iter(range(count))
    return evaluate.run(predict, items, [by("device"), by("month")])


def test_of_two_evaluations_by_cohort():
    done = drift(evaluation(1), evaluation(2, shift=0.5))
    assert [(c.bucket, c.name) for c in done.drifted] == [
        ("all", "all"),
        ("device", "b"),
        ("month", "1"),
    ]
    assert "DRIFTED: device b" in str(done)
    assert "no drift" in str(drift(evaluation(1), evaluation(2)))


def test_of_two_time_spans_of_one_evaluation():
    whole = evaluation(3, shift=0.5, count=800)
    done = drift(whole.subset("month", "0"), whole.subset("month", "1"))
    assert [(c.bucket, c.name) for c in done.cohorts] == [
        ("all", "all"),
        ("device", "a"),
        ("device", "b"),
    ]
    assert [c.name for c in done.drifted] == ["all", "b"]
    assert done.only_before == done.only_after == []


def test_cohorts_of_one_side_are_listed():
    done = drift({"a": [0.5] * 30, "b": [0.5] * 30}, {"a": [0.5] * 30, "c": [0.5] * 30})
    assert (done.only_before, done.only_after) == ([("cohort", "b")], [("cohort", "c")])
    assert "only after: cohort c" in str(done)
    assert done.to_json()["only_before"] == [("cohort", "b")]


@pytest.mark.parametrize(
    ("before", "options", "error", "message"),
    [
        ([], {}, TypeError, "before: expected confidences"),
        ([[0.5]], {}, TypeError, r"shape \(1, 1\)"),
        (["a"], {}, TypeError, "dtype"),
        ([0.5, float("nan")], {}, ValueError, "confidence 1 is not finite"),
        ({}, {}, ValueError, "no cohort"),
        ([0.5], {"alpha": 1}, ValueError, "expected alpha"),
        ([0.5], {"bins": 1}, ValueError, "expected alpha"),
        ([0.5], {"ks_size": 2}, ValueError, "expected alpha"),
    ],
)
def test_bad_confidences_are_refused(before, options, error, message):
    with pytest.raises(error, match=message):
        drift(before, [0.5], **options)


def test_a_predictor_without_confidence_has_no_drift():
    result = evaluate.run(lambda xs: "a", [Labelled(np.zeros((1, 1)), "a")])
    with pytest.raises(ValueError, match="gave no confidence"):
        drift(result, result)
