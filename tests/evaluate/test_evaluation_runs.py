"""What a run takes, what it shows a predictor, how it times it, and what it refuses."""

from __future__ import annotations

import gc
import weakref
from enum import Enum, IntEnum
from types import SimpleNamespace

import numpy as np
import pytest

from lstm_fast import LSTM, evaluate
from lstm_fast.evaluate import Labelled, Prediction, by, by_steps

pytest.importorskip("scipy")

XS = np.arange(12.0).reshape(6, 2)


def answers(*given):
    """A predictor that gives these, one after the other."""
    rest = iter(given)
    return lambda xs: next(rest)


def items(*golds):
    return [Labelled(XS, gold) for gold in golds]


def test_every_form_of_an_answer():
    given = [
        "a",
        ("a", 0.25),
        {"b": 0.125, "a": 0.75, "c": 0.125},
        Prediction("a", 0.5),
        ("a", None),
    ]
    result = evaluate.run(answers(*given), items(*"aaaab"))
    rows = list(result.rows())
    assert [row["generated_value"] for row in rows] == ["a"] * 5
    assert [row["confidence"] for row in rows] == [None, 0.25, 0.75, 0.5, None]
    assert [row["correct"] for row in rows] == [True] * 4 + [False]


@pytest.mark.parametrize("gold", [np.str_("a"), "a"])
def test_labels_of_numpy_are_labels(gold):
    assert evaluate.run(answers(np.array("a")), items(gold)).overall.correct == 1
    assert evaluate.run(answers(np.int64(3)), items(3)).overall.correct == 1
    assert evaluate.run(answers(np.True_), items(True)).overall.correct == 1


def test_an_enum_is_the_value_that_it_holds():
    class Intent(str, Enum):
        PAY = "pay"

    result = evaluate.run(answers(Intent.PAY), items("pay"))
    assert next(result.rows())["generated_value"] == "pay"
    assert result.overall.correct == 1
    assert evaluate.run(answers(IntEnum("Number", "ONE").ONE), items(1)).overall.correct == 1


def test_exact_match_is_exact():
    result = evaluate.run(answers("a", "A", "a ", "ab"), items("a", "a", "a", "a"))
    assert [row["correct"] for row in result.rows()] == [True, False, False, False]


@pytest.mark.parametrize(
    ("answer", "gold", "error", "message"),
    [
        (1, "1", TypeError, "sequence 0: predicted label 1 is an integer, .* strings"),
        (True, 1, TypeError, "is a bool, .* integers: they would never match"),
        (1.0, 1, TypeError, "predicted label 1.0 is float"),
        (None, "a", TypeError, "predicted label None"),
        ("a", 1.5, TypeError, "gold label 1.5 is float"),
        (("a", 1.5), "a", ValueError, "confidence is 1.5, expected 0 to 1"),
        (("a", float("nan")), "a", ValueError, "confidence is nan"),
        (("a", "b"), "a", TypeError, "confidence is str"),
        (("a", 0.5, 1), "a", TypeError, "tuple of 3"),
        ({}, "a", ValueError, "empty mapping"),
        (Prediction("a", 0.5, -1.0), "a", ValueError, "took -1.0 seconds"),
    ],
)
def test_bad_answers_are_named_with_their_sequence(answer, gold, error, message):
    with pytest.raises(error, match=f"(?s)sequence 0.*{message}|{message}"):
        evaluate.run(answers(answer), items(gold))


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        ({"gold": "a"}, TypeError, "dict that lacks xs"),
        (SimpleNamespace(xs=XS), TypeError, "SimpleNamespace that lacks gold"),
        ({"xs": [[1, 2], [3]], "gold": "a"}, ValueError, "its xs are not an array"),
        ({"xs": 3, "gold": "a"}, TypeError, "its xs have dtype int64 and shape"),
        ({"xs": [{}], "gold": "a"}, TypeError, "dtype object"),
        ({"xs": XS, "gold": "a", "keys": 3}, TypeError, "keys are int"),
        ({"xs": XS, "gold": "a", "id": "u7", "keys": {}}, ValueError, "1 .id 'u7'.: it has no key"),
    ],
)
def test_bad_sequences_are_named(item, error, message):
    good = {"xs": XS, "gold": "a", "keys": {"k": 1}}
    with pytest.raises(error, match=f"sequence 1.*{message}|sequence {message}"):
        evaluate.run(lambda xs: "a", [good, item], by("k"))


def test_a_sequence_may_be_a_dict_or_any_object():
    given = [{"xs": XS.tolist(), "gold": "a"}, SimpleNamespace(xs=XS, gold="a", id=7)]
    assert [row["id"] for row in evaluate.run(lambda xs: "a", given).rows()] == ["0", "7"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"level": 1}, ValueError),
        ({"alpha": 0}, ValueError),
        ({"min_difference": 2}, ValueError),
        ({"on_error": "ignore"}, ValueError),
        ({"window": 0}, ValueError),
        ({"window": 1.5}, TypeError),
        ({"batch": 2}, TypeError),
        ({"buckets": ["steps"]}, TypeError),
        ({"buckets": [by("k"), by("k")]}, ValueError),
    ],
)
def test_bad_options_are_refused_before_anything_runs(options, error):
    with pytest.raises(error):
        evaluate.run(lambda xs: pytest.fail("it ran"), items("a"), **options)


