"""Sound like speech, for the checks of voice activity detectors: vowels that glide, in syllables.

White noise leaves a detector of voices near zero, where hardly a mistake shows. So a voice is made:
harmonics of a pitch that moves, weighted by three resonances as of a vocal tract (the formants of
five vowels after Peterson and Barney 1952), in syllables, with a little noise. Silero VAD finds
probabilities from 0.05 to above 0.99 in it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._arrays import Float32
from .probes import Frames

__all__ = ["speech"]

VOWELS = (
    (730, 1090, 2440),
    (270, 2290, 3010),
    (300, 870, 2240),
    (530, 1840, 2480),
    (570, 840, 2410),
)
WIDTHS = (80, 100, 140)  # Hz, of the resonances
PITCHES = (90.0, 220.0)  # Hz
LOWEST = 80.0  # Hz, of a pitch that moves
HIGHEST = 3600.0  # Hz, of harmonics, or 0.45 of the sampling rate
LOUDNESS = 0.06  # root mean square of samples in -1...1, with gain 1
NOISE = 0.01  # of that, beside the voice
STEP = 64  # samples between two places where the resonances are computed
INT16 = 32768
Float64 = NDArray[np.float64]


def speech(
    steps: int,
    chunk: int,
    sampling_rate: int,
    seed: int = 0,
    gain: float = 1.0,
    full_scale: int = INT16,
) -> Float32:
    """Return chunks of sound like speech, (steps, chunk), float32.

    Args:
        steps: how many chunks, T.
        chunk: samples in each.
        sampling_rate: in Hz.
        seed: of pitch, vowels, syllables and noise. Fewer steps are the beginning of more.
        gain: 1 is about as loud as recordings are; what is too loud is clipped.
        full_scale: each sample is a whole number of int16, divided by this.

    Example:
        >>> from lstm_fast import checks
        >>> chunks = checks.speech(100, 512, 16000)  # 3.2 s, the same for the same seed
        >>> chunks.shape
        (100, 512)
    """
    count = steps * chunk
    random = np.random.Generator(np.random.PCG64(seed))
    low, high = PITCHES
    pitch, wobble, speed, start, syllables, begin = random.uniform(
        (low, 0.02, 2.0, 0.0, 3.5, 0.0), (high, 0.08, 4.0, 6.0, 5.5, 3.0)
    )
    vowels = random.integers(0, len(VOWELS), 1000)
    time = np.arange(count + 2 * STEP) / sampling_rate  # to a place behind the end, see `_voice`
    moving = pitch * (1 + wobble * np.sin(2 * np.pi * speed * time + start))
    place = begin + syllables * time
    sound = (_voice(moving, place, vowels, sampling_rate) * _loud(place % 1))[:count]
    sound = LOUDNESS * (sound + NOISE * random.standard_normal(count))
    whole = np.clip(np.rint(gain * sound * INT16), -INT16, INT16 - 1)
    samples: Float32 = whole.astype(np.float32) / np.float32(full_scale)
    return samples.reshape(steps, chunk)


def _voice(pitch: Float64, place: Float64, vowels: NDArray[np.int64], rate: int) -> Float64:
    """Return the harmonics of a pitch, each as loud as the resonances make it."""
    count = len(pitch)
    at = np.arange(0, count, STEP)
    where, coarse = place[at], pitch[at]
    number, glide = where.astype(int) % len(vowels), np.clip((where % 1 - 0.7) / 0.3, 0, 1)
    table = np.array(VOWELS, np.float64)
    before, after = (table[vowels[(number + n) % len(vowels)]] for n in (0, 1))
    formants = before + (after - before) * glide[:, None]
    turn = np.exp(2j * np.pi * np.cumsum(pitch) / rate)
    wave, sound = np.ones(count, np.complex128), np.zeros(count)
    top = min(HIGHEST, 0.45 * rate)
    for k in range(1, int(top / LOWEST) + 1):
        wave *= turn
        loud = _resonance(k * coarse, formants) / k
        loud = np.where(k * coarse < top, loud, 0.0)
        sound += np.interp(np.arange(count), at, loud) * wave.imag
    return sound


def _resonance(hertz: Float64, formants: Float64) -> Float64:
    """Return how much three resonances in a row pass at a frequency; 1 at 0 Hz."""
    ratio = (hertz[:, None] / formants) ** 2
    width = (hertz[:, None] * np.array(WIDTHS) / formants**2) ** 2
    return np.asarray(np.prod(1 / np.sqrt((1 - ratio) ** 2 + width), axis=1))


def _loud(phase: Float64) -> Float64:
    """Return how loud a syllable is at each of its places: it swells, fades, and ends early."""
    return np.asarray(np.sin(np.pi * np.clip(phase / 0.85, 0, 1)) ** 0.7)


def frames_of_speech(
    steps: int, chunk: int, sampling_rate: int, seed: int, gain: float, full_scale: int
) -> Frames:
    """Return `speech` as frames, with the code that makes them again."""

    def code(count: int) -> str:
        more = f", full_scale={full_scale}" if full_scale != INT16 else ""
        return f"speech({count}, {chunk}, {sampling_rate}, {seed}, {gain!r}{more})"

    array = speech(steps, chunk, sampling_rate, seed, gain, full_scale)
    return Frames(array, code(steps), code)
