"""The server: WebSockets, the page, health and metrics, over aiohttp."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import WebSocketError, WSMessage, WSMsgType, web

from . import metrics, wire
from .calls import Call
from .hub import Hub
from .limits import Close, Refusal
from .origins import Gate

__all__ = ["Server"]

log = logging.getLogger("lstm_fast.serve")
PAGE = Path(__file__).parent / "page"
FILES = {  # of the page, and what they are
    "index.html": "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "view.js": "text/javascript",
    "client.js": "text/javascript",
    "audio.js": "text/javascript",
    "worklet.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
ROOM = 4  # times the largest message is what aiohttp refuses before it has all of it
SOCKET_BYTES = 1 << 16  # of answers that the kernel holds for a client that does not read
SPARE = 64  # connections beyond twice the sessions, that have not begun


class _Socket(web.WebSocketResponse):  # type: ignore[misc]
    """A WebSocket that has a reason also where aiohttp ends it."""

    async def close(
        self, *, code: int = Close.DONE, message: bytes = b"", drain: bool = True
    ) -> bool:
        """Close; see aiohttp."""
        if not message and code == Close.TOO_LARGE:
            message = b"the message is too large"
        elif not message and code not in (Close.DONE, 1001):
            message = b"this is not WebSocket as RFC 6455 has it"
        closed: bool = await super().close(code=code, message=message, drain=drain)
        return closed


class _Connection:
    """A WebSocket, and why it is closed, whoever wants it to be.

    It is closed by the task that serves it, which then reads until the client has closed, too: a
    socket that is closed with bytes unread takes its last words back.
    """

    def __init__(self, server: Server, request: web.Request) -> None:
        limits = server.hub.limits
        # No heartbeat: who sends nothing is idle, and aiohttp would set a timer with each message.
        self.socket = _Socket(
            timeout=limits.leave,
            compress=False,
            max_msg_size=ROOM * limits.message_bytes,
        )
        self.why: Refusal | None = None
        self.call: Call | None = None
        self.is_listening = False  # to the client: only then it can be interrupted
        self.done = asyncio.get_running_loop().create_future()
        self._meter, self._request = server.hub.meter, request
        self._task = asyncio.current_task()
        self._transport: asyncio.Transport | None = None

    async def prepare(self) -> None:
        """Answer the handshake."""
        await self.socket.prepare(self._request)
        self._transport = self._request.transport

    def write(self, data: bytes) -> None:
        """Write bytes to the socket, as far as it is there."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            transport.write(data)

    def unread(self) -> int:
        """Return how many bytes wait to be sent."""
        return 0 if self._transport is None else self._transport.get_write_buffer_size()

    def leave(self, why: Refusal) -> None:
        """Begin to close, with a code and a reason; the first one counts."""
        if self.why is not None:
            return
        self.why = why
        if self.call is not None:
            self.call.frozen = True
        if self.is_listening and self._task is not None:
            self.is_listening = False
            self._task.cancel()

    def is_left(self) -> bool:
        """Say, where the task was cancelled, whether that was because of `leave`."""
        if self.why is None:
            return False
        if self._task is not None and hasattr(self._task, "uncancel"):
            self._task.uncancel()
        return True

    async def close(self) -> None:
        """Close, if there is a reason to."""
        why = self.why
        if why is None or self.socket.closed:
            return
        self._meter.closes[why.code] += 1
        level = logging.INFO if why.code in (Close.DONE, Close.RESTART) else logging.WARNING
        log.log(level, "closed with %d: %s", why.code, why.reason)
        await self.socket.close(code=why.code, message=why.message, drain=False)
        if self.unread() and self._transport is not None:
            self._transport.abort()  # who does not read will not read this either


