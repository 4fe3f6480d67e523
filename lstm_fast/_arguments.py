"""Checks and conversions of what users pass in, so that one wording serves everywhere."""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arrays import FLOAT32, Float32, LSTMState
from ._foreign_arrays import REAL_KINDS, as_array, what_is_no_number

MAX_SIZE = 2**28  # LF_MAX_SIZE in csrc/lstm_fast.h
MAX_CAPACITY = 2**24  # LF_MAX_CAPACITY in csrc/lstm_fast.h
PREPARED = 64  # sessions that a pool has room to prepare, unless it is told
THREADS = 8  # workspaces at most, unless it is told: each takes some 2 KiB times H
MAX_THREADS = 4096


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
        TypeError: out is not a float32 ndarray.
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
        TypeError: it is not a pair, or its values are not real numbers.
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


def to_lengths(lengths: Any, n: int, steps: int, what: str) -> NDArray[np.uint64]:
    """Return the lengths of n sequences of up to `steps` frames; what: of what there are n.

    Raises:
        TypeError: they are not integers.
        ValueError: there are not n of them, or one is out of range.
    """
    try:
        array = np.asarray(lengths)
    except ValueError:
        raise ValueError(f"lengths must be {n} integers, one per {what}") from None
    if array.dtype.kind not in "ui" and array.size:
        raise TypeError(f"lengths have dtype {array.dtype}, expected integers")
    if array.shape != (n,):
        raise ValueError(f"lengths have shape {array.shape}, expected ({n},), one per {what}")
    wrong = (array < 0) | (array > steps)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise ValueError(f"length {array[at]} (number {at}) is not within 0 to {steps}, xs's T")
    return np.ascontiguousarray(array, np.uint64)


def is_mapping(value: Any) -> bool:
    """Say whether a value is a mapping, and ask `Mapping` only where it is nothing usual.

    An abstract class looks into sets that all threads share. Where Python runs without its lock,
    these have locks of their own, which threads wait for and a child of a fork may find taken.
    """
    if value is None or isinstance(value, (np.ndarray, list, tuple)):
        return False
    return isinstance(value, (dict, Mapping))


def is_integer(value: Any) -> bool:
    """Say whether a value is an integer of Python or NumPy; True and False are none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """Say whether a value is an integer or a float of Python or NumPy; True and False are none."""
    return is_integer(value) or isinstance(value, (float, np.floating))


def _to_integer(value: Any, name: str) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, found {type(value).__name__}") from None


def to_natural(value: Any, name: str) -> int:
    """Return a number from 0 up as an int.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is negative.
    """
    number = _to_integer(value, name)
    if number < 0:
        raise ValueError(f"{name} must be 0 or more, found {number}")
    return number


def to_count(value: Any, name: str, least: int, most: int = MAX_CAPACITY) -> int:
    """Return a number of things as an int within least and most.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is out of range.
    """
    count = _to_integer(value, name)
    if not least <= count <= most:
        raise ValueError(f"{name} must be {least} to {most}, found {count}")
    return count


def to_size(value: Any, name: str) -> int:
    """Return a size of an LSTM as an int within 1 and MAX_SIZE.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is out of range.
    """
    size = _to_integer(value, name)
    if size < 1:
        raise ValueError(f"{name} must be 1 or more, found {size}")
    if size > MAX_SIZE:
        raise ValueError(f"{name} must be at most {MAX_SIZE}, found {size}")
    return size


def keeps(keep: bool | None, weight_dtype: str) -> bool:
    """Return whether float32 weights are kept beside packed ones of that type.

    Raises:
        TypeError: keep is neither a bool nor None.
    """
    if keep is not None and not isinstance(keep, bool):
        raise TypeError(f"keep_weights must be True, False or None, found {keep!r}")
    return weight_dtype == "float32" if keep is None else keep


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # some systems have no such thing, some sandboxes forbid it
        return os.cpu_count() or 1


def pool_sizes(capacity: int, prepared: int | None, threads: int | None) -> tuple[int, int, int]:
    """Return what a pool is made with: capacity, prepared sessions, and workspaces.

    Raises:
        TypeError: a number is not an integer.
        ValueError: it is out of range.
    """
    size = to_count(capacity, "capacity", 1)
    halves = min(size, PREPARED) if prepared is None else to_count(prepared, "prepared", 0)
    if threads is None:
        return size, halves, min(usable_cpus(), THREADS)
    return size, halves, to_count(threads, "threads", 1, MAX_THREADS)
