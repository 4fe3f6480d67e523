"""Sessions that lose their connection or server go on elsewhere: no sample, no bit is lost."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import AsyncExitStack

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serve_cases import RATE, SIZE, alone, bursts, cut, run, serving

from lstm_fast import SnapshotError
from lstm_fast.serve.calls import Call
from lstm_fast.serve.keeping import Kept, Store

PCM = bursts(1.6)
OPTIONS = {"min_silence_ms": 64, "turn_pause_ms": 200}
EXPECTED = alone(PCM, flush=True, min_silence_duration_ms=64, turn_pause_ms=200)


async def drop(client):
    """Lose the connection without a word."""
    client.socket._response.connection.transport.abort()


async def gone(service):
    while service.hub.calls:
        await asyncio.sleep(0.001)


async def finish(client, pcm):
    for part in cut(pcm, [700]):
        await client.send(part)
    await client.end()
    assert await client.read_all() == (1000, "all is answered")


@pytest.mark.parametrize("in_files", [False, True])
@pytest.mark.parametrize("sent", [0, 100, 3 * SIZE, 20 * SIZE + 77])
def test_a_lost_connection(in_files, sent, tmp_path):
    async def scene():
        async with serving(tmp_path if in_files else None) as service:
            async with service.client() as first:
                await first.begin(**OPTIONS)
                for part in cut(PCM[: 2 * sent], [300]):
                    await first.send(part)
                await first.read(sent // SIZE // 2)  # not all of them
                await drop(first)
            await gone(service)
            assert len(service.hub.store) == 1
            async with service.client() as second:
                await second.resume(first.ready["session"], first.received)
                await second.read_one()
                taken = second.ready["samples"]
                assert taken <= sent
                await finish(second, PCM[2 * taken :])
            assert first.answers + second.answers == EXPECTED
            assert second.done["windows"] == len(EXPECTED)
            assert len(service.hub.store) == 0  # it has ended

    run(scene())


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_server_that_stops_in_the_middle(rate, tmp_path):
    """Five sessions at different places; each has the answers of one that was never moved."""
    pcms = [bursts(0.9, rate, seed) for seed in range(5)]
    places = [0, 5, rate // 10, rate // 3, rate // 2]

    async def scene():
        async with serving(tmp_path) as one, AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(one.client()) for _ in pcms]
            for client, pcm, place in zip(clients, pcms, places, strict=True):
                await client.begin(rate=rate)
                for part in cut(pcm[: 2 * place], [250]):
                    await client.send(part)
            stopping = asyncio.ensure_future(one.server.stop())
            codes = await asyncio.gather(*(client.read_all() for client in clients))
            assert {code for code, _ in codes} == {1012}
            assert "come back with your session" in codes[0][1]
            assert await stopping == 5
        assert len([*tmp_path.glob("*.session")]) == 5
        async with serving(tmp_path) as two:
            for client, pcm in zip(clients, pcms, strict=True):
                async with two.client() as again:
                    await again.resume(client.ready["session"], client.received)
                    await again.read_one()
                    await finish(again, pcm[2 * again.ready["samples"] :])
                    assert client.answers + again.answers == alone(pcm, rate, flush=True)
            assert two.hub.meter.resumed == 5
        assert [*tmp_path.iterdir()] == []

    run(scene())


def test_answers_that_the_client_has_not_had_are_repeated():
    async def scene():
        async with serving() as service:
            async with service.client() as first:
                await first.begin()
                await first.send(PCM[: 2 * SIZE * 10])
                await first.read(10)
                await drop(first)
            await gone(service)
            async with service.client() as second:  # as if the last seven had been lost
                await second.resume(first.ready["session"], 3 * SIZE)
                await second.read(7)
                assert second.answers == alone(PCM)[3:10]
                assert second.ready["samples"] == 10 * SIZE
                await drop(second)
            await gone(service)
            async with service.client() as third:
                await third.resume(first.ready["session"], 10 * SIZE)
                await third.read_one()
                await third.send(PCM[2 * SIZE * 10 : 2 * SIZE * 11])
                await third.read(1)
                assert third.answers == alone(PCM)[10:11]

    run(scene())


def test_answers_that_are_not_kept_any_more():
    async def scene():
        async with serving(replies=4) as service:
            async with service.client() as first:
                await first.begin()
                await first.send(PCM[: 2 * SIZE * 10])
                await first.read(10)
                await drop(first)
            await gone(service)
            async with service.client() as second:
                await second.resume(first.ready["session"], 5 * SIZE)
                code, reason = await second.read_all()
                assert code == 4410
                assert "answers before sample 3584 are not kept" in reason

    run(scene())


def test_another_connection_takes_over():
    """As where a network is lost that the server does not know of."""

    async def scene():
        async with serving() as service, service.client() as first:
            await first.begin()
            await first.send(PCM[: 2 * SIZE * 3])
            await first.read(3)
            async with service.client() as second:
                await second.resume(first.ready["session"], first.received)
                assert await first.read_all() == (
                    4409,
                    "another connection goes on with this session",
                )
                await second.read_one()
                await finish(second, PCM[2 * second.ready["samples"] :])
            assert first.answers + second.answers == alone(PCM, flush=True)

    run(scene())


def test_a_session_that_is_over_is_not_kept():
    async def scene():
        async with serving() as service:
            for leave in (lambda one: one.end(), lambda one: one.socket.close(code=1000)):
                async with service.client() as client:
                    await client.begin()
                    await client.send(PCM[: 2 * SIZE])
                    await leave(client)
                    if not client.socket.closed:
                        await client.read_all()
                await gone(service)
                assert len(service.hub.store) == 0
            async with service.client() as client:  # a page that is left says 1001
                await client.begin()
                await client.socket.close(code=1001)
            await gone(service)
            assert len(service.hub.store) == 1

    run(scene())


def test_a_killed_server_is_continued_from_its_checkpoint(tmp_path):
    """Nothing is kept at the end: what was written before must do, and the client knows of it."""

    async def scene():
        async with serving(tmp_path, checkpoint=0.01) as one:
            async with one.client() as first:
                await first.begin(**OPTIONS)
                await first.send(PCM[: 2 * SIZE * 5 + 200])
                await first.read(5)
                while not any(told["samples"] == SIZE * 5 + 100 for told in first.others):
                    await first.read_one()
                for task in one.server._tasks:  # no checkpoint from here on
                    task.cancel()
                await first.send(PCM[2 * SIZE * 5 + 200 : 2 * SIZE * 12])
                await first.read(12)
                written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
                await first.end()
                await first.read_all()
            assert [*tmp_path.iterdir()] == []  # it has ended
        for name, data in written.items():
            (tmp_path / name).write_bytes(data)
        async with serving(tmp_path) as two, two.client() as second:
            await second.resume(first.ready["session"], 12 * SIZE)
            await second.read_one()
            saved = second.ready["samples"]
            assert saved == SIZE * 5 + 100
            await finish(second, PCM[2 * saved :])
            assert first.answers[:12] + second.answers == EXPECTED  # none is given twice

    run(scene())


def test_a_restored_session_needs_its_state(monkeypatch):
    """Negative control: with the model's state left out, answers differ."""

    async def scene():
        async with serving() as service:
            async with service.client() as first:
                await first.begin()
                await first.send(PCM[: 2 * 20_000])
                await first.read(20_000 // SIZE)
                fresh = service.hub.batcher._pool
                handle = fresh.open()
                monkeypatch.setattr(Call, "keep", forgetful(Call.keep, fresh.snapshot(handle)))
                fresh.close(handle)
                await drop(first)
            await gone(service)
            async with service.client() as second:
                await second.resume(first.ready["session"], first.received)
                await second.read_one()
                await finish(second, PCM[2 * second.ready["samples"] :])
            assert len(first.answers + second.answers) == len(alone(PCM, flush=True))
            assert first.answers + second.answers != alone(PCM, flush=True)

    def forgetful(keep, fresh):
        return lambda self, snapshot: keep(self, fresh)

    run(scene())


# ---- what is kept ----

KEPT = Kept("A" * 22, RATE, {"threshold": 0.4}, 5, 1, b"model", b"", b"\0events", [(3, b'{"x":1}')])


def test_any_damage_to_a_kept_session_is_one_error():
    whole = KEPT.to_bytes()
    assert Kept.from_bytes(whole) == KEPT  # the control
    rng = np.random.default_rng(0)
    damaged = [whole[:size] for size in range(0, len(whole), 7)]
    for at in rng.integers(0, len(whole), 200):
        damaged.append(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
    damaged += [b"", whole + b" ", b"LFSERVE1"]
    for data in damaged:
        with pytest.raises(SnapshotError, match="damaged or cut short"):
            Kept.from_bytes(data)


def forged(change):
    """The bytes of that session with other facts, and a checksum that fits."""
    body = KEPT.to_bytes()[:-32]
    size = int.from_bytes(body[8:12], "little")
    text = change(body[12 : 12 + size])
    body = body[:8] + len(text).to_bytes(4, "little") + text + body[12 + size :]
    return body + hashlib.sha256(body).digest()


FORGED = {
    "deeply nested": lambda text: b"[" * 100_000,
    "deeply nested options": lambda text: text.replace(b"0.4", b"[" * 50_000 + b"]" * 50_000),
    "UTF-16": lambda text: text.decode().encode("utf-16"),
    "a mark": lambda text: text.decode().encode("utf-8-sig"),
    "a list": lambda text: b"[" + text + b"]",
    "a key twice": lambda text: b'{"taken": 1, ' + text[1:],
    "a key more": lambda text: text[:-1] + b', "more": 1}',
    "a key less": lambda text: text.replace(b'"windows": 1, ', b""),
    "another form": lambda text: text.replace(b": ", b":"),
    "no id": lambda text: text.replace(b'"%s"' % (b"A" * 22), b"22"),
    "half a surrogate": lambda text: text.replace(b'{\\"x\\":1}', b"\\ud800"),
    "taken true": lambda text: text.replace(b'"taken": 5', b'"taken": true'),
    "taken a float": lambda text: text.replace(b'"taken": 5', b'"taken": 5.0'),
    "taken of 4000 digits": lambda text: text.replace(b'"taken": 5', b'"taken": ' + b"9" * 4000),
    "taken of a million": lambda text: text.replace(b'"taken": 5', b'"taken": ' + b"9" * 1_000_000),
    "taken -1": lambda text: text.replace(b'"taken": 5', b'"taken": -1'),
    "windows null": lambda text: text.replace(b'"windows": 1', b'"windows": null'),
    "a rate of 1 Hz": lambda text: text.replace(b'"rate": 16000', b'"rate": 1'),
    "a rate of 4000 digits": lambda text: text.replace(b"16000", b"9" * 4000),
    "a rate that is a text": lambda text: text.replace(b"16000", b'"16000"'),
    "an option of 4000 digits": lambda text: text.replace(b"0.4", b"9" * 4000),
    "an option NaN": lambda text: text.replace(b"0.4", b"NaN"),
    "an option too many": lambda text: text.replace(b"threshold", b"x" * 100_000),
    "an option that is none of a client's": lambda text: text.replace(b"threshold", b"rate"),
    "options a list": lambda text: text.replace(b'{"threshold": 0.4}', b"[]"),
    "a reply of no samples": lambda text: text.replace(b"[[3, ", b'[["3", '),
    "a reply of three": lambda text: text.replace(b"[[3, ", b"[[3, 3, "),
    "replies a number": lambda text: text.replace(b'"replies": [[3', b'"replies": 3, "x": [[3'),
    "negative sizes": lambda text: text.replace(b"[5, 0, 7]", b"[-5, 10, 7]"),
    "sizes of other parts": lambda text: text.replace(b"[5, 0, 7]", b"[6, 0, 6]"),
    "sizes too few": lambda text: text.replace(b"[5, 0, 7]", b"[5, 0]"),
    "sizes beyond the end": lambda text: text.replace(b"[5, 0, 7]", b"[5, 0, 99999999999]"),
}


@pytest.mark.parametrize("what", FORGED)
def test_a_forged_session_is_one_short_error(what):
    """Its checksum is no secret; and what is in it would be believed by a call."""
    data = forged(FORGED[what])
    if what == "sizes of other parts":
        assert Kept.from_bytes(data).model == b"model\0"  # which is not a snapshot, as it then says
        return
    with pytest.raises(SnapshotError) as caught:
        Kept.from_bytes(data)
    assert len(str(caught.value)) < 300
    assert Kept.from_bytes(forged(lambda text: text)) == KEPT  # the control


def test_a_session_of_a_gigabyte_is_not_read(tmp_path):
    store = Store(tmp_path, 10, 2)
    path = tmp_path / f"{'A' * 22}.session"
    path.touch()
    os.truncate(path, 2**40)
    with pytest.raises(SnapshotError, match="more than 16777216 bytes"):
        store.take("A" * 22)
    with pytest.raises(SnapshotError, match="16777216 at most"):
        Kept.from_bytes(bytes(2**24 + 1))
    assert [*tmp_path.iterdir()] == []
    store.put(KEPT)
    assert store.take(KEPT.session) == KEPT  # the control


@settings(max_examples=5)
@given(st.binary(max_size=20), st.lists(st.tuples(st.integers(0, 2**53), st.text(max_size=5))))
def test_what_is_kept_comes_back(model, replies):
    kept = Kept(
        "x", 8000, {}, 7, 2, model, model[::-1], b"e", [(n, t.encode()) for n, t in replies]
    )
    assert Kept.from_bytes(kept.to_bytes()) == kept


@pytest.mark.parametrize("in_files", [False, True])
def test_what_is_kept_is_taken_once_and_forgotten_in_time(in_files, tmp_path):
    now = [1e9]
    directory = tmp_path / "deep" / "state" if in_files else None
    store, other = (Store(directory, 10, 2, clock=lambda: now[0]) for _ in range(2))
    store.put(KEPT)
    store.put(KEPT)
    assert len(store) == 1
    taker = other if in_files else store
    assert taker.take(KEPT.session) == KEPT
    assert (store.take(KEPT.session), taker.take("B" * 22)) == (None, None)
    store.put(KEPT)
    store.forget(KEPT.session)
    assert len(store) == 0
    store.put(KEPT)
    store.sweep()
    assert len(store) == 1
    now[0] += 1e10
    store.sweep()
    assert len(store) == 0
    if in_files:
        assert [*directory.iterdir()] == []
        assert directory.stat().st_mode & 0o777 == 0o700
        store.put(KEPT)
        (path,) = directory.iterdir()
        assert path.stat().st_mode & 0o777 == 0o600
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(SnapshotError, match="damaged"):
            store.take(KEPT.session)


def test_memory_keeps_the_latest_ones():
    store = Store(None, 10, 2)
    for name in "abc":
        store.put(Kept(name, RATE, {}, 0, 0, b"", b"", b"", []))
    assert [store.take(name) is not None for name in "abc"] == [False, True, True]


def test_a_damaged_file_is_told_to_the_client(tmp_path):
    async def scene():
        async with serving(tmp_path) as service:
            (tmp_path / f"{'A' * 22}.session").write_bytes(b"LFSERVE1 and nothing else")
            async with service.client() as client:
                await client.resume("A" * 22, 0)
                code, reason = await client.read_all()
                assert code == 4410
                assert "damaged" in reason

    run(scene())


def test_a_session_that_cannot_be_kept_ends_no_other(tmp_path, monkeypatch):
    """As where a disk is full: the other one is kept, and the server says what happened."""
    put, good = Store.put, set()

    def full(self, kept):
        if kept.session not in good:
            raise OSError("no space left on device")
        put(self, kept)

    monkeypatch.setattr(Store, "put", full)

    async def scene():
        async with serving(tmp_path, checkpoint=0.01) as service:
            async with service.client() as first, service.client() as second:
                await first.begin()
                await second.begin()
                good.add(second.ready["session"])
                await second.read_one()  # that it is saved
                await first.send(PCM[: 2 * SIZE])
                await first.read(1)  # it goes on
                stopping = asyncio.ensure_future(service.server.stop())
                assert await first.read_all() == await second.read_all()
                assert await stopping == 1
            assert service.hub.meter.lost >= 1
            assert {path.stem for path in tmp_path.iterdir()} == good

    run(scene())
