"""A snapshot continues bit for bit elsewhere, and nothing else than a whole one is taken."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import struct
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import bits, seeds, shapes, state_bits, state_for, weights_for
from lstm_fast import LSTM, SnapshotError, snapshots
from lstm_fast._weights import WEIGHT_DTYPES
from pool_cases import all_bits, mixed_frames, plain_frames
from snapshot_cases import WAYS, restored_in_pool, restored_stream, used

SHAPE = (11, 19, 2)
I, H, L = SHAPE  # noqa: E741


@pytest.fixture(scope="module", params=WEIGHT_DTYPES)
def lstm(implementation, request):
    weights = weights_for(SHAPE, "normal", 1)
    return implementation.from_state_dict(weights, weight_dtype=request.param)


dtypes = st.sampled_from(WEIGHT_DTYPES)


@pytest.mark.parametrize("way", WAYS)
@settings(max_examples=10)
@given(seed=seeds)
def test_a_restored_session_continues(lstm, way, seed):
    rng, stream = np.random.default_rng(seed), lstm.stream(state_for(SHAPE, "normal", seed))
    stream.run(mixed_frames(rng, 1, I, 3)[0])
    xs, before = plain_frames(seed, 4, I), state_bits(stream)
    run, state = WAYS[way](lstm, stream)
    assert state() == state_bits(stream) == before
    assert bits(run(xs)) == bits(stream.run(xs))
    assert state() == state_bits(stream)


def test_a_fresh_session_is_not_where_the_snapshot_was_taken(lstm):
    """Negative control of the above: there is something to carry over."""
    stream, xs = used(lstm), plain_frames(1, 4, I)
    run, state = WAYS["stream to stream"](lstm, lstm.stream())
    assert state() != state_bits(stream)
    assert bits(run(xs)) != bits(stream.run(xs))


def test_one_snapshot_can_be_restored_many_times(lstm):
    stream, pool, xs = used(lstm), lstm.pool(3), plain_frames(1, 4, I)
    taken = stream.snapshot()
    handles = [pool.restore(taken) for _ in range(3)]
    assert len(set(handles)) == 3
    expected = bits(stream.run(xs))
    assert [bits(ys) for ys in pool.run(handles, np.stack([xs] * 3))] == [expected] * 3
    stream.restore(taken)
    assert bits(stream.run(xs)) == expected


@given(shape=shapes(max_layers=3), seed=seeds, dtype=dtypes)
def test_all_implementations_take_each_others(exact_implementations, shape, seed, dtype):
    weights, state = weights_for(shape, "normal", seed), state_for(shape, "normal", seed)
    xs, results = plain_frames(seed, 3, shape[0]), set()
    made = [one.from_state_dict(weights, weight_dtype=dtype) for one in exact_implementations]
    for source in made:
        stream = source.stream(state)
        stream.run(xs)
        taken = stream.snapshot()
        for lstm in made:
            run, end = WAYS["stream to pool"](lstm, stream)
            results.add((taken, bits(run(xs)), end()))
    assert len(results) == 1


CONTINUE = """
import pickle, sys
import lstm_fast
weights, sessions, xs = pickle.load(sys.stdin.buffer)
for dtype, taken in sessions.items():
    lstm = lstm_fast.LSTM.from_state_dict(weights, weight_dtype=dtype)
    pool, stream = lstm.pool(2), lstm.stream()
    stream.restore(taken)
    ys = pool.run([pool.restore(taken), pool.open()], [xs, xs])
    assert ys[0].tobytes() == stream.run(xs).tobytes() != ys[1].tobytes()
    sys.stdout.buffer.write(ys[0].tobytes() + stream.snapshot())
