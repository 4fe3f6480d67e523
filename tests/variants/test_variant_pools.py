"""Pools of any variant: each session to the bits of a stream of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_variant_streams import WHOLE, I, dtypes, fewer, some

from cases import bits
from lstm_fast import LSTM
from lstm_fast._weights import WEIGHT_DTYPES
from pool_cases import Beside, mixed_frames
from variant_cases import make, variants


@pytest.fixture(scope="module", params=WEIGHT_DTYPES)
def lstm(implementation, request):
    """One with every part and option at once."""
    return make(implementation, WHOLE.weights, request.param)


class VariantBeside(Beside):
    """A pool, and for each session a stream of its own; states as the variant gives them."""

    def __init__(self, lstm, variant, capacity, **options):
        super().__init__(lstm, capacity, **options)
        self.variant = variant
        self.shape = (lstm.input_size, lstm.output_size, lstm.num_layers)

    def open_many(self, count, seed=0):
        states = [replace(self.variant, seed=seed + n).state() for n in range(count)]
        handles = [self.open(state if n % 2 else None) for n, state in enumerate(states)]
        return np.array(handles, np.uint64)


@some
@given(variant=variants(max_layers=2), dtype=dtypes, count=st.integers(1, 12))
def test_pools_equal_streams(implementation, variant, dtype, count):
    """Steps, ragged runs, prepared or not, resets, any subset in any order."""
    made = make(implementation, variant.weights, dtype)
    both = VariantBeside(made, variant, count + 1, prepared=3)
    handles, rng = both.open_many(count), np.random.default_rng(variant.seed)
    for _ in range(2):
        chosen = rng.permutation(handles)[: rng.integers(0, count + 1)]
        both.pool.prepare(rng.permutation(handles)[: count // 2])
        both.step(chosen, mixed_frames(rng, len(chosen), made.input_size))
        one = int(rng.choice(handles))
        both.pool.reset(one)
        both.streams[one].reset()
        chosen = rng.permutation(handles)[: rng.integers(1, count + 1)]
        lengths = rng.integers(0, 4, len(chosen))
        both.run(chosen, mixed_frames(rng, len(chosen), made.input_size, 3), lengths)
        one = int(rng.choice(handles))
        both.pool.set_state(one, variant.state())
        both.streams[one].state = variant.state()
    both.check()


@pytest.mark.parametrize("count", [7, 97])
def test_pools_around_the_limits_of_tiles_and_batches(lstm, count):
    both, rng = VariantBeside(lstm, WHOLE, 131, prepared=50), np.random.default_rng(count)
    handles = both.open_many(count)
    both.step(rng.permutation(handles), mixed_frames(rng, count, I))
    both.pool.prepare(rng.permutation(handles)[: count // 2])
    both.step(rng.permutation(handles), mixed_frames(rng, count, I))
    both.run(rng.permutation(handles), mixed_frames(rng, count, I, 2), rng.integers(0, 3, count))
    both.check()


@fewer
@given(variant=variants(max_layers=2), dtype=dtypes, count=st.sampled_from([1, 3, 8, 12, 50]))
def test_pools_have_the_same_bits_everywhere(exact_implementations, variant, dtype, count):
    results = set()
    for one in exact_implementations:
        pool, rng = make(one, variant.weights, dtype).pool(count), np.random.default_rng(0)
        handles = np.array([pool.open(variant.state()) for _ in range(count)], np.uint64)
        size = variant.weights.input_size
        results.add(
            bits(pool.step(handles, mixed_frames(rng, count, size)))
            + bits(pool.run(handles[::-1], mixed_frames(rng, count, size, 2)))
            + b"".join(bits(*pool.state(handle)) for handle in handles)
        )
    assert len(results) == 1


def test_a_reopened_session_starts_from_the_trained_state(lstm):
    pool, xs = lstm.pool(1), WHOLE.frames(4)
    expected = bits(lstm.stream().run(xs))
    for _ in range(3):
        handle = pool.open()
        assert bits(*pool.state(handle)) == bits(*lstm.initial_state)
        assert bits(pool.run([handle], xs[None])) == expected
        pool.prepare([handle])
        pool.close(handle)


def test_a_mistaken_pool_is_noticed():
    """Negative control of the above: a state off by one in its last place, in h or in c."""
    lstm = LSTM.from_weights(WHOLE.weights, backend="reference")
    for part in range(2):
        both = VariantBeside(lstm, WHOLE, 2)
        handle, _ = both.open_many(2)
        both.check()
        state = both.pool.state(handle)
        state[part][0, 0] = np.nextafter(state[part][0, 0], np.float32(9))
        both.pool.set_state(handle, state)
        with pytest.raises(AssertionError):
            both.check()
