"""The kernels of the Numba backend for cells that are not the plain one.

Imported when the first such LSTM is built. The order of arithmetic is that of lf_cell_options in
csrc/lstm_fast.h, so the bits are the C core's. One kernel serves all variants: what a layer has is
looked up in a table, which costs a few branches per unit and nothing per weight.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import carray, njit, types

from ._numba_flags import ADVANCES, DONE, LOOKS, enter, leave
from ._numba_intrinsics import (
    as_float,
    as_int,
    as_int32,
    f32,
    fma,
    with_sign_of,
)
from ._numba_kernels import (
    HALF,
    HIDDEN_SCALE,
    ONE,
    OVERLAP,
    STEPS,
    ZERO,
    add_half,
    canonical,
    compiled_for,
    exp_parts,
    ffi,
    overlap,
    quantise_frame,
    quantise_hidden,
    sigmoid,
    take_frame,
    tanh,
    whole_groups,
)

F = np.float32
ELU_LEAST = F(-20)  # from here on exp(x) is nothing beside 1
SOFTSIGN_LARGE = F(2.0**60)  # from here on x / (1 + |x|) is 1, for infinity, too

# The activations by number: lf_activation in csrc/lstm_fast.h, and softplus, which only is here.
FUNCTIONS = (
    "sigmoid",
    "tanh",
    "hard_sigmoid",
    "relu",
    "affine",
    "leaky_relu",
    "thresholded_relu",
    "scaled_tanh",
    "elu",
    "softsign",
    "softplus",
)
SIGMOID, TANH, HARD_SIGMOID, RELU, AFFINE, LEAKY_RELU = range(6)
THRESHOLDED_RELU, SCALED_TANH, ELU, SOFTSIGN, SOFTPLUS = range(6, 11)

# What the table says of a layer: first by value, then where in `floats` something begins, -1 where
# it is not there, then where in the weights a matrix begins. R and Q are H and P in whole LANES.
COLUMNS = (
    "gate",  # of FUNCTIONS
    "input",
    "output",
    "coupled",  # lf_coupling
    "bounded",  # whether h has the fixed int8 scale
    "numbers",  # as _numbers in numba.py has them
    "bias",  # (4, R)
    "peephole",  # (4, R), the row of g is not used
    "layer_norm",  # (4, R)
    "scale_ih",  # int8: (4, R)
    "scale_hh",  # int8: (4, R), with the fixed scale of h in it where there is one
    "bias_hr",  # (Q,), also where it is zeros; where it is -1 nothing projects
    "scale_hr",  # int8: (Q,)
    "weight_ih",
    "weight_hh",
    "weight_hr",
    "x_bounded",  # whether the input has the fixed int8 scale
)
GATE, INPUT, OUTPUT, COUPLED, BOUNDED, NUMBERS = range(6)
BIAS, PEEPHOLE, LAYER_NORM, SCALE_IH, SCALE_HH, BIAS_HR, SCALE_HR = range(6, 13)
WEIGHT_IH, WEIGHT_HH, WEIGHT_HR, X_BOUNDED = range(13, 17)
FORGET_FROM_INPUT, INPUT_FROM_FORGET = 1, 2

# The numbers of a layer: a function's alpha and beta at twice its role, and these.
CLIP, CELL_CLIP, PROJ_CLIP, EPSILON = range(6, 10)

compiled = njit(
    error_model="numpy"
)  # a function of its own: written out each time it compiles slowly


@njit(inline="always")
def clipped(a, bound):
    """Bound a to +-bound, unless that is 0; NaN stays."""
    if bound > ZERO:
        a = -bound if a < -bound else (bound if a > bound else a)
    return a


@njit(inline="always")
def elu(x, alpha):
    """Return x, or alpha (exp(x) - 1) where x < 0; from the parts that tanh has."""
    if not x < ZERO:
        return x
    p, u = exp_parts(HALF * (ELU_LEAST if x < ELU_LEAST else x))
    return alpha * ((p + (HALF - u)) / u)


@njit(inline="always")
def softsign(x):
    """Return x / (1 + |x|)."""
    m = SOFTSIGN_LARGE if abs(x) > SOFTSIGN_LARGE else abs(x)
    return with_sign_of(m / (ONE + m), x)


@njit(inline="always")
def softplus(x):
    """Return log(1 + exp(x)), in float64: rare, and not worth a polynomial of its own."""
    wide = np.float64(x)
    return F(math.log1p(math.exp(-abs(wide))) + (0.0 if wide < 0.0 else wide))


@compiled
def activation(function, alpha, beta, x):  # noqa: PLR0911
    """Apply the function of that number."""
    if function == SIGMOID:
        return sigmoid(x)
    if function == TANH:
        return tanh(x)
    if function == HARD_SIGMOID:
        y = fma(alpha, x, beta)
        y = ZERO if y < ZERO else y
        return ONE if y > ONE else y
    if function == RELU:
        return ZERO if x < ZERO else x
    if function == AFFINE:
        return fma(alpha, x, beta)
    if function == LEAKY_RELU:
        return alpha * x if x < ZERO else x
    if function == THRESHOLDED_RELU:
        return ZERO if x < alpha else x
    if function == SCALED_TANH:
        return alpha * tanh(beta * x)
    if function == ELU:
        return elu(x, alpha)
    if function == SOFTSIGN:
        return softsign(x)
    return softplus(x)


@compiled
def activate(values, row, floats, role):
    """Apply the function that a layer has in that role, in place."""
    at = row[NUMBERS] + 2 * role
    for j in range(len(values)):
        values[j] = activation(row[role], floats[at], floats[at + 1], values[j])


@compiled
def total(sums):
    """Add sixteen partial sums in ascending order."""
    result = sums[0]
    for r in range(1, 16):
        result += sums[r]
    return result


@compiled
def normalise(a, scale, bias, epsilon, sums):
    """Make mean 0 and variance 1 of a gate, then scale and shift, in place. sums: scratch (16,)."""
    units = len(a)
    sums[:] = ZERO
    for j in range(units):
        sums[j % 16] += a[j]
    mean = total(sums) / F(units)
    sums[:] = ZERO
    for j in range(units):
        a[j] -= mean
        sums[j % 16] = fma(a[j], a[j], sums[j % 16])
    v = ONE / np.sqrt(total(sums) / F(units) + epsilon)
    for j in range(units):
        a[j] = fma(scale[j], a[j] * v, bias[j])


@compiled
def open_gate(gate, a, row, floats, c, sums):
    """Turn the pre-activations of a gate into its values and return them; c is what it peeps at."""
    padded, values = a.shape[1], a[gate, : len(c)]
    if row[PEEPHOLE] >= 0 and gate != 2:
        weights = floats[row[PEEPHOLE] + gate * padded :]
        for j in range(len(c)):
            values[j] = fma(weights[j], c[j], values[j])
    if row[LAYER_NORM] >= 0:
        scale = floats[row[LAYER_NORM] + gate * padded :]
        bias = floats[row[BIAS] + gate * padded :]
        normalise(values, scale, bias, floats[row[NUMBERS] + EPSILON], sums)
    clip = floats[row[NUMBERS] + CLIP]
    for j in range(len(values)):
        values[j] = clipped(values[j], clip)
    activate(values, row, floats, INPUT if gate == 2 else GATE)
    return values


@compiled
def update_cell(a, row, floats, c, r, sums):
    """From pre-activations (4, R) make the new c, in place, and r, which is h or is projected."""
    clip, coupled = floats[row[NUMBERS] + CELL_CLIP], row[COUPLED]
    i, f = a[0, : len(c)], a[1, : len(c)]
    if coupled != INPUT_FROM_FORGET:
        open_gate(0, a, row, floats, c, sums)
    if coupled != FORGET_FROM_INPUT:
        open_gate(1, a, row, floats, c, sums)
    g = open_gate(2, a, row, floats, c, sums)
    for j in range(len(c)):
        if coupled == FORGET_FROM_INPUT:
            f[j] = ONE - i[j]
        elif coupled == INPUT_FROM_FORGET:
            i[j] = ONE - f[j]
        c[j] = canonical(clipped(fma(f[j], c[j], i[j] * g[j]), clip))
        r[j] = c[j]
    o = open_gate(3, a, row, floats, c, sums)
    activate(r, row, floats, OUTPUT)
    for j in range(len(c)):
        r[j] = canonical(o[j] * r[j])


# Both kernels take what the plain ones take, see there, but for these addresses:
#     floats: the parameters of all layers but the matrices, and the scales of these for int8
#     sizes: I, P, H, L, R, Q, and how many floats there are
#     state: h (L, P), then c (L, H)
#     sums: (1 + L, 4, R) as for the plain ones, and (Q,) for a projection
#     operands: the frame; for int8 of I, P and H values, each in whole groups, for x, h and r
#     flags
#     table: (L, COLUMNS)
#     scratch: pre-activations (4, R), r (R,), and (16,) for means
def _float_variant(weights, addresses_p, xs_p, ys_p, steps):  # noqa: PLR0912
    addresses = carray(addresses_p, 8)
    state_p, sums_p, frame_p = (
        as_float(addresses[2]),
        as_float(addresses[3]),
        as_float(addresses[4]),
    )
    flags, scratch_p = as_int(addresses[5]), as_float(addresses[7])
    inputs, outputs, units, layers, padded, padded_out, count = carray(as_int(addresses[1]), 7)
    if overlap(xs_p, steps * inputs, ys_p, steps * outputs):
        return OVERLAP
    status = enter(flags, LOOKS if steps < 0 else ADVANCES)
    if status != DONE:
        return status
    rows, prepared = 4 * padded, carray(flags, 2)[1:]
    floats = carray(as_float(addresses[0]), count)
    table = carray(as_int(addresses[6]), (layers, len(COLUMNS)))
    state, frame = carray(state_p, layers * (outputs + units)), carray(frame_p, inputs)
    sums = carray(sums_p, (1 + layers) * rows + padded_out)
    left, projected = sums[:rows], sums[(1 + layers) * rows :]
    scratch = carray(scratch_p, rows + padded + 16)
    a, r, partial = (
        carray(scratch_p, (4, padded)),
        scratch[rows : rows + units],
        scratch[rows + padded :],
    )
    ahead = steps < 0
    xs, ys = carray(xs_p, (max(steps, 0), inputs)), carray(ys_p, (max(steps, 0), outputs))
    for t in range(abs(steps)):
        if not ahead:
            take_frame(frame, xs[t])
        for n in range(layers):
            row, h_at, c_at = table[n], n * outputs, layers * outputs + n * units
            h, c = state[h_at : h_at + outputs], state[c_at : c_at + units]
            right = sums[(1 + n) * rows : (2 + n) * rows]
            if not prepared[0]:
                right[:] = ZERO
                add_half(
                    weights, row[WEIGHT_HH], state_p, h_at, outputs, sums_p, (1 + n) * rows, rows
                )
            if ahead:
                continue
            below, start, columns = frame_p, 0, inputs
            if n > 0:
                below, start, columns = state_p, h_at - outputs, outputs
            if row[LAYER_NORM] >= 0:  # which adds the bias in the end
                left[:] = ZERO
            else:
                left[:] = floats[row[BIAS] : row[BIAS] + rows]
            add_half(weights, row[WEIGHT_IH], below, start, columns, sums_p, 0, rows)
            for j in range(rows):
                scratch[j] = left[j] + right[j]
            update_cell(a, row, floats, c, r, partial)
            if row[BIAS_HR] < 0:
                h[:] = r
                continue
            projected[:] = floats[row[BIAS_HR] : row[BIAS_HR] + padded_out]
            at = (1 + layers) * rows
            add_half(weights, row[WEIGHT_HR], scratch_p, rows, units, sums_p, at, padded_out)
            bound = floats[row[NUMBERS] + PROJ_CLIP]
            for j in range(outputs):
                h[j] = canonical(clipped(projected[j], bound))
        prepared[0] = ahead
        if not ahead:
            ys[t] = state[(layers - 1) * outputs : layers * outputs]
    leave(flags)
    return DONE


@njit(inline="always")
def quantise(h, is_bounded, q, fixed):
    """Write the int8 operands of a hidden state and return their scale, `fixed` if bounded."""
    if is_bounded:
        return quantise_hidden(h, q) * fixed
    return quantise_frame(h, q)


def _int8_variant(weights, addresses_p, xs_p, ys_p, steps):  # noqa: PLR0915
    addresses = carray(addresses_p, 8)
    sums_p, operands_p = as_int32(addresses[3]), as_int32(addresses[4])
    flags, scratch_p = as_int(addresses[5]), as_float(addresses[7])
    inputs, outputs, units, layers, padded, padded_out, count = carray(as_int(addresses[1]), 7)
    if overlap(xs_p, steps * inputs, ys_p, steps * outputs):
        return OVERLAP
    status = enter(flags, LOOKS if steps < 0 else ADVANCES)
    if status != DONE:
        return status
    rows, prepared = 4 * padded, carray(flags, 2)[1:]
    inputs_n, outputs_n, units_n = whole_groups(inputs), whole_groups(outputs), whole_groups(units)
    floats = carray(as_float(addresses[0]), count)
    table = carray(as_int(addresses[6]), (layers, len(COLUMNS)))
    state = carray(as_float(addresses[2]), layers * (outputs + units))
    sums = carray(sums_p, (1 + layers) * rows + padded_out)
    left, projected = sums[:rows], sums[(1 + layers) * rows :]
    operands = carray(operands_p, inputs_n + outputs_n + units_n)  # zeros behind what is written
    frame, hidden, last = operands[:inputs], operands[inputs_n:], operands[inputs_n + outputs_n :]
    scratch = carray(scratch_p, rows + padded + 16)
    a, r, partial = (
        carray(scratch_p, (4, padded)),
        scratch[rows : rows + units],
        scratch[rows + padded :],
    )
    ahead = steps < 0
    xs, ys = carray(xs_p, (max(steps, 0), inputs)), carray(ys_p, (max(steps, 0), outputs))
    for t in range(abs(steps)):
        for n in range(layers):
            row, h_at, c_at = table[n], n * outputs, layers * outputs + n * units
            h, c = state[h_at : h_at + outputs], state[c_at : c_at + units]
            right = sums[(1 + n) * rows : (2 + n) * rows]
            h_scale = quantise(h, row[BOUNDED] != 0, hidden, ONE)  # the fixed one is in scale_hh
            if not prepared[0]:
                right[:] = 0
                at = (1 + n) * rows
                add_half(weights, row[WEIGHT_HH], operands_p, inputs_n, outputs_n, sums_p, at, rows)
            if ahead:
                continue
            left[:] = 0
            if n == 0:
                x_scale = quantise(xs[t], row[X_BOUNDED] != 0, frame, HIDDEN_SCALE)
                add_half(weights, row[WEIGHT_IH], operands_p, 0, inputs_n, sums_p, 0, rows)
            else:
                below = state[h_at - outputs : h_at]
                x_scale = quantise(below, row[X_BOUNDED] != 0, hidden, HIDDEN_SCALE)
                add_half(weights, row[WEIGHT_IH], operands_p, inputs_n, outputs_n, sums_p, 0, rows)
            for j in range(rows):
                bias = ZERO if row[LAYER_NORM] >= 0 else floats[row[BIAS] + j]
                half = fma(F(left[j]), floats[row[SCALE_IH] + j] * x_scale, bias)
                scratch[j] = fma(F(right[j]), floats[row[SCALE_HH] + j] * h_scale, half)
            update_cell(a, row, floats, c, r, partial)
            if row[BIAS_HR] < 0:
                h[:] = r
                continue
            projected[:] = 0
            r_scale, start = quantise_frame(r, last), inputs_n + outputs_n
            at = (1 + layers) * rows
            add_half(weights, row[WEIGHT_HR], operands_p, start, units_n, sums_p, at, padded_out)
            bound = floats[row[NUMBERS] + PROJ_CLIP]
            for j in range(outputs):
                scale = floats[row[SCALE_HR] + j] * r_scale
                h[j] = canonical(
                    clipped(fma(F(projected[j]), scale, floats[row[BIAS_HR] + j]), bound)
                )
        prepared[0] = ahead
        if not ahead:
            ys[t] = state[(layers - 1) * outputs : layers * outputs]
    leave(flags)
    return DONE


FUNCTION_OF = {
    "float32": (_float_variant, f32),
    "float16": (_float_variant, types.uint16),
    "int8": (_int8_variant, types.int8),
}
kernels: dict[str, Any] = {}  # they live as long as their addresses


def kernel(weight_dtype: str) -> Any:
    """Return the kernel for weights of that dtype, compiled when it is first asked for."""
    if weight_dtype not in kernels:
        # of two threads that come here at once, both take what one of them has made
        kernels.setdefault(weight_dtype, compiled_for(*FUNCTION_OF[weight_dtype]))
    return ffi.cast(STEPS, kernels[weight_dtype].address)
