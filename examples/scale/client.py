"""A client of one session: asks where it is placed, streams there, and starts over when that dies.

    outputs = await call("http://127.0.0.1:8000/", "call-7", frames)

It keeps each frame until an answer says that it is saved. After any loss of the connection it asks
for a place again, and sends from the frame on that the new owner names.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import numpy as np
from numpy.typing import NDArray
from sessions import ANSWER, FRAME, Close

Float32 = NDArray[np.float32]
HEADER = "x-session-id"
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 0.5  # seconds from one attempt to the next


class SessionLostError(RuntimeError):
    """The session cannot be gone on with exactly, so it is not gone on with."""


class _AgainError(Exception):
    """This attempt is over, for a reason that the next one may not have."""


@dataclass
class Call:
    """What a client knows of its session.

    Args:
        place_url: of the service that places sessions.
        name: of the session.
        patience: seconds without a connection that answers after which it gives up.
        silence: seconds after which a connection whose other end is silent is taken for dead.
        on_answer: is told the number of each first answer.
    """

    place_url: str
    name: str
    patience: float = 60.0
    silence: float = 4.0
    on_answer: Callable[[Call, int], None] | None = None
    kept: dict[int, bytes] = field(default_factory=dict)  # frames that are not known to be saved
    outputs: list[bytes] = field(default_factory=list)
    placements: list[dict[str, Any]] = field(default_factory=list)
    answered_twice: int = 0
    sent: int = 0  # frames that the caller has produced so far
    ended: bool = False

    async def run(self, frames: AsyncIterable[Float32]) -> list[bytes]:
        """Stream all frames; return the output of each, as bytes.

        Raises:
            SessionLostError: frames are missing that the service needs; an answer that was given
                twice had other bits; the service has refused the client; or nobody has answered.
        """
        more, over = asyncio.Event(), asyncio.Event()
        tasks = [
            asyncio.create_task(self._produce(frames, more, over)),
            asyncio.create_task(self._stream(more, over)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()  # raises what it has raised
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self.outputs

    async def _produce(
        self, frames: AsyncIterable[Float32], more: asyncio.Event, over: asyncio.Event
    ) -> None:
        """Keep each frame as it comes, and say so."""
        async for frame in frames:
            self.kept[self.sent] = FRAME.pack(self.sent) + frame.astype("<f4").tobytes()
            self.sent += 1
            more.set()
        over.set()
        more.set()

    async def _stream(self, more: asyncio.Event, over: asyncio.Event) -> None:
        """Try until the session is over."""
        loop = asyncio.get_running_loop()
        alive, pause = loop.time(), SHORTEST_PAUSE
        async with aiohttp.ClientSession() as http:
            while True:
                before, begin = len(self.outputs), loop.time()
                try:
                    await self._attempt(http, more, over)
                    return
                except (_AgainError, aiohttp.ClientError, OSError, asyncio.TimeoutError) as why:
                    reason = str(why) or type(why).__name__
                if len(self.outputs) > before or loop.time() - begin > self.patience:
                    alive, pause = loop.time(), SHORTEST_PAUSE
                if loop.time() - alive > self.patience:
                    raise SessionLostError(f"{self.name}: {reason}")
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _attempt(
        self, http: aiohttp.ClientSession, more: asyncio.Event, over: asyncio.Event
    ) -> None:
        """Be placed, and stream there until the end, or until something breaks."""
        timeout = aiohttp.ClientTimeout(total=max(self.silence, 2.0))
        headers = {HEADER: self.name}
        async with http.post(self.place_url, headers=headers, timeout=timeout) as response:
            if response.status in (400, 409):
                raise SessionLostError(f"{self.name}: {await response.text()}")
            if response.status != 200:
                raise _AgainError(f"status {response.status} of {self.place_url}")
            where = await response.json()
        self.placements.append(where)
        first = where["counter"]
        if over.is_set() and len(self.outputs) == self.sent:
            first = self.sent  # it is over, and the answer to that was lost
        elif first > self.sent or (first < self.sent and first not in self.kept):
            raise SessionLostError(
                f"{self.name}: the service goes on with frame {first}, the client has frames "
                f"{min(self.kept, default=self.sent)} to {self.sent - 1}: the store has lost a "
                "snapshot, or somebody else uses this name"
            )
        async with http.ws_connect(
            where["url"], max_msg_size=0, heartbeat=self.silence
        ) as websocket:
            await websocket.send_json({"ticket": where["ticket"]})
            sender = asyncio.create_task(self._send(websocket, first, more, over))
            try:
                await self._receive(websocket)
            finally:
                sender.cancel()
                with suppress(asyncio.CancelledError, ConnectionError, aiohttp.ClientError):
                    await sender

    async def _send(
        self,
        websocket: aiohttp.ClientWebSocketResponse,
        number: int,
        more: asyncio.Event,
        over: asyncio.Event,
    ) -> None:
        while True:
            while number < self.sent:
                await websocket.send_bytes(self.kept[number])
                number += 1
            if over.is_set():
                await websocket.send_str("end")
                return
            more.clear()
            await more.wait()

    async def _receive(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            message = await websocket.receive()
            if message.type is aiohttp.WSMsgType.TEXT and message.data == "ended":
                self.ended = True
                return
            if message.type is not aiohttp.WSMsgType.BINARY:
                if websocket.close_code == Close.BAD_MESSAGE:
                    raise SessionLostError(f"{self.name}: refused: {message.extra}")
                raise _AgainError(f"closed with {websocket.close_code}: {message.extra}")
            self._answer(message.data)

    def _answer(self, data: bytes) -> None:
        number, saved = ANSWER.unpack_from(data)
        output = data[ANSWER.size :]
        if number > len(self.outputs):
            raise SessionLostError(
                f"{self.name}: answer {number} came, expected {len(self.outputs)}"
            )
        if number < len(self.outputs):
            self.answered_twice += 1
            if self.outputs[number] != output:
                raise SessionLostError(f"{self.name}: frame {number} has two answers")
        else:
            self.outputs.append(output)
            if self.on_answer is not None:
                self.on_answer(self, number)
        for old in [*self.kept]:
            if old >= saved:
                break
            del self.kept[old]


async def call(place_url: str, name: str, frames: AsyncIterable[Float32]) -> list[bytes]:
    """Stream all frames of a session; return the outputs: see `Call.run`."""
    return await Call(place_url, name).run(frames)
