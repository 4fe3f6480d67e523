"""What a new user gets wrong is said in words, with the value and before anything runs."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest

from lstm_fast import LSTM, evaluate
from lstm_fast.evaluate import Cost

pytest.importorskip("scipy")

LSTM_3 = LSTM.random(3, 4)
HEAD = np.ones((2, 4)), np.zeros(2)
CLASSIFIER = evaluate.classifier(LSTM_3, HEAD, ["a", "b"])


def answer(xs):
    return "a", 0.9


def sequence(shape=(5, 3), gold="a", **others):
    return {"xs": np.zeros(shape), "gold": gold, **others}


GOOD = [sequence() for _ in range(4)]


def never(xs):
    pytest.fail("it ran")


def compare(**options):
    return evaluate.compare(never, never, GOOD, **options)


@pytest.mark.parametrize(
    "costs", [(1.0, 0.5), 1.0, Cost(1.0), ({"per_call": 1}, None), (Cost(1),) * 3, None, "12"]
)
def test_costs_are_a_pair_of_costs(costs):
    wanted = re.escape("such as (Cost(per_call=1.0), Cost(per_step=0.5)), found " + repr(costs))
    with pytest.raises(TypeError, match=wanted):
        compare(costs=costs)
    done = evaluate.run(answer, GOOD)
    with pytest.raises(TypeError, match=wanted):
        evaluate.compare_runs(done, done, costs=costs)


def test_right_costs_are_taken():
    for costs in ((Cost(2.0), None), [Cost(1.0), Cost(0.5)]):
        done = evaluate.compare(answer, answer, GOOD, costs=costs)
        assert done.overall.bill_a.per_sequence == costs[0].per_call


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: Cost("1"), TypeError, "per_call must be a number, found '1'"),
        (lambda: Cost(per_step=None), TypeError, "per_step must be a number, found None"),
        (lambda: compare(names="ab"), TypeError, r"names is a pair, .* found 'ab'"),
        (lambda: compare(names=("a", "b", "c")), TypeError, "names is a pair"),
        (lambda: compare(level="95%"), TypeError, "level must be a number, found '95%'"),
        (lambda: compare(alpha=None), TypeError, "alpha must be a number"),
        (lambda: compare(min_difference="5"), TypeError, "min_difference must be a number"),
        (lambda: compare(clock=3), TypeError, "clock gives the time .* found 3"),
        (lambda: evaluate.run(never, None), TypeError, "sequences must be .* found NoneType"),
        (lambda: evaluate.run(never, 3), TypeError, "sequences must be .* found int"),
        (lambda: evaluate.run(never, {"x": GOOD[0]}), TypeError, "sequences must be .* found dict"),
        (lambda: evaluate.run(never, GOOD[0]), TypeError, "put it into a list"),
        (lambda: evaluate.compare(never, never, GOOD[0]), TypeError, "put it into a list"),
        (lambda: evaluate.run(never, GOOD, None), TypeError, "by_gap or by, found NoneType"),
        (lambda: evaluate.run(never, GOOD, len), TypeError, "by_gap or by, found builtin"),
        (lambda: evaluate.run(never, GOOD, {"d": 1}), TypeError, "by_gap or by, found dict"),
        (lambda: evaluate.by_steps(3), TypeError, r"such as \[10, 50\], found 3"),
        (lambda: evaluate.by_gap("3"), TypeError, r"such as \[10, 50\], found '3'"),
        (lambda: evaluate.by_gap(["x"]), TypeError, "edges are numbers, found 'x'"),
        (lambda: evaluate.run(LSTM_3, GOOD), TypeError, r"evaluate.classifier\(lstm, "),
        (lambda: evaluate.run(LSTM_3.stream(), GOOD), TypeError, r"evaluate.classifier\(lstm, "),
        (lambda: evaluate.timed("p"), TypeError, "callable, found str"),
        (lambda: evaluate.windowed("p", 3), TypeError, "callable, found str"),
        (lambda: evaluate.compare_runs(answer, answer), TypeError, "a must be an Evaluation"),
        (lambda: evaluate.drift([0.5], None), TypeError, "after: .* found NoneType"),
        (lambda: evaluate.drift([0.5], [0.5], bins="x"), TypeError, "bins must be an integer"),
        (lambda: evaluate.drift([0.5], [0.5], alpha="x"), TypeError, "alpha must be a number"),
        (lambda: evaluate.run(answer, GOOD).cohort("x", "y"), KeyError, "'x'; none was asked for"),
    ],
)
def test_wrong_options(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    ("head", "labels", "message"),
    [
        ((HEAD[0].T, HEAD[1]), ["a", "b"], "it looks transposed"),
        ({"weight": 1}, ["a", "b"], "found dict"),
        ((HEAD[0] * np.nan, HEAD[1]), ["a", "b"], "is not finite"),
        (HEAD, 2, "labels is a list .* found int"),
        (HEAD, {0: "a", 1: "b"}, "labels is a list .* found dict"),
        (HEAD, ["a", "a"], "have 'a' twice"),
        (HEAD, ["a", 1], "of one kind, found a string and an integer"),
    ],
)
def test_wrong_heads_and_labels(head, labels, message):
    with pytest.raises((TypeError, ValueError), match=message):
        evaluate.classifier(LSTM_3, head, labels)


WRONG = [
    (sequence((5, 4), id="call-9"), r"2 .id 'call-9'.: xs has shape \(5, 4\), this LSTM takes"),
    (sequence((5, 1)), r"2: xs has shape \(5, 1\), this LSTM takes \(T, 3\)"),
    (sequence((3,)), r"2: xs has shape \(3,\), this LSTM takes \(T, 3\)"),
    (sequence((2, 5, 3)), r"2: xs has shape \(2, 5, 3\)"),
    ({"xs": ["x", "y"], "gold": "a"}, "2: xs has dtype <U1"),
    (sequence((0, 3)), r"2: it is empty: its xs have shape \(0, 3\)"),
    ({"xs": [], "gold": "a", "id": "e"}, r"2 \(id 'e'\): it is empty"),
    (sequence(gold="c"), "2: gold label 'c' is none of the predictor's: 'a', 'b'"),
    (sequence(gold=1), "2: gold label 1 is none of the predictor's: 'a', 'b'"),
    ({"xs": np.full((5, 3), np.nan), "gold": "a"}, "2: the head's scores are not finite"),
]


@pytest.mark.parametrize("batch", [None, 1, 3, 4])
@pytest.mark.parametrize(("item", "message"), WRONG, ids=[text for _, text in WRONG])
def test_the_sequence_that_is_wrong_is_named(item, message, batch):
    given = [*GOOD[:2], item, *GOOD]
    with pytest.raises((TypeError, ValueError), match=f"^sequence {message}"):
        evaluate.run(CLASSIFIER, given, batch=batch)
    if batch is None:
        wrapped = evaluate.timed(evaluate.windowed(CLASSIFIER, 7))
        with pytest.raises((TypeError, ValueError), match=f"^sequence {message}"):
            evaluate.compare(wrapped, CLASSIFIER, given, window=7)


def test_a_batch_and_single_sequences_give_the_same():
    """A row of one value, or one frame, was stretched over the frame or the sequence in a batch."""
    rng = np.random.default_rng(0)
    given = [{"xs": rng.standard_normal((t, 3)), "gold": "a"} for t in (1, 5, 2)]
    single, batch = (evaluate.run(CLASSIFIER, given, batch=size) for size in (None, 3))
    assert single.records.confidence.tolist() == batch.records.confidence.tolist()


def test_a_label_of_another_kind_is_another_label():
    ints = evaluate.classifier(LSTM_3, HEAD, [0, 1])
    assert len(evaluate.run(ints, [sequence(gold=np.int64(1))])) == 1
    with pytest.raises(ValueError, match="gold label True is none of the predictor's: 0, 1"):
        evaluate.run(ints, [sequence(gold=True)])


class OwnError(ValueError):
    pass


@pytest.mark.parametrize("batch", [None, 2])
def test_errors_of_a_predictor_keep_their_class(batch):
    class Fails:
        def __init__(self, error):
            self.error = error

        def __call__(self, xs):
            raise self.error

        def batch(self, many):
            raise self.error

    with pytest.raises(ValueError, match=r"^sequence 0: scores are missing"):
        evaluate.run(Fails(ValueError("scores are missing")), GOOD, batch=batch)
    with pytest.raises(OwnError, match=r"^mine") as raised:
        evaluate.run(Fails(OwnError("mine")), GOOD, batch=batch)
    if sys.version_info >= (3, 11):
        assert "with sequence 0" in raised.value.__notes__


def test_an_error_of_the_batch_alone_names_the_batch():
    class Fails:
        def __call__(self, xs):
            return "a"

        def batch(self, many):
            raise ValueError("too many")

    with pytest.raises(ValueError, match=r"^sequence 0 or one of the 1 after it: too many"):
        evaluate.run(Fails(), GOOD, batch=2)


@pytest.mark.parametrize("given", [["a", 0.9], np.array([0.1, 0.9])])
def test_scores_without_labels_are_told_what_is_expected(given):
    with pytest.raises(TypeError, match=r"sequence 0: the predictor gave .* \(label, confidence\)"):
        evaluate.run(lambda xs: given, GOOD)
