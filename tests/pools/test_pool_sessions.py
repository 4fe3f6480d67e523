"""What a pool holds: sessions come and go, handles never do twice, and states are copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import bits, seeds, state_bits, state_for, weights_for
from lstm_fast import PoolFullError, StaleHandleError
from lstm_fast._weights import WEIGHT_DTYPES
from pool_cases import Beside, all_bits, plain_frames

SHAPE = (23, 37, 2)
I, H, L = SHAPE  # noqa: E741


@pytest.fixture(scope="module", params=WEIGHT_DTYPES)
def lstm(implementation, request):
    weights = weights_for(SHAPE, "normal", 1)
    return implementation.from_state_dict(weights, weight_dtype=request.param)


def test_a_reopened_session_is_exactly_fresh(lstm):
    """Whatever its memory has seen."""
    pool, xs = lstm.pool(1), plain_frames(1, 5, I)
    expected, handles = bits(lstm.stream().run(xs)), set()
    for past in (np.nan, np.inf, 3e38, 1.0):
        handle = pool.open()
        handles.add(handle)
        assert bits(*pool.state(handle)) == bits(np.zeros((2, L, H)))
        assert bits(pool.run([handle], xs[None])) == expected
        pool.step([handle], np.full((1, I), past, np.float32))
        pool.prepare([handle])
        assert np.any(pool.state(handle).c)  # the control: there is something to forget
        pool.close(handle)
    assert len(handles) == 4


def test_no_handle_comes_twice(implementation):
    """Not after closing, not in another pool, and never one that a stranger could guess by + 1."""
    lstm = implementation.random(1, 1)
    pools = [lstm.pool(3), lstm.pool(5)]
    seen = set()
    for n in range(4000):
        handle = pools[n % 2].open()
        assert type(handle) is int
        assert 0 < handle < 2**63
        seen.add(handle)
        assert handle not in pools[1 - n % 2]
        assert handle + 1 not in pools[n % 2]
        if n % 7:
            pools[n % 2].close(handle)
            assert handle not in pools[n % 2]
        elif len(pools[n % 2]) == pools[n % 2].capacity:
            for old in pools[n % 2].handles():
                pools[n % 2].close(old)
    assert len(seen) == 4000


def test_a_pool_is_full_until_it_has_grown(lstm):
    both = Beside(lstm, 3)
    handles = both.open_many(3)
    both.step(handles, plain_frames(1, 3, I))
    with pytest.raises(PoolFullError, match=r"all 3 sessions of this pool are open: .*grow\(n\)"):
        both.pool.open()
    both.check()
    before = both.pool.nbytes
    both.pool.grow(0)
    assert both.pool.capacity == 3
    both.pool.prepare(handles[:2])
    both.pool.grow(2)
    assert both.pool.capacity == 5
    assert both.pool.nbytes > before
    both.check()  # handles are valid and states where they were
    handles = np.concatenate([handles, both.open_many(2, seed=9)])
    with pytest.raises(PoolFullError, match="all 5 sessions"):
        both.pool.open()
    both.step(handles[::-1], plain_frames(2, 5, I))
    both.check()


def test_without_grow_the_pool_stays_full(lstm):
    """Negative control of the above; and closing makes room for one."""
    pool = lstm.pool(2)
    first, _ = pool.open(), pool.open()
    with pytest.raises(PoolFullError):
        pool.open()
    pool.close(first)
    pool.open()
    with pytest.raises(PoolFullError):
        pool.open()


def test_a_session_costs_its_state_and_little_more(implementation):
    lstm = implementation.random(8, 48, 2)
    small, large = (lstm.pool(n, prepared=0, threads=1).nbytes for n in (100, 1100))
    state = 2 * 2 * 48 * 4
    assert state <= (large - small) / 1000 <= state + 64
    assert lstm.pool(100, prepared=0, threads=3).nbytes >= small


def test_calls_without_sessions_or_steps(lstm):
    both = Beside(lstm, 2)
    handles = both.open_many(2)
    before = all_bits(both.pool)
    for none in ([], (), np.array([], np.uint64), iter([])):
        assert both.pool.step(none, np.empty((0, I), np.float32)).shape == (0, H)
    assert both.pool.run([], np.empty((0, 3, I)), []).shape == (0, 3, H)
    assert both.pool.run(handles, np.empty((2, 0, I))).shape == (2, 0, H)
    assert both.pool.run(handles, np.empty((2, 0, I)), [0, 0]).shape == (2, 0, H)
    assert both.pool.prepare([]) == 0
    assert all_bits(both.pool) == before
    assert lstm.pool(1).handles().shape == (0,)


def small_handles(pool, count):
    """Handles that int64 can hold, too."""
    chosen = []
    while len(chosen) < count:
        handle = pool.open()
        if handle < 2**63:
            chosen.append(handle)
        else:
            pool.close(handle)
    return chosen


FORMS = {
    "list": list,
    "tuple": tuple,
    "generator": lambda handles: (handle for handle in handles),
    "dict keys": lambda handles: dict.fromkeys(handles).keys(),
    "NumPy scalars": lambda handles: [np.uint64(handle) for handle in handles],
    "uint64": lambda handles: np.array(handles, np.uint64),
    "int64": lambda handles: np.array(handles, np.int64),
    "big-endian": lambda handles: np.array(handles, ">u8"),
    "read-only": lambda handles: np.frombuffer(np.array(handles, np.uint64).tobytes(), np.uint64),
    "strided": lambda handles: np.repeat(np.array(handles, np.uint64), 2)[::2],
    "reversed": lambda handles: np.array(handles[::-1], np.uint64)[::-1],
    "subclass": lambda handles: np.array(handles, np.uint64).view(
        type("Sub", (np.ndarray,), {"__slots__": ()})
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_handles_come_in_many_forms(implementation, form):
    lstm = implementation.random(*SHAPE)
    pool, xs = lstm.pool(5), plain_frames(0, 3, I)
    handles, expected = small_handles(pool, 3), bits(*(lstm.stream().step(x) for x in xs))
    out = np.empty((3, H), np.float32)
    assert bits(pool.step(FORMS[form](handles), xs)) == expected
    for handle in handles:
        pool.reset(handle)
    assert pool.step(FORMS[form](handles), xs, out=out) is out
    assert bits(out) == expected
    for handle in handles:
        pool.reset(handle)
    assert pool.prepare(FORMS[form](handles)) == 3
    assert bits(pool.run(FORMS[form](handles), xs[:, None].tolist(), [1, 1, 1])) == expected


@pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "uint64", "bool", ">f4"])
def test_frames_are_converted(implementation, dtype):
    lstm = implementation.random(*SHAPE)
    xs, pool = np.array([[n % 2 for n in range(I)], [1] * I], dtype), lstm.pool(4)
    for convert in (np.asarray, np.asfortranarray, np.ndarray.tolist):
        handles = [pool.open(), pool.open()]
        ys = pool.step(handles, convert(xs))
        assert bits(*ys) == bits(*(lstm.stream().step(x) for x in xs))
        for handle in handles:
            pool.close(handle)


@pytest.mark.parametrize("out_given", [False, True])
def test_output_belongs_to_the_caller(lstm, out_given):
    both, out = Beside(lstm, 2), np.empty((2, H), np.float32) if out_given else None
    handles = both.open_many(2)
    first = both.step(handles, plain_frames(0, 2, I), out=out)
    assert (first is out) == out_given
    first[:] = 7  # scribbling on a result must not reach a session
    both.check()
    second = both.step(handles, plain_frames(1, 2, I))
    assert not np.shares_memory(first, second)


def test_states_are_copies(lstm):
    both = Beside(lstm, 2)
    handle = both.open_many(2)[1]
    h, c = state = both.pool.state(handle)
    assert state.h is h
    h[:], c[:] = 7, 7
    both.check()
    both.pool.set_state(handle, state)
    h[:] = c[:] = 0
    assert bits(*both.pool.state(handle)) == bits(np.full((2, L, H), 7))


@settings(max_examples=20)
@given(seed=seeds, special=st.sampled_from([0.5, -0.0, np.nan, -np.nan, np.inf, 1e-42, 2.0**-126]))
def test_a_state_is_made_canonical_as_by_a_stream(lstm, seed, special):
    h, c = state_for(SHAPE, "normal", seed)
    c[seed % L, seed % H] = special
    h[seed % L, 0] = special
    pool, stream = lstm.pool(3), lstm.stream((h, c))
    opened, set_to, reset_to = pool.open((h, c)), pool.open(), pool.open()
    pool.set_state(set_to, (h, c))
    pool.reset(reset_to, (h.tolist(), c.astype(np.float64)))
    for handle in (opened, set_to, reset_to):
        assert bits(*pool.state(handle)) == state_bits(stream)
    saved = pool.state(opened)
    pool.set_state(set_to, saved)
    assert bits(*pool.state(set_to)) == bits(*saved)


def test_what_a_pool_says_of_itself(lstm):
    pool = lstm.pool(7)
    handle = pool.open()
    assert pool.lstm is lstm
    assert (len(pool), pool.capacity) == (1, 7)
    assert repr(pool) == f"<StreamPool of {lstm!r}: 1 of 7 open>"
    assert pool.handles().dtype == np.uint64
    assert pool.handles().tolist() == [handle]
    assert handle in pool
    assert np.uint64(handle) in pool
    pool.close(np.uint64(handle))
    assert handle not in pool
    with pytest.raises(StaleHandleError):
        pool.state(handle)


@pytest.mark.parametrize("value", [0, -1, 2**64, 2**70, 1.5, "1", None, (), [], {}, np.zeros(2)])
def test_what_is_no_handle_is_not_in_a_pool(implementation, value):
    assert value not in implementation.random(1, 1).pool(1)


def test_the_pool_outlives_the_names_of_its_lstm(implementation):
    """It borrows packed weights, so it has to keep them."""
    pool = implementation.random(3, 5).pool(2)
    handle, xs = pool.open(), plain_frames(0, 4, 3)
    expected = bits(implementation.random(3, 5).stream().run(xs))
    assert bits(pool.run([handle], xs[None])) == expected
