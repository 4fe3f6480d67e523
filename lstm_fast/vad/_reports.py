"""Segments of speech as text: a table, JSON, RTTM or SRT; and as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._extras import install
from ._recordings import Recording

Segments = Sequence[dict[str, float]]
MOST_ROWS = 20  # of a picture
MOST_POINTS = 2000  # of a curve: 64 s of chunks, each with a point of its own
FEW_POINTS = 400  # of a longer one: a pause takes a few seconds of it to show


@dataclass(frozen=True)
class Result:
    """A recording, and where speech is in it, in seconds."""

    recording: Recording
    speech: Segments

    @property
    def spoken(self) -> float:
        """Seconds of speech."""
        return sum(one["end"] - one["start"] for one in self.speech)


def table(result: Result) -> str:
    """Return the segments of a recording as a table."""
    recording = result.recording
    mixed = "" if recording.channels == 1 else f", {recording.channels} channels mixed to one"
    lines = [f"{recording.path}: {recording.seconds:.2f} s, {recording.rate} Hz{mixed}"]
    if not result.speech:
        return "\n".join([*lines, "  no speech"])
    lines.append("       start         end    duration")
    lines += [
        f"{one['start']:10.2f} s{one['end']:10.2f} s{one['end'] - one['start']:10.2f} s"
        for one in result.speech
    ]
    count = len(result.speech)
    share = result.spoken / recording.seconds
    lines.append(
        f"  {count} segment{'s'[: count != 1]}, {result.spoken:.2f} s of speech ({share:.0%})"
    )
    return "\n".join(lines)


def as_json(results: Sequence[Result]) -> str:
    """Return all there is to say, also of recordings that could not be heard."""
    heard: list[dict[str, Any]] = []
    for one in results:
        recording = one.recording
        if recording.error:
            heard.append({"file": str(recording.path), "error": recording.error})
            continue
        heard.append(
            {
                "file": str(recording.path),
                "seconds": round(recording.seconds, 6),
                "sampling_rate": recording.rate,
                "channels": recording.channels,
                "speech": [*one.speech],
            }
        )
    return json.dumps({"recordings": heard}, indent=1)


def rttm(result: Result) -> str:
    """Return lines of NIST's Rich Transcription Time Marked, a speaker called "speech".

    The format: NIST, Rich Transcription 2009 Evaluation Plan, appendix A.
    """
    name = "_".join(result.recording.path.stem.split()) or "recording"
    return "\n".join(
        f"SPEAKER {name} 1 {one['start']:.3f} {one['end'] - one['start']:.3f} <NA> <NA> speech "
        "<NA> <NA>"
        for one in result.speech
    )


def srt(result: Result) -> str:
    """Return subtitles, each "[speech]"."""
    return "\n\n".join(
        f"{number}\n{_clock(one['start'])} --> {_clock(one['end'])}\n[speech]"
        for number, one in enumerate(result.speech, 1)
    )


def _clock(seconds: float) -> str:
    ms = round(1000 * seconds)
    return f"{ms // 3600000:02}:{ms // 60000 % 60:02}:{ms // 1000 % 60:02},{ms % 1000:03}"


def require_drawing(path: Path, count: int) -> None:
    """Say now what would go wrong at the end.

    Raises:
        ValueError: there are too many recordings for one picture.
        ImportError: matplotlib is not installed.
        OSError: the picture cannot be written there.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(f"--plot draws with matplotlib: {install('plot')}") from None
    if count > MOST_ROWS:
        raise ValueError(f"--plot draws up to {MOST_ROWS} recordings, there are {count}")
    known = FigureCanvasAgg(Figure()).get_supported_filetypes()
    if path.suffix.lower().lstrip(".") not in known:
        raise ValueError(f"--plot {path}: its name must end in .png, .svg or .pdf")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"cannot write {path}: there is no such directory")


def thinned(values: NDArray[np.float32]) -> tuple[NDArray[np.float64], int]:
    """Return probabilities (n,), of many `FEW_POINTS` means, and of how many each is.

    Of more than a picture has columns a curve would be a surface.
    """
    each = 1 if len(values) <= MOST_POINTS else -(-len(values) // FEW_POINTS)
    starts = np.arange(0, len(values), each)
    sums = np.add.reduceat(values.astype(np.float64), starts) if len(values) else np.zeros(0)
    return sums / np.diff(np.append(starts, len(values))), each


def loudest(peaks: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
    """Return peaks (n,), of many the largest of each few, and of how many each is.

    matplotlib leaves out what has too many corners, and says nothing.
    """
    each = max(1, -(-len(peaks) // MOST_POINTS))
    starts = np.arange(0, len(peaks), each)
    return (np.maximum.reduceat(peaks, starts) if len(peaks) else peaks), each


def draw(results: Sequence[Result], path: Path, threshold: float, chunk_seconds: float) -> None:
    """Write a picture with a row for each recording: loudness, probability and segments.

    Raises:
        OSError: it cannot be written.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 0.6 + 1.9 * len(results)), layout="constrained")
    rows = figure.subplots(len(results), 1, squeeze=False)[:, 0]
    for number, (axes, one) in enumerate(zip(rows, results, strict=True)):
        recording = one.recording
        peaks, stretches = loudest(recording.peaks)
        loud = peaks / max(float(peaks.max(initial=0)), 1e-9)
        times = np.arange(len(loud)) * stretches * (recording.peak_samples / recording.rate)
        axes.fill_between(
            times,
            0.5 - loud / 2,
            0.5 + loud / 2,
            color="0.8",
            lw=0,
            step="post",
            label=None if number else "loudness, of its peak",
        )
        for at, segment in enumerate(one.speech):
            axes.axvspan(
                segment["start"],
                segment["end"],
                color="tab:green",
                alpha=0.25,
                lw=0,
                label=None if at or number else "speech",
            )
        values, chunks = thinned(recording.probabilities)
        times = (np.arange(len(values)) + 0.5) * chunks * chunk_seconds
        axes.plot(times, values, color="tab:blue", lw=1, label=None if number else "probability")
        if chunks > 1:
            axes.text(
                1,
                1.02,
                f"probability: the mean of each {chunks * chunk_seconds:.2g} s",
                transform=axes.transAxes,
                ha="right",
                va="bottom",
                fontsize=8,
            )
        axes.axhline(
            threshold,
            color="tab:red",
            lw=0.8,
            ls="--",
            label=None if number else f"threshold {threshold:g}",
        )
        axes.set(xlim=(0, max(recording.seconds, chunk_seconds)), ylim=(0, 1.02))
        axes.set_title(recording.path.name, fontsize=9, loc="left")
        axes.set_ylabel("probability", fontsize=8)
    rows[-1].set_xlabel("seconds")
    handles, labels = rows[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=4, fontsize=8)
    figure.savefig(path, dpi=120)
