"""The operations of whole models that have weights, packed for the Numba kernels.

Each is made once for an operation of a program and called with the inputs that are not weights; it
keeps nothing between calls, so that streams in several threads may share it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._arrays import Float32, canonical
from .._weights import LayerWeights, Weights
from ..operations import cell_of
from ._numba_intrinsics import LANES
from ._numba_kernels import FLOATS, ffi
from ._numba_lstm import packed
from ._numba_packing import addresses_of, aligned, blocks_of, by_gate, stored_as, whole_of
from ._numba_products import kernel

Array: TypeAlias = NDArray[Any]
Attributes: TypeAlias = Mapping[str, Any]
Given: TypeAlias = Sequence[Array | None]  # weights in the order of inputs, None: left out


def _call(
    function: Any, weights: Array, arrays: tuple[Array, ...], x: Float32, y: Float32, number: int
) -> None:
    """Call a kernel; x and y are C-contiguous."""
    addresses = addresses_of(arrays)
    pointers = (ffi.cast("void *", one.ctypes.data) for one in (weights, addresses))
    status = function(
        *pointers, ffi.from_buffer(FLOATS, x), ffi.from_buffer(FLOATS, y, True), number
    )
    assert status == 0, f"a kernel that shares nothing returned {status}"


def _biases(bias: Array | None, rows: int) -> Float32:
    """Return what is added behind the sums: `bias + 0`, which is never -0."""
    return np.zeros(rows, np.float32) + (np.float32(0) if bias is None else bias)


class Packed(Protocol):
    """An operation with its weights, of which there are so many bytes; called with the rest."""

    nbytes: int

    def __call__(self, *inputs: Any) -> tuple[Array, ...]: ...


class _Products:
    """Several matrices (groups, M, K) of one size, and a bias for each row of each."""

    def __init__(self, weight: Float32, bias: Array | None, weight_dtype: str) -> None:
        groups, rows, columns = weight.shape
        padded = whole_of(rows, LANES)
        stored, _ = stored_as(weight, weight_dtype)
        self.kernel = kernel("products", weight_dtype)
        self.shape = groups, rows
        self.weights = aligned(
            np.concatenate([blocks_of(by_gate(one, padded, 1)) for one in stored])
        )
        self.sizes = np.array([groups, columns, rows, padded], np.int64)
        self.bias = _biases(bias, groups * rows)
        self.padded = padded
        self.nbytes = self.weights.nbytes + self.bias.nbytes

    def __call__(self, xs: Array) -> Float32:
        """Return (groups, N, M) of xs (groups, N, K)."""
        groups, rows = self.shape
        ys = np.empty((groups, xs.shape[1], rows), np.float32)
        arrays = self.sizes, self.bias, np.empty(self.padded, np.float32)
        _call(self.kernel, self.weights, arrays, np.ascontiguousarray(xs), ys, xs.shape[1])
        return ys


class Dense:
    """`dense`: a product for each row of x."""

    def __init__(self, attributes: Attributes, given: Given, weight_dtype: str) -> None:
        weight, *bias = given
        assert weight is not None
        self.products = _Products(weight[None], bias[0] if bias else None, weight_dtype)
        self.nbytes = self.products.nbytes

    def __call__(self, x: Array) -> tuple[Array, ...]:
        y = self.products(x.reshape(1, -1, x.shape[-1]))
        return (y.reshape(*x.shape[:-1], -1),)


class Conv2d:
    """`conv2d`: a product for each window of x, which has zeros where it reaches into padding.

    Zeros are the same as leaving those taps out, since 0 is added to every sum in the end.
    """

    def __init__(self, attributes: Attributes, given: Given, weight_dtype: str) -> None:
        weight, *bias = given
        assert weight is not None
        rows, channels, *self.kernel = weight.shape
        self.groups = attributes["groups"]
        self.strides, self.dilations = attributes["strides"], attributes["dilations"]
        pads = zip(attributes["pad_begin"], attributes["pad_end"], strict=True)
        self.padding = ((0, 0), *pads)
        # taps before channels: the oldest tap first, and its channels in ascending order
        columns = weight.transpose(0, 2, 3, 1).reshape(
            self.groups, rows // self.groups, channels * math.prod(self.kernel)
        )
        self.products = _Products(columns, bias[0] if bias else None, weight_dtype)
        self.nbytes = self.products.nbytes

    def __call__(self, x: Array) -> tuple[Array, ...]:
        padded = np.pad(x, self.padding)
        spans = [d * (taps - 1) + 1 for d, taps in zip(self.dilations, self.kernel, strict=True)]
        windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axis=(1, 2))
        (down, along), (lines, steps) = self.strides, self.dilations
        windows = windows[:, ::down, ::along, ::lines, ::steps]  # (C, H', W', kh, kw)
        sizes = windows.shape[1:3]
        windows = windows.reshape(self.groups, -1, math.prod(sizes), *self.kernel)
        rows = windows.transpose(0, 2, 3, 4, 1).reshape(self.groups, math.prod(sizes), -1)
        y = self.products(rows)
        return (np.ascontiguousarray(y.transpose(0, 2, 1)).reshape(-1, *sizes),)


class Conv(Conv2d):
    """`conv`: the same with a single line."""

    def __init__(self, attributes: Attributes, given: Given, weight_dtype: str) -> None:
        weight, *bias = given
        assert weight is not None
        both = {
            "groups": attributes["groups"],
            "strides": (1, attributes["stride"]),
            "dilations": (1, attributes["dilation"]),
            "pad_begin": (0, attributes["pad_begin"]),
            "pad_end": (0, attributes["pad_end"]),
        }
        super().__init__(both, (weight[:, :, None], *bias), weight_dtype)

    def __call__(self, x: Array) -> tuple[Array, ...]:
        (y,) = super().__call__(x[:, None])
        return (y[:, 0],)


class Gru:
    """`gru`: one layer."""

    def __init__(self, attributes: Attributes, given: Given, weight_dtype: str) -> None:
        weight_ih, weight_hh, *biases = given
        assert weight_ih is not None
        assert weight_hh is not None
        self.units, inputs = weight_hh.shape[1], weight_ih.shape[1]
        self.padded = whole_of(self.units, LANES)
        w, u = (stored_as(one, weight_dtype)[0] for one in (weight_ih, weight_hh))
        last = 2 * self.units
        parts = ((w, 3), (u[:last], 2), (u[last:], 1))
        blocks = [blocks_of(by_gate(part, self.padded, gates)) for part, gates in parts]
        self.weights = aligned(np.concatenate(blocks))
        rows = [_biases(one, 3 * self.units) for one in (*biases, None, None)[:2]]
        self.biases = np.concatenate([by_gate(row, self.padded, 3) for row in rows])
        self.sizes = np.array([inputs, self.units, self.padded], np.int64)
        self.is_linear = int(attributes["linear_before_reset"])
        self.kernel = kernel("gru", weight_dtype)
        self.nbytes = self.weights.nbytes + self.biases.nbytes

    def __call__(self, x: Array, h: Array) -> tuple[Array, ...]:
        y, old = np.empty(self.units, np.float32), canonical(h)
        arrays = self.sizes, self.biases, old, np.empty(6 * self.padded + self.units, np.float32)
        _call(self.kernel, self.weights, arrays, canonical(x), y, self.is_linear)
        return y, y


class Lstm:
    """`lstm`: one layer, which is a stream that lives for one step."""

    def __init__(self, attributes: Attributes, given: Given, weight_dtype: str) -> None:
        names = ("weight_ih", "weight_hh", "bias_ih", "weight_hr", "peephole", "layer_norm")
        parts: dict[str, Any] = dict(zip((*names, "bias_hr"), given, strict=False))
        parts["bias_ih"] = _biases(parts.get("bias_ih"), len(parts["weight_ih"]))
        weights = Weights((LayerWeights(**parts, cell=cell_of(attributes)),))
        self.model = packed(weights, weight_dtype)
        self.nbytes = self.model.nbytes

    def __call__(self, x: Array, h: Array, c: Array) -> tuple[Array, ...]:
        arrays = self.model.arrays()
        state = arrays[2]
        state[:] = canonical(np.concatenate([h, c]))
        y = np.empty(self.model.outputs, np.float32)
        _call(self.model.kernel, self.model.weights, arrays, np.ascontiguousarray(x), y, 1)
        h, c = np.split(state, [self.model.outputs])
        return y, h, c


Made: TypeAlias = Callable[[Attributes, Given, str], Packed]
WEIGHTED: dict[str, Made] = {
    "dense": Dense,
    "conv": Conv,
    "conv2d": Conv2d,
    "gru": Gru,
    "lstm": Lstm,
}
