"""Load for the server: sessions in real time, and what their answers take.

Each session sends 32 ms of PCM every 32 ms, at a phase of its own, whether or not the one before
was answered. The wait is counted from when a message was handed to the system until its answer was
read; beside it is how late messages were before that, which is this program's own doing.

The clients are as small as can be, so that one core makes the load for several of the server's:
frames are made once, with a mask of zeros, and read without a library.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import sys
import wave
from array import array
from collections import Counter, deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import monotonic, process_time
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from ..errors import LstmFastError

PERIOD = 0.032  # s
RATE, SIZE = 16000, 512
MASK = bytes(4)
BINARY, TEXT, CLOSE = 0x82, 0x81, 0x88  # first bytes of whole frames
WARM_UP = 1.0  # s that are not counted
CHECKED = 8  # sessions whose answers are compared with those of a stream of their own
AT_ONCE = 50  # that begin at the same time
TICKS = os.sysconf("SC_CLK_TCK")


class LoadError(LstmFastError):
    """There is no such server, or it does not want this."""


def masked(first: int, payload: bytes) -> bytes:
    """Return a frame of a client, masked with zeros (RFC 6455, 5.2)."""
    size = len(payload)
    if size < 126:
        return bytes((first, 0x80 | size)) + MASK + payload
    if size < 1 << 16:
        return bytes((first, 0x80 | 126)) + size.to_bytes(2, "big") + MASK + payload
    return bytes((first, 0x80 | 127)) + size.to_bytes(8, "big") + MASK + payload


class Times:
    """What is measured of all sessions, in seconds."""

    def __init__(self) -> None:
        self.waits = array("d")  # from sent to answered
        self.late = array("d")  # from due to sent
        self.closed: Counter[str] = Counter()
        self.counting = False


class Client(asyncio.Protocol):
    """One session: a handshake, a start message, and PCM from there on."""

    def __init__(self, request: bytes, start: bytes, frames: Sequence[bytes], first: int) -> None:
        self._request, self._start = request, start
        self._frames, self._first = frames, first
        self._transport: Any = None
        self._buffer = b""
        self._sent: deque[float] = deque()
        self.count = self.answered = 0
        self.times: Times | None = None
        self.kept: list[bytes] | None = None  # answers, where they are compared
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for a WebSocket."""
        self._transport = transport
        self._transport.write(self._request)

    def send(self, due: float) -> None:
        """Send the next message."""
        now = monotonic()
        self._sent.append(now)
        self._transport.write(self._frames[(self._first + self.count) % len(self._frames)])
        self.count += 1
        if self.times is not None and self.times.counting:
            self.times.late.append(now - due)

    def data_received(self, data: bytes) -> None:
        """Take whole frames; what is left waits for the rest."""
        data = self._buffer + data if self._buffer else data
        if not self.ready.done() and data.startswith(b"HTTP/"):
            head, end, data = data.partition(b"\r\n\r\n")
            if not end:
                self._buffer = head
                return
            if b" 101 " not in head[:20]:
                self._fail(head.split(b"\r\n")[0].decode())
                return
            self._transport.write(self._start)
        begin, size = 0, len(data)
        while begin + 2 <= size:
            length, at = data[begin + 1], begin + 2
            if length == 126:
                length, at = int.from_bytes(data[at : at + 2], "big"), at + 2
            if at + length > size:
                break
            self._take(data[begin], data[at : at + length])
            begin = at + length
        self._buffer = data[begin:]

    def _take(self, first: int, payload: bytes) -> None:
        if first == TEXT and payload.startswith(b'{"type":"window"'):
            self.answered += 1
            sent = self._sent.popleft()
            if self.times is not None and self.times.counting:
                self.times.waits.append(monotonic() - sent)
            if self.kept is not None:
                self.kept.append(payload)
        elif first == TEXT and payload.startswith(b'{"type":"ready"'):
            self.ready.set_result(None)
        elif first == CLOSE:
            self._transport.write(masked(CLOSE, payload))
            self._fail(f"{int.from_bytes(payload[:2], 'big')} {payload[2:].decode()}")
        elif first & 0x0F == 0x9:  # a ping
            self._transport.write(masked(0x8A, payload))

    def connection_lost(self, error: Exception | None) -> None:
        """Note that there is no connection any more."""
        if self.is_open:
            self._fail("connection lost")

    def _fail(self, why: str) -> None:
        self.is_open = False
        if self.times is not None:
            self.times.closed[why] += 1
        if not self.ready.done():
            self.ready.set_exception(LoadError(f"the server has refused a session: {why}"))

    def end(self) -> None:
        """Close as a client does that is done."""
        self.is_open = False
        self._transport.write(masked(CLOSE, (1000).to_bytes(2, "big")))
        self._transport.close()


