"""The kernels of the Numba backend: same order of arithmetic as the C core, same bits.

The activations are those of csrc/generic/activations.h; the coefficients, and the reasons, are
there. What NumPy has no word for (fma, moving bits) is asked of LLVM directly, as intrinsics:
they compile to single instructions and keep the loops vectorisable.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from cffi import FFI
from numba import carray, njit, types

from . import _numba_cache as cache
from ._numba_flags import ADVANCES, DONE, LOOKS, OVERWRITES, enter, leave
from ._numba_intrinsics import (
    CHAINED,
    LANES,
    add_products,
    address_of,
    as_float,
    as_int,
    as_int32,
    eighths,
    f32,
    fma,
    load_many,
    load_one,
    shift_into_exponent,
    with_sign_of,
)

F = np.float32


SIGMOID_LEAST, SIGMOID_MOST = F(float.fromhex("-0x1.5d589ep6")), F(64)
SIGMOID_BIAS, EIGHTHS_PER_UNIT = F(float.fromhex("0x1.8007Fp23")), F(float.fromhex("0x1.715476p+3"))
EIGHTH, EIGHTH_REST = F(float.fromhex("-0x1.62e43p-4")), F(float.fromhex("0x1.05c61p-32"))
SIGMOID_Q0, SIGMOID_Q1 = F(float.fromhex("-0x1.000876p-1")), F(float.fromhex("0x1.5556f8p-3"))
TANH_LEAST, SQUARE_LEAST = F(-10), F(-(2.0**-60))
TANH_BIAS, HALVES_PER_UNIT = F(float.fromhex("0x1.8000FCp23")), F(float.fromhex("-0x1.715476p+1"))
HALF_STEP = F(float.fromhex("-0x1.62e43p-2"))
TANH_Q0, TANH_Q1 = F(float.fromhex("0x1.fffffep-1")), F(float.fromhex("0x1.5554b0p-1"))
TANH_Q2, TANH_Q3 = F(float.fromhex("0x1.555674p-2")), F(float.fromhex("0x1.122768p-3"))
TANH_Q4 = F(float.fromhex("0x1.6bec04p-5"))
SMALLEST_NORMAL = F(2.0**-126)
ZERO, HALF, ONE, NAN, INFINITY = F(0), F(0.5), F(1), F(np.nan), F(np.inf)
TINY = F(2.0**-100)
HIDDEN_SCALE = ONE / F(127)
OVERLAP = 3


@njit(inline="always")
def sigmoid(x):
    """Return 1 / (1 + exp(-x))."""
    y = SIGMOID_MOST if x > SIGMOID_MOST else x
    shifted = fma(y, EIGHTHS_PER_UNIT, SIGMOID_BIAS)
    n = shifted - SIGMOID_BIAS
    high = fma(n, EIGHTH, y)
    r = fma(n, EIGHTH_REST, high)
    square = fma(high, high, TINY)
    p = fma(square, fma(high, SIGMOID_Q1, SIGMOID_Q0), r)
    u = ZERO if x < SIGMOID_LEAST else eighths(shifted)
    return ZERO if x < SIGMOID_LEAST else u / ((u + ONE) - p)


@njit(inline="always")
def exp_parts(t):
    """Return p and u of exp(2 t) = (p + 1/2) / u: see lf_exp_parts."""
    shifted = fma(t, HALVES_PER_UNIT, TANH_BIAS)
    n = TANH_BIAS - shifted
    r = fma(n, HALF_STEP, t)
    some = ZERO if t > SQUARE_LEAST else r
    square = some * some
    q01 = fma(r, TANH_Q1, TANH_Q0)
    q = fma(square, fma(square, TANH_Q4, fma(r, TANH_Q3, TANH_Q2)), q01)
    return fma(square, q, r), shift_into_exponent(shifted)


@njit(inline="always")
def tanh(x):
    """The hyperbolic tangent."""
    t = -abs(x)
    p, u = exp_parts(TANH_LEAST if t < TANH_LEAST else t)
    return with_sign_of((p + (HALF - u)) / (p + (HALF + u)), x)


@njit(inline="always")
def canonical(a):
    """No subnormals, one NaN."""
    flushed = with_sign_of(ZERO, a) if abs(a) < SMALLEST_NORMAL else a
    return NAN if a != a else flushed  # noqa: PLR0124


@njit(inline="always")
def add_half(weights, at, x, first, count, sums, to, rows):
    """Do sums[to + j] += w[k, j] * x[first + k] for j < rows, one chain per j in ascending k.

    CHAINED k share a pass over the sums, so that these are loaded and stored that many times less,
    and their weights stand together for LANES rows, so that memory is read from front to back. The
    operands are loaded before that pass: LLVM can't know that the sums are elsewhere. The order
    within each chain stays.
    """
    whole = count - count % CHAINED
    for k in range(0, whole, CHAINED):
        xs = load_many(x, first + k)
        for j in range(0, rows, LANES):
            add_products(weights, at, sums, to + j, xs)
            at += CHAINED * LANES
    for k in range(whole, count):
        one = load_one(x, first + k)
        for j in range(0, rows, LANES):
            add_products(weights, at, sums, to + j, one)
            at += LANES


@njit(inline="always")
def overlap(a, a_count, b, b_count):
    """Say whether two blocks of floats share memory."""
    p, q = address_of(a), address_of(b)
    return p < q + 4 * b_count and q < p + 4 * a_count


@njit(inline="always")
def take_frame(frame, x):
    """Copy a frame to where it may become canonical."""
    for k in range(len(x)):
        frame[k] = canonical(x[k])


@njit(inline="always")
def update(i, f, g, o, c):
    """Return the new (h, c) of one unit from its pre-activations."""
    c = canonical(fma(sigmoid(f), c, sigmoid(i) * tanh(g)))
    return canonical(sigmoid(o) * tanh(c)), c


@njit(inline="always")
def whole_number(a, factor):
    """Return an int8 operand: rounded to the nearest even, within +-127."""
    a = a * factor
    a = a if a > F(-127) else F(-127)  # NaN, too, becomes that
    return np.int32(np.rint(a if a < F(127) else F(127)))


@njit(inline="always")
def quantise_frame(x, q):
    """Write the int8 operands of a frame and return their scale, NaN for one that is not finite."""
    largest, finite = ZERO, True
    for a in x:  # what is below TINY becomes zero anyway, so x need not be canonical
        finite &= abs(a) < INFINITY
        largest = abs(a) if abs(a) > largest else largest
    if not finite:
        return NAN
    silent = largest < TINY
    factor = ZERO if silent else F(127) / largest
    for k in range(len(x)):
        q[k] = whole_number(x[k], factor)
    return ZERO if silent else largest / F(127)


@njit(inline="always")
def quantise_hidden(h, q):
    """Write the int8 operands of a hidden state and return 1, NaN where it is not finite."""
    finite = True
    for k in range(len(h)):
        finite &= abs(h[k]) < INFINITY
        q[k] = whole_number(h[k], F(127))
    return ONE if finite else NAN


# What both kinds of kernel take: the weights; an array of addresses of what stays the same from
# call to call, since few arguments are passed quicker; xs (steps, I); ys (steps, H). The addresses:
#     floats (L, n, 4, R): the bias and, for int8, the scales of W_ih and W_hh; R: H in whole LANES
#     sizes: I, H, L, R
#     state (2, L, H): h and c
#     sums (1 + L, 4, R): the input half's, and each layer's recurrent half's
#     operands: scratch for the frame or, for int8, for what frame and hidden state become
#     flags: see `new_flags`
# They return OVERLAP where xs and ys share memory, BUSY where another thread is inside, and FORKED
# where a fork has left half of a step, and have done nothing then. The flags live here, where no
# signal handler can come between them and what they stand for. With steps = -1 the recurrent sums
# of the next step are made, and that is all.
def _float_kernel(weights, addresses_p, xs_p, ys_p, steps):
    addresses = carray(addresses_p, 6)
    floats_p, state_p, sums_p = (
        as_float(addresses[0]),
        as_float(addresses[2]),
        as_float(addresses[3]),
    )
    sizes_p, operands_p, flags = as_int(addresses[1]), as_float(addresses[4]), as_int(addresses[5])
    inputs, units, layers, padded = carray(sizes_p, 4)
    if overlap(xs_p, steps * inputs, ys_p, steps * units):
        return OVERLAP
    status = enter(flags, LOOKS if steps < 0 else ADVANCES)
    if status != DONE:
        return status
    rows, prepared = 4 * padded, carray(flags, 2)[1:]
    floats, state = carray(floats_p, (layers, 1, rows)), carray(state_p, (2, layers, units))
    sums, frame = carray(sums_p, (1 + layers, rows)), carray(operands_p, inputs)
    gates, h, c = carray(sums_p, (1 + layers, 4, padded)), state[0], state[1]
    ahead = steps < 0
    xs, ys = carray(xs_p, (max(steps, 0), inputs)), carray(ys_p, (max(steps, 0), units))
    for t in range(abs(steps)):
        if not ahead:
            take_frame(frame, xs[t])
        at = 0
        for n in range(layers):
            below, start, columns = operands_p, 0, inputs
            if n > 0:
                below, start, columns = state_p, (n - 1) * units, units
            middle = at + rows * columns
            # through one loop, for which the memory is up to twice as fast as for two
            for half in range(1 if ahead else 0, 1 if prepared[0] else 2):
                if half == 0:
                    x, first, count, place, to = below, start, columns, at, 0
                    sums[0] = floats[n, 0]
                else:
                    x, first, count, place, to = state_p, n * units, units, middle, (1 + n) * rows
                    sums[1 + n] = ZERO
                add_half(weights, place, x, first, count, sums_p, to, rows)
            if not ahead:
                left, right = gates[0], gates[1 + n]
                for j in range(units):
                    h[n, j], c[n, j] = update(
                        left[0, j] + right[0, j],
                        left[1, j] + right[1, j],
                        left[2, j] + right[2, j],
                        left[3, j] + right[3, j],
                        c[n, j],
                    )
            at = middle + rows * units
        prepared[0] = ahead
        if not ahead:
            ys[t] = h[layers - 1]
    leave(flags)
    return DONE


def _int8_kernel(weights, addresses_p, xs_p, ys_p, steps):
    addresses = carray(addresses_p, 6)
    floats_p, state_p, sums_p = (
        as_float(addresses[0]),
        as_float(addresses[2]),
        as_int32(addresses[3]),
    )
    sizes_p, operands_p, flags = as_int(addresses[1]), as_int32(addresses[4]), as_int(addresses[5])
    inputs, units, layers, padded = carray(sizes_p, 4)
    if overlap(xs_p, steps * inputs, ys_p, steps * units):
        return OVERLAP
    status = enter(flags, LOOKS if steps < 0 else ADVANCES)
    if status != DONE:
        return status
    inputs_n, units_n = whole_groups(inputs), whole_groups(units)
    rows, prepared = 4 * padded, carray(flags, 2)[1:]
    floats, state = carray(floats_p, (layers, 3, 4, padded)), carray(state_p, (2, layers, units))
    sums, both = carray(sums_p, (1 + layers, rows)), carray(operands_p, inputs_n + units_n)
    gates, h, c = carray(sums_p, (1 + layers, 4, padded)), state[0], state[1]
    frame, hidden = both[:inputs_n], both[inputs_n:]  # zeros behind what is written
    ahead = steps < 0
    xs, ys = carray(xs_p, (max(steps, 0), inputs)), carray(ys_p, (max(steps, 0), units))
    for t in range(abs(steps)):
        at = 0
        for n in range(layers):
            middle = at + rows * (inputs_n if n == 0 else units_n)
            scale = quantise_hidden(h[n], hidden)
            if not prepared[0]:
                sums[1 + n] = 0
                add_half(
                    weights, middle, operands_p, inputs_n, units_n, sums_p, (1 + n) * rows, rows
                )
            if not ahead:
                sums[0] = 0
                if n == 0:
                    scale = scale * quantise_frame(xs[t], frame)
                    add_half(weights, at, operands_p, 0, inputs_n, sums_p, 0, rows)
                else:
                    scale = scale * quantise_hidden(h[n - 1], hidden) * HIDDEN_SCALE
                    add_half(weights, at, operands_p, inputs_n, units_n, sums_p, 0, rows)
                for j in range(units):
                    h[n, j], c[n, j] = update(
                        int8_sum(gates, floats, n, 0, j, scale),
                        int8_sum(gates, floats, n, 1, j, scale),
                        int8_sum(gates, floats, n, 2, j, scale),
                        int8_sum(gates, floats, n, 3, j, scale),
                        c[n, j],
                    )
            at = middle + rows * units_n
        prepared[0] = ahead
        if not ahead:
            ys[t] = h[layers - 1]
    leave(flags)
    return DONE


@njit(inline="always")
def whole_groups(count):
    """Round up to a multiple of CHAINED."""
    return (count + CHAINED - 1) // CHAINED * CHAINED


@njit(inline="always")
def int8_sum(gates, floats, n, gate, j, scale):
    """Return a pre-activation from the whole numbers of both halves."""
    left = fma(F(gates[0, gate, j]), floats[n, 1, gate, j] * scale, floats[n, 0, gate, j])
    return fma(F(gates[1 + n, gate, j]), floats[n, 2, gate, j], left)


float_p, int64_p = types.CPointer(f32), types.CPointer(types.int64)


@cache.compiled(types.int64(float_p, float_p, types.int64, types.boolean, int64_p))
def _copy_state(source_p, target_p, count, unprepare, flags):
    """Copy h and c, all of it or nothing; it must not come between the parts of a step."""
    status = enter(flags, OVERWRITES if unprepare else LOOKS)
    if status != DONE:
        return status
    source, target = carray(source_p, count), carray(target_p, count)
    for j in range(count):
        target[j] = source[j]
    if unprepare:
        carray(flags, 2)[1] = 0
    leave(flags)
    return DONE


@cache.compiled(types.void(types.boolean, types.CPointer(f32), types.CPointer(f32), types.int64))
def _activate(is_tanh, x_p, y_p, count):
    x, y = carray(x_p, count), carray(y_p, count)
    for j in range(count):
        y[j] = tanh(x[j]) if is_tanh else sigmoid(x[j])


def compiled_for(function: Any, weight: Any) -> Any:
    """Compile a kernel for weights of that type."""
    return cache.compiled(
        types.int64(types.CPointer(weight), int64_p, float_p, float_p, types.int64)
    )(function)


FUNCTION_OF = {
    "float32": (_float_kernel, f32),
    "float16": (_float_kernel, types.uint16),
    "int8": (_int8_kernel, types.int8),
}
kernels: dict[str, Any] = {}  # they live as long as their addresses

ffi = FFI()
FLOATS = ffi.typeof("float[]")
STEPS = "int64_t (*)(void *, void *, float *, float *, int64_t)"
copy_state = ffi.cast("int64_t (*)(float *, float *, int64_t, _Bool, void *)", _copy_state.address)
numba_activate = ffi.cast("void (*)(_Bool, float *, float *, int64_t)", _activate.address)


def kernel(weight_dtype: str) -> Any:
    """Return the kernel for weights of that dtype, compiled when it is first asked for."""
    if weight_dtype not in kernels:
        # of two threads that come here at once, both take what one of them has made
        kernels.setdefault(weight_dtype, compiled_for(*FUNCTION_OF[weight_dtype]))
    return ffi.cast(STEPS, kernels[weight_dtype].address)
