"""Weights in the order in which the Numba kernels read them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arrays import Float32
from ._numba_intrinsics import CHAINED, LANES

CACHE_LINE = 64


def whole_of(count: int, group: int) -> int:
    """Round up to whole groups."""
    return -(-count // group) * group


def aligned(values: NDArray[Any]) -> NDArray[Any]:
    """Copy to where a cache line begins: a vector across two of them is read twice."""
    raw = np.empty(values.nbytes + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    copy = raw[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def by_gate(values: NDArray[Any], padded: int, gates: int = 4) -> NDArray[Any]:
    """Pad rows (4H, ...) so that each gate has `padded` of them."""
    parts = values.reshape(gates, -1, *values.shape[1:])
    result = np.zeros((gates, padded, *values.shape[1:]), values.dtype)
    result[:, : parts.shape[1]] = parts
    return result.reshape(gates * padded, *values.shape[1:])


def blocks_of(matrix: NDArray[Any]) -> NDArray[Any]:
    """Put a matrix (rows, K), of whole LANES, into the order of `add_half`."""
    columns = matrix.T
    whole = len(columns) - len(columns) % CHAINED
    grouped = columns[:whole].reshape(-1, CHAINED, len(matrix) // LANES, LANES)
    return np.concatenate([grouped.transpose(0, 2, 1, 3).ravel(), columns[whole:].ravel()])


def _quantised(weight: Float32) -> tuple[NDArray[np.int8], Float32]:
    """Round as LF_INT8 in csrc/lstm_fast.h says; columns padded to whole groups of CHAINED."""
    largest = np.abs(weight).max(axis=1)
    scale = np.where(largest < np.float32(2.0**-100), np.float32(0), largest / np.float32(127))
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(scale[:, None] == 0, np.float32(0), np.rint(weight / scale[:, None]))
    padded = np.zeros((len(weight), whole_of(weight.shape[1], CHAINED)), np.int8)
    padded[:, : weight.shape[1]] = values
    return padded, scale


def stored_as(weight: Float32, weight_dtype: str) -> tuple[NDArray[Any], Float32 | None]:
    """Return a matrix as the kernels read it, and its scales where it has some."""
    if weight_dtype == "int8":
        return _quantised(weight)
    if weight_dtype == "float16":
        return weight.astype(np.float16).view(np.uint16), None
    return weight, None


def addresses_of(arrays: tuple[NDArray[Any], ...]) -> NDArray[np.int64]:
    """Return where a kernel finds these, which it doesn't keep alive."""
    return np.array([array.ctypes.data for array in arrays], np.int64)
