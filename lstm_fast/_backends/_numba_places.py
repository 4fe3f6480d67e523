"""Where the Numba backend puts what it reads. csrc/memory.c says why it matters.

In some places weights share L2 badly with everything else, and a step takes up to a quarter longer,
as long as the process lives. Only trying tells. Unlike the native core this knows no size of L2:
the sizes here are for one of 1 MiB, and with another, trying may be for nothing.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from statistics import median
from time import perf_counter_ns
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

CACHE_LINE = 64
LARGE_PAGE = 2 << 20
# Bytes of float32 weights (the other types' steps are bound by arithmetic): fewer have room in any
# place, and more leave none for anything else.
FEWEST, MOST = 256 << 10, 768 << 10
REGION, APART = 2 * LARGE_PAGE, LARGE_PAGE // 4
OTHERS = 256 << 10  # what a program may have in L2 beside the weights
STEPS, STEPS_TO_SETTLE = 96, 32  # 6 ms in all for 512 KiB


def aligned(values: NDArray[Any]) -> NDArray[Any]:
    """Return a copy that begins with a cache line: a vector across two of them is read twice."""
    return _put(values, _lines(values.nbytes))


def quickest(values: NDArray[Any], step: Callable[[int], object]) -> NDArray[Any]:
    """Return a copy of weights where, of a few places, steps take least; aligned as above.

    It keeps the REGION in which those places are, unless there is nothing to try.

    Args:
        values: the weights.
        step: does one step with the weights at an address. Its time is taken, each time after
            something else has been read.
    """
    size = values.nbytes
    if values.dtype != np.float32 or not FEWEST <= size <= MOST:
        return aligned(values)
    region = _large_pages(REGION)
    region[:] = 1  # what was never written is one page of zeros, wherever it seems to be
    times: dict[int, float] = {}
    for start in range(0, REGION - size + 1, APART):  # they overlap
        end = start + size
        beside = end if end + OTHERS <= REGION else start - OTHERS
        weights = _put(values, region[start:end])
        times[start] = _time(partial(step, weights.ctypes.data), region[beside : beside + OTHERS])
    start = min(times, key=times.__getitem__)
    return _put(values, region[start : start + size])


def _lines(count: int) -> Bytes:
    """Memory for that many bytes, from the beginning of a cache line on."""
    raw = np.empty(count + CACHE_LINE, np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + count]


def _large_pages(count: int) -> Bytes:
    """The same in large pages where there are such, and not from the heap: see csrc/large.c."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return _lines(count)
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    memory = mmap.mmap(-1, count + LARGE_PAGE, flags=private)
    with suppress(OSError):  # a kernel without
        memory.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(memory, np.uint8)
    start = -raw.ctypes.data % LARGE_PAGE
    return raw[start : start + count]


def _put(values: NDArray[Any], place: Bytes) -> NDArray[Any]:
    copy = place.view(values.dtype).reshape(values.shape)
    copy[...] = values
    return copy


def _time(step: Callable[[], object], others: Bytes) -> float:
    """The median time of a step in ns, after those in which L2 settles."""
    times = []
    for _ in range(STEPS):
        others.max()
        start = perf_counter_ns()
        step()
        times.append(perf_counter_ns() - start)
    return median(times[STEPS_TO_SETTLE:])
