"""A part of an asyncio service: frames that arrive within a tick share one step of a pool.

    async with FrameBatcher(lstm.pool(5000)) as batcher:  # one per event loop
        async with batcher.session() as session:  # one per live call
            y = await session.step(frame)  # (I,) to (H,), float32

The pool is of an LSTM or of a whole model, traced or not. Each session gets the bits that a stream
of its own would give it. What else holds:

Order: the frames of a session are stepped in the order in which they were sent, one per tick.

Back-pressure: at most `max_waiting` frames wait for a tick. While there is no room, `step` waits
outside, first come first served, and `submit` raises `OverloadedError`. One session may have
`max_per_session` frames unanswered, wherever they are; beyond that both raise at once: it is
behind, and only its caller knows what to leave out.

Cancellation: as long as its frame has not been taken into a tick, a cancelled call withdraws it,
and the session is as if it had never been sent. Later, the step counts and only the answer is
dropped. Nobody else notices.

Errors: a frame of the wrong shape or dtype is refused to its caller before it meets others. When
`pool.step` raises, or the executor drops the step, each caller in that tick gets a
`StepFailedError` with the cause, no state has changed, and the service goes on. The frame may be
sent again, but stands behind those sent since.

Moving: `session(snapshot)` goes on where a snapshot was taken, and `snapshots()` takes those of all
sessions at one moment, between two steps.

End: leaving `session()` closes the session, however it is left, but never within a step. `close`
answers all that was sent before it, and refuses what comes later.
"""

from __future__ import annotations

import asyncio
import operator
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..errors import PoolFullError
from ..model_pool import ModelPool
from ..pool import StreamPool
from ..snapshots import Snapshot
from ._rows import Rows
from .sessions import Answer, ClosedError, OverloadedError, Post, Receive, Session, StepFailedError

if TYPE_CHECKING:
    from ..tracing import TracedPool  # which needs OpenTelemetry

__all__ = ["FrameBatcher"]


