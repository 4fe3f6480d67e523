"""Sessions that are placed, streamed and taken over, in one process and without Ray."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from importlib import import_module

import numpy as np
import pytest
from scale_cases import Careless, Fragile, opened, redis_url, stores, until

from lstm_fast import LSTM, SnapshotError

aiohttp = pytest.importorskip("aiohttp")
web = import_module("aiohttp.web")
client, sessions = import_module("client"), import_module("sessions")  # of examples/scale

LSTM_HERE = LSTM.random(3, 5)
FRAMES = np.random.default_rng(0).standard_normal((90, 3), dtype=np.float32)
NAME = "call-7"
HEADER = client.HEADER


@pytest.fixture(scope="module", params=["memory", "redis"])
def url(request):
    with redis_url() if request.param == "redis" else nullcontext() as found:
        yield found


def alone(frames=FRAMES):
    stream = LSTM_HERE.stream()
    return [stream.step(x).astype("<f4").tobytes() for x in frames]


class Cluster:
    """Servers of sessions that share a store, and a URL that places sessions on one of them."""

    def __init__(self, memory):
        self.memory, self.stores, self.servers, self.now, self.url = memory, [], [], 0, ""

    async def add(self, **options):
        self.stores.append(Fragile(self.memory))
        server = sessions.SessionServer(LSTM_HERE, self.stores[-1], **options)
        await server.start("127.0.0.1")
        self.servers.append(server)
        return server

    async def place(self, request):
        try:
            return web.json_response(await self.servers[self.now].place(request.headers[HEADER]))
        except (ValueError, SnapshotError) as error:
            return web.Response(status=409, text=str(error))
        except (sessions.FullError, stores.StaleOwnerError) as error:
            return web.Response(status=503, text=str(error))

    def kill(self, which):
        """Cut a server off from the store and from all clients, as a kill does; place elsewhere."""
        self.stores[which].is_down = True
        for session in self.servers[which]._sessions.values():
            if session.websocket is not None:
                session.websocket._req.transport.abort()
        self.now = which + 1


@asynccontextmanager
async def cluster(count=2, careless=False, url=None, **options):
    async with AsyncExitStack() as stack:
        memory = await stack.enter_async_context(opened(url))
        made = Cluster(Careless(memory) if careless else memory)
        for _ in range(count):
            stack.push_async_callback((await made.add(**options)).close)
        app = web.Application()
        app.router.add_post("/", made.place)
        runner = web.AppRunner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        yield made


async def as_they_come(call=None, at=None, then=None):
    """Yield frames, of which four may be unanswered; do something before one of them."""
    for number, frame in enumerate(FRAMES):
        if call is not None:
            await until(lambda n=number: len(call.outputs) > n - 4)
        if number == at:
            await then()
        yield frame


def test_a_session_gets_what_a_lone_stream_gives():
    async def test():
        async with cluster(1) as made:
            call = client.Call(made.url, NAME)
            outputs = await call.run(as_they_come())
            assert len(made.servers[0]) == 0
            return outputs, call, await made.memory.read(NAME)

    outputs, call, record = asyncio.run(test())
    assert outputs == alone()
    assert record is None  # it has ended
    assert (len(call.placements), call.answered_twice) == (1, 0)


async def kill_in_mid_stream(**options):
    async with cluster(every=8, **options) as made:
        call = client.Call(made.url, NAME, patience=5)

        async def kill():
            assert len(call.outputs) > 20
            made.kill(0)

        outputs = await call.run(as_they_come(call, 60, kill))
        return outputs, call


def test_a_killed_owner_costs_no_bit(url):
    outputs, call = asyncio.run(kill_in_mid_stream(url=url))
    assert outputs == alone()
    first, second = call.placements
    assert (first["epoch"], second["epoch"]) == (1, 2)
    assert first["counter"] == 0
    assert 0 < second["counter"] <= 60
    assert call.answered_twice <= 60 - second["counter"]


def test_an_owner_that_forgets_the_snapshot_would_be_noticed():
    """The control: the client sees an answer that differs, or the outputs do."""
    try:
        outputs, _ = asyncio.run(kill_in_mid_stream(forget=True))
    except client.SessionLostError as error:
        assert "two answers" in str(error)
    else:
        assert outputs != alone()


def test_frames_are_kept_only_until_they_are_saved():
    async def test():
        async with cluster(1, every=8) as made:
            call = client.Call(made.url, NAME)
            longest = 0

            def on_answer(call, _):
                nonlocal longest
                longest = max(longest, len(call.kept))

            call.on_answer = on_answer

            assert await call.run(as_they_come(call)) == alone()
            return longest

    assert asyncio.run(test()) <= 8 + 2 * 4


async def wake_up_stale(careless, url=None):
    """Have an owner sleep while the session moves, and go on stepping then."""
    async with (
        cluster(every=8, careless=careless, url=url) as made,
        aiohttp.ClientSession() as http,
    ):
        old = await made.servers[0].place(NAME)
        async with http.ws_connect(old["url"]) as stale:
            await stale.send_json({"ticket": old["ticket"]})
            await exchange(stale, range(9))
            await until(lambda: made.servers[0]._sessions[NAME].saved == 8)
            new = await made.servers[1].place(NAME)
            async with http.ws_connect(new["url"]) as fresh:
                await fresh.send_json({"ticket": new["ticket"]})
                await exchange(fresh, range(new["counter"], 24))
                await until(lambda: made.servers[1]._sessions[NAME].saved >= 16)
                before = await made.memory.read(NAME)
                # Other frames than the client has sent to the new owner.
                with_other = [send(stale, number, -FRAMES[number]) for number in range(9, 33)]
                await asyncio.gather(*with_other, return_exceptions=True)
                code = await close_code(stale) if not careless else None
                if careless:
                    await until(lambda: made.servers[0]._sessions[NAME].saved > 8)
                return new, before, await made.memory.read(NAME), code


async def exchange(websocket, numbers):
    answers = []
    for number in numbers:
        await send(websocket, number, FRAMES[number])
        answers.append(await websocket.receive_bytes())
    return answers


async def send(websocket, number, x):
    await websocket.send_bytes(sessions.FRAME.pack(number) + x.astype("<f4").tobytes())


async def close_code(websocket):
    while True:
        message = await websocket.receive(timeout=10)
        if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
            return websocket.close_code


def test_a_stale_owner_that_wakes_up_is_closed_and_has_written_nothing(url):
    new, before, after, code = asyncio.run(wake_up_stale(careless=False, url=url))
    assert (new["epoch"], new["counter"]) == (2, 8)
    assert before == after
    assert before.version.epoch == 2
    assert code == sessions.Close.STALE


def test_a_stale_owner_that_has_written_would_be_noticed():
    """The control, with a store that does not compare."""
    _, before, after, _ = asyncio.run(wake_up_stale(careless=True))
    assert before != after


def test_a_store_that_has_lost_the_session_is_never_made_up_for():
    async def test():
        async with cluster(every=8) as made:
            call = client.Call(made.url, NAME, patience=5)

            async def lose():
                await until(lambda: made.servers[0]._sessions[NAME].saved >= 8)
                await until(lambda: 0 not in call.kept)
                found = await made.memory.read(NAME)
                assert (await made.memory.swap(NAME, found.version, None))[0]
                made.kill(0)

            await call.run(as_they_come(call, 60, lose))

    with pytest.raises(
        client.SessionLostError, match="goes on with frame 0, the client has frames"
    ):
        asyncio.run(test())


def test_without_the_store_frames_are_answered_for_a_while_and_then_again_exactly():
    async def test():
        async with cluster(1, every=8, max_unsaved=24) as made:
            call = client.Call(made.url, NAME, patience=10)
            closed = []

            async def come_back():
                await until(lambda: len(call.outputs) >= 24)
                await asyncio.sleep(0.1)
                closed.append(len(call.outputs))
                made.stores[0].is_down = False

            async def down():
                made.stores[0].is_down = True

            back = asyncio.create_task(come_back())
            outputs = await call.run(as_they_come(call, 16, down))
            await back
            return outputs, call, closed

    outputs, call, (at,) = asyncio.run(test())
    assert outputs == alone()
    assert len(call.placements) > 1
    assert 24 <= at <= 16 + 24  # at most 16 were saved before


BAD = {
    "text": (lambda ws: ws.send_str("hello"), sessions.Close.BAD_MESSAGE),
    "short": (lambda ws: ws.send_bytes(b"12345"), sessions.Close.BAD_MESSAGE),
    "later": (lambda ws: send(ws, 1, FRAMES[0]), sessions.Close.BAD_MESSAGE),
    "huge": (lambda ws: ws.send_bytes(bytes(10**6)), aiohttp.WSCloseCode.MESSAGE_TOO_BIG),
}


@pytest.mark.parametrize("what", BAD)
def test_clients_that_send_nonsense_are_closed_and_others_unharmed(what):
    async def test():
        act, expected = BAD[what]
        async with cluster(1) as made, aiohttp.ClientSession() as http:
            where = await made.servers[0].place("bad")
            other = await made.servers[0].place("good")
            async with http.ws_connect(where["url"]) as bad, http.ws_connect(other["url"]) as good:
                await bad.send_json({"ticket": where["ticket"]})
                await good.send_json({"ticket": other["ticket"]})
                answers = await exchange(good, range(5))
                await act(bad)
                assert await close_code(bad) == expected
                answers += await exchange(good, range(5, 20))
                return [answer[sessions.ANSWER.size :] for answer in answers]

    assert asyncio.run(test()) == alone()[:20]


HELLOS = [
    {"ticket": "guessed"},
    {"ticket": 7},
    {"ticket": "ä"},
    {},
    [],
    None,
]


@pytest.mark.parametrize("hello", HELLOS, ids=json.dumps)
def test_without_its_ticket_nobody_gets_a_session(hello):
    async def test():
        async with cluster(1) as made, aiohttp.ClientSession() as http:
            where = await made.servers[0].place(NAME)
            async with http.ws_connect(where["url"]) as stranger:
                await stranger.send_json(hello)
                assert await close_code(stranger) == sessions.Close.NO_TICKET
            async with http.ws_connect(made.servers[0].url + "nobody") as stranger:
                await stranger.send_json({"ticket": where["ticket"]})
                assert await close_code(stranger) == sessions.Close.NO_TICKET
            async with http.ws_connect(where["url"]) as owner:
                await owner.send_json({"ticket": where["ticket"]})
                assert len(await exchange(owner, range(2))) == 2
                async with http.ws_connect(where["url"]) as second:
                    await second.send_json({"ticket": where["ticket"]})
                    assert await close_code(second) == sessions.Close.NO_TICKET
                assert len(await exchange(owner, range(2, 4))) == 2

    asyncio.run(test())


def test_a_full_server_says_so_and_takes_sessions_again_when_some_have_left():
    async def test():
        async with cluster(1, max_sessions=1) as made:
            await made.servers[0].place("idle")
            with pytest.raises(sessions.FullError, match="1 sessions are here"):
                await made.servers[0].place("other")
            await made.servers[0].place("idle")  # the same one is no other
            made.servers[0]._idle_seconds = 0.0
            assert await client.call(made.url, NAME, as_they_come()) == alone()

    asyncio.run(test())


def test_a_snapshot_of_another_model_is_refused():
    async def test():
        async with cluster(1) as made:
            lease = await stores.claim(made.memory, NAME, "a")
            await stores.save(made.memory, lease, 8, LSTM.random(3, 5, seed=1).stream().snapshot())
            await client.call(made.url, NAME, as_they_come())

    with pytest.raises(client.SessionLostError, match="other weights"):
        asyncio.run(test())


def test_leaving_saves_and_the_next_one_goes_on():
    async def test():
        async with cluster(every=64) as made, aiohttp.ClientSession() as http:
            where = await made.servers[0].place(NAME)
            async with http.ws_connect(where["url"]) as websocket:
                await websocket.send_json({"ticket": where["ticket"]})
                answers = await exchange(websocket, range(10))
            await until(lambda: len(made.servers[0]) == 0)
            await until_saved(made.memory, 10)
            where = await made.servers[1].place(NAME)
            assert where["counter"] == 10
            async with http.ws_connect(where["url"]) as websocket:
                await websocket.send_json({"ticket": where["ticket"]})
                answers += await exchange(websocket, range(10, 20))
            return [answer[sessions.ANSWER.size :] for answer in answers]

    assert asyncio.run(test()) == alone()[:20]


async def until_saved(store, counter):
    while (await store.read(NAME)).version.counter < counter:
        await asyncio.sleep(0)


def test_a_client_whose_frames_raise_says_so_and_stops():
    async def bad():
        yield FRAMES[0]
        raise ZeroDivisionError

    async def test():
        async with cluster(1) as made:
            await asyncio.wait_for(client.call(made.url, NAME, bad()), 10)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(test())


def test_nobody_there_is_said_after_the_patience():
    async def test():
        await client.Call("http://127.0.0.1:9/", NAME, patience=0.3).run(as_they_come())

    with pytest.raises(client.SessionLostError, match=NAME):
        asyncio.run(test())


@pytest.mark.parametrize("every", [0, 9])
def test_how_often_to_save_is_checked(every):
    with pytest.raises(ValueError, match=f"every is {every}"):
        sessions.SessionServer(LSTM_HERE, None, every=every, max_unsaved=8)
