"""lstm(xs, state, lengths): whole padded batches, in either direction or both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import bits, state_bits
from lstm_fast import Cell, _batches
from lstm_fast._arrays import canonical
from lstm_fast._weights import WEIGHT_DTYPES, make_weights
from variant_cases import Variant, layer_for, make, variants
from variant_tolerances import (
    batch,
    excess,
    is_bounded,
    step_excess,
    stored,
    variant_int8_step,
    variant_step,
)

dtypes = st.sampled_from(WEIGHT_DTYPES)
some = settings(max_examples=15)
ALL = ["forward", "reverse", "bidirectional"]
BACKWARDS = ["reverse", "bidirectional"]
I, H, P = SIZES = (11, 19, 7)  # noqa: E741


def stack(direction, num_layers=2, sizes=SIZES, seed=3, cell=None):
    """Weights of every part there is, in that direction; the plain cell where sizes has no P."""
    inputs, units, outputs = sizes
    directions = 2 if direction == "bidirectional" else 1
    layers = []
    for n in range(num_layers * directions):
        below = inputs if n < directions else (outputs or units) * directions
        parts = {"bias_ih", "bias_hr", "h_0", "c_0"}
        layers.append(
            layer_for((below, units, outputs), "normal", [seed, n], cell or Cell(), parts)
        )
    return make_weights(layers, direction)


def lengths_for(rng, rows, steps):
    """Any lengths, none and all among them."""
    lengths = rng.integers(0, steps + 1, rows)
    lengths[rng.random(rows) < 0.3] = rng.choice([0, steps])
    return lengths


def flipped(values, lengths):
    """Each row's own frames back to front, and zeros behind them."""
    result = np.zeros_like(values)
    for to, row, length in zip(result, values, lengths, strict=True):
        to[:length] = row[:length][::-1]
    return result


def call_bits(lstm, xs, state=None, lengths=None):
    ys, end = lstm(xs, state, lengths)
    return bits(ys), bits(*end)


# ---- against streams -----------------------------------------------------------------------------


@some
@given(
    variant=variants(max_layers=2),
    dtype=dtypes,
    rows=st.integers(0, 6),
    steps=st.integers(0, 5),
    from_state=st.booleans(),
    ragged=st.booleans(),
)
def test_each_row_is_a_stream(implementation, variant, dtype, rows, steps, from_state, ragged):
    lstm = make(implementation, variant.weights, dtype)
    xs, rng = variant.frames(rows, steps), np.random.default_rng(variant.seed)
    lengths = lengths_for(rng, rows, steps) if ragged else None
    state = variant.state(rows) if from_state else None
    ys, end = lstm(xs, state, lengths)
    assert ys.shape == (rows, steps, lstm.output_size)
    assert end.h.shape == (lstm.num_layers, rows, lstm.output_size)
    assert end.c.shape == (lstm.num_layers, rows, lstm.hidden_size)
    assert {part.dtype for part in (ys, *end)} == {np.dtype(np.float32)}
    for row in range(rows):
        stream = lstm.stream((state[0][:, row], state[1][:, row]) if from_state else None)
        length = steps if lengths is None else lengths[row]
        assert bits(ys[row, :length]) == bits(stream.run(xs[row, :length]))
        assert bits(ys[row, length:]) == bits(np.zeros_like(ys[row, length:]))
        assert bits(end.h[:, row], end.c[:, row]) == state_bits(stream)


def test_rows_beyond_one_pool(implementation, monkeypatch):
    """Rows are run some at a time: the seams must not show."""
    lstm = make(implementation, stack("bidirectional"))
    rng, rows = np.random.default_rng(0), 10
    xs, lengths = rng.standard_normal((rows, 4, I)), lengths_for(rng, rows, 4)
    state = Variant(lstm.weights, "normal", 1).state(rows)
    expected = call_bits(lstm, xs, state, lengths)
    for at_once in (1, 3, 5, 9, 10, 11):
        monkeypatch.setattr(_batches, "ROWS", at_once)
        assert call_bits(lstm, xs, state, lengths) == expected


def test_more_rows_than_one_pool_has_room_for(implementation):
    """Without the patch: the last rows are as good as the first."""
    lstm, rows = implementation.random(2, 3), 1100
    xs = np.random.default_rng(0).standard_normal((rows, 1, 2)).astype(np.float32)
    ys, state = lstm(xs)
    for row in (0, 1, 1023, 1024, 1025, rows - 1):
        stream = lstm.stream()
        assert bits(stream.run(xs[row])) == bits(ys[row])
        assert bits(state.h[:, row], state.c[:, row]) == state_bits(stream)


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_a_batch_can_be_continued(implementation, dtype):
    """The state of one call starts the next: the same bits as one call; forward only."""
    lstm = make(implementation, stack("forward"), dtype)
    xs = np.random.default_rng(1).standard_normal((4, 6, I)).astype(np.float32)
    whole, end = lstm(xs)
    first, state = lstm(xs[:, :2])
    second, last = lstm(xs[:, 2:], state)
    assert bits(np.concatenate([first, second], axis=1), *last) == bits(whole, *end)
    assert bits(second) != bits(lstm(xs[:, 2:])[0])  # the control: there is something to continue


