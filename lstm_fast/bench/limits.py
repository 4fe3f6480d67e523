"""What this machine can do at best, measured in the same run as what is held against it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from .. import _backends
from .._arrays import Float32
from ..errors import BackendUnavailableError
from . import machine
from .timing import Call

# Several times what a last-level cache holds, since those protect from a scan what has been used
# twice: on Zen 5 with 32 MiB of L3 steps get slower up to here (benchmarks/NOTES.md).
LEAST_SWEEP_BYTES = 192 << 20
SWEEP_TIMES_CACHE = 2  # where the last-level cache is larger than that one
UNIT = 128  # floats: what probe_read takes multiples of
SMALLEST = 32 << 10  # bytes; below, reading takes less time than the call's variation
REPEATS, LONG_ENOUGH = 50, 50e-6  # the best of so many measurements of at least so many seconds
LARGE = 512 << 10  # bytes; below, a call for each piece would take longer than reading it
TO_AND_FRO = (2, 8)  # pieces: fewer cost less in calls, more leave more in the cache
PLACES = 8  # pieces of memory to try: which pages one gets decides how well they share a cache


def _buffer(size: int) -> Float32:
    """Memory for that many floats, at the start of a page, with pages of its own."""
    memory = np.ones(size + 1024, np.float32)  # not zeros: they would all be one page
    skip = -memory.ctypes.data % 4096 // 4
    return memory[skip : skip + size]


def _best_time(call: Call) -> float:
    """The shortest time of one call in seconds, over runs that are long for the clock."""
    count, times = 1, list[float]()
    while len(times) < REPEATS:
        start = time.perf_counter_ns()
        for _ in range(count):
            call()
        elapsed = (time.perf_counter_ns() - start) / 1e9
        if elapsed < LONG_ENOUGH:
            count *= 2
        else:
            times.append(elapsed / count)
    return min(times)


def read_gb_per_s(isa: str, size_bytes: int) -> float | None:
    """Read that many bytes over and over as the kernels do; return the best 1e9 bytes per second.

    Once from the beginning each time, and once to and fro, in pieces, as the kernels do: a cache
    that is a little too small keeps nothing of the one and most of the other. The cost of the calls
    is taken off by measuring almost empty ones. None where the set is too small to tell the two
    apart.
    """
    if size_bytes < SMALLEST:
        return None
    places = [_buffer(_whole_units(size_bytes)) for _ in range(PLACES)]
    rates = [_rate(isa, places, 1)]
    if size_bytes >= LARGE:
        rates += [_rate(isa, places, pieces) for pieces in TO_AND_FRO]
    return max((rate for rate in rates if rate is not None), default=None)


def _whole_units(size_bytes: int) -> int:
    return -(-size_bytes // (4 * UNIT)) * UNIT


def _rate(isa: str, places: Sequence[Float32], pieces: int) -> float | None:
    """Return the best rate of reading any of these places to and fro in so many pieces."""
    empty = _best_time(_to_and_fro(isa, [_buffer(UNIT)] * pieces))
    full = min(_best_time(_to_and_fro(isa, _cut(place, pieces))) for place in places)
    floats = (1 if pieces == 1 else 2) * (places[0].size - pieces * UNIT)
    return 4e-9 * floats / (full - empty) if full > empty else None


def _cut(values: Float32, pieces: int) -> list[Float32]:
    """Cut into as many pieces of whole units."""
    edges = [n * (values.size // UNIT) // pieces * UNIT for n in range(pieces + 1)]
    return [values[low:high] for low, high in pairwise(edges)]


def _to_and_fro(isa: str, pieces: Sequence[Float32]) -> Call:
    """Return a call that reads the pieces in order, and then in reverse; a single one once."""
    probe = _backends.load("native").probe_read
    forth = [partial(probe, isa, piece) for piece in pieces]
    calls = [*forth, *reversed(forth)] if len(forth) > 1 else forth

    def read() -> None:
        for call in calls:
            call()

    return read


def gfma_per_s(isa: str) -> float:
    """Return the best rate of independent float32 multiply-adds, in 1e9 per second."""
    probe, turns = _backends.load("native").probe_fma, 20_000
    return float(probe(isa, turns)) / _best_time(partial(probe, isa, turns)) * 1e-9


def sweep_bytes() -> int:
    """Return how much to read before a cold step on this machine."""
    largest = max(machine.caches().values(), default=0)
    return max(LEAST_SWEEP_BYTES, SWEEP_TIMES_CACHE * largest)


def sweeper() -> Call:
    """Return a call that reads `sweep_bytes()`, so that nothing else is left in the caches."""
    values = _buffer(_whole_units(sweep_bytes()))
    try:
        native = _backends.load("native")
    except BackendUnavailableError:
        return values.sum  # slower, and as thorough
    isa = next(name for name, missing in native.isas().items() if not missing)
    return partial(native.probe_read, isa, values)
