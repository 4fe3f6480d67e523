"""Whole models: cut anywhere equals whole, a reset is a fresh start, sessions are isolated."""

from __future__ import annotations

import copy
import itertools
import pickle
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from program_cases import BACKENDS, PROGRAMS, Builder, Models, cut, frames, lstm_layer, named

from lstm_fast import LSTM, ConcurrentUseError, available
from lstm_fast._backends import _reference_model

REFERENCE = Models("reference")
STEPS = 9
names = pytest.mark.parametrize("name", PROGRAMS)


@pytest.fixture(scope="module", params=BACKENDS)
def models(request):
    return Models(request.param)


def test_the_native_core_is_among_them_where_it_is_built():
    assert ("native" in BACKENDS) == any(name.startswith("native") for name in available())
    assert BACKENDS[-1] == "reference"


def bits(values):
    return [(key, value.shape, value.dtype, value.tobytes()) for key, value in values.items()]


def run(stream, values):
    return named(stream.model, stream.run(values))


def joined(pieces):
    return {key: np.concatenate([one[key] for one in pieces]) for key in pieces[0]}


# ---- steps and runs ----


@names
@given(cuts=st.sets(st.integers(0, STEPS)), seed=st.integers(0, 99))
def test_cut_anywhere_equals_whole(models, name, cuts, seed):
    model, xs = models[name], frames(name, STEPS, seed)
    whole, pieces = model.stream(), model.stream()
    expected = run(whole, xs)
    ends = [0, *sorted(cuts), STEPS]
    found = [run(pieces, cut(xs, a, b)) for a, b in itertools.pairwise(ends)]
    assert bits(joined(found)) == bits(expected)
    assert bits(pieces.state) == bits(whole.state)


@names
def test_steps_equal_a_run(models, name):
    model, xs = models[name], frames(name, STEPS)
    stream = model.stream()
    steps = [named(model, stream.step(cut(xs, t))) for t in range(STEPS)]
    expected = run(model.stream(), xs)
    for key, value in expected.items():
        assert (np.array([one[key] for one in steps]) == value).all()
        assert steps[0][key].shape == model.outputs[key].shape == value.shape[1:]
        assert steps[0][key].dtype == model.outputs[key].kind == value.dtype


@names
def test_a_state_that_is_lost_is_noticed(models, name):
    """Negative control of the two above: each part of the state matters to what follows."""
    model, xs = models[name], frames(name, STEPS)
    whole = run(model.stream(), xs)
    stream = model.stream()
    run(stream, cut(xs, 0, 4))
    state = stream.state
    assert set(state) == set(model.states)
    for key, value in state.items():
        wrong = model.stream({**state, key: value + np.float32(0.25)})
        later = joined([cut(whole, 0, 4), run(wrong, cut(xs, 4, STEPS))])
        assert bits(later) != bits(whole), key


@names
def test_a_reset_is_a_fresh_start(models, name):
    model, xs = models[name], frames(name, STEPS)
    stream = model.stream()
    first = run(stream, xs)
    stream.prepare()
    again = run(stream, xs)
    assert bits(again) != bits(first)  # the control: without a reset it goes on
    stream.reset()
    assert bits(stream.state) == bits(model.stream().state)
    assert bits(run(stream, xs)) == bits(first)


@names
def test_states_are_read_and_written(models, name):
    model, xs = models[name], frames(name, STEPS)
    stream = model.stream()
    run(stream, cut(xs, 0, 4))
    others = [model.stream(stream.state), stream.copy(), copy.deepcopy(stream)]
    others.append(pickle.loads(pickle.dumps(stream)))
    stream.state["nothing"] = 1  # a copy
    for value in stream.state.values():
        value[...] = 7
    expected = bits(run(stream, cut(xs, 4, STEPS)))
    for other in others:
        assert bits(run(other, cut(xs, 4, STEPS))) == expected


def test_history_is_what_came_before(models):
    model = models["rich"]
    xs, stream = frames("rich", 2), model.stream()
    assert not stream.state["audio.history"].any()
    stream.run(xs)
    assert (stream.state["audio.history"] == xs["audio"][1][:, -3:]).all()
    build = Builder()
    x = build.input("x", (1,), history=2)
    build.output("y", x)
    stream = models.make(build.program()).stream()
    assert stream.run([[1], [2], [3], [4]]).tolist() == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert stream.state["x.history"].tolist() == [3, 4]


def test_a_register_may_take_anothers_old_value(models):
    """All states change at once, at the end of a step."""
    build = Builder()
    x = build.input("x", (1,))
    a, b = build.state("a", (1,)), build.state("b", (1,))
    build.keep("a", x)
    build.keep("b", a)
    build.output("y", b)
    stream = models.make(build.program()).stream()
    assert stream.run([[1], [2], [3], [4]])[:, 0].tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(("layers", "projected"), [(1, 0), (2, 0), (2, 3)])