# ---- against float64 -----------------------------------------------------------------------------


@some
@given(
    variant=variants(max_layers=2, directions=ALL),
    dtype=st.sampled_from(["float32", "float16"]),
    rows=st.integers(1, 3),
    steps=st.integers(1, 4),
    from_state=st.booleans(),
)
def test_batches_are_within_the_bound(implementation, variant, dtype, rows, steps, from_state):
    lstm = make(implementation, variant.weights, dtype, keep_weights=True)
    xs, rng = variant.frames(rows, steps), np.random.default_rng(variant.seed)
    lengths = lengths_for(rng, rows, steps)
    start = variant.state(rows) if from_state else trained(lstm, rows)
    exact = batch(lstm.weights, xs, start, lengths, weight_dtype=dtype)
    ys, end = lstm(xs, start if from_state else None, lengths)
    for ours, near in zip((ys, *end), exact, strict=True):
        assert excess(ours, *near) <= 1


def trained(lstm, rows):
    return tuple(np.repeat(part[:, None], rows, axis=1) for part in lstm.initial_state)


@some
@given(variant=variants(directions=ALL), dtype=dtypes)
def test_one_step_of_each_layer_is_within_the_bound(implementation, variant, dtype):
    """Of batches of one frame the state tells every layer's h, so that int8 can be judged, too."""
    lstm, weights, rows = make(implementation, variant.weights, dtype), variant.weights, 2
    xs, (h, c) = variant.frames(rows, 1), variant.state(rows)
    ys, end = lstm(xs, (h, c))
    directions = weights.num_directions
    for row in range(rows):
        below, x_is_bounded = xs[row, 0], False
        for first in range(0, len(weights.layers), directions):
            both = range(first, first + directions)
            for n in both:
                layer = stored(weights.layers[n], dtype)
                if dtype == "int8":
                    step = variant_int8_step(
                        below, h[n, row], c[n, row], layer, x_is_bounded=x_is_bounded
                    )
                else:
                    step = variant_step(below, h[n, row], c[n, row], layer)
                assert step_excess(step, end.h[n, row], end.c[n, row]) <= 1
            below = np.concatenate([end.h[n, row] for n in both])
            x_is_bounded = all(is_bounded(weights.layers[n]) for n in both)
        assert bits(ys[row, 0]) == bits(below)


def directions_swapped(weights):
    pairs = [weights.layers[n : n + 2][::-1] for n in range(0, len(weights.layers), 2)]
    return make_weights([layer for pair in pairs for layer in pair], "bidirectional")


def test_the_bound_notices_a_mistake(implementation):
    """Negative control: directions swapped, one way only, lengths ignored, other states."""
    weights = stack("bidirectional")
    lstm, swapped = make(implementation, weights), make(implementation, directions_swapped(weights))
    rng = np.random.default_rng(2)
    xs, lengths = rng.standard_normal((3, 5, I)).astype(np.float32), np.array([5, 2, 3])
    state = Variant(weights, "normal", 1).state(3)
    zeros = tuple(np.zeros_like(part) for part in state)
    exact = batch(weights, xs, state, lengths)

    def worst(result):
        ys, end = result
        return max(excess(ours, *near) for ours, near in zip((ys, *end), exact, strict=True))

    assert worst(lstm(xs, state, lengths)) <= 1
    mistakes = {
        "directions swapped": swapped(xs, state, lengths),
        "lengths ignored": lstm(xs, state),
        "lengths of other rows": lstm(xs, state, lengths[::-1]),
        "from zeros": lstm(xs, zeros, lengths),
        "state in the order of directions": lstm(
            xs, tuple(part[[0, 2, 1, 3]] for part in state), lengths
        ),
    }
    for name, result in mistakes.items():
        assert worst(result) > 100, name


# ---- directions ----------------------------------------------------------------------------------


@some
@given(
    variant=variants(max_layers=3, directions=["reverse"]), dtype=dtypes, steps=st.integers(0, 5)
)
def test_reverse_is_forward_back_to_front(implementation, variant, dtype, steps):
    """From each row's own last frame: the same bits, of layers above the first, too."""
    forward = make_weights([*variant.weights.layers], "forward")
    there, back = (make(implementation, w, dtype) for w in (forward, variant.weights))
    xs, rng = variant.frames(4, steps), np.random.default_rng(variant.seed)
    lengths, state = lengths_for(rng, 4, steps), variant.state(4)
    ys, end = there(flipped(xs, lengths), state, lengths)
    assert call_bits(back, xs, state, lengths) == (bits(flipped(ys, lengths)), bits(*end))


