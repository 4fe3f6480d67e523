"""The activations of an LSTM, as csrc/lstm_fast.h writes them at lf_activation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from oracle.exact import add, div, fma, mul, of, sub

EIGHTHS = [
    *map(of, ("1", "0x1.172b84p0", "0x1.306fep0", "0x1.4bfdaep0", "0x1.6a09e6p0")),
    *map(of, ("0x1.8ace54p0", "0x1.ae89fap0", "0x1.d5818ep0")),
]
TINY = 2.0**-100


def sigmoid(x: float) -> float:
    if math.isnan(x):
        return x
    bias = of("0x1.8007Fp23")
    y = 64.0 if x > 64 else x
    if x < of("-0x1.5d589ep6"):
        return 0.0
    n = sub(fma(y, of("0x1.715476p3"), bias), bias)
    d = fma(n, of("-0x1.62e43p-4"), y)
    r = fma(n, of("0x1.05c61p-32"), d)
    z = fma(d, d, TINY)
    p = fma(z, fma(d, of("0x1.5556f8p-3"), of("-0x1.000876p-1")), r)
    e = math.floor(n / 8)
    u = math.ldexp(EIGHTHS[int(n) - 8 * e], e)
    return div(u, sub(add(u, 1.0), p))


def halves(t: float) -> tuple[float, float]:
    """p and u, of which exp(2 t) is (p + 0.5) / u."""
    bias = of("0x1.8000FCp23")
    n = sub(bias, fma(t, of("-0x1.715476p1"), bias))
    r = fma(n, of("-0x1.62e43p-2"), t)
    z = 0.0 if t > -(2.0**-60) else mul(r, r)
    q = fma(
        z,
        fma(z, of("0x1.6bec04p-5"), fma(r, of("0x1.122768p-3"), of("0x1.555674p-2"))),
        fma(r, of("0x1.5554bp-1"), of("0x1.fffffep-1")),
    )
    return fma(z, q, r), math.ldexp(1.0, int(-n) - 1)


def tanh(x: float) -> float:
    if math.isnan(x):
        return x
    t = -abs(x)
    if t < -10:
        return math.copysign(1.0, x)
    p, u = halves(t)
    return math.copysign(div(add(p, sub(0.5, u)), add(p, add(0.5, u))), x)


def relu(x: float) -> float:
    return 0.0 if x < 0 else x


def hard_sigmoid(x: float, alpha: float, beta: float) -> float:
    y = fma(alpha, x, beta)
    y = 0.0 if y < 0 else y
    return 1.0 if y > 1 else y


def leaky_relu(x: float, alpha: float) -> float:
    return mul(alpha, x) if x < 0 else x


def elu(x: float, alpha: float) -> float:
    if not x < 0:
        return x
    p, u = halves(mul(0.5, -20.0 if x < -20 else x))
    return mul(alpha, div(add(p, sub(0.5, u)), u))


def softsign(x: float) -> float:
    m = min(2.0**60, abs(x)) if not math.isnan(x) else x
    return math.copysign(div(m, add(1.0, m)), x)


# of x, alpha and beta
ACTIVATIONS: Mapping[str, Callable[[float, float, float], float]] = {
    "sigmoid": lambda x, alpha, beta: sigmoid(x),
    "tanh": lambda x, alpha, beta: tanh(x),
    "relu": lambda x, alpha, beta: relu(x),
    "hard_sigmoid": hard_sigmoid,
    "affine": lambda x, alpha, beta: fma(alpha, x, beta),
    "leaky_relu": lambda x, alpha, beta: leaky_relu(x, alpha),
    "thresholded_relu": lambda x, alpha, beta: 0.0 if x < alpha else x,
    "scaled_tanh": lambda x, alpha, beta: mul(alpha, tanh(mul(beta, x))),
    "elu": lambda x, alpha, beta: elu(x, alpha),
    "softsign": lambda x, alpha, beta: softsign(x),
}
