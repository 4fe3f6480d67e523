"""Sessions of whole models as bytes: what continues from them, and what is refused."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from program_cases import BACKENDS, PROGRAMS, Models, cut, frames, named

from lstm_fast import LSTM, SnapshotError

STEPS = 9


@pytest.fixture(scope="module", params=BACKENDS)
def models(request):
    return Models(request.param)


def bits(values):
    return [(key, value.dtype, value.shape, value.tobytes()) for key, value in values.items()]


def run(stream, xs):
    return bits(named(stream.model, stream.run(xs)))


def reader(data):
    """Read a snapshot by the page alone."""
    assert data[:8] == b"LSTMFAST"
    assert hashlib.sha256(data[:-32]).digest() == data[-32:]
    size = int.from_bytes(data[8:12], "little")
    return json.loads(data[12 : 12 + size]), data[12 + size : -32]


def written(header, values):
    text = json.dumps(header).encode()
    body = b"LSTMFAST" + len(text).to_bytes(4, "little") + text + values
    return body + hashlib.sha256(body).digest()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_session_continues_from_its_snapshot(models, name):
    model, xs = models[name], frames(name, STEPS)
    stream = model.stream()
    stream.run(cut(xs, 0, 4))
    data = stream.snapshot()
    other = model.stream()
    fresh = run(model.stream(), cut(xs, 4, STEPS))
    other.restore(data)
    assert other.snapshot() == data
    expected = run(stream, cut(xs, 4, STEPS))
    assert run(other, cut(xs, 4, STEPS)) == expected
    assert expected != fresh  # the control: the state matters
    again = models.make(PROGRAMS[name]()).stream()
    again.restore(bytearray(data))
    assert run(again, cut(xs, 4, STEPS)) == expected


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_snapshot_is_what_its_page_says(models, name):
    model, xs = models[name], frames(name, STEPS)
    stream = model.stream()
    stream.run(xs)
    header, values = reader(stream.snapshot())
    assert list(header) == ["version", "fingerprint", "weight_dtype", "entries"]
    assert header["version"] == 2
    assert header["fingerprint"] == model.fingerprint
    assert header["weight_dtype"] == "float32"
    for entry, (key, value) in zip(header["entries"], stream.state.items(), strict=True):
        assert entry == {"name": key, "dtype": value.dtype.name, "shape": [*value.shape]}
        stored = value.astype(value.dtype.newbyteorder("<")).tobytes()
        assert values[: len(stored)] == stored
        values = values[len(stored) :]
    assert not values


def test_types_of_weights_are_part_of_it(models):
    model = models["chain"]
    mixed = model.astype({0: "float16", 2: "int8"})
    data = mixed.stream().snapshot()
    assert reader(data)[0]["weight_dtype"] == {"0": "float16", "2": "int8"}
    mixed.stream().restore(data)
    with pytest.raises(SnapshotError, match="bound to the type of the weights, too"):
        model.stream().restore(data)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_changed_byte_is_found(models, name):
    stream = models[name].stream()
    data = stream.snapshot()
    before = bits(stream.state)
    for at in range(0, len(data), 7):
        wrong = bytearray(data)
        wrong[at] ^= 1
        with pytest.raises(SnapshotError):
            stream.restore(wrong)
    for end in (0, 5, 40, len(data) - 1):
        with pytest.raises(SnapshotError):
            stream.restore(data[:end])
    assert bits(stream.state) == before
    stream.restore(data)  # the control


def changes():
    def changed(**facts):
        return lambda header, values: ({**header, **facts}, values)

    yield changed(version=3), "has version 3, this lstm_fast reads 2"
    yield changed(version=1), "reads 2 here: it is of an LSTM"
    yield changed(fingerprint="0" * 64), "taken with other weights"
    yield changed(weight_dtype="int8"), r"other weights \(int8.*than these \(float32"
    yield changed(entries=[]), r"begins b'\]}.*', expected b'{\"name\": \"a.h\", \"dtype"
    yield lambda header, values: (header, values[:-4]), "the snapshot holds 84 bytes, expected 88"
    yield lambda header, values: ({"version": 2}, values), "none that lstm_fast wrote"
    yield lambda header, values: ([header], values), "none that lstm_fast wrote"


@pytest.mark.parametrize(("change", "text"), [*changes()])
def test_what_does_not_fit_is_refused(models, change, text):
    stream = models["chain"].stream()
    stream.run(frames("chain", 3))
    before = bits(stream.state)
    with pytest.raises(SnapshotError, match=text):
        stream.restore(written(*change(*reader(stream.snapshot()))))
    assert bits(stream.state) == before
    stream.restore(written(*reader(stream.snapshot())))  # the control


def test_snapshots_of_lstms_and_of_models_are_told_apart(models):
    lstm = LSTM.random(3, 4, backend=models.backend).stream()
    stream = models["chain"].stream()
    with pytest.raises(SnapshotError, match=r"reads 1 here: it is of a whole model"):
        lstm.restore(stream.snapshot())
    with pytest.raises(SnapshotError, match=r"reads 2 here: it is of an LSTM"):
        stream.restore(lstm.snapshot())
    with pytest.raises(TypeError, match="a snapshot is bytes, found str"):
        stream.restore("abc")


def test_what_a_snapshot_holds_is_made_canonical(models):
    """As by assigning: these bytes are not ours."""
    stream = models["chain"].stream()
    header, values = reader(stream.snapshot())
    subnormal = np.full(len(values) // 4, 1e-40, "<f4").tobytes()
    stream.restore(written(header, subnormal))
    assert not any(value.any() for value in stream.state.values())
    assert stream.model._from_snapshot(written(header, subnormal))["a.h"].all()
