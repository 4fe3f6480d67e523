"""Checks and conversions of what users pass in, so that one wording serves everywhere."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._foreign_arrays import REAL_KINDS, as_array, what_is_no_number

Float32: TypeAlias = NDArray[np.float32]
FLOAT32 = np.dtype(np.float32)
SMALLEST_NORMAL = np.float32(2.0**-126)


StateLike: TypeAlias = tuple[ArrayLike, ArrayLike]  # h and c


class LSTMState(NamedTuple):
    """The state of a stream, float32: h (num_layers, output_size), c (num_layers, hidden_size).

    output_size is hidden_size, or proj_size where there is a projection.
    """

    h: Float32
    c: Float32

    @property
    def is_finite(self) -> bool:
        """Whether no value is NaN or infinite."""
        return bool(np.isfinite(self.h).all() and np.isfinite(self.c).all())

    @classmethod
    def empty(cls, *sizes: int) -> LSTMState:
        """Return one to be filled; sizes: what stands before, output_size, hidden_size."""
        *before, output_size, hidden_size = sizes
        h = np.empty((*before, output_size), np.float32)
        return cls(h, np.empty((*before, hidden_size), np.float32))


def shape_text(shape: tuple[int | None, ...], free: str = "T") -> str:
    """Write a shape as Python does, with names ("N, T") where any size will do."""
    names = free.split(", ")
    missing = [i for i, n in enumerate(shape) if n is None]
    named = {i: names[min(k, len(names) - 1)] for k, i in enumerate(missing)}
    inner = ", ".join(named.get(i, str(n)) for i, n in enumerate(shape))
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def _fits(shape: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(shape) == len(expected) and all(
        want is None or have == want for have, want in zip(shape, expected, strict=True)
    )


def to_float32(
    value: Any, name: str, shape: tuple[int | None, ...] | None, what: str, free: str = "T"
) -> Float32:
    """Return value as a C-contiguous float32 array of that shape, or say what is wrong with it.

    Args:
        value: anything `as_array` takes.
        name: what to call it in an error.
        shape: what it must have; None in it stands for any size, None for any shape.
        what: who expects the shape, with %s for it: "this LSTM takes %s per step".
        free: what free sizes are called: "T", or "N, T".

    Raises:
        TypeError: the values are not real numbers.
        ValueError: the shape is not the expected one, or there is none (ragged lists).
    """
    array = value
    if type(value) is not np.ndarray or value.dtype.kind not in REAL_KINDS:
        array = as_array(value, name)
    if array.dtype.kind not in REAL_KINDS:
        found = f"has dtype {array.dtype}"
        if array.dtype == object:
            found = f"holds {what_is_no_number(array)}"
        raise TypeError(f"{name} {found}, expected real numbers (float32 is taken as it is)")
    if shape is not None and not _fits(array.shape, shape):
        raise ValueError(f"{name} has shape {array.shape}, {what % shape_text(shape, free)}")
    if array.dtype == FLOAT32:
        return np.ascontiguousarray(array)
    with np.errstate(all="ignore"):  # too large for float32 is infinite, too small is zero
        return np.ascontiguousarray(array, dtype=FLOAT32)


def check_out(
    out: Any, shape: tuple[int, ...], given: Any, converted: Float32, name: str
) -> Float32:
    """Return out, or a new array where it is None; it must be fit to be written in place.

    `converted` is what was made of `given`; either may be the memory that out must not share.

    Raises:
        TypeError: out is no float32 ndarray.
        ValueError: out has another shape, is strided or read-only, or shares memory with them.
    """
    if out is None:
        return np.empty(shape, FLOAT32)
    if not isinstance(out, np.ndarray) or out.dtype != FLOAT32:
        found = f"dtype {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(
            f"out must be a float32 ndarray of shape {shape_text(shape)}, found {found}"
        )
    if out.shape != shape:
        raise ValueError(f"out has shape {out.shape}, expected {shape_text(shape)}")
    if not out.flags.c_contiguous:
        raise ValueError(
            f"out has strides {out.strides}, expected a C-contiguous array: pass a whole array "
            "and copy from it"
        )
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    if np.shares_memory(converted, out) or (
        isinstance(given, np.ndarray) and given is not converted and np.shares_memory(given, out)
    ):
        raise ValueError(f"out shares memory with {name}: pass an array of its own")
    return out


def to_state(state: Any, *sizes: int, names: str = "num_layers") -> LSTMState:
    """Return a pair (h, c) as float32 arrays.

    Args:
        state: the pair.
        sizes: what stands before in both shapes, then output_size (of h), then hidden_size (of c).
        names: what the first ones are, for the error.

    Raises:
        TypeError: it is no pair, or its values are not real numbers.
        ValueError: h or c has another shape.
    """
    try:
        h, c = state
    except (TypeError, ValueError):
        raise TypeError(
            f"state must be a pair (h, c) such as stream.state, found {type(state).__name__}"
        ) from None
    *before, output_size, hidden_size = sizes
    width = "hidden_size" if output_size == hidden_size else "proj_size"
    what = f"this LSTM has %s ({names}, {width})"
    return LSTMState(
        to_float32(h, "state h", (*before, output_size), what),
        to_float32(
            c, "state c", (*before, hidden_size), f"this LSTM has %s ({names}, hidden_size)"
        ),
    )


def canonical(values: Float32) -> Float32:
    """Return a copy in canonical form: no subnormals (zeros of their sign), one NaN.

    This is the contract's treatment of inputs and state; see csrc/lstm_fast.h.
    """
    result = np.where(
        np.abs(values) < SMALLEST_NORMAL, np.copysign(FLOAT32.type(0), values), values
    )
    result[np.isnan(result)] = np.float32(np.nan)
    return result
