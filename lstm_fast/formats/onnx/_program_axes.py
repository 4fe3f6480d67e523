"""ONNX's operators that work along axes: reductions, softmax, normalisation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._file import Array
from ._program_builder import MOST_COPIED, Builder, Sym, UnsupportedError, Value, shape_of, stripped
from ._program_elementwise import binary, unary
from ._program_movement import view
from ._program_nodes import Node, axis_in, lowering

# Our kind of reduction, and what is done to each element before and to the result after.
REDUCTIONS = {
    "ReduceMean": ("mean", "", ""),
    "ReduceSum": ("sum", "", ""),
    "ReduceMax": ("max", "", ""),
    "ReduceMin": ("min", "", ""),
    "ReduceL2": ("l2", "", ""),
    "ReduceL1": ("sum", "abs", ""),
    "ReduceSumSquare": ("sum", "square", ""),
    "ReduceLogSum": ("sum", "", "log"),
}


@lowering(*REDUCTIONS)
def _reduce(node: Node) -> list[Value]:
    value, axes = node.of_kind(node.need(0)), node.whole_numbers(1, "axes")
    rank = len(shape_of(value))
    if not axes and not node.attributes.get("noop_with_empty_axes"):
        axes = list(range(rank))
    chosen = sorted({axis_in(axis, rank) for axis in axes or ()})
    kind, before, after = REDUCTIONS[node.op_type]
    if before:
        value = unary(node.builder, before, value)
    result = reduced(node.builder, kind, value, chosen, bool(node.attributes.get("keepdims", 1)))
    return [unary(node.builder, after, result) if after else result]


@lowering("GlobalAveragePool", "GlobalMaxPool")
def _global_pool(node: Node) -> list[Value]:
    value = node.of_kind(node.need(0))
    kind = "mean" if node.op_type == "GlobalAveragePool" else "max"
    return [reduced(node.builder, kind, value, range(2, len(shape_of(value))), True)]


def reduced(builder: Builder, kind: str, value: Value, axes: Sequence[int], keep: bool) -> Value:
    """Return a value reduced over axes, which are ascending."""
    shape = shape_of(value)
    whole = [1 if n in axes else size for n, size in enumerate(shape)]
    result = whole if keep else [size for n, size in enumerate(shape) if n not in axes]
    over = [axis for axis in axes if shape[axis] != 1]
    builder.works_along(*(shape[axis] for axis in axes))
    if not over:
        return view(unary(builder, "abs", value) if kind == "l2" else value, result)
    skip = len(shape) - len(stripped(shape))
    tensor = builder.emit(
        "reduce",
        [builder.shaped(value, shape[skip:])],
        whole[skip:],
        kind=kind,
        axes=tuple(axis - skip for axis in over),
        keepdims=True,
    )
    return Sym(tensor, tuple(result))


@lowering("Softmax", "LogSoftmax")
def _softmax(node: Node) -> list[Value]:
    value = node.of_kind(node.need(0))
    shape = shape_of(value)
    code = "softmax" if node.op_type == "Softmax" else "log_softmax"
    axis = axis_in(int(node.attributes.get("axis", 1 if node.opset < 13 else -1)), len(shape))
    if node.opset < 13:  # over all axes from this one on
        behind = int(np.prod(shape[axis:]))
        node.builder.works_along(*shape[axis:])
        inner = view(value, (*shape[:axis], behind))
        return [view(_along(node.builder, code, inner, axis), shape)]
    return [_along(node.builder, code, value, axis)]


def _along(builder: Builder, code: str, value: Value, axis: int) -> Value:
    shape = shape_of(value)
    builder.works_along(shape[axis])
    skip = len(shape) - len(stripped(shape, axis))
    tensor = builder.shaped(value, shape[skip:])
    return Sym(builder.emit(code, [tensor], shape[skip:], axis=axis - skip), shape)


@lowering("LayerNormalization")
def _layer_norm(node: Node) -> list[Value]:
    value = node.of_kind(node.need(0))
    shape, builder = shape_of(value), node.builder
    axis = axis_in(int(node.attributes.get("axis", -1)), len(shape))
    size = int(np.prod(shape[axis:]))
    builder.works_along(*shape[axis:])
    scale, bias = node.known(1, "scale"), node.known(2, "bias")
    inputs = [builder.shaped(value, stripped((*shape[:axis], size)))]
    for given in (scale, bias):
        if given is not None and given.size != size and size > MOST_COPIED:
            raise UnsupportedError(f"its scale {given.shape} is repeated for {size} values")
        whole = None if given is None else np.broadcast_to(given, shape[axis:]).reshape(size)
        inputs.append(-1 if whole is None else builder.constant(whole))
    epsilon = float(node.attributes.get("epsilon", 1e-5))
    held = builder.shape(inputs[0])
    return [Sym(builder.emit("layer_norm", inputs, held, epsilon=epsilon), shape)]


@lowering("BatchNormalization")
def _batch_norm(node: Node) -> list[Value]:
    value = node.of_kind(node.need(0))
    shape, builder = shape_of(value), node.builder
    if node.attributes.get("training_mode") or node.outputs > 1:
        raise UnsupportedError("it learns, as in training")
    names = ("scale", "bias", "mean", "variance")
    given = [node.needed(n + 1, name) for n, name in enumerate(names)]
    channels = shape[1] if len(shape) > 1 else 0
    if any(one.shape != (channels,) for one in given):
        raise ValueError(f"its scale has shape {given[0].shape}, its input {shape}")
    scale, bias, mean, variance = (one.astype(np.float64) for one in given)
    epsilon = float(np.float32(node.attributes.get("epsilon", 1e-5)))
    with np.errstate(all="ignore"):  # what is not finite is refused with the constants
        factor = scale / np.sqrt(variance + epsilon)
        shift = bias - mean * factor
    folded = _folded(builder, value, factor, shift)
    if folded is not None:
        return [folded]
    behind = (1,) * (len(shape) - 2)
    factors, shifts = (one.astype(np.float32).reshape(-1, *behind) for one in (factor, shift))
    return [binary(builder, "add", binary(builder, "mul", value, factors), shifts)]


def _folded(builder: Builder, value: Value, factor: Array, shift: Array) -> Value | None:
    """Return the product before a batch normalisation with that folded in."""
    op = builder.made.get(value.tensor) if isinstance(value, Sym) else None
    if op is None or op.code not in ("dense", "conv", "conv2d") or not isinstance(value, Sym):
        return None
    rows, shape = len(factor), value.shape
    is_rows = shape[1] == rows and (
        builder.shape(value.tensor) in ((rows,), (rows, *shape[2:]))
        if op.code != "dense" or len(shape) == 2
        else False
    )
    weight = builder.constants[op.inputs[1]].astype(np.float64)
    if not is_rows or len(weight) != rows:
        return None
    old = builder.constants[op.inputs[2]].astype(np.float64) if len(op.inputs) > 2 else 0.0
    with np.errstate(all="ignore"):
        weight *= factor.reshape(-1, *[1] * (weight.ndim - 1))
        bias = np.asarray(old * factor + shift)
    inputs = (op.inputs[0], *(builder.constant(v.astype(np.float32)) for v in (weight, bias)))
    source = f"{op.source}, {builder.source}"
    builder.source = source
    made = builder.emit(op.code, inputs, builder.shape(value.tensor), **op.attributes)
    return Sym(made, shape)
