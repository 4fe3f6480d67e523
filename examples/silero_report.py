"""What to make of the probabilities: segments of speech, how right they are, and a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lstm_fast import vad

__all__ = [
    "CHUNK",
    "CHUNK_SECONDS",
    "RATE",
    "Float32",
    "Result",
    "Segment",
    "Truth",
    "draw",
    "read_truth",
    "score",
    "speech_segments",
]

RATE = 16000  # Hz
CHUNK = vad.CHUNKS[RATE]  # samples in one step
CHUNK_SECONDS = CHUNK / RATE
Float32 = NDArray[np.float32]

HYSTERESIS = 0.15  # speech goes on until the probability is this far below the threshold
MIN_LOW = 0.01  # or, where the threshold is low itself, until it is below this
MIN_SPEECH = 0.25  # seconds; what is shorter is dropped
MIN_SILENCE = 0.1  # seconds; a shorter pause does not end a segment
PAD = 0.03  # seconds added at both ends; less than half of MIN_SILENCE, so segments stay apart

INK, GRID, FOUND, LIMIT = "#2b3440", "#d5dae0", "#2f7ed8", "#c0392b"
TRUE, NOISE = "#2e8b57", "#d98f2b"
COLUMNS = 2000  # of the drawn waveform, however long the audio is

Intervals = Sequence[Sequence[float]]  # of (start, end, ...), in seconds, apart from each other


class Segment(NamedTuple):
    """A stretch of speech that was found: from and to in seconds, and its mean probability."""

    start: float
    end: float
    probability: float


class Truth(NamedTuple):
    """Intervals in seconds where somebody speaks, and where there is only loud noise."""

    speech: Intervals
    loud_noise: Intervals


class Result(NamedTuple):
    """What there is to see."""

    audio: Float32  # (samples,), at RATE
    probabilities: NDArray[np.float64]  # (chunks,)
    threshold: float
    segments: Sequence[Segment]
    truth: Truth | None  # where it is known


def read_truth(path: Path) -> Truth:
    """Read what data/make_speech.py wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    return Truth(content["speech"], content["loud_noise"])


def speech_segments(
    probabilities: NDArray[np.float64], threshold: float, duration: float
) -> list[Segment]:
    """Find the segments of speech.

    Args:
        probabilities: one per chunk, shape (chunks,).
        threshold: speech starts where the probability reaches it.
        duration: seconds of audio; the last chunk may reach beyond it.
    """
    return [
        Segment(
            max(0.0, start * CHUNK_SECONDS - PAD),
            min(duration, end * CHUNK_SECONDS + PAD),
            float(probabilities[start:end].mean()),
        )
        for start, end in _merge(_runs(probabilities, threshold))
        if (end - start) * CHUNK_SECONDS >= MIN_SPEECH
    ]


def _runs(probabilities: NDArray[np.float64], threshold: float) -> list[tuple[int, int]]:
    """Return the runs of chunks, [first, end), that are speech with hysteresis."""
    speech = probabilities >= threshold
    low = max(threshold - HYSTERESIS, MIN_LOW)
    undecided = ~speech & (probabilities >= low)
    # An undecided chunk is what the last one was that was not.
    decided_by = np.maximum.accumulate(np.where(undecided, 0, np.arange(len(speech))))
    changes = np.flatnonzero(np.diff(speech[decided_by], prepend=False, append=False))
    return [(int(start), int(end)) for start, end in changes.reshape(-1, 2)]


def _merge(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join the runs that too short a silence divides."""
    merged: list[tuple[int, int]] = []
    for start, end in runs:
        if merged and (start - merged[-1][1]) * CHUNK_SECONDS < MIN_SILENCE:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


def _length(intervals: Intervals) -> float:
    return sum(interval[1] - interval[0] for interval in intervals)


def _overlap(some: Intervals, others: Intervals) -> float:
    """Return the seconds that lie in both."""
    return sum(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a in some for b in others)


def score(segments: Intervals, speech: Intervals, duration: float) -> tuple[float, float]:
    """Return the fraction of the speech that was found, and of the rest that was taken for it."""
    hit = _overlap(segments, speech)
    return hit / _length(speech), (_length(segments) - hit) / (duration - _length(speech))


def draw(path: Path, title: str, result: Result) -> None:
    """Write a PNG: the waveform above, the probability below, the segments shaded in both."""
    audio, probabilities, threshold, segments, truth = result
    figure = Figure(figsize=(11, 5), dpi=130, layout="constrained")
    wave, curve = figure.subplots(2, 1, sharex=True)
    _style(wave)
    _style(curve)
    _draw_wave(wave, audio)
    if truth is not None:
        _draw_bars(wave, truth.speech, TRUE, "true speech")
        _draw_bars(wave, truth.loud_noise, NOISE, "loud noise, no speech")
    for axes, label in ((wave, "speech found"), (curve, None)):
        for number, segment in enumerate(segments):
            shade = axes.axvspan(
                segment.start, segment.end, color=FOUND, alpha=0.16, lw=0, zorder=0
            )
            shade.set_label(label if number == 0 else None)
    times = (np.arange(len(probabilities)) + 0.5) * CHUNK_SECONDS
    curve.plot(times, probabilities, color=INK, lw=1.1, label="probability of speech")
    curve.axhline(threshold, color=LIMIT, lw=1, ls="--", label=f"threshold {threshold:g}")
    curve.set(ylim=(-0.04, 1.04), ylabel="probability", xlabel="time (s)")
    curve.set_xlim(0, len(audio) / RATE)
    figure.legend(loc="outside lower center", ncols=6, frameon=False)
    figure.suptitle(title, color=INK, fontweight="bold", parse_math=False)
    figure.savefig(path)


def _style(axes: Axes) -> None:
    axes.grid(axis="x", color=GRID, lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(GRID)


def _draw_wave(axes: Axes, audio: Float32) -> None:
    """Draw the extremes in each column: a long file costs no more than a short one."""
    starts = np.unique(np.linspace(0, len(audio), COLUMNS, endpoint=False, dtype=int))
    low, high = np.minimum.reduceat(audio, starts), np.maximum.reduceat(audio, starts)
    axes.fill_between(starts / RATE, low, high, color=INK, lw=0.4, label="waveform")
    peak = max(float(np.abs(audio).max()), 1e-3)
    axes.set(ylim=(-1.1 * peak, 1.4 * peak), ylabel="amplitude")


def _draw_bars(axes: Axes, intervals: Intervals, color: str, label: str) -> None:
    """Draw intervals as bars along the top."""
    starts, ends = np.reshape(intervals, (-1, 2)).T
    at_top = axes.get_xaxis_transform()  # x in seconds, y as a fraction of the axes
    axes.hlines(
        np.full(len(starts), 0.95), starts, ends, transform=at_top, color=color, lw=6, label=label
    )
