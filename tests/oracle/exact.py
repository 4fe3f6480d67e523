"""float32 in exact integers: the paragraph "Numbers" of csrc/lstm_fast.h, written out.

A value is a Python float that a float32 can hold, of which a finite one is a whole number of units,
2^-149 each. An operation computes its result exactly, as a whole number of smaller units, and
rounds it once. Only where an operand is not finite, or the exact result is zero, Python's own
arithmetic says which infinity, NaN or zero it is: in float64 no product of two float32 over- or
underflows, so that answer is IEEE 754's for float32, too.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable

INFINITY, NAN = math.inf, math.nan
UNIT = 149  # a float32 is a multiple of 2^-149
SMALLEST_NORMAL = 2.0**-126


def of(text: str) -> float:
    """Return a number as the header writes it: C's, in hexadecimal or not."""
    value = float.fromhex(text) if "x" in text else float(text)
    assert value == struct.unpack("<f", struct.pack("<f", value))[0], text
    return value


def units(a: float) -> int:
    """Return how many units a finite value is."""
    return int(math.ldexp(a, UNIT))


def rounded(
    exact: int, power: int, digits: int = 24, least: int = UNIT, most: float = 2.0**128
) -> float:
    """Return exact * 2^-power, which is not zero, rounded to nearest, ties to even.

    digits, least, most: of the binary format: digits of a significand, the power of its smallest
    unit, and where it overflows; they are those of float32.
    """
    magnitude = abs(exact)
    lost = max(magnitude.bit_length() - digits, power - least)  # binary digits
    if lost > 0:
        kept, rest, half = magnitude >> lost, magnitude & ((1 << lost) - 1), 1 << (lost - 1)
        magnitude = kept + (rest > half or (rest == half and kept & 1))
        power -= lost
    value = math.ldexp(magnitude, -power)
    return math.copysign(INFINITY if value >= most else value, exact)


def are_finite(*values: float) -> bool:
    return all(map(math.isfinite, values))


def fma(a: float, b: float, c: float) -> float:
    if not (math.isfinite(a) and math.isfinite(b) and math.isfinite(c)):
        return a * b + c
    exact = units(a) * units(b) + (units(c) << UNIT)
    return rounded(exact, 2 * UNIT) if exact else a * b + c


def add(a: float, b: float) -> float:
    if not are_finite(a, b):
        return a + b
    exact = units(a) + units(b)
    return rounded(exact, UNIT) if exact else a + b


def sub(a: float, b: float) -> float:
    return add(a, -b)


def mul(a: float, b: float) -> float:
    if not are_finite(a, b):
        return a * b
    exact = units(a) * units(b)
    return rounded(exact, 2 * UNIT) if exact else a * b


def div(a: float, b: float) -> float:
    if b == 0:  # where Python raises
        sign = math.copysign(1.0, a) * math.copysign(1.0, b)
        return NAN if a == 0 or math.isnan(a) else sign * INFINITY
    if not are_finite(a, b) or a == 0:
        return a / b
    more = 2 * UNIT + 128  # digits enough for any quotient, and one that says that it goes on
    whole, rest = divmod(abs(units(a)) << more, abs(units(b)))
    exact = 2 * whole + (rest != 0)
    return rounded(exact if (a < 0) == (b < 0) else -exact, more + 1)


def sqrt(a: float) -> float:
    if a < 0 or math.isnan(a):
        return NAN
    if a in (0, INFINITY):
        return a
    more = 2 * UNIT + 1  # odd, as UNIT is
    square = units(a) << more
    root = math.isqrt(square)
    return rounded(2 * root + (root * root != square), (UNIT + more) // 2 + 1)


def from_integer(whole: int) -> float:
    """float(S) of the header."""
    return rounded(whole, 0) if whole else 0.0


def to_float16(a: float) -> float:
    """Return the float16 that is nearest to a finite value, as a float32."""
    return rounded(units(a), UNIT, digits=11, least=24, most=2.0**16) if a else a


def canonical(a: float) -> float:
    """Return a value in its canonical form; the one NaN is Python's."""
    if math.isnan(a):
        return NAN
    return math.copysign(0.0, a) if abs(a) < SMALLEST_NORMAL else a


def nearest_integer(a: float) -> int:
    """round() of the header, which Python's is."""
    return round(a)


def bits(a: float) -> int:
    """Return the 32 bits of a value."""
    if math.isnan(a):
        return 0x7FC00000
    return int(struct.unpack("<I", struct.pack("<f", a))[0])


def from_bits(pattern: int) -> float:
    return float(struct.unpack("<f", struct.pack("<I", pattern & 0xFFFFFFFF))[0])


def total(values: Iterable[float], square: bool = False) -> float:
    """Sixteen sums, of the values or of their squares, added in ascending order."""
    sums = [0.0] * 16
    for j, value in enumerate(values):
        sums[j % 16] = fma(value, value, sums[j % 16]) if square else add(sums[j % 16], value)
    result = sums[0]
    for one in sums[1:]:
        result = add(result, one)
    return result
