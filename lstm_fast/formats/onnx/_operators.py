"""The few ONNX operators that stand between initialisers and an LSTM's weights, in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np

from ._file import DTYPES, MOST_AXES, Array, File

MOST_NUMBERS = 4096  # of a shape, axes, or the sizes that something is split into
Arguments = list["Array | None"]
Attributes = dict[str, Any]
Operator = Callable[[Arguments, Attributes, File], list[Array]]

# By name. Each takes its inputs (None where one is left out), its attributes and the file, which
# counts the memory that it takes, and returns its outputs. What it raises for wrong inputs is
# caught by who calls it; symbols in place of sizes come as arrays of objects.
OPERATORS: dict[str, Operator] = {}


def _operator(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(inputs: Arguments, attributes: Attributes, file: File) -> list[Array]:
            result = function(inputs, attributes, file)
            return result if isinstance(result, list) else [np.asarray(result)]

        OPERATORS[name] = call
        return function

    return register


def _need(inputs: Arguments, index: int) -> Array:
    value = inputs[index] if index < len(inputs) else None
    if value is None:
        raise ValueError(f"input {index} is missing")
    return value


def _given(inputs: Arguments, index: int, attributes: Attributes, name: str) -> list[int] | None:
    """Return whole numbers that are an attribute in older versions and an input in newer ones."""
    if index < len(inputs) and inputs[index] is not None:
        return _whole_numbers(_need(inputs, index), name)
    value = attributes.get(name)
    return None if value is None else [int(number) for number in value]


def _whole_numbers(value: Array, name: str) -> list[int]:
    """Return a shape, axes or sizes as Python has them.

    Raises:
        ValueError: they are more than any node has.
    """
    if value.size > MOST_NUMBERS:
        raise ValueError(f"its {name} has {value.size} numbers, more than {MOST_NUMBERS}")
    return [int(number) for number in np.ravel(value)]


def _take(file: File, shape: Any, dtype: np.dtype[Any]) -> None:
    if len(shape) > MOST_AXES:
        raise ValueError(f"a shape has {len(shape)} axes")
    if any(size < 0 for size in shape):
        raise ValueError(f"a size is below 0: {list(shape)}")
    file.take(math.prod(int(size) for size in shape) * dtype.itemsize)


@_operator("Constant")
def _constant(_: Arguments, attributes: Attributes, file: File) -> Array:
    kinds: dict[str, Any] = {"value_float": np.float32, "value_floats": np.float32}
    kinds |= {"value_int": np.int64, "value_ints": np.int64}
    for name, value in attributes.items():
        if name == "value":
            return file.array(value)
        if name in kinds:
            return np.array(value, kinds[name])
    raise ValueError(f"a constant of {', '.join(attributes) or 'nothing'} is not read")


@_operator("Identity")
def _identity(inputs: Arguments, _: Attributes, __: File) -> Array:
    return _need(inputs, 0)


@_operator("Cast")
def _cast(inputs: Arguments, attributes: Attributes, file: File) -> Array:
    value, to = _need(inputs, 0), attributes["to"]
    if to not in DTYPES:
        raise ValueError(f"values of ONNX's type number {to} are not computed")
    if value.dtype == object:
        return value
    _take(file, value.shape, DTYPES[to])
    return value.astype(DTYPES[to])


@_operator("Transpose")
def _transpose(inputs: Arguments, attributes: Attributes, _: File) -> Array:
    return np.transpose(_need(inputs, 0), attributes.get("perm"))


@_operator("Unsqueeze")
def _unsqueeze(inputs: Arguments, attributes: Attributes, _: File) -> Array:
    axes = _given(inputs, 1, attributes, "axes")
    if axes is None:
        raise ValueError("its axes are missing")
    return np.expand_dims(_need(inputs, 0), tuple(axes))


@_operator("Squeeze")
def _squeeze(inputs: Arguments, attributes: Attributes, _: File) -> Array:
    axes = _given(inputs, 1, attributes, "axes")
    return np.squeeze(_need(inputs, 0), None if axes is None else tuple(axes))


@_operator("Reshape")
def _reshape(inputs: Arguments, attributes: Attributes, file: File) -> Array:
    value, shape = _need(inputs, 0), _given(inputs, 1, attributes, "shape")
    if shape is None:
        raise ValueError("its shape is missing")
    if not attributes.get("allowzero"):
        shape = [value.shape[n] if size == 0 else size for n, size in enumerate(shape)]
    result = value.reshape(shape)
    if not np.may_share_memory(result, value):
        _take(file, result.shape, result.dtype)
    return result


@_operator("Slice")
def _slice(inputs: Arguments, attributes: Attributes, _: File) -> Array:
    value = _need(inputs, 0)
    names = ("starts", "ends", "axes", "steps")
    starts, ends, axes, steps = (_given(inputs, n + 1, attributes, k) for n, k in enumerate(names))
    if starts is None or ends is None:
        raise ValueError("its starts or ends are missing")
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    where = [slice(None)] * value.ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        where[axis] = slice(start, end, step)
    return value[tuple(where)]


@_operator("Concat")
def _concat(inputs: Arguments, attributes: Attributes, file: File) -> Array:
    values = [_need(inputs, n) for n in range(len(inputs))]
    file.take(sum(value.size * value.dtype.itemsize for value in values))
    return np.concatenate(values, attributes["axis"])


@_operator("Gather")
def _gather(inputs: Arguments, attributes: Attributes, file: File) -> Array:
    value, indices, axis = _need(inputs, 0), _need(inputs, 1), attributes.get("axis", 0)
    others = list(value.shape)
    del others[axis]
    _take(file, (*others, indices.size), value.dtype)
    return np.take(value, indices.astype(np.int64), axis)


@_operator("Split")
def _split(inputs: Arguments, attributes: Attributes, file: File) -> list[Array]:
    value, axis = _need(inputs, 0), attributes.get("axis", 0)
    sizes, outputs = _given(inputs, 1, attributes, "split"), attributes["outputs of the node"]
    if sizes is None:
        each = -(-value.shape[axis] // outputs)
        sizes = [each] * (outputs - 1) + [value.shape[axis] - each * (outputs - 1)]
    if len(sizes) < outputs or any(size < 0 for size in sizes) or sum(sizes) != value.shape[axis]:
        raise ValueError(f"shape {value.shape} is not split into {sizes}")
    file.work(3 * len(sizes))
    file.budget.memory(200 * len(sizes))
    return list(np.split(value, [*accumulate(sizes)][:-1], axis))


@_operator("Expand")
def _expand(inputs: Arguments, attributes: Attributes, file: File) -> Array:
    value, shape = _need(inputs, 0), _given(inputs, 1, attributes, "shape") or []
    _take(file, shape, value.dtype)  # before anything of that size is even described
    full = np.broadcast_shapes(value.shape, tuple(shape))
    _take(file, full, value.dtype)
    return np.broadcast_to(value, full)


@_operator("Tile")
def _tile(inputs: Arguments, attributes: Attributes, file: File) -> Array:
    value, repeats = _need(inputs, 0), _given(inputs, 1, attributes, "repeats") or []
    _take(file, [max(value.nbytes, 1), *repeats], np.dtype(np.int8))
    if len(repeats) > value.ndim + MOST_AXES:
        raise ValueError(f"it has {len(repeats)} repeats for shape {value.shape}")
    return np.tile(value, repeats)


@_operator("ConstantOfShape")
def _constant_of_shape(inputs: Arguments, attributes: Attributes, file: File) -> Array:
    shape = _whole_numbers(_need(inputs, 0), "shape")
    fill = file.array(attributes["value"]) if "value" in attributes else np.zeros(1, np.float32)
    _take(file, shape, fill.dtype)
    return np.full(shape, fill.reshape(()), fill.dtype)


@_operator("Shape")
def _shape(inputs: Arguments, attributes: Attributes, _: File) -> Array:
    shape = np.array(_need(inputs, 0).shape, np.int64)
    return shape[attributes.get("start", 0) : attributes.get("end")]


def _arithmetic(name: str, function: Callable[[Array, Array], Array]) -> None:
    @_operator(name)
    def compute(inputs: Arguments, _: Attributes, file: File) -> Array:
        left, right = _need(inputs, 0), _need(inputs, 1)
        if left.dtype != right.dtype and object not in (left.dtype, right.dtype):
            raise ValueError(f"its inputs are {left.dtype} and {right.dtype}")
        _take(file, np.broadcast_shapes(left.shape, right.shape), left.dtype)
        return function(left, right)


_arithmetic("Add", np.add)
_arithmetic("Sub", np.subtract)
_arithmetic("Mul", np.multiply)


@_operator("Div")
def _div(inputs: Arguments, _: Attributes, file: File) -> Array:
    left, right = _need(inputs, 0), _need(inputs, 1)
    if left.dtype.kind != "f" or right.dtype != left.dtype:
        raise ValueError("only floats are divided")
    _take(file, np.broadcast_shapes(left.shape, right.shape), left.dtype)
    return np.asarray(left / right)


@_operator("Neg")
def _neg(inputs: Arguments, _: Attributes, file: File) -> Array:
    value = _need(inputs, 0)
    _take(file, value.shape, value.dtype)
    return np.negative(value)


@_operator("DequantizeLinear")
def _dequantize(inputs: Arguments, attributes: Attributes, file: File) -> Array:
    value, scale = _need(inputs, 0), _need(inputs, 1)
    zero_point = inputs[2] if len(inputs) > 2 else None
    if attributes.get("block_size"):
        raise ValueError("weights that are quantised in blocks are not read")
    shape = [1] * value.ndim
    if scale.size != 1:
        shape[attributes.get("axis", 1)] = scale.size
    return dequantise(value, scale.reshape(shape), zero_point, file)


def dequantise(value: Array, scale: Array, zero_point: Array | None, file: File) -> Array:
    """Return (value - zero_point) * scale in float32; scale has the value's number of axes.

    Raises:
        ValueError: the shapes do not fit.
    """
    if value.dtype.kind not in "iu" or scale.dtype.kind != "f":
        raise ValueError(f"its values are {value.dtype}, their scale {scale.dtype}")
    if np.broadcast_shapes(value.shape, scale.shape) != value.shape:
        raise ValueError(f"shape {value.shape} does not go with a scale of shape {scale.shape}")
    _take(file, value.shape, np.dtype(np.float32))
    result = value.astype(np.float32)
    with np.errstate(all="ignore"):  # what is not finite is refused with the weights
        if zero_point is not None:
            result -= zero_point.reshape(scale.shape).astype(np.float32)
        result *= scale.astype(np.float32)
    return result
