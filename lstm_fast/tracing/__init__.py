"""Traces and metrics through OpenTelemetry's API: a span for each segment of a session.

A segment is an utterance, a window of events, whatever one answer is given for; a step has no span.

    from lstm_fast import tracing

    traced = tracing.trace(lstm.stream(), model_name="turns", session_id="call-7")
    with traced.segment(cohort="short") as segment:
        for x in frames:
            y = traced.step(x, out=y)
        segment.predict("end of turn", 0.93, gold="end of turn")
    traced.reset(reason="end of turn")

Sessions of a pool are stepped together, each with segments of its own:

    traced = tracing.trace_pool(lstm.pool(5000), model_name="turns")
    alice, bob = (traced.open(session_id=name) for name in ("alice", "bob"))
    with alice.segment() as of_alice, bob.segment() as of_bob:
        ys = traced.step([alice, bob], xs)

Needs the extra `otel` (opentelemetry-api), which is the API alone: where the data goes is up to the
SDK that the application sets up, and without one it goes nowhere. Nothing in lstm_fast imports it.

Attributes of a span, those in brackets where they are known:

    lstm.model.name             as given
    lstm.model.sha256           `LSTM.fingerprint`: of the weights and how they are stored
    lstm.input_size, lstm.hidden_size, lstm.layers      ints
    lstm.backend, [lstm.isa], lstm.weight_dtype         strings, as of `LSTM`
    [session.id]                as given
    lstm.sequence.length        steps in this segment
    [lstm.sequence.cohort]      as given
    lstm.state.reset            whether the state was new: reset, or the session begun, since the
                                last segment ended and before this one did
    [lstm.state.reset_reason]   of the last such reset, as given; "new session", "state assigned"
                                and "restored" are said without being given
    lstm.state.age_steps        steps since the last reset, as this segment ends, including its own:
                                more than the sequence's length where state was carried over
    [lstm.step.duration.p50, lstm.step.duration.p99, lstm.step.duration.max]
                                seconds, of the steps of this segment, if it has any, each with
                                one reading of the clock (some 40 ns) in it; nearest rank.
                                In a pool a step takes as long as the call it is in
    [lstm.window.start, lstm.window.length]             steps, as given
    [lstm.prediction.label, lstm.prediction.confidence, lstm.gold.label]    as given to `predict`
    [error.type]                the class of what ended the `with` block; the status is then ERROR,
                                with an exception event

Metrics, both histograms: `lstm.step.duration` in seconds, of which each segment gives up to
`steps_recorded` steps, spread evenly, since to record one costs more than many steps do; and
`lstm.prediction.confidence`. They carry the model's name and sha256, the backend, ISA, weight dtype
and cohort, and never a session's id or a label.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..pool import StreamPool
from ..stream import Stream
from ._pool import TracedPool, TracedSession
from ._segment import Options, Segment
from ._stream import TracedStream
from ._telemetry import Telemetry

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter
    from opentelemetry.trace import Tracer

__all__ = ["Segment", "TracedPool", "TracedSession", "TracedStream", "trace", "trace_pool"]

SPAN_NAME = "lstm.segment"
STEPS_RECORDED = 8  # recording one takes an SDK some 5 us, and a whole span 30 us


def trace(
    stream: Stream,
    *,
    model_name: str,
    session_id: str | None = None,
    age_steps: int = 0,
    span_name: str = SPAN_NAME,
    steps_recorded: int = STEPS_RECORDED,
    tracer: Tracer | None = None,
    meter: Meter | None = None,
) -> TracedStream:
    """Return a stream that is stepped as before, and whose segments are spans.

    Args:
        stream: the session.
        model_name: what to call the LSTM: one name for all versions of its weights.
        session_id: for the attribute session.id of spans; metrics never carry it.
        age_steps: steps that the stream has already taken since its reset; 0 for a new one.
        span_name: of each segment.
        steps_recorded: how many steps of a segment go to the metrics at most.
        tracer: OpenTelemetry's; None takes the global provider's.
        meter: OpenTelemetry's; None takes the global provider's.

    Raises:
        TypeError: stream is no `Stream`, or age_steps or steps_recorded no integer.
        ValueError: model_name is empty, or a number is negative.
    """
    if not isinstance(stream, Stream):
        raise TypeError(
            f"expected a Stream, found {type(stream).__name__}: trace(lstm.stream(), ...), or "
            "trace_pool(lstm.pool(...), ...)"
        )
    telemetry = Telemetry(stream.lstm, model_name, tracer, meter)
    return TracedStream(
        stream, Options(telemetry, span_name, steps_recorded), session_id, age_steps
    )


def trace_pool(
    pool: StreamPool,
    *,
    model_name: str,
    span_name: str = SPAN_NAME,
    steps_recorded: int = STEPS_RECORDED,
    tracer: Tracer | None = None,
    meter: Meter | None = None,
) -> TracedPool:
    """Return a pool that is stepped as before, whose sessions have segments that are spans.

    Sessions that are to be traced are opened by the returned pool. The arguments, and what is
    raised: see `trace`.
    """
    if not isinstance(pool, StreamPool):
        raise TypeError(f"expected a StreamPool, found {type(pool).__name__}: see trace, too")
    telemetry = Telemetry(pool.lstm, model_name, tracer, meter)
    return TracedPool(pool, Options(telemetry, span_name, steps_recorded))
