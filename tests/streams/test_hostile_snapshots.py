"""Snapshots that were made to harm have a checksum that fits: one error, soon, and in few words."""

from __future__ import annotations

import json
import mmap
import sys
import time
import tracemalloc

import fuzz_snapshots
import numpy as np
import pytest
from fuzz_snapshots import KINDS, OF_SILERO, Session, check, run

from cases import state_bits
from lstm_fast import LSTM, Model, SnapshotError
from snapshot_cases import used
from snapshot_damage import joined, parts, sealed


def made(kind):
    lstm = LSTM.random(3, 5)
    return lstm if kind == "LSTM" else Model.from_program(lstm.program)


@pytest.fixture(params=["LSTM", "Model"])
def model(request):
    return made(request.param)


def taken(model):
    stream = model.stream()
    stream.run(np.ones((3, 3), np.float32))
    return stream.snapshot()


def text_of(header):
    return json.dumps(header).encode()


def fact(key, raw):
    """Write another value of one fact, in JSON, at its place."""
    return lambda header: text_of({**header, key: "@"}).replace(b'"@"', raw.encode())


def nested(depth, begin="[", middle="", end="]"):
    return begin * depth + middle + end * depth


HEADERS = {
    "deeply nested": lambda _: nested(100_000).encode(),
    "deeply nested and not closed": lambda _: b"[" * 1_000_000,
    "deeply nested objects": lambda _: nested(50_000, '{"a":', "1", "}").encode(),
    "a deeply nested version": fact("version", nested(50_000)),
    "deeply nested weight_dtype": fact("weight_dtype", nested(50_000, '{"0":', "1", "}")),
    "UTF-16": lambda h: json.dumps(h).encode("utf-16"),
    "UTF-16, big-endian": lambda h: json.dumps(h).encode("utf-16-be"),
    "UTF-32": lambda h: json.dumps(h).encode("utf-32"),
    "UTF-8 with a mark": lambda h: json.dumps(h).encode("utf-8-sig"),
    "latin-1": lambda h: text_of(h)[:-1] + ', "é": 1}'.encode("latin-1"),
    "no text": lambda _: b"\xff\xfe\x00",
    "NaN": fact("version", "NaN"),
    "Infinity": fact("version", "Infinity"),
    "more than a float": fact("version", "1e999"),
    "twice": lambda h: b'{"version": 9, ' + text_of(h)[1:],
    "twice alike": lambda h: b'{"version": 1, ' + text_of(h)[1:],
    "a key more": lambda h: text_of({**h, "more": 1}),
    "in another order": lambda h: text_of(dict(sorted(h.items()))),
    "without spaces": lambda h: json.dumps(h, separators=(",", ":")).encode(),
    "with a space more": lambda h: text_of(h) + b" ",
    "version true": fact("version", "true"),
    "version a float": lambda h: fact("version", f"{h['version']}.0")(h),
    "version a text": lambda h: fact("version", f'"{h["version"]}"')(h),
    "version a list": fact("version", "[1]"),
    "version an object": fact("version", "{}"),
    "version null": fact("version", "null"),
    "version -1": fact("version", "-1"),
    "version with a zero before it": lambda h: fact("version", f"0{h['version']}")(h),
    "version of 400 digits": fact("version", "9" * 400),
    "version of a million digits": fact("version", "9" * 1_000_000),
    "version of a million digits after a point": fact("version", "1." + "0" * 1_000_000),
    "fingerprint a list": lambda h: text_of({**h, "fingerprint": [h["fingerprint"]]}),
    "fingerprint a number": fact("fingerprint", "12"),
    "fingerprint in capitals": lambda h: text_of({**h, "fingerprint": "A" * 64}),
    "fingerprint of a million letters": fact("fingerprint", '"' + "a" * 1_000_000 + '"'),
    "fingerprint half a surrogate": fact("fingerprint", '"\\ud800"'),
    "fingerprint with lines": fact("fingerprint", '"\\n"'),
    "weight_dtype null": fact("weight_dtype", "null"),
    "weight_dtype a list": fact("weight_dtype", '["float32"]'),
    "weight_dtype of a million letters": fact("weight_dtype", '"' + "f" * 1_000_000 + '"'),
    "weight_dtype of a million names": fact("weight_dtype", "{" + '"0": "int8", ' * 60_000 + "}"),
    "weight_dtype with lines": fact("weight_dtype", '{"\n\r\t\x1b[31m": "int8"}'),
    "one fact only": lambda h: text_of({"version": h["version"]}),
    "not closed": lambda h: text_of(h)[:-1],
    "empty": lambda _: b"",
}
OF_LSTM = {
    "hidden_size a float": fact("hidden_size", "5.0"),
    "hidden_size true": fact("hidden_size", "true"),
    "hidden_size another one": fact("hidden_size", "6"),
    "num_layers of a thousand digits": fact("num_layers", "1" + "0" * 1000),
    "a projection": lambda h: text_of({**h, "proj_size": 5}),
    "without sizes": lambda h: text_of(
        {k: h[k] for k in ("version", "fingerprint", "weight_dtype")}
    ),
}
OF_MODEL = {
    "entries null": fact("entries", "null"),
    "entries a number": fact("entries", "7"),
    "entries an object": fact("entries", "{}"),
    "a shape with true": lambda h: text_of(h).replace(b"[5]", b"[5, true]"),
    "a shape of floats": lambda h: text_of(h).replace(b"[5]", b"[5.0]"),
    "a shape of a thousand digits": lambda h: text_of(h).replace(b"[5]", b"[1%s]" % (b"0" * 1000)),
    "a million entries": fact("entries", "[" + "{}," * 300_000 + "{}]"),
    "a name half a surrogate": lambda h: text_of(h).replace(b'"h_l0"', b'"\\ud800"'),
}


