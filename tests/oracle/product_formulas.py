"""The products of whole models, as csrc/lstm_fast.h says them, and what goes along with them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from oracle.activation_formulas import sigmoid, tanh
from oracle.exact import add, canonical, fma, mul, sub, to_float16

Row = list[float]
AXES = ("strides", "dilations", "pad_begin", "pad_end")


def stored(weight: np.ndarray, weight_dtype: str) -> Any:
    """Return weights as they are stored, in lists."""
    if weight_dtype == "float32":
        return weight.tolist()
    flat = [to_float16(float(one)) for one in weight.ravel()]
    return np.array(flat, np.float64).reshape(weight.shape).tolist()


def chain(weights: Sequence[float], x: Sequence[float], bias: float) -> float:
    s = 0.0
    for w, value in zip(weights, x, strict=True):
        s = fma(w, value, s)
    return canonical(add(s, add(bias, 0.0)))


def dense(weight: list[Row], bias: Row | None, x: Row) -> Row:
    start = bias or [0.0] * len(weight)
    return [chain(row, x, b) for row, b in zip(weight, start, strict=True)]


def conv2d(weight: Any, bias: Row | None, x: Any, attributes: Mapping[str, Any]) -> list[list[Row]]:
    """x [C][H][W], weight [M][C / groups][h][w] -> [M][H'][W']."""
    groups = attributes["groups"]
    kernel = len(weight[0][0]), len(weight[0][0][0])
    sizes = len(x[0]), len(x[0][0])
    rows, channels = len(weight) // groups, len(x) // groups
    along = [_meets(sizes[n], kernel[n], *(attributes[name][n] for name in AXES)) for n in (0, 1)]
    result = []
    for m, filters in enumerate(weight):
        first = m // rows * channels
        b = bias[m] if bias else 0.0
        plane = []
        for down in along[0]:
            line = []
            for right in along[1]:
                weights, values = [], []
                for (i, at), (j, to) in itertools.product(down, right):
                    for channel in range(channels):
                        weights.append(filters[channel][i][j])
                        values.append(x[first + channel][at][to])
                line.append(chain(weights, values, b))
            plane.append(line)
        result.append(plane)
    return result


def _meets(
    size: int, taps: int, stride: int, dilation: int, begin: int, end: int
) -> list[list[tuple[int, int]]]:
    """Return for each position the taps that meet no padding, and what they meet."""
    span = dilation * (taps - 1) + 1
    positions = (size + begin + end - span) // stride + 1
    met = [
        [(tap, t * stride + tap * dilation - begin) for tap in range(taps)]
        for t in range(positions)
    ]
    return [[(tap, at) for tap, at in one if 0 <= at < size] for one in met]


def conv(weight: Any, bias: Row | None, x: Any, attributes: Mapping[str, Any]) -> list[Row]:
    """The same with a single line."""
    names = ("stride", "dilation", "pad_begin", "pad_end")
    usual = (1, 1, 0, 0)
    both = {
        many: (one, attributes[name]) for many, name, one in zip(AXES, names, usual, strict=True)
    }
    planes = [[[line] for line in filters] for filters in weight]
    y = conv2d(planes, bias, [[line] for line in x], both | {"groups": attributes["groups"]})
    return [plane[0] for plane in y]


def gru(weights: Mapping[str, Any], x: Row, h: Row, is_linear: bool) -> Row:
    """weights: weight_ih, weight_hh as stored, bias_ih, bias_hh or None; gates r, z, n."""
    n = len(h)
    a = dense(weights["weight_ih"], weights["bias_ih"], x)
    u = dense(weights["weight_hh"], weights["bias_hh"], h)
    r = [sigmoid(add(*one)) for one in zip(a[:n], u[:n], strict=True)]
    z = [sigmoid(add(*one)) for one in zip(a[n : 2 * n], u[n : 2 * n], strict=True)]
    if is_linear:
        u_n = [mul(*one) for one in zip(r, u[2 * n :], strict=True)]
    else:
        reset = [canonical(mul(*one)) for one in zip(r, h, strict=True)]
        u_n = dense(weights["weight_hh"], weights["bias_hh"], reset)[2 * n :]
    made = [tanh(add(*one)) for one in zip(a[2 * n :], u_n, strict=True)]
    return [
        canonical(add(mul(sub(1.0, zj), nj), mul(zj, hj)))
        for zj, nj, hj in zip(z, made, h, strict=True)
    ]
