"""A pool whose sessions' segments are spans."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from .._arguments import to_natural
from .._handles import Handles, to_handles
from .._process import bookkeeping
from ..lstm import LSTM
from ..model import Model
from ..model_pool import ModelPool
from ..snapshots import Snapshot
from ._durations import BLOCK
from ._segment import Options, Session
from ._telemetry import frames_in

CALLS = 64  # after that many, an eighth of the sessions hand over what they have
TURNS = 8

Store = Callable[[float], None]


class PoolStep(Protocol):
    """`StreamPool.step`."""

    def __call__(self, handles: Handles | Sequence[int], xs: Any, out: Any = None) -> Any: ...


class TracedSession(Session):
    """A session of a `TracedPool`, from its `open`. It stands for its handle in lists of them.

    Attributes:
        handle: what the pool knows it by.
        session_id: what spans carry as session.id, or None.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> traced = trace_pool(LSTM.random(3, 4).pool(8), model_name="turns")
        >>> call = traced.open(session_id="call-7")
        >>> with call.segment(cohort="short") as segment:
        ...     hs = traced.step([call], np.zeros((1, 3), np.float32))
        ...     segment.predict("end of turn", 0.93)
        >>> call.age_steps
        1
    """

    __slots__ = ("_pool", "handle", "pending")

    def __init__(
        self,
        pool: TracedPool,
        handle: int,
        options: Options,
        session_id: str | None,
        age_steps: int,
    ) -> None:
        self._pool = pool
        self.handle = handle
        self.pending: list[float] = []  # times that are not taken yet
        super().__init__(options, session_id, age_steps)

    def __index__(self) -> int:
        return self.handle

    def drain(self) -> None:
        """Hand over to `durations` what has not been taken.

        Any thread may do so, while another appends: what comes after the copy stays.
        """
        with bookkeeping:
            times = self.pending[:]
            del self.pending[: len(times)]
            self.durations.take(times)

    def reset(self, state: Any = None, *, reason: str | None = None) -> None:
        """As `StreamPool.reset`; reason: as for `TracedStream.reset`."""
        self._pool.pool.reset(self.handle, state)
        self._was_reset(reason)

    @property
    def is_finite(self) -> bool:
        """As `Stream.is_finite`."""
        return not len(self._pool.pool.spoiled([self.handle]))

    @property
    def state(self) -> Any:
        """As `StreamPool.state`; assigning one is a reset with the reason "state assigned"."""
        return self._pool.pool.state(self.handle)

    @state.setter
    def state(self, state: Any) -> None:
        self._pool.pool.set_state(self.handle, state)
        self._was_reset("state assigned")

    def snapshot(self) -> bytes:
        """As `StreamPool.snapshot`. The age is not in it: keep `age_steps` beside it."""
        snapshot: bytes = self._pool.pool.snapshot(self.handle)
        return snapshot

    def close(self) -> None:
        """As `StreamPool.close`; ends the segment that is open."""
        self._pool.pool.close(self.handle)
        self._pool._forget(self.handle)
        if self._segment is not None:
            self._segment.end()

    def __repr__(self) -> str:
        return f"<TracedSession {self.handle} of {self._pool.pool!r}>"


def _drop(seconds: float) -> None:
    """Take the time of a session that is not traced."""


class TracedPool:
    """A `StreamPool` or `ModelPool` whose steps are timed; made by `trace_pool`. Same bits, errors.

    Sessions that are opened here are traced; others of the same pool may be stepped along. The
    time of a step is that of the call, which is what each frame in it has waited for.

    Attributes:
        step: as `StreamPool.step`; a list may hold sessions in the place of handles.
        pool: the pool itself.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> traced = trace_pool(LSTM.random(3, 4).pool(8), model_name="turns")
        >>> calls = [traced.open(session_id=name) for name in ("call-7", "call-8")]
        >>> traced.step(calls, np.zeros((2, 3), np.float32)).shape
        (2, 4)
    """

    __slots__ = ("_options", "_sessions", "_stores", "_turn", "pool", "step")

    step: PoolStep

    def __init__(self, pool: ModelPool, options: Options) -> None:
        self.pool: Any = pool
        self._options = options
        self._sessions: dict[int, TracedSession] = {}
        self._stores: dict[int, Store] = {}  # where the times of each session go
        self._turn = 0
        self.step = self._timed_step()

    @property
    def lstm(self) -> LSTM:
        """The LSTM whose sessions these are.

        Raises:
            AttributeError: they are of a whole model: see `model`.
        """
        lstm: LSTM = self.pool.lstm
        return lstm

    @property
    def model(self) -> Model:
        """The model whose sessions these are."""
        model: Model = self.pool.model
        return model

    def open(self, state: Any = None, *, session_id: str | None = None) -> TracedSession:
        """As `StreamPool.open`. session_id: as for `trace`."""
        return self._traced(lambda: self.pool.open(state), session_id)

    def restore(
        self, snapshot: Snapshot, *, session_id: str | None = None, age_steps: int = 0
    ) -> TracedSession:
        """As `StreamPool.restore`: a new session, reset for the reason "restored", of that age."""
        age = to_natural(age_steps, "age_steps")
        return self._traced(lambda: self.pool.restore(snapshot), session_id, age)

    def run(
        self,
        handles: Handles | Sequence[int],
        xs: Any,
        lengths: Any = None,
        out: Any = None,
    ) -> Any:
        """As `StreamPool.run`: each step counts as a T-th of the time, T being the longest."""
        keys = to_handles(handles)
        start = perf_counter()
        ys = self.pool.run(keys, xs, lengths, out)
        took = perf_counter() - start
        steps = np.full(len(keys), frames_in(ys, 1)) if lengths is None else np.asarray(lengths)
        longest = max(steps.tolist(), default=0)
        for key, own in zip(keys.tolist(), steps.tolist(), strict=True):
            session = self._sessions.get(key)
            if session is not None:
                session.pending.extend([took / max(longest, 1)] * own)
                session.drain()
        return ys

    def prepare(self, handles: Handles | Sequence[int]) -> int:
        """As `StreamPool.prepare`, which is in no step's time."""
        prepared: int = self.pool.prepare(handles)
        return prepared

    def spoiled(self, handles: Handles | Sequence[int] | None = None) -> Handles:
        """As `StreamPool.spoiled`; None: all that are open, also those that are not traced."""
        spoiled: Handles = self.pool.spoiled(handles)
        return spoiled

    def __len__(self) -> int:
        return len(self._sessions)

    def __repr__(self) -> str:
        return f"<TracedPool of {self.pool!r}>"

    def _traced(
        self, begin: Callable[[], int], session_id: str | None, restored_age: int | None = None
    ) -> TracedSession:
        handle = begin()  # no signal handler comes before the next line
        try:
            session = TracedSession(self, handle, self._options, session_id, restored_age or 0)
            self._sessions[handle] = session
            self._stores[handle] = session.pending.append
            if restored_age is not None:
                session._was_reset("restored", restored_age)
            return session
        except BaseException:  # also of a signal handler: nobody else would know of the session
            self._forget(handle)
            self.pool.close(handle)
            raise

    def _forget(self, handle: int) -> None:
        self._sessions.pop(handle, None)
        self._stores.pop(handle, None)

    def _tidy(self) -> int:
        """Let an eighth of the sessions hand over full blocks, so that no call does it for all."""
        self._turn = turn = (self._turn + 1) % TURNS
        for session in [*self._sessions.values()][turn::TURNS]:
            if len(session.pending) >= BLOCK:
                session.drain()
        return CALLS

    def _timed_step(self) -> PoolStep:
        """Return a step that takes its own time; see `_durations.timed`.

        Each store is one call of `list.append`, which threads may do at the same time.
        """
        inner, store_of, tidy, clock = self.pool.step, self._stores.get, self._tidy, perf_counter
        left, drop, ndarray = CALLS, _drop, np.ndarray

        def timed_step(handles: Handles | Sequence[int], xs: Any, out: Any = None) -> Any:
            nonlocal left
            if type(handles) is not ndarray:
                handles = to_handles(handles)
            start = clock()
            ys = inner(handles, xs, out)
            took = clock() - start
            if len(handles) == 1:
                store_of(handles.item(), drop)(took)
            else:
                for handle in handles.tolist():
                    store_of(handle, drop)(took)
            left = left - 1 if left else tidy()
            return ys

        return timed_step
