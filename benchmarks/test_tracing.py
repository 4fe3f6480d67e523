"""What tracing adds to a step, and what a segment costs. A step's budget is 0.3 us.

Traced and untraced steps take turns, so that whatever else the machine does meets both alike;
`extra_info` (stored with `--benchmark-json`, and printed with `-s`) has the median difference, and
its quartiles, in ns for each step of each session. The table has the times of traced turns, of TURN
steps each.

Everything is inside one segment of many steps, with what is done once in 256 of them. The LSTM is
the smallest there is, and the SDK is a real one.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter_ns
from typing import Any

import numpy as np
import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from lstm_fast import LSTM, tracing

TURN = 2000  # steps of a session
TURNS = 200


@pytest.fixture
def sdk() -> dict[str, Any]:
    """A tracer and a meter that do their work and send it nowhere."""
    meters = MeterProvider([InMemoryMetricReader()])
    return {"tracer": TracerProvider().get_tracer("bench"), "meter": meters.get_meter("bench")}


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    """Keep the garbage collector's pauses out."""
    gc.disable()
    yield
    gc.enable()


def compare(benchmark: Any, plain: Callable[[], object], traced: Callable[[], object]) -> None:
    """Time turns of both alternately, the traced ones by pytest-benchmark.

    plain, traced: a call of one or more steps; TURN of them are a turn.
    """
    count = range(int(TURN / benchmark.extra_info["steps a call"]))
    differences: list[float] = []

    def turn(call: Callable[[], object]) -> float:
        start = perf_counter_ns()
        for _ in count:
            call()
        return perf_counter_ns() - start

    def both() -> None:
        without = turn(plain)
        differences.append((turn(traced) - without) / TURN)

    benchmark.pedantic(partial(turn, traced), setup=both, rounds=TURNS)
    low, middle, high = np.percentile(differences, [25, 50, 75])
    benchmark.extra_info.update(overhead_ns=middle, quartiles_ns=(low, high))
    print(f"\n{benchmark.name}: {middle:.0f} ns a step ({low:.0f} to {high:.0f})")


def test_step(benchmark: Any, sdk: dict[str, Any]) -> None:
    """A stream."""
    benchmark.group = "tracing"
    benchmark.extra_info["steps a call"] = 1
    lstm, x, y = LSTM.random(1, 1), np.zeros(1, np.float32), np.zeros(1, np.float32)
    traced = tracing.trace(lstm.stream(), model_name="bench", **sdk)
    with traced.segment():
        compare(benchmark, partial(lstm.stream().step, x, y), partial(traced.step, x, y))


@pytest.mark.parametrize("count", [1, 2, 8, 64, 512])
def test_pool(benchmark: Any, sdk: dict[str, Any], count: int) -> None:
    """So many sessions in a call, all of them in a segment."""
    benchmark.group = "tracing"
    benchmark.extra_info["steps a call"] = count
    lstm = LSTM.random(1, 1)
    plain, traced = lstm.pool(count), tracing.trace_pool(lstm.pool(count), model_name="m", **sdk)
    sessions = [traced.open() for _ in range(count)]
    segments = [session.segment() for session in sessions]
    x, y = np.zeros((count, 1), np.float32), np.zeros((count, 1), np.float32)
    handles = np.array([plain.open() for _ in range(count)], np.uint64)
    others = np.array(sessions, np.uint64)
    compare(benchmark, partial(plain.step, handles, x, y), partial(traced.step, others, x, y))
    for segment in segments:
        segment.end()


@pytest.mark.parametrize("steps", [0, 20, 1000])
def test_segment(benchmark: Any, sdk: dict[str, Any], steps: int) -> None:
    """A whole segment of so many steps: a span and its metrics, whatever its length."""
    benchmark.group = "tracing: a segment"
    traced = tracing.trace(LSTM.random(1, 1).stream(), model_name="bench", **sdk)
    x, y = np.zeros(1, np.float32), np.zeros(1, np.float32)

    def segment() -> None:
        with traced.segment() as segment:
            for _ in range(steps):
                traced.step(x, y)
            segment.predict("x", 0.5)

    benchmark(segment)


def test_trace(benchmark: Any, sdk: dict[str, Any]) -> None:
    """A new session."""
    benchmark.group = "tracing: a session"
    stream = LSTM.random(1, 1).stream()
    benchmark(partial(tracing.trace, stream, model_name="bench", **sdk))
