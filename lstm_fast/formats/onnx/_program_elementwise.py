"""ONNX's operators that work element by element, as operations of a program."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...program import Kind, Shape
from ._file import Array, Proto
from ._program_builder import Builder, Sym, UnsupportedError, Value, shape_of, stripped
from ._program_nodes import Node, lowering

# Operators that are one operation of ours with no attributes.
UNARY = {
    "Relu": "relu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Exp": "exp",
    "Log": "log",
    "Abs": "abs",
    "Neg": "neg",
    "Sqrt": "sqrt",
    "Reciprocal": "reciprocal",
    "Erf": "erf",
    "Softplus": "softplus",
    "Softsign": "softsign",
    "HardSwish": "hard_swish",
}
# With attributes, and ONNX's defaults for these.
PARAMETERS: dict[str, tuple[str, dict[str, float]]] = {
    "HardSigmoid": ("hard_sigmoid", {"alpha": 0.2, "beta": 0.5}),
    "Elu": ("elu", {"alpha": 1.0}),
    "LeakyRelu": ("leaky_relu", {"alpha": 0.01}),
}
ARITHMETIC = {"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div"}
AXES_BEHIND = {"dense": 0, "conv": 1, "conv2d": 2}  # that of the rows
SELU = (1.67326319217681884765625, 1.05070102214813232421875)  # alpha, gamma
FLOATS = (1, 10, 11, 16)  # TensorProto.DataType
WHOLE = (2, 3, 4, 5, 6, 7, 12, 13)


def unary(builder: Builder, code: str, value: Value, **attributes: Any) -> Sym:
    """Add an operation on each element, which keeps the tensor's shape."""
    tensor = builder.plain(value)
    kind: Kind = "bool" if code == "logical_not" else "float32"
    made = builder.emit(code, [tensor], builder.shape(tensor), kind, **attributes)
    return Sym(made, shape_of(value))


def binary(builder: Builder, code: str, *values: Value, kind: Kind = "float32") -> Sym:
    """Add an operation on values that are broadcast against each other.

    Raises:
        ValueError: their shapes do not fit.
    """
    shapes = [shape_of(value) for value in values]
    whole = np.broadcast_shapes(*shapes)
    tensors = [value.tensor for value in values if isinstance(value, Sym)]
    same = {builder.shape(one) for one in tensors}
    plain = all(
        shape == whole or not isinstance(v, Sym) for v, shape in zip(values, shapes, strict=True)
    )
    scalars = all(isinstance(value, Sym) or value.size == 1 for value in values)
    if tensors and plain and scalars and len(same) == 1:
        (held,) = same
        inputs = [v.tensor if isinstance(v, Sym) else builder.shaped(v, (1,)) for v in values]
        return Sym(builder.emit(code, inputs, held or (1,), kind), whole)
    held = stripped(whole)
    inputs = [builder.shaped(v, _within(shape_of(v), len(held))) for v in values]
    return Sym(builder.emit(code, inputs, held, kind), whole)


def _within(shape: Shape, rank: int) -> Shape:
    """Return a shape with so many axes at most; what is cut off has size 1."""
    return shape[max(len(shape) - rank, 0) :] or (1,)


def scalar(value: float) -> Array:
    return np.full((), value, np.float32)


def number(value: Value | None) -> float | None:
    """Return a constant that is one number, None for anything else."""
    if value is None or isinstance(value, Sym) or value.size != 1:
        return None
    return float(value.reshape(()).item())


@lowering(*UNARY)
def _unary(node: Node) -> list[Value]:
    return [unary(node.builder, UNARY[node.op_type], node.of_kind(node.need(0)))]


@lowering(*PARAMETERS)
def _parameters(node: Node) -> list[Value]:
    code, defaults = PARAMETERS[node.op_type]
    values = {name: float(node.attributes.get(name, usual)) for name, usual in defaults.items()}
    return [unary(node.builder, code, node.of_kind(node.need(0)), **values)]


@lowering("Selu")
def _selu(node: Node) -> list[Value]:
    alpha = float(node.attributes.get("alpha", SELU[0]))
    gamma = float(node.attributes.get("gamma", SELU[1]))
    inner = unary(node.builder, "elu", node.of_kind(node.need(0)), alpha=alpha)
    return [binary(node.builder, "mul", inner, scalar(gamma))]


