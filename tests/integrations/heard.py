"""Recordings for the plug-ins: people, pauses, noise; and frames of them."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest

SPEECH = Path(__file__).parents[2] / "examples/data/speech.wav"
RATE = 16000


def _read(path):
    soundfile = pytest.importorskip("soundfile")
    audio, rate = soundfile.read(path, dtype="int16")
    return audio, rate


def _resampled(audio, rate, wanted):
    soxr = pytest.importorskip("soxr")
    return audio if rate == wanted else soxr.resample(audio, rate, wanted)


@cache
def recording(name, rate=RATE):
    """Return int16 samples: "speech", the demo; "mixture", all that can confuse; "espeak"."""
    return _resampled(_MADE[name](), RATE, rate)


def _speech():
    audio, rate = _read(SPEECH)
    assert rate == RATE
    return audio


def _mixture():
    """Speech that is cut off, silence and noise long enough for resets, a tone, clipping."""
    rng, speech = np.random.default_rng(23), _speech()

    def noise(seconds, rms):
        return rng.normal(0, rms, int(seconds * RATE)).round().astype(np.int16)

    loud = np.clip(speech[: 3 * RATE].astype(np.int32) * 12, -32768, 32767).astype(np.int16)
    tone = (9000 * np.sin(2 * np.pi * 220 * np.arange(RATE) / RATE)).astype(np.int16)
    parts = [
        np.zeros(int(2.3 * RATE), np.int16),
        speech[RATE : int(2.2 * RATE)],  # begins and ends in the middle of a word
        noise(3, 1500),
        loud,
        np.zeros(3 * RATE, np.int16),
        tone,
        speech[int(3.4 * RATE) : int(4.1 * RATE)],
        noise(0.3, 200),
        speech[int(4.2 * RATE) : 6 * RATE],
        noise(2.5, 60),
    ]
    return np.concatenate(parts)


def _espeak():
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    text = "The train to Leeds is late. Yes, I know. It will be here at ten past four, they say."
    said = subprocess.run(
        ["espeak-ng", "-v", "en-us+f2", "-s", "140", "--stdout", text],
        check=True,
        capture_output=True,
    ).stdout
    audio = np.frombuffer(said[44 : len(said) - len(said) % 2], "<i2")  # behind the WAV header
    return np.concatenate([_resampled(audio, 22050, RATE), np.zeros(RATE, np.int16)])


_MADE = {"speech": _speech, "mixture": _mixture, "espeak": _espeak}
NAMES = tuple(_MADE)


def frames(audio, sizes):
    """Cut audio into pieces of these sizes, round and round; the rest is the last piece."""
    at, turn = 0, 0
    while at < len(audio):
        size = sizes[turn % len(sizes)]
        yield audio[at : at + size]
        at, turn = at + size, turn + 1
