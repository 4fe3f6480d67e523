"""A session in a pool gives the bits of a stream of its own, whoever else is in the call."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import bits, regimes, seeds, shapes, state_for, weights_for
from lstm_fast._weights import WEIGHT_DTYPES
from pool_cases import COUNTS, Beside, mixed_frames, plain_frames

SHAPE = (23, 37, 2)
I, H, L = SHAPE  # noqa: E741


@pytest.fixture(scope="module", params=WEIGHT_DTYPES)
def lstm(implementation, request):
    weights = weights_for(SHAPE, "normal", 1)
    return implementation.from_state_dict(weights, weight_dtype=request.param)


dtypes = st.sampled_from(WEIGHT_DTYPES)
some = settings(max_examples=12)  # for each weight_dtype of each implementation


def subset(rng, handles, least=0):
    """Some of them in any order, as the array that a service would keep."""
    return rng.permutation(handles)[: rng.integers(least, len(handles) + 1)]


@given(
    shape=shapes(max_layers=3), regime=regimes, seed=seeds, dtype=dtypes, count=st.integers(1, 12)
)
def test_any_subset_in_any_order_equals_streams(implementation, shape, regime, seed, dtype, count):
    weights = weights_for(shape, regime, seed)
    both = Beside(implementation.from_state_dict(weights, weight_dtype=dtype), count + 2)
    handles, rng = both.open_many(count, seed), np.random.default_rng(seed)
    for _ in range(3):
        chosen = subset(rng, handles)
        both.step(chosen, mixed_frames(rng, len(chosen), shape[0]))
    both.check()


@pytest.mark.parametrize("count", COUNTS)
def test_around_the_limits_of_tiles_and_batches(lstm, count):
    """Whatever the streams are cut into: all at once, in another order, with more at the end."""
    both, rng = Beside(lstm, 171, prepared=70), np.random.default_rng(count)
    handles = both.open_many(count)
    both.step(rng.permutation(handles), mixed_frames(rng, count, I))
    both.pool.prepare(rng.permutation(handles)[: count // 2])
    both.step(rng.permutation(handles), mixed_frames(rng, count, I))
    xs, lengths = mixed_frames(rng, count, I, 3), rng.integers(0, 4, count)
    both.run(rng.permutation(handles), xs, lengths)
    both.check()


@given(shape=shapes(max_layers=3), seed=seeds, dtype=dtypes, count=st.sampled_from(COUNTS[:10]))
def test_all_implementations_give_the_same_bits(exact_implementations, shape, seed, dtype, count):
    results = set()
    for one in exact_implementations:
        made = one.from_state_dict(weights_for(shape, "normal", seed), weight_dtype=dtype)
        pool, rng = made.pool(count), np.random.default_rng(seed)
        state = state_for(shape, "normal", seed)
        handles = np.array([pool.open(state) for _ in range(count)], np.uint64)
        results.add(
            bits(pool.step(handles, mixed_frames(rng, count, shape[0])))
            + bits(pool.run(handles[::-1], mixed_frames(rng, count, shape[0], 2)))
            + b"".join(bits(*pool.state(handle)) for handle in handles)
        )
    assert len(results) == 1


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("count", [2, 13])
def test_weights_that_no_l2_keeps(exact_implementations, dtype, count):
    """There the last streams of a batch ask for the weights that come next."""
    shape = (700, 600 if dtype == "int8" else 300, 1)
    xs = plain_frames(1, count, shape[0])
    results = set()
    for one in exact_implementations:
        made = one.from_state_dict(weights_for(shape, "normal", 1), weight_dtype=dtype)
        both = Beside(made, count)
        handles = both.open_many(count)
        both.step(handles, xs)
        results.add(bits(both.step(handles[::-1], xs)))
        both.check()
    assert len(results) == 1


MATES = {
    "nan": np.nan,
    "inf": np.inf,
    "-inf": -np.inf,
    "huge": 3e38,
    "subnormal": 1e-42,
    "silent": 0.0,
}


@pytest.mark.parametrize("mate", MATES)
@pytest.mark.parametrize("count", [1, 60])
def test_what_the_others_carry_does_not_matter(lstm, mate, count):
    pool, xs = lstm.pool(count + 1), plain_frames(3, 6, I)
    mine, *others = (pool.open() for _ in range(count + 1))
    expected = lstm.stream().run(xs)
    for at, (x, want) in enumerate(zip(xs, expected, strict=True)):
        place = at * count // 5
        handles = [*others[:place], mine, *others[place:]]
        rows = np.full((count + 1, I), MATES[mate], np.float32)
        rows[place] = x
        ys = pool.step(handles, rows)
        assert bits(ys[place]) == bits(want)
    not_finite = mate in ("nan", "inf", "-inf")  # the control: they are spoiled, mine is not
    assert np.isnan(pool.state(others[0]).h).all() == not_finite
    assert np.isfinite(pool.state(mine).c).all()
    for handle in others:
        pool.reset(handle)
    assert bits(pool.step(others, xs[[0] * count])) == bits(*[expected[0]] * count)


def test_a_shared_session_is_noticed(lstm):
    """Negative control: two callers on one session do change each other's results."""
    pool, a, b = lstm.pool(2), plain_frames(1, 5, I), plain_frames(2, 5, I)
    shared, alone = pool.open(), pool.open()
    for x, y in zip(a, b, strict=True):
        mixed = pool.step([shared, alone], [x, x])
        pool.step([shared], [y])
    assert bits(mixed[0]) != bits(mixed[1])
    assert bits(mixed[1]) == bits(lstm.stream().run(a)[-1])