@lowering("Gelu")
def _gelu(node: Node) -> list[Value]:
    how = node.attributes.get("approximate", "none")
    if how not in ("none", "tanh"):
        raise ValueError(f"approximate is 'none' or 'tanh', found {how!r}")
    return [unary(node.builder, "gelu", node.of_kind(node.need(0)), approximate=how)]


@lowering("Mish")
def _mish(node: Node) -> list[Value]:
    x = node.of_kind(node.need(0))
    inner = unary(node.builder, "tanh", unary(node.builder, "softplus", x))
    return [binary(node.builder, "mul", x, inner)]


@lowering("Swish")
def _swish(node: Node) -> list[Value]:
    x = node.of_kind(node.need(0))
    alpha = float(node.attributes.get("alpha", 1.0))
    inner = x if alpha == 1 else binary(node.builder, "mul", x, scalar(alpha))
    return [binary(node.builder, "mul", x, unary(node.builder, "sigmoid", inner))]


@lowering("Clip")
def _clip(node: Node) -> list[Value]:
    x = node.of_kind(node.need(0))
    bounds: list[Value | None] = [node.given(1), node.given(2)]
    if node.opset < 11:
        found = [node.attributes.get(name) for name in ("min", "max")]
        bounds = [None if one is None else scalar(one) for one in found]
    for name, value in zip(("min", "max"), bounds, strict=True):
        if value is not None and not isinstance(value, Sym) and value.size != 1:
            raise ValueError(f"{name} has shape {value.shape}, expected one number")
    low, high = map(number, bounds)
    if low is not None and high is not None:  # max counts where min is above it
        return [unary(node.builder, "clip", x, min=min(low, high), max=high)]
    for name, code, value in zip(("min", "max"), ("maximum", "minimum"), bounds, strict=True):
        if isinstance(value, Sym):
            x = binary(node.builder, code, x, node.of_kind(value))
        elif value is not None:
            x = unary(node.builder, "clip", x, **{name: number(value)})
    return [x]


@lowering(*ARITHMETIC)
def _arithmetic(node: Node) -> list[Value]:
    left, right = node.of_kind(node.need(0)), node.of_kind(node.need(1))
    if node.opset < 7 and node.attributes.get("broadcast"):
        right = _old_broadcast(left, right, node.attributes.get("axis"))
    code = ARITHMETIC[node.op_type]
    for value, other, side in ((left, right, 1), (right, left, 0)):
        if _changes_nothing(code, other, side, shape_of(value), shape_of(other)):
            return [value]
    if code == "add":
        for value, other in ((left, right), (right, left)):
            biased = _as_bias(node.builder, value, other)
            if biased is not None:
                return [biased]
    return [binary(node.builder, code, left, right)]


def _old_broadcast(left: Value, right: Value, axis: int | None) -> Value:
    """Return the right one with axes of size 1 behind it, as operators before version 7 do."""
    if axis is None:
        return right
    behind = len(shape_of(left)) - axis - len(shape_of(right))
    shape = (*shape_of(right), *[1] * max(behind, 0))
    return Sym(right.tensor, shape) if isinstance(right, Sym) else right.reshape(shape)


def _changes_nothing(code: str, other: Value, side: int, shape: Shape, with_: Shape) -> bool:
    """Tell whether an operation gives its one input back; the sign of a zero is left aside."""
    if isinstance(other, Sym) or np.broadcast_shapes(shape, with_) != shape:
        return False
    if code == "add" or (code == "sub" and side == 1):
        return not np.any(other)
    return (code == "mul" or (code == "div" and side == 1)) and bool(np.all(other == 1))


def _is_finite(value: Array) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.isfinite(value.astype(np.float32)).all())


def _as_bias(builder: Builder, value: Value, other: Value) -> Sym | None:
    """Return a product with a constant as its bias, which is added last there, too."""
    if not isinstance(value, Sym) or isinstance(other, Sym) or not _is_finite(other):
        return None  # what is not finite is a mask, which no product takes
    op = builder.made.get(value.tensor)
    if op is None or op.code not in AXES_BEHIND or len(op.inputs) > 2:
        return None
    rows = builder.shape(op.inputs[1])[0]
    behind = AXES_BEHIND[op.code]
    if other.size != rows or len(value.shape) <= behind or len(other.shape) > len(value.shape):
        return None
    at = len(other.shape) - 1 - behind
    if value.shape[-1 - behind] != rows or at < 0 or other.shape[at] != rows:
        return None
    if builder.shape(value.tensor)[-1 - behind :] != value.shape[-1 - behind :]:
        return None
    bias = builder.constant(other.reshape(rows))
    inputs = (*op.inputs, bias)
    made = builder.emit(op.code, inputs, builder.shape(value.tensor), **op.attributes)
    return Sym(made, value.shape)


