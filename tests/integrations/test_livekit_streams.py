"""Streams of `integrations.livekit`: apart from one another, in one thread; what they refuse."""

from __future__ import annotations

import asyncio
import logging
import threading

import numpy as np
import pytest
from heard import frames, recording
from livekit_cases import Ours, Theirs, VADEventType, frame, listen, rtc, taken

from lstm_fast.integrations import livekit as module
from lstm_fast.integrations._livekit_windows import Options
from lstm_fast.integrations._speech_buffer import SpeechBuffer


def told(events):
    """What there is to compare of events, bit for bit."""
    return [
        (e.type, e.timestamp, e.probability, e.speaking, *(bytes(one.data) for one in e.frames))
        for e in events
    ]


async def listener(stream):
    return [event async for event in stream]


def test_interleaved_streams_have_the_bits_of_lone_ones():
    speech = recording("speech")
    tracks = [speech[at : at + 40000] for at in (0, 9000, 33333, 90000)]
    expected = [told(asyncio.run(listen(Ours, track, 16000, [160]))) for track in tracks]

    async def main():
        vad = Ours.load()
        streams = [vad.stream() for _ in tracks]
        listeners = [asyncio.create_task(listener(stream)) for stream in streams]
        pieces = [[*frames(track, [160])] for track in tracks]
        for turn in range(len(pieces[0])):
            for stream, piece in zip(streams, pieces, strict=True):
                stream.push_frame(frame(piece[turn], 16000))
            await asyncio.sleep(0)
        for stream in streams:
            stream.end_input()
        found = [told(await one) for one in listeners]
        for stream in streams:
            await stream.aclose()
        return found

    assert asyncio.run(main()) == expected