def test_nothing_to_evaluate_is_an_error():
    with pytest.raises(ValueError, match="no sequences"):
        evaluate.run(lambda xs: "a", iter([]))


@pytest.mark.parametrize("window", [None, 1, 4, 6, 99])
def test_a_window_shows_the_last_steps_and_cohorts_are_by_all(window):
    seen = []
    result = evaluate.run(
        lambda xs: seen.append(xs) or "a", items("a"), by_steps([5]), window=window
    )
    expected = XS if window is None else XS[-window:]
    np.testing.assert_array_equal(seen[0], expected)
    row = next(result.rows())
    assert (row["steps"], row["seen"], row["cohort: steps"]) == (6, len(expected), "5+")


def test_a_predictor_cannot_change_the_sequence():
    xs = XS.copy()

    def spoil(seen):
        seen[:] = 0
        return "a"

    evaluate.run(spoil, [Labelled(xs, "a")])
    np.testing.assert_array_equal(xs, XS)


def ticking(*times):
    """A clock that tells these times."""
    rest = iter(times)
    return lambda: next(rest)


def test_latency_is_what_the_clock_says():
    times = [0, 1, 10, 12, 20, 23]
    latency = evaluate.run(answers(*"aaa"), items(*"aab"), clock=ticking(*times)).overall.latency
    assert (latency.p50, latency.p99, latency.max) == (2, None, 3)


def test_p99_is_numpys_and_only_where_there_are_enough():
    seconds = np.random.default_rng(0).random(100)
    given = [Prediction("a", seconds=s) for s in seconds]
    latency = evaluate.run(answers(*given), items(*"a" * 100)).overall.latency
    assert latency.p99 == pytest.approx(np.quantile(seconds, 0.99))
    fewer = evaluate.run(answers(*given[1:]), items(*"a" * 99)).overall.latency
    assert fewer.p99 is None


def test_timed_times_the_part_that_counts():
    inner = evaluate.timed(lambda xs: ("a", 0.5), clock=ticking(5, 7))
    result = evaluate.run(lambda xs: inner(xs[:1]), items("a"), clock=ticking(0, 100))
    assert result.overall.latency.p50 == 2
    assert evaluate.timed(evaluate.windowed(inner, 3)).window == 3


def test_a_batch_is_one_call_that_all_of_it_wait_for():
    class Batched:
        sizes = ()

        def __call__(self, xs):
            pytest.fail("one by one")

        def batch(self, many):
            self.sizes += (len(many),)
            return [("a", 0.5)] * len(many)

    predictor = Batched()
    result = evaluate.run(predictor, items(*"aaaaa"), batch=2, clock=ticking(0, 2, 2, 5, 5, 9))
    assert predictor.sizes == (2, 2, 1)
    assert [row["seconds"] for row in result.rows()] == [2, 2, 3, 3, 4]
    predictor.batch = lambda many: ["a"]
    with pytest.raises(ValueError, match="1 answers to 2 sequences"):
        evaluate.run(predictor, items("a", "a"), batch=2)


def test_an_error_of_the_predictor_is_raised_or_counted():
    def fails(xs):
        raise KeyError("weights")

    with pytest.raises(KeyError, match="weights"):
        evaluate.run(fails, items("a"))
    result = evaluate.run(fails, items("a", "b"), on_error="count")
    assert (result.overall.errors, result.overall.correct, result.overall.count) == (2, 0, 2)
    assert [row["error"] for row in result.rows()] == ["KeyError: 'weights'"] * 2
    assert [row["generated_value"] for row in result.rows()] == ["", ""]
    assert result.overall.latency is None
    assert "raised for 2" in str(result)


def test_of_an_iterator_no_sequence_is_kept():
    """Each array is gone once it was predicted; a list that keeps them is the negative control."""
    alive = []

    def stream():
        for _ in range(6):
            xs = np.zeros((3, 2))
            alive.append(weakref.ref(xs))
            yield Labelled(xs, "a")

    def count(xs):
        del xs
        gc.collect()
        counts.append(sum(ref() is not None for ref in alive))
        return "a"

    counts: list[int] = []
    evaluate.run(count, stream())
    assert max(counts) <= 2  # this one, and the one before while the next is made
    counts, alive = [], []
    evaluate.run(count, [*stream()])
    assert min(counts) == 6


def test_progress(capsys):
    tqdm = pytest.importorskip("tqdm")
    assert tqdm is not None
    evaluate.run(lambda xs: "a", items("a", "a"), progress=True)
    assert "| 0/2 [" in capsys.readouterr().err
    evaluate.run(lambda xs: "a", items("a", "a"))  # no terminal
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("head", "labels", "error"),
    [
        ((np.zeros((3, 4)), np.zeros(3)), ["a", "b"], ValueError),
        ((np.zeros((3, 4)), np.zeros(3)), None, ValueError),
        ((np.zeros((3, 5)), np.zeros(3)), "abc", ValueError),
        ((np.zeros((3, 4)), np.zeros(2)), "abc", ValueError),
        (3, "abc", TypeError),
    ],
)
def test_a_head_that_does_not_fit_is_refused(head, labels, error):
    with pytest.raises(error):
        evaluate.classifier(LSTM.random(2, 4), head, labels)
    with pytest.raises(TypeError, match="expected an LSTM, a Model, or a stream"):
        evaluate.classifier(head, head, labels)
