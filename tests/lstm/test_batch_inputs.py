"""What lstm(xs, state, lengths) takes and refuses, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_batches import (
    ALL,
    H,
    I,
    P,
    call_bits,
    lengths_for,
    stack,
    trained,
)

from cases import bits
from lstm_fast import LSTM, Cell
from lstm_fast._weights import WEIGHT_DTYPES, make_weights
from variant_cases import Variant, everything, make, with_cell
from variant_tolerances import (
    batch,
    excess,
)

# ---- what is passed in ---------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ALL)
def test_empty_batches(implementation, direction):
    lstm = make(implementation, stack(direction))
    layers, width = len(lstm.weights.layers), P * lstm.num_directions
    for rows, steps in ((0, 3), (0, 0), (2, 0)):
        for lengths in (None, [0] * rows, np.zeros(rows, np.int64)):
            ys, end = lstm(np.empty((rows, steps, I), np.float32), None, lengths)
            assert ys.shape == (rows, steps, width)
            assert end.h.shape == (layers, rows, P)
            assert end.c.shape == (layers, rows, H)
            assert bits(*end) == bits(*trained(lstm, rows))


@pytest.mark.parametrize("direction", ALL)
def test_anything_array_like_is_taken_and_left_alone(implementation, direction):
    lstm = make(implementation, stack(direction))
    rng = np.random.default_rng(6)
    xs = rng.integers(-3, 3, (3, 4, I)).astype(np.float32)
    state = tuple(np.round(part) for part in Variant(lstm.weights, "normal", 1).state(3))
    lengths, before = np.array([4, 2, 0]), bits(xs, *state)
    ys, end = lstm(xs, state, lengths)
    expected = bits(ys), bits(*end)
    wide = np.zeros((3, 8, 2 * I), np.float64)
    wide[:, ::2, ::2] = xs
    for other in (xs.tolist(), xs.astype(np.float64), xs.astype(np.int8), wide[:, ::2, ::2]):
        for own in ([4, 2, 0], (4, 2, 0), lengths.astype(np.uint8), lengths.astype(np.int32)):
            pair = [part.tolist() for part in state]
            assert call_bits(lstm, other, pair, own) == expected
    assert call_bits(lstm, xs, state, None) == call_bits(lstm, xs, state, [4, 4, 4])
    ys[:], end.h[:], end.c[:] = 7, 7, 7  # the results are the caller's
    assert call_bits(lstm, xs, state, lengths) == expected
    assert bits(xs, *state) == before
    frozen = xs.copy()
    frozen.flags.writeable = False
    assert call_bits(lstm, frozen, state, lengths) == expected


ZEROS = np.zeros((2, 3, I), np.float32)
GOOD = (np.zeros((4, 2, P)), np.zeros((4, 2, H)))
BAD = {
    "xs of one sequence": (
        ZEROS[0],
        None,
        None,
        ValueError,
        r"xs has shape \(3, 11\), .*\(N, T, 11\)",
    ),
    "xs of one frame": (
        ZEROS[0, 0],
        None,
        None,
        ValueError,
        r"xs has shape \(11,\), .*\(N, T, 11\)",
    ),
    "xs too narrow": (
        ZEROS[..., 1:],
        None,
        None,
        ValueError,
        r"shape \(2, 3, 10\), .*\(N, T, 11\)",
    ),
    "xs with an axis more": (
        ZEROS[None],
        None,
        None,
        ValueError,
        r"\(1, 2, 3, 11\), .*\(N, T, 11\)",
    ),
    "xs complex": (ZEROS + 1j, None, None, TypeError, "xs has dtype complex"),
    "xs ragged": ([[[0.0] * I], []], None, None, ValueError, "xs is not a rectangular array"),
    "xs of words": ("frames", None, None, TypeError, "xs has dtype"),
    "xs nothing": (None, None, None, TypeError, "xs holds NoneType"),
    "lengths too few": (
        ZEROS,
        None,
        [3],
        ValueError,
        r"lengths have shape \(1,\), expected \(2,\)",
    ),
    "lengths one number": (ZEROS, None, 3, ValueError, r"lengths have shape \(\), expected \(2,\)"),
    "lengths in a column": (
        ZEROS,
        None,
        [[3], [3]],
        ValueError,
        r"shape \(2, 1\), expected \(2,\)",
    ),
    "a length too long": (ZEROS, None, [3, 4], ValueError, r"length 4 \(number 1\).* 0 to 3"),
    "a length below 0": (ZEROS, None, [-1, 3], ValueError, r"length -1 \(number 0\).* 0 to 3"),
    "lengths not whole": (ZEROS, None, [1.0, 2.0], TypeError, "lengths have dtype float64"),
    "lengths as a mask": (ZEROS, None, [True, False], TypeError, "lengths have dtype bool"),
    "lengths ragged": (ZEROS, None, [[1], []], ValueError, "lengths must be 2 integers"),
    "lengths for state": (ZEROS, [3, 3], None, ValueError, r"state h has shape \(\)"),
    "state no pair": (ZEROS, 5, None, TypeError, r"state must be a pair \(h, c\)"),
    "state of three": (ZEROS, (*GOOD, 1), None, TypeError, r"state must be a pair \(h, c\)"),
    "state swapped": (ZEROS, GOOD[::-1], None, ValueError, r"state h .*\(4, 2, 19\).*\(4, 2, 7\)"),
    "state of another batch": (
        ZEROS,
        (GOOD[0][:, :1], GOOD[1]),
        None,
        ValueError,
        r"state h has shape \(4, 1, 7\), this LSTM has \(4, 2, 7\) \(num_layers \* num_dir",
    ),
    "state of a stream": (
        ZEROS,
        (GOOD[0][:, 0], GOOD[1][:, 0]),
        None,
        ValueError,
        r"state h .*\(4, 7\)",
    ),
    "state of one direction": (
        ZEROS,
        (GOOD[0], GOOD[1][:2]),
        None,
        ValueError,
        r"state c .*\(2, 2, 19\)",
    ),
    "state complex": (ZEROS, (GOOD[0] + 1j, GOOD[1]), None, TypeError, "state h has dtype complex"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_inputs_are_named(implementation, name):
    lstm = make(implementation, stack("bidirectional"))
    xs, state, lengths, kind, message = BAD[name]
    with pytest.raises(kind, match=message) as caught:
        lstm(xs, state, lengths)
    assert "\n" not in str(caught.value)
    lstm(ZEROS, GOOD, [3, 0])  # the control: these are right


def test_a_batch_does_not_disturb_streams(implementation):
    """It uses no stream's memory, and the LSTM has none of its own to be left behind."""
    lstm = make(implementation, stack("forward"))
    xs = np.random.default_rng(7).standard_normal((3, 5, I)).astype(np.float32)
    stream, alone = lstm.stream(), lstm.stream()
    pool = lstm.pool(2)
    handle = pool.open()
    results = [call_bits(lstm, xs)]
    for x in xs[0]:
        stream.prepare()
        results.append(call_bits(lstm, xs))
        y, own = stream.step(x), alone.step(x)
        assert bits(y) == bits(own) == bits(pool.step([handle], x[None])[0])
    assert len(set(results)) == 1


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("direction", ALL)
def test_all_implementations_give_the_same_bits(exact_implementations, direction, dtype):
    weights = everything((11, 19, 7), 2) if direction != "bidirectional" else stack(direction)
    weights = make_weights([*weights.layers], direction)
    xs = np.random.default_rng(8).standard_normal((50, 5, I)).astype(np.float32)
    lengths = lengths_for(np.random.default_rng(9), 50, 5)
    results = {
        call_bits(make(one, weights, dtype), xs, None, lengths) for one in exact_implementations
    }
    assert len(results) == 1


def test_softplus_both_ways(exact_implementations):
    """What chooses a backend for the whole chooses one for each direction, too."""
    pytest.importorskip("numba")  # without it LSTM.from_weights warns
    weights = with_cell(stack("bidirectional"), gate="softplus")
    lstm = LSTM.from_weights(weights)
    assert lstm.backend != "native"
    xs = np.random.default_rng(8).standard_normal((2, 3, I)).astype(np.float32)
    ys, end = lstm(xs)
    exact = batch(weights, xs, trained(lstm, 2), [3, 3])
    for ours, near in zip((ys, *end), exact, strict=True):
        assert excess(ours, *near) <= 1
    tanh = replace(weights.layers[0], cell=Cell(gate="tanh"))
    other = make_weights([tanh, *weights.layers[1:]], "bidirectional")
    assert call_bits(LSTM.from_weights(other), xs) != call_bits(lstm, xs)