"""


def test_a_session_continues_in_another_process(implementation):
    weights, xs = weights_for(SHAPE, "normal", 1), plain_frames(1, 4, I)
    streams = {
        dtype: used(implementation.from_state_dict(weights, weight_dtype=dtype))
        for dtype in WEIGHT_DTYPES
    }
    sent = weights, {dtype: stream.snapshot() for dtype, stream in streams.items()}, xs
    environment = os.environ | {"LSTM_FAST_BACKEND": implementation.backend}
    if implementation.isa:
        environment["LSTM_FAST_ISA"] = implementation.isa
    result = subprocess.run(
        [sys.executable, "-c", CONTINUE],
        input=pickle.dumps(sent),
        env=environment,
        capture_output=True,
        check=True,
    )
    here = [bits(stream.run(xs)) + stream.snapshot() for stream in streams.values()]
    assert result.stdout == b"".join(here)


def refuses(lstm, damaged, message=None):
    """Neither a stream nor a pool takes it, and neither has changed."""
    stream, pool = used(lstm, seed=2), lstm.pool(2)
    pool.open(stream.state)
    before = state_bits(stream), all_bits(pool)
    for restore in (stream.restore, pool.restore):
        with pytest.raises(SnapshotError, match=message) as caught:
            restore(damaged)
        assert "\n" not in str(caught.value)
    assert (state_bits(stream), all_bits(pool)) == before


def test_every_flipped_bit_and_every_truncation_is_noticed(implementation):
    """All of them: a snapshot of a small session has about two thousand bits."""
    lstm = implementation.random(1, 1)
    stream = used(lstm)
    taken, before = stream.snapshot(), state_bits(stream)
    assert len(taken) < 300
    for place in range(len(taken)):
        for bit in range(8):
            damaged = bytearray(taken)
            damaged[place] ^= 1 << bit
            with pytest.raises(SnapshotError):
                stream.restore(bytes(damaged))
        with pytest.raises(SnapshotError):
            stream.restore(taken[:place])
        with pytest.raises(SnapshotError):
            stream.restore(taken[place + 1 :])
    assert state_bits(stream) == before
    stream.restore(taken)  # the control: whole, it is taken


@settings(max_examples=20)
@given(data=st.data())
def test_damage_is_noticed_by_streams_and_pools(lstm, data):
    taken = used(lstm).snapshot()
    place = data.draw(st.integers(0, len(taken) - 1), "place")
    damaged = bytearray(taken)
    damaged[place] ^= 1 << data.draw(st.integers(0, 7), "bit")
    refuses(lstm, bytes(damaged), "checksum" if place >= len(snapshots.MAGIC) else "not a snapshot")
    refuses(lstm, taken[:place], "damaged|not a snapshot")
    refuses(lstm, taken + taken[:place] + b"\0", "damaged")


def with_checksum(body):
    return body + hashlib.sha256(body).digest()


def parts(taken):
    """Read a snapshot by what lstm_fast/snapshots.py says of its layout."""
    assert taken[:8] == b"LSTMFAST"
    (size,) = struct.unpack_from("<I", taken, 8)
    header, values = json.loads(taken[12 : 12 + size]), taken[12 + size : -32]
    assert taken[-32:] == hashlib.sha256(taken[:-32]).digest()
    return header, values


def joined(header, values):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return with_checksum(b"LSTMFAST" + struct.pack("<I", len(text)) + text + values)


def test_a_snapshot_describes_itself(lstm):
    stream = used(lstm)
    header, values = parts(stream.snapshot())
    assert header == {
        "version": 1,
        "fingerprint": lstm.fingerprint,
        "weight_dtype": lstm.weight_dtype,
        "num_layers": L,
        "hidden_size": H,
    }
    assert values == state_bits(stream)
    assert joined(header, values) == stream.snapshot()


# name: (what to make of header and values, what the message must say)
WRONG = {
    "newer": (lambda h, v: joined(h | {"version": 2}, v), "has version 2, this lstm_fast reads 1"),
    "other weights": (
        lambda h, v: joined(h | {"fingerprint": "12" * 32}, v),
        r"taken with other weights .*121212121212\.\.\.\) than these",
    ),
    "no version": (lambda h, v: joined({"fingerprint": h["fingerprint"]}, v), None),
    "no fingerprint": (lambda h, v: joined({"version": 1}, v), None),
    "no header": (lambda h, v: joined(b"", v), None),
    "header a list": (lambda h, v: joined([1], v), None),
    "header no JSON": (lambda h, v: joined(b"\xff{", v), None),
    "header too long": (
        lambda h, v: with_checksum(b"LSTMFAST" + struct.pack("<I", 2**31) + v),
        None,
    ),
    "no length": (lambda h, v: with_checksum(b"LSTMFAST"), None),
    "half a state": (lambda h, v: joined(h, v[: len(v) // 2]), None),
    "odd bytes": (lambda h, v: joined(h, v[:-1]), None),
    "too much": (lambda h, v: joined(h, v + v), None),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_has_a_checksum_and_is_no_snapshot(name):
    """Written by something else, or by a version to come; the checksum is no secret."""
    lstm = LSTM.random(*SHAPE, backend="reference")
    change, message = WRONG[name]
    refuses(lstm, change(*parts(used(lstm).snapshot())), message)


def test_a_state_is_made_canonical(lstm):
    """What a stream could not hold does not get in through a snapshot either."""
    h, c = state_for(SHAPE, "normal", 0)
    h[0, :3], c[1, :3] = (1e-42, -1e-42, -np.nan), (np.inf, -0.0, np.nan)
    header, _ = parts(used(lstm).snapshot())
    stream, pool = lstm.stream(), lstm.pool(1)
    stream.restore(joined(header, bits(h, c)))
    handle = pool.restore(joined(header, bits(h, c)))
    assert state_bits(stream) == bits(*pool.state(handle)) == state_bits(lstm.stream((h, c)))


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_other_weights_do_not_take_it(implementation, dtype):
    weights = weights_for(SHAPE, "normal", 1)
    lstm = implementation.from_state_dict(weights, weight_dtype=dtype, keep_weights=True)
    taken = used(lstm).snapshot()
    nudged = {name: value.copy() for name, value in weights.items()}
    nudged["bias_hh_l1"][7] = np.nextafter(nudged["bias_hh_l1"][7], np.float32(9))
    others = {
        "one bit": implementation.from_state_dict(nudged, weight_dtype=dtype),
        "seed": implementation.random(*SHAPE, weight_dtype=dtype),
        "inputs": implementation.random(I + 1, H, L, weight_dtype=dtype),
        "layers": implementation.random(I, H, L + 1, weight_dtype=dtype),
        **{other: lstm.astype(other) for other in WEIGHT_DTYPES if other != dtype},
    }
    for other in others.values():
        what = rf"other weights \({dtype}, fingerprint {lstm.fingerprint[:12]}\.\.\.\) than these "
        what += rf"\({other.weight_dtype}, {other.fingerprint[:12]}\.\.\.\)"
        refuses(other, taken, what)
    twin = implementation.from_state_dict(lstm.state_dict(), weight_dtype=dtype)
    restored_stream(twin, taken)  # the control: equal weights are the same weights


@pytest.mark.parametrize("wrong", [None, "LSTMFAST", 3, [76], np.zeros(300, np.uint8), object()])
def test_what_is_no_bytes_is_a_type_error(implementation, wrong):
    lstm = implementation.random(2, 3)
    stream, pool = used(lstm), lstm.pool(1)
    before = state_bits(stream)
    for restore in (stream.restore, pool.restore):
        with pytest.raises(TypeError, match=f"a snapshot is bytes, found {type(wrong).__name__}"):
            restore(wrong)
    assert state_bits(stream) == before
    assert len(pool) == 0


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes_of_any_kind_will_do(implementation, kind):
    lstm = implementation.random(2, 3)
    stream, twin = used(lstm), lstm.stream()
    taken = stream.snapshot()
    assert type(taken) is bytes
    twin.restore(kind(taken))
    assert state_bits(twin) == state_bits(stream)


@pytest.mark.parametrize("nothing", [b"", b"LSTM", b"LSTMFAST", b"\0" * 500, b"LSTMFAST" * 60])
def test_what_never_was_a_snapshot(implementation, nothing):
    refuses(implementation.random(2, 3), nothing, "not a snapshot of lstm_fast|damaged")


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_golden_snapshots_still_load(implementation, golden, dtype):
    """What a service has stored stays good: the format must not change unnoticed."""
    lstm = implementation.from_state_dict(golden["weights"], weight_dtype=dtype)
    expected = bits(golden[f"h_{dtype}"], golden[f"c_{dtype}"])
    stored = golden["snapshots"][dtype]
    _, state = restored_stream(lstm, stored)
    _, pool_state = restored_in_pool(lstm, stored)
    assert state() == pool_state() == expected
    stream = lstm.stream((golden[f"h_{dtype}"], golden[f"c_{dtype}"]))
    assert stream.snapshot() == stored


def test_a_changed_format_is_noticed(golden, monkeypatch):
    """Negative control of the above: what another version writes is not what is stored."""
    lstm = LSTM.from_state_dict(golden["weights"], backend="reference")
    stored = golden["snapshots"]["float32"]
    monkeypatch.setattr(snapshots, "VERSION", 2)
    assert lstm.stream((golden["h_float32"], golden["c_float32"])).snapshot() != stored
    with pytest.raises(SnapshotError, match="has version 1, this lstm_fast reads 2"):
        lstm.stream().restore(stored)


@pytest.fixture(scope="module")
def golden():
    from golden.make import read
    from golden.make_snapshots import file

    return {**read(), "snapshots": {dtype: file(dtype).read_bytes() for dtype in WEIGHT_DTYPES}}


def test_a_fingerprint_is_of_the_weights_alone(implementation):
    weights = weights_for(SHAPE, "normal", 1)
    lstm = implementation.from_state_dict(weights)
    assert len(lstm.fingerprint) == 64
    int(lstm.fingerprint, 16)
    same = [
        LSTM.from_state_dict(weights, backend="reference"),
        LSTM.from_state_dict({f"a.{name}": w.tolist() for name, w in weights.items()}, "a."),
        pickle.loads(pickle.dumps(lstm)),
        lstm.astype("int8", keep_weights=True).astype("float32"),
    ]
    assert {one.fingerprint for one in same} == {lstm.fingerprint}


def test_each_weight_counts_in_the_fingerprint():
    """Negative control of the above: any value, any name, the shapes and the weight_dtype."""
    weights = {
        name: w.astype(np.float32) for name, w in weights_for((2, 3, 2), "normal", 1).items()
    }
    zeros = {name: w * ("bias" not in name) for name, w in weights.items()}
    lstms = [
        *(LSTM.from_state_dict(weights, weight_dtype=dtype) for dtype in WEIGHT_DTYPES),
        LSTM.from_state_dict(zeros),
        LSTM.from_state_dict({name: w for name, w in weights.items() if "bias" not in name}),
        LSTM.from_state_dict({name: w for name, w in weights.items() if name.endswith("0")}),
        LSTM.from_state_dict({name.replace("ih", "xx").replace("hh", "ih").replace("xx", "hh")
                              if "bias" in name else name: w for name, w in weights.items()}),
    ]  # fmt: skip
    for name, value in weights.items():
        changed = value.copy()
        changed.flat[-1] = np.nextafter(changed.flat[-1], np.float32(9))
        lstms.append(LSTM.from_state_dict(weights | {name: changed}))
    assert len({lstm.fingerprint for lstm in lstms}) == len(lstms)
