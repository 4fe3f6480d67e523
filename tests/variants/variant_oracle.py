"""The bits of any variant, from the contract's words alone: NumPy float32, one operation at a time.

Where tests/tolerances.py says how far a result may be from the equations, this says what it is: the
order of arithmetic in csrc/lstm_fast.h (at the top, at LF_INT8 and at lf_cell_options), for every
variant and weight dtype. It shares no code with what it judges and is too slow for anything else.

softplus is outside of the contract of bits (its float64 functions are the platform's).
"""

from __future__ import annotations

import numpy as np

from lstm_fast._weights import LayerWeights, Weights

F = np.float32
SMALLEST_NORMAL = F(2.0**-126)
INT8_TINY = F(2.0**-100)
NAN = F(np.nan)
assert NAN.view(np.uint32) == 0x7FC00000


def fma(a, b, c):
    """a * b + c for float32 arrays, rounded once.

    In float64 the product is exact. The sum is not, so it is rounded to odd: where something was
    lost and the last bit is 0, it goes one step to the side of what was lost. There are more than
    two digits to spare, so rounding that to float32 rounds the exact sum (Boldo, Melquiond 2008).
    """
    product, c = np.float64(a) * np.float64(b), np.float64(c)
    product, c = np.broadcast_arrays(product, c)
    total = product + c
    part = total - product
    lost = (product - (total - part)) + (c - part)  # exactly (Knuth's TwoSum)
    even = total.view(np.int64) & 1 == 0
    towards = np.where(lost > 0, np.inf, -np.inf)
    inexact = np.isfinite(lost) & (lost != 0) & even & np.isfinite(total)
    return np.where(inexact, np.nextafter(total, towards), total).astype(np.float32)


def chain(start, weight, x):
    """start + weight @ x, one chain of fused multiply-adds per row in ascending k."""
    total = np.zeros(len(weight), np.float32) + start
    for k in range(weight.shape[1]):
        total = fma(weight[:, k], x[k], total)
    return total


def canonical(a):
    a = np.where(np.abs(a) < SMALLEST_NORMAL, np.copysign(F(0), a), a)
    return np.where(np.isnan(a), NAN, a)


# The activations. The constants are those of csrc/generic/activations.h.


def hexadecimal(text):
    return F(float.fromhex(text))


Q = ("0x1.6bec04p-10", "0x1.122768p-7", "0x1.555674p-5", "0x1.5554b0p-3", "0x1.fffffep-2")


def exp_parts(y):
    """exp(r) - 1 and 2^-n, for y = n ln2 + r <= 0."""
    bias = F(1.5 * 2**23)
    n = fma(y, hexadecimal("0x1.715476p+0"), bias) - bias
    r = fma(n, hexadecimal("-0x1.62e43p-1"), y)
    q4, q3, q2, q1, q0 = map(hexadecimal, Q)
    square = r * r
    q = fma(square, fma(square, q4, fma(r, q3, q2)), fma(r, q1, q0))
    return fma(square, q, r), np.exp2(-n)


def exp_minus_1(y):
    """exp(y) - 1 for y <= 0; from -20 on -1."""
    p, u = exp_parts(np.where(y < F(-20), F(-20), y))
    return (p + (F(1) - u)) / u


def sigmoid(x):
    bias = F(1.5 * 2**23)
    y = np.clip(x, hexadecimal("-0x1.5d589ep6"), F(64))
    n = fma(y, hexadecimal("0x1.715476p+3"), bias) - bias
    high = fma(n, hexadecimal("-0x1.62e43p-4"), y)
    r = fma(n, hexadecimal("0x1.05c61p-32"), high)
    q = fma(high, hexadecimal("0x1.5556f8p-3"), hexadecimal("-0x1.000876p-1"))
    p = fma(fma(high, high, F(2.0**-100)), q, r)
    u = np.exp2(np.float64(n) / 8).astype(np.float32)
    return np.where(x < hexadecimal("-0x1.5d589ep6"), F(0), u / ((u + F(1)) - p))


