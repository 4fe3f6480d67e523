"""Whole models as predictors: their probabilities, resets, windows, batches, inputs by name."""

from __future__ import annotations

import numpy as np
import pytest
from program_cases import Builder, chain, lstm_layer, rich, rich_frames

from lstm_fast import LSTM, Model, evaluate
from lstm_fast.evaluate import by_steps, classifier, timed, windowed

pytest.importorskip("scipy")


def detector(seed=0):
    """A frame to a probability of shape (1,), as a voice activity detector has it."""
    build = Builder(seed)
    x = lstm_layer(build, build.input("x", (5,)), "a", 7)
    build.output("p", build.op("sigmoid", build.op("dense", x, build.weights(1, 7, scale=3))))
    return Model.from_program(build.program())


def sequences(count=12, seed=3):
    rng = np.random.default_rng(seed)
    return [rng.standard_normal((int(n), 5)) for n in rng.integers(1, 40, count)]


def alone(model, xs):
    return model.stream().run(np.float32(xs))


def test_one_probability_has_two_labels():
    model = detector()
    predictor = classifier(model, labels=(False, True))
    high = 0
    for xs in sequences():
        p = float(alone(model, xs)[-1, 0])
        label, confidence, _ = predictor(xs)
        assert label is (p >= 0.5)
        assert confidence == (p if p >= 0.5 else 1 - p)
        high += label
    assert 0 < high < 12


@pytest.mark.parametrize("over", ["last", "max", "mean"])
def test_what_becomes_of_the_steps(over):
    model = detector()
    predictor = classifier(model.stream(), labels=("low", "high"), over=over, threshold=0.6)
    for xs in sequences():
        ys = alone(model, xs)
        p = float({"last": ys[-1], "max": ys.max(axis=0), "mean": ys.mean(axis=0)}[over][0])
        assert predictor(xs)[:2] == (("high", p) if p >= 0.6 else ("low", 1 - p))


def test_the_best_of_several_probabilities():
    model = Model.from_program(chain())
    predictor = classifier(model, labels="abc")
    for xs in sequences():
        y = alone(model, xs)[-1]
        assert predictor(xs)[:2] == ("abc"[int(y.argmax())], float(y.max()))


def test_a_head_of_its_own():
    model = Model.from_program(rich())
    weight, bias = np.random.default_rng(1).standard_normal((2, 3)), np.zeros(2)
    both = classifier(model, (weight, bias), "ab", output="score")
    answers = classifier(model, lambda y: ("ab"[int(y[0] > y[1])], 0.5), output="row")
    xs = rich_frames(9)
    y = model.stream().run(xs)
    scores = weight @ y["score"][-1].astype(np.float64)
    assert both(xs).label == "ab"[int(scores.argmax())]
    assert answers(xs)[:2] == ("ab"[int(y["row"][-1, 0] > y["row"][-1, 1])], 0.5)


def test_no_sequence_knows_of_another():
    """And with a stream that is not reset it would: the control."""
    stream = detector().stream()
    predictor = classifier(stream, labels=(False, True))
    first, second = sequences(2)
    fresh = predictor(second)
    predictor(first)
    assert predictor(second) == fresh
    stream.reset()
    stream.run(first)
    assert float(stream.run(second)[-1, 0]) != float(alone(detector(), second)[-1, 0])


@pytest.mark.parametrize("name", ["detector", "rich"])
def test_a_batch_has_the_bits_of_one_by_one(name):
    if name == "rich":
        model, many = Model.from_program(rich()), [rich_frames(n, seed=n) for n in (3, 1, 7, 2)]
        predictor = classifier(model, labels="abc", output="score", over="mean")
    else:
        predictor, many = classifier(detector(), labels="ab", over="mean"), sequences()
    assert predictor.batch(many) == [predictor(xs) for xs in many]


