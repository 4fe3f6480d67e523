"""Every operation of a whole model has the bits that csrc/lstm_fast.h says, on each instruction
set and on Numba."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from program_cases import Builder

from lstm_fast._program_checks import checked
from lstm_fast.operations import OPERATIONS
from lstm_fast.program import Program
from oracle.exact import canonical, from_integer
from oracle.operation_formulas import (
    BINARY,
    REDUCTIONS,
    UNARY,
    layer_norm,
    log_softmax,
    softmax,
)
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

PARAMETERS: dict[str, list[dict[str, Any]]] = {
    "hard_sigmoid": [{}, {"alpha": 1 / 6}, {"alpha": -0.5, "beta": 1e-40}],
    "elu": [{}, {"alpha": -1.5}, {"alpha": 1e-40}],
    "leaky_relu": [{}, {"alpha": 0.0}, {"alpha": 1e-40}],
    "gelu": [{}, {"approximate": "tanh"}],
    "clip": [{}, {"min": -0.5, "max": 0.25}, {"min": 1e-40, "max": np.inf}],
}
UNARY_CASES = [(code, one) for code in UNARY for one in PARAMETERS.get(code, [{}])]
WITH_SIGNS = [sign * edge for edge in EDGES for sign in (1, -1)]
EXPONENTS = [*WITH_SIGNS, -0.25, 1.5, 5.0, -7.5, 126.5, -149.5]


def all_unary(size: int) -> Program:
    build = Builder()
    x = build.input("x", (size,))
    for n, (code, attributes) in enumerate(UNARY_CASES):
        build.output(f"{n}", build.op(code, x, **attributes))
    return checked(build.program())


def all_binary(size: int) -> Program:
    build = Builder()
    a, b = build.input("a", (size,)), build.input("b", (size,))
    for code in BINARY:
        build.output(code, build.op(code, a, b))
    return checked(build.program())


def test_all_operations_that_compute_are_here():
    """Those of numbers below 50 and from 60 to 69; the others compare, choose and move values."""
    there = {code for code, one in OPERATIONS.items() if one.number < 50 or 60 <= one.number < 70}
    others = {"dense", "conv", "conv2d", "lstm", "gru", "layer_norm"}  # test_oracle_products.py
    assert there == {*UNARY, *BINARY, *(code for code, *_ in ALONG), *others}


def test_of_one_input(exact_implementations):
    x = np.concatenate([np.array(WITH_SIGNS, np.float32), floats(1, 1200)])
    expected = {
        f"{n}": given_out(
            [UNARY[code](one, *attributes_of(code, **given).values()) for one in taken(x)]
        )
        for n, (code, given) in enumerate(UNARY_CASES)
    }
    for one in exact_implementations:
        assert computed(all_unary(len(x)), {"x": x}, one) == expected, one


def test_of_two_inputs(exact_implementations):
    """Of every two edges, too: powers have many special values."""
    pairs = np.array([(a, b) for a in WITH_SIGNS for b in EXPONENTS], np.float32).T
    near = np.abs(floats(4, 800)), 8 * np.random.default_rng(5).standard_normal(800)
    a, b = np.concatenate([pairs, [floats(2, 800), floats(3, 800)], near], axis=1, dtype=np.float32)
    both = list(zip(taken(a), taken(b), strict=True))
    expected = {
        code: given_out([function(*one) for one in both]) for code, function in BINARY.items()
    }
    for one in exact_implementations:
        assert computed(all_binary(len(a)), {"a": a, "b": b}, one) == expected, one


def test_a_power_that_is_a_constant(exact_implementations):
    """The core knows these exponents ahead."""
    a = np.array(WITH_SIGNS, np.float32)
    exponents = [0.0, 1.0, 2.0, 3.0, -1.0, -2.0, 0.5, -0.5, 1.5]
    build = Builder()
    x = build.input("a", a.shape)
    for one in exponents:
        build.output(f"{one}", build.op("pow", x, build.constant(np.float32(one))))
    program = checked(build.program())
    expected = {f"{b}": given_out([BINARY["pow"](one, b) for one in taken(a)]) for b in exponents}
    for one in exact_implementations:
        assert computed(program, {"a": a}, one) == expected, one


SHAPE = (3, 37, 2)
ALONG = [
    *(("softmax", {"axis": axis}, (axis,), softmax) for axis in (0, 1)),
    *(("log_softmax", {"axis": axis}, (axis,), log_softmax) for axis in (1, 2)),
    *(
        ("reduce", {"kind": kind, "axes": axes, "keepdims": False}, axes, function)
        for kind, function in REDUCTIONS.items()
        for axes in ((1,), (0, 2), (0, 1, 2))
    ),
]
NOT_FINITE = [(), (np.nan,), (np.inf,), (-np.inf, np.inf)]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("code", "attributes", "axes", "function"),
    ALONG,
    ids=[f"{code}-{attributes.get('kind', '')}-{axes}" for code, attributes, axes, _ in ALONG],
)
def test_along_axes(exact_implementations, code, attributes, axes, function, seed):
    program, frame, (x,) = one_operation(code, [SHAPE], seed, **attributes)
    x[...] = np.random.default_rng(seed).standard_normal(SHAPE) if seed else x
    for n, value in enumerate(NOT_FINITE[seed + 1]):
        x[n, 7, n] = value
    made = along(x, axes, function)
    if code == "reduce":  # one value for each row
        made = made[tuple(0 if axis in axes else slice(None) for axis in range(3))]
    for one in exact_implementations:
        assert computed(program, frame, one)["y"] == given_out(made), one


@pytest.mark.parametrize("parts", [(), ("scale",), ("scale", "bias"), ("bias",)], ids=str)
@pytest.mark.parametrize("size", [1, 5, 37])
def test_layer_norm(exact_implementations, parts, size):
    inputs = [
        (3, size),
        *(["constant", (size,)] if one in parts else None for one in ("scale", "bias")),
    ]
    program, frame, operands = one_operation("layer_norm", inputs, size, epsilon=1e-3)
    operands[0][...] = np.random.default_rng(size).standard_normal((3, size))
    operands[0][2, 0] = np.inf
    epsilon = attributes_of("layer_norm", epsilon=1e-3)["epsilon"]
    scale, bias = (None if one is None else taken(one) for one in operands[1:])
    norm = partial(layer_norm, scale=scale, bias=bias, epsilon=epsilon)
    expected = given_out(along(operands[0], (1,), norm))
    for one in exact_implementations:
        assert computed(program, frame, one)["y"] == expected, one


def test_integers_become_floats_and_floats_integers(exact_implementations):
    whole = np.array([0, 2**24 + 1, 2**25 + 2, -(2**63), 2**63 - 1, 2**53 + 1], np.int64)
    x = np.array([0.0, -0.9, 1.5, 2.0**62, 2.0**63, -(2.0**63), np.nan, np.inf, 1e-40], np.float32)
    build = Builder()
    build.output("f", build.op("cast", build.input("w", whole.shape, "int64"), kind="float32"))
    numbers = build.input("x", x.shape)
    build.output("i", build.op("cast", numbers, kind="int64"))
    build.output("b", build.op("cast", build.op("cast", numbers, kind="bool"), kind="float32"))
    cut = [int(v) if abs(v) < 2.0**63 else -(2**63) for v in map(canonical, x.tolist())]
    expected = {
        "f": given_out([from_integer(int(one)) for one in whole]),
        "i": np.array(cut, np.int64).view(np.uint32).tolist(),
        "b": given_out([float(one != 0) for one in taken(x)]),
    }
    program = checked(build.program())
    for one in exact_implementations:
        assert computed(program, {"w": whole, "x": x}, one) == expected, one


def test_what_is_put_around_is_canonical(exact_implementations):
    program, frame, _ = one_operation("pad", [(2,)], before=(1,), after=(1,), value=-1e-40)
    expected = given_out([-0.0, *taken(frame["x0"]), -0.0])
    for one in exact_implementations:
        assert computed(program, frame, one)["y"] == expected, one
