"""What the Numba kernels ask of LLVM directly, where NumPy has no word for it.

fma, moving bits, vectors of LANES and atomic flags: each compiles to an instruction or a few.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core.cgutils import get_or_insert_function, unpack_tuple
from numba.extending import intrinsic

f32 = types.float32
FLOAT, INT = ir.FloatType(), ir.IntType(32)
CHAINED = 8  # how many k one pass over the sums takes, and
LANES = 16  # how many rows stand side by side; see add_half in _numba_kernels.py


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
def bits_of(typing_context: Any, a: Any) -> Any:
    """The bits of a float as a signed number of 32 bits, in 64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.sext(builder.bitcast(args[0], INT), ir.IntType(64))

    return types.int64(f32), generate


@intrinsic
def float_of(typing_context: Any, bits: Any) -> Any:
    """The float that has the lower 32 bits of a number."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(builder.trunc(args[0], INT), FLOAT)

    return f32(types.int64), generate


# The bits of 2^(j/8), less j at bit 20: see lf_eighths in csrc/isa/region.h.
EIGHTHS = (0, 0xFFFB95C2, 0xFFF837F0, 0xFFF5FED7, 0xFFF504F3, 0xFFF5672A, 0xFFF744FD, 0xFFFAC0C7)


@intrinsic
def eighths(typing_context: Any, a: Any) -> Any:
    """2^(n/8), n + 8 * 127 being the low eleven bits of a float.

    The table is a tree of choices: a look-up in memory would be one load for each value.
    """

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], INT)
        level = [ir.Constant(INT, value) for value in EIGHTHS]
        for bit in range(3):
            is_set = builder.trunc(builder.lshr(bits, ir.Constant(INT, bit)), ir.IntType(1))
            level = [
                builder.select(is_set, odd, even)
                for even, odd in zip(level[::2], level[1::2], strict=True)
            ]
        power = builder.add(builder.shl(bits, ir.Constant(INT, 20)), level[0])
        return builder.bitcast(power, FLOAT)

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


def _load_operands(count: int) -> Any:
    """Generate (x[k], x[k + 1], ...), count of them."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, k = args
        places = (builder.add(k, ir.Constant(k.type, i)) for i in range(count))
        values = [builder.load(builder.gep(x, [place])) for place in places]
        return context.make_tuple(builder, signature.return_type, values)

    return generate


@intrinsic
def load_many(context: Any, x: Any, k: Any) -> Any:
    """Return CHAINED operands from x[k] on."""
    return types.UniTuple(x.dtype, CHAINED)(x, types.int64), _load_operands(CHAINED)


@intrinsic
def load_one(context: Any, x: Any, k: Any) -> Any:
    """Return x[k], as `add_products` takes it."""
    return types.UniTuple(x.dtype, 1)(x, types.int64), _load_operands(1)


@intrinsic
def add_products(context: Any, w: Any, at: Any, sums: Any, to: Any, xs: Any) -> Any:
    """Do sums[to + j] += w[at + i * LANES + j] * xs[i], j < LANES, in ascending i."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weights, at, sums, to, operands = args
        element = sums.type.pointee
        place = _vector(builder, sums, to, element)
        total = builder.load(place, align=4)
        undefined = ir.Constant(total.type, ir.Undefined)
        first = ir.Constant(ir.VectorType(INT, LANES), [0] * LANES)
        if element == FLOAT:
            types_of_fma = ir.FunctionType(total.type, [total.type] * 3)
            fma = get_or_insert_function(builder.module, types_of_fma, f"llvm.fma.v{LANES}f32")
        for i, one in enumerate(unpack_tuple(builder, operands, len(xs))):
            w = _load_weights(builder, weights, builder.add(at, ir.Constant(at.type, i * LANES)))
            x = builder.insert_element(undefined, one, ir.Constant(INT, 0))
            x = builder.shuffle_vector(x, undefined, first)
            if element == FLOAT:
                total = builder.call(fma, [w, x, total])
            else:
                total = builder.add(total, builder.mul(w, x))
        builder.store(total, place, align=4)
        return context.get_dummy_value()

    return types.void(w, types.int64, sums, types.int64, xs), generate


def _pointer_to(pointee: Any) -> Any:
    """Return an intrinsic that takes an address for a pointer to that type."""

    @intrinsic
    def as_pointer(typing_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return types.CPointer(pointee)(types.int64), generate

    return as_pointer


as_float, as_int, as_int32 = map(_pointer_to, (f32, types.int64, types.int32))


@intrinsic
def address_of(typing_context: Any, pointer: Any) -> Any:
    """Return a pointer as a number."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ptrtoint(args[0], ir.IntType(64))

    return types.int64(pointer), generate


@intrinsic
def compare_exchange(typing_context: Any, place: Any, expected: Any, value: Any) -> Any:
    """Store value where `expected` stands, and return what was there, as one step."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        both = builder.cmpxchg(*args, ordering="acq_rel", failordering="acquire")
        return builder.extract_value(both, 0)

    return types.int64(types.CPointer(types.int64), types.int64, types.int64), generate


@intrinsic
def call_address(typing_context: Any, address: Any, arguments: Any) -> Any:
    """Call a C function of integers and pointers, all as int64; the result, too, whatever it is."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        word = ir.IntType(64)
        function_type = ir.FunctionType(word, [word] * len(arguments))
        function = builder.inttoptr(args[0], function_type.as_pointer())
        return builder.call(function, unpack_tuple(builder, args[1], len(arguments)))

    return types.int64(types.int64, arguments), generate


def _flag(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Generate an exchange: store args[1] at args[0], return what was there."""
    return builder.atomic_rmw("xchg", args[0], args[1], "acq_rel")


@intrinsic
def exchange(typing_context: Any, place: Any, value: Any) -> Any:
    """Store value and return what was there, as one step that no other thread can come between."""
    return types.int64(types.CPointer(types.int64), types.int64), _flag
