"""Streams and pools of whole models are traced as those of LSTMs: same bits, errors and spans."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")

from program_cases import chain, cut, frames, named, rich
from tracing_cases import ALWAYS, WITH_ISA, WITH_STEPS, Sdk, wrong_attributes

from cases import bits
from lstm_fast import LSTM, Model
from lstm_fast.tracing import _stream

PROGRAMS = {"chain": chain, "rich": rich}
OF_AN_LSTM = {"lstm.input_size", "lstm.hidden_size", "lstm.layers"}
OF_A_MODEL = {"lstm.model.inputs": str, "lstm.model.outputs": str, "lstm.model.operations": int}
EXPECTED = {name: kind for name, kind in ALWAYS.items() if name not in OF_AN_LSTM} | OF_A_MODEL


@pytest.fixture
def sdk():
    return Sdk()


@pytest.fixture(params=PROGRAMS)
def case(request):
    return request.param


@pytest.fixture
def model(case):
    return Model.from_program(PROGRAMS[case]())


def given(model, values):
    """What a call takes: the values by name, or the only one."""
    return values if len(values) > 1 else next(iter(values.values()))


def same(model, one, other):
    one, other = named(model, one), named(model, other)
    return one.keys() == other.keys() and all(bits(one[n]) == bits(other[n]) for n in one)


def kept(state):
    return {name: bits(value) for name, value in state.items()}


def outs(model, *steps):
    made = {
        name: np.empty((*steps, *one.shape), np.dtype(one.kind))
        for name, one in model.outputs.items()
    }
    return given(model, made)


def test_same_bits_and_how_many_steps(sdk, case, model):
    xs = frames(case, 30)
    plain, traced = model.stream(), sdk.trace(model.stream())
    with traced.segment(cohort="short"):
        for t in range(20):
            x, out = given(model, cut(xs, t)), outs(model)
            assert traced.step(x, out=out) is out
            assert same(model, out, plain.step(x))
            if t == 9:
                plain.reset()
                traced.reset(reason="half")
        rest = given(model, cut(xs, 20, 30))
        out = outs(model, 10)
        assert traced.run(rest, out=out) is out
        assert same(model, out, plain.run(rest))
        none = given(model, cut(xs, 0, 0))
        assert same(model, traced.run(none), plain.run(none))
    attributes = sdk.last()
    assert attributes["lstm.sequence.length"] == 30
    assert attributes["lstm.state.age_steps"] == 20
    assert attributes["lstm.state.reset_reason"] == "half"
    assert traced.snapshot() == plain.snapshot()
    assert traced.model is model
    assert kept(traced.state) == kept(plain.state)
    traced.restore(plain.snapshot(), age_steps=7)
    assert traced.age_steps == 7
    assert traced.is_finite


def test_same_bits_in_a_pool(sdk, case, model):
    plain, pool = model.pool(3), sdk.pool(model.pool(3))
    handles, sessions = [plain.open() for _ in range(3)], [pool.open() for _ in range(3)]
    values = frames(case, 60)
    with sessions[0].segment(), sessions[2].segment():
        for n in range(15):
            rows = [2, 0, 1][: n % 3 + 1]
            xs = given(model, cut(values, n, n + len(rows)))
            ys = plain.step([handles[r] for r in rows], xs)
            assert same(model, pool.step([sessions[r] for r in rows], xs), ys)
        block = {n: v[:12].reshape(3, 4, *v.shape[1:]) for n, v in values.items()}
        block = given(model, block)
        ys = plain.run(handles, block, [4, 0, 2])
        assert same(model, pool.run(sessions, block, [4, 0, 2]), ys)
        assert same(model, pool.run(sessions, block), plain.run(handles, block))
    for handle, session in zip(handles, sessions, strict=True):
        assert session.snapshot() == plain.snapshot(handle)
    assert [session.age_steps for session in sessions] == [18, 9, 21]
    assert pool.model is model


def test_attributes(sdk, model):
    traced = sdk.trace(model.stream(), age_steps=1)
    with traced.segment():
        pass
    isa = WITH_ISA if model.isa is not None else {}
    assert not wrong_attributes(sdk.last(), EXPECTED | isa)
    assert wrong_attributes(sdk.last(), ALWAYS | isa) == OF_AN_LSTM | set(OF_A_MODEL)  # the control
    assert sdk.last()["lstm.model.sha256"] == model.fingerprint


def test_what_a_model_is_in_words(sdk):
    model = Model.from_program(rich(), weight_dtype={"lstm": "int8", "gru": "float16"})
    with sdk.trace(model.stream()).segment():
        pass
    attributes = sdk.last()
    assert attributes["lstm.model.inputs"] == "audio (2, 8), token () int64"
    assert attributes["lstm.model.outputs"] == "score (3,), is_high (3,) bool, row (4,)"
    types = model.weight_dtype
    assert "int8" in types.values()
    written = dict(one.split(":") for one in attributes["lstm.weight_dtype"].split(","))
    assert written == {str(number): name for number, name in types.items()}


def test_the_same_errors(sdk, case, model):
    plain, traced = model.stream(), sdk.trace(model.stream())
    for wrong in (np.zeros(7), {"audio": np.zeros((2, 8))}, {"x": 1, "y": 2}, "x"):
        with pytest.raises((TypeError, ValueError)) as expected:
            plain.step(wrong)
        with pytest.raises(expected.type) as found:
            traced.step(wrong)
        assert str(found.value) == str(expected.value)
    assert traced.age_steps == 0


def test_a_step_says_how_sure_it_is(sdk):
    model = Model.from_program(chain())
    traced = sdk.trace(model.stream())
    with traced.segment() as segment:
        y = traced.step(frames("chain", 1)["x"][0])
        segment.predict("b", y)
    assert sdk.last()["lstm.prediction.confidence"] == float(y.max())
    (point,) = sdk.points("lstm.prediction.confidence")
    assert point.count == 1
    assert not wrong_attributes({name: sdk.last()[name] for name in WITH_STEPS}, WITH_STEPS)


def test_of_several_outputs_one_is_the_confidence(sdk):
    model = Model.from_program(rich())
    y = model.stream().step(cut(frames("rich", 1), 0))
    pool = sdk.pool(model.pool(1), confidence="score")
    for traced in (sdk.trace(model.stream(), confidence="score"), pool.open()):
        with traced.segment() as segment:
            segment.predict("a", y)
        assert sdk.last()["lstm.prediction.confidence"] == float(y["score"].max())
        with traced.segment() as segment:
            segment.predict("a", 0.25)
        assert sdk.last()["lstm.prediction.confidence"] == 0.25
        with traced.segment() as segment, pytest.raises(ValueError, match="lack 'score'"):
            segment.predict("a", {"row": y["row"]})
    segment = sdk.trace(model.stream()).segment()
    with pytest.raises(ValueError, match=r"which output .* 'score', 'row'"):
        segment.predict("a", y)
    segment = sdk.trace(model.stream(), confidence="row").segment()
    with pytest.raises(ValueError, match="within 0 and 1"):
        segment.predict("a", {**y, "row": np.float32([0.5, 1.5])})


@pytest.mark.parametrize("name", ["is_high", "scores", ""])
def test_what_is_no_output_is_no_confidence(sdk, name):
    with pytest.raises(ValueError, match=r"expected an output .* 'score', 'row'"):
        sdk.trace(Model.from_program(rich()).stream(), confidence=name)
    with pytest.raises(ValueError, match="what an LSTM returns is not a confidence"):
        sdk.trace(LSTM.random(2, 3).stream(), confidence=name)


def test_steps_that_are_not_counted_are_noticed(monkeypatch, sdk, model, case):
    """Negative control of the counts above."""
    monkeypatch.setattr(_stream, "frames_in", lambda ys, axis: 1)
    traced = sdk.trace(model.stream())
    with traced.segment():
        traced.run(given(model, frames(case, 5)))
    assert sdk.last()["lstm.sequence.length"] != 5
