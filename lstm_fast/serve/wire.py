"""What goes over a WebSocket: JSON texts of a client, checked; texts and frames of the server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ..vad import Chunks, SpeechEvent, SpeechEvents
from .limits import Close, Refusal

PATH = "/stream"
SESSION = re.compile(r"[A-Za-z0-9_-]{22}")
OPTIONS = {  # of a start message, and what `SpeechEvents` calls them
    "threshold": "threshold",
    "neg_threshold": "neg_threshold",
    "min_speech_ms": "min_speech_duration_ms",
    "min_silence_ms": "min_silence_duration_ms",
    "pad_ms": "speech_pad_ms",
    "turn_pause_ms": "turn_pause_ms",
}
KNOWN = {"type", "token", "session", "received", "rate", *OPTIONS}
MOST_SAMPLES = 1 << 53  # an integer that JavaScript has exactly

WINDOW = b'{"type":"window","window":%d,"samples":%d,"probability":%.9g}'
WINDOW_WITH = b'{"type":"window","window":%d,"samples":%d,"probability":%.9g,"events":%s}'
SHORTEST, SHORT, LONG = 126, 1 << 16, 127  # lengths of RFC 6455, 5.2
TEXT = 0x81  # a whole message of text
HEADERS = [bytes((TEXT, size)) for size in range(SHORTEST)]


@dataclass(frozen=True)
class Start:
    """The first message of a client.

    Attributes:
        token: as given, or None.
        session: the id of a session that is to be taken up; None begins one.
        received: `samples` of the last answer that the client has had of it.
        rate: of the PCM, Hz; None where a session is taken up.
        options: of `SpeechEvents`.
    """

    token: str | None
    session: str | None
    received: int
    rate: int | None
    options: dict[str, float]


def bad(reason: str) -> Refusal:
    """Return the refusal of a message that is none."""
    return Refusal(Close.BAD_MESSAGE, reason)


def read_text(text: str) -> dict[str, Any]:
    """Return a JSON object that a client sent.

    Raises:
        Refusal: it is none.
    """
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise bad("a text message has to be JSON") from None
    if not isinstance(message, dict):
        raise bad("a text message has to be a JSON object")
    return message


def read_start(text: str) -> Start:
    """Return the first message of a client, checked.

    Raises:
        Refusal: it is none; the reason says what is wrong.
    """
    message = read_text(text)
    if message.get("type") != "start":
        raise bad('the first message has to be {"type": "start", ...}')
    if unknown := [*(message.keys() - KNOWN)]:
        raise bad(f"start: {min(unknown)[:30]!r} is unknown")
    token, session = message.get("token"), message.get("session")
    if token is not None and not isinstance(token, str):
        raise bad("start: token has to be a text")
    if session is not None and not (isinstance(session, str) and SESSION.fullmatch(session)):
        raise bad("start: session has to be an id that this service gave")
    received = message.get("received", 0)
    if type(received) is not int or not 0 <= received < MOST_SAMPLES:
        raise bad("start: received has to be a count of samples")
    told = {name: message[name] for name in OPTIONS if message.get(name) is not None}
    rate = message.get("rate")
    if session is not None:
        if told or rate is not None:
            raise bad("start: a session that is taken up has its own rate and options")
        return Start(token, session, received, None, {})
    if received:
        raise bad("start: received is of a session that is taken up")
    return Start(token, None, 0, *_checked(rate, told))


def _checked(rate: Any, told: dict[str, Any]) -> tuple[int, dict[str, float]]:
    if type(rate) is not int:
        raise bad("start: rate has to be an integer, in Hz")
    try:
        Chunks(rate)
        options = {OPTIONS[name]: value for name, value in told.items()}
        SpeechEvents(**options)
    except (TypeError, ValueError) as error:
        raise bad(f"start: {error}") from None
    return rate, options


def text_of(value: Any) -> bytes:
    """Return a value as JSON."""
    return json.dumps(value, separators=(",", ":")).encode()


def text(**message: Any) -> bytes:
    """Return a message of the server."""
    return text_of(message)


def events_text(events: Iterable[SpeechEvent]) -> bytes:
    """Return what happened, as the answer to a window has it."""
    return text_of([{"type": event.kind, "seconds": event.seconds} for event in events])


def frame(payload: bytes) -> bytes:
    """Return a text as a WebSocket frame of a server (RFC 6455, 5.2): whole, not masked."""
    size = len(payload)
    if size < SHORTEST:
        return HEADERS[size] + payload
    if size < SHORT:
        return bytes((TEXT, SHORTEST)) + size.to_bytes(2, "big") + payload
    return bytes((TEXT, LONG)) + size.to_bytes(8, "big") + payload
