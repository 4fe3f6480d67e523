"""`SpeechStream` and `SpeechPool`: the same bits however audio comes; snapshots of all of it."""

from __future__ import annotations

import hashlib
import io
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx")
from recordings import speech
from silero_cases import silero_file

from lstm_fast import LSTM, PoolFullError, SnapshotError, StaleHandleError, vad

RATES = [8000, 16000, 44100, 48000]
RULES = {"min_silence_duration_ms": 64, "turn_pause_ms": 300}


@pytest.fixture(scope="module", params=[16000, 8000])
def model(request):
    silero_file("silero_vad")
    return vad.silero(sampling_rate=request.param)


def audio(rate, count=60000):
    return speech(rate)[:count]


def whole(model, samples, rate, **rules):
    """Return probabilities and events of a session that is given all at once."""
    stream = vad.SpeechStream(model, rate=rate, **{**RULES, **rules})
    return joined([stream.push(samples), stream.flush()])


def joined(heard):
    probabilities = np.concatenate([one.probabilities for one in heard])
    return probabilities.tobytes(), [event for one in heard for event in one.events]


@pytest.mark.parametrize("rate", RATES)
def test_it_is_chunks_model_and_events(rate, model):
    (size,) = model.inputs["input"].shape
    to_rate = {512: 16000, 256: 8000}[size]
    chunks, events = vad.Chunks(rate, to_rate), vad.SpeechEvents(rate=to_rate, size=size, **RULES)
    frames = np.concatenate([chunks.push(audio(rate)), chunks.flush()])
    probabilities = model.stream().run(frames)[:, 0]
    expected = [event for one in probabilities.tolist() for event in events.push(one)]
    expected += events.finish()
    until = len(audio(rate)) / rate
    expected = [replace(one, seconds=min(one.seconds, until)) for one in expected]
    found = whole(model, audio(rate), rate)
    assert found == (probabilities.tobytes(), expected)
    assert {"speech_start", "speech_end"} <= {event.kind for event in found[1]}


@pytest.mark.parametrize("rate", RATES)
@settings(max_examples=8)
@given(st.integers(0, 2**32 - 1))
def test_cuts_and_snapshots_do_not_matter(rate, model, seed):
    rng, samples = np.random.default_rng(seed), audio(rate, 30000)
    expected = whole(model, samples, rate)
    session, pool = vad.SpeechStream(model, rate=rate, **RULES), vad.SpeechPool(1, model, **RULES)
    heard, begin, handle = [], 0, None
    while begin < len(samples):
        size = int(rng.integers(1, 9000))
        part = samples[begin : begin + size]
        heard.append(session.push(part) if handle is None else pool.push([handle], [part])[0])
        begin += size
        if rng.random() < 0.5:  # from stream to pool, and back
            if handle is None:
                handle = pool.restore(session.snapshot())
                session.reset()
            else:
                session.restore(pool.snapshot(handle))
                pool.close(handle)
                handle = None
    heard.append(session.flush() if handle is None else pool.flush([handle])[0])
    assert joined(heard) == expected


def test_events_are_those_of_the_iterator():
    """Starts and ends in samples, where padding meets nothing."""
    silero_file("silero_vad")
    samples = speech()[: 180 * 512]
    iterator, told = vad.VADIterator(vad.load_silero_vad()), []
    for chunk in samples.reshape(-1, 512):
        event = iterator(chunk)
        told += [] if event is None else [*event.items()]
    events = vad.SpeechStream().push(samples).events
    assert [(one.kind[7:], round(one.seconds * 16000)) for one in events] == told
    assert len(told) >= 4


def test_without_what_is_buffered_it_is_another(model):
    """Negative control: a snapshot of the model alone, as services have it."""
    samples = audio(48000)
    expected, _ = whole(model, samples, 48000)
    first, second = (vad.SpeechStream(model, rate=48000) for _ in range(2))
    heard = [first.push(samples[:5000])]
    second._stream.restore(first._stream.snapshot())
    heard += [second.push(samples[5000:]), second.flush()]
    assert joined(heard)[0] != expected


def test_sessions_of_a_pool_are_as_if_alone(model):
    """Of different rates, lengths, rules and dtypes, some with a NaN, in the same calls."""
    rng = np.random.default_rng(0)
    pool, sessions = vad.SpeechPool(6, model, **RULES), {}
    for at, rate in enumerate([16000, 8000, 44100, 48000, 16000, 48000]):
        samples = np.roll(audio(rate, 40000), 1000 * at)
        if at == 4:
            samples = samples.copy()
            samples[5000] = np.nan
        if at == 5:
            samples = (samples * 32767).astype(np.int16)
        rules = {"threshold": 0.3} if at == 2 else {}
        sessions[pool.open(rate=rate, **rules)] = [samples, 0, [], rate, rules]
    while left := [key for key, one in sessions.items() if one[1] < len(one[0])]:
        keys = [key for key in rng.permutation(left).tolist() if rng.random() < 0.7]
        parts = []
        for key in keys:
            samples, begin, *_ = sessions[key]
            size = int(rng.integers(0, 5000))
            parts.append(samples[begin : begin + size])
            sessions[key][1] += size
        for key, heard in zip(keys, pool.push(keys, parts), strict=True):
            sessions[key][2].append(heard)
    assert len(pool.spoiled()) == 1
    keys = [*sessions]
    for key, heard in zip(keys, pool.flush(keys), strict=True):
        samples, _, before, rate, rules = sessions[key]
        assert joined([*before, heard]) == whole(model, samples, rate, **rules)
        assert not pool.is_speaking(key)
    assert pool.spoiled() == []