CASES = {"LSTM": HEADERS | OF_LSTM, "Model": HEADERS | OF_MODEL}


@pytest.mark.parametrize(("kind", "what"), [(kind, what) for kind in CASES for what in CASES[kind]])
def test_a_header_that_is_not_the_one_of_this_model(kind, what):
    """Wherever it is almost: the values are right, and so is the checksum."""
    model = made(kind)
    header, values = parts(taken(model))
    refused_at_once(model, joined(CASES[kind][what](header), values))
    model.stream().restore(joined(text_of(header), values))  # the control


def refused_at_once(model, data):
    """A stream and a pool refuse it in bounded time, memory and words, and nothing changes."""
    stream, pool = model.stream(), model.pool(2)
    pool.open()
    stream.run(np.ones((1, 3), np.float32))
    before = stream.snapshot()
    for restore in (stream.restore, pool.restore):
        session = Session(restore, before, snapshot=stream.snapshot)
        assert traced(lambda session=session: check(session, data)) == b""
    assert len(pool) == 1


def traced(work):
    tracemalloc.start()
    try:
        return work()
    finally:
        tracemalloc.stop()


def test_the_length_of_a_header_is_any_number(model):
    header, values = parts(taken(model))
    text = text_of(header)
    for length in (0, 1, len(text) - 1, len(text) + 1, len(text) + len(values), 2**31, 2**32 - 1):
        refused_at_once(model, joined(text, values, length))
    for body in (
        b"LSTMFAST",
        b"LSTMFAST\x01",
        b"LSTMFAST\xff\xff\xff\xff",
        b"LSTMFAST" + b"\0" * 4,
    ):
        refused_at_once(model, sealed(body))


def test_a_gigabyte_is_not_looked_at(model):
    """Its size alone says that it is none of this model, nor of one that is told from it."""
    stream, at_most = model.stream(), r"has \d+ bytes, expected \d+ at most"

    def restore(data):
        with pytest.raises(SnapshotError, match=at_most):
            stream.restore(data)
        return tracemalloc.get_traced_memory()[1]

    large = bytearray(b"LSTMFAST") + bytes(1 << 21)
    with mmap.mmap(-1, 1 << 30) as pages, memoryview(pages) as gigabyte:  # which nobody touches
        pages[:8] = b"LSTMFAST"
        for data in (gigabyte, large):
            assert traced(lambda data=data: restore(data)) < 1 << 20


def test_an_error_shows_the_place_and_no_more(model):
    header, values = parts(taken(model))
    name = b'"hidden_size": 5' if isinstance(model, LSTM) else b'"shape": [5]'
    text = text_of(header).replace(name, name.replace(b"5", b"7" * 1000), 1)
    with pytest.raises(SnapshotError) as caught:
        model.stream().restore(joined(text, values))
    assert "none that lstm_fast wrote: its byte" in str(caught.value)
    assert "begins b'777777777777777777777777777777', expected b'5" in str(caught.value)


