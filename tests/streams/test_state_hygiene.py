"""What a careless rebuild would slip past: padding, NaN in prepared halves, references, biases."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import KINDS, bits, frames_for, seeds, weights_for
from kept_memory import kept_bytes
from lstm_fast import LSTM, LSTMState
from lstm_fast._weights import WEIGHT_DTYPES

UNITS = [1, 7, 19, 33]  # off every vector width, so that h has padding
dtypes = pytest.mark.parametrize("dtype", WEIGHT_DTYPES)


def made(implementation, units, dtype, num_layers=2):
    shape = (5, units, num_layers)
    weights = weights_for(shape, "normal", units)
    return implementation.from_state_dict(weights, weight_dtype=dtype)


def some_state(lstm):
    rng = np.random.default_rng(lstm.hidden_size)
    h, c = rng.uniform(-1, 1, (2, lstm.num_layers, lstm.hidden_size)).astype(np.float32)
    return LSTMState(h, c)


@dtypes
@pytest.mark.parametrize("units", UNITS)
def test_a_state_that_is_set_leaves_nothing_of_a_nan(implementation, units, dtype):
    """Not in the padding of h either, which an int8 step measures along with it."""
    lstm = made(implementation, units, dtype)
    state, x = some_state(lstm), frames_for((5,), "normal", 1, 1)[0]
    expected = bits(lstm.stream(state).step(x))
    stream = lstm.stream()
    stream.step(np.full(5, np.nan, np.float32))
    assert np.isnan(stream.state.h).all()
    stream.state = state
    assert bits(stream.step(x)) == expected
    assert np.isfinite(stream.state.h).all()


@dtypes
@pytest.mark.parametrize("units", UNITS)
def test_nor_in_a_pool(implementation, units, dtype):
    lstm = made(implementation, units, dtype)
    state, x = some_state(lstm), frames_for((5,), "normal", 1, 1)[0]
    expected = bits(lstm.stream(state).step(x))
    for count in (1, 3):
        pool = lstm.pool(count)
        handles = np.array([pool.open() for _ in range(count)], np.uint64)
        pool.step(handles, np.full((count, 5), np.nan, np.float32))
        for handle in handles.tolist():
            pool.set_state(handle, state)
        assert {bits(y) for y in pool.step(handles, np.tile(x, (count, 1)))} == {expected}


@dtypes
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("at", ["first", "last"])
def test_a_prepared_step_sees_what_is_not_finite_in_h(implementation, units, dtype, at):
    """With one NaN in h and c = 0: only the sums can carry it."""
    lstm = made(implementation, units, dtype, num_layers=1)
    h = np.zeros((1, units), np.float32)
    h[0, 0 if at == "first" else -1] = np.nan
    state, x = LSTMState(h, np.zeros_like(h)), frames_for((5,), "normal", 1, 1)[0]
    plain, ahead = lstm.stream(state), lstm.stream(state)
    ahead.prepare()
    y = plain.step(x)
    assert np.isnan(y).all()
    expected = bits(y)
    assert bits(ahead.step(x)) == expected
    pool = lstm.pool(2)
    handles = np.array([pool.open(state), pool.open(state)], np.uint64)
    pool.prepare(handles)
    assert {bits(y) for y in pool.step(handles, np.array([x, x]))} == {expected}
    assert expected != bits(lstm.stream().step(x))  # negative control: the NaN shows


beyond = st.floats(1, 2.0**99, exclude_min=True, width=32)


@settings(max_examples=20)
@given(most=beyond, seed=seeds)
def test_int8_takes_an_h_beyond_one_for_one(implementation, most, seed):
    """What the plain cell never makes, but a caller may set."""
    lstm, rng = made(implementation, 19, "int8", num_layers=1), np.random.default_rng(seed)
    h = rng.choice([-1, 1], (1, 19)) * rng.uniform(1, most, (1, 19)).astype(np.float32)
    c, x = some_state(lstm).c, frames_for((5,), "normal", 1, 1)[0]
    expected = bits(lstm.stream((np.sign(h), c)).step(x))
    assert bits(lstm.stream((h, c)).step(x)) == expected
    pool = lstm.pool(2)
    handles = np.array([pool.open((h, c)), pool.open((h, c))], np.uint64)
    assert {bits(y) for y in pool.step(handles, np.array([x, x]))} == {expected}
    assert bits(lstm.stream((np.sign(h) / 2, c)).step(x)) != expected  # negative control


def test_refused_calls_keep_no_reference(implementation):
    """An array that a refused call got is let go, however often."""
    lstm = implementation.random(5, 7)
    stream, x = lstm.stream(), np.zeros(5, np.float32)
    pool = lstm.pool(2)
    handles = np.array([pool.open(), pool.open()], np.uint64)
    wrong = np.zeros(6, np.float32)  # neither a frame nor an output of this LSTM
    calls = [
        lambda: stream.step(x, wrong),
        lambda: stream.step(x, out=wrong),
        lambda: stream.step(wrong),
        lambda: stream.step(wrong, np.zeros(7, np.float32)),
        lambda: stream.run(x[None], wrong),
        lambda: pool.step(handles, wrong[None]),
        lambda: pool.step(handles, np.zeros((2, 5), np.float32), wrong[None]),
        lambda: pool.run(handles, np.zeros((2, 1, 5), np.float32), None, wrong[None]),
    ]

    def refused(times):
        for _ in range(times):
            for call in calls:
                with pytest.raises(ValueError, match="shape"):
                    call()

    refused(5)
    gc.collect()
    before = sys.getrefcount(wrong), sys.getrefcount(x)
    kept = kept_bytes(lambda: refused(100))
    assert (sys.getrefcount(wrong), sys.getrefcount(x)) == before
    assert kept < 100 * len(calls)  # bytes: less than one for each call


def test_a_reference_that_is_kept_shows():
    """Negative control of the above."""
    kept, wrong = [], np.zeros(6, np.float32)
    before = sys.getrefcount(wrong)
    kept.append(wrong)
    assert sys.getrefcount(wrong) != before


def test_a_step_the_long_way_makes_no_new_name(implementation):
    """Python remembers attributes by the addresses of their names, and keeps thousands of those."""
    if implementation.backend != "native":
        pytest.skip("steps in Python go no long way")
    stream, names = implementation.random(5, 7).stream(), []

    class Listening(type(stream)):
        __slots__ = ()

        def __getattribute__(self, name):
            names.append(name)
            return super().__getattribute__(name)

    stream.__class__ = Listening
    for _ in range(3):
        stream.step([0] * 5)
    asked = [name for name in names if name == "_long_step"]
    assert len(asked) == 3
    assert all(name is asked[0] for name in asked)


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("gate", range(4))
@pytest.mark.parametrize("row", [0, -1], ids=["first", "last"])
def test_a_bias_that_is_not_finite_is_found_wherever_it_is(layer, gate, row):
    units = 7
    weights = weights_for((3, units, 3), "normal", 0)
    at = gate * units + row % units
    for kind in KINDS[2:]:
        for value in (np.nan, np.inf):
            wrong = {name: w.copy() for name, w in weights.items()}
            wrong[f"{kind}_l{layer}"][at] = value
            with pytest.raises(ValueError, match=rf"{kind}_l{layer} is not finite.* at \[{at}\]"):
                LSTM.from_state_dict(wrong)
    both = {name: w.copy() for name, w in weights.items()}
    for kind in KINDS[2:]:
        both[f"{kind}_l{layer}"][at] = 3e38
    with pytest.raises(ValueError, match=f"bias_hh_l{layer} overflows"):
        LSTM.from_state_dict(both)
