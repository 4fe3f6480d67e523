"""What names a session of a pool, and the errors that name one."""

from __future__ import annotations

import operator
from collections.abc import KeysView, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ConcurrentUseError, ForkedError, StaleHandleError

Handles = NDArray[np.uint64]
HANDLE_LIMIT = 2**63  # a list of larger and smaller integers would become floats in NumPy


def to_handle(handle: Any, at: int | None = None) -> int:
    """Return a handle, number `at` of a call, as an int.

    Raises:
        TypeError: it is not an integer.
        StaleHandleError: it is one that no handle can be.
    """
    try:
        value = operator.index(handle)
    except TypeError:
        raise TypeError(f"a handle is an int, found {type(handle).__name__}") from None
    if not 0 < value < HANDLE_LIMIT:
        raise stale(value, at)
    return value


def to_handles(handles: Any) -> Handles:
    """Return handles as an array (n,) of uint64.

    Raises:
        TypeError: they are not a sequence of integers; a set is none.
        ValueError: they have more than one dimension.
        StaleHandleError: one of them cannot be a handle.
    """
    if isinstance(handles, np.ndarray):
        if handles.dtype.kind not in "ui":
            raise TypeError(f"handles have dtype {handles.dtype}, expected uint64")
        if handles.ndim != 1:
            raise ValueError(f"handles have shape {handles.shape}, expected (n,)")
        if handles.dtype.kind == "i" and handles.size and handles.min() < 0:
            at = int(np.argmax(handles < 0))
            raise stale(int(handles[at]), at)
        return np.ascontiguousarray(handles, np.uint64)
    # A frame goes by the place of its handle, and a set has no places; the keys of a dict have.
    is_plain = type(handles) in (list, tuple)  # before abstract classes: see `is_mapping`
    if not is_plain and isinstance(handles, Set) and not isinstance(handles, KeysView):
        raise TypeError(
            f"handles must be a sequence of ints, such as [handle]: a {type(handles).__name__} has "
            "no order that frames could have, too"
        )
    try:
        return np.array([to_handle(handle, at) for at, handle in enumerate(handles)], np.uint64)
    except TypeError as error:
        raise TypeError(f"handles must be a sequence of ints, such as [handle]: {error}") from None


def _place(at: int | None) -> str:
    return "" if at is None else f" (number {at} of this call)"


def stale(handle: int, at: int | None = None) -> StaleHandleError:
    """Return the error for a handle that names no open session."""
    return StaleHandleError(
        f"handle {handle}{_place(at)} names no open session of this pool: it was closed, or is of "
        "another pool, or no handle at all"
    )


def repeated(handles: Handles, at: int) -> ValueError:
    """Return the error for a handle that is given twice."""
    first = int(np.argmax(handles == handles[at]))
    return ValueError(
        f"handle {handles[at]} is given twice in one call, as numbers {first} and {at}"
    )


def in_use(handle: int | None, at: int | None = None) -> ConcurrentUseError:
    """Return the error for a session that another thread is using."""
    what = "this pool" if handle is None else f"the session of handle {handle}{_place(at)}"
    return ConcurrentUseError(f"another thread is using {what}, or the pool is growing")


def forked(
    handle: int | None,
    at: int | None = None,
    what_to_do: str = "reset or close it, or give it a state with set_state",
) -> ForkedError:
    """Return the error for a session of which a fork has left half of a step."""
    what = "a session" if handle is None else f"the session of handle {handle}{_place(at)}"
    return ForkedError(
        f"this process was forked while another thread of its parent was inside a call on {what}, "
        f"whose state is half of a step here: {what_to_do}"
    )