def test_an_evaluation_by_length_and_window_of_inputs_by_name():
    model = Model.from_program(rich())
    predictor = classifier(model, labels="abc", output="score")
    lengths = [3, 30, 4, 20, 9, 12]
    cases = []
    for seed, n in enumerate(lengths):
        xs = rich_frames(n, seed)
        cases.append({"xs": xs, "gold": predictor(xs).label})
    cases[1]["gold"] = next(x for x in "abc" if x != cases[1]["gold"])
    result = evaluate.run(predictor, cases, by_steps([10]))
    assert [(c.name, c.count, c.correct) for c in result.buckets["steps"]] == [
        ("<10", 3, 3),
        ("10+", 3, 2),
    ]
    assert [row["generated_value"] for row in result.rows()] == [
        row["generated_value"] for row in evaluate.run(predictor, cases, batch=4).rows()
    ]
    seen = []
    last = {"audio": (2, 2, 8), "token": (2,)}

    def watching(xs):
        seen.append({name: one.shape for name, one in xs.items()})
        return predictor(xs)

    evaluate.run(windowed(watching, 5), cases, window=2)
    assert seen == [last] * len(cases)
    a, b = timed(predictor), windowed(predictor, 2)
    comparison = evaluate.compare(a, b, cases, window=2)
    assert all(row["generated_value"] for row in result.rows())
    assert "100" in str(comparison)


def test_drift_between_two_models():
    cases = [{"xs": xs, "gold": True} for xs in sequences(200)]
    runs = [
        evaluate.run(classifier(detector(seed), labels=(False, True)), cases) for seed in (0, 0, 5)
    ]
    assert not evaluate.drift(runs[0], runs[1]).drifted
    assert evaluate.drift(runs[0], runs[2]).drifted


WRONG = [
    ({}, "needs labels: the one of each probability"),
    ({"labels": "abc"}, "'p' has 1 values, which need 2 labels: 3"),
    ({"labels": "ab", "output": "q"}, "there is no output 'q', expected one of 'p'"),
    ({"labels": "ab", "over": "median"}, "over is 'median', expected one of last, max, mean"),
    ({"labels": "ab", "threshold": 1}, "between 0 and 1, found 1"),
    ({"labels": "ab", "head": (np.zeros((2, 3)), np.zeros(2))}, r"needs \(C, 1\)"),
    ({"labels": "aa"}, "have 'a' twice"),
]


@pytest.mark.parametrize(("options", "says"), WRONG)
def test_wrong_arguments(options, says):
    with pytest.raises(ValueError, match=says):
        classifier(detector(), **options)


def test_more_wrong_arguments():
    with pytest.raises(ValueError, match=r"which output .* 'score', 'is_high', 'row'"):
        classifier(Model.from_program(rich()), labels="abc")
    with pytest.raises(ValueError, match="of a whole model, not of an LSTM"):
        classifier(LSTM.random(2, 3), (np.zeros((2, 3)), np.zeros(2)), "ab", over="max")
    with pytest.raises(TypeError, match="a callable, or a pair"):
        classifier(LSTM.random(2, 3), labels="ab")
    for what in (detector(), detector().stream()):
        with pytest.raises(TypeError, match=r"evaluate\.classifier\(model, labels="):
            evaluate.run(what, [])


def test_what_is_no_probability_is_said():
    build = Builder()
    build.output("y", build.op("dense", build.input("x", (5,)), build.weights(3, 5, scale=9)))
    model = Model.from_program(build.program())
    xs = sequences(1)[0]
    with pytest.raises(
        ValueError, match=r"'y' is .* expected probabilities of 0 to 1: give a head"
    ):
        classifier(model, labels="abc")(xs)
    assert classifier(model, lambda y: y, "abc")(xs).label in "abc"
    spoiled = np.full((2, 5), np.nan)
    with pytest.raises(ValueError, match="is there a NaN in xs"):
        classifier(detector(), labels="ab")(spoiled)


@pytest.mark.parametrize(
    ("xs", "error", "says"),
    [
        ({}, ValueError, "empty mapping"),
        ({"a": [[1.0]], "b": [1, 2]}, ValueError, "different numbers of steps: 'a' 1, 'b' 2"),
        ({"a": np.zeros((0, 3))}, ValueError, r"it is empty: its xs\['a'\] has shape \(0, 3\)"),
        ({"a": 1.0}, TypeError, r"its xs\['a'\] has dtype float64 and shape \(\)"),
    ],
)
def test_steps_by_name_that_are_none(xs, error, says):
    with pytest.raises(error, match=f"sequence 0: .*{says}"):
        evaluate.run(lambda xs: "a", [{"xs": xs, "gold": "a"}])
