"""Many recordings through one pool, block by block: none has to fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FormatError
from ..model import Model
from ._audio import opened
from ._resampling import check_rate
from ._samples import check_loudness
from ._session import Heard
from ._session_pool import SpeechPool

TOGETHER = 64  # recordings that are open at the same time
BLOCK_SECONDS = 8.0
PEAK_SECONDS = 0.02  # of a picture, which shows the loudest sample of each such stretch


@dataclass
class Recording:
    """What was found out about a recording.

    path: of the file. rate, channels, frames: of the file. probabilities: of the chunks of the
    model, (chunks,). peaks: the loudest sample of each 20 ms, where they were asked for. error: why
    it could not be heard, or "".
    """

    path: Path
    rate: int = 0
    channels: int = 0
    frames: int = 0
    probabilities: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    peaks: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    error: str = ""

    @property
    def peak_samples(self) -> int:
        """How many samples each of the peaks is of, as PEAK_SECONDS need not be whole samples."""
        return max(1, int(PEAK_SECONDS * self.rate))

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.frames / self.rate if self.rate else 0.0


class _Open:
    """A recording that is being read."""

    def __init__(self, recording: Recording, has_peaks: bool) -> None:
        self.recording = recording
        self._file = opened(recording.path)
        self._has_peaks = has_peaks
        self.heard: list[NDArray[np.float32]] = []
        self._peaks: list[NDArray[np.float32]] = []
        recording.rate, recording.channels = int(self._file.samplerate), int(self._file.channels)

    def read(self) -> NDArray[np.float32]:
        """Return the next samples of one channel, (n,); none at the end.

        Raises:
            ValueError: they cannot be samples.
            FormatError: the file is damaged here.
            OSError: it can no more be read.
        """
        stretch = self.recording.peak_samples
        count = int(BLOCK_SECONDS * self._file.samplerate) // stretch * stretch
        try:
            block = self._file.read(count, dtype="float32", always_2d=True)
        except RuntimeError as error:  # libsndfile's are RuntimeErrors
            raise FormatError(
                f"it is damaged after {self.recording.seconds:g} s, within the next "
                f"{BLOCK_SECONDS:g} ({error}): write what can be read of it to another file"
            ) from None
        samples: NDArray[np.float32] = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)
        if not np.isfinite(samples).all():
            raise ValueError("it has samples that are not finite")
        check_loudness(samples, "it")
        self.recording.frames += len(samples)
        if self._has_peaks and len(samples):
            loud = np.pad(np.abs(samples), (0, -len(samples) % stretch)).reshape(-1, stretch)
            self._peaks.append(loud.max(axis=1))
        return samples

    def close(self) -> None:
        self._file.close()
        if self.heard:
            self.recording.probabilities = np.concatenate(self.heard)
        if self._peaks:
            self.recording.peaks = np.concatenate(self._peaks)


def listen(
    paths: Sequence[Path],
    model: Model,
    *,
    has_peaks: bool = False,
    progress: Callable[[float], Any] = lambda seconds: None,
) -> Iterator[Recording]:
    """Yield what is found out about recordings, in the order of paths.

    Args:
        paths: of the files.
        model: what `silero` returns.
        has_peaks: whether to note how loud they are.
        progress: called with the seconds that were heard since the call before.
    """
    pool = SpeechPool(max(1, min(TOGETHER, len(paths))), model)
    recordings = [Recording(path) for path in paths]
    waiting = iter(recordings)
    hearing: dict[int, _Open] = {}
    done = 0
    while done < len(recordings):
        while len(hearing) < pool.capacity and (new := _begin(waiting, pool, has_peaks)):
            hearing[new[0]] = new[1]
        _hear(pool, hearing, progress)
        active = {id(one.recording) for one in hearing.values()}
        while done < len(recordings) and _is_done(recordings[done], active):
            yield recordings[done]
            done += 1


def duration(path: Path) -> float:
    """Return the seconds that a recording has by its header; 0 where it cannot be read."""
    try:
        with opened(path) as file:
            return float(file.frames / file.samplerate)
    except (OSError, ValueError, RuntimeError):
        return 0.0


def _is_done(recording: Recording, active: set[int]) -> bool:
    was_begun = bool(recording.error or recording.rate)
    return was_begun and id(recording) not in active


def _begin(
    waiting: Iterator[Recording], pool: SpeechPool, has_peaks: bool
) -> tuple[int, _Open] | None:
    """Open the next recording that can be, and a session for it; None: there are no more."""
    for recording in waiting:
        try:
            one = _Open(recording, has_peaks)
        except (OSError, ValueError, RuntimeError) as error:
            recording.error = _words(error, recording.path)
            continue
        try:
            return pool.open(rate=check_rate(recording.rate, 16000)), one
        except ValueError as error:
            recording.error = str(error)
            one.close()
    return None


def _hear(pool: SpeechPool, hearing: dict[int, _Open], progress: Callable[[float], Any]) -> None:
    """Hear the next block of each recording, and end those that have none."""
    blocks: dict[int, NDArray[np.float32]] = {}
    ended: list[int] = []
    for handle, one in hearing.items():
        try:
            block = one.read()
        except (OSError, ValueError, RuntimeError) as error:
            one.recording.error = _words(error, one.recording.path)
            block = np.zeros(0, np.float32)
        if len(block):
            blocks[handle] = block
        else:
            ended.append(handle)
    results: list[tuple[int, Heard]] = [
        *zip(blocks, pool.push([*blocks], [*blocks.values()]), strict=True),
        *zip(ended, pool.flush(ended), strict=True),
    ]
    for handle, heard in results:
        hearing[handle].heard.append(heard.probabilities)
    progress(sum(len(block) / hearing[handle].recording.rate for handle, block in blocks.items()))
    for handle in ended:
        one = hearing.pop(handle)
        one.close()
        pool.close(handle)
        if not one.recording.frames and not one.recording.error:
            one.recording.error = "there are no samples in it"


def _words(error: Exception, path: Path) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "this is a directory: name the files in it"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).removeprefix(f"{path}: ")
