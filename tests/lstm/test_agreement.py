"""Every implementation computes the equations: within a derived bound of float64, at every step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import (
    CORNERS,
    REGIMES,
    frames_for,
    layers_of,
    regimes,
    seeds,
    shapes,
    state_for,
    weights_for,
)
from lstm_fast import reference
from lstm_fast._weights import WEIGHT_DTYPES
from tolerances import int8_step, step


def stored(layer, weight_dtype):
    """The weights as that dtype keeps them, with the biases as they are."""
    if weight_dtype == "float32":
        return layer
    if weight_dtype == "float16":
        return (*(w.astype(np.float16).astype(np.float32) for w in layer[:2]), *layer[2:])
    return (*map(reference.quantise_rows, layer[:2]), *layer[2:])


def largest(*values):
    """The largest of numbers and arrays, infinite where one is NaN: a NaN must not look small."""
    together = np.concatenate([np.ravel(value) for value in values])
    return np.inf if np.isnan(together).any() else together.max()


def excess_per_step(lstm, weights, xs, state):
    """Largest error over its bound, each step and layer judged from the state it really had.

    Above 1 means that the implementation is wrong.
    """
    worst = 0.0
    stream = lstm.stream(state)
    layers = [stored(layer, lstm.weight_dtype) for layer in layers_of(weights)]
    for x in xs:
        before = stream.state
        stream.step(x)
        after = stream.state
        below = x
        for n, layer in enumerate(layers):
            kind = int8_step if lstm.weight_dtype == "int8" else step
            exact = kind(below, before.h[n], before.c[n], layer, x_is_hidden=n > 0)
            worst = largest(
                worst,
                np.abs(after.h[n] - exact.h) / exact.h_error,
                np.abs(after.c[n] - exact.c) / exact.c_error,
            )
            below = after.h[n]
    return worst


def excess_along(lstm, weights, xs, state):
    """The same along the whole sequence: float64 runs on its own state, the bound adds up."""
    worst = 0.0
    stream = lstm.stream(state)
    layers = layers_of(weights)
    zeros = [np.zeros(lstm.hidden_size)] * len(layers)
    h, c = (list(np.asarray(part, np.float64)) for part in state)
    h_error, c_error = list(zeros), list(zeros)
    for x in xs:
        stream.step(x)
        after = stream.state
        below, below_error = x, 0.0
        for n, layer in enumerate(layers):
            exact = step(below, h[n], c[n], layer, below_error, h_error[n], c_error[n])
            h[n], c[n], h_error[n], c_error[n] = exact
            below, below_error = exact.h, exact.h_error
            worst = largest(
                worst,
                np.abs(after.h[n] - exact.h) / exact.h_error,
                np.abs(after.c[n] - exact.c) / exact.c_error,
            )
    return worst


dtypes = st.sampled_from(WEIGHT_DTYPES)


@given(shape=shapes(), regime=regimes, seed=seeds, bias=st.booleans(), dtype=dtypes)
def test_each_step_is_within_the_bound(implementation, shape, regime, seed, bias, dtype):
    weights = weights_for(shape, regime, seed, bias)
    lstm = implementation.from_state_dict(weights, weight_dtype=dtype)
    xs, state = frames_for(shape, regime, seed, 4), state_for(shape, regime, seed)
    assert excess_per_step(lstm, weights, xs, state) <= 1


@pytest.mark.parametrize("shape", CORNERS, ids=str)
@pytest.mark.parametrize("regime", sorted(REGIMES))
@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_corners_are_within_the_bound(implementation, shape, regime, dtype):
    weights = weights_for(shape, regime, seed=11)
    lstm = implementation.from_state_dict(weights, weight_dtype=dtype)
    xs, state = frames_for(shape, regime, 11, 3), state_for(shape, regime, 11)
    assert excess_per_step(lstm, weights, xs, state) <= 1


@given(shape=shapes(max_layers=3), seed=seeds)
def test_whole_sequences_are_within_the_bound(implementation, shape, seed):
    weights = weights_for(shape, "normal", seed)
    lstm = implementation.from_state_dict(weights)
    xs, state = frames_for(shape, "normal", seed, 12), state_for(shape, "normal", seed)
    assert excess_along(lstm, weights, xs, state) <= 1


def permuted_gates(weights):
    return {
        name: np.concatenate(np.split(w, 4)[1:] + np.split(w, 4)[:1]) for name, w in weights.items()
    }


def without_bias(weights):
    return {name: w for name, w in weights.items() if "bias" not in name}


def one_bias_twice(weights):
    return {name.replace("bias_hh", "bias_ih"): w for name, w in weights.items()} | {
        name: w for name, w in weights.items() if "bias_hh" in name
    }


def one_weight_off(weights):
    """One weight of the cell gate off by 1 %, one among thousands."""
    changed = {name: w.copy() for name, w in weights.items()}
    changed["weight_hh_l0"][2 * 40 + 5, 3] += 0.01 / np.sqrt(40)
    return changed


class Spoiled:
    """An LSTM that returns NaN."""

    def __init__(self, lstm):
        self.lstm, self.hidden_size = lstm, lstm.hidden_size

    def stream(self, state):
        h, c = state
        return self.lstm.stream((np.full_like(h, np.nan), c))


MISTAKES = [permuted_gates, without_bias, one_bias_twice, one_weight_off]


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_bound_notices_a_mistake(implementation, mistake, dtype):
    """Negative control: it is tight enough to see what it is there for."""
    shape = (24, 40, 2)
    weights = weights_for(shape, "normal", seed=3)
    xs, state = frames_for(shape, "normal", 3, 4), state_for(shape, "normal", 3)
    right = implementation.from_state_dict(weights, weight_dtype=dtype)
    wrong = implementation.from_state_dict(mistake(weights), weight_dtype=dtype)
    assert excess_per_step(right, weights, xs, state) <= 1
    assert excess_per_step(wrong, weights, xs, state) > 3
    if dtype == "float32":
        assert excess_along(wrong, weights, xs, state) > 3


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_the_bound_notices_weights_of_another_dtype(implementation, dtype):
    """Negative control: what is stored is really what the dtype says, and not float32."""
    shape = (24, 40, 1)
    weights = weights_for(shape, "normal", seed=3)
    xs, state = frames_for(shape, "normal", 3, 4), state_for(shape, "normal", 3)
    assert excess_per_step(implementation.from_state_dict(weights), weights, xs, state) <= 1
    rounded = implementation.from_state_dict(weights, weight_dtype=dtype)
    assert excess_along(rounded, weights, xs, state) > 3


def test_the_bound_notices_nan(implementation):
    """Negative control: comparisons with NaN are false, whichever way round."""
    shape = (24, 40, 2)
    weights = weights_for(shape, "normal", seed=3)
    xs, state = frames_for(shape, "normal", 3, 2), state_for(shape, "normal", 3)
    spoiled = Spoiled(implementation.from_state_dict(weights))
    assert excess_along(spoiled, weights, xs, state) == np.inf


@given(shape=shapes(max_layers=3), seed=seeds, bias=st.booleans())
def test_the_reference_stack_is_the_cell_layer_by_layer(shape, seed, bias):
    """`reference.stack` and the tests' own float64 step are two writings of one thing."""
    weights = weights_for(shape, "normal", seed, bias)
    xs = frames_for(shape, "normal", seed, 5)
    ys, (h, c) = reference.stack(xs, weights)
    expected_h = [np.zeros(shape[1]) for _ in range(shape[2])]
    expected_c = list(expected_h)
    for x, y in zip(xs, ys, strict=True):
        below = x
        for n, layer in enumerate(layers_of(weights)):
            expected_h[n], expected_c[n], *_ = step(below, expected_h[n], expected_c[n], layer)
            below = expected_h[n]
        np.testing.assert_allclose(y, below, rtol=0, atol=1e-13)
    np.testing.assert_allclose(h, expected_h, rtol=0, atol=1e-13)
    np.testing.assert_allclose(c, expected_c, rtol=1e-12, atol=1e-13)
