"""The objects that silero-vad's `load_silero_vad` gives, without PyTorch and onnxruntime.

For code that is written for silero-vad 6.2. Whatever is passed as a tensor of PyTorch comes back as
one; anything else comes back as NumPy arrays.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

from .._made_once import made_once
from ..model import Model
from ._samples import as_audio, flat, like
from ._silero import CHUNKS, silero, silero_file

OPSETS = (15, 16)  # of the files in the package, whose weights are the same
RATES_OF_OPSET = {15: (16000,), 16: (8000, 16000)}
FRAMES = 512  # chunks in a block, where nobody says


@overload
def load_silero_vad(
    onnx: bool = ...,
    opset_version: int = ...,
    sequence: Literal[False] = ...,
    sampling_rate: int = ...,
    max_frames: int = ...,
    *,
    path: str | os.PathLike[str] | None = ...,
    weight_dtype: str | Mapping[Any, str] = ...,
    backend: str | None = ...,
    isa: str | None = ...,
) -> SileroVAD: ...
@overload
def load_silero_vad(
    onnx: bool = ...,
    opset_version: int = ...,
    *,
    sequence: Literal[True],
    sampling_rate: int = ...,
    max_frames: int = ...,
    path: str | os.PathLike[str] | None = ...,
    weight_dtype: str | Mapping[Any, str] = ...,
    backend: str | None = ...,
    isa: str | None = ...,
) -> SileroVADSequence: ...
@overload
def load_silero_vad(
    onnx: bool = ...,
    opset_version: int = ...,
    sequence: bool = ...,
    sampling_rate: int = ...,
    max_frames: int = ...,
    *,
    path: str | os.PathLike[str] | None = ...,
    weight_dtype: str | Mapping[Any, str] = ...,
    backend: str | None = ...,
    isa: str | None = ...,
) -> SileroVAD | SileroVADSequence: ...
def load_silero_vad(
    onnx: bool = False,
    opset_version: int = 16,
    sequence: bool = False,
    sampling_rate: int = 16000,
    max_frames: int = FRAMES,
    *,
    path: str | os.PathLike[str] | None = None,
    weight_dtype: str | Mapping[Any, str] = "float32",
    backend: str | None = None,
    isa: str | None = None,
) -> SileroVAD | SileroVADSequence:
    """Return an object with one session, as silero-vad 6.2 has it; load one for each caller.

    The weights are read once and shared by all that are loaded of the same file.

    Args:
        onnx: either way it is the same model here; with it, opset_version is looked at.
        opset_version: 16; or 15, whose file there has 16 kHz only, and so has this object.
        sequence: return a `SileroVADSequence`, for whole recordings alone.
        sampling_rate: of that one.
        max_frames: of that one: so many chunks are computed at a time.
        path: another file, see `silero`; None: that of the installed package.
        weight_dtype: see `silero`.
        backend: likewise.
        isa: likewise.

    Raises:
        ValueError: opset_version, sampling_rate or max_frames is not one that there is.
        As `silero`: the weights are not installed, or their file cannot be read.

    Example:
        >>> from lstm_fast import checks
        >>> model = load_silero_vad()
        >>> [bool(model(chunk, 16000) > 0.5) for chunk in checks.speech(3, 512, 16000)]
        [True, True, True]
    """
    how: dict[str, Any] = {"weight_dtype": weight_dtype, "backend": backend, "isa": isa}
    if onnx and opset_version not in OPSETS:
        raise ValueError(f"opset_version is {opset_version!r}, expected 15 or 16")
    if sequence:
        return SileroVADSequence(path, sampling_rate, max_frames, **how)
    rates = RATES_OF_OPSET[opset_version] if onnx else RATES_OF_OPSET[16]
    if len(rates) == 1:
        warnings.warn(f"this model takes {rates[0]} Hz only", UserWarning, stacklevel=2)
    return SileroVAD(path, sample_rates=rates, **how)


class SileroVAD:
    """One session of Silero VAD, or a batch of them that begin and end together.

    Each row of a batch is a session of its own. Another rate or another number of rows than in the
    call before begins anew, as there. It belongs to one thread at a time.

    Example:
        >>> from lstm_fast import checks
        >>> model = load_silero_vad()
        >>> recordings = checks.speech(200, 512, 16000).reshape(2, -1)
        >>> model.audio_forward(recordings, 16000).shape  # two sessions, of 100 chunks
        (2, 100)
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        sample_rates: tuple[int, ...] = (8000, 16000),
        **how: Any,
    ) -> None:
        """See `load_silero_vad`.

        Raises:
            As `silero`.
        """
        self.sample_rates = [*sample_rates]
        self._path = silero_file() if path is None else Path(path)
        self._how = how
        self._sessions: dict[tuple[int, int], _Sessions] = {}
        self._last_sr = 0
        self._last_batch_size = 0
        loaded(self._path, 16000, **how)  # now, where an error belongs

    def reset_states(self, batch_size: int = 1) -> None:
        """Go back to the start; the next call says how many rows there are, whatever this does."""
        self._last_sr = self._last_batch_size = 0

    def __call__(self, x: Any, sr: int) -> Any:
        """Take the next chunk of each session and return its probability of speech.

        Args:
            x: shape (samples,) or (batch, samples): 512 at 16 kHz, 256 at 8 kHz; of a multiple of
                16 kHz so many times 512, of which one of so many is taken, without a filter.
                Floats in -1...1; integers are of 16 bits and divided by 32768, unlike there.
            sr: 8000, 16000 or a multiple of that.

        Returns:
            Shape (batch, 1), float32: an array; a tensor of PyTorch where x is one.

        Raises:
            TypeError: x is not an array of real numbers.
            ValueError: its shape or rate is another. Nothing has changed.
            ConcurrentUseError: another thread is using this object.
        """
        samples, sr = self._checked(x, sr)
        size = CHUNKS[sr]
        if samples.shape[1] != size:
            raise ValueError(
                f"x has {samples.shape[1]} samples, expected {size} at {sr} Hz (512 at 16000 Hz, "
                "256 at 8000 Hz)"
            )
        return like(x, self._ready(sr, len(samples)).step(samples))

    def audio_forward(self, x: Any, sr: int) -> Any:
        """Begin anew and return the probability of each chunk of whole recordings.

        Args:
            x: shape (samples,) or (batch, samples), otherwise as of a call; at least one chunk. The
                last one is filled up with zeros.
            sr: as of a call.

        Returns:
            Shape (batch, chunks), float32: an array; a tensor of PyTorch where x is one.

        Raises:
            As a call.
        """
        samples, sr = self._checked(x, sr)
        self.reset_states()
        size = CHUNKS[sr]
        chunks = -(-samples.shape[1] // size)
        found = np.empty((len(samples), chunks), np.float32)
        at = 0
        for block in self._blocks(samples, sr, FRAMES):
            found[:, at : at + block.shape[1]] = block
            at += block.shape[1]
        return like(x, found)

    def probabilities(
        self, audio: NDArray[np.float32], sr: int, frames: int = FRAMES
    ) -> Iterator[NDArray[np.float32]]:
        """Begin anew, and yield the probabilities of a recording (n,), so many chunks at a time.

        Raises:
            ValueError: sr is another.
        """
        self._check_rate(sr)
        self.reset_states()
        for block in self._blocks(audio[None], sr, frames):
            yield block[0]

    def _blocks(
        self, samples: NDArray[np.float32], sr: int, frames: int
    ) -> Iterator[NDArray[np.float32]]:
        """Yield the probabilities (batch, chunks) of samples (batch, n), so many at a time."""
        size, rows = CHUNKS[sr], len(samples)
        sessions = self._ready(sr, rows)
        for begin in range(0, samples.shape[1], frames * size):
            part = samples[:, begin : begin + frames * size]
            if missing := -part.shape[1] % size:
                part = np.pad(part, ((0, 0), (0, missing)))
            yield sessions.run(part.reshape(rows, -1, size))

    def _checked(self, x: Any, sr: int) -> tuple[NDArray[np.float32], int]:
        """Return samples (batch, n) and the rate that they have by now."""
        samples = as_audio(x, "x")
        if samples.ndim not in (1, 2):
            raise ValueError(
                f"x has shape {samples.shape}, expected (samples,) or (batch, samples)"
            )
        if samples.ndim == 1:
            samples = samples[None]
        if sr > 16000 and sr % 16000 == 0:
            samples, sr = samples[:, :: int(sr // 16000)], 16000
        self._check_rate(sr)
        if not len(samples):
            raise ValueError("x has no rows")
        if samples.shape[1] < CHUNKS[sr]:
            raise ValueError(
                f"x has {samples.shape[1]} samples at {sr} Hz, which is too short: a chunk has "
                f"{CHUNKS[sr]}"
            )
        return samples, int(sr)

    def _check_rate(self, sr: int) -> None:
        if sr not in self.sample_rates:
            known = " or ".join(map(str, self.sample_rates))
            raise ValueError(f"sr is {sr!r}, expected {known}, or a multiple of 16000")

    def _ready(self, sr: int, rows: int) -> _Sessions:
        """Return the sessions of the calls before, or those that begin here."""
        if (self._last_sr, self._last_batch_size) == (sr, rows):
            return self._sessions[sr, rows]
        kept = self._sessions.get((sr, rows))
        if kept is None:
            kept = _Sessions(loaded(self._path, sr, **self._how), rows)
            self._sessions = {(sr, rows): kept}
        kept.reset()
        self._last_sr, self._last_batch_size = sr, rows
        return kept

    def __repr__(self) -> str:
        return f"SileroVAD({str(self._path)!r}, sample_rates={self.sample_rates})"


class SileroVADSequence:
    """Silero VAD for whole recordings, as silero-vad 6.2 has it: `audio_forward` alone.

    It keeps nothing between calls, and threads may share it.

    Example:
        >>> from lstm_fast import checks
        >>> model = load_silero_vad(sequence=True)
        >>> model.audio_forward(checks.speech(100, 512, 16000).ravel()).shape
        (100,)
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        sampling_rate: int = 16000,
        max_frames: int = FRAMES,
        force_onnx_cpu: bool = True,
        **how: Any,
    ) -> None:
        """See `load_silero_vad`.

        Raises:
            ValueError: sampling_rate is not a rate of the model, or max_frames below 1.
            As `silero`.
        """
        if sampling_rate not in CHUNKS:
            raise ValueError(f"sampling_rate is {sampling_rate!r}, expected 16000 or 8000")
        self.sampling_rate = sampling_rate
        self.max_frames = _frames(max_frames)
        self._model = loaded(silero_file() if path is None else Path(path), sampling_rate, **how)

    def audio_forward(
        self, audio: Any, sampling_rate: int = 16000, max_frames: int | None = None
    ) -> NDArray[np.float32]:
        """Return the probability of each chunk of a recording, the last one filled up with zeros.

        Args:
            audio: shape (n,), or with axes of size 1 besides; n from 0. Floats in -1...1; integers
                are of 16 bits and divided by 32768, unlike there.
            sampling_rate: the object's own.
            max_frames: so many chunks are computed at a time; None: as the object says.

        Returns:
            Shape (chunks,), float32; an array, also of a tensor.

        Raises:
            TypeError: audio is not an array of real numbers.
            ValueError: it has several channels; or the rate is not the object's.
        """
        if sampling_rate != self.sampling_rate:
            raise ValueError(
                f"sampling_rate is {sampling_rate!r}, this model was loaded for "
                f"{self.sampling_rate}"
            )
        frames = self.max_frames if max_frames is None else _frames(max_frames)
        samples = flat(audio)
        size = CHUNKS[sampling_rate]
        stream = self._model.stream()
        found: list[NDArray[np.float32]] = [np.zeros(0, np.float32)]
        for begin in range(0, len(samples), frames * size):
            part = samples[begin : begin + frames * size]
            chunks = np.pad(part, (0, -len(part) % size)).reshape(-1, size)
            found.append(np.asarray(stream.run(chunks))[:, 0])
        return np.concatenate(found)

    def __repr__(self) -> str:
        return f"SileroVADSequence(sampling_rate={self.sampling_rate})"


class _Sessions:
    """So many sessions that are stepped together: a stream, or a pool where there are several."""

    def __init__(self, model: Model, rows: int) -> None:
        self._stream = model.stream() if rows == 1 else None
        self._pool = None if rows == 1 else model.pool(rows)
        self._handles = [] if self._pool is None else [self._pool.open() for _ in range(rows)]

    def reset(self) -> None:
        if self._stream is not None:
            self._stream.reset()
        for handle in self._handles:
            if self._pool is not None:
                self._pool.reset(handle)

    def step(self, chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (rows, 1) of chunks (rows, size)."""
        if self._stream is not None:
            return np.asarray(self._stream.step(chunks[0]))[None]
        assert self._pool is not None
        return np.asarray(self._pool.step(self._handles, chunks))

    def run(self, chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return probabilities (rows, steps) of chunks (rows, steps, size)."""
        if self._stream is not None:
            return np.asarray(self._stream.run(chunks[0]))[None, :, 0]
        assert self._pool is not None
        return np.asarray(self._pool.run(self._handles, chunks))[:, :, 0]


def loaded(path: Path, rate: int, **how: Any) -> Model:
    """Return the model of a file at a rate: the same object as long as the file is the same.

    Raises:
        As `silero`.
    """
    types = how.get("weight_dtype", "float32")
    if not isinstance(types, str):
        return silero(path, sampling_rate=rate, **how)
    changed = path.stat().st_mtime_ns if path.exists() else 0
    return _loaded(path, changed, rate, types, how.get("backend"), how.get("isa"))


@made_once(most=8)
def _loaded(
    path: Path, changed: int, rate: int, types: str, backend: str | None, isa: str | None
) -> Model:
    return silero(path, sampling_rate=rate, weight_dtype=types, backend=backend, isa=isa)


def _frames(max_frames: Any) -> int:
    if isinstance(max_frames, bool) or not isinstance(max_frames, (int, np.integer)):
        raise TypeError(f"max_frames is {max_frames!r}, expected an integer")
    if max_frames < 1:
        raise ValueError(f"max_frames is {max_frames}, expected 1 or more")
    return int(max_frames)
