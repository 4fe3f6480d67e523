"""Negative controls: operations that are computed in another way have other bits."""

from __future__ import annotations

import math

import numpy as np
import pytest
from program_cases import Builder

from lstm_fast._program_checks import checked
from oracle.exact import add, bits, canonical, div, fma, from_integer, mul, sqrt, sub, total
from oracle.operation_formulas import erf, exp, softmax
from oracle.oracle_programs import (
    EDGES,
    along,
    attributes_of,
    computed,
    floats,
    given_out,
    one_operation,
    taken,
)
from oracle.product_formulas import conv, stored


def near(function):
    """The nearest float to what a library computes in float64."""

    def nearest(*values: float) -> float:
        try:
            with np.errstate(all="ignore"):
                return float(np.float32(function(*values)))
        except (ValueError, OverflowError, ZeroDivisionError):
            return math.nan

    return nearest


OTHERWISE_OF_ONE = {
    **{code: near(getattr(math, code)) for code in ("exp", "log", "erf", "tanh")},
    "sigmoid": near(lambda x: 1 / (1 + math.exp(-x))),
    "softplus": near(lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x)))),
    "hard_swish": lambda x: mul(x, min(1.0, max(0.0, add(div(x, 6.0), 0.5)))),
    "gelu": lambda x: mul(mul(x, 0.5), add(1.0, erf(mul(x, float.fromhex("0x1.6a09e6p-1"))))),
    "elu": lambda x: x if not x < 0 else sub(exp(x), 1.0),
    "hard_sigmoid": lambda x: min(1.0, max(0.0, add(mul(0.20000000298023224, x), 0.5))),
}


@pytest.mark.parametrize("code", OTHERWISE_OF_ONE)
def test_of_one_input(exact_implementations, code):
    x = np.linspace(-6, 6, 501).astype(np.float32)
    build = Builder()
    build.output("y", build.op(code, build.input("x", x.shape)))
    found = computed(checked(build.program()), {"x": x}, exact_implementations[0])["y"]
    assert found != given_out([OTHERWISE_OF_ONE[code](one) for one in taken(x)])


OTHERWISE_OF_TWO = {
    "minimum": lambda a, b: a if a < b else b,
    "maximum": lambda a, b: a if a > b else b,
    "div": lambda a, b: mul(a, div(1.0, b)),
    "pow": near(math.pow),
}


@pytest.mark.parametrize("code", OTHERWISE_OF_TWO)
def test_of_two_inputs(exact_implementations, code):
    edges = np.array(EDGES, np.float32)
    a = np.concatenate([np.abs(floats(1, 500)), edges, np.array([-0.0, 0.0], np.float32)])
    b = np.concatenate([floats(2, 500), edges[::-1], np.array([0.0, -0.0], np.float32)])
    if code == "pow":  # of which the library raises nothing
        a, b = np.random.default_rng(3).uniform(0.1, 4, (2, 500)).astype(np.float32)
    build = Builder()
    build.output("y", build.op(code, *(build.input(name, a.shape) for name in "ab")))
    frame = {"a": a, "b": b}
    found = computed(checked(build.program()), frame, exact_implementations[0])["y"]
    both = zip(taken(a), taken(b), strict=True)
    assert found != given_out([OTHERWISE_OF_TWO[code](*one) for one in both])


def one_total(x):
    s = 0.0
    for value in x:
        s = add(s, value)
    return s


def normalised(x, fused):
    mean = div(total(x), from_integer(len(x)))
    d = [sub(one, mean) for one in x]
    squares = total(d, True) if fused else total([mul(one, one) for one in d])
    deviation = sqrt(add(div(squares, from_integer(len(x))), 9.999999747378752e-06))
    return [mul(one, div(1.0, deviation)) if not fused else div(one, deviation) for one in d]


OTHERWISE_ALONG = [
    ("reduce", {"kind": "sum", "axes": (1,)}, one_total),
    ("reduce", {"kind": "mean", "axes": (1,)}, lambda x: mul(total(x), div(1.0, 37.0))),
    ("reduce", {"kind": "l2", "axes": (1,)}, lambda x: sqrt(total([mul(v, v) for v in x]))),
    ("softmax", {"axis": 1}, lambda x: [mul(e, div(1.0, total(softmax(x)))) for e in softmax(x)]),
    ("softmax", {"axis": 1}, lambda x: [div(exp(v), total([exp(w) for w in x])) for v in x]),
    ("log_softmax", {"axis": 1}, lambda x: [near(math.log)(one) for one in softmax(x)]),
    ("layer_norm", {}, lambda x: normalised(x, fused=True)),
    ("layer_norm", {}, lambda x: normalised(x, fused=False)),
]


@pytest.mark.parametrize(("code", "attributes", "otherwise"), OTHERWISE_ALONG)
def test_along_axes(exact_implementations, code, attributes, otherwise):
    program, frame, (x,) = one_operation(code, [(16, 37)], **attributes)
    x[...] = np.random.default_rng(2).standard_normal(x.shape)
    made = along(x, (1,), otherwise)
    made = made[:, 0] if code == "reduce" else made
    assert computed(program, frame, exact_implementations[0])["y"] != given_out(made)


def bias_first(w, x, b):
    for one, value in zip(w, x, strict=True):
        b = fma(one, value, b)
    return canonical(b)


def rounded_products(w, x, b):
    s = 0.0
    for one, value in zip(w, x, strict=True):
        s = add(s, mul(one, value))
    return canonical(add(s, b))


@pytest.mark.parametrize("otherwise", [bias_first, rounded_products])
def test_dense(exact_implementations, otherwise):
    program, frame, (x, w, b) = one_operation(
        "dense", [(19,), ["constant", (21, 19)], ["constant", (21,)]]
    )
    x[...] = np.random.default_rng(4).standard_normal(19)
    rows = zip(w.tolist(), b.tolist(), strict=True)
    made = given_out([otherwise(row, taken(x), start) for row, start in rows])
    assert computed(program, frame, exact_implementations[0])["y"] != made


@pytest.mark.parametrize("what", ["channels before taps", "the newest tap first"])
def test_convolution(exact_implementations, what):
    program, frame, (x, w) = one_operation("conv", [(4, 9), ["constant", (5, 4, 3)]])
    x[...] = np.random.default_rng(5).standard_normal(x.shape)
    right = conv(stored(w, "float32"), None, taken(x), attributes_of("conv"))
    found = computed(program, frame, exact_implementations[0])["y"]
    assert found == given_out(right)
    wrong = []
    for filters in w:
        for t in range(7):
            window = x[:, t : t + 3]
            if what == "the newest tap first":
                pair = filters[:, ::-1].T, window[:, ::-1].T
            else:
                pair = filters, window
            wrong.append(rounded_chain(*(one.ravel().tolist() for one in pair)))
    assert found != wrong


def rounded_chain(w, x):
    return bits(bias_first(w, x, 0.0))
