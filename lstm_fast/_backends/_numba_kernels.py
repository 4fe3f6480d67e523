"""The kernels of the Numba backend: same order of arithmetic as the C core, same bits.

The activations follow csrc/generic/activations.h line by line; the coefficients, and the reasons,
are there. What NumPy has no word for (fma, moving bits) is asked of LLVM directly, as intrinsics:
they compile to single instructions and keep the loops vectorisable.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from cffi import FFI
from llvmlite import ir
from numba import carray, cfunc, njit, types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic

f32 = types.float32
F = np.float32
FLOAT, INT = ir.FloatType(), ir.IntType(32)
CHAINED = 4  # how many k one pass over the sums takes, and
LANES = 16  # how many rows stand side by side; see float_sums


def _compile(*signature: Any) -> Callable[[Any], Any]:
    """Compile now, from the on-disk cache where there is a place for one, for C to call."""

    def decorate(function: Any) -> Any:
        try:
            return cfunc(*signature, cache=True, error_model="numpy")(function)
        except RuntimeError as error:
            if "cannot cache" not in str(error):
                raise
            return cfunc(*signature, error_model="numpy")(function)

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
ZERO, ONE, TWO, NAN, INFINITY = F(0), F(1), F(2), F(np.nan), F(np.inf)
QUANTISE_TINY = F(2.0**-100)
HIDDEN_SCALE = ONE / F(127)
DONE, BUSY = 0, 1


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


def _vector(builder: Any, pointer: Any, offset: Any, element: Any) -> Any:
    """Return a pointer to LANES elements at that offset."""
    at = builder.gep(pointer, [offset])
    return builder.bitcast(at, ir.VectorType(element, LANES).as_pointer())


def _load_weights(builder: Any, pointer: Any, offset: Any) -> Any:
    """Load LANES weights: float32 as they are, float16 (as bits) widened, int8 as int32.

    Moved to where float32 has its exponent, a float16 is 2^-112 of what it should be, subnormals
    included; a multiplication by 2^112 is exact. (LLVM's own widening needs F16C or a library.)
    """
    element = pointer.type.pointee
    weights = builder.load(_vector(builder, pointer, offset, element), align=1)
    if element == FLOAT:
        return weights
    floats, ints = ir.VectorType(FLOAT, LANES), ir.VectorType(INT, LANES)
    if element == ir.IntType(8):
        return builder.sext(weights, ints)

    def every(value: int) -> Any:
        return ir.Constant(ints, [value] * LANES)

    bits = builder.zext(weights, ints)
    magnitude = builder.shl(builder.and_(bits, every(0x7FFF)), every(13))
    sign = builder.shl(builder.and_(bits, every(0x8000)), every(16))
    scale = ir.Constant(floats, [2.0**112] * LANES)
    value = builder.fmul(builder.bitcast(magnitude, floats), scale)
    return builder.bitcast(builder.or_(builder.bitcast(value, ints), sign), floats)


def _add_products(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Generate sums[to + j] += weights[at + i * LANES + j] * x_i for all i in order, j < LANES."""
    weights, at, sums, to, *operands = args
    element = operands[0].type
    place = _vector(builder, sums, to, element)
    total = builder.load(place, align=4)
    undefined = ir.Constant(total.type, ir.Undefined)
    if element == FLOAT:
        types_of_fma = ir.FunctionType(total.type, [total.type] * 3)
        fma = get_or_insert_function(builder.module, types_of_fma, f"llvm.fma.v{LANES}f32")
    first = ir.Constant(ir.VectorType(INT, LANES), [0] * LANES)
    for i, operand in enumerate(operands):
        offset = builder.add(at, ir.Constant(at.type, i * LANES))
        w = _load_weights(builder, weights, offset)
        x = builder.insert_element(undefined, operand, ir.Constant(INT, 0))
        x = builder.shuffle_vector(x, undefined, first)
        if element == FLOAT:
            total = builder.call(fma, [w, x, total])
        else:
            total = builder.add(total, builder.mul(w, x))
    builder.store(total, place, align=4)
    return context.get_dummy_value()


@intrinsic
def add_four(typing_context: Any, w: Any, at: Any, sums: Any, to: Any,
             x0: Any, x1: Any, x2: Any, x3: Any) -> Any:  # fmt: skip
    """Add the products of four k to LANES sums, in ascending order."""
    return types.void(w, types.int64, sums, types.int64, x0, x1, x2, x3), _add_products


@intrinsic
def add_one(typing_context: Any, w: Any, at: Any, sums: Any, to: Any, x: Any) -> Any:
    """Add the products of one k to LANES sums."""
    return types.void(w, types.int64, sums, types.int64, x), _add_products


@njit(inline="always")
def add_half(weights, at, x, sums, to, rows):
    """Do sums[to + j] += w[k, j] * x[k] for j < rows, one chain per j in ascending k.

    Four k share a pass over the sums, so that these are loaded and stored that many times less, and
    their weights stand together for LANES rows, so that memory is read from front to back. The
    order within each chain stays. Returns where the weights end.
    """
    whole = len(x) - len(x) % CHAINED
    for k in range(0, whole, CHAINED):
        for j in range(0, rows, LANES):
            add_four(weights, at, sums, to + j, x[k], x[k + 1], x[k + 2], x[k + 3])
            at += CHAINED * LANES
    for k in range(whole, len(x)):
        for j in range(0, rows, LANES):
            add_one(weights, at, sums, to + j, x[k])
            at += LANES
    return at


def _flag(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Generate an exchange: store args[1] at args[0], return what was there."""
    return builder.atomic_rmw("xchg", args[0], args[1], "acq_rel")


@intrinsic
def exchange(typing_context: Any, place: Any, value: Any) -> Any:
    """Store value and return what was there, as one step that no other thread can come between."""
    return types.int64(types.CPointer(types.int64), types.int64), _flag


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
    for a in x:  # what is below QUANTISE_TINY becomes zero anyway, so x need not be canonical
        finite &= abs(a) < INFINITY
        largest = abs(a) if abs(a) > largest else largest
    if not finite:
        return NAN
    silent = largest < QUANTISE_TINY
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


# What both kinds of kernel take, beside their weights: floats (L, n, 4, R), the bias and for int8
# the scales of W_ih and W_hh, R being H in whole LANES; sizes (I, H, L, R); state (2, L, H), h, c;
# sums (1 + L, 4, R), the input half's and each layer's recurrent half's; operands, scratch for the
# frame or, for int8, for what it becomes; flags (busy, prepared); xs (steps, I) and ys (steps, H).
# They return BUSY where another thread is inside, and have done nothing then. Both flags live here,
# where no signal handler can come between them and what they stand for. With steps = -1 the
# recurrent sums of the next step are made, and that is all.
def _float_kernel(
    floats_p, weights, sizes_p, state_p, sums_p, operands_p, flags, xs_p, ys_p, steps
):
    if exchange(flags, 1) != 0:
        return BUSY
    inputs, units, layers, padded = carray(sizes_p, 4)
    rows, prepared = 4 * padded, carray(flags, 2)[1:]
    floats, state = carray(floats_p, (layers, 1, rows)), carray(state_p, (2, layers, units))
    sums, frame = carray(sums_p, (1 + layers, rows)), carray(operands_p, inputs)
    gates, h, c = carray(sums_p, (1 + layers, 4, padded)), state[0], state[1]
    ahead = steps < 0
    xs, ys = carray(xs_p, (max(steps, 0), inputs)), carray(ys_p, (max(steps, 0), units))
    for t in range(abs(steps)):
        if not ahead:
            for k in range(inputs):
                frame[k] = canonical(xs[t, k])
        at = 0
        for n in range(layers):
            below = frame if n == 0 else h[n - 1]
            middle = at + rows * len(below)
            if not prepared[0]:
                sums[1 + n] = ZERO
                add_half(weights, middle, h[n], sums_p, (1 + n) * rows, rows)
            if not ahead:
                sums[0] = floats[n, 0]
                add_half(weights, at, below, sums_p, 0, rows)
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
    exchange(flags, 0)
    return DONE


def _int8_kernel(floats_p, weights, sizes_p, state_p, sums_p, operands_p, flags, xs_p, ys_p, steps):
    if exchange(flags, 1) != 0:
        return BUSY
    inputs, units, layers, padded = carray(sizes_p, 4)
    inputs_4, units_4 = whole_groups(inputs), whole_groups(units)
    rows, prepared = 4 * padded, carray(flags, 2)[1:]
    floats, state = carray(floats_p, (layers, 3, 4, padded)), carray(state_p, (2, layers, units))
    sums, both = carray(sums_p, (1 + layers, rows)), carray(operands_p, inputs_4 + units_4)
    gates, h, c = carray(sums_p, (1 + layers, 4, padded)), state[0], state[1]
    frame, hidden = both[:inputs_4], both[inputs_4:]  # zeros behind what is written
    ahead = steps < 0
    xs, ys = carray(xs_p, (max(steps, 0), inputs)), carray(ys_p, (max(steps, 0), units))
    for t in range(abs(steps)):
        at = 0
        for n in range(layers):
            middle = at + rows * (inputs_4 if n == 0 else units_4)
            scale = quantise_hidden(h[n], hidden)
            if not prepared[0]:
                sums[1 + n] = 0
                add_half(weights, middle, hidden, sums_p, (1 + n) * rows, rows)
            if not ahead:
                sums[0] = 0
                if n == 0:
                    scale = scale * quantise_frame(xs[t], frame)
                    add_half(weights, at, frame, sums_p, 0, rows)
                else:
                    scale = scale * quantise_hidden(h[n - 1], hidden) * HIDDEN_SCALE
                    add_half(weights, at, hidden, sums_p, 0, rows)
                for j in range(units):
                    h[n, j], c[n, j] = update(
                        int8_sum(gates, floats, n, 0, j, scale),
                        int8_sum(gates, floats, n, 1, j, scale),
                        int8_sum(gates, floats, n, 2, j, scale),
                        int8_sum(gates, floats, n, 3, j, scale),
                        c[n, j],
                    )
            at = middle + rows * units_4
        prepared[0] = ahead
        if not ahead:
            ys[t] = h[layers - 1]
    exchange(flags, 0)
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


@_compile(types.int64(float_p, float_p, types.int64, types.boolean, int64_p))
def _copy_state(source_p, target_p, count, unprepare, flags):
    """Copy h and c, all of it or nothing; it must not come between the parts of a step."""
    if exchange(flags, 1) != 0:
        return BUSY
    source, target = carray(source_p, count), carray(target_p, count)
    for j in range(count):
        target[j] = source[j]
    if unprepare:
        carray(flags, 2)[1] = 0
    exchange(flags, 0)
    return DONE


@_compile(types.void(types.boolean, types.CPointer(f32), types.CPointer(f32), types.int64))
def _activate(is_tanh, x_p, y_p, count):
    x, y = carray(x_p, count), carray(y_p, count)
    for j in range(count):
        y[j] = tanh(x[j]) if is_tanh else sigmoid(x[j])


def _kernel(function: Any, weight: Any, operand: Any) -> Any:
    """Compile a kernel for weights of that type; operands and sums share the other one."""
    weights, operands = types.CPointer(weight), types.CPointer(operand)
    buffers = (float_p, weights, int64_p, float_p, operands, operands, int64_p)
    return _compile(types.int64(*buffers, float_p, float_p, types.int64))(function)


kernels = {
    "float32": _kernel(_float_kernel, f32, f32),
    "float16": _kernel(_float_kernel, types.uint16, f32),
    "int8": _kernel(_int8_kernel, types.int8, types.int32),
}

ffi = FFI()
FLOATS = ffi.typeof("float[]")
STEPS = (
    "int64_t (*)(void *, void *, void *, void *, void *, void *, void *, float *, float *, int64_t)"
)
steps = {name: ffi.cast(STEPS, kernel.address) for name, kernel in kernels.items()}
copy_state = ffi.cast("int64_t (*)(float *, float *, int64_t, _Bool, void *)", _copy_state.address)
numba_activate = ffi.cast("void (*)(_Bool, float *, float *, int64_t)", _activate.address)
