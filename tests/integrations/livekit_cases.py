"""LiveKit's own plugin and ours, event by event, on the same output of its resampler."""

from __future__ import annotations

import asyncio
import warnings
from dataclasses import fields

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("livekit.agents", reason="livekit-agents is missing: make integrations")
    pytest.importorskip("livekit.plugins.silero", reason="its plugin is missing: make integrations")
    from livekit import rtc
    from livekit.agents.vad import VADEvent, VADEventType
    from livekit.plugins.silero import VAD as Theirs  # noqa: N811

    from lstm_fast.integrations.livekit import VAD as Ours  # noqa: N811
from heard import frames

from tolerances import SILERO_PROBABILITY

__all__ = [
    "Ours",
    "Theirs",
    "VADEventType",
    "assert_same",
    "both",
    "frame",
    "listen",
    "recorded",
    "replayed",
    "rtc",
]

MEASURED = ("inference_duration", "probability", "frames")  # compared in their own ways, or not
EXACT = [field.name for field in fields(VADEvent) if field.name not in MEASURED]
FLUSH = object()


def frame(samples, rate):
    return rtc.AudioFrame(samples.tobytes(), rate, 1, len(samples))


class Tape:
    """What the resamplers of one run gave, for another run, which has to give them the same.

    LiveKit's resampler dithers: it adds noise of its own, other noise in each resampler, so that
    the plugin differs from itself by up to a hundredth of a probability.
    """

    def __init__(self):
        self._made, self._turn = [], None

    def rewind(self):
        self._turn = iter(self._made)

    def is_at_end(self):
        return next(self._turn, None) is None

    def __call__(self, *rates, quality, **named):
        rates = (*rates, *named.values())
        if self._turn is not None:
            kind, pushes = next(self._turn)
            assert kind == (*rates, quality)
            return _Replayed(pushes)
        self._made.append(((*rates, quality), []))
        return _Recorded(_RESAMPLER(*rates, quality=quality), self._made[-1][1])


_RESAMPLER = rtc.AudioResampler


class _Recorded:
    def __init__(self, resampler, pushes):
        self._resampler, self._pushes = resampler, pushes

    def push(self, given):
        found = self._resampler.push(given)
        self._pushes.append((bytes(given.data), found))
        return found


class _Replayed:
    def __init__(self, pushes):
        self._pushes = iter(pushes)

    def push(self, given):
        data, found = next(self._pushes, (None, []))
        assert bytes(given.data) == data
        return found


async def taken(stream):
    """Wait until a stream has computed all that was pushed."""
    while not (stream._input_ch._gets or stream._task.done()):
        await asyncio.sleep(0)


async def listen(kind, audio, rate, sizes, options=None, changes=(), model_rate=16000):
    """Return all events. changes: (number of a frame, FLUSH or what to call with VAD and stream).

    They come when all before them is computed.
    """
    vad = kind.load(sample_rate=model_rate, **(options or {}))
    stream, events, changes = vad.stream(), [], dict(changes)

    async def collect():
        async for event in stream:
            events.append(event)

    listener = asyncio.create_task(collect())
    for number, samples in enumerate(frames(audio, sizes)):
        if number in changes:
            await taken(stream)
            stream.flush() if changes[number] is FLUSH else changes[number](vad, stream)
        stream.push_frame(frame(samples, rate))
    stream.end_input()
    await listener
    await stream.aclose()
    return events


def recorded(*arguments, **named):
    """Return the events of theirs, and what its resamplers gave."""
    tape = Tape()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rtc, "AudioResampler", tape)
        return asyncio.run(listen(Theirs, *arguments, **named)), tape


def replayed(tape, *arguments, **named):
    """Return the events of ours, from the same output of resamplers."""
    tape.rewind()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rtc, "AudioResampler", tape)
        events = asyncio.run(listen(Ours, *arguments, **named))
    assert tape.is_at_end()
    return events


def both(*arguments, **named):
    """Return the events of ours and of theirs."""
    theirs, tape = recorded(*arguments, **named)
    return replayed(tape, *arguments, **named), theirs


def assert_same(ours, theirs, thresholds):
    """Compare events; no probability may be near a threshold."""
    assert [event.type for event in ours] == [event.type for event in theirs]
    pairs = [*zip(ours, theirs, strict=True)]
    probabilities = np.array([[e.probability, f.probability] for e, f in pairs])
    near = np.abs(probabilities[:, 1, None] - thresholds) <= SILERO_PROBABILITY
    assert near.sum() == 0, "take other audio: here either decision would do"
    assert np.abs(np.diff(probabilities)).max() <= SILERO_PROBABILITY
    for mine, other in pairs:
        for name in EXACT:
            assert getattr(mine, name) == getattr(other, name), name
        (one,), (two,) = mine.frames, other.frames
        assert bytes(one.data) == bytes(two.data)
        assert facts(one) == facts(two)


def facts(one):
    return one.sample_rate, one.num_channels, one.samples_per_channel, one.userdata
