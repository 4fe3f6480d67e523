"""What came in within a tick of an event loop is computed together, in one step of a pool."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from ._sessions import Pool, Session, Window


class Rider(Protocol):
    """What has one session and computes in ticks."""

    def _next_window(self, data: bytes) -> tuple[Session, Window] | None:
        """Return the session and the window that data completes; None where it is still short."""

    def _take(self, data: bytes, ahead: float | None) -> Any:
        """Take data; `ahead` is the probability of its first window, or None to compute it, too."""


class Tick:
    """What came in since the last tick of an event loop, and when the next one is.

    The first windows of all who came ride in one step of a pool. Whatever `_take` needs beyond that
    it computes itself, in the order in which it was sent.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._waiting: dict[asyncio.Future[Any], tuple[Rider, bytes]] = {}
        self.steps = 0  # of pools, in which first windows rode
        self.windows = 0  # that rode in them

    def send(self, rider: Rider, data: bytes) -> asyncio.Future[Any]:
        """Have data taken in the next tick, after what was sent before it."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        if not self._waiting:
            if self._seconds > 0:
                loop.call_later(self._seconds, self._run)
            else:
                loop.call_soon(self._run)
        self._waiting[answer] = rider, data
        return answer

    def withdraw(self, answer: asyncio.Future[Any]) -> None:
        """Make it as if this had never been sent, unless it was taken."""
        self._waiting.pop(answer, None)

    def _run(self) -> None:
        """Take all that waits. No error of one is an error of another."""
        calls, self._waiting = self._waiting, {}
        for answer in [answer for answer in calls if answer.done()]:
            del calls[answer]  # it was cancelled, and its caller had no turn since
        try:
            ahead = self._ahead(calls.values())
            for answer, (rider, data) in calls.items():
                try:
                    answer.set_result(rider._take(data, ahead.pop(rider, None)))
                except Exception as error:
                    answer.set_exception(error)
        finally:
            for answer in calls:  # Ctrl-C ends the loop, and nobody must wait for ever
                if not answer.done():
                    answer.cancel()

    def _ahead(self, calls: Iterable[tuple[Rider, bytes]]) -> dict[Rider, float]:
        """Return the probability of the first window of each session that has one."""
        first: dict[Rider, bytes] = {}
        for rider, data in calls:
            first.setdefault(rider, data)
        groups: dict[Pool, list[tuple[Rider, Session, Window]]] = {}
        for rider, data in first.items():
            try:
                found = rider._next_window(data)
            except Exception:  # `_take` raises it to the one whom it concerns
                continue
            if found is not None:
                session, window = found
                groups.setdefault(session.pool, []).append((rider, session, window))
        ahead: dict[Rider, float] = {}
        for pool, group in groups.items():
            riders, sessions, windows = zip(*group, strict=True)
            try:
                ahead.update(zip(riders, pool.step(sessions, windows), strict=True))
            except Exception:  # of one session; nothing has changed, so each goes on alone
                continue
            self.steps += 1
            self.windows += len(riders)
        return ahead


_ticks: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[float, Tick]] = WeakKeyDictionary()


def tick_of_this_loop(seconds: float) -> Tick:
    """Return what all in this event loop share who asked for ticks of this length.

    Raises:
        RuntimeError: no event loop is running in this thread.
    """
    of_loop = _ticks.setdefault(asyncio.get_running_loop(), {})
    found = of_loop.get(seconds)
    if found is None:
        found = of_loop[seconds] = Tick(seconds)
    return found
