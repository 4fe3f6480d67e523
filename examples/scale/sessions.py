"""The sessions of one process: placed here one by one, then streamed over WebSockets.

    server = SessionServer(model, store)
    await server.start("127.0.0.1")
    where = await server.place("call-7")  # {"url": "ws://...", "ticket": ..., "counter": 48, ...}

`place` takes a session over from whoever had it, at the snapshot in the store. The client connects
to `url`, sends `{"ticket": ...}`, and then frames, from number `counter` on.

    a frame     its number, 8 bytes little-endian, and I float32
    an answer   the number of its frame, how many frames are saved, 8 bytes each, and P float32

Frames before the saved ones will never be asked for again; later ones the client has to keep until
they are. Answers are given before that: after a kill the next owner gives those since the snapshot
again, with the same bits, because it gets the same frames.

A frame that is out of turn is refused, never guessed at. An owner finds out that it is none any
more when it saves; it then closes the connection, and what it had computed is nobody's state.
`Stream`s are stepped here where their frame arrives, as WebSockets cost more than a small model. A
large model gains from `FrameBatcher`, which steps the sessions of a tick together.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from aiohttp import WSMsgType, web
from any_model import AnyModel, sizes
from store import Lease, StaleOwnerError, Store, claim, end, save

FRAME = struct.Struct("<Q")
ANSWER = struct.Struct("<QQ")
HELLO_SECONDS = 10.0
log = logging.getLogger("lstm_fast.scale")


class Close(IntEnum):
    """Why a connection is closed, in the range that is free for applications."""

    BAD_MESSAGE = 4400  # the client is at fault and should not come back
    NO_TICKET = 4401  # it is not the one that was placed here, or no longer
    STALE = 4409  # the session is somebody else's now; be placed again
    STORE = 4503  # nothing can be saved; be placed again, later


class FullError(RuntimeError):
    """There is no room for another session here."""


class _ClosedError(Exception):
    def __init__(self, code: Close, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass
class _Session:
    lease: Lease
    stream: Any
    counter: int  # frames stepped
    ticket: str
    websocket: web.WebSocketResponse | None = None
    saving: asyncio.Task[None] | None = None
    refused: _ClosedError | None = None  # by the store
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    placed: float = field(default_factory=lambda: asyncio.get_running_loop().time())

    @property
    def saved(self) -> int:
        return self.lease.record.version.counter


class SessionServer:
    """Sessions that are placed here, and the WebSocket server for their frames.

    Args:
        model: an LSTM, or a model of one input (I,) and one output (P,).
        store: where snapshots go.
        every: frames from one snapshot of a session to the next.
        max_unsaved: frames that a session may be ahead of its snapshot when the store does not
            answer; beyond that the connection is closed with `Close.STORE`.
        max_sessions: sessions here.
        idle_seconds: after which a session is let go that was placed here and did not connect.
        forget: whether to begin each placement from zeros, for the control: a mistake.
    """

    def __init__(
        self,
        model: AnyModel,
        store: Store,
        *,
        every: int = 16,
        max_unsaved: int = 512,
        max_sessions: int = 1000,
        idle_seconds: float = 60.0,
        forget: bool = False,
    ) -> None:
        if not 1 <= every <= max_unsaved:
            raise ValueError(f"every is {every}, expected 1 to max_unsaved, which is {max_unsaved}")
        self.model, self.store = model, store
        self.url = ""
        self._every, self._max_unsaved = every, max_unsaved
        self._max_sessions, self._idle_seconds, self._forget = max_sessions, idle_seconds, forget
        self._given, _ = sizes(model)
        self._sessions: dict[str, _Session] = {}
        self._runner: web.AppRunner | None = None

    def __len__(self) -> int:
        return len(self._sessions)

    async def start(self, host: str, port: int = 0) -> str:
        """Listen; return the address, "ws://host:port/", which clients must be able to reach."""
        app = web.Application()
        app.router.add_get("/{session}", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        found = self._runner.addresses[0]
        self.url = f"ws://{found[0]}:{found[1]}/"
        return self.url

    async def close(self) -> None:
        """Save all sessions, and close their connections; clients are placed elsewhere."""
        for session in [*self._sessions.values()]:
            await self._leave(session, Close.STALE, "this process ends")
        if self._runner is not None:
            await self._runner.cleanup()

    # ---- placement ----

    async def place(self, name: str) -> dict[str, Any]:
        """Take a session over, from the state in the store, or begin it.

        Returns:
            url, ticket, epoch, the counter of the frame to go on with, and the pid of this process.

        Raises:
            ValueError: that is not a name of a session.
            FullError: there is no room.
            StaleOwnerError: others claim it all the time.
            SnapshotError: what is in the store is of another model, or damaged.
        """
        await self._let_go_of_idle()
        before = self._sessions.get(name)
        if before is None and len(self._sessions) >= self._max_sessions:
            raise FullError(f"{len(self._sessions)} sessions are here, and no more may be")
        if before is not None:
            await self._leave(before, Close.STALE, "the session was placed again")
        lease = await claim(self.store, name, self.url)
        version, snapshot = lease.record
        stream: Any = self.model.stream()
        if snapshot and not self._forget:
            stream.restore(snapshot)
        session = _Session(lease, stream, version.counter, secrets.token_urlsafe(16))
        # Two placements at once: the later claim has the higher epoch, and the other is stale.
        other = self._sessions.get(name)
        if other is None or other.lease.record.version.epoch < version.epoch:
            self._sessions[name] = session
        return {
            "url": self.url + name,
            "ticket": session.ticket,
            "epoch": version.epoch,
            "counter": version.counter,
            "pid": os.getpid(),
        }

    async def _let_go_of_idle(self) -> None:
        now = asyncio.get_running_loop().time()
        for session in [*self._sessions.values()]:
            if session.websocket is None and now - session.placed > self._idle_seconds:
                await self._leave(session, Close.STALE, "nobody came")

    async def _leave(self, session: _Session, code: Close, reason: str) -> None:
        """Save what can be, and forget the session here."""
        name = session.lease.session
        if self._sessions.get(name) is session:
            del self._sessions[name]
        if session.websocket is not None:
            await session.websocket.close(code=code, message=reason.encode())
        await self._save(session)

    # ---- frames ----

    async def _serve(self, request: web.Request) -> web.WebSocketResponse:
        limit = FRAME.size + 4 * self._given + 1024  # room for the first message, and for a reason
        websocket = web.WebSocketResponse(max_msg_size=limit, heartbeat=20.0)
        await websocket.prepare(request)
        session = None
        try:
            session = await self._hello(websocket, request.match_info["session"])
            await self._frames(websocket, session)
        except _ClosedError as closed:
            await websocket.close(code=closed.code, message=str(closed).encode()[:123])
        finally:
            if session is not None and session.websocket is websocket:
                session.websocket = None
                await self._leave(session, Close.STALE, "")
        return websocket

    async def _hello(self, websocket: web.WebSocketResponse, name: str) -> _Session:
        try:
            ticket = (await websocket.receive_json(timeout=HELLO_SECONDS))["ticket"]
            right = secrets.compare_digest(
                ticket.encode(), (session := self._sessions[name]).ticket.encode()
            )
        except (TypeError, ValueError, KeyError, AttributeError, asyncio.TimeoutError):
            right = False
        if not right or session.websocket is not None:
            raise _ClosedError(Close.NO_TICKET, "no session of that name and ticket waits here")
        session.websocket = websocket
        return session

    async def _frames(self, websocket: web.WebSocketResponse, session: _Session) -> None:
        async for message in websocket:
            if session.refused is not None:
                raise session.refused
            if message.type is WSMsgType.TEXT and message.data == "end":
                await self._end(session)
                await websocket.send_str("ended")
                return
            if message.type is not WSMsgType.BINARY:
                raise _ClosedError(Close.BAD_MESSAGE, 'expected a frame, or "end"')
            number, x = self._frame(message.data)
            if number != session.counter:
                reason = f"frame {number} came, the next one is {session.counter}"
                raise _ClosedError(Close.BAD_MESSAGE, reason)
            y = np.asarray(session.stream.step(x), "<f4")
            session.counter += 1
            await websocket.send_bytes(ANSWER.pack(number, session.saved) + y.tobytes())
            await self._save_when_due(session)
        if session.refused is not None:
            raise session.refused

    def _frame(self, data: bytes) -> tuple[int, Any]:
        if len(data) != FRAME.size + 4 * self._given:
            reason = f"a frame has {FRAME.size + 4 * self._given} bytes, found {len(data)}"
            raise _ClosedError(Close.BAD_MESSAGE, reason)
        (number,) = FRAME.unpack_from(data)
        return number, np.frombuffer(data, "<f4", offset=FRAME.size).astype(np.float32)

    # ---- the store ----

    async def _save_when_due(self, session: _Session) -> None:
        """Begin to save, if it is time; wait for that only where the session is far ahead."""
        unsaved = session.counter - session.saved
        if unsaved >= self._every and (session.saving is None or session.saving.done()):
            session.saving = asyncio.create_task(self._save(session))
        if unsaved >= self._max_unsaved and session.saving is not None:
            await session.saving
            if session.refused is None and session.counter - session.saved >= self._max_unsaved:
                reason = f"{unsaved} frames could not be saved: the store does not answer"
                raise _ClosedError(Close.STORE, reason)

    async def _save(self, session: _Session) -> None:
        """Save the session as it is now; one at a time, as each needs the lease of the last."""
        async with session.lock:
            if session.refused is not None or session.counter <= session.saved:
                return
            counter, snapshot = session.counter, session.stream.snapshot()
            try:
                session.lease = await save(self.store, session.lease, counter, snapshot)
            except StaleOwnerError as error:
                session.refused = _ClosedError(Close.STALE, str(error))
            except Exception as error:  # whatever it is, the next frame brings another try
                log.warning("%s is not saved: %r", session.lease.session, error)
        if session.refused is not None and session.websocket is not None:
            reason = str(session.refused).encode()[:123]
            await session.websocket.close(code=Close.STALE, message=reason)

    async def _end(self, session: _Session) -> None:
        self._sessions.pop(session.lease.session, None)
        async with session.lock:
            session.counter = session.saved  # there is nothing to save any more
            try:
                await end(self.store, session.lease)
            except StaleOwnerError as error:
                raise _ClosedError(Close.STALE, str(error)) from None
