"""How long steps take: with ordinary, subnormal and saturating frames, hot and with cold caches."""

from __future__ import annotations

import gc
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import reproduction
from ._context import Context
from .options import Options
from .probes import Frames, full
from .results import CheckResult
from .target import Session, Target

__all__ = ["latency", "slow_paths"]

WARM = 20  # untimed steps
COLD = 200  # at most: each takes some ms
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
    for n in range(WARM):
        session.step(inputs[n % len(inputs)])
        if clock() > end:
            break
    times: list[int] = []
    enabled = gc.isenabled()
    gc.disable()  # its pauses are not the step's
    try:
        while len(times) < samples:
            x = inputs[len(times) % len(inputs)]
            start = clock()
            session.step(x)
            stop = clock()
            times.append(stop - start)
            if stop > end and len(times) >= 3:
                break
    finally:
        if enabled:
            gc.enable()
    return np.array(times) / 1000


def _cold(session: Session, frames: Frames, seconds: float) -> NDArray[np.float64]:
    """Time steps after memory larger than the caches was written."""
    evict, clock = np.zeros(EVICTING_BYTES // 8), time.perf_counter_ns
    end = clock() + int(seconds * 1e9)
    times: list[int] = []
    while len(times) < COLD and (clock() < end or len(times) < 3):
        evict += 1
        x = frames.array[len(times) % len(frames)]
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
    - decaying: after ordinary frames, zeros, until the state is subnormal where it may become so.
    - saturated: frames of +-1e4.

    The ratio of medians to ordinary frames is reported, and judged where `slow_ratio` is given.
    """
    context = Context(target, options)
    size, settings = target.input_size, context.options
    ordinary = context.frames(64, 410)
    kinds: dict[str, Frames] = {
        "subnormal": full(64, size, 1e-40),
        "decaying": full(64, size, 0.0),
        "saturated": context.frames(64, 411, scale=5e3),
    }
    with context.session() as session:
        base = float(np.median(_samples(session, ordinary, context)))
    medians: dict[str, float] = {"ordinary": base}
    for name, frames in kinds.items():
        with context.session() as session:
            if name == "decaying":
                take(session, ordinary, 64, settings.timing_seconds / 4)
                take(session, frames, 1000, settings.timing_seconds / 4)
            medians[name] = float(np.median(_samples(session, frames, context)))
    ratios = {name: medians[name] / base for name in kinds}
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
options = Options(slow_ratio={limit!r}, seed={settings.seed}, scale={settings.scale!r})
result = slow_paths(target, options)
assert not result.failed, result.text
"""
    code = reproduction.code(target, body, "from lstm_fast.checks import Options, slow_paths")
    text = f"{text}; more than x{limit:g}: subnormal numbers may have to be flushed to zero"
    return CheckResult("slow_paths", "failed", text, numbers, code)


def _samples(session: Session, frames: Frames, context: Context) -> NDArray[np.float64]:
    settings = context.options
    return take(session, frames, max(10, settings.samples // 4), settings.timing_seconds / 2)
