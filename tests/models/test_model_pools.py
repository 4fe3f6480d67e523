"""Pools of whole models: each session is a stream of its own, and bad calls change nothing."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from program_cases import BACKENDS, PROGRAMS, Models, cut, frames, named

from lstm_fast import ModelPool, PoolFullError, SnapshotError, StaleHandleError

N, STEPS = 5, 6
names = pytest.mark.parametrize("name", PROGRAMS)


@pytest.fixture(scope="module", params=BACKENDS)
def models(request):
    return Models(request.param)


def bits(values):
    return [(key, value.shape, value.dtype, value.tobytes()) for key, value in values.items()]


def many(name, count, steps, seed=0):
    """The frames of so many sessions, (count, steps, ...) of each input."""
    each = [frames(name, steps, seed + n) for n in range(count)]
    return {key: np.array([one[key] for one in each]) for key in each[0]}


def all_bits(pool):
    return {int(handle): bits(pool.state(int(handle))) for handle in pool.handles()}


class Beside:
    """A pool, and a stream for each of its sessions that gets the same."""

    def __init__(self, model, count=N, **options):
        self.model, self.pool = model, model.pool(count + 1, **options)
        self.streams = {self.pool.open(): model.stream() for _ in range(count)}
        self.handles = np.array([*self.streams], np.uint64)

    def check(self, handles, xs, lengths=None):
        """Run these sessions, and compare all they return and keep with what the streams do."""
        ys = named(self.model, self.pool.run(handles, xs, lengths))
        steps = len(next(iter(xs.values()))[0])
        own = [steps] * len(handles) if lengths is None else lengths
        for n, (handle, length) in enumerate(zip(map(int, handles), own, strict=True)):
            part = {key: value[n, :length] for key, value in xs.items()}
            expected = named(self.model, self.streams[handle].run(part))
            assert bits(cut(cut(ys, n), 0, length)) == bits(expected)
            assert not any(value[n, length:].any() for value in ys.values())
            assert bits(self.pool.state(handle)) == bits(self.streams[handle].state)
        return ys


@names
@settings(max_examples=12)
@given(
    order=st.lists(st.integers(0, N - 1), min_size=1, max_size=N, unique=True),
    seed=st.integers(0, 99),
    ragged=st.booleans(),
)
def test_each_session_is_a_stream(models, name, order, seed, ragged):
    beside = Beside(models[name])
    beside.check(beside.handles, many(name, N, STEPS, seed))
    chosen = beside.handles[order]
    lengths = [(seed + n) % (STEPS + 1) for n in range(len(order))] if ragged else None
    beside.check(chosen, many(name, len(order), STEPS, seed + 50), lengths)
    beside.check(beside.handles, many(name, N, 0, seed))
    assert len({repr(value) for value in all_bits(beside.pool).values()}) == N  # the control


@names
def test_steps_equal_a_run(models, name):
    model, xs = models[name], many(name, N, STEPS)
    one, other = Beside(model), Beside(model)
    whole = one.check(one.handles, xs)
    for t in range(STEPS):
        if t % 2:
            assert 0 <= other.pool.prepare(other.handles) <= N
        step = named(model, other.pool.step([*map(int, other.handles)], at_time(xs, t)))
        for key, value in step.items():
            assert value.dtype == model.outputs[key].kind
            assert (value == whole[key][:, t]).all()
    for a, b in zip(one.handles, other.handles, strict=True):
        assert bits(one.pool.state(int(a))) == bits(other.pool.state(int(b)))


def at_time(xs, t):
    return {key: value[:, t] for key, value in xs.items()}


@names
def test_out_is_written_in_place(models, name):
    model, xs = models[name], many(name, N, STEPS)
    beside = Beside(model)
    expected = beside.check(beside.handles, xs)
    beside = Beside(model)
    out = {key: np.empty_like(value) for key, value in expected.items()}
    given_out = out if len(out) > 1 else next(iter(out.values()))
    assert beside.pool.run(beside.handles, xs, out=given_out) is given_out
    assert bits(out) == bits(expected)


@names
def test_states_are_read_written_and_kept_as_bytes(models, name):
    model, xs = models[name], many(name, N, STEPS)
    beside = Beside(model)
    beside.check(beside.handles, xs)
    pool, handle, other = beside.pool, int(beside.handles[0]), int(beside.handles[1])
    state, data = pool.state(handle), pool.snapshot(handle)
    assert data == beside.streams[handle].snapshot()
    pool.set_state(other, state)
    again = pool.restore(data)
    stream = model.stream()
    stream.restore(data)
    assert bits(pool.state(other)) == bits(pool.state(again)) == bits(stream.state) == bits(state)
    pool.reset(handle)
    assert bits(pool.state(handle)) == bits(model.stream().state) != bits(state)
    pool.reset(handle, state)
    assert bits(pool.state(handle)) == bits(state)
    pool.close(again)
    again = pool.open(state)
    assert bits(pool.state(again)) == bits(state)
    with pytest.raises(SnapshotError):
        pool.restore(data[:-1])
    assert len(pool) == N + 1


def test_handles_rooms_and_names(models):
    model = models["chain"]
    pool = model.pool(2, prepared=1, threads=1)
    assert isinstance(pool, ModelPool)
    assert pool.model is model
    a, b = pool.open(), pool.open()
    assert (len(pool), pool.capacity) == (2, 2)
    assert a in pool
    assert sorted(pool.handles().tolist()) == sorted([a, b])
    assert "2 of 2 open" in repr(pool)
    assert pool.nbytes > 0
    with pytest.raises(PoolFullError, match="all 2 sessions of this pool are open"):
        pool.open()
    pool.grow(1)
    c = pool.open()
    pool.close(b)
    assert b not in pool
    assert c in pool
    with pytest.raises(StaleHandleError, match=f"handle {b} names no open session"):
        pool.state(b)
    with pytest.raises(TypeError, match="pool belongs to its process"):
        pickle.dumps(pool)
    with pytest.raises(TypeError, match="pool belongs to its process"):
        copy.copy(pool)
    with pytest.raises(TypeError, match=r"call model.pool\(capacity\)"):
        ModelPool(model)
    with pytest.raises(ValueError, match="capacity must be 1 to"):
        model.pool(0)


def test_what_is_not_finite_spoils_one_session(models):
    beside = Beside(models["rich"])
    xs = many("rich", N, STEPS)
    xs["audio"][2, 1] = np.nan
    beside.check(beside.handles, xs)
    assert beside.pool.spoiled().tolist() == [beside.handles[2]]
    assert beside.pool.spoiled(beside.handles[:2]).tolist() == []
    beside.pool.reset(int(beside.handles[2]))
    assert beside.pool.spoiled().size == 0


def bad_calls():
    good = many("rich", N, STEPS)

    def call(handles=lambda p: p.handles, xs=good, lengths=None, **options):
        return lambda p: p.pool.run(handles(p), xs, lengths, **options)

    late = {**good, "token": np.array(good["token"])}
    late["token"][N - 1, STEPS - 1] = 77
    few = {**good, "token": good["token"][:, 1:]}
    yield call(xs=late), ValueError, "the index 77 is not within the 5 rows"
    yield call(xs=few), ValueError, r"input 'token' has shape \(5, 5\), this model takes \(5, 6\)"
    yield call(xs={"audio": good["audio"]}), ValueError, "'token' is missing; expected 'audio'"
    yield call(xs=good["audio"]), TypeError, "xs must be a mapping"
    yield call(xs=many("rich", N - 1, STEPS)), ValueError, r"has shape \(4, 6, 2, 8\)"
    yield call(lambda p: [*p.handles[:-1], 5]), StaleHandleError, r"handle 5 \(number 4 of this"
    yield call(lambda p: p.handles[[0, 1, 2, 1, 3]]), ValueError, "twice in one call.*1 and 3"
    yield call(lambda p: "handles"), TypeError, "handles must be a sequence of ints"
    yield call(lengths=[7] * N), ValueError, "length 7"
    yield call(lengths=[1.5] * N), TypeError, "expected integers"
    yield call(out=np.zeros(3)), TypeError, "out must be a mapping"


@pytest.mark.parametrize(("call", "error", "text"), [*bad_calls()])
def test_a_bad_call_changes_nothing(models, call, error, text):
    beside = Beside(models["rich"])
    beside.check(beside.handles, many("rich", N, 3, 9))
    before = all_bits(beside.pool)
    with pytest.raises(error, match=text):
        call(beside)
    assert all_bits(beside.pool) == before
    beside.check(beside.handles, many("rich", N, STEPS))  # the control: a good one does
    assert all_bits(beside.pool) != before


def test_a_bad_state_opens_nothing(models):
    pool = models["chain"].pool(2)
    handle = pool.open()
    before = all_bits(pool)
    for call in (pool.open, lambda state: pool.set_state(handle, state)):
        with pytest.raises(ValueError, match=r"'a\.c' is missing"):
            call({"a.h": 1})
        with pytest.raises(TypeError, match="state must be a mapping"):
            call([1, 2])
    assert all_bits(pool) == before
    assert len(pool) == 1
