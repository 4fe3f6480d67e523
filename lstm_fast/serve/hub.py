"""All live calls of a server: who may come in, what is kept of them, and how they leave."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..errors import PoolFullError, SnapshotError
from ..model_pool import ModelPool
from .batcher import FrameBatcher
from .calls import Call, Write
from .keeping import Kept, Store
from .limits import KEPT, Close, Limits, Refusal, Relief
from .metrics import Meter
from .wire import Start

if TYPE_CHECKING:
    from ..tracing import TracedPool

__all__ = ["Hub"]

log = logging.getLogger("lstm_fast.serve")
STOPPED = "the server stops: come back with your session"
LOST = "the server stops, and keeps no sessions: begin anew"
LOOK = 1.0  # seconds between two looks at who is idle
SWEEP = 30  # looks between two at what was kept for too long
TICK = 0.001  # s; eight rows of Silero VAD already cost in a step what thirty do
PATIENCE = 1.0  # seconds that a checkpoint waits for the answers of one session


class Hub:
    """The calls of one server, over one pool.

    Args:
        pool: of a model with one input of samples and one output, the probability.
        limits: of the server.
        store: keeps sessions without a connection.
        checkpoint: seconds within which each live session is written to the store; 0: only when it
            leaves. What came after is lost where this process is killed, and the client knows.
    """

    def __init__(
        self,
        pool: ModelPool | TracedPool,
        limits: Limits,
        store: Store,
        checkpoint: float = 0,
    ) -> None:
        self.limits, self.store, self.meter = limits, store, Meter()
        self.batcher = FrameBatcher(
            pool,
            max_delay=TICK,
            max_waiting=4 * limits.waiting + 1024,  # calls stop taking at half of that
            max_per_session=4 * limits.waiting + 1024,
        )
        self._relief = Relief(limits.waiting)
        self.calls: dict[str, Call] = {}
        self.draining = False
        self._checkpoint = checkpoint
        self._traced = hasattr(pool, "pool")
        self._leaving: dict[str, asyncio.Future[None]] = {}  # done when the session is kept
        self._connections: dict[str, Callable[[Refusal], None]] = {}

    def gauges(self) -> Iterator[tuple[str, str, float]]:
        """Yield name, help and value of what is so now."""
        batcher = self.batcher
        yield "sessions", "Live sessions.", len(self.calls)
        yield "sessions_limit", "How many there may be.", self.limits.sessions
        yield "sessions_kept", "Sessions without a connection that are kept.", len(self.store)
        yield "windows_waiting", "Windows that wait for a step.", batcher.waiting
        yield "steps", "Steps of the pool so far.", batcher.steps
        yield "step_seconds", "Seconds spent in them so far.", batcher.step_seconds
        yield "draining", "1 while the server stops.", int(self.draining)

    @asynccontextmanager
    async def call(
        self,
        start: Start,
        write: Write,
        unread: Callable[[], int],
        end: Callable[[Refusal], None],
    ) -> AsyncIterator[Call]:
        """Begin a call, or take one up; whatever ends it, it is kept if it may go on.

        Raises:
            Refusal: there is no room, or nothing to take up; or a rule is broken inside.
        """
        if self.draining:
            raise Refusal(Close.RESTART, "the server stops: try again")
        if len(self.calls) >= self.limits.sessions and start.session not in self.calls:
            raise Refusal(Close.FULL, f"{self.limits.sessions} sessions are live: try again later")
        kept = await self._begin(start)
        is_new = start.session is None
        told: dict[str, Any] = {"session_id": kept.session} if self._traced else {}
        if self._traced and not is_new:
            told["age_steps"] = kept.windows
        try:
            async with self.batcher.session(None if is_new else kept.model, **told) as session:
                rules = (self.limits, self.meter, self._relief)
                call = Call(kept, start.received, session, *rules, write, unread, end)
                call.greet()
                if is_new:
                    self.meter.begun += 1
                else:
                    self.meter.resumed += 1
                    if self._checkpoint:
                        self._put(kept)  # for it was taken out
                async with self._live(call, end):
                    yield call
        except PoolFullError:
            if not is_new:
                self._put(kept)
            raise Refusal(Close.FULL, "there is no room for a session: try again later") from None
        except SnapshotError as error:
            raise Refusal(Close.UNKNOWN, f"the session cannot go on: {error}") from None

    @asynccontextmanager
    async def _live(self, call: Call, end: Callable[[Refusal], None]) -> AsyncIterator[None]:
        """Have the call among the live ones, and keep it afterwards where it did not end."""
        why: BaseException | None = None
        self.calls[call.id], self._connections[call.id] = call, end
        left = self._leaving[call.id] = asyncio.get_running_loop().create_future()
        try:
            yield
        except BaseException as error:
            why = error
            raise
        finally:
            try:
                call.frozen = True
                await call.settle()  # all that was taken is answered, whatever comes next
                call.part()
                goes_on = not isinstance(why, Refusal) or why.code in KEPT
                if not call.is_done and not call.broken and goes_on:
                    await self._keep(call)
                elif self._checkpoint:
                    self.store.forget(call.id)
            finally:
                del self.calls[call.id], self._connections[call.id], self._leaving[call.id]
                left.set_result(None)
                why = None  # whose frames have it, too

    async def _keep(self, call: Call) -> None:
        """Write a call to the store, with all that it has taken."""
        if not call.is_kept:
            self._put(call.keep(await call.session.snapshot()))

    def _put(self, kept: Kept) -> bool:
        """Keep a session; say whether that went well: one that cannot be kept ends no other."""
        try:
            self.store.put(kept)
        except OSError as error:
            log.error("a session is lost, it cannot be kept: %s", error)
            self.meter.lost += 1
            return False
        return True

    async def _begin(self, start: Start) -> Kept:
        """Return what a call begins with."""
        if start.session is None:
            assert start.rate is not None
            new = secrets.token_urlsafe(16)
            return Kept(new, start.rate, start.options, 0, 0, b"", b"", b"", [])
        if start.session in self.calls:
            self._connections[start.session](
                Refusal(Close.TAKEN_OVER, "another connection goes on with this session")
            )
            await asyncio.shield(self._leaving[start.session])
        try:
            kept = self.store.take(start.session)
        except (SnapshotError, OSError) as error:
            raise Refusal(Close.UNKNOWN, f"the session cannot go on: {error}") from None
        if kept is None:
            raise Refusal(Close.UNKNOWN, "this session is not kept (any more): begin anew")
        return kept

    async def watch(self) -> None:
        """End calls that are idle, forget what was kept for too long, count; until cancelled."""
        for look in count():
            await asyncio.sleep(LOOK)
            self.meter.gather()
            if look % SWEEP == 0:
                try:
                    self.store.sweep()
                except OSError as error:
                    log.error("old sessions cannot be forgotten: %s", error)
            idle = perf_counter() - self.limits.idle
            for name, call in [*self.calls.items()]:
                if call.last < idle and not call.frozen:
                    why = Refusal(Close.IDLE, f"no audio for {self.limits.idle:g} s")
                    self._connections[name](why)

    async def save(self) -> None:
        """Write one live session after the other to the store, over and over; until cancelled."""
        while self._checkpoint:
            begin = asyncio.get_running_loop().time()
            calls = [*self.calls.values()]
            for done, call in enumerate(calls):
                due = begin + self._checkpoint * done / len(calls)
                await asyncio.sleep(due - asyncio.get_running_loop().time())
                await self.checkpoint(call)
            due = begin + self._checkpoint
            await asyncio.sleep(max(0.01, due - asyncio.get_running_loop().time()))

    async def checkpoint(self, call: Call) -> None:
        """Write a live session to the store, once all that it has taken is answered."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(call.settle(), PATIENCE)
        is_live = self.calls.get(call.id) is call and not call.frozen and call.is_settled
        if is_live and self._put(call.keep(await call.session.snapshot())):
            call.saved()

    async def drain(self) -> int:
        """Answer what was taken, keep all sessions, end their calls; return how many were kept.

        Nothing is lost: what comes meanwhile was not taken, which the client is told when it
        comes back.
        """
        self.draining = True
        calls = [call for call in self.calls.values() if not call.frozen]
        for call in calls:
            call.frozen = True
        await self.batcher.close()
        snapshots = await self.batcher.snapshots(
            call.session for call in calls if not call.session.closed
        )
        kept = 0
        for call in calls:
            if call.session in snapshots and not call.broken:
                kept += self._put(call.keep(snapshots[call.session]))
                call.is_kept = True
        reason = STOPPED if self.store.directory is not None else LOST
        for end in [*self._connections.values()]:
            end(Refusal(Close.RESTART, reason))
        return kept