@some
@given(variant=variants(max_layers=1, directions=["bidirectional"]), dtype=dtypes)
def test_bidirectional_is_both_side_by_side(implementation, variant, dtype):
    lstm = make(implementation, variant.weights, dtype)
    xs, lengths, state = variant.frames(3, 4), [4, 0, 3], variant.state(3)
    ys, end = lstm(xs, state, lengths)
    width = lstm.output_size
    assert ys.shape == (3, 4, 2 * width)
    for n, direction in enumerate(["forward", "reverse"]):
        one = make(implementation, make_weights([variant.weights.layers[n]], direction), dtype)
        half, (h, c) = one(xs, (state[0][n : n + 1], state[1][n : n + 1]), lengths)
        assert bits(ys[:, :, n * width : (n + 1) * width]) == bits(half)
        assert bits(end.h[n], end.c[n]) == bits(h[0], c[0])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_bidirectional_layers_feed_the_next_ones(implementation, dtype):
    """Two layers are two calls of one each, the first's both halves into the second."""
    weights = stack("bidirectional")
    xs, lengths = np.random.default_rng(5).standard_normal((3, 5, I)), [5, 1, 4]
    state = Variant(weights, "normal", 1).state(3)
    frames = xs
    for n in (0, 2):
        layer = make(
            implementation, make_weights([*weights.layers[n : n + 2]], weights.direction), dtype
        )
        frames, _ = layer(frames, tuple(part[n : n + 2] for part in state), lengths)
    ys, _ = make(implementation, weights, dtype)(xs, state, lengths)
    assert bits(ys) == bits(frames)


def test_reverse_is_not_forward(implementation):
    """Negative control: direction matters, and so does where a padded row ends."""
    layers = [*stack("forward").layers]
    forward, reverse = (
        make(implementation, make_weights(layers, d)) for d in ("forward", "reverse")
    )
    xs = np.random.default_rng(4).standard_normal((2, 4, I)).astype(np.float32)
    assert call_bits(forward, xs) != call_bits(reverse, xs)
    shorter = reverse(xs, None, [2, 2])[0]
    assert bits(shorter[:, :2]) == bits(reverse(xs[:, :2])[0])
    assert bits(shorter[:, :2]) != bits(reverse(xs)[0][:, :2])


@pytest.mark.parametrize("direction", BACKWARDS)
def test_what_cannot_stream_says_why(implementation, direction):
    lstm = make(implementation, stack(direction))
    what = {"reverse": "runs backwards", "bidirectional": "is bidirectional"}[direction]
    for call in (lstm.stream, lambda: lstm.pool(4), lambda: lstm.stream(lstm.initial_state)):
        with pytest.raises(ValueError, match=rf"{what}.* ys, state = lstm\(xs"):
            call()
    assert make(implementation, stack("forward")).stream().step([0] * I).shape == (P,)


# ---- rows have nothing to do with each other -----------------------------------------------------


@some
@given(
    variant=variants(max_layers=2, directions=ALL),
    dtype=dtypes,
    spoiler=st.sampled_from([np.nan, np.inf]),
)
def test_rows_and_padding_do_not_reach_a_row(implementation, variant, dtype, spoiler):
    """Whatever the other rows hold, whatever stands in the padding, and wherever the row is."""
    lstm = make(implementation, variant.weights, dtype)
    xs, lengths, state = variant.frames(4, 5), np.array([5, 3, 0, 2]), variant.state(4)
    ys, end = lstm(xs, state, lengths)
    for row, length in enumerate(lengths):
        xs[row, length:] = spoiler
    assert call_bits(lstm, xs, state, lengths) == (bits(ys), bits(*end))
    order = np.random.default_rng(variant.seed).permutation(4)
    moved = tuple(part[:, order] for part in state)
    expected = bits(ys[order]), bits(*(part[:, order] for part in end))
    assert call_bits(lstm, xs[order], moved, lengths[order]) == expected
    xs[0] = spoiler
    state[0][:, 3] = spoiler
    spoiled, after = lstm(xs, state, lengths)
    assert bits(spoiled[1:3], *(part[:, 1:3] for part in after)) == bits(
        ys[1:3], *(part[:, 1:3] for part in end)
    )


def test_a_frame_of_its_own_reaches_a_row(implementation):
    """Negative control: what is not padding does count."""
    lstm = make(implementation, stack("bidirectional"))
    xs = np.random.default_rng(4).standard_normal((2, 4, I)).astype(np.float32)
    ys, _ = lstm(xs, None, [3, 4])
    xs[0, 2] = np.nan
    spoiled, _ = lstm(xs, None, [3, 4])
    assert np.isnan(spoiled[0, :3]).any(axis=1).all()  # backwards, to the first frame
    assert bits(spoiled[0, 3], spoiled[1]) == bits(ys[0, 3], ys[1])


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("direction", ALL)
def test_a_row_without_frames_keeps_its_state(implementation, direction, dtype):
    lstm = make(implementation, stack(direction), dtype)
    state = Variant(stack(direction), "normal", 1).state(2)
    state[0][0, 0, :3] = [np.nan, 2.0**-127, -0.0]
    xs = np.ones((2, 3, I), np.float32)
    ys, end = lstm(xs, state, [0, 3])
    assert bits(ys[0]) == bits(np.zeros_like(ys[0]))
    assert bits(*(part[:, 0] for part in end)) == bits(*(canonical(part[:, 0]) for part in state))
    _, end = lstm(xs, None, [3, 0])
    assert bits(*(part[:, 1] for part in end)) == bits(*lstm.initial_state)
