"""What can be computed while a graph is read: movement, and arithmetic that is the same everywhere.

Floats are added, subtracted, multiplied, divided and rooted, no more, so that the same file gives
the same constants everywhere. Whole numbers are mostly shapes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np

from ._file import DTYPES, Array, File
from ._operators import OPERATORS, Arguments, Attributes, Operator

FOLDED: dict[str, Operator] = {
    name: OPERATORS[name]
    for name in (
        *("Constant", "Identity", "Transpose", "Unsqueeze", "Squeeze", "Reshape", "Slice"),
        *("Concat", "Gather", "Split", "Expand", "Tile", "ConstantOfShape", "Shape", "Neg"),
        *("DequantizeLinear", "Cast"),
    )
}


def _counted(inputs: Arguments, file: File) -> list[Array]:
    """Return inputs that are broadcast against each other, after their result is counted."""
    given = [one for one in inputs if one is not None]
    if not given or len(given) < len(inputs):
        raise ValueError("an input is missing")
    shape = np.broadcast_shapes(*(one.shape for one in given))
    file.take(math.prod(shape) * max(one.dtype.itemsize for one in given))
    return given


def _fold(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(inputs: Arguments, attributes: Attributes, file: File) -> list[Array]:
            return [np.asarray(function(*_counted(inputs, file)))]

        FOLDED[name] = call
        return function

    return register


def _alike(left: Array, right: Array) -> None:
    if left.dtype != right.dtype:
        raise ValueError(f"its inputs are {left.dtype} and {right.dtype}")


def _two(name: str, function: Callable[[Array, Array], Array]) -> None:
    @_fold(name)
    def compute(left: Array, right: Array) -> Array:
        _alike(left, right)
        return function(left, right)


for _name, _function in (
    ("Add", np.add),
    ("Sub", np.subtract),
    ("Mul", np.multiply),
    ("Equal", np.equal),
    ("Less", np.less),
    ("Greater", np.greater),
    ("LessOrEqual", np.less_equal),
    ("GreaterOrEqual", np.greater_equal),
    ("And", np.logical_and),
    ("Or", np.logical_or),
    ("Xor", np.logical_xor),
):
    _two(_name, _function)


def _several(name: str, function: Callable[[Array, Array], Array]) -> None:
    @_fold(name)
    def compute(*inputs: Array) -> Array:
        for one in inputs:
            _alike(inputs[0], one)
        return reduce(function, inputs)


_several("Min", np.minimum)
_several("Max", np.maximum)


@_fold("Div")
def _div(left: Array, right: Array) -> Array:
    _alike(left, right)
    if left.dtype.kind == "f":
        return np.asarray(left / right)
    if not np.all(right):
        raise ValueError("it divides by 0")
    signs = np.sign(left) * np.sign(right)
    return np.asarray(signs * (np.abs(left) // np.abs(right)), left.dtype)  # towards zero


def _mod(inputs: Arguments, attributes: Attributes, file: File) -> list[Array]:
    left, right = _counted(inputs, file)
    _alike(left, right)
    if left.dtype.kind == "f" or not np.all(right):
        raise ValueError("only whole numbers have a remainder here, and not by 0")
    # with fmod the remainder has the sign of what is divided, else that of the divisor
    return [np.asarray((np.fmod if attributes.get("fmod") else np.mod)(left, right))]


@_fold("Not")
def _not(value: Array) -> Array:
    return np.logical_not(value)


@_fold("Abs")
def _abs(value: Array) -> Array:
    return np.abs(value)


@_fold("Sqrt")
def _sqrt(value: Array) -> Array:
    return np.sqrt(value)


@_fold("Size")
def _size(value: Array) -> Array:
    return np.array(value.size, np.int64)


@_fold("Where")
def _where(condition: Array, yes: Array, no: Array) -> Array:
    _alike(yes, no)
    return np.where(condition, yes, no)


def _range(inputs: Arguments, _: Attributes, file: File) -> list[Array]:
    start, limit, delta = (one.item() for one in inputs if one is not None)
    dtype = next(one.dtype for one in inputs if one is not None)
    if dtype.kind == "f" or delta == 0:
        raise ValueError("only ranges of whole numbers are computed")
    file.take(len(range(start, limit, delta)) * dtype.itemsize)
    return [np.arange(start, limit, delta).astype(dtype)]


def _reduce_prod(inputs: Arguments, attributes: Attributes, file: File) -> list[Array]:
    value = inputs[0]
    if value is None or value.dtype.kind == "f":
        raise ValueError("only products of whole numbers are computed")
    file.take(2 * value.nbytes)
    axes = inputs[1] if len(inputs) > 1 else attributes.get("axes")
    chosen = None if axes is None else tuple(int(one) for one in np.ravel(axes))
    return [np.asarray(np.prod(value, axis=chosen, keepdims=bool(attributes.get("keepdims", 1))))]


def _reduce_l2(inputs: Arguments, attributes: Attributes, file: File) -> list[Array]:
    """Of a weight that is scaled by its norm: squares are exact in float64, as is their sum."""
    value = inputs[0]
    if value is None or value.dtype.kind != "f":
        raise ValueError("only floats have a norm here")
    given = inputs[1] if len(inputs) > 1 else attributes.get("axes")
    axes = (
        range(value.ndim) if given is None else [int(one) % value.ndim for one in np.ravel(given)]
    )
    stay = [axis for axis in range(value.ndim) if axis not in axes]
    file.take(value.size * 24)
    file.work(value.size * 0.3)
    rows = value.transpose(*stay, *axes).reshape(*(value.shape[axis] for axis in stay), -1)
    squares = np.square(rows.astype(np.float64)).reshape(-1, rows.shape[-1])
    norms = np.sqrt([math.fsum(row) for row in squares]).astype(value.dtype)
    kept = [1 if axis in axes else size for axis, size in enumerate(value.shape)]
    shape = kept if attributes.get("keepdims", 1) else [value.shape[axis] for axis in stay]
    return [norms.reshape(shape)]


FOLDED |= {"Range": _range, "ReduceProd": _reduce_prod, "Mod": _mod, "ReduceL2": _reduce_l2}


def _cast_like(inputs: Arguments, _: Attributes, file: File) -> list[Array]:
    value, like = inputs
    if value is None or like is None or like.dtype not in DTYPES.values():
        raise ValueError("an input is missing")
    file.take(value.size * like.dtype.itemsize)
    return [value.astype(like.dtype)]


FOLDED["CastLike"] = _cast_like


def widened(value: Array, file: File) -> Array:
    """Return a constant with half precision as float32; all other values as they are."""
    if value.dtype != np.float16:
        return value
    file.take(4 * value.size)
    return value.astype(np.float32)
