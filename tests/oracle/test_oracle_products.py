"""Products of whole models, and recurrent layers in them, have the bits of csrc/lstm_fast.h."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from program_cases import Builder

from lstm_fast import Activation, Cell
from lstm_fast._program_checks import checked
from lstm_fast.operations import cell_attributes
from oracle.lstm_layers import Layer
from oracle.operation_formulas import UNARY
from oracle.oracle_programs import (
    attributes_of,
    computed,
    floats,
    given_out,
    one_operation,
    taken,
)
from oracle.product_formulas import conv, conv2d, dense, gru, stored

FLOATS = ["float32", "float16"]


def weight(*shape: int) -> list[Any]:
    return ["constant", shape]


def listed(bias: np.ndarray | None) -> list[float] | None:
    return None if bias is None else bias.tolist()


DENSE = [(3, 19, 21, True), (1, 1, 1, True), (2, 8, 16, False), (5, 130, 3, True)]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("rows", "inputs", "outputs", "biased"), DENSE)
def test_dense(exact_implementations, rows, inputs, outputs, biased, dtype):
    parts = [weight(outputs, inputs), weight(outputs) if biased else None]
    program, frame, (x, w, b) = one_operation("dense", [(rows, inputs), *parts], inputs)
    kept = stored(w, dtype)
    expected = given_out([dense(kept, listed(b), row) for row in taken(x)])
    for one in exact_implementations:
        assert computed(program, frame, one, weight_dtype=dtype)["y"] == expected, one


CONV = [
    ((6, 23), (9, 2, 4), True, {"groups": 3, "pad_begin": 2}),
    ((4, 31), (17, 4, 3), False, {"stride": 3, "dilation": 2, "pad_end": 5}),
    ((5, 9), (5, 1, 3), True, {"groups": 5, "pad_begin": 1}),
    ((3, 6, 7), (17, 3, 3, 2), True, {"pad_begin": (1, 0)}),
    ((6, 5, 9), (9, 2, 1, 4), True, {"groups": 3, "pad_end": (0, 3)}),
    ((4, 9, 5), (8, 4, 3, 3), False, {"strides": (2, 1), "dilations": (1, 2)}),
    ((19, 4, 5), (19, 1, 3, 2), True, {"groups": 19, "strides": (1, 2), "pad_begin": (2, 1)}),
]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("shape", "kernel", "biased", "given"), CONV, ids=str)
def test_convolutions(exact_implementations, shape, kernel, biased, given, dtype):
    code = "conv" if len(shape) == 2 else "conv2d"
    parts = [weight(*kernel), weight(kernel[0]) if biased else None]
    program, frame, (x, w, b) = one_operation(code, [shape, *parts], len(kernel), **given)
    function = conv if code == "conv" else conv2d
    made = function(stored(w, dtype), listed(b), taken(x), attributes_of(code, **given))
    for one in exact_implementations:
        found = computed(program, frame, one, weight_dtype=dtype)["y"]
        assert found == given_out(made), one


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("linear", [True, False])
@pytest.mark.parametrize(("inputs", "hidden", "biased"), [(5, 7, True), (2, 17, False)])
def test_gru(exact_implementations, inputs, hidden, biased, linear, dtype):
    biases = [weight(3 * hidden) if biased else None] * 2
    parts = [weight(3 * hidden, inputs), weight(3 * hidden, hidden), *biases]
    for seed in range(3):
        program, frame, operands = one_operation(
            "gru", [(inputs,), (hidden,), *parts], seed, linear_before_reset=linear
        )
        x, h, w_ih, w_hh, b_ih, b_hh = operands
        weights = {
            "weight_ih": stored(w_ih, dtype),
            "weight_hh": stored(w_hh, dtype),
            "bias_ih": listed(b_ih),
            "bias_hh": listed(b_hh),
        }
        expected = given_out(gru(weights, taken(x), taken(h), linear))
        for one in exact_implementations:
            assert computed(program, frame, one, weight_dtype=dtype)["y"] == expected, one


CELL = Cell("hard_sigmoid", "elu", Activation("scaled_tanh", 0.9, 1.1), clip=1.5, proj_clip=0.5)
LSTMS = [
    (Cell(), None, ()),
    (CELL, 4, ("peephole", "layer_norm", "bias_hr")),
    (Cell(coupled="forget"), None, ("peephole",)),
]
OPTIONAL = {"weight_hr": 3, "peephole": 3, "layer_norm": 4, "bias_hr": 1}


@pytest.mark.parametrize("dtype", [*FLOATS, "int8"])
@pytest.mark.parametrize(("cell", "projected", "parts"), LSTMS, ids=str)
def test_lstm(exact_implementations, cell, projected, parts, dtype):
    """x is not an h here, so int8 takes it as a frame."""
    inputs, hidden = 5, 6
    width = projected or hidden
    operands = [(inputs,), (width,), (hidden,), weight(4 * hidden, inputs)]
    operands += [weight(4 * hidden, width), weight(4 * hidden)]
    operands.append(weight(width, hidden) if projected else None)
    sizes = {"peephole": 3 * hidden, "layer_norm": 4 * hidden, "bias_hr": width}
    operands += [weight(size) if name in parts else None for name, size in sizes.items()]
    for seed in range(3):
        program, frame, (x, h, c, *values) = one_operation(
            "lstm", operands, seed, **cell_attributes(cell)
        )
        h[...] = np.clip(h, -1, 1) if projected is None else h
        names = ("weight_ih", "weight_hh", "bias_ih", *OPTIONAL)
        weights = dict(zip(names, values, strict=True)) | {
            "bias_hh": None,
            "h_0": None,
            "c_0": None,
        }
        layer = Layer(SimpleNamespace(**weights, cell=cell), dtype)
        h_new, c_new = layer.step(taken(x), taken(h), taken(c))
        expected = {"y": given_out(h_new), "c": given_out(c_new)}
        for one in exact_implementations:
            assert computed(program, frame, one, weight_dtype=dtype) == expected, one


def test_an_activation_behind_a_product(exact_implementations):
    """Which the core computes together with it."""
    build = Builder()
    x = build.input("x", (19,))
    y = build.op("dense", x, build.weights(21, 19), build.weights(21))
    w, b = (value.tolist() for value in build.constants.values())
    frame = floats(3, 19)
    made = taken(np.array(dense(w, b, taken(frame)), np.float32))
    expected = {}
    for code in UNARY:
        again = build.op("dense", x, *list(build.constants)[:2])
        build.output(code, build.op(code, again))
        attributes = attributes_of(code).values()
        expected[code] = given_out([UNARY[code](one, *attributes) for one in made])
    build.output("alone", y)
    expected["alone"] = given_out(made)
    for one in exact_implementations:
        assert computed(checked(build.program()), {"x": frame}, one) == expected, one
