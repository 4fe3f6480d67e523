"""Metrics as they arrive in an OpenTelemetry SDK, and the times of steps that are kept for them."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")

from opentelemetry.metrics import NoOpMeter
from tracing_cases import COHORT, SECRET, SHARED, Sdk, frames

from lstm_fast import LSTM
from lstm_fast.tracing import _durations, _telemetry


@pytest.fixture
def sdk():
    return Sdk()


@pytest.fixture
def lstm():
    return LSTM.random(3, 4)


# ---- metrics ----


def test_metrics(sdk, lstm):
    traced = sdk.trace(lstm.stream(), session_id=SECRET)
    for cohort, confidence in (("short", 0.25), ("short", 0.95), (None, 1.0)):
        with traced.segment(cohort=cohort) as segment:
            for x in frames(5):
                traced.step(x)
            segment.predict("x", confidence, gold="y")
    metrics = sdk.metrics()
    points = {name: list(metric.data.data_points) for name, metric in metrics.items()}
    assert {name: m.unit for name, m in metrics.items()} == {
        "lstm.step.duration": "s",
        "lstm.prediction.confidence": "1",
    }
    shared = SHARED if lstm.isa else SHARED - {"lstm.isa"}
    for of_one in points.values():
        assert {frozenset(p.attributes) for p in of_one} == {
            frozenset(shared),
            frozenset(shared | {COHORT}),
        }
    steps = {p.attributes.get(COHORT): p for p in points["lstm.step.duration"]}
    assert {cohort: p.count for cohort, p in steps.items()} == {"short": 10, None: 5}
    assert steps["short"].explicit_bounds == tuple(_telemetry.SECONDS)
    assert sum(steps["short"].bucket_counts[1:-1]) > 0  # a step takes 0.1 us to 50 ms
    sure = {p.attributes.get(COHORT): p for p in points["lstm.prediction.confidence"]}
    assert {cohort: (p.count, p.sum) for cohort, p in sure.items()} == {
        "short": (2, pytest.approx(1.2)),
        None: (1, 1.0),
    }
    assert sure[None].explicit_bounds == tuple(_telemetry.SHARES)


def run_with_secret(sdk, lstm):
    with sdk.tracer.start_as_current_span("agent"):  # so that there may be exemplars
        traced = sdk.trace(lstm.stream(), session_id=SECRET)
        pooled = sdk.pool(lstm.pool(1))
        other = pooled.open(session_id=SECRET)
        with traced.segment() as segment, other.segment() as another:
            traced.run(frames(3))
            pooled.step([other], frames(1))
            for one in (segment, another):
                one.predict("label-4711", 0.5, gold="gold-4711")
    return sdk.metrics_data().to_json()


def test_metrics_carry_no_session_and_no_label(sdk, lstm):
    text = run_with_secret(sdk, lstm)
    assert json.loads(text)["resource_metrics"]
    assert "-4711" not in text  # with the dash: trace ids are long numbers
    assert all(s.attributes["session.id"] == SECRET for s in sdk.spans()[:2])


def test_a_session_in_metrics_would_be_found(monkeypatch, sdk, lstm):
    """Negative control."""
    plain = _telemetry.describe
    monkeypatch.setattr(_telemetry, "describe", lambda *a: plain(*a) | {"session.id": SECRET})
    monkeypatch.setattr(_telemetry, "SHARED", (*_telemetry.SHARED, "session.id"))
    assert SECRET in run_with_secret(sdk, lstm)


def test_a_segment_records_so_many_steps(sdk, lstm):
    for most, steps in ((32, 10), (32, 5000), (0, 10), (100, 5000)):
        traced = sdk.trace(lstm.stream(), model_name=f"{most} of {steps}", steps_recorded=most)
        with traced.segment():
            for x in frames(steps):
                traced.step(x)
    counts = {p.attributes["lstm.model.name"]: p.count for p in sdk.points("lstm.step.duration")}
    assert counts == {"32 of 10": 10, "32 of 5000": 32, "100 of 5000": 100}


class OldMeter(NoOpMeter):
    """A meter as the API had it at first, without advice; it keeps what is made and recorded."""

    def __init__(self):
        super().__init__("old")
        self.made, self.recorded = [], []

    def create_histogram(self, name, unit="", description=""):
        self.made.append((name, unit))
        return OldHistogram(name, self.recorded)


class OldHistogram:
    def __init__(self, name, recorded):
        self.name, self.recorded = name, recorded

    def record(self, amount, attributes=None):
        self.recorded.append((self.name, amount))


def test_instruments_are_made_once_and_without_advice_where_none_is_taken(sdk, lstm):
    meter = OldMeter()
    for _ in range(3):
        sdk.trace(lstm.stream(), meter=meter).segment().end()
    assert meter.made == [("lstm.step.duration", "s"), ("lstm.prediction.confidence", "1")]


def test_a_spoiled_session_does_not_spoil_the_metrics(sdk, lstm):
    """Some SDKs leave NaN out by themselves."""
    meter = OldMeter()
    traced = sdk.trace(lstm.stream(), meter=meter)
    for confidence in (float("nan"), 0.5):
        with traced.segment() as segment:
            segment.predict("x", confidence)
    assert np.isnan(sdk.spans()[0].attributes["lstm.prediction.confidence"])
    assert meter.recorded == [("lstm.prediction.confidence", 0.5)]


# ---- the times that are kept ----


@pytest.mark.parametrize("count", [1, 2, 3, 10, 99, 100, 101, 1000, _durations.MOST_KEPT])
def test_percentiles_are_numpys(count):
    times = np.random.default_rng(count).exponential(1e-6, count).tolist()
    durations = _durations.Durations()
    for start in range(0, count, 100):
        durations.take(times[start : start + 100])
    expected = np.percentile(times, [50, 99, 100], method="inverted_cdf")
    assert durations.percentiles(0.5, 0.99, 1.0) == expected.tolist()
    assert (durations.count, durations.max) == (count, max(times))


def test_many_times_leave_few():
    """Count and maximum stay exact; of p50 and p99 the rank is off by 5 deviations at most.

    Among n kept at random the share below a quantile q deviates by sqrt(q (1 - q) / n); kept from
    blocks with a stride, in a random order, it is no more than that.
    """
    count, block = 300_000, 256
    times = np.random.default_rng(0).permutation(count).astype(float) + 1
    top = times.argmax()
    times[[5, top]] = times[[top, 5]]  # the longest comes early, to be thinned out
    durations = _durations.Durations()
    for start in range(0, count, block):
        durations.take(times[start : start + block].tolist())
        assert len(durations._kept) <= _durations.MOST_KEPT
    assert (durations.count, durations.max) == (count, count)
    n = len(durations._kept)
    assert n >= _durations.MOST_KEPT // 2 - 1
    for share in (0.5, 0.99):
        (value,) = durations.percentiles(share)
        assert abs(value / count - share) <= 5 * np.sqrt(share * (1 - share) / n) + 1 / n


def kept_of_a_rhythm():
    """What is kept of steps of which each second one is slow."""
    durations = _durations.Durations()
    for _ in range(1000):
        durations.take([1.0, 2.0] * 128)
    return np.mean(np.array(durations._kept) == 2.0)


def test_what_is_periodic_is_not_hidden(monkeypatch):
    """Each block draws where it begins, so slow ones are Bernoulli(1/2) blocks of 1 or 2 kept."""
    assert abs(kept_of_a_rhythm() - 0.5) < 5 * np.sqrt(0.25 / 500)
    monkeypatch.setattr(_durations._random, "random", lambda: 0.0)  # negative control
    assert kept_of_a_rhythm() < 0.05
