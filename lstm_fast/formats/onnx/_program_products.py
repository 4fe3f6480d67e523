"""ONNX's operators that multiply with weights: MatMul, Gemm, Conv."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ._file import Array
from ._program_advice import FIX_AXIS
from ._program_builder import (
    MOST_ELEMENTS,
    Builder,
    Sym,
    UnsupportedError,
    Value,
    Window,
    shape_of,
    stripped,
)
from ._program_elementwise import binary, scalar
from ._program_movement import transposed, view
from ._program_nodes import Node, lowering
from ._program_past import behind_past

BOTH = "it multiplies two computed values; only products with weights are computed"


def dense(builder: Builder, value: Value, weight: Array, bias: Array | None = None) -> Sym:
    """Return W x over the last axis.

    Args:
        builder: takes the operation.
        value: x, (..., K).
        weight: W, (M, K).
        bias: (M,), added last.

    Raises:
        ValueError: the shapes do not fit.
    """
    shape = shape_of(value)
    if weight.ndim != 2 or not shape or shape[-1] != weight.shape[1]:
        raise ValueError(f"weights of shape {weight.shape} do not go with values of {shape}")
    inputs = [builder.shaped(value, stripped(shape)), builder.constant(weight)]
    if bias is not None:
        inputs.append(builder.constant(bias))
    held = (*stripped(shape)[:-1], weight.shape[0])
    return Sym(builder.emit("dense", inputs, held), (*shape[:-1], weight.shape[0]))


@lowering("MatMul")
def _matmul(node: Node) -> list[Value]:
    left, right = node.of_kind(node.need(0)), node.of_kind(node.need(1))
    builder = node.builder
    if isinstance(left, Sym) and isinstance(right, Sym):
        raise UnsupportedError(BOTH)
    if not isinstance(right, Sym):
        if right.ndim == 1:
            whole = dense(builder, left, right[None])
            return [Sym(whole.tensor, whole.shape[:-1])]
        rank = right.ndim - (len(shape_of(left)) == 1)
        return [_batched(dense(builder, left, _matrix(right).T), rank)]
    assert not isinstance(left, Sym)
    squeeze = left.ndim == 1
    left = left[None] if squeeze else left
    if len(right.shape) == 1:
        result = dense(builder, right, _matrix(left))
        return [Sym(result.tensor, (1,) * (left.ndim - 2) + result.shape)]
    rank = len(right.shape)
    builder.works_along(right.shape[-2])
    order = [*range(rank - 2), rank - 1, rank - 2]
    columns = transposed(builder, right, order)
    result = _batched(dense(builder, columns, _matrix(left)), left.ndim)
    turned = [*range(len(result.shape) - 2), len(result.shape) - 1, len(result.shape) - 2]
    moved = transposed(builder, result, turned)
    assert isinstance(moved, Sym)
    return [Sym(moved.tensor, (*moved.shape[:-2], moved.shape[-1])) if squeeze else moved]


def _matrix(weight: Array) -> Array:
    """Return the one matrix that weights are."""
    if math.prod(weight.shape[:-2]) != 1:
        raise UnsupportedError(f"its weights are several matrices, of shape {weight.shape}")
    return weight.reshape(weight.shape[-2:])


def _batched(value: Sym, rank: int) -> Sym:
    """Return a value with as many axes as the weights, whose other axes are all of size 1."""
    return Sym(value.tensor, (1,) * (rank - len(value.shape)) + value.shape)


@lowering("Gemm")
def _gemm(node: Node) -> list[Value]:
    left, right, added = node.of_kind(node.need(0)), node.of_kind(node.need(1)), node.given(2)
    builder = node.builder
    alpha, beta = (float(node.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    if isinstance(right, Sym):
        raise UnsupportedError(BOTH if isinstance(left, Sym) else "its second factor is computed")
    if right.ndim != 2 or len(shape_of(left)) != 2:
        raise ValueError(f"its factors have shapes {shape_of(left)} and {right.shape}")
    weight = right if node.attributes.get("transB") else right.T
    if node.attributes.get("transA"):
        left = transposed(builder, left, [1, 0])
    if alpha != 1:
        weight = weight * np.float32(alpha)
    bias: Array | None = None
    if added is not None and beta == 0:
        added = None
    if added is not None and not isinstance(added, Sym):
        added = added if beta == 1 else added * np.float32(beta)
        rows = weight.shape[0]
        if added.size in (1, rows) and added.shape in ((), (1,), (1, 1), (rows,), (1, rows)):
            bias, added = np.broadcast_to(added.ravel(), (rows,)), None
    elif added is not None and beta != 1:
        added = binary(builder, "mul", node.of_kind(added), scalar(beta))
    result = dense(builder, left, weight, bias)
    return [result if added is None else binary(builder, "add", result, node.of_kind(added))]


@lowering("Conv")
def _conv(node: Node) -> list[Value]:
    value, weight, bias = node.of_kind(node.need(0)), node.given(1), node.known(2, "bias")
    if not isinstance(weight, np.ndarray):
        raise UnsupportedError("its weights are computed when the model runs")
    shape = shape_of(value)
    spatial = weight.ndim - 2
    if spatial < 1 or len(shape) != weight.ndim:
        raise ValueError(f"its weights have shape {weight.shape}, its input {shape}")
    if shape[0] != 1 and not node.builder.is_aside:
        raise UnsupportedError(
            f"its input {shape} is a batch of {shape[0]}; a step has one session: {FIX_AXIS}"
        )
    settings = settings_of(node, shape, weight.shape[2:])
    if shape[1] != weight.shape[1] * settings.groups or weight.shape[0] % settings.groups:
        raise ValueError(
            f"weights {weight.shape} in {settings.groups} groups do not go with input {shape}"
        )
    node.builder.work.windows += settings.windows(weight.shape[2:])
    if node.past is not None:
        before = settings.take_front(node.past - 2)
        held = (*shape[: node.past], before, *shape[node.past + 1 :])
        if math.prod(held) > MOST_ELEMENTS:
            raise UnsupportedError(f"it keeps {before} frames, which is too much for a session")
        node.builder.take(4 * math.prod(held))
        zeros = np.zeros(held, np.float32)
        value = behind_past(node, value, node.past, zeros)
        shape = shape_of(value)
    alone = [settings.is_plain(n, size) for n, size in enumerate(weight.shape[2:])]
    if all(alone):
        shape = (*shape[:2], math.prod(shape[2:]))
        flat = _one_axis(node.builder, view(value, shape), weight, bias, settings, 0)
        return [Sym(flat.tensor, (shape[0], weight.shape[0], *shape_of(value)[2:]))]
    at = alone.index(False)
    others = [size for n, size in enumerate(shape[2:]) if n != at]
    if alone.count(False) == 1 and math.prod(others) == 1:
        return [_one_axis(node.builder, value, weight, bias, settings, at)]
    if spatial != 2:
        raise UnsupportedError(f"it works on {spatial} axes at once, with input {shape}")
    return [_two_axes(node.builder, value, weight, bias, settings)]


class Settings:
    """Strides, dilations, paddings and groups of a convolution or a pooling."""

    def __init__(
        self, strides: list[int], dilations: list[int], pads: list[int], groups: int
    ) -> None:
        self.strides, self.dilations, self.groups, self._pads = strides, dilations, groups, pads

    def pads(self, axis: int) -> tuple[int, int]:
        return self._pads[axis], self._pads[axis + len(self._pads) // 2]

    def is_plain(self, axis: int, kernel: int) -> bool:
        """Tell whether each value along an axis is taken alone."""
        return kernel == 1 and self.strides[axis] == 1 and self.pads(axis) == (0, 0)

    def windows(self, kernel: Sequence[int]) -> list[Window]:
        """Return how it works along the axes on which no value is taken alone."""
        return [
            Window(n + 2, *self.pads(n), self.reach(n, size), self.strides[n])
            for n, size in enumerate(kernel)
            if not self.is_plain(n, size)
        ]

    def reach(self, axis: int, kernel: int) -> int:
        """Return how many values one result is made of, with those that dilation leaves out."""
        return (kernel - 1) * self.dilations[axis] + 1

    def take_front(self, axis: int) -> int:
        """Return how much it pads in front of an axis, which is somebody else's task from now."""
        before, self._pads[axis] = self._pads[axis], 0
        return before


