"""`vad.Chunks`: the same bits however audio is cut, and a resampler that is near the truth."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lstm_fast import SnapshotError
from lstm_fast.vad import Chunks
from lstm_fast.vad._resampling import STOPBAND_DB, TRANSITION, resampler

RATES = [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 96000, 192000]
PAIRS = [(rate, 16000) for rate in RATES] + [(rate, 8000) for rate in (8000, 16000, 44100, 48000)]
RIPPLE = 10 ** (-STOPBAND_DB / 20)  # of a filter by Kaiser's window: the same on both sides


def noise(count, seed=3):
    return (0.1 * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


def tone(rate, hertz, count):
    return np.sin(2 * np.pi * hertz / rate * np.arange(count)).astype(np.float32)


def at_once(chunks, samples):
    return np.concatenate([chunks.push(samples), chunks.flush()])


@pytest.mark.parametrize(("rate", "to"), PAIRS)
@settings(max_examples=8)
@given(st.data())
def test_cuts_and_snapshots_do_not_matter(rate, to, data):
    samples = noise(data.draw(st.integers(0, rate // 4)), 1)
    if data.draw(st.booleans()):
        samples = (samples * 32767).astype(np.int16)
    expected = at_once(Chunks(rate, to), samples)
    session, found, begin = Chunks(rate, to), [], 0
    while begin < len(samples):
        size = data.draw(st.integers(0, rate // 8) | st.integers(0, 3))
        if size == 0:
            other = Chunks(rate, to)
            other.restore(session.snapshot())
            session, size = other, 1
        part = samples[begin : begin + size]
        found.append(session.push(part.tobytes() if part.dtype == np.int16 else part))
        begin += size
    found = np.concatenate([*found, session.flush()])
    assert found.tobytes() == expected.tobytes()
    assert session.buffered == 0
    assert len(expected) == math.ceil(math.ceil(len(samples) * to / rate) / session.size)


@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_snapshot_without_what_is_buffered_is_noticed(rate):
    """Negative control of the test above."""
    samples = noise(rate)
    session = Chunks(rate)
    first = session.push(samples[:7777])
    session.reset()
    found = np.concatenate([first, session.push(samples[7777:]), session.flush()])
    expected = at_once(Chunks(rate), samples)
    assert found[: len(expected)].tobytes() != expected[: len(found)].tobytes()


@pytest.mark.parametrize(("rate", "to"), PAIRS)
def test_a_tone_is_that_tone_at_the_other_rate(rate, to):
    """Held against the sine itself, at the same times. What passes is within the ripple of both
    bands, once for the tone and once for its images, and the rounding of a sum of K products."""
    edge = (1 - TRANSITION) * min(rate, to) / 2
    for hertz in (100.0, 1000.0, 0.98 * edge):
        found = at_once(Chunks(rate, to), tone(rate, hertz, rate)).reshape(-1)[:to]
        middle = slice(to // 10, to - to // 10)
        rounding = 0 if rate == to else resampler(rate, to).window * 2.0**-24
        error = np.abs(found - tone(to, hertz, to))[middle].max()
        assert error <= 3 * RIPPLE + rounding


@pytest.mark.parametrize(("rate", "to"), [pair for pair in PAIRS if pair[0] > pair[1]])
def test_what_is_above_half_the_rate_does_not_pass(rate, to):
    for hertz in (0.5 * to * 1.02, 0.75 * to):
        if hertz < rate / 2:
            found = at_once(Chunks(rate, to), tone(rate, hertz, rate)).reshape(-1)[:to]
            assert np.abs(found[to // 10 : -to // 10]).max() <= 3 * RIPPLE


def test_every_other_sample_would_let_it_pass():
    """Negative control: what silero-vad does with 32 kHz."""
    found = tone(32000, 12000, 32000)[::2]
    assert np.abs(found).max() > 0.9


@pytest.mark.parametrize("rate", [8000, 24000, 32000, 48000])
def test_it_is_near_soxr(rate):
    soxr = pytest.importorskip("soxr")
    spectrum = np.fft.rfft(noise(2 * rate))
    spectrum[np.fft.rfftfreq(2 * rate, 1 / rate) > 0.85 * min(rate, 16000) / 2] = 0
    samples = np.fft.irfft(spectrum).astype(np.float32)
    expected = soxr.resample(samples, rate, 16000, quality="VHQ")
    found = at_once(Chunks(rate), samples).reshape(-1)[: len(expected)]
    inside = slice(1600, -1600)
    assert np.abs(found - expected)[inside].max() <= 3 * RIPPLE * np.abs(samples).max()


def test_the_bits_are_those_of_every_implementation(exact_implementations):
    samples = noise(9000)
    for rate in (8000, 44100, 48000):
        found = {at_once(Chunks(rate), samples).tobytes()}
        for backend in {one.backend for one in exact_implementations}:
            found.add(at_once(Chunks(rate, backend=backend), samples).tobytes())
        window = noise(resampler(rate, 16000).window)[None]
        program = resampler(rate, 16000).model.program
        blocks = {
            type(resampler(rate, 16000).model)
            .from_program(program, backend=one.backend, isa=one.isa)
            .stream()
            .step(window)
            .tobytes()
            for one in exact_implementations
        }
        assert len(found) == len(blocks) == 1


@pytest.mark.parametrize("rate", [16000, 48000])
def test_what_is_not_finite_is_passed_on_and_ends(rate):
    samples = noise(2 * rate)
    samples[rate] = np.nan
    found = at_once(Chunks(rate), samples)
    spoiled = np.isnan(found).any(axis=1)
    assert 1 <= spoiled.sum() <= 2
    clean = at_once(Chunks(rate), noise(2 * rate))
    assert found[~spoiled].tobytes() == clean[~spoiled].tobytes()


@pytest.mark.parametrize("rate", [16000, 44100])
def test_what_comes_is_not_kept_nor_changed(rate):
    session, samples = Chunks(rate), noise(rate)
    before = samples.copy()
    found = session.push(samples)
    kept = found.copy()
    samples[:] = 1
    session.push(samples)
    assert found.tobytes() == kept.tobytes()
    assert (samples == 1).all()
    assert before.tobytes() == noise(rate).tobytes()


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, "list"])
def test_integers_are_of_16_bits(dtype):
    numbers = np.arange(-100, 100)
    given = numbers.tolist() if dtype == "list" else numbers.astype(dtype)
    found = at_once(Chunks(16000), given)
    assert found[0, :200].tobytes() == (numbers / 32768).astype(np.float32).tobytes()


@pytest.mark.parametrize(
    ("samples", "error", "text"),
    [
        (b"abc", ValueError, "has 3 bytes: PCM16 has two for each sample"),
        (np.zeros((2, 8), np.float32), ValueError, r"shape \(2, 8\), expected \(n,\): of several"),
        (np.zeros(8, np.uint8), TypeError, "dtype uint8: pass int16"),
        (np.zeros(8, np.complex64), TypeError, "complex64"),
        (np.zeros(8, bool), TypeError, "bool"),
        (["a"], TypeError, "dtype"),
        (np.array([40000]), ValueError, "integers from 40000 to 40000, and those of 16 bits"),
        (np.array([3000.0, np.nan]), ValueError, "floats up to 3000, expected -1...1: divide"),
        (np.array([1e300]), ValueError, r"floats up to 1e\+300"),
        (3.0, ValueError, r"shape \(\)"),
    ],
)
def test_what_cannot_be_samples_is_refused_and_nothing_changes(samples, error, text):
    session = Chunks(48000)
    session.push(noise(1000))
    before = session.snapshot()
    with pytest.raises(error, match=text):
        session.push(samples)
    assert session.snapshot() == before


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((3999,), ValueError, "rate is 3999 Hz, expected 4000 to 384000"),
        ((1_000_000,), ValueError, "rate is 1000000 Hz"),
        ((16001,), ValueError, "meet only every 1 s"),
        ((16000.0,), TypeError, "expected an integer, in Hz"),
        ((True,), TypeError, "expected an integer"),
        ((16000, 0), ValueError, "rate is 0 Hz"),
    ],
)
def test_rates_that_cannot_be_are_refused(arguments, error, text):
    with pytest.raises(error, match=text):
        Chunks(*arguments)


def test_sizes_and_facts():
    assert Chunks(16000).size == 512
    assert Chunks(16000, 8000).size == 256
    session = Chunks(48000, size=160)
    assert (session.rate, session.model_rate, session.size) == (48000, 16000, 160)
    assert session.push(np.zeros(48000, np.int16)).shape[1] == 160
    assert 0 < session.buffered <= session.delay + 0.01
    assert Chunks(16000).delay == 0
    assert repr(session) == "Chunks(48000, 16000, size=160)"
    for size in (0, -1):
        with pytest.raises(ValueError, match="expected 1 or more"):
            Chunks(16000, size=size)
    with pytest.raises(TypeError, match="size is 'a'"):
        Chunks(16000, size="a")


@pytest.mark.parametrize("rate", RATES)
def test_a_chunk_waits_no_longer_than_it_says(rate):
    session, pushed, got = Chunks(rate), 0, 0
    step = rate // 1000
    for _ in range(300):
        got += len(session.push(np.zeros(step, np.float32)))
        pushed += step
        due = int((pushed / rate - session.delay) / 0.032)
        assert got >= due


@pytest.mark.parametrize("rate", [16000, 44100])
def test_damaged_snapshots_are_refused_and_nothing_changes(rate):
    session = Chunks(rate)
    session.push(noise(999))
    good = session.snapshot()
    others = [good[:-1], good[:20], b"", good + b"\0" * 4, Chunks(8000).snapshot(), b"x" + good[1:]]
    others.append(good[:20] + (2**31).to_bytes(4, "little") + good[24:])
    for damaged in others:
        with pytest.raises(SnapshotError):
            session.restore(damaged)
    with pytest.raises(TypeError, match="a snapshot is bytes"):
        session.restore("text")
    assert session.snapshot() == good
    with pytest.raises(TypeError, match="snapshot"):
        copy.copy(session)
