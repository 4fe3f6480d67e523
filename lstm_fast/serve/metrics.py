"""What a server counts, and its text for Prometheus: counting costs a frame next to nothing."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .limits import Close

if TYPE_CHECKING:
    from prometheus_client.core import Metric

BOUNDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # s
RECENT = 20_000  # answers that p50 and p99 are of: the last 10 s of 64 sessions, 0.6 s of 1000
QUANTILES = (0.5, 0.99)


class Meter:
    """The counts of one server. Times are in seconds."""

    def __init__(self) -> None:
        self.waits: list[float] = []  # from frame to answer, since they were last gathered
        self.frames = 0  # messages of PCM
        self.samples_seconds = 0.0  # of audio
        self.events: Counter[str] = Counter()  # by kind
        self.closes: Counter[Close] = Counter()
        self.begun = self.resumed = 0  # sessions
        self.refused = 0  # requests, by origin or host
        self.dropped = 0  # windows that were never answered
        self.lost = 0  # sessions that could not be kept
        self._buckets = np.zeros(len(BOUNDS) + 1, np.int64)
        self._sum = 0.0
        self._recent: deque[float] = deque(maxlen=RECENT)

    def gather(self) -> None:
        """Sort the waits into buckets; to be called every second or so."""
        waits, self.waits = self.waits, []
        if waits:
            values = np.array(waits)
            self._buckets += np.bincount(np.searchsorted(BOUNDS, values), minlength=len(BOUNDS) + 1)
            self._sum += float(values.sum())
            self._recent.extend(waits)

    @property
    def answers(self) -> int:
        """Windows that were answered."""
        return int(self._buckets.sum()) + len(self.waits)

    def quantiles(self) -> NDArray[np.float64] | None:
        """Return p50 and p99 from frame to answer, of the latest answers; None without any."""
        self.gather()
        return np.quantile(np.array(self._recent), QUANTILES) if self._recent else None

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Return how many waits were up to each bound, and the sum of all."""
        self.gather()
        below = np.cumsum(self._buckets).tolist()
        names = [*map(str, BOUNDS), "+Inf"]
        return list(zip(names, map(float, below), strict=True)), self._sum


class Exposition:
    """The metrics of a server as `prometheus_client` collects them.

    meter: the counts; gauges: a function that returns name, help and value of what is so now.
    """

    def __init__(self, meter: Meter, gauges: Any) -> None:
        self._meter, self._gauges = meter, gauges

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the names are known when collected."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        meter = self._meter
        buckets, total = meter.buckets()
        yield HistogramMetricFamily(
            "lstm_fast_answer_seconds",
            "From the frame that completes a window to its answer.",
            buckets=buckets,
            sum_value=total,
        )
        recent = GaugeMetricFamily(
            "lstm_fast_answer_recent_seconds",
            f"p50 and p99 of the same, of the last {RECENT} answers.",
            labels=["quantile"],
        )
        quantiles = meter.quantiles()
        for share, value in zip(QUANTILES, () if quantiles is None else quantiles, strict=False):
            recent.add_metric([str(share)], float(value))
        yield recent
        for name, help_text, value in self._gauges():
            yield GaugeMetricFamily(f"lstm_fast_{name}", help_text, value=value)
        for name, help_text, value in (
            ("frames", "Messages of PCM.", meter.frames),
            ("windows", "Windows that were answered.", meter.answers),
            ("audio_seconds", "Seconds of audio.", meter.samples_seconds),
            ("windows_dropped", "Windows that were never answered.", meter.dropped),
            ("sessions_lost", "Sessions that could not be kept.", meter.lost),
            ("requests_refused", "Requests of a foreign origin or host.", meter.refused),
        ):
            yield CounterMetricFamily(f"lstm_fast_{name}", help_text, value=value)
        begun = CounterMetricFamily("lstm_fast_sessions_begun", "Sessions.", labels=["how"])
        begun.add_metric(["new"], meter.begun)
        begun.add_metric(["resumed"], meter.resumed)
        yield begun
        events = CounterMetricFamily("lstm_fast_events", "Speech and turns.", labels=["kind"])
        for kind, count in sorted(meter.events.items()):
            events.add_metric([kind], count)
        yield events
        closes = CounterMetricFamily(
            "lstm_fast_closed", "Connections, by the code of their close.", labels=["code", "why"]
        )
        for code, count in sorted(meter.closes.items()):
            closes.add_metric([str(int(code)), code.name.lower()], count)
        yield closes


def text_of(exposition: Exposition) -> tuple[bytes, str]:
    """Return the metrics as text, and its content type."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.exposition import CONTENT_TYPE_LATEST

    registry = CollectorRegistry()
    registry.register(exposition)
    return generate_latest(registry), CONTENT_TYPE_LATEST