def test_a_stack_of_layers_is_an_lstm_to_the_bit(models, layers, projected):
    build, size = Builder(), projected or 5
    y = build.input("x", (4,))
    for n in range(layers):
        y = lstm_layer(build, y, str(n), 5, projected)
    build.output("y", y)
    program = build.program()
    weights = {}
    for n, op in enumerate(program.ops):
        parts = ("weight_ih", "weight_hh", "bias_ih", "weight_hr")
        for part, number in zip(parts, op.inputs[3:], strict=False):
            if number != -1:
                weights[f"{part}_l{n}"] = program.constants[number]
        weights[f"bias_hh_l{n}"] = np.zeros(20, np.float32)
    lstm = LSTM.from_state_dict(weights, backend=models.backend)
    xs = Builder(1).rng.standard_normal((20, 4)).astype(np.float32)
    found = models.make(program).stream().run(xs)
    assert found.shape == (20, size)
    assert (found == lstm.stream().run(xs)).all()


# ---- isolation ----


@names
@given(seed=st.integers(0, 99), order=st.lists(st.integers(0, 2), min_size=12, max_size=24))
def test_sessions_do_not_touch_each_other(models, name, seed, order):
    model = models[name]
    streams = [model.stream() for _ in range(3)]
    inputs = [frames(name, len(order), seed + n) for n in range(3)]
    found = [[] for _ in streams]
    for t, who in enumerate(order):
        found[who].append(run(streams[who], cut(inputs[who], t, t + 1)))
    for who, stream in enumerate(streams):
        alone = model.stream()
        times = [t for t, one in enumerate(order) if one == who]
        expected = [run(alone, cut(inputs[who], t, t + 1)) for t in times]
        assert [bits(one) for one in found[who]] == [bits(one) for one in expected]
        assert bits(stream.state) == bits(alone.state)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_spoils_one_session_until_its_reset(models, value):
    model = models["rich"]
    xs, spoiled, other = frames("rich", STEPS), model.stream(), model.stream()
    expected = bits(run(model.stream(), xs))
    bad = cut(xs, 0)
    bad["audio"] = np.full_like(bad["audio"], value)
    spoiled.step(bad)
    assert not spoiled.is_finite
    assert bits(run(other, xs)) == expected
    assert other.is_finite
    spoiled.reset()
    assert bits(run(spoiled, xs)) == expected


def test_subnormals_are_zeros(models):
    build = Builder()
    x = build.input("x", (2,), history=1)
    build.output("y", x)
    stream = models.make(build.program()).stream()
    y = stream.step(np.array([-1e-40, 1e-39], np.float32))
    assert y.tolist() == [0, 0, 0]
    assert np.signbit(y).tolist() == [False, True, False]
    stream.state = {"x.history": np.array([1e-42], np.float32)}
    assert stream.state["x.history"] == 0


def test_subnormals_that_are_computed_are_zeros_when_they_leave_a_step():
    build = Builder()
    x, old = build.input("x", (2,)), build.state("s", (2,))
    tiny = build.op("mul", x, x)
    build.keep("s", tiny)
    build.output("y", tiny)
    build.output("whole", build.op("sqrt", tiny))  # within a step nothing is lost
    build.output("old", old)
    stream = REFERENCE.make(build.program()).stream()
    found = stream.step([1e-20, 1e-10])
    assert found["y"].tolist() == [0, np.float32(np.float64(np.float32(1e-10)) ** 2)]
    assert found["whole"].tolist() == [np.float32(1e-20), np.float32(1e-10)]
    assert stream.state["s"].tolist() == found["y"].tolist()
    assert stream.step([0, 0])["old"].tolist() == found["y"].tolist()


# ---- bad input changes nothing ----


def bad_frames():
    good = cut(frames("rich", 1), 0)
    audio, token = good["audio"], good["token"]
    yield {**good, "audio": audio[:, :7]}, ValueError, r"input 'audio' has shape \(2, 7\).*\(2, 8\)"
    yield {**good, "audio": audio.astype(str)}, TypeError, "input 'audio'"
    yield {**good, "token": np.float32(1)}, TypeError, "input 'token' has dtype.*expected integers"
    yield {**good, "token": np.True_}, TypeError, "expected integers"
    yield {**good, "token": [token]}, ValueError, "input 'token' has shape"
    yield {**good, "token": np.uint64(2**63)}, ValueError, "not an int64"
    yield {**good, "token": 5}, ValueError, "the index 5 is not within the 5 rows"
    yield {**good, "token": -6}, ValueError, "the index -6"
    yield {"audio": audio}, ValueError, "'token' is missing; expected 'audio'"
    yield {**good, "more": 1}, ValueError, "'more' is unknown; expected 'audio'"
    both = "x: 'token' is missing, 'tokn' is unknown; expected 'audio', 'token'$"
    yield {"audio": audio, "tokn": token}, ValueError, both
    yield audio, TypeError, "x must be a mapping of 'audio', 'token', found ndarray"