def tanh(x):
    y = np.abs(x) * F(-2)
    p, u = exp_parts(np.where(y < F(-20), F(-20), y))
    return np.copysign((p + (F(1) - u)) / (p + (F(1) + u)), x)


def hard_sigmoid(x, alpha, beta):
    y = fma(alpha, x, beta)
    y = np.where(y < 0, F(0), y)
    return np.where(y > 1, F(1), y)


def softsign(x):
    m = np.where(np.abs(x) > F(2.0**60), F(2.0**60), np.abs(x))
    return np.copysign(m / (F(1) + m), x)


def softplus(x):
    wide = np.float64(x)
    return (np.log1p(np.exp(-np.abs(wide))) + np.where(wide < 0, 0, wide)).astype(np.float32)


FUNCTIONS = {
    "sigmoid": lambda x, alpha, beta: sigmoid(x),
    "tanh": lambda x, alpha, beta: tanh(x),
    "hard_sigmoid": hard_sigmoid,
    "relu": lambda x, alpha, beta: np.where(x < 0, F(0), x),
    "affine": lambda x, alpha, beta: fma(alpha, x, beta),
    "leaky_relu": lambda x, alpha, beta: np.where(x < 0, alpha * x, x),
    "thresholded_relu": lambda x, alpha, beta: np.where(x < alpha, F(0), x),
    "scaled_tanh": lambda x, alpha, beta: alpha * tanh(beta * x),
    "elu": lambda x, alpha, beta: np.where(x < 0, alpha * exp_minus_1(np.where(x < 0, x, F(0))), x),
    "softsign": lambda x, alpha, beta: softsign(x),
    "softplus": lambda x, alpha, beta: softplus(x),
}


def activate(function, x):
    """Apply an `lstm_fast.Activation` to float32 values."""
    return FUNCTIONS[function.name](x, F(function.alpha or 0), F(function.beta or 0))


def clip(a, bound):
    if bound is None:
        return a
    return np.where(a < -F(bound), -F(bound), np.where(a > F(bound), F(bound), a))


# int8


def quantise_rows(weight):
    largest = np.abs(weight).max(axis=1)
    scale = np.where(largest < INT8_TINY, F(0), largest / F(127))
    divisor = np.where(scale == 0, F(1), scale)[:, None]
    return np.where(scale[:, None] == 0, F(0), np.rint(weight / divisor)), scale


def operand(values, is_bounded):
    """The whole numbers of x, h or r, and their scale."""
    if not np.isfinite(values).all():
        return np.zeros(len(values)), NAN
    largest = np.abs(values).max()
    factor, scale = F(127), F(1) / F(127)
    if not is_bounded and largest < INT8_TINY:
        return np.zeros(len(values)), F(0)
    if not is_bounded:
        factor, scale = F(127) / largest, largest / F(127)
    return np.clip(np.rint(values * factor), -127, 127), scale


def int8_half(start, weight, values, is_bounded):
    """fma(sum, s t, start)."""
    rows, row_scale = quantise_rows(weight)
    whole, scale = operand(values, is_bounded)
    exact = rows.astype(np.int64) @ whole.astype(np.int64)
    return fma(exact.astype(np.float32), row_scale * scale, start)


# The cell


def sixteen_sums(values, add):
    """Sixteen sums, the r-th over j = r (mod 16) in ascending order, added in ascending r."""
    sums = [F(0)] * 16
    for j, value in enumerate(values):
        sums[j % 16] = add(sums[j % 16], value)
    total = sums[0]
    for r in range(1, 16):
        total = F(total + sums[r])
    return total


def normalised(x, scale, bias, epsilon):
    count = F(len(x))
    d = x - sixteen_sums(x, lambda total, value: F(total + value)) / count
    variance = sixteen_sums(d, lambda total, value: F(fma(value, value, total))) / count
    v = F(1) / np.sqrt(F(variance + F(epsilon)))
    return fma(scale, d * v, bias)


