"""Equal means the same bits: across ISAs and Numba, and across versions (golden)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cases import (
    CORNERS,
    bits,
    frames_for,
    regimes,
    seeds,
    shapes,
    state_bits,
    state_for,
    weights_for,
)
from lstm_fast._weights import WEIGHT_DTYPES


@pytest.fixture(scope="module")
def several(exact_implementations):
    if len(exact_implementations) < 2:
        pytest.skip(f"nothing to compare {exact_implementations[0]} with")
    return exact_implementations


SPOILERS = [np.nan, -np.nan, np.inf, -np.inf, 3e38, -1e-42, -0.0]


dtypes = st.sampled_from(WEIGHT_DTYPES)


def run_bits(implementation, weights, xs, state, dtype="float32"):
    stream = implementation.from_state_dict(weights, weight_dtype=dtype).stream(state)
    return bits(stream.run(xs)), state_bits(stream)


@given(shape=shapes(), regime=regimes, seed=seeds, bias=st.booleans(), dtype=dtypes)
def test_all_give_the_same_bits(several, shape, regime, seed, bias, dtype):
    weights = weights_for(shape, regime, seed, bias)
    xs, state = frames_for(shape, regime, seed, 5), state_for(shape, regime, seed)
    first, *others = (run_bits(one, weights, xs, state, dtype) for one in several)
    assert all(other == first for other in others)


@given(shape=shapes(max_layers=2), seed=seeds, spoiler=st.sampled_from(SPOILERS), dtype=dtypes)
@example(shape=(3, 17, 2), seed=0, spoiler=-np.nan, dtype="int8")
def test_also_of_what_is_not_a_number(several, shape, seed, spoiler, dtype):
    weights = weights_for(shape, "normal", seed)
    xs, state = frames_for(shape, "normal", seed, 4), state_for(shape, "normal", seed)
    xs[seed % 4, seed % shape[0]] = spoiler
    first, *others = (run_bits(one, weights, xs, state, dtype) for one in several)
    assert all(other == first for other in others)


@pytest.mark.parametrize("shape", CORNERS, ids=str)
@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_corners(several, shape, dtype):
    weights = weights_for(shape, "normal", 5)
    xs, state = frames_for(shape, "normal", 5, 3), state_for(shape, "normal", 5)
    first, *others = (run_bits(one, weights, xs, state, dtype) for one in several)
    assert all(other == first for other in others)


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_a_thousand_steps(several, dtype):
    xs = np.random.default_rng(0).standard_normal((1000, 97)).astype(np.float32)
    results = set()
    for one in several:
        stream = one.random(97, 51, 3, seed=7, weight_dtype=dtype).stream()
        results.add(bits(stream.run(xs), *stream.state))
    assert len(results) == 1


# Each way that a layer's weights are laid out or passed over: in registers (one panel of one vector
# or of two), panels that L1 keeps, an odd number of vectors, more than most L2 caches hold.
LAYOUTS = [
    (1, 16, 1),
    (5, 32, 1),
    (64, 64, 1),
    (24, 39, 3),
    (100, 72, 2),
    (128, 128, 1),
    (80, 320, 1),
]


def in_turns(implementation, weights, xs, dtype):
    """Two streams step in turns, so that passes go in both directions for each; one is prepared."""
    lstm = implementation.from_state_dict(weights, weight_dtype=dtype)
    one, other = lstm.stream(), lstm.stream()
    ys = []
    for t, x in enumerate(xs):
        ys.append(one.step(x))
        if t % 3 == 0:
            one.prepare()
        if t % 2:
            other.step(x)
    return bits(*ys), state_bits(one)


@pytest.mark.parametrize("shape", LAYOUTS, ids=str)
@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_layouts_and_directions(several, shape, dtype):
    weights, xs = weights_for(shape, "normal", 3), frames_for(shape, "normal", 3, 7)
    alone = several[0].from_state_dict(weights, weight_dtype=dtype).stream()
    expected = bits(*alone.run(xs)), state_bits(alone)
    assert all(in_turns(one, weights, xs, dtype) == expected for one in several)


@pytest.mark.parametrize("shape", LAYOUTS, ids=str)
def test_units_in_each_other_s_place_are_noticed(several, shape):
    """Negative control: two units of the first layer exchanged, the first and the last of it."""
    weights, xs = weights_for(shape, "normal", 3), frames_for(shape, "normal", 3, 7)
    order = np.arange(shape[1])
    order[[0, -1]] = order[[-1, 0]]
    rows = np.concatenate([gate * shape[1] + order for gate in range(4)])
    exchanged = {name: w[rows] if name.endswith("l0") else w for name, w in weights.items()}
    first = several[0]
    assert in_turns(first, weights, xs, "float32") != in_turns(first, exchanged, xs, "float32")


def test_the_order_of_the_sum_shows_in_the_bits(several):
    """Negative control: the same sum in another order has other bits."""
    shape = (64, 48, 1)
    weights, xs = weights_for(shape, "normal", 9), frames_for(shape, "normal", 9, 3)
    reversed_weights = weights | {"weight_ih_l0": weights["weight_ih_l0"][:, ::-1]}
    one, state = several[0], state_for(shape, "normal", 9)
    there = run_bits(one, weights, xs, state)
    back = run_bits(one, reversed_weights, xs[:, ::-1], state)
    assert there != back


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_golden(exact_implementations, golden, dtype):
    """The bits of a version once released stay: a change of arithmetic must not slip in."""
    for one in exact_implementations:
        lstm = one.from_state_dict(golden["weights"], weight_dtype=dtype)
        stream = lstm.stream(golden["state"])
        ys = stream.run(golden["xs"])
        assert bits(ys) == bits(golden[f"ys_{dtype}"])
        assert state_bits(stream) == bits(golden[f"h_{dtype}"], golden[f"c_{dtype}"])


@pytest.fixture(scope="module")
def golden():
    from golden.make import read

    return read()
