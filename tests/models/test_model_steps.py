"""The short way of a step in C: what takes it, what does not, and that both are the same."""

from __future__ import annotations

import gc
import sys
from types import MappingProxyType

import numpy as np
import pytest
from program_cases import BACKENDS, PROGRAMS, Builder, Models, cut, frames, named

from kept_memory import kept_bytes
from lstm_fast import LSTM, ModelPool, StaleHandleError
from lstm_fast._program_costs import costs
from outside import others_ran

native = pytest.mark.skipif("native" not in BACKENDS, reason="no native core here")
pytestmark = native
N = 3
PIECE = 2**27  # bytes of weights, or multiply-adds: LF_PIECE_BYTES in csrc/tuning.h


@pytest.fixture(scope="module")
def models():
    return Models("native")


class LongWayError(Exception):
    """A step has come to Python."""


@pytest.fixture
def short_only(monkeypatch, models):
    """Let the long way raise, for streams and for pools."""

    def refuse(*_, **__):
        raise LongWayError

    monkeypatch.setattr(type(models["chain"].stream()), "_long_step", refuse)
    monkeypatch.setattr(ModelPool, "step", refuse)


def bits(values):
    return [(key, value.shape, value.dtype, value.tobytes()) for key, value in values.items()]


def frame(name, seed=0):
    return {key: np.array(value) for key, value in cut(frames(name, 1, seed), 0).items()}


def alone(values):
    return next(iter(values.values())) if len(values) == 1 else values


def empty(tensors, *sessions):
    return {key: np.empty((*sessions, *one.shape), one.kind) for key, one in tensors.items()}


def pool_of(model):
    pool = model.pool(N)
    return pool, np.array([pool.open() for _ in range(N)], np.uint64)


def many(name):
    each = [frame(name, seed) for seed in range(N)]
    return {key: np.array([one[key] for one in each]) for key in each[0]}


@pytest.mark.parametrize("name", PROGRAMS)
def test_right_arrays_take_the_short_way(models, short_only, name):
    """New results or those that are given, alone or by name."""
    model, x, xs = models[name], frame(name), many(name)
    out, outs = empty(model.outputs), empty(model.outputs, N)
    pool, handles = pool_of(model)
    for given in (x, alone(x)):
        assert list(named(model, model.stream().step(given))) == list(model.outputs)
        for target in (out, alone(out)):
            assert model.stream().step(given, target) is target
            assert model.stream().step(given, out=target) is target
            assert model.stream().step(x=given, out=target) is target
    for given in (xs, alone(xs)):
        assert list(named(model, pool.step(handles, given))) == list(model.outputs)
        for target in (outs, alone(outs)):
            assert pool.step(handles, given, out=target) is target


def other_forms(x):
    """What means the same, and has to be converted."""
    yield "a mapping", MappingProxyType(x)
    for key, value in x.items():
        yield f"{key} as a list", {**x, key: value.tolist()}
        strided = np.repeat(value[..., None], 2, -1)[..., 0]
        if not strided.flags.c_contiguous:
            yield f"{key} as a view", {**x, key: strided}
        yield f"{key} of another dtype", {**x, key: value.astype(value.dtype.newbyteorder())}
        yield f"{key} of a subclass", {**x, key: value.view(np.recarray)}


@pytest.mark.parametrize("name", PROGRAMS)
def test_both_ways_are_the_same(models, name):
    model, x, xs = models[name], frame(name), many(name)
    stream = model.stream()
    expected, state = bits(named(model, stream.step(x))), bits(stream.state)
    pool, handles = pool_of(model)
    all_expected = bits(named(model, pool.step(handles, xs)))
    for form, given in other_forms(x):
        other = model.stream()
        assert bits(named(model, other.step(given))) == expected, form
        assert bits(other.state) == state
    for form, given in other_forms(xs):
        other, handles = pool_of(model)
        assert bits(named(model, other.step(handles, given))) == all_expected, form
        assert bits(other.state(int(handles[0]))) == bits(pool.state(int(pool.handles()[0])))
    assert cut(named(model, pool.run(handles_of(pool), expand(xs))), 0)  # and they go on
    assert bits(named(model, stream.step(x))) != expected or not model.states  # the control


def handles_of(pool):
    return pool.handles()


def expand(xs):
    return {key: value[:, None] for key, value in xs.items()}


@pytest.mark.parametrize("name", PROGRAMS)
def test_other_forms_take_the_long_way(models, short_only, name):
    """Negative control: that the fixture shows who comes there."""
    model = models[name]
    for form, given in other_forms(frame(name)):
        with pytest.raises(LongWayError):
            print(form, model.stream().step(given))
    pool, handles = pool_of(model)
    for form, given in other_forms(many(name)):
        with pytest.raises(LongWayError):
            print(form, pool.step(handles, given))
    with pytest.raises(LongWayError):
        pool.step(handles.tolist(), many(name))


def test_a_model_with_very_many_outputs_takes_the_long_way(models):
    build = Builder()
    x = build.input("x", (2,))
    for n in range(17):
        build.output(f"y{n}", build.op("relu", x))
    model = models.make(build.program())
    ys = model.stream().step(np.array([-1, 2], np.float32))
    assert [*ys] == [f"y{n}" for n in range(17)]
    assert all(y.tolist() == [0, 2] for y in ys.values())


