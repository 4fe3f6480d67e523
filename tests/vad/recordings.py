"""Recordings to find speech in, and silero-vad's own functions to compare with."""

from __future__ import annotations

import functools
import shutil
import subprocess
import warnings
from pathlib import Path

import numpy as np
import pytest
from silero_cases import silero_file

from lstm_fast import vad

SPEECH = Path(__file__).parents[2] / "examples" / "data" / "speech.wav"
NEAR = 1e-5  # a probability that is so near to a threshold may fall on its other side


@functools.cache
def speech(rate=16000):
    """Return 6 s of the demo recording, with two pauses in it."""
    pytest.importorskip("soundfile")
    return vad.read_audio(SPEECH, rate)[rate : 7 * rate]


def recordings():
    """Return (samples, rate) by name."""
    rng = np.random.default_rng(2)
    noise = rng.standard_normal(40000).astype(np.float32)
    at = {rate: speech(rate) for rate in (8000, 16000, 32000, 48000)}
    short = at[16000][20000:52345]
    return {
        "16k": (at[16000], 16000),
        "8k": (at[8000], 8000),
        "32k": (at[32000], 32000),
        "48k": (at[48000][:100001], 48000),
        "quiet": (short * np.float32(0.003), 16000),
        "loud": (short * np.float32(6), 16000),
        "clipped": (np.clip(short * 20, -1, 1), 16000),
        "noisy": (short + 0.05 * noise[: len(short)], 16000),
        "noise": (0.3 * noise, 16000),
        "silence": (np.zeros(20000, np.float32), 16000),
        "a moment": (short[:100], 16000),
        "nothing": (short[:0], 16000),
        "8k noisy": (at[8000][5000:20001] + 0.02 * noise[:15001], 8000),
    }


def spoken(folder, text, voice, words_per_minute, rate):
    """Return what espeak-ng says (n,), at a rate."""
    if shutil.which("espeak-ng") is None:
        pytest.skip("espeak-ng is not installed")
    path = folder / "said.wav"
    command = ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "-w", str(path), text]
    subprocess.run(command, check=True, capture_output=True)
    return vad.read_audio(path, rate)


def theirs():
    """Return the module silero_vad, which needs PyTorch."""
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    silero_file("silero_vad")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("silero_vad")


@functools.cache
def their_model(onnx):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return theirs().load_silero_vad(onnx=onnx)


class Recorded:
    """Gives probabilities that are known, one after the other, as a model of silero-vad does."""

    def __init__(self, probabilities):
        self.probabilities = probabilities

    def reset_states(self):
        self.at = iter(self.probabilities)

    def __call__(self, chunk, rate):
        import torch

        return torch.tensor([[next(self.at)]])


def is_near(probabilities, *thresholds):
    """Return whether a probability is so near to a threshold that either side is right."""
    values = np.asarray(probabilities, np.float64)
    return any((np.abs(values - one) <= NEAR).any() for one in thresholds)