class FrameBatcher:
    """Collects the frames of many sessions into steps of one pool, on the event loop it is made on.

    Nobody else may use the sessions that it opens. `steps`, `frames` and `step_seconds` count what
    was stepped, and the time spent in that.

    Args:
        pool: where the sessions live: of `LSTM.pool`, `Model.pool` or `tracing.trace_pool`.
        max_batch: sessions in one step. That many waiting are stepped at once.
        max_delay: seconds after which the first one waiting is stepped, with whoever came since.
            asyncio's timers are late by up to a millisecond.
        max_waiting: frames that may wait for a step.
        max_per_session: frames of one session that may be unanswered.
        grow: room to add to a full pool; with 0 `session()` raises `PoolFullError`.
        executor: a thread to step in; None steps in the event loop itself. See `_tick`.
        prepare: whether to use the time after a step, if nothing waits, for `pool.prepare`, so that
            sessions with a steady rhythm are answered sooner; see `LSTM.pool(prepared=...)`.

    Example:
        >>> import asyncio
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> async def call(batcher):
        ...     async with batcher.session() as session:
        ...         return await session.step(np.zeros(3, np.float32))
        >>> async def main():
        ...     async with FrameBatcher(LSTM.random(3, 4).pool(10)) as batcher:
        ...         return await asyncio.gather(*(call(batcher) for _ in range(5)))
        >>> len(asyncio.run(main()))
        5
    """

    def __init__(
        self,
        pool: StreamPool | ModelPool | TracedPool,
        *,
        max_batch: int = 256,
        max_delay: float = 0.002,
        max_waiting: int = 4096,
        max_per_session: int = 4,
        grow: int = 0,
        executor: Executor | None = None,
        prepare: bool = False,
    ) -> None:
        if min(max_batch, max_waiting, max_per_session) < 1:
            raise ValueError("max_batch, max_waiting and max_per_session must be 1 or more")
        self.steps, self.frames, self.step_seconds = 0, 0, 0.0
        self._opens: Any = pool
        self._pool: Any = getattr(pool, "pool", pool)  # that which a traced one is around
        self._loop = asyncio.get_running_loop()
        self._max_batch, self._max_delay = max_batch, max_delay
        self._max_waiting, self._max_per_session = max_waiting, max_per_session
        self._grow, self._executor, self._prepare = grow, executor, prepare
        self._rows = Rows(pool.model, max_batch)
        self._sessions: dict[Session, None] = {}  # that are open

        self._waiting = 0  # frames that are let in and not taken
        self._outside: OrderedDict[Answer | Post, None] = OrderedDict()  # those that wait for room
        self._ready: dict[Session, None] = {}  # in this order; whose first frame can be taken
        self._due = 0.0  # when the first of them has waited long enough
        self._timer: asyncio.Handle | None = None
        self._timer_due = 0.0
        self._stepping = self._closing = False
        self._watchers: list[asyncio.Future[None]] = []  # of the end of this step

    @property
    def waiting(self) -> int:
        """How many frames wait for a step now."""
        return self._waiting

    @asynccontextmanager
    async def session(
        self, snapshot: Snapshot | None = None, **told: Any
    ) -> AsyncIterator[Session]:
        """Open a session and close it in the end.

        Args:
            snapshot: of the same model, to go on where it was taken; None begins from the start.
            told: what else `open` or `restore` of a traced pool takes: session_id, age_steps.

        Raises:
            PoolFullError: the pool is full and may not grow.
            ClosedError: the service is closed.
            SnapshotError, TypeError, OSError: as `ModelPool.restore`.
        """
        session = await self._open(snapshot, told)
        try:
            yield session
        finally:
            self._close(session)

    async def snapshots(self, sessions: Iterable[Session] | None = None) -> dict[Session, bytes]:
        """Return snapshots of these sessions, or of all that are open, at one moment.

        That is between two steps: each holds all frames of its session that were taken, and none
        that waits. After `close` those are all that were sent.

        Raises:
            ClosedError: one of those named is closed.
        """
        while self._stepping:
            await self._step_end()
        taken = [*(self._sessions if sessions is None else sessions)]
        if any(session.closed for session in taken):
            raise ClosedError("the session is closed")
        return {session: self._pool.snapshot(session.handle) for session in taken}

    async def close(self) -> None:
        """Answer all that was sent, refuse what comes. Sessions stay open until they are left."""
        self._closing = True
        while self._ready or self._stepping:
            self._arm()
            await self._step_end()

    async def __aenter__(self) -> FrameBatcher:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    def send(self, session: Session, frame: Any, wait: bool) -> Answer:
        """Take a frame in: see `Session.step` and `Session.submit`."""
        kept = self._rows.check(frame)
        room = self._check_room(session, wait)
        answer = Answer(loop=self._loop)
        answer.session, answer.frame = session, kept
        session.frames.append(answer)
        if room:
            self._let_in(answer)
        else:
            self._outside[answer] = None
        return answer

    def post(self, session: Session, frame: Any, receive: Receive) -> None:
        """Take a frame in: see `Session.post`."""
        kept = self._rows.check(frame)
        self._check_room(session, wait=False)
        session.frames.append(Post(session, kept, receive))
        self._waiting += 1
        if session not in self._ready:
            self._file(session)

    def complain(self, message: str, error: Exception) -> None:
        """Tell whoever looks after the loop that a caller's function has raised."""
        self._loop.call_exception_handler({"message": message, "exception": error})

    def _check_room(self, session: Session, wait: bool) -> bool:
        """Say whether there is room for a frame of this session."""
        if session.closed or self._closing:
            raise ClosedError(f"the {'session' if session.closed else 'service'} is closed")
        if len(session.frames) + session.stepping >= self._max_per_session:
            raise OverloadedError(f"{self._max_per_session} frames of this session are unanswered")
        room = self._waiting < self._max_waiting
        if not room and not wait:
            raise OverloadedError(f"{self._waiting} frames are waiting, there is no room for more")
        return room

    def withdraw(self, answer: Answer | Post) -> None:
        """Make it as if this frame, which has not been taken, had never been sent."""
        answer.frame = None
        answer.session.frames.remove(answer)
        if answer in self._outside:
            del self._outside[answer]
        else:
            self._waiting -= 1
            self._let_in_more()
        self._file(answer.session)

    def _let_in(self, answer: Answer | Post) -> None:
        if answer.keeps:
            answer.frame = self._rows.copy(answer.frame)  # the caller may use its array again
        self._waiting += 1
        if answer.session not in self._ready:
            self._file(answer.session)

    def _let_in_more(self) -> None:
        while self._outside and self._waiting < self._max_waiting:
            self._let_in(self._outside.popitem(last=False)[0])

    def _file(self, session: Session) -> None:
        """See to it that the session is among the ready ones if and only if it is."""
        if not session.frames or session.frames[0] in self._outside:
            self._ready.pop(session, None)
        elif session not in self._ready:
            if not self._ready:
                self._due = self._loop.time() + self._max_delay
            self._ready[session] = None
            if self._timer is None or len(self._ready) == self._max_batch:
                self._arm()

    def _arm(self) -> None:
        """Have the next tick when it is due; while a step is running, `_finish` does this."""
        if self._stepping or not self._ready:
            return
        at_once = self._closing or len(self._ready) >= self._max_batch
        due = 0.0 if at_once else self._due
        if self._timer is not None:
            if self._timer_due <= due:
                return
            self._timer.cancel()
        self._timer_due = due
        self._timer = self._loop.call_at(due, self._tick)

    def _tick(self) -> None:
        """Take the first frame of each session that is ready, and step them."""
        self._timer = None
        if not self._ready:  # what was there has been withdrawn
            self._finish([], None)
            return
        self._stepping = True
        batch = []
        for session in list(islice(self._ready, self._max_batch)):
            del self._ready[session]
            session.stepping = True
            batch.append(session.frames.pop(0))
            if session.frames:
                self._file(session)
        self._due = 0.0  # who is ready still has waited long enough by the end of this step
        count = len(batch)
        handles = [answer.session.handle for answer in batch]
        self._rows.fill(handles, [answer.frame for answer in batch])
        for answer in batch:
            answer.frame = None
        self._waiting -= count
        self._let_in_more()
        # Small layers are best stepped right here: 100 sessions of 128 -> 128 hold up the loop for
        # half a millisecond, whereas a thread has to wait for Python's lock before and after, which
        # doubled the p99 of 1000 sessions and took a quarter more CPU, on two cores. Where a step
        # takes longer than a tick, the loop must not stand still: give it a thread, with a core.
        error: Exception | None = None
        try:
            if self._executor is not None:
                step = self._loop.run_in_executor(self._executor, self._step, count)
                step.add_done_callback(partial(self._stepped, batch))
                return
            self._step(count)
        except Exception as raised:
            error = raised
        except BaseException as raised:  # Ctrl-C ends the loop, where others must not wait for ever
            self._finish(batch, raised)
            raise
        self._finish(batch, error)

    def _stepped(self, batch: list[Answer | Post], step: asyncio.Future[None]) -> None:
        """Take what the executor has made of a step."""
        if step.cancelled():
            dropped = RuntimeError("the executor has dropped it: was it shut down?")
            self._finish(batch, dropped)
        else:
            self._finish(batch, step.exception())

    def _step(self, count: int) -> None:
        begin = perf_counter()
        self._rows.step(self._opens, count)
        self.step_seconds += perf_counter() - begin
        self.steps += 1
        self.frames += count

    def _finish(self, batch: Sequence[Answer | Post], error: BaseException | None) -> None:
        """Answer the callers, close what was left meanwhile, and go on, whatever comes."""
        try:
            for at, answer in enumerate(batch):
                self._answer(answer, at, error, len(batch))
        finally:
            self._stepping = False
            for watcher in self._watchers:
                if not watcher.done():
                    watcher.set_result(None)
            self._watchers.clear()
            self._arm()
        if self._prepare and batch:
            self._loop.call_soon(self._prepare_next, batch)

    def _answer(
        self, answer: Answer | Post, at: int, error: BaseException | None, sessions: int
    ) -> None:
        session = answer.session
        session.stepping = False
        if error is None:
            rows = self._rows
            answer.give(rows.kept_output(at) if answer.keeps else rows.output(at))
        else:
            reason = f"{error}" or type(error).__name__
            failure = StepFailedError(f"the step of {sessions} sessions has raised: {reason}")
            failure.__cause__ = error
            answer.refuse(failure)
        if session.closed:
            self._end(session)

    def _prepare_next(self, batch: Sequence[Answer | Post]) -> None:
        """Prepare these sessions, if their callers, who were woken first, leave time for it."""
        if not self._stepping and not self._ready:
            sessions = (answer.session for answer in batch)
            self._pool.prepare([session.handle for session in sessions if not session.closed])

    def _step_end(self) -> asyncio.Future[None]:
        """Return what is done when this step or the next one is.

        Who waits for it goes on before another step begins, as the loop calls back in order.
        """
        watcher = self._loop.create_future()
        self._watchers.append(watcher)
        return watcher

    async def _open(self, given: Snapshot | None, told: dict[str, Any]) -> Session:
        # Of a file once, not each time that there is no room yet.
        snapshot = None if given is None else self._pool.model._snapshot_bytes(given)
        while not self._closing:
            try:
                return self._opened(snapshot, told)
            except PoolFullError:
                if self._stepping:  # a session may be waiting to be closed, and nothing can grow
                    await self._step_end()
                elif self._grow:
                    self._pool.grow(self._grow)
                else:
                    raise
        raise ClosedError("the service is closed")

    def _opened(self, snapshot: bytes | None, told: dict[str, Any]) -> Session:
        pool = self._opens
        opened = pool.open(**told) if snapshot is None else pool.restore(snapshot, **told)
        handle = operator.index(opened)
        try:
            session = Session(self, handle, None if pool is self._pool else opened)
            self._sessions[session] = None
            return session
        except BaseException:  # of a signal handler: nobody else knows of the handle
            self._pool.close(handle) if pool is self._pool else opened.close()
            raise

    def _close(self, session: Session) -> None:
        session.closed = True
        self._sessions.pop(session, None)
        for answer in list(session.frames):
            self.withdraw(answer)
            answer.refuse(ClosedError("the session was closed before the frame was taken"))
        if not session.stepping:
            self._end(session)

    def _end(self, session: Session) -> None:
        if session.traced is None:
            self._pool.close(session.handle)
        else:
            session.traced.close()
