"""Two predictors on the same windows: what agrees, who is better, at what cost, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_fast import evaluate
from lstm_fast.evaluate import Cost, Labelled, by, by_steps, statistics

pytest.importorskip("scipy")


def sequences(count=200, seed=0):
    rng = np.random.default_rng(seed)
    return [
        Labelled(
            rng.standard_normal((int(rng.integers(1, 40)), 2)),
            "yes" if rng.random() < 0.5 else "no",
            keys={"half": n % 2},
        )
        for n in range(count)
    ]


def guess(share, seed, bad_from=1000):
    """A predictor that is right by luck: a share of the answers, none from that many steps on."""
    rng = np.random.default_rng(seed)
    golds = iter([s.gold for s in sequences()])

    def predict(xs):
        gold, luck = next(golds), rng.random()
        return gold if luck < share and len(xs) < bad_from else {"yes": "no", "no": "yes"}[gold]

    return predict


def test_it_is_the_two_evaluations_and_the_tests_of_their_table():
    items, buckets = sequences(), [by_steps([20]), by("half")]
    done = evaluate.compare(guess(0.9, 1), guess(0.6, 2), items, buckets, names=("lstm", "other"))
    alone = evaluate.run(guess(0.6, 2), items, buckets)
    assert done.b.overall.correct == alone.overall.correct
    assert [c.correct for c in done.b.buckets["half"]] == [c.correct for c in alone.buckets["half"]]
    a, b = (np.array([r["correct"] for r in e.rows()]) for e in (done.a, done.b))
    pair = done.overall
    assert (pair.only_a, pair.only_b) == ((a & ~b).sum(), (b & ~a).sum())
    assert pair.pvalue == statistics.mcnemar(pair.only_a, pair.only_b)
    assert pair.difference.value == pytest.approx(a.mean() - b.mean())
    # with two labels both are right or wrong together, or say different things
    assert pair.agreement == statistics.wilson(int((a == b).sum()), 200)
    said = [np.array([r["generated_value"] == "yes" for r in e.rows()]) for e in (done.a, done.b)]
    table = np.array([[(x & y).sum() for y in (said[1], ~said[1])] for x in (said[0], ~said[0])])
    assert pair.kappa == pytest.approx(statistics.cohen_kappa(table))
    assert pair.better == "a"
    assert "lstm" in str(done)
    assert done.to_json()["overall"]["better"] == "a"


def test_pvalues_of_cohorts_are_adjusted_over_all_of_them():
    items, buckets = sequences(), [by_steps([20]), by("half")]
    done = evaluate.compare(guess(0.8, 1), guess(0.7, 2), items, buckets)
    pairs = [pair for pairs in done.buckets.values() for pair in pairs]
    raw = [statistics.mcnemar(pair.only_a, pair.only_b) for pair in pairs]
    assert [pair.pvalue for pair in pairs] == statistics.holm(raw)


def test_the_cohort_in_which_one_is_worse_is_found_and_no_other():
    done = evaluate.compare(guess(0.9, 1), guess(0.9, 2, bad_from=20), sequences(), by_steps([20]))
    assert [pair.better for pair in done.buckets["steps"]] == [None, "a"]


def test_of_equal_predictors_few_are_better():
    """Negative control, over 300 pairs; 26 is the 99.9 % quantile of B(300, 0.05)."""
    rng, items, better = np.random.default_rng(4), sequences(40), 0
    for _ in range(300):
        said = [iter(rng.choice(["yes", "no"], 40)) for _ in range(2)]
        runs = [evaluate.run(lambda xs, own=own: next(own), items) for own in said]
        better += evaluate.compare_runs(*runs).overall.better is not None
    assert better <= 26


def test_a_predictor_agrees_with_itself():
    done = evaluate.compare(guess(0.7, 1), guess(0.7, 1), sequences())
    assert (done.overall.agreement.value, done.overall.kappa) == (1, pytest.approx(1))
    assert (done.overall.pvalue, done.overall.better) == (1, None)


def record(seen):
    return lambda xs: seen.append(xs.copy()) or "yes"


@pytest.mark.parametrize("window", [None, 1, 7])
def test_both_see_the_same_steps(window):
    items, seen = sequences(20), ([], [])
    done = evaluate.compare(record(seen[0]), record(seen[1]), items, window=window)
    for item, a, b in zip(items, *seen, strict=True):
        np.testing.assert_array_equal(a, item.xs if window is None else item.xs[-window:])
        np.testing.assert_array_equal(a, b)
    assert done.same_windows == 1


def test_one_that_writes_to_its_input_does_not_change_the_others():
    def spoil(xs):
        xs[:] = 0
        return "yes"

    items, seen = sequences(10), []
    evaluate.compare(spoil, record(seen), items)
    for item, xs in zip(items, seen, strict=True):
        np.testing.assert_array_equal(xs, item.xs)


def test_different_windows_are_refused_unless_asked_for():
    items, seen = sequences(30), ([], [])
    a, b = record(seen[0]), evaluate.windowed(record(seen[1]), 5)
    with pytest.raises(ValueError, match=r"all steps and b the last 5: window=5 shows both"):
        evaluate.compare(a, b, items)
    with pytest.raises(ValueError, match="the last 9 and b the last 5"):
        evaluate.compare(a, b, items, window=9)
    assert seen == ([], [])
    assert evaluate.compare(a, b, items, window=5).same_windows == 1
    assert all(np.array_equal(x, y) for x, y in zip(*seen, strict=True))
    done = evaluate.compare(a, b, items, different_windows=True)
    longer = np.mean([item.steps > 5 for item in items])
    assert done.same_windows == pytest.approx(1 - longer)
    assert "DIFFERENT windows" in str(done)
    assert [row["seen"] for row in done.b.rows()] == [min(5, item.steps) for item in items]


def test_runs_that_were_made_apart_are_compared_only_if_they_saw_the_same():
    items = sequences(20)
    buckets = by_steps([20])
    whole = evaluate.run(guess(0.8, 1), items, buckets, name="old")
    done = evaluate.compare_runs(whole, evaluate.run(guess(0.6, 2), items, buckets))
    live = evaluate.compare(guess(0.8, 1), guess(0.6, 2), items, buckets)
    for left, right in (
        (done.overall, live.overall),
        *zip(done.buckets["steps"], live.buckets["steps"], strict=True),
    ):
        assert (left.only_a, left.only_b, left.kappa) == (right.only_a, right.only_b, right.kappa)

    def other(change, way=buckets, window=None):
        return evaluate.run(lambda xs: "yes", change, way, name="new", window=window)

    flipped = [Labelled(items[0].xs, {"yes": "no", "no": "yes"}[items[0].gold]), *items[1:]]
    moved = [*items[:3], Labelled(items[3].xs + 1e-9, items[3].gold), *items[4:]]
    longer = [Labelled(np.zeros((99, 2)), items[0].gold), *items[1:]]
    for wrong, message in (
        (other(items[:-1]), "old has 20 sequences, new has 19"),
        (other(flipped), "different gold labels, first in sequence 0, 1 in all"),
        (other(longer), "different numbers of steps, first in sequence 0"),
        (other(moved), "different windows, first in sequence 3, 1 in all; different_windows"),
        (other(items, window=2), "different windows"),
        (other(items, by_steps([5])), "different cohorts"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate.compare_runs(whole, wrong)
    asked = evaluate.compare_runs(whole, other(items, window=2), different_windows=True)
    assert asked.same_windows < 1


def test_cost_and_latency_are_side_by_side():
    items = sequences(10)
    clock = iter(np.cumsum([0, 1] * 20).tolist())
    done = evaluate.compare(
        guess(1.0, 1),
        guess(0.0, 1),
        items,
        window=4,
        costs=(Cost(per_call=2.0, per_step=0.5), Cost(per_call=1.0)),
        clock=lambda: next(clock),
    )
    seen = sum(min(4, item.steps) for item in items)
    assert done.overall.bill_a.total == pytest.approx(20 + 0.5 * seen)
    assert done.overall.bill_a.per_correct == pytest.approx(2 + 0.05 * seen)
    assert (done.overall.bill_b.total, done.overall.bill_b.per_correct) == (10, None)
    assert (done.a.overall.latency.max, done.b.overall.latency.max) == (1, 1)
    assert "cost" in str(done)
    assert "cost" not in str(evaluate.compare(guess(1, 1), guess(0, 1), items))
    with pytest.raises(ValueError, match="per_step must be 0 or more"):
        Cost(per_step=-1)


def test_they_take_turns_in_going_first():
    order = []
    evaluate.compare(
        lambda xs: order.append("a") or "yes", lambda xs: order.append("b") or "yes", sequences(4)
    )
    assert "".join(order) == "abbaabba"


def test_answers_that_one_never_gave_do_not_agree():
    def fails(xs):
        if len(xs) > 20:
            raise RuntimeError("too long")
        return "yes"

    items = sequences(50)
    done = evaluate.compare(fails, fails, items, on_error="count")
    assert done.overall.answered == sum(item.steps <= 20 for item in items)
    assert done.overall.agreement.value == 1
    assert done.overall.kappa is None  # both always say yes
    assert done.overall.a.errors == 50 - done.overall.answered
