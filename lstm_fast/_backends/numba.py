"""The contract in Numba: for where no binary can be built. Same order of arithmetic, same bits.

The activations follow csrc/generic/activations.h line by line; the coefficients, and the reasons,
are there. What NumPy has no word for (fma, moving bits) is asked of LLVM directly, as intrinsics:
they compile to single instructions and keep the loops vectorisable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from .._arrays import Float32
from .._weights import Weights
from ..stream import ArrayStream

if TYPE_CHECKING:
    from ..lstm import LSTM

name = "numba"

f32 = types.float32
F = np.float32
FLOAT, INT = ir.FloatType(), ir.IntType(32)
CHAINED = 4  # how many k one pass over the sums takes; see half_sum


def _jit(*signature: Any) -> Callable[[Any], Any]:
    """Compile now, from the on-disk cache where there is a place for one."""
    options = {"nogil": True, "error_model": "numpy"}

    def decorate(function: Any) -> Any:
        try:
            return njit(*signature, cache=True, **options)(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            return njit(*signature, **options)(function)

    return decorate


@intrinsic
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, rounded once."""
    return f32(f32, f32, f32), lambda context, builder, signature, args: builder.fma(*args)


@intrinsic
def shift_into_exponent(typing_context: Any, a: Any) -> Any:
    """The bits of a float, 23 to the left."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        shifted = builder.shl(builder.bitcast(args[0], INT), ir.Constant(INT, 23))
        return builder.bitcast(shifted, FLOAT)

    return f32(f32), generate


@intrinsic
def with_sign_of(typing_context: Any, magnitude: Any, sign: Any) -> Any:
    """C's copysignf."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        copysign = builder.module.declare_intrinsic(
            "llvm.copysign", [FLOAT], ir.FunctionType(FLOAT, [FLOAT, FLOAT])
        )
        return builder.call(copysign, args)

    return f32(f32, f32), generate


EXP_BIAS, LOG2_E = F(float.fromhex("0x1.8000FEp23")), F(float.fromhex("0x1.715476p+0"))
LN2_HIGH, LN2_LOW = F(float.fromhex("-0x1.62e43p-1")), F(float.fromhex("0x1.05c61p-29"))
Q4, Q3 = F(float.fromhex("0x1.6bec04p-10")), F(float.fromhex("0x1.122768p-7"))
Q2, Q1 = F(float.fromhex("0x1.555674p-5")), F(float.fromhex("0x1.5554b0p-3"))
Q0 = F(float.fromhex("0x1.fffffep-2"))
SIGMOID_LOWEST = F(float.fromhex("-0x1.5d589ep6"))
TANH_LOWEST = F(-20)
SMALLEST_NORMAL = F(2.0**-126)
ZERO, ONE, TWO, NAN = F(0), F(1), F(2), F(np.nan)


@njit(inline="always")
def exp_parts(y):
    """Return 2^n and exp(r) - 1 for y = n ln2 + r."""
    shifted = fma(y, LOG2_E, EXP_BIAS)
    n = shifted - EXP_BIAS
    r = fma(n, LN2_HIGH, y)
    r = fma(n, LN2_LOW, r)
    q = fma(r, fma(r, fma(r, fma(r, Q4, Q3), Q2), Q1), Q0)
    return shift_into_exponent(shifted), fma(r, r * q, r)


@njit(inline="always")
def sigmoid(x):
    """Return 1 / (1 + exp(-x))."""
    y = -abs(x)
    scale, fraction = exp_parts(SIGMOID_LOWEST if y < SIGMOID_LOWEST else y)
    e = fma(fraction, scale, scale)
    e = ZERO if y < SIGMOID_LOWEST else e
    return (e if x < ZERO else ONE) / (ONE + e)


@njit(inline="always")
def tanh(x):
    """The hyperbolic tangent."""
    y = abs(x) * -TWO
    scale, fraction = exp_parts(TANH_LOWEST if y < TANH_LOWEST else y)
    m = fma(fraction, scale, scale - ONE)
    return with_sign_of(m / (-TWO - m), x)


@njit(inline="always")
def canonical(a):
    """No subnormals, one NaN."""
    flushed = with_sign_of(ZERO, a) if abs(a) < SMALLEST_NORMAL else a
    return NAN if a != a else flushed  # noqa: PLR0124