@lowering("Pow")
def _pow(node: Node) -> list[Value]:
    x, power = node.of_kind(node.need(0)), node.need(1)
    builder, known = node.builder, number(power)
    if known is None or np.broadcast_shapes(shape_of(x), shape_of(power)) != shape_of(x):
        return [binary(builder, "pow", x, node.of_kind(power))]
    if known == 1:
        return [x]
    if known == 3:
        return [binary(builder, "mul", unary(builder, "square", x), x)]
    named = {2.0: "square", 0.5: "sqrt", -1.0: "reciprocal"}.get(known)
    return [unary(builder, named, x) if named else binary(builder, "pow", x, scalar(known))]


@lowering("PRelu")
def _prelu(node: Node) -> list[Value]:
    x, slope = node.of_kind(node.need(0)), node.of_kind(node.need(1))
    channels = len(shape_of(slope)) == 1 and shape_of(slope) != (1,)
    if node.opset < 7 and channels and len(shape_of(x)) > 2:
        raise UnsupportedError(
            f"its slope {shape_of(slope)} is for axis 1 of {shape_of(x)}, as before operators of "
            "version 7; convert the file to a newer version"
        )
    if np.broadcast_shapes(shape_of(x), shape_of(slope)) != shape_of(x):
        raise ValueError(f"its slope has shape {shape_of(slope)}, its input {shape_of(x)}")
    return [binary(node.builder, "prelu", x, slope)]


@lowering("Min", "Max", "Sum", "Mean")
def _many(node: Node) -> list[Value]:
    code = {"Min": "minimum", "Max": "maximum"}.get(node.op_type, "add")
    result = node.of_kind(node.need(0))
    for index in range(1, len(node.inputs)):
        result = binary(node.builder, code, result, node.of_kind(node.need(index)))
    if node.op_type == "Mean" and len(node.inputs) > 1:
        result = binary(node.builder, "div", result, scalar(len(node.inputs)))
    return [result]


@lowering("Less", "Greater", "Equal", "LessOrEqual", "GreaterOrEqual")
def _compare(node: Node) -> list[Value]:
    left, right = node.need(0), node.need(1)
    node.of_kind(right, node.builder.kind(left))
    name = node.op_type.removesuffix("OrEqual").lower()
    found = binary(node.builder, name, left, right, kind="bool")
    if node.op_type.endswith("OrEqual"):
        equal = binary(node.builder, "equal", left, right, kind="bool")
        found = binary(node.builder, "logical_or", found, equal, kind="bool")
    return [found]


@lowering("And", "Or")
def _logical(node: Node) -> list[Value]:
    left, right = node.of_kind(node.need(0), "bool"), node.of_kind(node.need(1), "bool")
    return [binary(node.builder, f"logical_{node.op_type.lower()}", left, right, kind="bool")]


@lowering("Not")
def _not(node: Node) -> list[Value]:
    return [unary(node.builder, "logical_not", node.of_kind(node.need(0), "bool"))]


@lowering("Where")
def _where(node: Node) -> list[Value]:
    condition, yes, no = node.of_kind(node.need(0), "bool"), node.need(1), node.need(2)
    kind = node.builder.kind(yes)
    return [binary(node.builder, "where", condition, yes, node.of_kind(no, kind), kind=kind)]


@lowering("Identity", "Dropout", "CastLike", "Cast")
def _cast(node: Node) -> list[Value]:
    value = node.need(0)
    if node.op_type == "Dropout":
        training = node.given(2)
        if training is not None and number(training) != 0:
            raise UnsupportedError("it drops values, as in training")
        return [value]
    if node.op_type == "Identity":
        return [value]
    kind: Kind
    if node.op_type == "CastLike":
        kind = node.builder.kind(node.need(1))
    else:
        kind = _kind(node.attributes["to"])
    if kind == node.builder.kind(value):
        return [value]
    tensor = node.builder.plain(value)
    shape = node.builder.shape(tensor)
    return [Sym(node.builder.emit("cast", [tensor], shape, kind, kind=kind), shape_of(value))]


def _kind(to: Proto) -> Kind:
    if to in FLOATS:
        return "float32"
    if to in WHOLE:
        return "int64"
    if to == 9:
        return "bool"
    raise UnsupportedError(f"values of ONNX's type number {to} are not computed")
