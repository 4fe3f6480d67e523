"""A stream whose segments are spans."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Any

from .._arguments import to_natural
from ..lstm import LSTM
from ..model import Model
from ..model_stream import ModelStream
from ..snapshots import Snapshot
from ._durations import StepCall, timed
from ._segment import Options, Session
from ._telemetry import frames_in


class TracedStream(Session):
    """A `Stream` or `ModelStream` whose steps are timed; made by `trace`. Same bits and errors.

    What it offers here goes to the stream, `stream`, and is noted. Whatever is done to that
    directly is not: its steps are in no length or age, and its resets are unknown.

    Attributes:
        step: as `Stream.step`. Called outside of a segment it counts for `age_steps` alone.
        session_id: what spans carry as session.id, or None.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> traced = trace(LSTM.random(3, 4).stream(), model_name="turns")
        >>> hs = traced.run(np.zeros((10, 3), np.float32))
        >>> traced.age_steps
        10
        >>> traced.reset(reason="end of turn")  # which the next span says
        >>> traced.age_steps
        0
    """

    __slots__ = ("_drain", "_stream", "step")

    step: StepCall
    _drain: Callable[[], None]

    def __init__(
        self,
        stream: ModelStream,
        options: Options,
        session_id: str | None,
        age_steps: int,
    ) -> None:
        super().__init__(options, session_id, age_steps)
        self._stream = stream
        self.step, self._drain = timed(stream.step, self.durations)

    @property
    def stream(self) -> Any:
        """The stream itself."""
        return self._stream

    @property
    def lstm(self) -> LSTM:
        """The LSTM that this is a stream of.

        Raises:
            AttributeError: it is one of a whole model: see `model`.
        """
        lstm: LSTM = self.stream.lstm
        return lstm

    @property
    def model(self) -> Model:
        """The model that this is a stream of."""
        return self._stream.model

    def drain(self) -> None:
        """Hand over to `durations` what has not been taken."""
        self._drain()

    def run(self, xs: Any, out: Any = None) -> Any:
        """As `Stream.run`: T steps, each of which counts as a T-th of the time."""
        start = perf_counter()
        ys = self._stream.run(xs, out)
        took = perf_counter() - start
        self.drain()
        steps = frames_in(ys, 0)
        self.durations.take([took / max(steps, 1)] * steps)
        return ys

    def prepare(self) -> None:
        """As `Stream.prepare`, which is in no step's time."""
        self._stream.prepare()

    def reset(self, state: Any = None, *, reason: str | None = None) -> None:
        """As `Stream.reset`.

        reason: why, in a few words that do not change from one to the next, such as "end of call";
        it goes to the span of the segment that is open, or else of the next one.
        """
        self._stream.reset(state)
        self._was_reset(reason)

    @property
    def is_finite(self) -> bool:
        """As `Stream.is_finite`."""
        return self._stream.is_finite

    @property
    def state(self) -> Any:
        """As `Stream.state`; assigning one is a reset with the reason "state assigned"."""
        return self._stream.state

    @state.setter
    def state(self, state: Any) -> None:
        self._stream.state = state
        self._was_reset("state assigned")

    def snapshot(self) -> bytes:
        """As `Stream.snapshot`. The age is not in it: keep `age_steps` beside it."""
        return self._stream.snapshot()

    def restore(self, snapshot: Snapshot, *, age_steps: int = 0) -> None:
        """As `Stream.restore`: a reset with the reason "restored", to a state of that age."""
        age = to_natural(age_steps, "age_steps")
        self._stream.restore(snapshot)
        self._was_reset("restored", age)

    def __repr__(self) -> str:
        return f"<TracedStream of {self._stream!r}>"
