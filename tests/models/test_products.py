"""Products and recurrent layers against their formulas, in plain loops."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from operation_cases import CLOSE, arrays, compute, seeds, shapes, small

from lstm_fast import reference_operations
from lstm_fast._program_attributes import complete
from lstm_fast.cell import Cell
from lstm_fast.operations import cell_attributes, cell_of

ROUNDED = {"rtol": 2**-24, "atol": 2**-126}  # what a recurrent operation puts out is float32


# ---- products ----


@given(seed=seeds, before=shapes, k=small, m=small, bias=st.booleans())
def test_dense(seed, before, k, m, bias):
    x, weight, b = arrays(seed, (*before, k), (m, k), (m,))
    expected = np.empty((*before, m))
    for index in itertools.product(*map(range, (*before, m))):
        row = index[-1]
        terms = [weight[row, i] * x[index[:-1]][i] for i in range(k)]
        expected[index] = math.fsum([*terms, b[row] if bias else 0.0])
    found = compute("dense", x, weight, b) if bias else compute("dense", x, weight)
    np.testing.assert_allclose(found, expected, **CLOSE)


def conv_by_hand(x, weight, bias, stride, dilation, groups, pad_begin, pad_end):
    rows, per_group, taps = weight.shape
    steps = x.shape[1]
    last = steps + pad_begin + pad_end - dilation * (taps - 1) - 1
    result = np.zeros((rows, last // stride + 1))
    for row, t in itertools.product(range(rows), range(result.shape[1])):
        first = (row // (rows // groups)) * per_group
        terms = [bias[row]]
        for tap, channel in itertools.product(range(taps), range(per_group)):
            at = t * stride + tap * dilation - pad_begin
            if 0 <= at < steps:
                terms.append(weight[row, channel, tap] * x[first + channel, at])
        result[row, t] = math.fsum(terms)
    return result


@given(
    seed=seeds,
    groups=st.integers(1, 3),
    per_group=small,
    rows=st.integers(1, 2),
    taps=small,
    steps=st.integers(1, 9),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    pads=st.tuples(st.integers(0, 4), st.integers(0, 4)),
)
def test_conv(seed, groups, per_group, rows, taps, steps, stride, dilation, pads):
    x, weight, bias = arrays(
        seed, (groups * per_group, steps), (groups * rows, per_group, taps), (groups * rows,)
    )
    options = {"stride": stride, "dilation": dilation, "groups": groups}
    options |= {"pad_begin": pads[0], "pad_end": pads[1]}
    if dilation * (taps - 1) + 1 > steps + sum(pads):
        with pytest.raises(ValueError, match="a window spans"):
            compute("conv", x, weight, bias, **options)
        return
    expected = conv_by_hand(x, weight, bias, **options)
    np.testing.assert_allclose(compute("conv", x, weight, bias, **options), expected, **CLOSE)


def conv2d_by_hand(x, weight, bias, strides, dilations, groups, pad_begin, pad_end):
    rows, per_group, *kernel = weight.shape
    sizes = [
        (size + begin + end - dilation * (taps - 1) - 1) // stride + 1
        for size, begin, end, dilation, taps, stride in zip(
            x.shape[1:], pad_begin, pad_end, dilations, kernel, strides, strict=True
        )
    ]
    result = np.zeros((rows, *sizes))
    for row, *position in itertools.product(range(rows), *map(range, sizes)):
        first = (row // (rows // groups)) * per_group
        terms = [bias[row]]
        for *tap, channel in itertools.product(*map(range, kernel), range(per_group)):
            i, j = (
                position[n] * strides[n] + tap[n] * dilations[n] - pad_begin[n] for n in range(2)
            )
            if 0 <= i < x.shape[1] and 0 <= j < x.shape[2]:
                terms.append(weight[row, channel, tap[0], tap[1]] * x[first + channel, i, j])
        result[row, position[0], position[1]] = math.fsum(terms)
    return result


def pairs(least, most):
    return st.tuples(st.integers(least, most), st.integers(least, most))


@given(
    seed=seeds,
    groups=st.integers(1, 3),
    per_group=st.integers(1, 3),
    kernel=pairs(1, 3),
    sizes=pairs(1, 6),
    strides=pairs(1, 3),
    dilations=pairs(1, 2),
    begin=pairs(0, 3),
    end=pairs(0, 3),
)
def test_conv2d(seed, groups, per_group, kernel, sizes, strides, dilations, begin, end):
    shapes = (groups * per_group, *sizes), (groups * 2, per_group, *kernel), (groups * 2,)
    x, weight, bias = arrays(seed, *shapes)
    options = {"strides": strides, "dilations": dilations, "groups": groups}
    options |= {"pad_begin": begin, "pad_end": end}
    if any(dilations[n] * (kernel[n] - 1) >= sizes[n] + begin[n] + end[n] for n in range(2)):
        with pytest.raises(ValueError, match="a window spans"):
            compute("conv2d", x, weight, bias, **options)
        return
    expected = conv2d_by_hand(x, weight, bias, **options)
    np.testing.assert_allclose(compute("conv2d", x, weight, bias, **options), expected, **CLOSE)


def test_taps_in_padding_are_skipped():
    """Zero times what is not finite would not be zero."""
    weight = np.array([[[math.inf, 1.0]]])
    found = reference_operations.compute(
        "conv", complete("conv", {"pad_begin": 1}), [np.array([[0.0, 3.0]]), weight]
    )[0]
    assert found[0, 0] == 0
    assert math.isnan(found[0, 1])  # the control: there the tap meets a zero of the frame


# ---- recurrent ----


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def lstm_by_hand(x, h, c, w, u, b):
    size = len(c)
    a = [math.fsum([b[row], *(w[row] * x), *(u[row] * h)]) for row in range(4 * size)]
    new = [
        sigmoid(a[size + j]) * c[j] + sigmoid(a[j]) * math.tanh(a[2 * size + j])
        for j in range(size)
    ]
    return np.array([sigmoid(a[3 * size + j]) * math.tanh(new[j]) for j in range(size)]), new


@given(seed=seeds, width=small, hidden=small)
def test_lstm(seed, width, hidden):
    rows = 4 * hidden
    shapes = [(width,), (hidden,), (hidden,), (rows, width), (rows, hidden), (rows,)]
    inputs = arrays(seed, *shapes)
    y, h, c = compute("lstm", *inputs)
    expected_h, expected_c = lstm_by_hand(*inputs)
    np.testing.assert_allclose(h, expected_h, **ROUNDED)
    np.testing.assert_allclose(c, expected_c, **ROUNDED)
    assert (y == h).all()
    assert (h == h.astype(np.float32)).all()


def test_another_gate_is_told_from_a_sigmoid():
    """The control."""
    inputs = arrays(0, (3,), (4,), (4,), (16, 3), (16, 4), (16,))
    _, h, _ = compute("lstm", *inputs, gate="hard_sigmoid", gate_alpha=0.2, gate_beta=0.5)
    assert not np.allclose(h, lstm_by_hand(*inputs)[0], **ROUNDED)


def gru_by_hand(x, h, w, u, b, v, linear_before_reset):
    size = len(h)

    def left(row):
        return math.fsum([b[row], *(w[row] * x)])

    def right(row, h):
        return math.fsum(u[row] * h)

    r = np.array([sigmoid(left(j) + right(j, h) + v[j]) for j in range(size)])
    result = []
    for j in range(size):
        z = sigmoid(left(size + j) + right(size + j, h) + v[size + j])
        row = 2 * size + j
        if linear_before_reset:
            n = math.tanh(left(row) + r[j] * (right(row, h) + v[row]))
        else:
            n = math.tanh(left(row) + right(row, r * h) + v[row])
        result.append((1 - z) * n + z * h[j])
    return np.array(result)


@given(seed=seeds, width=small, hidden=small)
def test_gru(seed, width, hidden):
    rows = 3 * hidden
    inputs = arrays(seed, (width,), (hidden,), (rows, width), (rows, hidden), (rows,), (rows,))
    for linear in (True, False):
        y, h = compute("gru", *inputs, linear_before_reset=linear)
        np.testing.assert_allclose(h, gru_by_hand(*inputs, linear), rtol=2**-23, atol=1e-15)
        assert (y == h).all()


def test_the_two_ways_of_a_gru_are_told_apart():
    """The control. Not for each seed: where z is near 1 nothing of n is left."""
    inputs = arrays(0, (3,), (4,), (12, 3), (12, 4), (12,), (12,))
    _, h = compute("gru", *inputs, linear_before_reset=True)
    other = gru_by_hand(*inputs, linear_before_reset=False)
    assert not np.allclose(h, other, rtol=2**-23, atol=1e-15)


CELLS = [
    Cell(),
    Cell(gate="hard_sigmoid", input="relu", output="softsign", clip=1.5, coupled="input"),
    Cell(cell_clip=0.5, proj_clip=0.25, coupled="forget", layer_norm_eps=1e-3),
]


@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_a_cell_goes_through_attributes(cell):
    attributes = complete("lstm", cell_attributes(cell))
    assert cell_of(attributes) == cell
    assert complete("lstm", attributes) == attributes