def frames_of(audio: Path | None) -> tuple[list[bytes], np.ndarray[Any, np.dtype[np.int16]]]:
    """Return messages to send, round and round, and their samples (n, 512).

    Raises:
        LoadError: the file is not a WAV of one channel of PCM16 at 16 kHz, or too short.
    """
    if audio is None:
        noise = np.random.default_rng(0).standard_normal(256 * SIZE) * 2000
        samples = noise.astype("<i2")
    else:
        with wave.open(str(audio), "rb") as file:
            if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (1, 2, RATE):
                raise LoadError(f"{audio} is not one channel of PCM16 at {RATE} Hz")
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    windows = samples[: len(samples) // SIZE * SIZE].reshape(-1, SIZE)
    if not len(windows):
        raise LoadError(f"{audio} is shorter than {PERIOD} s")
    return [masked(BINARY, window.tobytes()) for window in windows], windows


async def play(clients: Sequence[Client], periods: int) -> None:
    """Send what is due, at phases that are spread evenly, for so many periods."""
    begin = now = monotonic()
    step = PERIOD / len(clients)
    for period in range(periods):
        for number, client in enumerate(clients):
            due = begin + period * PERIOD + number * step
            if due > now:
                await asyncio.sleep(max(0.0, due - monotonic()))
                now = monotonic()
            if client.is_open:
                client.send(due)


def _same(client: Client) -> Client:
    return client


async def measure(
    url: str, sessions: int, seconds: float, audio: Path | None, token: str | None, pid: int | None
) -> dict[str, Any]:
    """Return what that many sessions have measured."""
    where = urlsplit(url)
    host, port = where.hostname or "127.0.0.1", where.port or 80
    key = base64.b64encode(os.urandom(16)).decode()
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    request = (
        f"GET {where.path or '/stream'} HTTP/1.1\r\nHost: {where.netloc}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        f"{authorization}\r\n"
    ).encode()
    start = masked(TEXT, json.dumps({"type": "start", "rate": RATE}).encode())
    frames, windows = frames_of(audio)
    loop = asyncio.get_running_loop()
    clients = [Client(request, start, frames, 37 * n) for n in range(sessions)]
    try:
        for begin in range(0, sessions, AT_ONCE):
            some = clients[begin : begin + AT_ONCE]
            await asyncio.gather(
                *(loop.create_connection(partial(_same, one), host, port) for one in some)
            )
            await asyncio.gather(*(client.ready for client in some))
    except OSError as error:
        raise LoadError(f"no connection to {url}: {error}") from None
    times = Times()
    checked = clients[:: -(-sessions // CHECKED)]
    for client in clients:
        client.times = times
    for client in checked:
        client.kept = []
    await play(clients, round(WARM_UP / PERIOD))
    times.counting = True
    before, ours, begun = cpu_of(pid), process_time(), monotonic()
    await play(clients, round(seconds / PERIOD))
    took = monotonic() - begun
    server = None if before is None else (cpu_of(pid) or before) - before
    ours = process_time() - ours
    await asyncio.sleep(0.5)  # for the last answers
    lost = sum(client.count - client.answered for client in clients if client.is_open)
    for client in clients:
        if client.is_open:
            client.end()
    waits = 1e3 * np.array(times.waits) if times.waits else np.array([np.nan])
    p50, p99, p999, most = np.percentile(waits, (50, 99, 99.9, 100)).tolist()
    return {
        "sessions": sessions,
        "answers_per_s": len(times.waits) / took,
        "p50_ms": p50,
        "p99_ms": p99,
        "p99.9_ms": p999,
        "max_ms": most,
        "late_p99_ms": float(1e3 * np.percentile(np.array(times.late), 99)),
        "server_cpu": None if server is None else server / took,
        "load_cpu": ours / took,
        "unanswered": lost,
        "closed": dict(times.closed),
        "checked": len(checked),
        "right": sum(is_right(client, windows) for client in checked),
    }


def is_right(client: Client, windows: np.ndarray[Any, np.dtype[np.int16]]) -> bool | None:
    """Say whether a session had the bits of a stream of its own."""
    model = _model()
    stream = model.stream()
    for number, reply in enumerate(client.kept or ()):
        window = windows[(client._first + number) % len(windows)]
        expected = stream.step(window.astype(np.float32) / np.float32(32768))
        if np.float32(json.loads(reply)["probability"]) != expected[0]:
            return False
    return True


_made: list[Any] = []


def _model() -> Any:
    if not _made:
        from ..vad import silero

        _made.append(silero())
    return _made[0]


def cpu_of(pid: int | None) -> float | None:
    """Return the seconds of CPU that a process has taken."""
    if pid is None:
        return None
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


HEADER = """\
          answers       frame to answer, ms           late  CPU %  CPU %    un-
sessions       /s    p50     p99   p99.9     max   p99 ms server   load  answered  closed"""


def line(found: dict[str, Any]) -> str:
    """Return a line of the table."""
    server = found["server_cpu"]
    cpu = "     -" if server is None else f"{100 * server:6.0f}"
    closed = "; ".join(f"{count} x {why}" for why, count in found["closed"].items()) or "0"
    return (
        f"{found['sessions']:8d} {found['answers_per_s']:8.0f} {found['p50_ms']:6.1f} "
        f"{found['p99_ms']:7.1f} {found['p99.9_ms']:7.1f} {found['max_ms']:7.1f} "
        f"{found['late_p99_ms']:8.1f} {cpu} {100 * found['load_cpu']:6.0f} "
        f"{found['unanswered']:9d}  {closed}"
    )


async def main(options: argparse.Namespace, token: str | None) -> int:
    """Measure, print, and return the exit code: 1 if a session had other bits than its own."""
    if not options.json:
        print(HEADER)
    right = checked = 0
    for sessions in options.sessions:
        found = await measure(
            options.url, sessions, options.seconds, options.audio, token, options.pid
        )
        print(json.dumps(found) if options.json else line(found), flush=True)
        right, checked = right + found["right"], checked + found["checked"]
    if right != checked:
        print(f"lstm-fast: {checked - right} of {checked} sessions had wrong bits", file=sys.stderr)
    elif not options.json:
        print(f"{right} of {checked} sessions that were checked have the bits of a lone stream")
    return int(right != checked)
