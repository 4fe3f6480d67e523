"""Who is inside a stream of the Numba backend: as csrc/stream.c has it, where the reasons are."""

from __future__ import annotations

import numpy as np
from numba import carray, njit
from numpy.typing import NDArray

from .._process import process_number
from ._numba_intrinsics import as_int, compare_exchange, exchange

DONE, BUSY, FORKED = 0, 1, 2  # what `enter` returns; kernels have one more
TORN = 1
LOOKS, ADVANCES, OVERWRITES = 0, 1, 2
FLAGS = 3


def new_flags() -> NDArray[np.int64]:
    """Return what a kernel needs to know beside the state.

    That is who is inside; whether the recurrent sums of the next step are there; and where the
    number of this process stands.
    """
    return np.array([0, 0, process_number.ctypes.data], np.int64)


@njit
def enter(flags, what):
    """Return DONE and be the one inside, or BUSY or FORKED: see `enter` in csrc/stream.c."""
    process = carray(as_int(carray(flags, FLAGS)[2]), 1)[0]
    mine = 2 * process + (1 if what == LOOKS else 0)
    found = compare_exchange(flags, 0, mine)
    while found != 0:
        if found // 2 == process:
            return BUSY
        is_whole = found != TORN and found % 2 == 1
        after = mine if is_whole or what == OVERWRITES else TORN
        now = compare_exchange(flags, found, after)
        if now == found:
            return FORKED if after == TORN else DONE
        found = now if now != 0 else compare_exchange(flags, 0, mine)
    return DONE


@njit(inline="always")
def leave(flags):
    """Let others in."""
    exchange(flags, 0)
