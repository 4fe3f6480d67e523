"""What each operation of a program costs: multiply-adds with weights, and bytes of weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .program import Op, Program, Shape


@dataclass(frozen=True)
class Cost:
    """What one operation costs in a step.

    multiply_adds: of products with weights; what only meets padding is not computed, nor counted.
    weight_bytes: of its constants as the file has them; those that an operation before it has, too,
        are counted there.
    """

    multiply_adds: int
    weight_bytes: int


def costs(program: Program) -> list[Cost]:
    """Return the cost of each operation, in their order."""
    counted = set[int]()
    found = []
    for op in program.ops:
        new = {number for number in op.inputs if number in program.constants} - counted
        counted |= new
        size_bytes = sum(program.constants[number].nbytes for number in new)
        found.append(Cost(_multiply_adds(program, op), size_bytes))
    return found


def _multiply_adds(program: Program, op: Op) -> int:
    shapes = [program.tensors[number].shape if number >= 0 else None for number in op.inputs]
    if op.code in AXES:
        return _conv(op, shapes)
    if op.code == "dense":
        x, weight = _there(shapes[0]), _there(shapes[1])
        return math.prod(x[:-1]) * math.prod(weight)
    if op.code == "lstm":  # W_ih, W_hh, the projection and the peepholes
        matrices = (*shapes[3:5], *shapes[6:8])
        return sum(math.prod(shape) for shape in matrices if shape is not None)
    if op.code == "gru":
        return math.prod(_there(shapes[2])) + math.prod(_there(shapes[3]))
    return 0


def _conv(op: Op, shapes: list[Shape | None]) -> int:
    """Count the pairs of an output's position and a tap that meet a value of x."""
    (_, *sizes), (rows, channels, *kernel) = _there(shapes[0]), _there(shapes[1])
    names = AXES[op.code]
    along = [np.atleast_1d(op.attributes[name]).tolist() for name in names]
    pairs = [_pairs(*one) for one in zip(sizes, kernel, *along, strict=True)]
    return rows * channels * math.prod(pairs)


AXES = {  # attributes: one number, or one for each axis
    "conv": ("stride", "dilation", "pad_begin", "pad_end"),
    "conv2d": ("strides", "dilations", "pad_begin", "pad_end"),
}


def _pairs(size: int, taps: int, stride: int, dilation: int, begin: int, end: int) -> int:
    last = (size + begin + end - dilation * (taps - 1) - 1) // stride  # of the output's positions
    pairs = 0
    for tap in range(taps):
        offset = tap * dilation - begin  # from where the window is
        first_inside = max(0, -(offset // stride))
        last_inside = min(last, (size - 1 - offset) // stride)
        pairs += max(0, last_inside - first_inside + 1)
    return pairs


def _there(shape: Shape | None) -> Shape:
    if shape is None:
        raise ValueError("an input is missing that a checked program has")
    return shape