def pre_activations(layer: LayerWeights, weight_dtype, below, h, below_is_bounded):
    """Before peepholes and layer normalisation, which adds the bias itself."""
    start = layer.bias if layer.layer_norm is None else np.zeros_like(layer.bias)
    if weight_dtype == "int8":
        left = int8_half(start, layer.weight_ih, below, below_is_bounded)
        return int8_half(left, layer.weight_hh, h, layer.is_bounded)
    w_ih, w_hh = stored(layer.weight_ih, weight_dtype), stored(layer.weight_hh, weight_dtype)
    return chain(start, w_ih, below) + chain(F(0), w_hh, h)


def stored(weight, weight_dtype):
    return weight.astype(np.float16).astype(np.float32) if weight_dtype == "float16" else weight


def project(layer: LayerWeights, weight_dtype, r):
    start = np.zeros(layer.output_size, np.float32) if layer.bias_hr is None else layer.bias_hr
    if weight_dtype == "int8":
        h = int8_half(start, layer.weight_hr, r, False)
    else:
        h = chain(start, stored(layer.weight_hr, weight_dtype), r)
    return canonical(clip(h, layer.cell.proj_clip))


def step(layer: LayerWeights, weight_dtype, below, h, c, below_is_bounded):
    """The new (h, c) of one layer; below, h and c are canonical float32.

    below_is_bounded: whether `below` is the h of a layer whose h lives in [-1, 1], for int8.
    """
    cell, parts = layer.cell, layer.parameters()
    gate, g_function, output = cell.activations
    a = pre_activations(layer, weight_dtype, below, h, below_is_bounded)

    def value(name, c, function):
        at = "ifgo".index(name)
        x = np.split(a, 4)[at]
        if "peephole" in parts and name != "g":
            x = fma(np.split(layer.peephole, 3)["ifo".index(name)], c, x)
        if "layer_norm" in parts:
            scale, bias = np.split(layer.layer_norm, 4)[at], np.split(layer.bias, 4)[at]
            x = normalised(x, scale, bias, cell.layer_norm_eps)
        return activate(function, clip(x, cell.clip))

    i, f, g = value("i", c, gate), value("f", c, gate), value("g", c, g_function)
    if cell.coupled == "input":
        f = F(1) - i
    if cell.coupled == "forget":
        i = F(1) - f
    c = canonical(clip(fma(f, c, i * g), cell.cell_clip))
    o = value("o", c, gate)
    r = canonical(o * activate(output, c))
    return (r if layer.weight_hr is None else project(layer, weight_dtype, r)), c


def initial_state(weights: Weights):
    """(h, c) of shapes (L, P) and (L, H)."""
    h = np.zeros((len(weights.layers), weights.output_size), np.float32)
    c = np.zeros((len(weights.layers), weights.hidden_size), np.float32)
    for n, layer in enumerate(weights.layers):
        h[n] = 0 if layer.h_0 is None else layer.h_0
        c[n] = 0 if layer.c_0 is None else layer.c_0
    return h, c


def run(weights: Weights, weight_dtype, xs, state=None):
    """Run a forward stack over xs (T, I), from (h, c) or from the initial state.

    Returns ys (T, P) and the final (h, c), float32, every bit as the contract has it.
    """
    h, c = (canonical(part) for part in (state or initial_state(weights)))
    ys = np.empty((len(xs), weights.output_size), np.float32)
    with np.errstate(all="ignore"):  # what is not finite is part of the contract
        for t, x in enumerate(canonical(np.asarray(xs, np.float32))):
            below, is_bounded = x, weights.x_is_bounded
            for n, layer in enumerate(weights.layers):
                h[n], c[n] = step(layer, weight_dtype, below, h[n], c[n], is_bounded)
                below, is_bounded = h[n], layer.is_bounded
            ys[t] = h[-1]
    return ys, (h, c)
