"""A session that is traced, and a segment of it, which is a span."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .._arguments import to_natural
from ._confidence import Confidence
from ._durations import Durations
from ._telemetry import Attributes, Telemetry, mark_error

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span

Cohort = str | Callable[[int], str]


class Options:
    """What all sessions of one `trace` or `trace_pool` share."""

    __slots__ = ("confidence", "span_name", "steps_recorded", "telemetry")

    def __init__(
        self, telemetry: Telemetry, span_name: str, steps_recorded: int, confidence: Confidence
    ) -> None:
        self.telemetry = telemetry
        self.span_name = span_name
        self.confidence = confidence
        self.steps_recorded = to_natural(steps_recorded, "steps_recorded")


class Session(ABC):
    """One session: the times of its steps, the age of its state, and its open segment.

    Belongs to one thread at a time, as the session itself does.
    """

    __slots__ = ("_options", "_reason", "_reset", "_segment", "_since", "durations", "session_id")

    def __init__(self, options: Options, session_id: str | None, age_steps: int) -> None:
        self._options = options
        self.session_id = session_id
        self.durations = Durations()
        self._segment: Segment | None = None
        self._since = -to_natural(age_steps, "age_steps")  # the count of steps at the last reset
        self._reset = age_steps == 0  # since the last segment
        self._reason: str | None = "new session" if self._reset else None

    @abstractmethod
    def drain(self) -> None:
        """Hand over to `durations` what has not been taken."""

    @property
    def age_steps(self) -> int:
        """Steps that the state has taken since it was last reset or assigned."""
        self.drain()
        return self.durations.count - self._since

    def segment(
        self,
        *,
        cohort: Cohort | None = None,
        window_start: int | None = None,
        window_length: int | None = None,
        context: Context | None = None,
    ) -> Segment:
        """Begin a segment: an utterance, a window of events, whatever one answer is given for.

        A span begins here, and ends with the `with` block, or with `Segment.end`. It is a child of
        the caller's current span, and does not become the current one, so that the segments of
        sessions that are interleaved lie side by side.

        Args:
            cohort: what kind of sequence it is, such as "short"; or a function that says so when
                the segment ends, of the number of its steps. Few different ones: metrics carry it.
            window_start: where in the caller's sequence the segment's window begins, in steps.
            window_length: how many steps the window has; None: as many as the segment, where it has
                a start.
            context: an OpenTelemetry context to be a child of; None is the caller's.

        Raises:
            RuntimeError: this session's last segment has not ended.
            TypeError, ValueError: window_start or window_length is not an integer, or negative.
        """
        if self._segment is not None:
            raise RuntimeError("this session's last segment is still open: end it first")
        attributes: Attributes = {}
        if self.session_id is not None:
            attributes["session.id"] = self.session_id
        for name, value in (("start", window_start), ("length", window_length)):
            if value is not None:
                attributes[f"lstm.window.{name}"] = to_natural(value, f"window_{name}")
        if isinstance(cohort, str):
            attributes["lstm.sequence.cohort"] = cohort
        self.drain()
        self.durations.restart()
        self._segment = Segment(self, self._options, cohort, attributes, context)
        return self._segment

    def _was_reset(self, reason: str | None, age_steps: int = 0) -> None:
        """Note that the state is another one now."""
        self.drain()
        self._since = self.durations.count - age_steps
        self._reset, self._reason = True, reason

    def _segment_ended(self) -> Attributes:
        """Return what is to be said of the state, and be ready for the next segment."""
        attributes: Attributes = {
            "lstm.state.reset": self._reset,
            "lstm.state.age_steps": self.age_steps,
        }
        if self._reset and self._reason is not None:
            attributes["lstm.state.reset_reason"] = self._reason
        self._segment, self._reset, self._reason = None, False, None
        return attributes


class Segment:
    """A segment of a session, and its span; made by `segment()`.

    Attributes:
        span: the OpenTelemetry span. `opentelemetry.trace.use_span(segment.span)` makes it the
            current one, for spans or logs that belong inside.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> traced = trace(LSTM.random(3, 4).stream(), model_name="turns")
        >>> segment = traced.segment(cohort="short")  # or in a `with` block, which ends it
        >>> h = traced.step(np.zeros(3, np.float32))
        >>> segment.predict("end of turn", 0.93, gold="end of turn")
        >>> segment.end()
    """

    __slots__ = (
        "_begin",
        "_cohort",
        "_confidence",
        "_open",
        "_options",
        "_prediction",
        "_session",
        "_window",
        "span",
    )

    def __init__(
        self,
        session: Session,
        options: Options,
        cohort: Cohort | None,
        attributes: Attributes,
        context: Context | None,
    ) -> None:
        self._session = session
        self._options = options
        self._cohort = cohort
        self._window = "lstm.window.start" in attributes and "lstm.window.length" not in attributes
        self._confidence: float | None = None
        self._prediction: Attributes = {}
        self._begin = session.durations.count
        self._open = True
        self.span: Span = options.telemetry.start(options.span_name, attributes, context)

    def predict(self, label: object, confidence: Any = None, *, gold: object = None) -> None:
        """Note what was made of this segment; a second call replaces the first.

        Args:
            label: what was predicted; its `str` is what is written.
            confidence: how sure that is, 0 to 1; or what a step of a whole model returned: the
                value of its output, the largest where that has several. Of several outputs it is
                the one that `trace` was told. NaN, which a spoiled session gives, stands on the
                span but not in the metrics, whose sums it would spoil for good.
            gold: the right label where it is known.

        Raises:
            RuntimeError: the segment has ended.
            TypeError, ValueError: confidence is not a number, or outside 0 to 1; or it has several
                outputs, and `trace` was not told which.
        """
        if not self._open:
            raise RuntimeError("this segment has ended: a prediction comes before that")
        prediction: Attributes = {"lstm.prediction.label": str(label)}
        if confidence is not None:
            confidence = self._options.confidence.read(confidence)
            if confidence < 0 or confidence > 1:
                raise ValueError(f"confidence must be within 0 and 1, found {confidence}")
            prediction["lstm.prediction.confidence"] = confidence
        if gold is not None:
            prediction["lstm.gold.label"] = str(gold)
        self._confidence, self._prediction = confidence, prediction

    def end(self, error: BaseException | None = None) -> None:
        """End the span and record the metrics; nothing where it has ended already.

        error: what made the segment fail.
        """
        if not self._open:
            return
        self._open = False
        state = self._session._segment_ended()
        try:
            length = self._session.durations.count - self._begin
            cohort = self._cohort(length) if callable(self._cohort) else self._cohort
            cohort = None if cohort is None else str(cohort)
            if self.span.is_recording():
                self.span.set_attributes({**state, **self._prediction, **self._facts(length)})
                if cohort is not None:
                    self.span.set_attribute("lstm.sequence.cohort", cohort)
            if error is not None:
                mark_error(self.span, error)
        finally:
            self.span.end()
        self._record(cohort)

    def _facts(self, length: int) -> Attributes:
        """Return what is to be said of the steps, of which there are length."""
        facts: Attributes = {"lstm.sequence.length": length}
        if self._window:
            facts["lstm.window.length"] = length
        if length:
            durations = self._session.durations
            facts["lstm.step.duration.max"] = durations.max
            p50, p99 = durations.percentiles(0.5, 0.99)
            facts["lstm.step.duration.p50"], facts["lstm.step.duration.p99"] = p50, p99
        return facts

    def _record(self, cohort: str | None) -> None:
        """Record the metrics, which carry nothing that there are many of."""
        telemetry, shared = self._options.telemetry, self._options.telemetry.shared
        if cohort is not None:
            shared = {**shared, "lstm.sequence.cohort": cohort}
        for duration in self._session.durations.sample(self._options.steps_recorded):
            telemetry.instruments.duration.record(duration, shared)
        if self._confidence is not None and math.isfinite(self._confidence):
            telemetry.instruments.confidence.record(self._confidence, shared)

    def __enter__(self) -> Segment:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end(None if isinstance(error, GeneratorExit) else error)