def settings_of(node: Node, shape: Sequence[int], kernel: Sequence[int]) -> Settings:
    """Return what a node says of the windows of its kernel.

    Raises:
        ValueError: that is not for so many axes, or makes no sense.
    """
    count = len(kernel)
    given = node.attributes.get("kernel_shape")
    if given is not None and list(given) != list(kernel):
        raise ValueError(f"kernel_shape is {list(given)}, its weights are for {list(kernel)}")
    strides = [int(one) for one in node.attributes.get("strides") or [1] * count]
    dilations = [int(one) for one in node.attributes.get("dilations") or [1] * count]
    pads = [int(one) for one in node.attributes.get("pads") or [0] * (2 * count)]
    groups = int(node.attributes.get("group", 1))
    if len(strides) != count or len(dilations) != count or len(pads) != 2 * count:
        raise ValueError(f"its strides, dilations or pads are not for {count} axes")
    if min(*strides, *dilations, groups) < 1 or min(pads) < 0:
        raise ValueError("its strides, dilations, groups or pads make no sense")
    how = node.attributes.get("auto_pad", "NOTSET")
    if how in ("SAME_UPPER", "SAME_LOWER"):
        begins, ends = [], []
        for n, stride in enumerate(strides):
            size = shape[n + 2]
            reach = (-(-size // stride) - 1) * stride + (kernel[n] - 1) * dilations[n] + 1
            more = max(reach - size, 0)
            begins.append(more // 2 if how == "SAME_UPPER" else more - more // 2)
            ends.append(more - begins[-1])
        pads = begins + ends
    elif how == "VALID":
        pads = [0] * (2 * count)
    elif how not in ("NOTSET", ""):
        raise ValueError(f"auto_pad is {how!r}")
    return Settings(strides, dilations, pads, groups)


def _one_axis(
    builder: Builder, value: Value, weight: Array, bias: Array | None, settings: Settings, at: int
) -> Sym:
    """Return a convolution along one axis; the others have size 1, in the weights, too."""
    shape = shape_of(value)
    rows, channels, kernel = weight.shape[0], shape[1], weight.shape[at + 2]
    size = shape[at + 2]
    begin, end = settings.pads(at)
    length = window_count(builder, settings, at, size, kernel)
    inputs = [builder.shaped(value, (channels, size))]
    inputs.append(builder.constant(weight.reshape(rows, weight.shape[1], kernel)))
    if bias is not None:
        if bias.shape != (rows,):
            raise ValueError(f"its bias has shape {bias.shape}, its weights {weight.shape}")
        inputs.append(builder.constant(bias))
    made = builder.emit(
        "conv",
        inputs,
        (rows, length),
        stride=settings.strides[at],
        dilation=settings.dilations[at],
        groups=settings.groups,
        pad_begin=begin,
        pad_end=end,
    )
    return Sym(made, (shape[0], rows, *shape[2 : at + 2], length, *shape[at + 3 :]))


def _two_axes(
    builder: Builder, value: Value, weight: Array, bias: Array | None, settings: Settings
) -> Sym:
    """Return a convolution along two axes."""
    shape, rows = shape_of(value), weight.shape[0]
    sizes = [
        window_count(builder, settings, n, shape[n + 2], weight.shape[n + 2]) for n in range(2)
    ]
    inputs = [builder.shaped(value, shape[1:]), builder.constant(weight)]
    if bias is not None:
        if bias.shape != (rows,):
            raise ValueError(f"its bias has shape {bias.shape}, its weights {weight.shape}")
        inputs.append(builder.constant(bias))
    begins, ends = zip(*(settings.pads(n) for n in range(2)), strict=True)
    made = builder.emit(
        "conv2d",
        inputs,
        (rows, *sizes),
        strides=tuple(settings.strides),
        dilations=tuple(settings.dilations),
        groups=settings.groups,
        pad_begin=begins,
        pad_end=ends,
    )
    return Sym(made, (shape[0], rows, *sizes))


def window_count(builder: Builder, settings: Settings, axis: int, size: int, kernel: int) -> int:
    """Return how many windows there are along an axis, and say that the node works along it.

    Raises:
        UnsupportedError: a window is longer than the axis with its padding.
    """
    whole, reach = size + sum(settings.pads(axis)), settings.reach(axis, kernel)
    if whole < reach:
        raise UnsupportedError(
            f"one result takes {reach} values, and its input is too short with {whole}: what works "
            f"along time has to pad {reach - 1} in front"
        )
    count = (whole - reach) // settings.strides[axis] + 1
    works_along(builder, settings, axis, size, kernel, count)
    return count


def works_along(
    builder: Builder, settings: Settings, axis: int, size: int, kernel: int, count: int
) -> None:
    """Say that the node works along an axis, where its windows are not each value alone.

    Nor is a single window over several values of which none is padding: those before a frame's
    own are a state. With a stride the next frame has none.
    """
    stride = settings.strides[axis]
    is_whole = size > 1 and count == 1 and settings.pads(axis) == (0, 0) and stride == 1
    if (kernel > 1 or stride > 1) and not is_whole:
        builder.works_along(size)
