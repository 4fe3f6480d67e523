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

__all__ = ["latency", "slow_paths"]

WARM = 20  # untimed steps
COLD = 200  # at most: each takes some ms
BEFORE = 1000  # steps, for a state to decay to subnormal numbers
EVICTING_BYTES = 64 << 20  # more than the last cache of most CPUs


def latency(target: Target, options: Options | None = None) -> CheckResult:
    """Time single steps: one after the other, and each after the caches were overwritten.

    Reported, not judged: what is too slow is not ours to say.
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
    of medians to ordinary frames is reported, and judged where `slow_ratio` is given.
    """
    context = Context(target, options)
    size, settings = target.input_size, context.options
    ordinary = context.frames(64, 410)
    kinds: dict[str, Frames] = {
        "subnormal": full(64, size, 1e-40),
        "decaying": full(64, size, 0.0),
        "saturated": context.frames(64, 411, scale=5e3),
    }
    medians: dict[str, float] = {}
    for name, frames in {"ordinary": ordinary, **kinds}.items():
        with context.session() as session:
            take(session, ordinary, 64, settings.timing_seconds / 4)
            take(session, frames, BEFORE, settings.timing_seconds / 4)
            samples = max(10, settings.samples // 4)
            times = take(session, frames, samples, settings.timing_seconds / 2)
            medians[name] = float(np.median(times))
    ratios = {name: medians[name] / medians["ordinary"] for name in kinds}
    numbers: dict[str, Any] = {"median_us": medians, "ratios": ratios}
    text = "of the ordinary median: " + ", ".join(f"{n} x{r:.2f}" for n, r in ratios.items())
    limit = settings.slow_ratio
    if limit is None:
        return CheckResult("slow_paths", "passed", f"{text} (not judged: slow_ratio=)", numbers)
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
    text = f"{text}; more than x{limit:g}: subnormal numbers may have to be flushed to zero"
    return CheckResult("slow_paths", "failed", text, numbers, code)
