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

Streams and pools of a whole `Model` are traced alike. What its step returned says how sure it is:

    traced = tracing.trace(vad.stream(), model_name="vad")
    with traced.segment() as segment:
        for chunk in chunks:
            probability = traced.step(chunk)
        segment.predict("speech", probability)  # of several outputs `trace(confidence=)` says which

Needs the extra `otel` (opentelemetry-api), which is the API alone: where the data goes is up to the
SDK that the application sets up, and without one it goes nowhere. Nothing in lstm_fast imports it.

Attributes of a span, those in brackets where they are known:

    lstm.model.name             as given
    lstm.model.sha256           `fingerprint`: of an LSTM's weights and how they are stored, of a
                                Model's program and constants
    [lstm.input_size, lstm.hidden_size, lstm.layers]    ints, of an LSTM
    [lstm.model.inputs, lstm.model.outputs]             strings, of a Model: "x (40,), id () int64"
    [lstm.model.operations]                             an int, of a Model
    lstm.backend, [lstm.isa], lstm.weight_dtype         strings, as of `LSTM` and `Model`; where a
                                Model's operations have several types, "0:int8,3:float16"
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

from ..model_pool import ModelPool
from ..model_stream import ModelStream
from ._confidence import Confidence
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
    stream: ModelStream,
    *,
    model_name: str,
    session_id: str | None = None,
    age_steps: int = 0,
    confidence: str | None = None,
    span_name: str = SPAN_NAME,
    steps_recorded: int = STEPS_RECORDED,
    tracer: Tracer | None = None,
    meter: Meter | None = None,
) -> TracedStream:
    """Return a stream that is stepped as before, and whose segments are spans.

    Args:
        stream: the session, of an LSTM or of a whole Model.
        model_name: what to call the model: one name for all versions of its weights.
        session_id: for the attribute session.id of spans; metrics never carry it.
        age_steps: steps that the stream has already taken since its reset; 0 for a new one.
        confidence: of a Model, the output that says how sure it is, for `Segment.predict`; None:
            the only one there is.
        span_name: of each segment.
        steps_recorded: how many steps of a segment go to the metrics at most.
        tracer: OpenTelemetry's; None takes the global provider's.
        meter: OpenTelemetry's; None takes the global provider's.

    Raises:
        TypeError: stream is not a `Stream` or `ModelStream`; age_steps or steps_recorded is
            not an integer.
        ValueError: model_name is empty, or a number is negative; confidence names no output, or one
            that holds no floats, or is given for an LSTM.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> traced = trace(LSTM.random(3, 4).stream(), model_name="turns", session_id="call-7")
        >>> with traced.segment(cohort="short") as segment:
        ...     y = traced.step(np.zeros(3, np.float32))
        ...     segment.predict("end of turn", 0.93)
    """
    if not isinstance(stream, ModelStream):
        raise TypeError(
            f"expected a Stream, found {type(stream).__name__}: trace(lstm.stream(), ...), or "
            "trace_pool(lstm.pool(...), ...)"
        )
    model = stream.model
    telemetry = Telemetry(model, model_name, tracer, meter)
    options = Options(telemetry, span_name, steps_recorded, Confidence(model, confidence))
    return TracedStream(stream, options, session_id, age_steps)


def trace_pool(
    pool: ModelPool,
    *,
    model_name: str,
    confidence: str | None = None,
    span_name: str = SPAN_NAME,
    steps_recorded: int = STEPS_RECORDED,
    tracer: Tracer | None = None,
    meter: Meter | None = None,
) -> TracedPool:
    """Return a pool that is stepped as before, whose sessions have segments that are spans.

    Sessions that are to be traced are opened by the returned pool. The arguments, and what is
    raised: see `trace`.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> traced = trace_pool(LSTM.random(3, 4).pool(8), model_name="turns")
        >>> call = traced.open(session_id="call-7")
        >>> with call.segment(cohort="short"):
        ...     ys = traced.step([call], np.zeros((1, 3), np.float32))
    """
    if not isinstance(pool, ModelPool):
        raise TypeError(f"expected a StreamPool, found {type(pool).__name__}: see trace, too")
    model = pool.model
    telemetry = Telemetry(model, model_name, tracer, meter)
    options = Options(telemetry, span_name, steps_recorded, Confidence(model, confidence))
    return TracedPool(pool, options)