# ---- the reader that this one replaced, and what it did: the negative control ----


def parsing(model):
    """Restore as by parsing the header and comparing its facts with `==`."""
    expected, _ = parts(taken(model))

    def restore(data):
        size = int.from_bytes(data[8:12], "little")
        header = json.loads(data[12 : 12 + size])
        versions = {1: "an LSTM", 2: "a whole model"}
        if header["version"] != expected["version"]:
            raise SnapshotError(f"{header['version']} {versions.get(header['version'])}")
        for key, value in expected.items():
            if header[key] != value:
                raise SnapshotError(f"{key} is {header[key]}")
        return data

    return restore


ESCAPE = {"deeply nested": RecursionError, "version a list": TypeError}
ACCEPTED = ("UTF-16", "UTF-8 with a mark", "version a float", "in another order")


@pytest.mark.parametrize("what", [*ESCAPE, *ACCEPTED])
def test_a_reader_that_parses_does_otherwise(model, what):
    header, values = parts(taken(model))
    data, restore = joined(HEADERS[what](header), values), parsing(model)
    if what in ACCEPTED:
        assert restore(data) == data
        return
    with pytest.raises(ESCAPE[what]):
        restore(data)


# ---- random damage ----

KINDS_HERE = [kind for kind in KINDS if kind not in OF_SILERO]


@pytest.mark.parametrize("kind", KINDS_HERE)
def test_random_damage(kind):
    count = traced(lambda: run(kind, range(150)))
    assert 0 < count < 150 or kind == "events"  # the control: some are taken, and some are not


@pytest.mark.parametrize("kind", OF_SILERO)
def test_random_damage_of_speech(kind):
    pytest.importorskip("onnx")
    pytest.importorskip("silero_vad", exc_type=ImportError)
    assert traced(lambda: run(kind, range(60))) > 0


def faulty(restore):
    stream = used(LSTM.random(3, 5))
    return Session(lambda data: restore(stream, data), stream.snapshot(), snapshot=stream.snapshot)


def raises(error):
    def restore(stream, data):
        raise error

    return restore


def hangs(stream, data):
    end = time.process_time() + 60
    while time.process_time() < end:
        pass


def changes(stream, data):
    stream.reset()
    raise SnapshotError("no")


def swallows_memory(stream, data):
    len(bytes(50 << 20))
    raise SnapshotError("no")


def accepts(stream, data):
    return stream.snapshot()


FAULTS = {
    "another error": (raises(KeyError("version")), KeyError, "version"),
    "a long text": (raises(SnapshotError("x" * 1000)), AssertionError, "an error of 1000"),
    "a text of lines": (raises(SnapshotError("a\nb")), AssertionError, "a\nb"),
    "a hang": (hangs, fuzz_snapshots.TookTooLongError, "of CPU time"),
    "a change": (changes, AssertionError, "has changed something"),
    "memory": (swallows_memory, AssertionError, r"took \d+ KiB for"),
    "another header": (accepts, AssertionError, "which is not its own"),
}


@pytest.mark.skipif(sys.platform == "win32", reason="CPU time is limited by a signal")
@pytest.mark.parametrize("what", FAULTS)
def test_what_no_reader_may_do_is_seen(what, monkeypatch):
    """Negative controls of the fuzz."""
    monkeypatch.setattr(fuzz_snapshots, "SECONDS", 0.2)
    restore, error, text = FAULTS[what]
    header, values = parts(used(LSTM.random(3, 5)).snapshot())
    data = joined(text_of({**header, "hidden_size": 6}), values)
    with pytest.raises(error, match=text):
        traced(lambda: check(faulty(restore), data))


def test_a_seed_makes_the_same_snapshot_again():
    session = KINDS["lstm"]()
    assert session.make(session.taken, 7) == session.make(session.taken, 7)
    assert len({session.make(session.taken, seed) for seed in range(100)}) > 80
    assert state_bits(used(LSTM.random(3, 5))) == state_bits(used(LSTM.random(3, 5)))