class Server:
    """Serves a hub until it is told to stop.

    Args:
        hub: the calls.
        gate: who may come in.
        facts: what `/healthz` says beside.
    """

    def __init__(self, hub: Hub, gate: Gate, facts: dict[str, Any] | None = None) -> None:
        self.hub, self.gate, self._facts = hub, gate, facts or {}
        self._connections: set[_Connection] = set()
        self._files = {name: (PAGE / name).read_bytes() for name in FILES}
        self._exposition = metrics.Exposition(hub.meter, hub.gauges)
        self._runner: web.AppRunner | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, host: str, port: int) -> int:
        """Begin to listen; return the port.

        Raises:
            OSError: it is taken, or the address is not this machine's.
        """
        app = web.Application(middlewares=[self._guard])
        app.router.add_get(wire.PATH, self._stream)
        app.router.add_get("/healthz", self._health)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/", self._page)
        app.router.add_get("/{name}", self._page)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        listening = _listen(host, port)
        await web.SockSite(self._runner, listening, backlog=1024).start()
        self._tasks = [
            asyncio.ensure_future(self.hub.watch()),
            asyncio.ensure_future(self.hub.save()),
        ]
        return int(listening.getsockname()[1])

    async def stop(self) -> int:
        """Let all sessions leave, and end; return how many were kept."""
        for task in self._tasks:
            task.cancel()
        if self._runner is None:
            return 0
        for site in list(self._runner.sites):
            await site.stop()
        kept = await self.hub.drain()
        connections = [*self._connections]
        for connection in connections:  # also those that have not begun
            connection.leave(Refusal(Close.RESTART, "the server stops: try again"))
        await asyncio.gather(*(connection.done for connection in connections))
        await self._runner.cleanup()
        return kept

    @web.middleware  # type: ignore[untyped-decorator]
    async def _guard(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Refuse what comes in under a name that is not ours."""
        if self.gate.allows_host(request.headers.get("Host")):
            return await handler(request)
        self.hub.meter.refused += 1
        raise web.HTTPForbidden(
            text="this server is for pages of this machine: to use it under another name, start "
            "it with --origin\n"
        )

    async def _page(self, request: web.Request) -> web.Response:
        name = request.match_info.get("name", "index.html")
        if name not in self._files:
            raise web.HTTPNotFound(text=f"there is no {name} here\n")
        return web.Response(
            body=self._files[name], content_type=FILES[name], charset="utf-8", headers=HEADERS
        )

    async def _health(self, request: web.Request) -> web.Response:
        hub = self.hub
        status = {
            "status": "draining" if hub.draining else "ok",
            "sessions": len(hub.calls),
            "limit": hub.limits.sessions,
            "token": self.gate.has_token,
            **self._facts,
        }
        return web.json_response(status, status=503 if hub.draining else 200)

    async def _metrics(self, request: web.Request) -> web.Response:
        if not self.gate.knows_header(request.headers.get("Authorization")):
            raise web.HTTPUnauthorized(
                text="the token is missing or wrong\n", headers={"WWW-Authenticate": "Bearer"}
            )
        body, kind = metrics.text_of(self._exposition)
        return web.Response(body=body, headers={"Content-Type": kind})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        headers, meter = request.headers, self.hub.meter
        if not self.gate.allows_origin(headers.get("Origin"), headers.get("Host")):
            meter.refused += 1
            raise web.HTTPForbidden(
                text="this origin may not use this server: start it with --origin\n"
            )
        if len(self._connections) >= 2 * self.hub.limits.sessions + SPARE:
            meter.refused += 1
            raise web.HTTPServiceUnavailable(text="too many connections: try again later\n")
        connection = _Connection(self, request)
        await connection.prepare()
        self._connections.add(connection)
        try:
            await self._serve(connection, request)
        except Refusal as why:
            connection.leave(why)
        except ConnectionResetError:
            pass  # the client is gone
        except asyncio.CancelledError:
            if not connection.is_left():
                raise
        except Exception:
            log.exception("a connection has failed")
            connection.leave(Refusal(Close.FAILED, "a fault of the server"))
        finally:
            try:
                await connection.close()
            finally:
                self._connections.discard(connection)
                connection.done.set_result(None)
        return connection.socket

    async def _serve(self, connection: _Connection, request: web.Request) -> None:
        socket = connection.socket
        connection.is_listening = True
        start = await self._greeted(socket, request)
        connection.is_listening = False
        if start is None:
            return
        async with self.hub.call(
            start, connection.write, connection.unread, connection.leave
        ) as call:
            connection.call = call
            if connection.why is not None:  # meanwhile
                raise connection.why
            connection.is_listening = True
            try:
                await self._listen(socket, call)
            finally:
                connection.is_listening = False
            await call.finish()
            raise Refusal(Close.DONE, "all is answered")

    async def _listen(self, socket: _Socket, call: Call) -> None:
        """Take messages until the client says that it is done.

        Raises:
            Refusal: it breaks a rule.
            ConnectionError: it is gone.
        """
        take, receive, binary = call.take, socket.receive, WSMsgType.BINARY
        while True:
            message = await receive()
            if message.type is binary:
                take(message.data)
            elif message.type is WSMsgType.TEXT:
                if wire.read_text(message.data).get("type") != "end":
                    raise wire.bad('after start come messages of PCM16, and {"type": "end"}')
                return
            else:
                call.hung_up(is_over=self._is_over(message))
                raise ConnectionResetError

    def _is_over(self, message: WSMessage) -> bool:
        """Say whether a client that is gone has ended its session; it may have lost its network."""
        if isinstance(message.data, WebSocketError):  # aiohttp has closed with that code
            is_large = message.data.code == Close.TOO_LARGE
            self.hub.meter.closes[Close.TOO_LARGE if is_large else Close.NO_WEBSOCKET] += 1
            return True
        return message.type is WSMsgType.CLOSE and message.data == Close.DONE

    async def _greeted(
        self, socket: web.WebSocketResponse, request: web.Request
    ) -> wire.Start | None:
        """Return the first message, or None where the client has left.

        Raises:
            Refusal: it is none, comes too late, or its token is wrong.
        """
        limits = self.hub.limits
        try:
            message = await socket.receive(timeout=limits.start)
        except asyncio.TimeoutError:
            raise Refusal(Close.IDLE, f"no start message within {limits.start:g} s") from None
        if message.type is WSMsgType.BINARY:
            raise wire.bad('the first message has to be {"type": "start", ...}, as text')
        if message.type is not WSMsgType.TEXT:
            return None
        start = wire.read_start(message.data)
        header = request.headers.get("Authorization")
        knows = self.gate.knows(start.token) or (header and self.gate.knows_header(header))
        if not knows:
            raise Refusal(Close.BAD_TOKEN, "the token is missing or wrong")
        return start


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; its connections inherit its options."""
    kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listening = socket.socket(kind, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
        listening.bind(address)
    except BaseException:
        listening.close()
        raise
    return listening
