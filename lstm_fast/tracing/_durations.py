"""How long steps took: all of them counted, as many kept as percentiles need.

A step is timed by two readings of `time.perf_counter` and one store into a block that is there
already; whatever else there is to do happens once per block. `perf_counter` rather than
`perf_counter_ns`: as precise here (2 ns after three months of uptime) and quicker, since a small
float costs Python less than a large int.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from math import ceil
from time import perf_counter
from typing import Any, Protocol

from .._process import bookkeeping

BLOCK = 256  # steps; one in that many takes some 2 to 7 us longer, at most 30 ns for each
MOST_KEPT = 2048  # times, of which half stay: the rank of p99 among 1024 is known to 0.3 percent
_random = random.Random(0)  # of our own: the caller's numbers stay what they are


class StepCall(Protocol):
    """`Stream.step` or `ModelStream.step`."""

    def __call__(self, x: Any, out: Any = None) -> Any: ...


class Durations:
    """The times of the steps of one session, in seconds.

    Count and maximum are exact over any number of steps. Up to MOST_KEPT times are kept, all of
    them or each stride-th; where a block begins with that is drawn, so that nothing periodic in
    the service can hide between them, and each step is kept with the same probability. That is
    64 KiB at most, for a session in a long segment.
    """

    __slots__ = ("_kept", "_stride", "_worst", "count")

    def __init__(self) -> None:
        self.count = 0  # of all steps, ever
        self.restart()

    def restart(self) -> None:
        """Forget the times, as a segment begins; the count goes on."""
        self._kept: list[float] = []
        self._stride = 1
        self._worst = 0.0  # of those that were not kept, at least

    def take(self, times: Sequence[float]) -> None:
        """Take the times of the next steps."""
        if not times:
            return
        self.count += len(times)
        if self._stride == 1:
            self._kept += times
        else:
            self._worst = max(self._worst, *times)
            self._kept += times[int(_random.random() * self._stride) :: self._stride]
        while len(self._kept) > MOST_KEPT:
            self._worst = self.max
            del self._kept[int(_random.random() * 2) :: 2]
            self._stride *= 2

    @property
    def max(self) -> float:
        """The longest; 0 without any."""
        return max(self._worst, *self._kept) if self._kept else self._worst

    def percentiles(self, *shares: float) -> list[float]:
        """Return the nearest-rank percentile for each share within (0, 1]; nothing without times.

        The least of the kept times that at least this share of them do not exceed: always one that
        was measured, and the maximum where there are too few steps for anything else.
        """
        ordered = sorted(self._kept)
        return [ordered[ceil(share * len(ordered)) - 1] for share in shares if ordered]

    def sample(self, most: int) -> list[float]:
        """Return at most that many of the kept times, spread evenly from a drawn one on."""
        if len(self._kept) <= most or not most:
            return self._kept[:most]
        width = len(self._kept) / most
        first = _random.random()
        return [self._kept[int((n + first) * width)] for n in range(most)]


def timed(step: StepCall, durations: Durations) -> tuple[StepCall, Callable[[], None]]:
    """Return a step that takes its own time, and a function that hands over what is not yet taken.

    A closure, since its variables cost less than attributes. A step that raises leaves no time.
    """
    block, last, at, clock = [0.0] * BLOCK, BLOCK - 1, 0, perf_counter

    def full() -> int:
        nonlocal at
        with bookkeeping:  # a fork must not come between the two, or all would count twice
            durations.take(block)
            at = 0
        return 0

    def timed_step(x: Any, out: Any = None) -> Any:
        nonlocal at
        start = clock()
        y = step(x, out)
        block[at] = clock() - start
        at = at + 1 if at < last else full()
        return y

    def drain() -> None:
        nonlocal at
        with bookkeeping:
            durations.take(block[:at])
            at = 0

    return timed_step, drain
