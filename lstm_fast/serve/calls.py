"""One live call of the server: PCM in, an answer for each window out, and its way through a stop.

Each answer is a function of the samples before it alone, to the bit: not of how they were cut into
messages, of who else was there, nor of how often the session was kept and taken up again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from numpy import frombuffer, multiply

from ..vad import Chunks, SpeechEvent, SpeechEvents
from . import wire
from .keeping import Kept
from .limits import Close, Limits, Refusal, Relief
from .metrics import Meter
from .sessions import Session

__all__ = ["Call"]

Write = Callable[[bytes], None]
PCM16, FLOAT32 = np.dtype("<i2"), np.dtype(np.float32)
SCALE = np.float32(1 / 32768)  # a power of two: the same bits as a division


def _mute(data: bytes) -> None:
    """Write to nobody: the connection is being closed."""


def _leave(why: Refusal) -> None:
    """Refuse nobody."""


class Call:
    """A session with its connection.

    Args:
        kept: the session as it begins, or as it was kept.
        received: `samples` of the last answer that the client has had.
        session: of the batcher, from that snapshot.
        limits: of the server.
        meter: of the server.
        relief: of the server.
        write: takes bytes for the socket.
        unread: returns how many bytes wait for the client to read.
        end: is called once with the refusal that ends the call where it is not `take` that raises.
    """

    def __init__(
        self,
        kept: Kept,
        received: int,
        session: Session,
        limits: Limits,
        meter: Meter,
        relief: Relief,
        write: Write,
        unread: Callable[[], int],
        end: Callable[[Refusal], None],
    ) -> None:
        self.id, self.rate, self._options = kept.session, kept.rate, kept.options
        self.taken, self.windows = kept.taken, kept.windows
        self.session, self._limits, self._meter = session, limits, meter
        self._chunks = Chunks(kept.rate)
        told: dict[str, Any] = {**kept.options}
        self._events = SpeechEvents(**told)
        if kept.taken:
            self._chunks.restore(kept.chunks)
            self._events.restore(kept.events)
        self._relief = relief
        # Window n ends with this many samples of the client's: n times the first over the second.
        self._ends = (self._chunks.size * kept.rate, self._chunks.model_rate)
        is_whole = kept.rate == self._chunks.model_rate
        self._window_bytes = 2 * self._chunks.size if is_whole else -1  # of one that is no other
        self._replies = deque(kept.replies, limits.replies)
        self._received = received
        self._write, self._unread, self._end = write, unread, end
        self._arrived: deque[float] = deque()  # of the message that completed each window
        self._push, self._receive = self._chunks.push, self._answered
        self._settled: asyncio.Future[None] | None = None
        self._allowed, self._since = limits.burst, perf_counter()
        self.last = self._since  # message
        self.frozen = False  # whether what comes is left to the next server
        self.broken = False  # whether a window was lost, so that the session cannot go on
        self.is_done = self.is_kept = False  # whether it has ended; whether it is in the store
        traced = session.traced
        self._segment = None if traced is None else traced.segment()

    @property
    def ready(self) -> bytes:
        """What the client is told first: from which sample on it has to send."""
        return wire.text(
            type="ready",
            session=self.id,
            samples=self.taken,
            rate=self.rate,
            windows=self.windows,
            window_seconds=self._chunks.size / self._chunks.model_rate,
            delay_seconds=self._chunks.delay,
            limits={
                "message_bytes": self._limits.message_bytes,
                "speed": self._limits.speed,
                "idle_seconds": self._limits.idle,
            },
        )

    def greet(self) -> None:
        """Say `ready`, and repeat the answers that the client has not had.

        Raises:
            Refusal: they are not kept any more.
        """
        per, rate = self._ends
        had = ((self._received + 1) * rate - 1) // per  # windows that end by then
        if had < self.windows - len(self._replies):
            first = self._replies[0][0] if self._replies else self.taken
            raise Refusal(
                Close.UNKNOWN, f"answers before sample {first} are not kept any more: begin anew"
            )
        self._write(wire.frame(self.ready))
        for samples, reply in self._replies:
            if samples > self._received:
                self._write(wire.frame(reply))

    def take(self, data: bytes) -> None:
        """Take a message of PCM16.

        Raises:
            Refusal: it is none, or too much.
        """
        if self.frozen:
            return
        now = perf_counter()
        size, limits = len(data), self._limits
        if size > limits.message_bytes:
            raise Refusal(
                Close.TOO_LARGE, f"a message of {size} bytes: {limits.message_bytes} are taken"
            )
        if size % 2:
            raise wire.bad(f"a message of {size} bytes ends within a sample of PCM16")
        seconds = size / (2 * self.rate)
        allowed = self._allowed + limits.speed * (now - self._since) - seconds
        if allowed < 0:
            raise Refusal(
                Close.TOO_FAST,
                f"more than {limits.burst:g} s of audio and {limits.speed:g} times real time",
            )
        session = self.session
        if self._relief.ends(session.batcher.waiting, now):
            raise Refusal(Close.FULL, "the server does not keep up: come back with your session")
        self._allowed, self._since = min(allowed, limits.burst), now
        self.last = now
        before = self.taken
        self.taken = before + size // 2
        meter = self._meter
        meter.frames += 1
        meter.samples_seconds += seconds
        if size == self._window_bytes and not before % self._chunks.size:
            # What most clients send, as `Chunks` would make it, in a third of the time.
            self._arrived.append(now)
            whole = multiply(frombuffer(data, PCM16), SCALE, dtype=FLOAT32)
            session.post(whole, self._receive)
            return
        for chunk in self._push(data):
            self._arrived.append(now)
            session.post(chunk, self._receive)

    async def finish(self) -> None:
        """Answer what is left, as if silence followed, and say that it is all."""
        self.frozen = True
        for chunk in self._chunks.flush():
            self._arrived.append(perf_counter())
            self.session.post(chunk, self._receive)
        await self.settle()
        events = self._events.finish()
        self._count(events)
        found = [{"type": event.kind, "seconds": event.seconds} for event in events]
        done = wire.text(type="done", samples=self.taken, windows=self.windows, events=found)
        self._write(wire.frame(done))
        self.is_done = True

    async def settle(self) -> None:
        """Wait until all that was taken is answered."""
        while self._arrived:
            if self._settled is None or self._settled.done():
                self._settled = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._settled)

    def part(self) -> None:
        """Let go of the connection, once all is answered; what there is to keep stays.

        And of itself: 500 calls that end together and wait for the garbage collector make it stop
        the others for a tenth of a second.
        """
        self._write, self._unread, self._end = _mute, int, _leave
        del self._push, self._receive
        self.frozen = True

    def hung_up(self, is_over: bool) -> None:
        """Note that the client is gone, and whether for good."""
        self.is_done = is_over and not self.is_kept

    def saved(self) -> None:
        """Tell the client that what it has sent until now need not be sent again, come what may."""
        self._write(wire.frame(wire.text(type="saved", samples=self.taken)))

    @property
    def is_settled(self) -> bool:
        """Whether all that was taken is answered."""
        return not self._arrived

    def keep(self, snapshot: bytes) -> Kept:
        """Return what another call goes on from.

        snapshot: of the batcher's session, after all that was taken.
        """
        return Kept(
            self.id,
            self.rate,
            self._options,
            self.taken,
            self.windows,
            snapshot,
            self._chunks.snapshot(),
            self._events.snapshot(),
            list(self._replies),
        )

    def _answered(self, y: Any, error: Exception | None) -> None:
        arrived = self._arrived.popleft()
        if error is None:
            probability = y.item()
            events = self._events.push(probability)
            self.windows = number = self.windows + 1
            per, rate = self._ends
            samples = number * per // rate
            if events:
                self._count(events)
                self._trace(events, probability)
                text = wire.events_text(events)
                reply = wire.WINDOW_WITH % (number, samples, probability, text)
            else:
                reply = wire.WINDOW % (number, samples, probability)
            self._replies.append((samples, reply))
            if samples > self._received:
                self._write(wire.frame(reply))
            self._meter.waits.append(perf_counter() - arrived)
            if self._unread() > self._limits.unread and not self.frozen:
                self._refuse(Close.NOT_READING, "answers are not read")
        else:
            self._meter.dropped += 1
            if not self.broken:
                self.broken = True
                self._refuse(Close.FAILED, f"a step has failed: {error}")
        if self._settled is not None and not self._arrived and not self._settled.done():
            self._settled.set_result(None)

    def _refuse(self, code: Close, reason: str) -> None:
        self.frozen = True
        self._end(Refusal(code, reason))

    def _count(self, events: list[SpeechEvent]) -> None:
        for event in events:
            self._meter.events[event.kind] += 1

    def _trace(self, events: list[SpeechEvent], probability: float) -> None:
        """End the segment of a traced session with its turn, or where speech ends without turns."""
        if self._segment is None:
            return
        last = "turn_end" if "turn_pause_ms" in self._options else "speech_end"
        traced = self.session.traced
        if traced is not None and any(event.kind == last for event in events):
            self._segment.predict(last, probability)
            self._segment.end()
            self._segment = traced.segment()