def test_after_a_flush_it_is_as_new(model):
    samples = audio(48000)
    stream = vad.SpeechStream(model, rate=48000, **RULES)
    first = joined([stream.push(samples), stream.flush()])
    assert joined([stream.push(samples), stream.flush()]) == first
    stream.push(samples[:30000])
    stream.reset()
    assert joined([stream.push(samples), stream.flush()]) == first
    pool = vad.SpeechPool(1, model, **RULES)
    handle = pool.open(rate=48000)
    for _ in range(2):
        assert joined([*pool.push([handle], [samples]), *pool.flush([handle])]) == first
    pool.push([handle], [samples[:30000]])
    pool.reset(handle)
    assert joined([*pool.push([handle], [samples]), *pool.flush([handle])]) == first


def test_no_event_is_behind_the_end_of_the_audio(model):
    """A flush fills the last chunk up with zeros, which nobody said."""
    rules = {"threshold": 0.0, "speech_pad_ms": 30, "turn_pause_ms": 0}  # all of it is speech
    for rate, count in ((8000, 1), (16000, 700), (44100, 4410), (16000, 0)):
        session, pool = vad.SpeechStream(model, rate=rate, **rules), vad.SpeechPool(1, model)
        key, samples = pool.open(rate=rate, **rules), audio(rate)[:count]
        events = [*session.push(samples).events, *session.flush().events]
        assert events == [*pool.push([key], [samples])[0].events, *pool.flush([key])[0].events]
        ends = [(one.kind, one.seconds) for one in events[1:]]
        expected = [("speech_end", count / rate), ("turn_end", count / rate)]
        assert ends == expected[: 2 * bool(count)]


def test_a_call_that_fails_changes_nothing(model):
    pool = vad.SpeechPool(2, model)
    keys = [pool.open(rate=48000), pool.open()]
    pool.push(keys, [audio(48000)[:5001], audio(16000)[:777]])
    before = [pool.snapshot(key) for key in keys]
    good = audio(48000)[:4000]
    for handles, samples, error, text in (
        (keys, [good, np.zeros((2, 2))], ValueError, r"samples\[1\] has shape \(2, 2\)"),
        (keys, [good, b"abc"], ValueError, r"samples\[1\] has 3 bytes"),
        (keys, [good], ValueError, "samples for 1 sessions, and 2 handles"),
        (
            [keys[0], keys[0]],
            [good, good],
            ValueError,
            "is given twice in one call, as numbers 0 and 1",
        ),
        ([keys[0], 12345], [good, good], StaleHandleError, "12345"),
    ):
        with pytest.raises(error, match=text):
            pool.push(handles, samples)
        assert [pool.snapshot(key) for key in keys] == before
    assert [pool.handles(), len(pool), pool.capacity] == [keys, 2, 2]
    with pytest.raises(PoolFullError):
        pool.open()
    assert [one.probabilities.size for one in pool.push([], [])] == []
    pool.close(keys[0])
    assert keys[0] not in pool
    for call in (pool.close, pool.snapshot, pool.reset, pool.rate, pool.is_speaking):
        with pytest.raises(StaleHandleError):
            call(keys[0])
    pool.grow(1)
    assert pool.rate(pool.restore(before[0])) == 48000


def test_what_a_session_does_not_run_is_taken_back(model, monkeypatch):
    """A step that is refused, as where another thread is inside, leaves the audio unheard."""
    stream = vad.SpeechStream(model, rate=48000)
    stream.push(audio(48000)[:5000])
    before = stream.snapshot()

    class Busy:
        def run(self, chunks):
            raise KeyboardInterrupt

    kept = stream._stream
    stream._stream = Busy()
    with pytest.raises(KeyboardInterrupt):
        stream.push(audio(48000)[:5000])
    stream._stream = kept
    assert stream.snapshot() == before


@pytest.mark.parametrize("fails", [False, True])
def test_long_and_short_pushes_go_together_in_pieces(model, fails, monkeypatch):
    """Also where a later piece fails, after the model has taken the ones before."""
    monkeypatch.setattr("lstm_fast.vad._session_pool.MOST_CHUNKS", 6)
    pool, (size,) = vad.SpeechPool(3, model), model.inputs["input"].shape
    keys = [pool.open() for _ in range(3)]
    pushed = [audio(16000)[: n * size + 7] for n in (11, 1, 0)]
    before, run, calls = [pool.snapshot(key) for key in keys], pool._pool.run, []

    class Pool:
        def __getattr__(self, name):
            return getattr(inner, name)

        def run(self, *arguments):
            calls.append(arguments)
            if fails and len(calls) == 3:
                raise KeyboardInterrupt
            return run(*arguments)

    inner, pool._pool = pool._pool, Pool()
    if fails:
        with pytest.raises(KeyboardInterrupt):
            pool.push(keys, pushed)
        assert [pool.snapshot(key) for key in keys] == before
        pool._pool = inner
    heard = pool.push(keys, pushed)
    assert len(calls) == (3 if fails else 6)
    for one, samples in zip(heard, pushed, strict=True):
        alone = vad.SpeechStream(model).push(samples)
        assert joined([one]) == joined([alone])


