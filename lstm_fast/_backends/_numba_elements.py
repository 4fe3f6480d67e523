"""The kernels of whole models that go element by element, or along axes.

Compiled when the first program needs them. The order of arithmetic is that of csrc/lstm_fast.h,
"Operations of whole models"; operations are known by their numbers in `operations.OPERATIONS`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import carray, njit, types

from ..operations import OPERATIONS
from . import _numba_cache as cache
from ._numba_exponentials import F, compiled, erf, exponential, logarithm, power, softplus
from ._numba_intrinsics import address_of, bits_of, f32, float_of, fma
from ._numba_kernels import (
    HALF,
    ONE,
    TINY,
    ZERO,
    canonical,
    ffi,
    float_p,
    sigmoid,
    tanh,
)
from ._numba_variants import elu, softsign, total


def _numbers(*codes: str) -> tuple[int, ...]:
    return tuple(OPERATIONS[code].number for code in codes)


RELU, SIGMOID, TANH, EXP, LOG, ABS, NEG = _numbers(
    "relu", "sigmoid", "tanh", "exp", "log", "abs", "neg"
)
SQRT, RECIPROCAL, ERF, SOFTPLUS, SOFTSIGN = _numbers(
    "sqrt", "reciprocal", "erf", "softplus", "softsign"
)
HARD_SWISH, SQUARE, HARD_SIGMOID, ELU, LEAKY_RELU, GELU = _numbers(
    "hard_swish", "square", "hard_sigmoid", "elu", "leaky_relu", "gelu"
)
ADD, SUB, MUL, DIV, MINIMUM, MAXIMUM, POW = _numbers(
    "add", "sub", "mul", "div", "minimum", "maximum", "pow"
)
SOFTMAX, LOG_SOFTMAX, LAYER_NORM = _numbers("softmax", "log_softmax", "layer_norm")
SUM, MEAN, MAX, MIN, L2 = range(-5, 0)  # the kinds of `reduce`

SIXTH = F(float.fromhex("0x1.555556p-3"))
ROOT_HALF = F(float.fromhex("0x1.6a09e6p-1"))
GELU_CUBIC, GELU_SLOPE = F(float.fromhex("0x1.2444f2p-5")), F(float.fromhex("0x1.988454p-1"))


@compiled
def hard_sigmoid(x, alpha, beta):
    """Return alpha x + beta within 0 and 1."""
    y = fma(alpha, x, beta)
    y = ZERO if y < ZERO else y
    return ONE if y > ONE else y


@compiled
def gelu(x, is_approximate):
    """Return x (1 + erf(x / sqrt 2)) / 2, or its approximation by tanh."""
    half = x * HALF
    if not is_approximate:
        return fma(half, erf(x * ROOT_HALF), half)
    slope = fma(fma(x, x, TINY), GELU_CUBIC, GELU_SLOPE)
    return fma(half, tanh(x * slope), half)


@compiled
def clip(x, low, high):
    """Return x within two bounds; NaN stays."""
    y = low if x < low else x
    return high if high < y else y


@compiled
def of_one(code, x, alpha, beta):  # noqa: PLR0911, PLR0912
    """Apply the operation of that number; alpha is whether it is approximate to gelu."""
    if code == RELU:
        return ZERO if x < ZERO else x
    if code == SIGMOID:
        return sigmoid(x)
    if code == TANH:
        return tanh(x)
    if code == EXP:
        return exponential(x)
    if code == LOG:
        return logarithm(x)
    if code == ABS:
        return abs(x)
    if code == NEG:
        return -x
    if code == SQRT:
        return np.sqrt(x)
    if code == RECIPROCAL:
        return ONE / x
    if code == ERF:
        return erf(x)
    if code == SOFTPLUS:
        return softplus(x)
    if code == SOFTSIGN:
        return softsign(x)
    if code == HARD_SWISH:
        return x * hard_sigmoid(x, SIXTH, HALF)
    if code == SQUARE:
        return x * x
    if code == HARD_SIGMOID:
        return hard_sigmoid(x, alpha, beta)
    if code == ELU:
        return elu(x, alpha)
    if code == LEAKY_RELU:
        return alpha * x if x < ZERO else x
    if code == GELU:
        return gelu(x, alpha != ZERO)
    return clip(x, alpha, beta)


@njit(inline="always")
def minimum(a, b):
    """Return the lesser: NaN where one is, and -0 of two zeros that differ."""
    if a < b:
        return a
    return b if b < a else float_of(bits_of(a) | bits_of(b))


@njit(inline="always")
def maximum(a, b):
    """Return the greater: NaN where one is, and +0 of two zeros that differ."""
    return -minimum(-a, -b)


@compiled
def of_two(code, a, b):  # noqa: PLR0911
    """Apply the operation of that number."""
    if code == ADD:
        return a + b
    if code == SUB:
        return a - b
    if code == MUL:
        return a * b
    if code == DIV:
        return a / b
    if code == MINIMUM:
        return minimum(a, b)
    if code == MAXIMUM:
        return maximum(a, b)
    if code == POW:
        return power(a, b)
    return b * a if a < ZERO else a  # prelu


def _unary(code, alpha, beta, x_p, y_p, count):
    x, y = carray(x_p, count), carray(y_p, count)
    for j in range(count):
        y[j] = canonical(of_one(code, x[j], alpha, beta))


def _binary(code, a_p, b_p, y_p, count):
    a, b, y = carray(a_p, count), carray(b_p, count), carray(y_p, count)
    for j in range(count):
        y[j] = canonical(of_two(code, a[j], b[j]))


@compiled
def greatest(x):
    """Return the greatest of a row."""
    result = x[0]
    for j in range(1, len(x)):
        result = maximum(result, x[j])
    return result


@compiled
def least(x):
    """Return the least of a row."""
    result = x[0]
    for j in range(1, len(x)):
        result = minimum(result, x[j])
    return result


@compiled
def sum_of(x, sums):
    """Return the sum of a row, by sixteen sums. sums: scratch (16,)."""
    sums[:] = ZERO
    for j in range(len(x)):
        sums[j % 16] += x[j]
    return total(sums)


@compiled
def sum_of_squares(x, sums):
    """Return the sum of the squares of a row, likewise."""
    sums[:] = ZERO
    for j in range(len(x)):
        sums[j % 16] = fma(x[j], x[j], sums[j % 16])
    return total(sums)


@compiled
def reduced(kind, x, sums):
    """Return what a row is reduced to."""
    if kind == SUM:
        return sum_of(x, sums)
    if kind == MEAN:
        return sum_of(x, sums) / F(len(x))
    if kind == MAX:
        return greatest(x)
    if kind == MIN:
        return least(x)
    return np.sqrt(sum_of_squares(x, sums))  # l2


@compiled
def soften(is_log, x, y, sums):
    """Make y the softmax of a row, or its logarithm."""
    most = greatest(x)
    for j in range(len(x)):
        y[j] = exponential(x[j] - most)
    whole = sum_of(y, sums)
    log = logarithm(whole) if is_log else ZERO
    for j in range(len(x)):
        y[j] = canonical((x[j] - most) - log if is_log else y[j] / whole)


@compiled
def normalise_row(x, y, epsilon, sums):
    """Make y a row with mean 0 and variance 1."""
    mean = sum_of(x, sums) / F(len(x))
    for j in range(len(x)):
        y[j] = x[j] - mean
    factor = ONE / np.sqrt(sum_of_squares(y, sums) / F(len(x)) + epsilon)
    for j in range(len(x)):
        y[j] *= factor


def _along(code, x_p, y_p, rows, count):
    """Make y (rows,) of x (rows, count), or (rows, count) for a softmax; code: it, or a kind."""
    x, sums = carray(x_p, (rows, count)), np.empty(16, np.float32)
    if code < 0:
        for row in range(rows):
            carray(y_p, rows)[row] = canonical(reduced(code, x[row], sums))
    else:
        for row in range(rows):
            soften(code == LOG_SOFTMAX, x[row], carray(y_p, (rows, count))[row], sums)


def _layer_norm(epsilon, scale_p, bias_p, x_p, y_p, rows, count):
    """Make y (rows, count) of x; scale and bias (count,) may be null."""
    x, y = carray(x_p, (rows, count)), carray(y_p, (rows, count))
    scale, bias = carray(scale_p, count), carray(bias_p, count)
    has_scale, has_bias = address_of(scale_p) != 0, address_of(bias_p) != 0
    sums = np.empty(16, np.float32)
    for row in range(rows):
        normalise_row(x[row], y[row], epsilon, sums)
        for j in range(count):
            a = y[row, j]
            a = a * scale[j] if has_scale else a
            y[row, j] = canonical(a + bias[j] if has_bias else a)


whole = types.int64
KERNELS: dict[str, tuple[Any, Any, str]] = {
    "unary": (
        _unary,
        types.void(whole, f32, f32, float_p, float_p, whole),
        "void (*)(int64_t, float, float, float *, float *, int64_t)",
    ),
    "binary": (
        _binary,
        types.void(whole, float_p, float_p, float_p, whole),
        "void (*)(int64_t, float *, float *, float *, int64_t)",
    ),
    "along": (
        _along,
        types.void(whole, float_p, float_p, whole, whole),
        "void (*)(int64_t, float *, float *, int64_t, int64_t)",
    ),
    "layer_norm": (
        _layer_norm,
        types.void(f32, float_p, float_p, float_p, float_p, whole, whole),
        "void (*)(float, float *, float *, float *, float *, int64_t, int64_t)",
    ),
}
kernels: dict[str, Any] = {}  # they live as long as their addresses


def kernel(name: str) -> Any:
    """Return a kernel of KERNELS, compiled when it is first asked for."""
    function, signature, c_type = KERNELS[name]
    if name not in kernels:
        # of two threads that come here at once, both take what one of them has made
        kernels.setdefault(name, cache.compiled(signature)(function))
    return ffi.cast(c_type, kernels[name].address)
