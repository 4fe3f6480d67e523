"""The kernels of whole models for what multiplies by weights: products, convolutions, the GRU.

An LSTM has those of a stream. Imported when the first whole model is built, and compiled when the
first one needs it. The order of arithmetic is that of csrc/lstm_fast.h.
"""

from __future__ import annotations

from typing import Any

from numba import carray, types

from ._numba_flags import DONE
from ._numba_intrinsics import as_float, as_int, f32
from ._numba_kernels import (
    ONE,
    STEPS,
    ZERO,
    add_half,
    canonical,
    compiled_for,
    ffi,
    sigmoid,
    tanh,
)


# Both kernels take the weights in the blocks of `add_half`, an array of addresses, an input, an
# output and a number. The addresses of this one:
#     sizes: groups, K, M, M in whole LANES
#     bias (groups, M)
#     sums: scratch of M in whole LANES
def _products(weights, addresses_p, xs_p, ys_p, rows):
    """Make ys (groups, rows, M) of xs (groups, rows, K): one chain each, then the bias."""
    addresses = carray(addresses_p, 3)
    groups, inputs, outputs, padded = carray(as_int(addresses[0]), 4)
    bias = carray(as_float(addresses[1]), (groups, outputs))
    sums_p = as_float(addresses[2])
    sums, ys = carray(sums_p, padded), carray(ys_p, (groups, rows, outputs))
    for group in range(groups):
        for row in range(rows):
            sums[:] = ZERO
            first = (group * rows + row) * inputs
            add_half(weights, group * inputs * padded, xs_p, first, inputs, sums_p, 0, padded)
            for j in range(outputs):
                ys[group, row, j] = canonical(sums[j] + bias[group, j])
    return DONE


# The weights are W_ih (3R rows), those of U for r and z (2R), and that for n (R), where R is H in
# whole LANES. The addresses:
#     sizes: I, H, R
#     biases (2, 3, R): of W and of U
#     h (H,)
#     scratch: sums (6R,), and an operand (H,)
def _gru(weights, addresses_p, x_p, y_p, is_linear):
    """Make the new h of a GRU; is_linear: whether it is linear before the reset."""
    addresses = carray(addresses_p, 4)
    inputs, units, padded = carray(as_int(addresses[0]), 3)
    biases = carray(as_float(addresses[1]), (2, 3, padded))
    h_p, sums_p = as_float(addresses[2]), as_float(addresses[3])
    h, new = carray(h_p, units), carray(y_p, units)
    scratch = carray(sums_p, 6 * padded + units)
    sums, operand = carray(sums_p, (2, 3, padded)), scratch[6 * padded :]
    scratch[:] = ZERO
    u_gates = 3 * padded * inputs
    u_last = u_gates + 2 * padded * units
    add_half(weights, 0, x_p, 0, inputs, sums_p, 0, 3 * padded)
    add_half(weights, u_gates, h_p, 0, units, sums_p, 3 * padded, 2 * padded)
    r, z, a_n = sums[0, 0], sums[0, 1], sums[0, 2]
    u_r, u_z, u_n = sums[1, 0], sums[1, 1], sums[1, 2]
    for j in range(units):
        left, right = canonical(r[j] + biases[0, 0, j]), canonical(u_r[j] + biases[1, 0, j])
        r[j] = sigmoid(left + right)
        left, right = canonical(z[j] + biases[0, 1, j]), canonical(u_z[j] + biases[1, 1, j])
        z[j] = sigmoid(left + right)
        operand[j] = h[j] if is_linear != 0 else canonical(r[j] * h[j])
    add_half(weights, u_last, sums_p, 6 * padded, units, sums_p, 5 * padded, padded)
    for j in range(units):
        left, right = canonical(a_n[j] + biases[0, 2, j]), canonical(u_n[j] + biases[1, 2, j])
        n = tanh(left + (r[j] * right if is_linear != 0 else right))
        new[j] = canonical(((ONE - z[j]) * n) + (z[j] * h[j]))
    return DONE


WEIGHTS = {"float32": f32, "float16": types.uint16}
FUNCTION_OF = {"products": _products, "gru": _gru}
kernels: dict[tuple[str, str], Any] = {}  # they live as long as their addresses


def kernel(name: str, weight_dtype: str) -> Any:
    """Return a kernel for weights of that dtype, compiled when it is first asked for.

    name: "products" or "gru". weight_dtype: "float32" or "float16".
    """
    key = name, weight_dtype
    if key not in kernels:
        # of two threads that come here at once, both take what one of them has made
        kernels.setdefault(key, compiled_for(FUNCTION_OF[name], WEIGHTS[weight_dtype]))
    return ffi.cast(STEPS, kernels[key].address)