def test_an_lstm_takes_a_mapping_the_long_way():
    """Its pool takes the same short way, where its frames have no names."""
    pool = LSTM.random(5, 4, backend="native").pool(2)
    handles, x = np.array([pool.open(), pool.open()], np.uint64), np.ones((1, 5), np.float32)
    by_name = pool.step(handles[:1], {"x": x})
    assert by_name.tobytes() == pool.step(handles[1:], x).tobytes()
    with pytest.raises(ValueError, match="xs: 'x' is missing"):
        pool.step(handles[:1], {"y": x})


def wrong_calls(x, out):
    """Arguments of a step of `rich` that the short way must not take, and what is said of them."""
    long_row = np.zeros((*out["row"].shape[:-1], out["row"].shape[-1] + 1), np.float32)
    read_only = np.zeros_like(out["row"])
    read_only.flags.writeable = False
    yield {**x, "token": np.full_like(x["token"], 77)}, out, "the index 77 is not within"
    yield {**x, "more": x["token"]}, out, "'more' is unknown; expected 'audio'"
    yield {"audio": x["audio"]}, out, "'token' is missing; expected 'audio'"
    yield {**x, "audio": x["audio"][..., 1:]}, out, "has shape"
    yield {**x, "audio": np.ascontiguousarray(x["audio"][..., 1:])}, out, "has shape"
    yield x, {**out, "row": long_row}, "out 'row' has shape"
    yield x, {**out, "row": read_only}, "must be C-contiguous and writable"
    inside = out["row"].ravel()[: out["score"].size].reshape(out["score"].shape)
    yield x, {**out, "score": inside}, "shares memory"
    yield x, {key: value for key, value in out.items() if key != "row"}, "'row' is missing"


def refuse_all(step, state, x, out):
    before = state()
    for given, target, text in wrong_calls(x, out):
        with pytest.raises(ValueError, match=text):
            step(given, target)
        assert state() == before
    step(x, out)
    assert state() != before  # the control: a good one does something


def test_wrong_calls_of_a_stream_change_nothing(models):
    stream = models["rich"].stream()
    refuse_all(
        stream.step, lambda: bits(stream.state), frame("rich"), empty(models["rich"].outputs)
    )


def test_wrong_calls_of_a_pool_change_nothing(models):
    pool, handles = pool_of(models["rich"])

    def state():
        return [bits(pool.state(handle)) for handle in handles.tolist()]

    outs = empty(models["rich"].outputs, N)
    refuse_all(lambda x, out: pool.step(handles, x, out), state, many("rich"), outs)
    before = state()
    pool.close(int(handles[1]))
    with pytest.raises(StaleHandleError, match=rf"handle {handles[1]} \(number 1 of this call\)"):
        pool.step(handles, many("rich"), outs)
    for at in (0, 2):
        assert bits(pool.state(int(handles[at]))) == before[at]
    with pytest.raises(ValueError, match="is given twice in one call, as numbers 0 and 2"):
        pool.step(handles[[0, 2, 0]], many("rich"), outs)


def test_calls_keep_no_reference(models):
    """Neither those that are refused nor those that succeed."""
    model = models["rich"]
    (pool, handles), stream = pool_of(model), model.stream()
    x, xs, out, outs = (
        *(frame("rich"), many("rich")),
        *(empty(model.outputs), empty(model.outputs, N)),
    )
    kept = [*x.values(), *xs.values(), *out.values(), *outs.values(), handles, x, xs, out, outs]
    wrong = [*wrong_calls(x, out)], [*wrong_calls(xs, outs)]

    def use(times):
        for _ in range(times):
            for result in (None, out):
                stream.step(x, result)
            for result in (None, outs):
                pool.step(handles, xs, result)
            for one in wrong[0]:
                with pytest.raises(ValueError, match=one[2]):
                    stream.step(*one[:2])
            for one in wrong[1]:
                with pytest.raises(ValueError, match=one[2]):
                    pool.step(handles, *one[:2])

    use(5)
    gc.collect()
    before = [sys.getrefcount(one) for one in kept]
    grown = kept_bytes(lambda: use(60))
    assert [sys.getrefcount(one) for one in kept] == before
    assert grown < 60 * 2 * (2 + len(wrong[0]))  # bytes: less than one for each call
    kept_too = [x["audio"]]
    assert [sys.getrefcount(one) for one in kept] != before, kept_too  # the control: one shows


# ---- what a step costs ----


def convolution(models, positions):
    """Few weights, used at so many positions."""
    build = Builder()
    x = build.input("x", (32, positions + 2))
    build.output("y", build.op("conv", x, build.weights(32, 32, 3)))
    return models.make(build.program())


def dense(models, size):
    build = Builder()
    x = build.input("x", (size,))
    build.output("y", build.op("dense", x, build.weights(size, size)))
    return models.make(build.program())


def test_a_piece_counts_each_use_of_the_weights(models):
    model = convolution(models, 2000)
    multiply_adds = sum(one.multiply_adds for one in costs(model.program))
    assert model._core.piece * multiply_adds <= PIECE
    assert PIECE // (model.nbytes + 4096) * multiply_adds > 100 * PIECE  # the control: its bytes
    once = dense(models, 512)
    assert once._core.piece == max(PIECE // (once.nbytes + 4096), 1) or once.isa == "scalar"


def step_of(model):
    stream, x, y = model.stream(), empty(model.inputs), empty(model.outputs)
    x["x"][...] = 0
    return lambda: stream.step(x, y)


def test_long_steps_let_others_run(models):
    """Also those of few weights."""
    assert others_ran(step_of(dense(models, 600)), 100_000)
    assert others_ran(step_of(convolution(models, 2000)), 100_000)


def test_quick_steps_are_over_before_the_lock_could_change_hands(models):
    assert not others_ran(step_of(convolution(models, 20)), 2000)
