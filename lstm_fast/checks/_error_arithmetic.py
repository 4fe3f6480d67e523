"""Arithmetic on float64 values that each know how far a float32 one may be from them.

u = 2^-24 is the unit roundoff of float32: an operation that is rounded to nearest loses at most
u |result|, plus 2^-150 where the result is subnormal. Each operation here returns the value of its
result and a bound that holds for every float32 argument within the errors of its arguments. Where
something may have overflowed, or be NaN, the error is infinite: nothing is claimed about it.

All shapes are (..., n): any number of steps at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..cell import Activation

U = 2.0**-24
FLUSH = 2.0**-126  # what an implementation that flushes subnormals takes away
TINY = 2.0**-149  # bounds the absolute error of an operation whose result is subnormal
REFERENCE = 2.0**-50  # what float64 itself loses: libm's errors and the order of its sums, relative
LARGEST = float(np.finfo(np.float32).max)

Float64 = NDArray[np.float64]


class Near(NamedTuple):
    """A float64 value, and the largest distance of the float32 one."""

    value: Float64
    error: Float64


def gamma(n: int) -> float:
    """N roundings in a row lose at most this, relative (Higham 2002, lemma 3.1)."""
    return n * U / (1 - n * U)


def near(value: Any, error: Any) -> Near:
    """Return that, with an infinite error where it may have overflowed or is not a number."""
    value = np.asarray(value, np.float64)
    error = error + np.zeros_like(value)
    fine = np.abs(value) + error < LARGEST
    if np.all(fine):
        return Near(value, error)
    return Near(np.where(np.isfinite(value), value, 0.0), np.where(fine, error, np.inf))


def exactly(value: Any) -> Near:
    """Return a value that has no error."""
    return Near(np.asarray(value, np.float64), np.zeros(np.shape(value)))


def negative(a: Near) -> Near:
    """Return -a, which is exact."""
    return Near(-a.value, a.error)


def flushed(a: Near) -> Near:
    """Return a where subnormals may have become zeros."""
    return Near(a.value, a.error + FLUSH)


def add(a: Near, b: Near) -> Near:
    """Return a rounded sum; a subnormal one is exact."""
    value, error = a.value + b.value, a.error + b.error
    sizes = np.abs(a.value) + np.abs(b.value)
    return near(value, error + U * (np.abs(value) + error) + REFERENCE * sizes)


def multiply(a: Near, b: Near) -> Near:
    """Return a rounded product."""
    value = a.value * b.value
    error = np.abs(a.value) * b.error + np.abs(b.value) * a.error + a.error * b.error
    return near(value, error + (U + REFERENCE) * (np.abs(value) + error) + TINY)


def clip(a: Near, low: float, high: float) -> Near:
    """Return a within bounds that are floats: exact, and never further apart than before."""
    value = np.clip(a.value, low, high)
    above = np.clip(a.value + a.error, low, high) - value
    below = value - np.clip(a.value - a.error, low, high)
    return Near(value, np.where(np.isfinite(a.error), np.maximum(above, below), np.inf))


def clip_by(a: Near, bound: float | None) -> Near:
    """Return a within +-bound; None: unbounded."""
    return a if bound is None else clip(a, -bound, bound)


def matrix_product(matrix: Any, x: Near, start: Near, extra: int = 0) -> Near:
    """Return start + matrix @ x, with its K terms added in any order, fused or not.

    Each term meets at most K + 1 roundings: of its product, and of each sum that it is part of
    (Higham 2002, section 4.2); `extra` are those that follow, such as joining it with other sums.
    """
    w = np.asarray(matrix, np.float64)
    terms = w.shape[1] + 1 + extra
    sizes = np.abs(start.value) + start.error + (np.abs(x.value) + x.error) @ np.abs(w).T
    error = x.error @ np.abs(w).T + start.error
    error = error + (gamma(terms) + terms * 2.0**-53 + REFERENCE) * sizes + 2 * terms * TINY
    # No partial sum overflows where the sum of magnitudes does not.
    return near(x.value @ w.T + start.value, np.where(sizes < LARGEST, error, np.inf))


def activate(function: Activation, a: Near, slack: float) -> Near:
    """Return an activation of a, whose own error is at most slack times max(1, |result|)."""
    name, alpha, beta = function.name, function.alpha or 0.0, function.beta or 0.0
    if name in ("hard_sigmoid", "affine"):
        result = add(multiply(exactly(alpha), a), exactly(beta))
        result = clip(result, 0, 1) if name == "hard_sigmoid" else result
    elif name == "scaled_tanh":
        inner = _spread(np.tanh, multiply(exactly(beta), a), ())
        result = multiply(exactly(alpha), Near(inner.value, inner.error + slack))
    else:
        kinks: tuple[float, ...] = (0.0,) if name in ("leaky_relu", "elu") else ()
        if name == "thresholded_relu":  # jumps: within the error of its threshold, either is right
            kinks = (alpha, float(np.nextafter(alpha, -np.inf)))
        result = _spread(lambda v: reference.activation(v, name, alpha, beta), a, kinks)
    return near(result.value, result.error + slack * np.maximum(1, np.abs(result.value)))


def _spread(function: Callable[[Any], Any], a: Near, kinks: Sequence[float]) -> Near:
    """Return a function that is monotone between its kinks: extremes are at ends and kinks."""
    value, low, high = function(a.value), a.value - a.error, a.value + a.error
    points = [low, high, *(np.clip(kink, low, high) for kink in kinks)]
    spread = np.max([np.abs(function(point) - value) for point in points], axis=0)
    error = spread + REFERENCE * (np.abs(value) + spread) + FLUSH
    return near(value, np.where(np.isfinite(a.error), error, np.inf))


def normalise(a: Near, epsilon: float) -> Near:
    """Return (a - mean) / sqrt(variance + epsilon), over the last axis.

    A sum of n terms in any order rounds each at most n - 1 times. Where there is hardly any
    variance the interval of the root decides; and no float32 deviation is above sqrt(n) times the
    root of the float32 variance that it is part of, so the error never exceeds what that leaves.
    """
    n, sizes = a.value.shape[-1], np.abs(a.value) + a.error

    def mean(values: Float64) -> Float64:
        return np.asarray(values.mean(axis=-1, keepdims=True))

    m_error = mean(a.error) + (gamma(n) + REFERENCE * n) * mean(sizes) + TINY
    m = near(mean(a.value), np.where(n * mean(sizes) < LARGEST, m_error, np.inf))
    d = add(a, negative(m))
    square = np.square(np.abs(d.value) + d.error)
    error = mean(d.error * (2 * np.abs(d.value) + d.error)) + n * TINY
    variance = mean(d.value**2) + epsilon
    error = error + (gamma(n + 2) + REFERENCE * n) * (mean(square) + epsilon)
    low, high = np.maximum(variance - error, epsilon), variance + error
    high = np.where(n * mean(square) < LARGEST, high, np.inf)
    root = 1 / np.sqrt(variance)
    root_error = np.maximum(1 / np.sqrt(low) - root, root - 1 / np.sqrt(high))
    root_error = root_error + gamma(3) * (root + root_error)
    result = multiply(d, Near(root, root_error))
    if epsilon > n * 2.0**-100:  # beside it the squares that underflowed, 2^-149 each, are nothing
        most = np.sqrt(n) * (1 + gamma(2 * n + 16))
        result = Near(result.value, np.minimum(result.error, most + np.abs(result.value)))
    fine = np.isfinite(d.error).all(axis=-1, keepdims=True)
    return Near(result.value, np.where(fine, result.error, np.inf))
