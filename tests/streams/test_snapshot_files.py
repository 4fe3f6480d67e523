"""Snapshots that are given as bytes of any kind, or in a file of any kind."""

from __future__ import annotations

import asyncio
import io
import mmap
import os
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from cases import bits, state_bits
from lstm_fast import LSTM, Model, SnapshotError, snapshots
from lstm_fast.serve import FrameBatcher
from lstm_fast.vad import Chunks, SpeechEvents
from snapshot_cases import used


@pytest.fixture(scope="module")
def lstm():
    return LSTM.random(3, 5)


class Named:
    """What `os.PathLike` asks for, and no more."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return os.fspath(self.path)


class NamedInBytes(Named):
    def __fspath__(self):
        return os.fsencode(self.path)


@contextmanager
def mapped(path):
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as found:
        yield found


@contextmanager
def behind_a_prefix(path):
    with open(path.with_name("longer"), "w+b") as file:
        file.write(b"something else" + path.read_bytes())
        file.seek(len(b"something else"))
        yield file


@contextmanager
def as_it_is(given):
    yield given


KINDS = {
    "bytes": lambda path: as_it_is(path.read_bytes()),
    "bytearray": lambda path: as_it_is(bytearray(path.read_bytes())),
    "memoryview": lambda path: as_it_is(memoryview(path.read_bytes())),
    "every other byte": lambda path: as_it_is(
        memoryview(b"".join(bytes([one, 0]) for one in path.read_bytes()))[::2]
    ),
    "path": as_it_is,
    "link": lambda path: as_it_is(linked(path)),
    "PathLike": lambda path: as_it_is(Named(path)),
    "PathLike of bytes": lambda path: as_it_is(NamedInBytes(path)),
    "BytesIO": lambda path: as_it_is(io.BytesIO(path.read_bytes())),
    "open file": lambda path: path.open("rb"),
    "open file without a buffer": lambda path: path.open("rb", buffering=0),
    "open file from where it stands": behind_a_prefix,
    "mmap": mapped,
}


def linked(path):
    link = path.with_name("link")
    link.symlink_to(path)
    return link


def ways(lstm):
    """Return by name: a snapshot, and what another session of its kind makes of one."""
    stream, pool = used(lstm), lstm.pool(1)
    model = Model.from_program(lstm.program).stream()
    model.run(np.ones((3, 3), np.float32))
    chunks, events = Chunks(48000), SpeechEvents()
    chunks.push(np.ones(1000, np.float32))
    events.push(0.9)

    def of(new, session):
        def restored(given):
            fresh = new()
            fresh.restore(given)
            return fresh.snapshot()

        return session.snapshot(), restored

    def of_pool(given):
        handle = pool.restore(given)
        found = pool.snapshot(handle)
        pool.close(handle)
        return found

    return {
        "Stream": of(lstm.stream, stream),
        "StreamPool": (stream.snapshot(), of_pool),
        "ModelStream": of(model.model.stream, model),
        "Chunks": of(lambda: Chunks(48000), chunks),
        "SpeechEvents": of(SpeechEvents, events),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_a_snapshot_of_any_kind(lstm, kind, tmp_path):
    for name, (taken, restored) in ways(lstm).items():
        path = tmp_path / name / "session.snapshot"
        path.parent.mkdir()
        path.write_bytes(taken)
        with KINDS[kind](path) as given:
            assert restored(given) == taken
        damaged = bytearray(taken)
        damaged[3] ^= 1  # the control: it is what the file holds that is read
        path.write_bytes(damaged)
        (path.with_name("link")).unlink(missing_ok=True)
        with KINDS[kind](path) as given, pytest.raises(SnapshotError):
            restored(given)


def test_a_batcher_reads_a_file_once_however_often_it_looks_for_room(lstm):
    stream = used(lstm)

    async def restored(given):
        async with (
            FrameBatcher(lstm.pool(1), grow=1) as batcher,
            batcher.session(),
            batcher.session(given) as session,
        ):
            return await session.snapshot()

    for given in (stream.snapshot(), io.BytesIO(stream.snapshot())):
        assert asyncio.run(restored(given)) == stream.snapshot()


def nothing_that_ends(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    return [tmp_path / "fifo", tmp_path / "loop", tmp_path, Path(os.devnull), Path("/dev/zero")]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files here")
def test_what_is_no_regular_file_is_refused_in_words(lstm, tmp_path):
    stream = used(lstm)
    before = state_bits(stream)
    for path in nothing_that_ends(tmp_path):
        with pytest.raises(SnapshotError, match=r"directory|pipe or device|leads to itself"):
            stream.restore(path)
    reading, writing = os.pipe()
    refused = pytest.raises(SnapshotError, match="pipe or device")
    with open(reading, "rb") as pipe, open(writing, "wb"), refused:
        stream.restore(pipe)
    with pytest.raises(FileNotFoundError):
        stream.restore(tmp_path / "nothing")
    assert state_bits(stream) == before


@pytest.mark.parametrize("kind", ["path", "open file", "BytesIO", "bytes", "bytearray"])
def test_a_file_is_read_as_far_as_a_snapshot_can_reach(lstm, kind, tmp_path):
    """Of holes: no disk holds it, nor may memory."""
    stream, taken = used(lstm), used(lstm).snapshot()
    most, path = lstm._snapshot_form().most, tmp_path / "large"
    in_memory = kind not in ("path", "open file")
    for size in (most + 1, most + 2**20 if in_memory else 2**40):
        with open(path, "wb") as file:
            file.write(taken)
            file.truncate(size)
        with KINDS[kind](path) as given, pytest.raises(SnapshotError, match=f"{most}"):
            stream.restore(given)
    with open(path, "r+b") as file:  # the control: up to there it is looked at
        file.truncate(most)
    with KINDS[kind](path) as given, pytest.raises(SnapshotError, match="checksum"):
        stream.restore(given)


def test_what_is_no_file_of_bytes(lstm, tmp_path):
    stream = lstm.stream()
    path = tmp_path / "session.snapshot"
    path.write_bytes(stream.snapshot())
    with open(path, encoding="latin-1") as file, pytest.raises(TypeError, match="text mode"):
        stream.restore(file)
    with pytest.raises(TypeError, match="text mode"):
        stream.restore(io.StringIO("LSTMFAST"))
    with pytest.raises(TypeError, match=r"found str; one that is in a file is given as a pathlib"):
        stream.restore(str(path))
    stream.restore(path)  # the control


def test_bytes_are_taken_as_they_are(lstm, monkeypatch):
    """The quick way: nothing is copied and no file is looked for."""
    from lstm_fast import _source

    taken = used(lstm).snapshot()
    monkeypatch.setattr(_source, "Source", None)
    assert snapshots.to_bytes(taken, len(taken)) is taken
    assert bits(*lstm._from_snapshot(taken)) == state_bits(used(lstm))
    with pytest.raises(TypeError):
        snapshots.to_bytes(io.BytesIO(taken), len(taken))  # the control: that way there is one
