"""The weights: read once in a process, from the file that the framework's own package brings."""

from __future__ import annotations

import os
from importlib import metadata
from pathlib import Path

from .. import vad
from .._made_once import made_once
from ..model import Model
from ..vad import silero_file


def model_for(
    sampling_rate: int,
    path: str | os.PathLike[str] | None = None,
    beside: tuple[str, str] | None = None,
) -> Model:
    """Return Silero VAD for a rate: the same object to all who ask for the same file and rate.

    Args:
        sampling_rate: 8000 or 16000.
        path: the file; None looks for one.
        beside: a distribution and the file in it that is wanted then, before `vad.silero_file()`.

    Raises:
        FileNotFoundError: there is no file.
        FormatError: it is not a Silero VAD for this rate, or the library onnx is missing.
    """
    file = Path(path) if path is not None else _installed(beside) or silero_file()
    return _read(file, sampling_rate)


@made_once(most=32)
def _read(file: Path, sampling_rate: int) -> Model:
    return vad.silero(file, sampling_rate=sampling_rate)


def _installed(beside: tuple[str, str] | None) -> Path | None:
    """Return a file of a distribution, which is not imported."""
    if beside is None:
        return None
    name, within = beside
    try:
        path = Path(str(metadata.distribution(name).locate_file(within)))
    except metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None
