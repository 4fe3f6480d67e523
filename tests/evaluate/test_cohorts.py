"""Cohorts: who belongs where, what is counted, and which ones are named."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_fast import LSTM, evaluate
from lstm_fast.evaluate import Labelled, by, by_gap, by_steps
from lstm_fast.evaluate.cohorts import Cohort, find_stand_outs
from lstm_fast.evaluate.statistics import wilson

stats = pytest.importorskip("scipy.stats")


def sequence(steps=3, gold="a", **options):
    return Labelled(np.zeros((steps, 2), np.float32), gold, **options)


@pytest.mark.parametrize(
    ("steps", "cohort"),
    [(0, "<10"), (9, "<10"), (10, "10-10"), (11, "11-49"), (49, "11-49"), (50, "50+"), (99, "50+")],
)
def test_steps(steps, cohort):
    expected = "10" if cohort == "10-10" else cohort
    assert by_steps([10, 11, 50])(sequence(steps)) == expected


@pytest.mark.parametrize(
    ("times", "cohort"),
    [
        ([], "no gap"),
        ([4.0], "no gap"),
        ([1, 1.4, 1.8], "<0.5 s"),
        ([0, 0, 0.5], "0.5-2 s"),
        ([0, 1.99, 2], "0.5-2 s"),
        ([7, 9, 9.1], "2+ s"),
        (np.array(["2024-05-01T00:00:00", "2024-05-01T00:00:01"], "M8[s]"), "0.5-2 s"),
    ],
)
def test_largest_gap(times, cohort):
    assert by_gap([0.5, 2])(sequence(len(times), timestamps=times)) == cohort


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (None, "has no timestamps"),
        ([1, 2], "3 steps need one each"),
        ([1, 3, 2], "go back after step 1, 3.0 to 2.0"),
        ([1, float("nan"), 2], "not finite"),
        (["a", "b", "c"], "expected seconds or datetime64"),
        (np.array(["2024-05-01", "NaT", "2024-05-02"], "M8[D]"), "NaT"),
    ],
)
def test_bad_timestamps_are_named(times, message):
    with pytest.raises(ValueError, match=message):
        by_gap([1])(sequence(3, timestamps=times))


def test_any_key():
    phone = sequence(keys={"device": "phone", "year": 2024})
    assert by("device")(phone) == "phone"
    assert by("year")(phone) == "2024"
    assert by(lambda s: s.steps % 2, name="odd")(phone) == "1"
    assert by("device", missing="unknown")(sequence()) == "unknown"
    with pytest.raises(ValueError, match="no key 'device'; by"):
        by("device")(sequence())


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: by_steps([]), ValueError),
        (lambda: by_steps([3, 3]), ValueError),
        (lambda: by_steps([1.5]), TypeError),
        (lambda: by_gap([2, 1]), ValueError),
        (lambda: by_gap([float("inf")]), ValueError),
        (lambda: by(3), TypeError),
    ],
)
def test_bad_buckets_are_refused(make, error):
    with pytest.raises(error):
        make()


def test_cohorts_are_in_order_and_add_up():
    right = [sequence(steps, "b", keys={"k": steps % 3}) for steps in (30, 3, 12, 4, 40, 5)]
    result = evaluate.run(
        lambda xs: ("b", len(xs) / 40) if len(xs) != 4 else ("a", 0.0),
        right,
        [by_steps([10, 20]), by("k", order=[2, 0])],
    )
    assert [(c.name, c.count, c.correct) for c in result.buckets["steps"]] == [
        ("<10", 3, 2),
        ("10-19", 1, 1),
        ("20+", 2, 2),
    ]
    assert [c.name for c in result.buckets["k"]] == ["2", "0", "1"]
    assert result.overall.accuracy == wilson(5, 6)
    assert result.overall.fail_rate.value == pytest.approx(1 / 6)
    assert result.overall.fail_rate.high == pytest.approx(1 - wilson(5, 6).low)
    low = result.cohort("steps", "<10").confidence
    values = [3 / 40, 0.0, 5 / 40]
    assert (low.count, low.mean) == (3, pytest.approx(np.mean(values)))
    assert (low.p10, low.p50, low.p90) == pytest.approx(np.quantile(values, [0.1, 0.5, 0.9]))
    with pytest.raises(KeyError, match="10-19"):
        result.cohort("steps", "7")
    with pytest.raises(KeyError, match="steps, k"):
        result.cohort("size", "7")


def test_a_subset_is_an_evaluation_of_its_own():
    items = [sequence(n, "ab"[n % 2], keys={"m": str(n // 5)}, id=f"s{n}") for n in range(1, 10)]
    whole = evaluate.run(lambda xs: "a", items, [by("m"), by_steps([3])])
    part = whole.subset("m", "1")
    alone = evaluate.run(
        lambda xs: "a", [s for s in items if s.keys["m"] == "1"], [by("m"), by_steps([3])], name="1"
    )
    for made, other in zip(part.rows(), alone.rows(), strict=True):
        assert {**made, "seconds": 0} == {**other, "seconds": 0}
    assert [c.name for c in part.buckets["m"]] == ["1"]
    assert part.overall.correct == alone.overall.correct


# ---- which cohorts are named


def cohorts(*counts, bucket="b"):
    """Make cohorts of (correct, count)."""
    return [
        Cohort(bucket, str(i), n, k, 0, wilson(k, n), wilson(k, n).mirrored(), None, None)
        for i, (k, n) in enumerate(counts)
    ]


def names(found):
    return [(s.cohort.name, s.worse) for s in found]


def test_the_one_bad_cohort_is_named_and_no_other():
    """The others are better than a rest with the bad one in it, and are not named for it."""
    found = find_stand_outs(
        {"b": cohorts((95, 100), (96, 100), (40, 100), (94, 100))}, 0.05, 0.05, 0.95
    )
    assert names(found) == [("2", True)]
    assert found[0].rest == wilson(285, 300)
    assert found[0].pvalue < 1e-10


def test_the_worse_ones_are_named_before_a_better_one():
    """Both of two cohorts differ from the other: the worse one is the one to look at."""
    assert names(find_stand_outs({"b": cohorts((50, 100), (90, 100))}, 0.05, 0.05, 0.95)) == [
        ("0", True)
    ]
    small = [(14, 20)] * 8  # none of which is enough to say anything
    found = find_stand_outs({"b": cohorts((100, 100), *small)}, 0.05, 0.05, 0.95)
    assert names(found) == [("0", False)]


def test_a_difference_that_does_not_matter_is_not_named():
    large = cohorts((98_000, 100_000), (97_000, 100_000))
    assert names(find_stand_outs({"b": large}, 0.05, 0.05, 0.95)) == []
    assert names(find_stand_outs({"b": large}, 0.05, 0.005, 0.95)) == [("1", True)]


def test_one_cohort_alone_has_no_rest():
    assert find_stand_outs({"b": cohorts((1, 100))}, 0.05, 0, 0.95) == []


@pytest.mark.parametrize("alpha", [0.05, 0.4])
def test_of_uniform_predictors_few_name_a_cohort(alpha):
    """200 predictors that are equally good everywhere, in two buckets: at most alpha of them.

    The bound is the 99.9 % quantile of the binomial distribution. With the larger alpha more than
    those of the smaller one are found, so the test can fail.
    """
    rng, named, count = np.random.default_rng(11), 0, 200
    for _ in range(count):
        shares = [cohorts(*((rng.binomial(60, 0.8), 60) for _ in range(4))) for _ in range(2)]
        named += bool(find_stand_outs(dict(zip("ab", shares, strict=True)), alpha, 0.0, 0.95))
    assert named <= stats.binom.ppf(0.999, count, alpha)
    assert alpha == 0.05 or named > stats.binom.ppf(0.999, count, 0.05)


def test_beside_a_bad_cohort_few_good_ones_are_named():
    """150 predictors with one bad cohort: it is found in nearly all, and another one seldom."""
    rng = np.random.default_rng(12)
    found = others = 0
    for _ in range(150):
        counts = [(rng.binomial(80, 0.9), 80) for _ in range(4)] + [(rng.binomial(80, 0.55), 80)]
        named = {s.cohort.name for s in find_stand_outs({"b": cohorts(*counts)}, 0.05, 0.0, 0.95)}
        found += "4" in named
        others += bool(named - {"4"})
    assert found >= 147
    assert others <= stats.binom.ppf(0.999, 150, 0.05)


def test_a_planted_bad_length_is_named_by_a_run():
    """And with no plant none is: the predictor errs at random, by a hash of the sequence."""
    rng = np.random.default_rng(5)
    items = [
        Labelled(rng.standard_normal((int(rng.integers(1, 60)), 2)), "yes") for _ in range(800)
    ]

    def run(bad):
        def predict(xs):
            luck = abs(float(xs[0, 0])) % 0.1 * 10
            return "yes" if luck > (0.5 if bad and 20 <= len(xs) < 40 else 0.1) else "no"

        return evaluate.run(predict, items, by_steps([20, 40]))

    assert names(run(True).stand_outs) == [("20-39", True)]
    assert run(False).stand_outs == []
    assert "no cohort stands out" in str(run(False))
    assert "FAILS at steps 20-39" in str(run(True))


def test_of_lstms_that_are_run_each_way_the_cohorts_are_the_same():
    """As a stream, one by one, in batches, and both ways at once."""
    rng = np.random.default_rng(2)
    items = [
        Labelled(rng.standard_normal((int(t), 3)).astype(np.float32), "x")
        for t in [1, *rng.integers(1, 30, 12)]
    ]
    for lstm in (LSTM.random(3, 5, 2), LSTM.random(3, 5, bidirectional=True)):
        size = 5 * lstm.num_directions
        head = rng.standard_normal((3, size)), rng.standard_normal(3)
        predict = evaluate.classifier(lstm, head, ["x", "y", "z"])
        one = evaluate.run(predict, items, by_steps([10]))
        many = evaluate.run(predict, items, by_steps([10]), batch=5)
        for a, b in zip(one.rows(), many.rows(), strict=True):
            assert {**a, "seconds": 0} == {**b, "seconds": 0}
        h = lstm(items[3].xs[None])[1].h
        scores = head[0] @ np.concatenate([*h[-lstm.num_directions :, 0]]) + head[1]
        shares = np.exp(scores) / np.exp(scores).sum()
        assert predict(items[3].xs).confidence == pytest.approx(shares.max())
        assert predict(items[3].xs).label == "xyz"[shares.argmax()]


def test_a_stream_of_the_caller_is_reset_before_each_sequence():
    lstm = LSTM.random(2, 4)
    stream = lstm.stream()
    predict = evaluate.classifier(stream, lambda h: ("a", abs(float(h[0]))))
    xs = np.ones((5, 2), np.float32)
    fresh = predict(xs)
    assert predict(xs) == fresh
    stream.run(xs)
    assert abs(float(stream.run(xs)[-1, 0])) != fresh.confidence  # without the reset
