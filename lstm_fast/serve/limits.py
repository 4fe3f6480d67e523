"""What a client of the server may do, and how a connection ends that does more."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import IntEnum

from ..errors import LstmFastError

__all__ = ["Close", "Limits", "Refusal", "Relief", "ServeError"]


class Close(IntEnum):
    """Codes of WebSocket closes. Those below 4000 are of RFC 6455, 7.4.1, and its registry.

    The others end as the status of HTTP does that says the same.
    """

    DONE = 1000  # the client has said that it is
    NO_WEBSOCKET = 1002  # bytes that are none
    TOO_LARGE = 1009  # a message
    FAILED = 1011  # a fault of the server
    RESTART = 1012  # the server stops; where it keeps sessions, the next one takes them up
    BAD_MESSAGE = 4400  # text that is not understood, or PCM that ends within a sample
    BAD_TOKEN = 4401
    IDLE = 4408  # nothing was sent for too long
    TAKEN_OVER = 4409  # another connection goes on with the session
    UNKNOWN = 4410  # no such session is kept, or not its answers since then
    TOO_FAST = 4429  # faster than real time by more than is allowed
    NOT_READING = 4430  # the client does not read its answers
    FULL = 4503  # no room for a session, or the server does not keep up


# What ends so can be taken up again by its id; who has broken a rule begins anew.
KEPT = frozenset({Close.RESTART, Close.IDLE, Close.TAKEN_OVER, Close.NOT_READING, Close.FULL})


class ServeError(LstmFastError):
    """The server cannot start as it was told to."""


class Refusal(Exception):  # noqa: N818 (it is not an error of ours)
    """Why a connection is closed: a code, and a reason in words of at most 123 bytes."""

    def __init__(self, code: Close, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason

    @property
    def message(self) -> bytes:
        """The reason, as a close frame has room for it."""
        return self.reason.encode()[:123].decode(errors="ignore").encode()


@dataclass(frozen=True)
class Limits:
    """Of one server; `docs/serve.md` says why these.

    Attributes:
        sessions: that may be live at once.
        message_bytes: of one message of a client.
        idle: seconds without PCM after which a connection is closed.
        start: seconds within which the first message has to come.
        speed: how many times real time a client may send, in the long run.
        burst: seconds of audio that it may send beyond that, once, as after a stall of the network.
        waiting: windows of all sessions that may wait for a step, 2 KiB each: beyond that sessions
            are ended while there come more, and from twice as many on each that sends.
        unread: bytes of answers that may wait in this process for a client to read.
        replies: answers that are kept of each session, for a client that had not had them all.
        keep: seconds that a session is kept that has no connection.
        leave: seconds that a client has to answer a close.
    """

    sessions: int = 1000
    message_bytes: int = 1 << 18
    idle: float = 60.0
    start: float = 10.0
    speed: float = 4.0
    burst: float = 30.0
    waiting: int = 1 << 16
    unread: int = 1 << 16
    replies: int = 256
    keep: float = 600.0
    leave: float = 2.0

    def __post_init__(self) -> None:
        """Refuse what lets nothing through.

        Raises:
            ValueError: one of them is not above 0.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f"{field.name} is {value}, expected more than 0")


class Relief:
    """Ends sessions of a server that does not keep up, but no more of them than it takes.

    All of them are late then, and all at once would be ended before the first one is missed. So it
    looks at how fast the windows that wait become more, which is the load beyond what the server
    can do, and ends a quarter of that, again and again. What shrinks, as after a restart when all
    come back with what they have kept, is left to shrink.
    """

    LOOK = 0.1  # s between two looks
    STALE = 1.0  # s after which a look is not a comparison any more
    SHARE = 0.25  # of the load beyond, that is ended at a look
    WINDOWS = 31.25  # of a session in a second

    def __init__(self, waiting: int) -> None:
        self._waiting = waiting
        self._before, self._since = 0, -self.STALE
        self._quota = 0

    def ends(self, waiting: int, now: float) -> bool:
        """Say whether a session that sends now has to go; waiting: windows that wait."""
        if waiting <= self._waiting:
            return False
        if waiting > 2 * self._waiting:
            return True
        span = now - self._since
        if span >= self.LOOK:
            beyond = (waiting - self._before) / span / self.WINDOWS  # in sessions
            is_comparison = span < self.STALE and beyond > 0
            self._quota = math.ceil(self.SHARE * beyond) if is_comparison else 0
            self._before, self._since = waiting, now
        if self._quota == 0:
            return False
        self._quota -= 1
        return True
