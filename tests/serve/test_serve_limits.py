"""What a client may not do: it is closed with a code and a reason, and others go on."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serve_cases import MODEL, SIZE, alone, bursts, cut, run, serving

from lstm_fast.serve.limits import Close, Limits, Refusal, Relief

PCM = bursts(1.0)
START = {"type": "start", "rate": 16000}


async def beside(service, misbehave):
    """Let a client misbehave while another one talks; the other one must not notice."""
    async with service.client() as good:
        await good.begin()
        parts = [*cut(PCM, [SIZE])]
        for part in parts[:10]:
            await good.send(part)
        result = await misbehave()
        for part in parts[10:]:
            await good.send(part)
        await good.end()
        assert await good.read_all() == (1000, "all is answered")
        assert good.answers == alone(PCM, flush=True)
    return result


FIRST = [
    ("", 4400, "JSON"),
    ("{", 4400, "JSON"),
    ("[" * 10_000, 4400, "JSON"),
    ("null", 4400, "object"),
    ("[]", 4400, "object"),
    ('{"type": "end"}', 4400, "first message"),
    (b"\0\0", 4400, "first message"),
    ({}, 4400, "first message"),
    ({**START, "sesion": 1}, 4400, "'sesion' is unknown"),
    ({**START, "rate": "16000"}, 4400, "integer"),
    ({**START, "rate": True}, 4400, "integer"),
    ({**START, "rate": 16000.5}, 4400, "integer"),
    ({"type": "start"}, 4400, "integer"),
    ({**START, "rate": 12}, 4400, "rate is 12 Hz"),
    ({**START, "rate": 10**30}, 4400, "rate is 10000"),
    ({**START, "rate": 16001}, 4400, "16001"),
    ({**START, "threshold": 2}, 4400, "threshold is 2"),
    ({**START, "threshold": "high"}, 4400, "number"),
    ({**START, "turn_pause_ms": -1}, 4400, "turn_pause_ms is -1"),
    ({**START, "turn_pause_ms": [1]}, 4400, "number"),
    ({**START, "token": 7}, 4400, "token"),
    ({**START, "received": 5}, 4400, "taken up"),
    ({**START, "session": "x"}, 4400, "id that this service gave"),
    ({"type": "start", "session": "../../../../etc/passwd"}, 4400, "id that"),
    ({"type": "start", "session": "A" * 22}, 4410, "not kept"),
    ({"type": "start", "session": "A" * 22, "received": -1}, 4400, "count"),
    ({"type": "start", "session": "A" * 22, "received": 1.5}, 4400, "count"),
    ({"type": "start", "session": "A" * 22, "rate": 16000}, 4400, "its own rate"),
]


def test_a_wrong_first_message_is_told_what_is_wrong():
    async def scene():
        async with serving() as service:
            for message, code, reason in FIRST:

                async def misbehave(message=message):
                    async with service.client() as bad:
                        if isinstance(message, bytes):
                            await bad.socket.send_bytes(message)
                        else:
                            text = message if isinstance(message, str) else json.dumps(message)
                            await bad.socket.send_str(text)
                        return await bad.read_all()

                got_code, got_reason = await misbehave()
                assert (got_code, reason in got_reason) == (code, True), (message, got_reason)
            assert service.hub.meter.begun == 0
            assert (await beside(service, misbehave))[0] == FIRST[-1][1]

    run(scene())


@pytest.mark.parametrize(
    ("send", "code", "reason"),
    [
        (lambda bad: bad.send(b"\0\0\0"), 4400, "3 bytes ends within a sample"),
        (lambda bad: bad.socket.send_str("hello"), 4400, "JSON"),
        (lambda bad: bad.socket.send_str('{"type": "start"}'), 4400, "after start come"),
        (lambda bad: bad.send(bytes(4098)), 1009, "4098 bytes: 4096 are taken"),
        (lambda bad: bad.send(bytes(20_000)), 1009, "too large"),
    ],
    ids=["half a sample", "text", "start again", "too large", "much too large"],
)
def test_a_wrong_message_is_told_what_is_wrong(send, code, reason):
    async def scene():
        async with serving(message_bytes=4096) as service:

            async def misbehave():
                async with service.client() as bad:
                    await bad.begin()
                    await bad.send(PCM[: 2 * SIZE])
                    await send(bad)
                    got_code, got_reason = await bad.read_all()
                    assert got_code == code
                    assert reason in got_reason
                    return bad

            bad = await beside(service, misbehave)
            assert [one[:3] for one in bad.answers] in ([], [one[:3] for one in alone(PCM)[:1]])
            async with service.client() as again:  # who has broken a rule begins anew
                await again.resume(bad.ready["session"], 0)
                assert (await again.read_all())[0] == 4410
            assert service.hub.meter.closes[Close(code)] == 1

    run(scene())


def test_garbage_that_is_no_websocket():
    """Bytes after the handshake that are not frames: RFC 6455 has a code for that."""

    async def scene():
        async with serving() as service:

            async def misbehave():
                async with service.client() as bad:
                    await bad.begin()
                    bad.socket._writer.transport.write(b"\xff" * 64)
                    return await bad.read_all()

            code, reason = await beside(service, misbehave)
            assert code == 1002
            assert "RFC 6455" in reason

    run(scene())


def test_a_client_that_floods_is_closed():
    async def scene():
        async with serving(burst=1.0, speed=0.001) as service, service.client() as good:
            await good.begin()
            await good.send(PCM[: 2 * 16000 - 2])  # just what may be
            async with service.client() as bad:
                await bad.begin()
                for part in cut(PCM + PCM, [SIZE]):
                    await bad.send(part)
                reason = "more than 1 s of audio and 0.001 times real time"
                assert await bad.read_all() == (4429, reason)
                assert bad.answers == alone(PCM)  # of what came before
            await good.read(31)
            assert good.answers == alone(PCM)[:31]

    run(scene())


def test_a_client_that_does_not_read_is_closed():
    async def scene():
        async with serving(unread=2000) as service:

            async def misbehave():
                async with service.client() as bad:
                    await bad.begin()
                    transport = bad.socket._writer.transport
                    transport.pause_reading()
                    pcm = bytes(2 * SIZE * 100)  # whose answers soon fill what the kernel holds
                    while not service.hub.meter.closes:
                        if not service.hub.batcher.waiting:
                            await bad.send(pcm)
                        await asyncio.sleep(0)
                    transport.resume_reading()
                    return await bad.read_all()

            code, reason = await beside(service, misbehave)
            assert (code, reason) == (4430, "answers are not read")

    run(scene())


def test_sessions_are_counted():
    async def scene():
        async with (
            serving(sessions=2) as service,
            service.client() as one,
            service.client() as two,
            service.client() as three,
        ):
            await one.begin()
            await two.begin()
            await three.start()
            assert await three.read_all() == (4503, "2 sessions are live: try again later")
            await one.end()
            await one.read_all()
            async with service.client() as four:
                await four.begin()  # there is room again

    run(scene())


def test_who_says_nothing_is_closed(monkeypatch):
    monkeypatch.setattr("lstm_fast.serve.hub.LOOK", 0.01)

    async def scene():
        async with serving(idle=0.3, start=0.2) as service:
            async with service.client() as silent, service.client() as idle:
                await idle.begin()
                assert await silent.read_all() == (4408, "no start message within 0.2 s")
                assert await idle.read_all() == (4408, "no audio for 0.3 s")
            async with service.client() as again:  # an idle session can be taken up
                await again.resume(idle.ready["session"], 0)
                assert await again.read_one()

    run(scene())


def test_windows_that_wait_are_counted(monkeypatch):
    """Where the server does not keep up; what was taken is answered, and the session kept."""

    async def scene():
        async with serving(waiting=3) as service:
            async with service.client() as client:
                await client.begin()
                monkeypatch.setattr(service.hub.batcher, "_max_delay", 0.05)
                await client.send(PCM[: 2 * SIZE * 8])
                await client.send(PCM[2 * SIZE * 8 : 2 * SIZE * 9])
                code, reason = await client.read_all()
                assert code == 4503
                assert "does not keep up" in reason
            async with service.client() as again:
                await again.resume(client.ready["session"], client.received)
                await again.read_one()
                assert again.ready["samples"] == SIZE * 8
                await again.send(PCM[2 * SIZE * 8 : 2 * SIZE * 9])
                await again.read(9 - len(client.answers))
                assert client.answers + again.answers == alone(PCM)[:9]

    run(scene())


def test_a_step_that_fails_ends_its_calls_and_no_other():
    class Pool:
        """Fails once when told to."""

        def __init__(self):
            self.real, self.fails = MODEL.pool(8), False
            self.model = MODEL

        def step(self, handles, xs, out):
            if self.fails:
                self.fails = False
                raise MemoryError("none left")
            self.real.step(handles, xs, out=out)

        def __getattr__(self, name):
            return getattr(self.real, name)

        def __len__(self):
            return len(self.real)

    pool = Pool()

    async def scene():
        async with serving(pool=pool) as service:

            async def misbehave():
                async with service.client() as bad:
                    await bad.begin()
                    await asyncio.sleep(0.1)
                    pool.fails = True
                    await bad.send(PCM[: 2 * SIZE])
                    return await bad.read_all()

            code, reason = await beside(service, misbehave)
            assert code == 1011
            assert "none left" in reason
            assert service.hub.meter.dropped == 1

    run(scene())


def test_limits_that_let_nothing_through_are_refused():
    with pytest.raises(ValueError, match="idle is 0, expected more than 0"):
        Limits(idle=0)


def test_a_reason_fits_into_a_close_frame():
    assert len(Refusal(Close.FULL, "x" * 122 + "ü").message) == 122
    assert Refusal(Close.FULL, "ü").message == "ü".encode()


THINGS = st.one_of(
    st.binary(max_size=40),
    st.text(max_size=20),
    st.sampled_from(["", "{}", "[]", '{"type": "end"}', '{"type": "start", "rate": 8000}', "\0"]),
    st.integers(1, 60).map(lambda size: bytes(2 * size)),
)


@settings(max_examples=15)
@given(st.lists(st.lists(THINGS, max_size=8), max_size=8), st.booleans())
def test_whatever_is_sent_others_go_on(calls, begins):
    """Each of these clients is answered or told why not; the one beside them never notices."""

    async def send(service, things):
        async with service.client() as client:
            if begins:
                await client.begin()
            for thing in things:
                if client.socket._response.connection is None:
                    break
                with suppress(ConnectionError):
                    if isinstance(thing, bytes):
                        await client.send(thing)
                    else:
                        await client.socket.send_str(thing)
            with suppress(ConnectionError):
                await client.end()
            code, reason = await client.read_all()
            assert code in (1000, 1007, 4400)
            assert reason

    async def scene():
        async with serving() as service:

            async def misbehave():
                await asyncio.gather(*(send(service, things) for things in calls))

            await beside(service, misbehave)

    run(scene())


def overloaded(sessions, most, *, waiting=0, seconds=60, limit=10_000):
    """Play a server that can do that many windows in a second; return who is left, what waits."""
    relief, now = Relief(limit), 0.0
    for _ in range(int(seconds / 0.032)):
        for number in range(sessions):
            time = now + 0.032 * number / sessions
            ended = relief.ends(int(waiting), time)
            sessions -= ended
            waiting += not ended
        now += 0.032
        waiting = max(0.0, waiting - 0.032 * most)
    return sessions, waiting


def test_no_more_sessions_are_ended_than_it_takes():
    for most in (5000, 8000, 12_000):  # of the 15,625 that 500 sessions send
        left, waiting = overloaded(500, most)
        assert 0.85 * most <= 31.25 * left <= 1.02 * most, (most, left)
        assert waiting < 2 * 10_000
    assert overloaded(500, 16_000) == (500, 0)


def test_a_backlog_that_shrinks_ends_nobody():
    assert overloaded(500, 20_000, waiting=19_000) == (500, 0)


def test_far_beyond_the_limit_whoever_sends_is_ended():
    assert overloaded(500, 0, waiting=20_001, seconds=0.1) == (0, 20_001)
