"""A server in this process over a small model, clients of it, and what a lone stream answers."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from program_cases import Builder

from lstm_fast import Model
from lstm_fast.vad import Chunks, SpeechEvents

aiohttp = pytest.importorskip("aiohttp", reason="needs aiohttp")
pytest.importorskip("prometheus_client", reason="needs prometheus-client")

from lstm_fast.serve.hub import Hub  # noqa: E402
from lstm_fast.serve.keeping import Store  # noqa: E402
from lstm_fast.serve.limits import Limits  # noqa: E402
from lstm_fast.serve.origins import Gate  # noqa: E402
from lstm_fast.serve.server import Server  # noqa: E402

SIZE, RATE = 512, 16000
PATIENCE = 60  # seconds: a guard against waiting for ever


def small_vad():
    """How loud a window is, and those before it, as a probability; a bit of each sample, too."""
    build = Builder()
    x = build.input("input", (SIZE,))
    energy = build.op("reduce", build.op("square", x), kind="mean", axes=(0,), keepdims=True)
    half = build.constant(np.array([0.5]))
    last = build.op("mul", build.state("last", (1,)), half)
    kept = build.op("add", build.op("mul", energy, half), last)
    build.keep("last", kept)
    loudness = build.op("mul", kept, build.constant(np.array([300.0])))
    each = build.op("dense", x, build.weights(1, SIZE, scale=0.3), build.constant(np.array([-3.0])))
    build.output("output", build.op("sigmoid", build.op("add", loudness, each)))
    return Model.from_program(build.program())


MODEL = small_vad()


def bursts(seconds=2.0, rate=RATE, seed=0):
    """PCM16 of noise that is loud and quiet in turns, each 0.4 s."""
    rng = np.random.default_rng(seed)
    count = int(seconds * rate)
    loud = np.arange(count) // int(0.4 * rate) % 2
    in_band = max(1.0, rate / RATE) ** 0.5  # what is above it is not heard
    samples = rng.standard_normal(count) * in_band * np.where(loud, 6000, 30)
    return np.clip(samples, -32768, 32767).astype("<i2").tobytes()


def alone(pcm, rate=RATE, model=MODEL, *, flush=False, **options):
    """What a stream of its own answers: window, samples, probability, events."""
    chunks, events, stream = Chunks(rate), SpeechEvents(**options), model.stream()
    whole = chunks.push(pcm)
    if flush:
        whole = np.concatenate([whole, chunks.flush()])
    found = []
    for number, chunk in enumerate(whole, 1):
        probability = float(stream.step(chunk)[0])
        what = [(event.kind, event.seconds) for event in events.push(probability)]
        found.append((number, number * SIZE * rate // RATE, probability, what))
    return found


def answer(message):
    """The same of a message."""
    events = [(event["type"], event["seconds"]) for event in message.get("events", ())]
    probability = float(np.float32(message["probability"]))
    return message["window"], message["samples"], probability, events


def cut(pcm, sizes):
    """The bytes in messages of these many samples, over and over."""
    begin, turn = 0, 0
    while begin < len(pcm):
        size = 2 * sizes[turn % len(sizes)]
        yield pcm[begin : begin + size]
        begin, turn = begin + size, turn + 1


class Client:
    """A connection that keeps what it was told."""

    def __init__(self, socket):
        self.socket = socket
        self.ready, self.answers, self.done, self.others = None, [], None, []

    async def start(self, **told):
        await self.socket.send_str(json.dumps({"type": "start", "rate": RATE, **told}))
        return self

    async def resume(self, session, received, **told):
        text = json.dumps({"type": "start", "session": session, "received": received, **told})
        await self.socket.send_str(text)
        return self

    async def begin(self, **told):
        await self.start(**told)
        await self.read_one()
        assert self.ready is not None, self.code_and_reason
        return self

    async def send(self, pcm):
        await self.socket.send_bytes(pcm)

    async def end(self):
        await self.socket.send_str('{"type": "end"}')

    async def read_one(self):
        """Take a message; say whether there was one."""
        message = await asyncio.wait_for(self.socket.receive(), PATIENCE)
        if message.type is not aiohttp.WSMsgType.TEXT:
            self.closed = message
            await self.socket.close()
            return False
        told = json.loads(message.data)
        if told["type"] == "ready":
            self.ready = told
        elif told["type"] == "window":
            self.answers.append(answer(told))
        elif told["type"] == "done":
            self.done = told
        else:
            self.others.append(told)
        return True

    async def read(self, windows):
        while len(self.answers) < windows:
            assert await self.read_one(), self.code_and_reason

    async def read_all(self):
        """Read to the end; return the code and the reason of the close."""
        while await self.read_one():
            pass
        return self.code_and_reason

    @property
    def code_and_reason(self):
        """As of the close frame; (1006, "") where there was none."""
        if self.closed.type is aiohttp.WSMsgType.CLOSE:
            return self.closed.data, self.closed.extra
        return 1006, ""

    @property
    def received(self):
        return self.answers[-1][1] if self.answers else 0


class Service:
    """A server with its address."""

    def __init__(self, server, http, port):
        self.server, self.hub, self.http, self.port = server, server.hub, http, port
        self.url = f"http://127.0.0.1:{port}"

    @asynccontextmanager
    async def client(self, **options):
        # Without autoclose, a close frame is seen as it came.
        async with self.http.ws_connect(f"{self.url}/stream", autoclose=False, **options) as socket:
            yield Client(socket)

    async def get(self, path, **headers):
        async with self.http.get(self.url + path, headers=headers) as response:
            return response.status, await response.text()


def make_server(
    directory=None, *, gate=None, checkpoint=0, clock=None, model=MODEL, pool=None, **limits
):
    limits = Limits(**{"sessions": 16, "burst": 1e6, "leave": 1.0, **limits})
    told = {} if clock is None else {"clock": clock}
    store = Store(directory and Path(directory), limits.keep, limits.sessions, **told)
    hub = Hub(model.pool(limits.sessions) if pool is None else pool, limits, store, checkpoint)
    return Server(hub, gate or Gate("127.0.0.1", (), None))


@asynccontextmanager
async def serving(directory=None, **options):
    """Run a server, and stop it in the end, whatever comes."""
    server = make_server(directory, **options)
    port = await server.start("127.0.0.1", 0)
    async with aiohttp.ClientSession() as http:
        try:
            yield Service(server, http, port)
        finally:
            await asyncio.wait_for(server.stop(), PATIENCE)
    assert len(server.hub.batcher._pool) == 0  # no session is left
    assert not server.hub.calls


def run(scene):
    """Run a coroutine; what the loop complains of is an error."""
    complaints = []

    async def watched():
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        await asyncio.wait_for(scene, 2 * PATIENCE)

    asyncio.run(watched())
    assert not complaints