def test_mistakes_of_one_row_or_one_ulp_are_noticed(lstm):
    """Negative control: rows swapped, one left out, or a state off by one in its last place."""
    rng = np.random.default_rng(0)
    xs, (h, c) = plain_frames(4, 8, I), state_for(SHAPE, "normal", 0)
    off = h, np.nextafter(c, np.float32(9))
    mistakes = {
        "none": (xs, None, state_for(SHAPE, "normal", 0)),
        "rows swapped": (xs[[1, 0, *range(2, 8)]], None, state_for(SHAPE, "normal", 0)),
        "one left out": (xs, [1, 1, 1, 0, 1, 1, 1, 1], state_for(SHAPE, "normal", 0)),
        "one ulp": (xs, None, off),
    }
    for name, (rows, lengths, state) in mistakes.items():
        both = Beside(lstm, 8)
        handles = np.array([both.open(state_for(SHAPE, "normal", 0)) for _ in range(8)], np.uint64)
        both.pool.set_state(handles[3], state)
        order = rng.permutation(8)
        both.pool.run(handles[order], rows[order, None], lengths and np.array(lengths)[order])
        for handle, x in zip(handles, xs, strict=True):
            both.streams[handle].step(x)
        if name == "none":
            both.check()
        else:
            with pytest.raises(AssertionError):
                both.check()


@some
@given(data=st.data(), seed=seeds, count=st.integers(1, 60), steps=st.integers(0, 5))
def test_ragged_runs_equal_streams(lstm, data, seed, count, steps):
    rng = np.random.default_rng(seed)
    both = Beside(lstm, count + 3)
    handles = both.open_many(count, seed)
    for _ in range(2):
        chosen = subset(rng, handles)
        if data.draw(st.booleans(), "prepared"):
            both.pool.prepare(subset(rng, handles))
        lengths = rng.integers(0, steps + 1, len(chosen))
        lengths[rng.random(len(chosen)) < 0.3] = rng.choice([0, steps])
        out = np.full((len(chosen), steps, H), 7, np.float32)
        given_out = data.draw(st.booleans(), "out")
        xs = mixed_frames(rng, len(chosen), I, steps)
        whole = data.draw(st.booleans(), "whole")
        ys = both.run(chosen, xs, None if whole else lengths, out=out if given_out else None)
        assert (ys is out) == given_out
    both.check()


@some
@given(seed=seeds, count=st.integers(1, 150), room=st.sampled_from([0, 1, 3, 64, 127, 128, 150]))
def test_prepared_or_not_the_same_bits(lstm, seed, count, room):
    rng = np.random.default_rng(seed)
    both, prepared = Beside(lstm, count, prepared=room), set()
    handles = both.open_many(count, seed)
    for _ in range(4):
        for _ in range(rng.integers(1, 3)):
            chosen = subset(rng, handles).tolist()
            prepared.update([h for h in chosen if h not in prepared][: room - len(prepared)])
            assert both.pool.prepare(chosen) == len(prepared.intersection(chosen))
        chosen = subset(rng, handles, least=1)
        both.step(chosen, mixed_frames(rng, len(chosen), I))
        prepared.difference_update(chosen.tolist())
        changed = int(rng.choice(handles))
        state = state_for(SHAPE, "normal", seed)
        both.pool.reset(changed, state)
        both.streams[changed].reset(state)
        prepared.discard(changed)
    both.check()


def test_what_was_prepared_does_not_outlive_its_state(lstm):
    """A prepared half of the old state must not reach a session that was reset, set or reopened."""
    xs, state = plain_frames(5, 4, I), state_for(SHAPE, "normal", 4)
    fresh, other = bits(lstm.stream().run(xs)), bits(lstm.stream(state).run(xs))

    def reopened(pool, handle):
        pool.close(handle)
        return pool.open()

    changes = {
        "reset": (lambda p, h: p.reset(h), fresh),
        "reset to": (lambda p, h: p.reset(h, state), other),
        "set": (lambda p, h: p.set_state(h, state), other),
        "reopened": (reopened, fresh),
    }
    for change, expected in changes.values():
        pool = lstm.pool(1)
        handle = pool.open()
        pool.run([handle], plain_frames(6, 3, I)[None])
        assert pool.prepare([handle]) == 1
        handle = change(pool, handle) or handle
        assert pool.prepare([]) == 0
        assert bits(pool.run([handle], xs[None])) == expected


def test_a_run_of_no_steps_leaves_what_was_prepared(lstm):
    """Such a session is still prepared, so it still takes up its room."""
    both = Beside(lstm, 2, prepared=1)
    a, b = both.open_many(2)
    assert both.pool.prepare([a]) == 1
    both.run([a, b], plain_frames(7, 4, I).reshape(2, 2, I), [0, 2])
    assert both.pool.prepare([b]) == 0
    assert both.pool.prepare([b, a]) == 1
    both.step([b, a], plain_frames(8, 2, I))
    assert both.pool.prepare([b]) == 1
    both.check()