@njit(inline="always")
def half_sum(weights, start, x, sums):
    """Do sums[j] += weights[start + k * rows + j] * x[k], one chain per j in ascending k.

    Several k share a pass, so that the sums are loaded and stored that many times less; the order
    within each chain stays.
    """
    rows = len(sums)
    count = len(x)
    whole = count - count % CHAINED
    for k in range(0, whole, CHAINED):
        row = start + k * rows
        w0, w1 = weights[row : row + rows], weights[row + rows : row + 2 * rows]
        row += 2 * rows
        w2, w3 = weights[row : row + rows], weights[row + rows : row + 2 * rows]
        x0, x1, x2, x3 = x[k], x[k + 1], x[k + 2], x[k + 3]
        for j in range(rows):
            sums[j] = fma(w3[j], x3, fma(w2[j], x2, fma(w1[j], x1, fma(w0[j], x0, sums[j]))))
    for k in range(whole, count):
        row = start + k * rows
        w0, x0 = weights[row : row + rows], x[k]
        for j in range(rows):
            sums[j] = fma(w0[j], x0, sums[j])


matrix = types.Array(f32, 2, "C")
loose = types.Array(f32, 2, "C", readonly=True, aligned=False)
loose_out = types.Array(f32, 2, "C", aligned=False)


@_jit(types.void(types.Array(f32, 1, "C"), matrix, matrix, matrix, f32[::1], loose, loose_out))
def run(weights, h, c, sums, frame, xs, ys):
    """Take the steps xs (T, I), write ys (T, H) and update h and c (L, H).

    weights: per layer a bias row [4H], then a row [4H] for each input and each hidden unit.
    sums (2, 4H) and frame (I,) are scratch.
    """
    num_layers, hidden_size = h.shape
    rows = 4 * hidden_size
    for t in range(len(xs)):
        for k in range(len(frame)):
            frame[k] = canonical(xs[t, k])
        start = 0
        for n in range(num_layers):
            below = frame if n == 0 else h[n - 1]
            sums[0, :] = weights[start : start + rows]
            sums[1, :] = ZERO
            half_sum(weights, start + rows, below, sums[0])
            start += rows * (1 + len(below))
            half_sum(weights, start, h[n], sums[1])
            start += rows * hidden_size
            for j in range(hidden_size):
                i = sigmoid(sums[0, j] + sums[1, j])
                f = sigmoid(sums[0, hidden_size + j] + sums[1, hidden_size + j])
                g = tanh(sums[0, 2 * hidden_size + j] + sums[1, 2 * hidden_size + j])
                o = sigmoid(sums[0, 3 * hidden_size + j] + sums[1, 3 * hidden_size + j])
                c[n, j] = canonical(fma(f, c[n, j], i * g))
                h[n, j] = canonical(o * tanh(c[n, j]))
        ys[t, :] = h[num_layers - 1]


@_jit(types.void(types.boolean, f32[::1], f32[::1]))
def activate(is_tanh, x, y):
    """Write tanh(x) or sigmoid(x) into y, for tests."""
    for j in range(len(x)):
        y[j] = tanh(x[j]) if is_tanh else sigmoid(x[j])


def isas() -> dict[str, list[str]]:
    """Return nothing: LLVM compiles for the CPU that it finds."""
    return {}


def build(weights: Weights, isa: str | None) -> NumbaModel:
    """Pack the weights, inputs along the rows."""
    return NumbaModel(weights)


class NumbaModel:
    """The weights as `run` wants them."""

    isa = None

    def __init__(self, weights: Weights) -> None:
        parts = []
        for layer in weights.layers:
            bias = np.zeros(len(layer.weight_hh), np.float32)
            if layer.bias_ih is not None and layer.bias_hh is not None:
                bias = layer.bias_ih + layer.bias_hh
            parts += [bias, layer.weight_ih.T.ravel(), layer.weight_hh.T.ravel()]
        self.packed = np.concatenate(parts)
        self.nbytes = self.packed.nbytes

    def stream(self, lstm: LSTM) -> NumbaStream:
        return NumbaStream(lstm, self)


class NumbaStream(ArrayStream):
    """A stream that calls `run`."""

    __slots__ = ("_arguments",)

    def __init__(self, lstm: LSTM, model: NumbaModel) -> None:
        super().__init__(lstm)
        sums = np.empty((2, 4 * lstm.hidden_size), np.float32)
        frame = np.empty(lstm.input_size, np.float32)
        self._arguments = (model.packed, self._h, self._c, sums, frame)

    def _compute(self, xs: Float32, ys: Float32) -> None:
        run(*self._arguments, xs, ys)
