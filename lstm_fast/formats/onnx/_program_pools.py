"""ONNX's poolings: a maximum or a mean over each window.

A maximum is exact in any order, so it is one axis after the other, by a few operations whose
operands are slices, which cost nothing. The sums of a mean are a convolution whose weights are 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...program import Shape
from ._file import Array
from ._program_builder import MOST_COPIED, Builder, Sym, UnsupportedError, Value, shape_of
from ._program_elementwise import binary
from ._program_nodes import Node, lowering
from ._program_products import Settings, settings_of, works_along


@dataclass(frozen=True)
class _Axis:
    """The windows along one axis: `count` of so many taps, the first at -begin.

    end: how far the last one reaches behind the input; given_end: the padding that the file says.
    """

    size: int
    taps: int
    stride: int
    dilation: int
    begin: int
    end: int
    given_end: int
    count: int

    @property
    def extent(self) -> int:
        """How many values there are from the first window to the end of the last one."""
        return (self.count - 1) * self.stride + (self.taps - 1) * self.dilation + 1


def _axes(node: Node, shape: Shape) -> list[_Axis]:
    """Return the windows of a node along each of its axes, `ceil_mode` worked out."""
    kernel = node.attributes.get("kernel_shape")
    if kernel is None or len(kernel) != len(shape) - 2 or min(kernel, default=0) < 1:
        raise ValueError(f"its kernel_shape is {kernel}, its input has shape {shape}")
    kernel = [int(one) for one in kernel]
    settings = settings_of(node, shape, kernel)
    is_same = str(node.attributes.get("auto_pad", "")).startswith("SAME")
    ceil_mode = node.attributes.get("ceil_mode", 0)
    if ceil_mode not in (0, 1):
        raise ValueError(f"its ceil_mode is {ceil_mode}")
    rounds_up = ceil_mode == 1 and not is_same
    return [
        _axis(node.builder, settings, n, size, taps, rounds_up)
        for n, (size, taps) in enumerate(zip(shape[2:], kernel, strict=True))
    ]


def _axis(
    builder: Builder, settings: Settings, n: int, size: int, taps: int, rounds_up: bool
) -> _Axis:
    stride, dilation = settings.strides[n], settings.dilations[n]
    begin, end = settings.pads(n)
    reach = (taps - 1) * dilation + 1
    if max(begin, end) >= reach:
        raise ValueError(f"its padding {(begin, end)} is as long as a window, {reach}")
    rest = size + begin + end - reach
    count = rest // stride + 1
    if rounds_up and rest % stride and count * stride < size + begin:
        count += 1  # one that begins within the input or the padding before it
    if count < 1:
        raise ValueError(f"a window spans {reach} values, its input has {size + begin + end}")
    works_along(builder, settings, n, size, taps, count)
    last = (count - 1) * stride + reach - begin - size
    return _Axis(size, taps, stride, dilation, begin, max(last, 0), end, count)


# ---- the largest value ----


@lowering("MaxPool")
def _max_pool(node: Node) -> list[Value]:
    value = node.of_kind(node.need(0))
    if node.outputs > 1:
        raise UnsupportedError("it says where the largest values were, which is not computed")
    shape, builder = shape_of(value), node.builder
    axes = _axes(node, shape)
    held = shape[1:] if shape[0] == 1 else shape
    first = len(held) - len(axes)
    tensor = builder.shaped(value, held)
    before, after = ([getattr(axis, name) for axis in axes] for name in ("begin", "end"))
    if any((*before, *after)):
        margins = [(*[0] * first, *widths) for widths in (before, after)]
        whole = [b + size + a for b, size, a in zip(margins[0], held, margins[1], strict=True)]
        tensor = builder.emit(
            "pad",
            [tensor],
            whole,
            before=margins[0],
            after=margins[1],
            mode="constant",
            value=-math.inf,
        )
    for n, axis in enumerate(axes):
        tensor = _largest(builder, tensor, first + n, axis)
    return [Sym(tensor, (*shape[:2], *(axis.count for axis in axes)))]


def _largest(builder: Builder, tensor: int, n: int, axis: _Axis) -> int:
    """Return the largest of each window along axis n, from ever larger parts of windows."""
    taken, length = 1, axis.extent
    while 2 * taken < axis.taps:
        shift = taken * axis.dilation
        length -= shift
        parts = [_part(builder, tensor, n, start, length, 1) for start in (0, shift)]
        tensor, taken = _maximum(builder, parts), 2 * taken
    shift = (axis.taps - taken) * axis.dilation
    starts = (0, shift) if shift else (0,)
    parts = [_part(builder, tensor, n, start, axis.count, axis.stride) for start in starts]
    return _maximum(builder, parts) if shift else parts[0]


def _part(builder: Builder, tensor: int, n: int, start: int, count: int, step: int) -> int:
    """Return `count` values along axis n."""
    shape = builder.shape(tensor)
    if (start, count) == (0, shape[n]):
        return tensor
    whole = (*shape[:n], count, *shape[n + 1 :])
    starts, ends, steps = [0] * len(shape), list(shape), [1] * len(shape)
    starts[n], ends[n], steps[n] = start, start + (count - 1) * step + 1, step
    cut = {"starts": tuple(starts), "ends": tuple(ends), "steps": tuple(steps)}
    return builder.emit("slice", [tensor], whole, **cut)


def _maximum(builder: Builder, parts: Sequence[int]) -> int:
    return builder.emit("maximum", parts, builder.shape(parts[0]))


# ---- the mean ----


@lowering("AveragePool")
def _average_pool(node: Node) -> list[Value]:
    value = node.of_kind(node.need(0))
    shape, builder = shape_of(value), node.builder
    axes = _axes(node, shape)
    if len(axes) > 2:
        raise UnsupportedError(f"it takes means over {len(axes)} axes at once")
    channels, taps = math.prod(shape[:2]), [axis.taps for axis in axes]
    if channels * math.prod(taps) > MOST_COPIED:
        raise UnsupportedError(f"its windows {taps} of {channels} channels are too large")
    ones = builder.constant(np.ones((channels, 1, *taps), np.float32))
    tensor = builder.shaped(value, (channels, *shape[2:]))
    counts = [axis.count for axis in axes]
    tensor = builder.emit(
        "conv" if len(axes) == 1 else "conv2d",
        [tensor, ones],
        (channels, *counts),
        **_attributes(axes, channels),
    )
    sums = Sym(tensor, (*shape[:2], *counts))
    return [
        binary(
            builder,
            "div",
            sums,
            _met(builder, axes, bool(node.attributes.get("count_include_pad"))),
        )
    ]


def _attributes(axes: Sequence[_Axis], groups: int) -> dict[str, object]:
    """Return those of the convolution: pairs, or numbers along a single axis."""
    pairs = zip(*((one.stride, one.dilation, one.begin, one.end) for one in axes), strict=True)
    if len(axes) == 2:
        names = ("strides", "dilations", "pad_begin", "pad_end")
        return {"groups": groups, **dict(zip(names, pairs, strict=True))}
    names = ("stride", "dilation", "pad_begin", "pad_end")
    return {"groups": groups, **{name: one for name, (one,) in zip(names, pairs, strict=True)}}


def _met(builder: Builder, axes: Sequence[_Axis], counts_padding: bool) -> Array:
    """Return how many values each window is the mean of; one number where all are alike."""
    builder.take(24 * math.prod(axis.count for axis in axes))
    whole = np.ones((), np.int64)
    for axis in axes:
        begin, end = (axis.begin, axis.given_end) if counts_padding else (0, 0)
        starts = np.arange(axis.count) * axis.stride - axis.begin
        before = np.clip(-((starts + begin) // axis.dilation), 0, axis.taps)
        until = np.clip((axis.size + end - 1 - starts) // axis.dilation + 1, 0, axis.taps)
        whole = np.multiply.outer(whole, until - before)
    alike = bool(np.all(whole == whole.flat[0]))
    return (whole.ravel()[:1].reshape(()) if alike else whole).astype(np.float32)