@pytest.mark.parametrize("rate", [16000, 48000])
def test_no_thread_is_started(rate):
    audio = recording("speech", rate)[: 2 * rate]
    asyncio.run(listen(Ours, audio, rate, [rate // 50]))  # once, for what LiveKit starts itself
    before = set(threading.enumerate())

    async def main():
        await listen(Ours, audio, rate, [rate // 50])
        assert set(threading.enumerate()) == before

    asyncio.run(main())


def test_options_belong_to_a_stream():
    """Theirs share one object: what one stream is told, all others go by, too."""

    async def main(kind):
        vad = kind.load()
        one, other = vad.stream(), vad.stream()
        one.update_options(activation_threshold=0.99)
        shared = vad.min_silence_duration
        vad.update_options(min_silence_duration=0.2)
        assert (shared, vad.min_silence_duration) == (0.55, 0.2)
        third, found = vad.stream(), []
        for stream in (one, other, third):
            options = stream._opts if kind is Theirs else stream._detector.options
            found.append((options.activation_threshold, options.min_silence_duration))
            await stream.aclose()
        return found

    assert asyncio.run(main(Ours)) == [(0.99, 0.2), (0.5, 0.2), (0.5, 0.2)]
    assert asyncio.run(main(Theirs)) == [(0.99, 0.2)] * 3


def test_what_it_says_of_itself_and_its_metrics():
    heard = []

    async def main():
        vad = Ours.load()
        assert vad.capabilities.update_interval == Theirs.load().capabilities.update_interval
        vad.on("metrics_collected", heard.append)
        stream = vad.stream()
        stream.push_frame(frame(recording("speech")[: 3 * 16000], 16000))
        stream.end_input()
        events = await listener(stream)
        await stream.aclose()
        return events

    events = asyncio.run(main())
    assert all(e.inference_duration > 0 for e in events if e.type == VADEventType.INFERENCE_DONE)
    assert [one.inference_count for one in heard] == [32, 32]
    assert heard[0].metadata.model_name == "silero"
    assert heard[0].metadata.model_provider == "lstm_fast"
    assert heard[0].label == "lstm_fast.integrations.livekit.VAD"


@pytest.mark.parametrize("size", [512 * 160, 512])
def test_others_have_a_turn_while_much_is_computed(size):
    async def main():
        stream, turns = Ours.load().stream(), 0
        for piece in frames(recording("speech")[: 512 * 160], [size]):
            stream.push_frame(frame(piece, 16000))
        while not stream._input_ch._gets or not turns:
            turns += 1
            await asyncio.sleep(0)
        await stream.aclose()
        return turns

    assert asyncio.run(main()) >= 160 // module.WINDOWS_IN_A_ROW


@pytest.mark.parametrize("when", ["at once", "in mid frame", "after a frame"])
def test_it_closes_at_any_time(when):
    async def main():
        stream = Ours.load().stream()
        if when != "at once":
            stream.push_frame(frame(recording("speech")[: 512 * 160], 16000))
            for _ in range(3):
                await asyncio.sleep(0)
        if when == "after a frame":
            await taken(stream)
        await asyncio.wait_for(stream.aclose(), 10)
        with pytest.raises(RuntimeError, match="input ended"):
            stream.push_frame(frame(recording("speech")[:160], 16000))

    asyncio.run(main())


def test_frames_of_another_rate_are_left_out(caplog):
    speech = recording("speech")[:40000]

    async def main(other):
        stream = Ours.load().stream()
        task = asyncio.create_task(listener(stream))
        for number, samples in enumerate(frames(speech, [160])):
            stream.push_frame(frame(samples, 16000))
            if other and number % 7 == 0:
                stream.push_frame(frame(samples, 48000))
        stream.end_input()
        events = await task
        await stream.aclose()
        return told(events)

    with caplog.at_level(logging.ERROR, module.logger.name):
        assert asyncio.run(main(True)) == asyncio.run(main(False))
    assert "a frame of 48000 Hz was left out: the first one had 16000 Hz" in caplog.text


def test_what_is_behind_the_samples_of_a_frame_is_no_audio():
    samples = recording("speech")[:30000]

    def longer(piece):
        data = piece.tobytes() + b"\x55" * 90
        return rtc.AudioFrame(data, 16000, 1, len(piece))

    async def main(make):
        stream = Ours.load().stream()
        task = asyncio.create_task(listener(stream))
        for piece in frames(samples, [320]):
            stream.push_frame(make(piece))
        stream.end_input()
        events = await task
        await stream.aclose()
        return told(events)

    assert asyncio.run(main(longer)) == asyncio.run(main(lambda piece: frame(piece, 16000)))


def test_other_frames_are_refused():
    audio = recording("speech")[:320]
    wrong = [
        (audio, TypeError, "found ndarray"),
        (audio.tobytes(), TypeError, "found bytes"),
        (rtc.AudioFrame(audio.tobytes(), 16000, 2, 160), ValueError, "has 2 channels, a VAD takes"),
        (rtc.AudioFrame(audio.tobytes(), 0, 1, 320), ValueError, "a sample_rate of 0"),
    ]

    async def main():
        stream = Ours.load().stream()
        for given, error, text in wrong:
            with pytest.raises(error, match=text):
                stream.push_frame(given)
        assert stream._input_ch.empty()
        stream.push_frame(rtc.AudioFrame(b"", 16000, 1, 0))  # nothing is fine
        await taken(stream)
        await stream.aclose()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"sample_rate": 48000}, ValueError, "sample_rate is 48000"),
        ({"min_speech_duration": -0.1}, ValueError, "min_speech_duration is -0.1"),
        ({"max_buffered_speech": float("inf")}, ValueError, "max_buffered_speech is inf"),
        ({"activation_threshold": float("nan")}, ValueError, "activation_threshold is nan"),
        ({"activation_threshold": "high"}, TypeError, "activation_threshold is 'high'"),
        ({"deactivation_threshold": 0.0}, ValueError, "speech would never end"),
        ({"onnx_file_path": "no/such.onnx"}, FileNotFoundError, "such.onnx"),
    ],
)
def test_other_options_are_refused(options, error, text):
    with pytest.raises(error, match=text):
        Ours.load(**options)


def test_options_that_are_refused_change_nothing():
    async def main():
        vad = Ours.load()
        stream = vad.stream()
        before = vars(stream._detector.options).copy()
        for one in (vad, stream):
            with pytest.raises(ValueError, match="prefix_padding_duration is -1"):
                one.update_options(activation_threshold=0.9, prefix_padding_duration=-1)
        assert vars(stream._detector.options) == vars(vad._options) == before
        await stream.aclose()

    asyncio.run(main())


def test_the_older_name_of_the_padding(caplog):
    vad = Ours.load(padding_duration=0.3)
    assert vad._options.prefix_padding_duration == 0.3
    assert "is now called prefix_padding_duration" in caplog.text


def test_the_weights_are_read_once():
    assert Ours.load()._silero is Ours.load()._silero
    assert Ours.load()._silero is not Ours.load(sample_rate=8000)._silero


# ---- the audio that events owe ----


def test_the_buffer_is_what_a_plain_array_would_be():
    """An array of fixed size with a cursor, as theirs is."""
    rng, all_samples = np.random.default_rng(1), np.arange(20000, dtype=np.int16)
    for _ in range(60):
        padding, room = (int(n) for n in rng.integers(0, 500, 2))
        ours, plain, end = SpeechBuffer(padding, padding + room), np.zeros(padding + room), 0
        for _ in range(40):
            kind = rng.integers(0, 10)
            if kind < 6:
                start = int(rng.integers(0, 19000))
                samples = all_samples[start : start + int(rng.integers(1, 300))]
                fits = min(len(samples), len(plain) - end)
                plain[end : end + fits] = samples[:fits]
                end += fits
                assert ours.append(samples.tobytes()) == (fits > 0)
            elif kind < 8:
                assert ours.keep_padding() == (end > padding)
                if end > padding:
                    plain[:padding] = plain[end - padding : end].copy()
                    end = padding
            else:
                padding, room = (int(n) for n in rng.integers(0, 500, 2))
                ours.resize(padding, padding + room)
                plain = np.resize(np.append(plain, np.zeros(1000)), padding + room)
                end = min(end, len(plain))
            assert bytes(ours) == plain[:end].astype(np.int16).tobytes()
            assert len(ours) == end


def test_options_are_numbers():
    with pytest.raises(TypeError, match="min_speech_duration is True"):
        Options().changed(min_speech_duration=True)
