"""How long steps take: with ordinary, subnormal and saturating frames, hot and with cold caches."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import reproduction
from ._context import Context
from .options import Options
from .probes import Frames, full
from .results import CheckResult
from .target import Session, Target, theirs

__all__ = ["SLOW_RATIO", "latency", "slow_paths"]

ADVICE = "subnormal numbers may have to be flushed to zero"
SLOW_RATIO = 3.0
"""How many times as long steps may take with unusual frames before the verdict warns of it.

Noise alone does not get there: on a busy machine of two cores, medians of the same kind of frames,
measured twice, were at most 2.1 times apart in 180 pairs; and what is above the limit is measured
again, and the least counts. Subnormal numbers that a CPU computes by microcode take 10 to 100
times as long.
"""

WARM = 20  # untimed steps
COLD = 200  # at most: each takes some ms
BEFORE = 1000  # steps, for a state to decay to subnormal numbers
TRIES = 3  # of what seems slow
EVICTING_BYTES = 64 << 20  # more than the last cache of most CPUs


def latency(target: Target, options: Options | None = None) -> CheckResult:
    """Time single steps: one after the other, and each after the caches were overwritten.

    Reported, not judged: what is too slow is not ours to say.

    Example:
        >>> from lstm_fast import LSTM, checks
        >>> few = checks.Options(samples=20, timing_seconds=0.1)
        >>> result = checks.latency(checks.adapters.from_lstm(LSTM.random(3, 4)), few)
        >>> sorted(result.numbers), sorted(result.numbers["hot_us"])
        (['cold_us', 'hot_us'], ['max', 'p50', 'p99', 'steps'])
    """
    context = Context(target, options)
    frames = context.frames(64, 400)
    with context.session() as session:
        hot = take(session, frames, context.options.samples, context.options.timing_seconds)
        cold = _cold(session, frames, context.options.timing_seconds)
    numbers = {"hot_us": percentiles(hot), "cold_us": percentiles(cold)}
    parts = [
        f"{name} p50 {p['p50']:.4g} us, p99 {p['p99']:.4g} us"
        + (f", p99.9 {p['p99.9']:.4g} us" if "p99.9" in p else "")
        for name, p in (("hot", numbers["hot_us"]), ("cold", numbers["cold_us"]))
    ]
    return CheckResult("latency", "passed", "; ".join(parts) + " (not judged)", numbers)


def take(session: Session, frames: Frames, samples: int, seconds: float) -> NDArray[np.float64]:
    """Return what that many steps took, in us, or as many as fit in that time."""
    inputs, clock = list(frames.array), time.perf_counter_ns
    end = clock() + int(seconds * 1e9)
    times: list[int] = []
    with theirs("step(x)"), _without_gc():
        for n in range(WARM):
            session.step(inputs[n % len(inputs)])
            if clock() > end:
                break
        while len(times) < samples:
            x = inputs[len(times) % len(inputs)]
            start = clock()
            session.step(x)
            stop = clock()
            times.append(stop - start)
            if stop > end and len(times) >= 3:
                break
    return np.array(times) / 1000


@contextmanager
def _without_gc() -> Iterator[None]:
    """Keep the garbage collector's pauses out of the figures."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _cold(session: Session, frames: Frames, seconds: float) -> NDArray[np.float64]:
    """Time steps after memory larger than the caches was written."""
    evict, clock = np.zeros(EVICTING_BYTES // 8), time.perf_counter_ns
    end = clock() + int(seconds * 1e9)
    times: list[int] = []
    while len(times) < COLD and (clock() < end or len(times) < 3):
        evict += 1
        x = frames.array[len(times) % len(frames)]
        with theirs("step(x)"):
            start = clock()
            session.step(x)
            times.append(clock() - start)
    return np.array(times) / 1000


def percentiles(times: NDArray[np.float64]) -> dict[str, float]:
    """Return p50, p99 and, of 1000 and more, p99.9; also the number of steps."""
    names = {"p50": 50.0, "p99": 99.0} | ({"p99.9": 99.9} if len(times) >= 1000 else {})
    values = {name: float(np.percentile(times, q)) for name, q in names.items()}
    return values | {"max": float(times.max()), "steps": len(times)}


def slow_paths(target: Target, options: Options | None = None) -> CheckResult:
    """Time steps with frames that meet the slow paths of some CPUs and libraries.

    - subnormal: frames of 1e-40.
    - decaying: zeros, after which the state is subnormal where it may become so.
    - saturated: frames of +-1e4.

    Each follows ordinary frames and as many of its own, as do the ordinary ones they are compared
    with: a model that is run over all frames since the reset gets slower with every step. The ratio
    of medians to ordinary frames is reported; what is above a limit is measured up to three times,
    and the least ratio counts. Above `slow_ratio`, where that is given, it is a failure; else it is
    a warning above `SLOW_RATIO`.

    Example:
        >>> from lstm_fast import LSTM, checks
        >>> few = checks.Options(samples=20)
        >>> result = checks.slow_paths(checks.adapters.from_lstm(LSTM.random(3, 4)), few)
        >>> result.status, sorted(result.numbers["ratios"])
        ('passed', ['decaying', 'saturated', 'subnormal'])
    """
    context = Context(target, options)
    settings = context.options
    ratios, medians = _ratios(context, settings.slow_ratio or SLOW_RATIO)
    numbers: dict[str, Any] = {"median_us": medians, "ratios": ratios}
    text = "of the ordinary median: " + ", ".join(f"{n} x{r:.2f}" for n, r in ratios.items())
    limit = settings.slow_ratio
    if limit is None:
        return _not_judged(ratios, text, numbers)
    worst = max(ratios, key=lambda name: ratios[name])
    if ratios[worst] <= limit:
        return CheckResult("slow_paths", "passed", f"{text}; at most x{limit:g}", numbers)
    body = f"""
# Steps with {worst} frames took {ratios[worst]:.1f} times the ordinary ones.
options = {reproduction.options(settings)}
result = slow_paths(target, options)
assert not result.failed, result.text
"""
    code = reproduction.code(target, body, "from lstm_fast.checks import Options, slow_paths")
    text = f"{text}; more than x{limit:g}: {ADVICE}"
    return CheckResult("slow_paths", "failed", text, numbers, code)


def _not_judged(ratios: dict[str, float], text: str, numbers: dict[str, Any]) -> CheckResult:
    """Return what was found, with a warning for each kind of frames that is slow."""
    warnings = tuple(
        f"steps with {name} frames take {ratio:.3g} times as long"
        for name, ratio in ratios.items()
        if ratio > SLOW_RATIO
    )
    text += (
        f"; more than x{SLOW_RATIO:g}: {ADVICE}" if warnings else f"; none above x{SLOW_RATIO:g}"
    )
    text += " (a failure only with slow_ratio=, --slow-ratio)"
    return CheckResult("slow_paths", "passed", text, numbers, warnings=warnings)


def _ratios(context: Context, limit: float) -> tuple[dict[str, float], dict[str, float]]:
    """Return by kind the least ratio to ordinary frames, and the medians first measured, in us."""
    size = context.target.input_size
    kinds: dict[str, Frames] = {
        "ordinary": context.frames(64, 410),
        "subnormal": full(64, size, 1e-40),
        "decaying": full(64, size, 0.0),
        "saturated": context.frames(64, 411, scale=5e3),
    }
    medians = {name: _median(context, kinds["ordinary"], kinds[name]) for name in kinds}
    ratios = {name: medians[name] / medians["ordinary"] for name in kinds if name != "ordinary"}
    for _ in range(TRIES - 1):
        slow = [name for name, ratio in ratios.items() if ratio > limit]
        if not slow:
            break
        ordinary = _median(context, kinds["ordinary"], kinds["ordinary"])
        for name in slow:
            again = _median(context, kinds["ordinary"], kinds[name])
            ratios[name] = min(ratios[name], again / ordinary)
    return ratios, medians


def _median(context: Context, ordinary: Frames, frames: Frames) -> float:
    """Return the median of steps with such frames, in us, after ordinary ones."""
    settings = context.options
    with context.session() as session:
        take(session, ordinary, 64, settings.timing_seconds / 4)
        take(session, frames, BEFORE, settings.timing_seconds / 4)
        samples = max(10, settings.samples // 4)
        return float(np.median(take(session, frames, samples, settings.timing_seconds / 2)))