def test_threads_have_sessions_of_their_own(model):
    pool, samples = vad.SpeechPool(4, model, **RULES), audio(48000)
    keys, found = [pool.open(rate=48000) for _ in range(4)], {}

    def work(key):
        parts = [samples[at : at + 3000] for at in range(0, len(samples), 3000)]
        heard = [pool.push([key], [part])[0] for part in parts]
        found[key] = joined([*heard, *pool.flush([key])])

    threads = [threading.Thread(target=work, args=(key,)) for key in keys]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    expected = whole(model, samples, 48000)
    assert [found[key] == expected for key in keys] == [True] * 4


def test_snapshots_that_do_not_fit_are_refused_and_nothing_changes(model):
    stream = vad.SpeechStream(model, rate=48000)
    stream.push(audio(48000)[:5000])
    good, pool = stream.snapshot(), vad.SpeechPool(1, model)
    other = vad.silero(sampling_rate={512: 8000, 256: 16000}[model.inputs["input"].shape[0]])
    others = [b"", good[:-1], good[:40], good[:100] + b"\0" + good[101:], good + b"\0"]
    others.append(vad.SpeechStream(other, rate=48000).snapshot())
    for damaged in others:
        with pytest.raises(SnapshotError):
            stream.restore(damaged)
        with pytest.raises(SnapshotError):
            pool.restore(damaged)
    at = good.index(b"LFCHUNK1") + 8  # where the rate is
    forged = good[:at] + (16001).to_bytes(4, "little") + good[at + 4 : -32]
    forged += hashlib.sha256(forged).digest()
    with pytest.raises(SnapshotError, match="rate is 16001 Hz"):
        pool.restore(forged)
    with pytest.raises(SnapshotError, match="is of 44100 Hz"):
        stream.restore(vad.SpeechStream(model, rate=44100).snapshot())
    with pytest.raises(TypeError, match="bytes"):
        stream.restore("text")
    assert stream.snapshot() == good
    assert len(pool) == 0


def test_a_snapshot_may_be_in_a_file(model, tmp_path):
    stream, pool, path = (
        vad.SpeechStream(model, rate=48000),
        vad.SpeechPool(2, model),
        tmp_path / "a",
    )
    stream.push(audio(48000)[:5000])
    good = stream.snapshot()
    path.write_bytes(good)
    for kind in (bytes, bytearray, memoryview, io.BytesIO, lambda data: path):
        again = vad.SpeechStream(model, rate=48000)
        again.restore(kind(good))
        handle = pool.restore(kind(good))
        assert again.snapshot() == pool.snapshot(handle) == good
        pool.close(handle)
    with open(path, "r+b") as file:
        file.truncate(2**40)
    for restore in (stream.restore, pool.restore):
        for large in (path, b"LFSPEECH" + bytes(2**20)):
            with pytest.raises(SnapshotError, match="1048576"):
                restore(large)
        with pytest.raises(TypeError, match=r"pathlib\.Path"):
            restore(str(path))
        with pytest.raises(SnapshotError, match="directory"):
            restore(tmp_path)
    assert stream.snapshot() == good


def test_models_and_options_that_cannot_be(model):
    with pytest.raises(TypeError, match=r"model is of type int, .* a rate is passed as rate="):
        vad.SpeechStream(16000)
    with pytest.raises(ValueError, match=r"model takes \{'x': \(1,\)\}, expected what vad.silero"):
        vad.SpeechStream(LSTM.random(1, 1))
    resampler = vad.Chunks(48000)._stream.model
    with pytest.raises(ValueError, match=r"expected what vad.silero\(\) returns"):
        vad.SpeechPool(1, resampler)
    with pytest.raises(ValueError, match="threshold is 3"):
        vad.SpeechPool(1, model, threshold=3)
    with pytest.raises(ValueError, match="rate is 16001 Hz"):
        vad.SpeechPool(1, model).open(rate=16001)
    with pytest.raises(TypeError, match="there is no rule 'thresold': there are threshold, neg_"):
        vad.SpeechStream(model, thresold=0.4)


def test_facts(model):
    stream = vad.SpeechStream(model, rate=48000)
    assert stream.model is model
    assert (stream.rate, stream.is_speaking, stream.is_finite) == (48000, False, True)
    stream.push(np.full(9000, np.nan))
    assert not stream.is_finite
    stream.reset()
    assert stream.is_finite
    assert "at 48000 Hz" in repr(stream)
    assert "0 of 3 open" in repr(vad.SpeechPool(3, model))
    with pytest.raises(TypeError, match="snapshot"):
        __import__("pickle").dumps(stream)
