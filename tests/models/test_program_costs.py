"""What an operation is said to cost, against loops that count one product at a time."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from lstm_fast import Model
from lstm_fast._program_costs import Cost, costs
from lstm_fast.program import Input, Op, Output, Program, State, Tensor


def made(op, shapes, constants, states=()):
    """A checked program of one operation; its first input is the model's."""
    arrays = {n: np.ones(shapes[n], np.float32) for n in constants}
    tensors = tuple(Tensor(shape) for shape in shapes)
    program = Program(
        (Input("x", 0, shapes[0]),), (Output("y", op.outputs[0]),), states, tensors, arrays, (op,)
    )
    return Model.from_program(program, backend="reference").program


def counted(steps, taps, stride, dilation, begin, end):
    """Return the products of one row and one channel, those in padding, and the outputs."""
    inside = padding = 0
    starts = range(-begin, steps + end - dilation * (taps - 1), stride)
    for start, tap in product(starts, range(taps)):
        is_inside = 0 <= start + dilation * tap < steps
        inside, padding = inside + is_inside, padding + (not is_inside)
    return inside, padding, len(starts)


CONVS = [
    (steps, taps, stride, dilation, begin, end)
    for steps, taps, stride, dilation, begin, end in product(
        (1, 2, 5, 9), (1, 3, 4), (1, 2, 3), (1, 2), (0, 1, 5), (0, 2)
    )
    if dilation * (taps - 1) + 1 <= steps + begin + end
]


def test_convolutions():
    some_meet_padding = False
    for steps, taps, stride, dilation, begin, end in CONVS:
        inside, padding, outputs = counted(steps, taps, stride, dilation, begin, end)
        sizes = {"stride": stride, "dilation": dilation, "pad_begin": begin, "pad_end": end}
        op = Op("conv", (0, 1, 2), (3,), {**sizes, "groups": 2})
        program = made(op, [(4, steps), (6, 2, taps), (6,), (6, outputs)], (1, 2))
        expected = Cost(6 * 2 * inside, 4 * (6 * 2 * taps + 6))
        assert costs(program) == [expected], sizes
        some_meet_padding |= padding > 0
    assert some_meet_padding  # so products in padding would show


def test_convolutions_along_two_axes():
    """A product is computed where its tap is inside along both."""
    op = Op(
        "conv2d",
        (0, 1),
        (2,),
        {"strides": (1, 2), "dilations": (2, 1), "groups": 2, "pad_begin": (3, 1)},
    )
    outputs = counted(5, 3, 1, 2, 3, 0), counted(9, 4, 2, 1, 1, 0)
    shapes = [(4, 5, 9), (6, 2, 3, 4), (6, outputs[0][2], outputs[1][2])]
    inside = outputs[0][0] * outputs[1][0]
    assert costs(made(op, shapes, (1,))) == [Cost(6 * 2 * inside, 4 * 6 * 2 * 3 * 4)]
    assert outputs[0][1] > 0 < outputs[1][1]  # so products in padding would show


def test_products():
    dense = made(Op("dense", (0, 1), (2,)), [(3, 4), (5, 4), (3, 5)], (1,))
    assert costs(dense) == [Cost(3 * 5 * 4, 5 * 4 * 4)]
    zeros = State("h", 1, 5, np.zeros(4))
    gru = made(
        Op("gru", (0, 1, 2, 3), (4, 5)),
        [(3,), (4,), (12, 3), (12, 4), (4,), (4,)],
        (2, 3),
        (zeros,),
    )
    assert costs(gru) == [Cost(12 * 3 + 12 * 4, 4 * (36 + 48))]


@pytest.mark.parametrize("is_full", [False, True])
def test_an_lstm_with_its_projection_and_peepholes(is_full):
    inputs, units, projected = 3, 4, 2 if is_full else 4
    shapes = [(inputs,), (projected,), (units,), (16, inputs), (16, projected), (16,)]
    extra = [(projected, units), (12,)] if is_full else []
    first = len(shapes) + len(extra)
    shapes += [*extra, (projected,), (projected,), (units,)]
    op = Op("lstm", tuple(range(first)), (first, first + 1, first + 2))
    states = (
        State("h", 1, first + 1, np.zeros(projected)),
        State("c", 2, first + 2, np.zeros(units)),
    )
    products = 16 * inputs + 16 * projected + is_full * (projected * units + 3 * units)
    assert costs(made(op, shapes, tuple(range(3, first)), states)) == [
        Cost(products, 4 * (products + 16))
    ]


def test_weights_that_two_operations_have_are_counted_once():
    shapes = [(4,), (4, 4), (4,), (4,)]
    ops = (Op("dense", (0, 1), (2,)), Op("dense", (2, 1), (3,)))
    program = Program(
        (Input("x", 0, (4,)),),
        (Output("y", 3),),
        (),
        tuple(map(Tensor, shapes)),
        {1: np.ones((4, 4), np.float32)},
        ops,
    )
    assert costs(Model.from_program(program).program) == [Cost(16, 64), Cost(16, 0)]
