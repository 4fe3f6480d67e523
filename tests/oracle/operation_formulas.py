"""The operations of whole models that are no products, as csrc/lstm_fast.h says them.

Each takes canonical values and gives what its formula gives. Whoever computes an operation makes
that canonical, as in the text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from oracle.activation_formulas import (
    TINY,
    elu,
    hard_sigmoid,
    leaky_relu,
    relu,
    sigmoid,
    softsign,
    tanh,
)
from oracle.exact import (
    INFINITY,
    NAN,
    add,
    bits,
    div,
    fma,
    from_bits,
    from_integer,
    mul,
    of,
    sqrt,
    sub,
    total,
)

Row = list[float]
B = of("0x1.8000FEp23")

# ---- of one input ----


def scaled(w: float, s: float) -> float:
    n = sub(s, B)
    m = B + 127 if s > B + 127 else s
    u = from_bits(bits(m) << 23)
    y = fma(w, u, u)
    y = add(y, y) if n > 127 else y
    return 0.0 if n < -126 else y


def exp(x: float) -> float:
    a = 89.0 if x > 89 else x
    s = fma(a, of("0x1.715476p0"), B)
    n = sub(s, B)
    r = fma(n, of("0x1.05c61p-29"), fma(n, of("-0x1.62e43p-1"), a))
    z = fma(r, r, TINY)
    q = fma(
        z,
        fma(z, of("0x1.6a5198p-10"), fma(r, of("0x1.12397cp-7"), of("0x1.5558acp-5"))),
        fma(r, of("0x1.555492p-3"), of("0x1.fffffcp-2")),
    )
    return scaled(fma(z, q, r), s)


def parts(x: float, k: int) -> tuple[float, float]:
    n = (bits(x) - k) >> 23
    return from_integer(n), sub(from_bits(bits(x) - (n << 23)), 1.0)


def logs(n: float, f: float) -> float:
    z = 0.0 if abs(f) < 2.0**-30 else mul(f, f)
    z2 = mul(z, z)
    lower = fma(
        z, fma(f, of("0x1.99697ap-3"), of("-0x1.000046p-2")), fma(f, of("0x1.5555a4p-2"), -0.5)
    )
    upper = fma(
        z,
        fma(f, of("0x1.acd728p-4"), of("-0x1.0d9942p-3")),
        fma(f, of("0x1.2883bep-3"), of("-0x1.54ee28p-3")),
    )
    q = fma(z2, fma(z2, of("-0x1.71a206p-5"), upper), lower)
    return add(fma(n, of("0x1.62e4p-1"), f), fma(z, q, mul(n, of("0x1.7f7d1cp-20"))))


def log(x: float) -> float:
    if x < 0:
        return NAN
    if x == 0:
        return -INFINITY
    return logs(*parts(x, 0x3F400000)) if x < INFINITY else x


def softplus(x: float) -> float:
    e = exp(-abs(x))
    return add(relu(x), logs(0.0, e) if e < 0.5 else logs(1.0, mul(0.5, sub(e, 1.0))))


def polynomial(x: float, first: str, *others: str) -> float:
    p = of(first)
    for c in others:
        p = fma(x, p, of(c))
    return p


def erf(x: float) -> float:
    a = abs(x)
    if a < 1:
        coefficients = "0x1.4771fcp-14 -0x1.a3515ep-11 0x1.53f224p-8 -0x1.b7f71ap-6 0x1.ce2ce6p-4"
        coefficients += " -0x1.81273ep-2 0x1.06eba8p-3"
        return fma(x, polynomial(fma(x, x, TINY), *coefficients.split()), x)
    coefficients = "-0x1.86debep-13 0x1.825bcap-9 -0x1.65cbdcp-6 0x1.a65372p-4 0x1.46bae6p-1"
    coefficients += " 0x1.2088ecp0 0x1.661a16p-12"
    t = polynomial(4.0 if a > 4 else a, *coefficients.split())
    return math.copysign(sub(1.0, exp(-t)), x)


def gelu(x: float) -> float:
    h = mul(x, 0.5)
    return fma(h, erf(mul(x, of("0x1.6a09e6p-1"))), h)


def gelu_tanh(x: float) -> float:
    h = mul(x, 0.5)
    u = fma(x, x, TINY)
    return fma(h, tanh(mul(x, fma(u, of("0x1.2444f2p-5"), of("0x1.988454p-1")))), h)


def hard_swish(x: float) -> float:
    return mul(x, hard_sigmoid(x, of("0x1.555556p-3"), 0.5))


def clip(x: float, least: float, most: float) -> float:
    y = least if x < least else x
    return most if most < y else y


# code: of x and the attributes, in the order of docs/lfm.md
UNARY: Mapping[str, Callable[..., float]] = {
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "exp": exp,
    "log": log,
    "abs": abs,
    "neg": lambda x: -x,
    "sqrt": sqrt,
    "reciprocal": lambda x: div(1.0, x),
    "erf": erf,
    "softplus": softplus,
    "softsign": softsign,
    "hard_swish": hard_swish,
    "square": lambda x: mul(x, x),
    "hard_sigmoid": hard_sigmoid,
    "elu": elu,
    "leaky_relu": leaky_relu,
    "gelu": lambda x, approximate: gelu_tanh(x) if approximate == "tanh" else gelu(x),
    "clip": clip,
}

# ---- of two inputs ----


def minimum(a: float, b: float) -> float:
    if a < b:
        return a
    return b if b < a else from_bits(bits(a) | bits(b))


def maximum(a: float, b: float) -> float:
    return -minimum(-a, -b)


def root(a: float) -> float:
    return INFINITY if a == -INFINITY else sqrt(add(a, 0.0))


POWERS: Mapping[float, Callable[[float], float]] = {
    0.0: lambda a: 1.0,
    1.0: lambda a: a,
    2.0: lambda a: mul(a, a),
    3.0: lambda a: mul(mul(a, a), a),
    -1.0: lambda a: div(1.0, a),
    -2.0: lambda a: div(1.0, mul(a, a)),
    0.5: root,
    -0.5: lambda a: div(1.0, root(a)),
}


def power(a: float, b: float) -> float:
    if b in POWERS:
        return POWERS[b](a)
    if a == 1 or (a == -1 and math.isinf(b)):
        return 1.0
    is_whole = math.isfinite(b) and b == math.floor(b)
    if -INFINITY < a < 0 and math.isfinite(b) and not is_whole:
        return NAN
    y = power_of_magnitude(abs(a), b)
    return math.copysign(y, a) if is_whole and int(b) % 2 else y


def power_of_magnitude(m: float, b: float) -> float:
    high, low = logarithm_in_two(m)
    p = mul(b, high)
    e = fma(b, low, fma(b, high, -p)) if abs(p) < 150 else 0.0
    d = p if math.isnan(p) else max(-150.0, min(128.25, p))
    s = add(d, B)
    r = add(sub(d, sub(s, B)), e)
    coefficients = "0x1.417aacp-13 0x1.5f094ap-10 0x1.3b2dd2p-7 0x1.c6af7ap-5 0x1.ebfbdcp-3"
    q = polynomial(r, *coefficients.split(), "0x1.62e43p-1")
    return scaled(mul(r, q), s)


def logarithm_in_two(m: float) -> tuple[float, float]:
    """The logarithm of m to the base 2."""
    if m == 0:
        return -INFINITY, 0.0
    if not m < INFINITY:
        return m, 0.0
    c = of("0x1.715476p1")
    n, f = parts(m, 0x3F3504F3)
    t = add(2.0, f)
    g = sub(f, sub(t, 2.0))
    s = div(f, t)
    r = div(fma(-s, g, fma(-s, t, f)), t)
    z = mul(s, s)
    q = polynomial(z, "0x1.58b61ep-2", "0x1.a5ceb2p-2", "0x1.2776e2p-1", "0x1.ec709ep-1")
    h = mul(s, c)
    k = add(fma(s, c, -h), fma(s, of("0x1.4ae0cp-25"), fma(r, c, mul(mul(z, s), q))))
    v = add(n, h)
    w = add(sub(h, sub(v, n)), k)
    high = add(v, w)
    return high, sub(w, sub(high, v))


BINARY: Mapping[str, Callable[[float, float], float]] = {
    "add": add,
    "sub": sub,
    "mul": mul,
    "div": div,
    "minimum": minimum,
    "maximum": maximum,
    "prelu": lambda a, b: mul(b, a) if a < 0 else a,
    "pow": power,
}

# ---- along axes: of a row ----


def extreme(x: Row, better: Callable[[float, float], float]) -> float:
    y = x[0]
    for one in x[1:]:
        y = better(y, one)
    return y


def count_of(x: Row) -> float:
    return from_integer(len(x))


REDUCTIONS: Mapping[str, Callable[[Row], float]] = {
    "sum": total,
    "mean": lambda x: div(total(x), count_of(x)),
    "max": lambda x: extreme(x, maximum),
    "min": lambda x: extreme(x, minimum),
    "l2": lambda x: sqrt(total(x, square=True)),
}


def softmax(x: Row) -> Row:
    most = extreme(x, maximum)
    e = [exp(sub(one, most)) for one in x]
    whole = total(e)
    return [div(one, whole) for one in e]


def log_softmax(x: Row) -> Row:
    most = extreme(x, maximum)
    less = [sub(one, most) for one in x]
    logarithm = log(total([exp(one) for one in less]))
    return [sub(one, logarithm) for one in less]


def layer_norm(x: Row, scale: Row | None, bias: Row | None, epsilon: float) -> Row:
    mean = div(total(x), count_of(x))
    d = [sub(one, mean) for one in x]
    v = div(1.0, sqrt(add(div(total(d, square=True), count_of(x)), epsilon)))
    y = [mul(one, v) for one in d]
    y = [mul(*both) for both in zip(y, scale, strict=True)] if scale else y
    return [add(*both) for both in zip(y, bias, strict=True)] if bias else y
