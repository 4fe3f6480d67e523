"""exp, log, erf, softplus and pow for the Numba kernels of whole models.

The formulas, and what they are off by, are in csrc/lstm_fast.h; the coefficients are those of
csrc/generic/exponentials.h and power.h, where the reasons are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from ._numba_intrinsics import bits_of, float_of, fma, shift_into_exponent, with_sign_of
from ._numba_kernels import HALF, INFINITY, NAN, ONE, SMALLEST_NORMAL, TINY, ZERO

F = np.float32
TWO, MOST = F(2), np.finfo(F).max
compiled = njit(error_model="numpy")  # functions of their own, as in _numba_variants.py


def _hex(text: str) -> Any:
    return F(float.fromhex(text))


POWER_BIAS, POWER_MOST, POWER_LEAST = _hex("0x1.8000FEp23"), F(127), F(-126)

EXP_MOST, PER_LOG2, LOG2, LOG2_REST = (
    F(89),
    _hex("0x1.715476p+0"),
    _hex("-0x1.62e43p-1"),
    _hex("0x1.05c61p-29"),
)
EXP_Q0, EXP_Q1, EXP_Q2 = _hex("0x1.fffffcp-2"), _hex("0x1.555492p-3"), _hex("0x1.5558acp-5")
EXP_Q3, EXP_Q4 = _hex("0x1.12397cp-7"), _hex("0x1.6a5198p-10")


@compiled
def times_power(w, shifted):
    """Return (1 + w) 2^n, shifted being n + POWER_BIAS; 0 below n = -126."""
    n = shifted - POWER_BIAS
    most = POWER_BIAS + POWER_MOST
    u = shift_into_exponent(most if most < shifted else shifted)
    y = fma(w, u, u)
    y = y + y if n > POWER_MOST else y  # 2^128 is not a float, but y may be one
    return ZERO if n < POWER_LEAST else y


@compiled
def exponential(x):
    """Return exp(x)."""
    bounded = EXP_MOST if x > EXP_MOST else x
    shifted = fma(bounded, PER_LOG2, POWER_BIAS)
    n = shifted - POWER_BIAS
    r = fma(n, LOG2_REST, fma(n, LOG2, bounded))
    square = fma(r, r, TINY)
    q = fma(square, EXP_Q4, fma(r, EXP_Q3, EXP_Q2))
    q = fma(square, q, fma(r, EXP_Q1, EXP_Q0))
    return times_power(fma(square, q, r), shifted)


FROM_THREE_QUARTERS, FROM_ROOT_HALF = 0x3F400000, 0x3F3504F3  # the bits of what 1 + f is at least


@compiled
def take_apart(x, least):
    """Return n and f of x = 2^n (1 + f), where x is a positive normal number."""
    n = (bits_of(x) - least) >> 23
    return F(n), float_of(bits_of(x) - (n << 23)) - ONE


LOG_SQUARE_LEAST = F(2.0**-30)
LOG_Q0, LOG_Q1, LOG_Q2 = F(-0.5), _hex("0x1.5555a4p-2"), _hex("-0x1.000046p-2")
LOG_Q3, LOG_Q4, LOG_Q5 = _hex("0x1.99697ap-3"), _hex("-0x1.54ee28p-3"), _hex("0x1.2883bep-3")
LOG_Q6, LOG_Q7, LOG_Q8 = _hex("-0x1.0d9942p-3"), _hex("0x1.acd728p-4"), _hex("-0x1.71a206p-5")
LN2_HIGH, LN2_LOW = _hex("0x1.62e4p-1"), _hex("0x1.7f7d1cp-20")


@compiled
def log_of_parts(n, f):
    """Return log(2^n (1 + f)) for -1/4 <= f < 1/2."""
    some = ZERO if abs(f) < LOG_SQUARE_LEAST else f
    square = some * some
    fourth = square * square
    upper = fma(square, fma(f, LOG_Q7, LOG_Q6), fma(f, LOG_Q5, LOG_Q4))
    lower = fma(square, fma(f, LOG_Q3, LOG_Q2), fma(f, LOG_Q1, LOG_Q0))
    q = fma(fourth, fma(fourth, LOG_Q8, upper), lower)
    rest = fma(square, q, n * LN2_LOW)
    return fma(n, LN2_HIGH, f) + rest


@compiled
def logarithm(x):
    """Return log(x)."""
    if not x < INFINITY:
        return x
    if x < SMALLEST_NORMAL:
        return NAN if x < ZERO else -INFINITY
    n, f = take_apart(x, FROM_THREE_QUARTERS)
    return log_of_parts(n, f)


@compiled
def softplus(x):
    """Return max(x, 0) + log(1 + exp(-|x|))."""
    e = exponential(-abs(x))
    log = log_of_parts(ZERO, e) if e < HALF else log_of_parts(ONE, HALF * (e - ONE))
    return (ZERO if x < ZERO else x) + log


NEAR = tuple(
    map(
        _hex,
        (
            *("0x1.4771fcp-14", "-0x1.a3515ep-11", "0x1.53f224p-8", "-0x1.b7f71ap-6"),
            *("0x1.ce2ce6p-4", "-0x1.81273ep-2", "0x1.06eba8p-3"),
        ),
    )
)
FAR = tuple(
    map(
        _hex,
        (
            *("-0x1.86debep-13", "0x1.825bcap-9", "-0x1.65cbdcp-6", "0x1.a65372p-4"),
            *("0x1.46bae6p-1", "0x1.2088ecp+0", "0x1.661a16p-12"),
        ),
    )
)
ERF_MOST = F(4)


@compiled
def polynomial(x, coefficients):
    """Return a polynomial from its highest coefficient down, nested."""
    y = coefficients[0]
    for k in range(1, len(coefficients)):
        y = fma(x, y, coefficients[k])
    return y


@compiled
def erf(x):
    """Return the error function of x."""
    a = abs(x)
    if a < ONE:
        return fma(x, polynomial(fma(x, x, TINY), NEAR), x)
    t = polynomial(ERF_MOST if a > ERF_MOST else a, FAR)
    return with_sign_of(ONE - exponential(-t), x)


PER_LOG2_TWICE, TWICE_REST = _hex("0x1.715476p+1"), _hex("0x1.4ae0cp-25")
LOG2_QS = tuple(map(_hex, ("0x1.58b61ep-2", "0x1.a5ceb2p-2", "0x1.2776e2p-1", "0x1.ec709ep-1")))
EXP2_QS = tuple(
    map(
        _hex,
        (
            *("0x1.417aacp-13", "0x1.5f094ap-10", "0x1.3b2dd2p-7"),
            *("0x1.c6af7ap-5", "0x1.ebfbdcp-3", "0x1.62e43p-1"),
        ),
    )
)
EXP2_LEAST, EXP2_MOST = F(-150), F(128.25)  # rounds to 128 at most
NO_FRACTION, THREE = F(2.0**23), F(3)


@compiled
def exact_log2(m):
    """Return the logarithm of m >= 0 to the base 2 as a sum of two; NaN of NaN."""
    n, f = take_apart(m, FROM_ROOT_HALF)
    t = TWO + f
    s = f / t
    s_rest = fma(-s, f - (t - TWO), fma(-s, t, f)) / t
    square = s * s
    h = s * PER_LOG2_TWICE
    cubic = (square * s) * polynomial(square, LOG2_QS)
    small = fma(s, TWICE_REST, fma(s_rest, PER_LOG2_TWICE, cubic))
    h_rest = fma(s, PER_LOG2_TWICE, -h) + small
    v = n + h
    rest = (h - (v - n)) + h_rest
    high = v + rest
    low = rest - (high - v)
    if m < SMALLEST_NORMAL:
        high = -INFINITY
    return (high if m < INFINITY else m), low


@compiled
def exp2(p, rest):
    """Return 2^(p + rest)."""
    low = rest if abs(p) < -EXP2_LEAST else ZERO
    bounded = EXP2_MOST if p > EXP2_MOST else (EXP2_LEAST if p < EXP2_LEAST else p)
    shifted = bounded + POWER_BIAS
    r = (bounded - (shifted - POWER_BIAS)) + low
    return times_power(r * polynomial(r, EXP2_QS), shifted)


@compiled
def fraction(a):
    """Return how far it is to the nearest integer; 0 for what has none."""
    size = abs(a)
    return abs(((size + NO_FRACTION) - NO_FRACTION) - size) if size < NO_FRACTION else ZERO


@compiled
def root(a):
    """Return a to the power of 1/2, as C's pow has it."""
    return INFINITY if a < -MOST else np.sqrt(a + ZERO)


@compiled
def power(a, b):  # noqa: PLR0911
    """Return a to the power of b."""
    if b == ZERO:
        return ONE
    if b == ONE:
        return a
    if b == TWO:
        return a * a
    if b == THREE:
        return (a * a) * a
    if b == HALF:
        return root(a)
    if b == -ONE:
        return ONE / a
    if b == -HALF:
        return ONE / root(a)
    if b == -TWO:
        return ONE / (a * a)
    is_number = b == b  # noqa: PLR0124
    if a == ONE or (abs(a) == ONE and is_number and not abs(b) < INFINITY):
        return ONE
    high, low = exact_log2(abs(a))
    p = b * high
    y = exp2(p, fma(b, low, fma(b, high, -p)))
    if not fraction(b * HALF) < HALF:
        y = with_sign_of(y, a)
    is_no_number = -INFINITY < a < ZERO and fraction(b) > ZERO
    return NAN if is_no_number else y
