"""An OpenTelemetry SDK that keeps what arrives, and what is to arrive there."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from lstm_fast import tracing

# The names, and what each value is.
ALWAYS = {
    "lstm.model.name": str,
    "lstm.model.sha256": str,
    "lstm.input_size": int,
    "lstm.hidden_size": int,
    "lstm.layers": int,
    "lstm.backend": str,
    "lstm.weight_dtype": str,
    "lstm.sequence.length": int,
    "lstm.state.reset": bool,
    "lstm.state.age_steps": int,
}
WITH_ISA = {"lstm.isa": str}
WITH_STEPS = {f"lstm.step.duration.{name}": float for name in ("p50", "p99", "max")}
WHEN_RESET = {"lstm.state.reset_reason": str}
WHEN_GIVEN = {
    "lstm.sequence.cohort": str,
    "lstm.window.start": int,
    "lstm.window.length": int,
    "lstm.prediction.label": str,
    "lstm.prediction.confidence": float,
    "lstm.gold.label": str,
    "session.id": str,
}
WHEN_FAILED = {"error.type": str}
SHARED = {"lstm.model.name", "lstm.model.sha256", "lstm.backend", "lstm.isa", "lstm.weight_dtype"}
COHORT = "lstm.sequence.cohort"
SECRET = "session-4711"


class Sdk:
    """A real SDK that keeps what arrives."""

    def __init__(self):
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("tests")
        self.reader = InMemoryMetricReader()
        self.meter = MeterProvider([self.reader]).get_meter("tests")

    def trace(self, stream, **options):
        defaults = {"model_name": "turns", "tracer": self.tracer, "meter": self.meter}
        return tracing.trace(stream, **(defaults | options))

    def pool(self, pool, **options):
        defaults = {"model_name": "turns", "tracer": self.tracer, "meter": self.meter}
        return tracing.trace_pool(pool, **(defaults | options))

    def spans(self):
        return self.exporter.get_finished_spans()

    def last(self):
        return dict(self.spans()[-1].attributes)

    def metrics_data(self):
        return self.reader.get_metrics_data()

    def metrics(self):
        data = self.metrics_data()
        if data is None:
            return {}
        scopes = [s for r in data.resource_metrics for s in r.scope_metrics]
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def points(self, name):
        return list(self.metrics()[name].data.data_points)


def frames(count, size=3, seed=0):
    return np.random.default_rng(seed).standard_normal((count, size), dtype=np.float32)


def wrong_attributes(attributes, expected):
    """Names that are missing, or too many, or whose value has another type."""
    types = {name: type(value) for name, value in attributes.items()}
    return {name for name in types | expected if types.get(name) is not expected.get(name)}
