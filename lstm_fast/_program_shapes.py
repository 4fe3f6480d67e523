"""The shape and kind of what each operation computes, from those of its inputs and its attributes.

Whatever does not fit is a ValueError in words that name inputs as `operations.py` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any, TypeAlias

import numpy as np

from ._arguments import MAX_SIZE, is_integer
from .operations import OPERATIONS, cell_of
from .program import Shape, Tensor

MAX_RANK = 8

Inputs: TypeAlias = Sequence["Tensor | None"]
Rule: TypeAlias = Callable[[dict[str, Tensor], Mapping[str, Any]], "tuple[Tensor, ...]"]


def infer(code: str, attributes: Mapping[str, Any], inputs: Inputs) -> tuple[Tensor, ...]:
    """Return what an operation's outputs are.

    Args:
        code: one of OPERATIONS.
        attributes: all of them, as `_program_attributes.complete` returns them.
        inputs: its inputs in order; None for one that is left out.

    Raises:
        ValueError: inputs are missing, or too many, or they and the attributes don't fit.
    """
    operation = OPERATIONS[code]
    if operation.inputs == ("*",):
        if not inputs or None in inputs:
            raise ValueError("it takes one input or more, and none may be left out")
        named = {str(n): tensor for n, tensor in enumerate(inputs) if tensor is not None}
    else:
        named = _by_name(operation.inputs, inputs)
    outputs = RULES[code](named, attributes)
    for output in outputs:
        check_shape(output.shape)
    return outputs


def _by_name(names: Sequence[str], inputs: Inputs) -> dict[str, Tensor]:
    if len(inputs) > len(names):
        raise ValueError(f"it takes at most {len(names)} inputs, found {len(inputs)}")
    named = {}
    for name, tensor in zip_longest(names, inputs):
        if tensor is not None:
            named[name.strip("=?")] = tensor
        elif not name.endswith("?"):
            raise ValueError(f"the input {name.strip('=')} is missing")
    return named


def check_shape(shape: Shape) -> None:
    """Refuse a shape with a size below 1, of too many axes or too many elements."""
    if len(shape) > MAX_RANK:
        raise ValueError(f"a shape has {len(shape)} axes, at most {MAX_RANK} are possible")
    if not all(is_integer(size) and size >= 1 for size in shape):
        raise ValueError(f"the shape {shape} has a size that is not an integer of 1 or more")
    if math.prod(shape) > MAX_SIZE:
        raise ValueError(f"the shape {shape} has more than {MAX_SIZE} elements")


# ---- what the rules have in common ----


def _floats(named: Mapping[str, Tensor], *names: str) -> None:
    for name in names or tuple(named):
        if name in named and named[name].kind != "float32":
            raise ValueError(f"{name} is {named[name].kind}, expected float32")


def _expect(named: Mapping[str, Tensor], **shapes: Shape) -> None:
    """Refuse inputs that are there in another shape than these."""
    for name, shape in shapes.items():
        if name in named and named[name].shape != shape:
            raise ValueError(f"{name} has shape {named[name].shape}, expected {shape}")


def _rank(named: Mapping[str, Tensor], **ranks: int) -> None:
    for name, rank in ranks.items():
        if len(named[name].shape) != rank:
            raise ValueError(f"{name} has shape {named[name].shape}, expected {rank} axes")


def _axis(x: Tensor, axis: int) -> int:
    if not 0 <= axis < len(x.shape):
        raise ValueError(f"axis is {axis}, x has shape {x.shape}")
    return axis


def _each_axis(x: Tensor, attributes: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if len(attributes[name]) != len(x.shape):
            raise ValueError(f"{name} is {attributes[name]}, x has shape {x.shape}")


def _broadcast(*tensors: Tensor) -> Shape:
    try:
        return np.broadcast_shapes(*(tensor.shape for tensor in tensors))
    except ValueError:
        shapes = " and ".join(str(tensor.shape) for tensor in tensors)
        raise ValueError(f"the shapes {shapes} don't broadcast") from None


# ---- the rules ----


def _dense(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    _floats(named)
    _rank(named, weight=2)
    x, (rows, columns) = named["x"].shape, named["weight"].shape
    if not x or x[-1] != columns:
        raise ValueError(f"x has shape {x}, its last axis must be the weight's {columns}")
    _expect(named, bias=(rows,))
    return (Tensor((*x[:-1], rows)),)


def _grouped(named: dict[str, Tensor], groups: int) -> None:
    """Refuse channels, weights (rows, channels of a group, kernel) and bias that don't fit."""
    (channels, *_), (rows, _, *kernel) = named["x"].shape, named["weight"].shape
    if groups < 1:
        raise ValueError(f"groups is {groups}, expected 1 or more")
    if channels % groups or rows % groups:
        raise ValueError(
            f"groups is {groups}, which {channels} and {rows} channels don't divide by"
        )
    _expect(named, weight=(rows, channels // groups, *kernel), bias=(rows,))


def _positions(
    size: int, taps: int, stride: int, dilation: int, pads: tuple[int, int], what: str
) -> int:
    """Return how many positions a window has along an axis of so many `what`."""
    padded, window = size + sum(pads), dilation * (taps - 1) + 1
    if window > padded:
        raise ValueError(f"a window spans {window} {what}, x has {padded} with its padding")
    return (padded - window) // stride + 1


def _conv(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    _floats(named)
    _rank(named, x=2, weight=3)
    for name, least in (("stride", 1), ("dilation", 1), ("pad_begin", 0), ("pad_end", 0)):
        if attributes[name] < least:
            raise ValueError(f"{name} is {attributes[name]}, expected {least} or more")
    _grouped(named, attributes["groups"])
    steps, (rows, _, taps) = named["x"].shape[1], named["weight"].shape
    pads = attributes["pad_begin"], attributes["pad_end"]
    size = _positions(steps, taps, attributes["stride"], attributes["dilation"], pads, "steps")
    return (Tensor((rows, size)),)


def _conv2d(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    _floats(named)
    _rank(named, x=3, weight=4)
    for name, least in (("strides", 1), ("dilations", 1), ("pad_begin", 0), ("pad_end", 0)):
        if len(attributes[name]) != 2 or min(attributes[name]) < least:
            raise ValueError(f"{name} is {attributes[name]}, expected two of {least} or more")
    _grouped(named, attributes["groups"])
    sizes, kernel = named["x"].shape[1:], named["weight"].shape[2:]
    pads = list(zip(attributes["pad_begin"], attributes["pad_end"], strict=True))
    steps = zip(attributes["strides"], attributes["dilations"], strict=True)
    whole = [
        _positions(size, taps, *step, pad, what)
        for size, taps, step, pad, what in zip(
            sizes, kernel, steps, pads, ("rows", "columns"), strict=True
        )
    ]
    padded = [size + sum(pad) for size, pad in zip(sizes, pads, strict=True)]
    if math.prod((named["x"].shape[0], *padded)) > MAX_SIZE:
        raise ValueError(f"x {named['x'].shape} has more than {MAX_SIZE} values with its padding")
    return (Tensor((named["weight"].shape[0], *whole)),)


def _lstm(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    _floats(named)
    _rank(named, x=1, h=1, c=1)
    (width,), (projected,), (hidden,) = (named[name].shape for name in ("x", "h", "c"))
    _expect(
        named,
        weight_ih=(4 * hidden, width),
        weight_hh=(4 * hidden, projected),
        bias=(4 * hidden,),
        weight_hr=(projected, hidden),
        peephole=(3 * hidden,),
        layer_norm=(4 * hidden,),
        bias_hr=(projected,),
    )
    if "weight_hr" not in named:
        if projected != hidden:
            raise ValueError(f"h has {projected} values and c {hidden}, but there is no weight_hr")
        if "bias_hr" in named:
            raise ValueError("there is a bias_hr, but no weight_hr")
    cell_of(attributes)
    return Tensor((projected,)), Tensor((projected,)), Tensor((hidden,))


def _gru(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    _floats(named)
    _rank(named, x=1, h=1)
    (width,), (hidden,) = named["x"].shape, named["h"].shape
    rows = 3 * hidden
    _expect(named, weight_ih=(rows, width), weight_hh=(rows, hidden))
    _expect(named, bias_ih=(rows,), bias_hh=(rows,))
    return Tensor((hidden,)), Tensor((hidden,))


def _same(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    _floats(named)
    if attributes.get("min", 0) > attributes.get("max", 0):
        raise ValueError(f"min is {attributes['min']}, above max, {attributes['max']}")
    return (named["x"],)


def _binary(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    _floats(named)
    return (Tensor(_broadcast(*named.values())),)


def _one_kind(a: Tensor, b: Tensor) -> None:
    if a.kind != b.kind:
        raise ValueError(f"a is {a.kind} and b {b.kind}, expected one kind")


def _equal(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    _one_kind(named["a"], named["b"])
    return (Tensor(_broadcast(*named.values()), "bool"),)


def _order(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    if named["a"].kind == "bool":
        raise ValueError("a is bool, expected float32 or int64")
    return _equal(named, attributes)


def _logical(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    for name, tensor in named.items():
        if tensor.kind != "bool":
            raise ValueError(f"{name} is {tensor.kind}, expected bool")
    return (Tensor(_broadcast(*named.values()), "bool"),)


def _where(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    if named["condition"].kind != "bool":
        raise ValueError(f"condition is {named['condition'].kind}, expected bool")
    _one_kind(named["a"], named["b"])
    return (Tensor(_broadcast(*named.values()), named["a"].kind),)


def _softmax(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    _floats(named)
    _axis(named["x"], attributes["axis"])
    return (named["x"],)


def _layer_norm(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    _floats(named)
    x = named["x"].shape
    if not x:
        raise ValueError("x has no axis")
    if attributes["epsilon"] < 0:
        raise ValueError(f"epsilon is {attributes['epsilon']}, expected 0 or more")
    _expect(named, scale=x[-1:], bias=x[-1:])
    return (named["x"],)


def _reduce(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    _floats(named)
    shape, axes = named["x"].shape, attributes["axes"]
    if list(axes) != sorted({axis for axis in axes if 0 <= axis < len(shape)}) or not axes:
        raise ValueError(f"axes is {axes}, expected ascending axes of x, of shape {shape}")
    keep = attributes["keepdims"]
    kept = [1 if i in axes else size for i, size in enumerate(shape) if keep or i not in axes]
    return (Tensor(tuple(kept)),)


def _concat(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    first = named["0"]
    axis = _axis(first, attributes["axis"])

    def rest(shape: Shape) -> Shape:
        return (*shape[:axis], *shape[axis + 1 :])

    for tensor in named.values():
        alike = len(tensor.shape) == len(first.shape) and rest(tensor.shape) == rest(first.shape)
        if tensor.kind != first.kind or not alike:
            raise ValueError(
                f"{tensor.shape} {tensor.kind} does not go with {first.shape} {first.kind} along "
                f"axis {axis}"
            )
    size = sum(tensor.shape[axis] for tensor in named.values())
    return (Tensor((*first.shape[:axis], size, *first.shape[axis + 1 :]), first.kind),)


def _slice(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    x = named["x"]
    parts = ("starts", "ends", "steps")
    _each_axis(x, attributes, *parts)
    shape = []
    for size, start, end, step in zip(x.shape, *(attributes[part] for part in parts), strict=True):
        inside = 0 <= start < size and step != 0
        forward = step > 0 and start < end <= size
        if not inside or not (forward or (step < 0 and -1 <= end < start)):
            raise ValueError(f"{start}:{end}:{step} is not a slice of an axis of size {size}")
        shape.append(len(range(start, end, step)))
    return (Tensor(tuple(shape), x.kind),)


def _gather(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    x, indices = named["x"], named["indices"]
    axis = _axis(x, attributes["axis"])
    _are_indices(indices)
    return (Tensor((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.kind),)


def _are_indices(indices: Tensor) -> None:
    if indices.kind != "int64":
        raise ValueError(f"indices is {indices.kind}, expected int64")


def _embedding(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    table, indices = named["table"], named["indices"]
    _are_indices(indices)
    if not table.shape:
        raise ValueError("table has no axis")
    return (Tensor((*indices.shape, *table.shape[1:]), table.kind),)


def _transpose(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    x, order = named["x"], attributes["order"]
    if sorted(order) != list(range(len(x.shape))):
        raise ValueError(f"order is {order}, expected each axis of x, of shape {x.shape}, once")
    return (Tensor(tuple(x.shape[axis] for axis in order), x.kind),)


def _reshape(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    x, shape = named["x"], attributes["shape"]
    check_shape(shape)
    if math.prod(shape) != math.prod(x.shape):
        raise ValueError(f"shape is {shape}, x has shape {x.shape}, of another number of elements")
    return (Tensor(shape, x.kind),)


def _expand(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    x, shape = named["x"], attributes["shape"]
    check_shape(shape)
    if _broadcast(x, Tensor(shape)) != shape:
        raise ValueError(f"shape is {shape}, to which x, of shape {x.shape}, does not broadcast")
    return (Tensor(shape, x.kind),)


def _pad(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    _floats(named)
    x, before, after = named["x"], attributes["before"], attributes["after"]
    _each_axis(x, attributes, "before", "after")
    shape = []
    for size, first, last in zip(x.shape, before, after, strict=True):
        if min(first, last) < 0:
            raise ValueError(f"before and after are {before} and {after}, expected 0 or more")
        if attributes["mode"] == "reflect" and max(first, last) >= size:
            raise ValueError(f"an axis of size {size} reflects at most {size - 1} values")
        shape.append(size + first + last)
    return (Tensor(tuple(shape)),)


def _cast(named: dict[str, Tensor], attributes: Mapping[str, Any]) -> tuple[Tensor, ...]:
    return (Tensor(named["x"].shape, attributes["kind"]),)


RULES: dict[str, Rule] = {
    "dense": _dense,
    "conv": _conv,
    "lstm": _lstm,
    "gru": _gru,
    "conv2d": _conv2d,
    **dict.fromkeys((code for code, one in OPERATIONS.items() if 10 <= one.number < 40), _same),
    **dict.fromkeys((code for code, one in OPERATIONS.items() if 40 <= one.number < 50), _binary),
    "less": _order,
    "greater": _order,
    "equal": _equal,
    **dict.fromkeys(("logical_and", "logical_or", "logical_not"), _logical),
    "where": _where,
    "softmax": _softmax,
    "log_softmax": _softmax,
    "layer_norm": _layer_norm,
    "reduce": _reduce,
    "concat": _concat,
    "slice": _slice,
    "gather": _gather,
    "embedding": _embedding,
    "transpose": _transpose,
    "reshape": _reshape,
    "expand": _expand,
    "pad": _pad,
    "cast": _cast,
}