@pytest.mark.parametrize(("frame", "error", "text"), [*bad_frames()])
def test_a_bad_frame_changes_nothing(models, frame, error, text):
    stream = models["rich"].stream()
    xs = frames("rich", STEPS)
    stream.run(cut(xs, 0, 4))
    before = bits(stream.state)
    with pytest.raises(error, match=text):
        stream.step(frame)
    assert bits(stream.state) == before
    stream.step(cut(xs, 4))  # the control: a good one does
    assert bits(stream.state) != before


def test_a_bad_frame_late_in_a_run_changes_nothing(models):
    model = models["rich"]
    stream, xs = model.stream(), frames("rich", STEPS)
    before = bits(stream.state)
    out = {name: np.zeros((STEPS, *one.shape), one.kind) for name, one in model.outputs.items()}
    xs["token"][-1] = 99
    with pytest.raises(ValueError, match="the index 99"):
        stream.run(xs, out=out)
    assert bits(stream.state) == before
    xs["token"] = xs["token"][:-1]
    with pytest.raises(
        ValueError, match=r"input 'token' has shape \(8,\), this model takes \(9,\)"
    ):
        stream.run(xs)


def test_out_is_written_in_place(models):
    model, xs = models["chain"], frames("chain", STEPS)["x"]
    expected, out = model.stream().run(xs), np.empty((STEPS, 3), np.float32)
    assert model.stream().run(xs, out=out) is out
    assert (out == expected).all()
    assert model.stream().step(xs[0], out=out[4]).tolist() == expected[0].tolist()
    both = models["rich"]
    xs = frames("rich", STEPS)
    expected = both.stream().run(xs)
    out = {key: np.empty_like(value) for key, value in expected.items()}
    assert both.stream().run(xs, out=out) is out
    assert bits(out) == bits(expected)


def bad_outs():
    x = np.zeros(5, np.float32)
    yield x, np.zeros(3), TypeError, "must be an ndarray of float32, found dtype float64"
    yield x, [0, 0, 0], TypeError, "found list"
    yield x, np.zeros(4, np.float32), ValueError, r"has shape \(4,\), expected \(3,\)"
    yield x, np.zeros(6, np.float32)[::2], ValueError, "C-contiguous"
    yield x, np.frombuffer(bytes(12), np.float32), ValueError, "writable"
    yield x, x[:3], ValueError, "shares memory"
    yield x, {"z": x}, ValueError, "out: 'y' is missing, 'z' is unknown; expected 'y'"


@pytest.mark.parametrize(("x", "out", "error", "text"), [*bad_outs()])
def test_a_bad_out_changes_nothing(models, x, out, error, text):
    stream = models["chain"].stream()
    before = bits(stream.state)
    with pytest.raises(error, match=text):
        stream.step(x, out=out)
    assert bits(stream.state) == before


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (lambda s: [1, 2], TypeError, "state must be a mapping"),
        (lambda s: {**s, "b.h": [1]}, ValueError, r"state 'b.h' has shape \(1,\)"),
        (lambda s: {"b.h": s["b.h"]}, ValueError, "'a.h' is missing"),
        (lambda s: {**s, "b.h": "abcd"}, (TypeError, ValueError), "state 'b.h'"),
    ],
)
def test_a_bad_state_changes_nothing(models, change, error, text):
    stream = models["chain"].stream()
    stream.run(frames("chain", 3))
    before = bits(stream.state)
    with pytest.raises(error, match=text):
        stream.state = change(stream.state)
    assert bits(stream.state) == before


def test_a_second_thread_is_refused(monkeypatch):
    model = REFERENCE["chain"]
    stream, xs = model.stream(), frames("chain", 2)["x"]
    inside, go_on = threading.Event(), threading.Event()
    compute = _reference_model.compute

    def slow(*args):
        inside.set()
        go_on.wait(10)
        return compute(*args)

    monkeypatch.setattr(_reference_model, "compute", slow)
    thread = threading.Thread(target=stream.step, args=(xs[0],))
    thread.start()
    assert inside.wait(10)
    for call in (lambda: stream.step(xs[1]), stream.reset, stream.prepare, lambda: stream.state):
        with pytest.raises(ConcurrentUseError):
            call()
    go_on.set()
    thread.join()
    alone = model.stream()
    alone.step(xs[0])
    assert bits(stream.state) == bits(alone.state)


def test_an_interrupt_changes_nothing(monkeypatch):
    stream, xs = REFERENCE["chain"].stream(), frames("chain", 5)["x"]
    before, calls = bits(stream.state), []
    compute = _reference_model.compute

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 10:
            raise KeyboardInterrupt
        return compute(*args)

    monkeypatch.setattr(_reference_model, "compute", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stream.run(xs)
    assert bits(stream.state) == before
