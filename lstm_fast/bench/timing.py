"""Taking times: one by one, contenders in turns, on one CPU, with an idea of the noise."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Call = Callable[[], object]

BLOCKS = 24  # turns of each contender: enough for quartiles of their medians
WARM_CALLS = 3  # untimed ones at the start of a turn, since the others have used the caches
LARGEST_BLOCK = 5000
TOO_NOISY = 0.05  # a neighbour that takes more, or a clock that moves more, hides small differences
SPIN_SAMPLES = 50
FEWEST_BLOCKS = 4  # of each, however long they take: quartiles of fewer say nothing

clock = time.perf_counter_ns


@dataclass
class Action:
    """Something to time."""

    call: Call
    before: Call | None = None  # untimed, before each call
    steps: int = 1  # that one call does
    context: Callable[[], AbstractContextManager[Any]] = nullcontext  # around each turn
    blocks: list[NDArray[np.int64]] = field(default_factory=list)  # ns per call


@dataclass(frozen=True)
class Times:
    """The distribution of what one step took, in us."""

    steps: int
    p50: float
    p90: float | None  # None where there are too few times to know it
    p99: float | None
    p999: float | None
    max: float
    # interquartile range of the blocks' medians, over their median; None where there are too few
    noise: float | None


def _take(action: Action, count: int) -> NDArray[np.int64]:
    """Time that many calls one by one, in ns."""
    call, before, times = action.call, action.before, [0] * count
    with action.context():
        for _ in range(WARM_CALLS if before is None else 1):
            if before is not None:
                before()
            call()
        if before is None:
            for i in range(count):
                start = clock()
                call()
                times[i] = clock() - start
        else:
            for i in range(count):
                before()
                start = clock()
                call()
                times[i] = clock() - start
    return np.array(times, np.int64)


def _block_size(action: Action, seconds: float) -> int:
    """How many calls fill one of BLOCKS turns."""
    count = 1
    while True:
        start = clock()
        _take(action, count)
        elapsed = (clock() - start) / 1e9
        if elapsed > seconds / BLOCKS / 4 or count >= LARGEST_BLOCK:
            return max(1, min(LARGEST_BLOCK, int(count * seconds / BLOCKS / elapsed)))
        count *= 4


def interleave(actions: Sequence[Action], seconds: float) -> list[Times]:
    """Time all of them, about that many seconds each, in turns.

    In turns, so that whatever else the machine does meets all of them alike. The garbage collector
    is off meanwhile: it would put its pauses where they fall.
    """
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        sizes = [_block_size(action, seconds) for action in actions]
        end = clock() + int(seconds * len(actions) * 1e9)
        while clock() < end or len(actions[0].blocks) < FEWEST_BLOCKS:
            for action, size in zip(actions, sizes, strict=True):
                action.blocks.append(_take(action, size))
    finally:
        if enabled:
            gc.enable()
    cost = clock_cost_ns()
    return [_summary(action, cost) for action in actions]


def _summary(action: Action, cost_ns: float) -> Times:
    scale = 1e-3 / action.steps
    blocks = [np.maximum(block - cost_ns, 1) * scale for block in action.blocks]
    medians = [float(np.median(block)) for block in blocks]
    times = np.concatenate(blocks)
    low, middle, high = np.percentile(medians, [25, 50, 75])
    return Times(
        steps=len(times) * action.steps,
        p50=float(np.median(times)),
        p90=_percentile(times, 90, 10),
        p99=_percentile(times, 99, 100),
        p999=_percentile(times, 99.9, 1000),
        max=float(times.max()),
        noise=float((high - low) / middle) if len(blocks) >= FEWEST_BLOCKS else None,
    )


def _percentile(times: NDArray[np.float64], percent: float, least: int) -> float | None:
    """Return a percentile, or None where so few times lie beyond it that it is the largest one."""
    return float(np.percentile(times, percent)) if len(times) >= least else None


def clock_cost_ns() -> float:
    """What a time contains of the clock itself: the mean time of nothing, of the median block.

    The mean, since a clock that ticks every 42 ns (Apple's) gives 0 or 42 for the 20 that it takes.
    """
    means = []
    for _ in range(20):
        times = []
        for _ in range(100):
            start = clock()
            times.append(clock() - start)
        means.append(sum(times) / len(times))
    return float(np.median(means))


def _spin() -> None:
    """A fixed piece of work inside L1, in C: loops of Python differ from run to run by 15 %."""
    pow(3, 20_000)


class Spin:
    """The times of a fixed piece of work, taken all along a run."""

    def __init__(self) -> None:
        self._times: list[list[int]] = []

    def sample(self) -> None:
        """Do it SPIN_SAMPLES times, some 0.1 ms each, after a few to fetch it into the caches."""
        self._times.append(_take(Action(_spin), SPIN_SAMPLES).tolist())

    def result(self) -> tuple[float, float, float]:
        """Return (median in us, spread, stolen).

        spread is (90th - 10th percentile) / median of the samples' medians: how the clock moved.
        stolen is the share of time beyond the median: what interrupts and neighbours took.
        """
        times = np.array(self._times)
        low, high = np.percentile(np.median(times, axis=1), [10, 90])
        median = float(np.median(times))
        stolen = max(0.0, 1 - median / float(times.mean()))
        return median / 1000, float(high - low) / median, stolen


@contextmanager
def pinned() -> Iterator[int | None]:
    """Stay on one CPU, whose number is given; None where the system offers no such thing."""
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    allowed = os.sched_getaffinity(0)
    cpu = max(allowed)  # the first one usually serves the interrupts
    try:
        os.sched_setaffinity(0, {cpu})
    except OSError:  # some sandboxes forbid it
        yield None
        return
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, allowed)
