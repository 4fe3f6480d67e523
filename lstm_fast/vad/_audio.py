"""Recordings: read, written, and put together of their parts, as by silero-vad's functions."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._extras import install
from .._foreign_arrays import as_array
from ..errors import FormatError
from ._chunks import Chunks
from ._resampling import check_rate
from ._samples import FULL_SCALE

Times = Sequence[dict[str, Any]]
SYSTEM_ERROR = 2  # of libsndfile: SF_ERR_SYSTEM


def read_audio(path: Any, sampling_rate: int = 16000) -> NDArray[np.float32]:
    """Return a recording as samples of one channel at a rate.

    Args:
        path: a file of any format that libsndfile reads, or an open one.
        sampling_rate: what to resample to; a file that has it, of one or two channels, gives the
            very samples that silero-vad's function gives.

    Returns:
        Shape (n,), float32 in -1...1: the mean of its channels.

    Raises:
        FileNotFoundError, OSError: there is no such file, or it cannot be opened.
        FormatError: it is not audio.
        ValueError: one of the rates is out of range, see `Chunks`.
        ImportError: soundfile is not installed.

    Example:
        >>> import tempfile
        >>> from lstm_fast import checks
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_audio(f"{folder}/call.wav", checks.speech(100, 512, 16000).ravel())
        ...     read_audio(f"{folder}/call.wav", sampling_rate=8000).shape
        (25600,)
    """
    samples, rate = read(path)
    return resampled(samples, rate, sampling_rate)


def read(path: Any) -> tuple[NDArray[np.float32], int]:
    """Return a recording as samples of one channel (n,), and its rate.

    Raises:
        As `read_audio`.
    """
    with opened(path) as file:
        try:
            samples = file.read(dtype="float32", always_2d=True)
        except (RuntimeError, ValueError) as error:  # libsndfile's are RuntimeErrors
            raise FormatError(f"{path}: this cannot be read as audio ({error})") from None
        rate = int(file.samplerate)
    mixed = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    return np.ascontiguousarray(mixed, np.float32), rate


def opened(path: Any) -> Any:
    """Return a recording as an open `soundfile.SoundFile`.

    Raises:
        As `read_audio`.
    """
    soundfile = _soundfile()
    if isinstance(path, (str, os.PathLike)):
        with open(path, "rb"):  # says in words what is wrong where libsndfile has a number
            pass
    try:
        return soundfile.SoundFile(path)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:  # TypeError: a raw file
        if isinstance(path, (str, os.PathLike)) and not os.path.getsize(path):
            raise FormatError(f"{path}: the file is empty") from None
        raise FormatError(f"{path}: this cannot be read as audio ({error})") from None


def resampled(samples: NDArray[np.float32], rate: int, to_rate: int) -> NDArray[np.float32]:
    """Return samples (n,) at another rate, ceil(n * to_rate / rate) of them, as `Chunks` has them.

    Raises:
        TypeError, ValueError: as `Chunks`, of either rate.
    """
    check_rate(to_rate, to_rate)
    if rate == to_rate:
        return samples
    chunks = Chunks(rate, to_rate)
    parts = [chunks.push(samples), chunks.flush()]
    return np.concatenate(parts).reshape(-1)[: -(-len(samples) * to_rate // rate)]


def save_audio(path: Any, tensor: Any, sampling_rate: int = 16000) -> None:
    """Write samples as a file of 16 bits, in the format that its name ends in.

    What `read_audio` made of a file of 16 bits is written as it was.

    Args:
        path: the file.
        tensor: shape (n,) or (channels, n), an array or a tensor: floats in -1...1, what is beyond
            is clipped; or int16.
        sampling_rate: of the samples.

    Raises:
        OSError: it cannot be written.
        FormatError: libsndfile has no such format, or it takes no such rate.
        TypeError, ValueError: these are not samples, or not finite.
        ImportError: soundfile is not installed.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_audio(f"{folder}/call.wav", np.float32([0.5, -1, 2]))  # 2 is clipped
        ...     read_audio(f"{folder}/call.wav").round(3)
        array([ 0.5, -1. ,  1. ], dtype=float32)
    """
    soundfile = _soundfile()
    array = as_array(tensor, "tensor")
    if array.ndim not in (1, 2):
        raise ValueError(f"tensor has shape {array.shape}, expected (n,) or (channels, n)")
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ValueError("tensor has samples that are not finite: a file has no such")
        whole = np.rint(array.astype(np.float64) * FULL_SCALE)
        array = np.clip(whole, -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
    elif array.dtype != np.int16:
        raise TypeError(f"tensor has dtype {array.dtype}, expected floats in -1...1 or int16")
    try:
        soundfile.write(path, array.T, sampling_rate)
    except (soundfile.SoundFileError, TypeError, ValueError) as error:
        if getattr(error, "code", None) == SYSTEM_ERROR:
            raise OSError(f"{path}: this cannot be written: is there such a directory?") from None
        raise FormatError(f"{path}: this cannot be written ({error})") from None


def collect_chunks(
    tss: Times, wav: Any, seconds: bool = False, sampling_rate: int | None = None
) -> Any:
    """Return the parts of a recording, one after the other.

    Args:
        tss: {"start": ..., "end": ...} of each part, such as `get_speech_timestamps` returns.
        wav: shape (n,), an array, or a tensor of PyTorch.
        seconds: whether times are seconds instead of samples.
        sampling_rate: of wav; needed with seconds.

    Returns:
        Shape (m,), as wav; memory of its own.

    Raises:
        ValueError: there are no parts; or seconds without a rate.

    Example:
        >>> import numpy as np
        >>> collect_chunks([{"start": 1, "end": 3}, {"start": 4, "end": 5}], np.arange(6.0))
        array([1., 2., 4.])
    """
    return _joined([wav[start:end] for start, end in _pairs(tss, seconds, sampling_rate)])


def drop_chunks(
    tss: Times, wav: Any, seconds: bool = False, sampling_rate: int | None = None
) -> Any:
    """Return a recording without these parts; arguments and errors as of `collect_chunks`.

    Example:
        >>> import numpy as np
        >>> drop_chunks([{"start": 1, "end": 3}, {"start": 4, "end": 5}], np.arange(6.0))
        array([0., 3., 5.])
    """
    kept, begin = [], 0
    for start, end in _pairs(tss, seconds, sampling_rate):
        kept.append(wav[begin:start])
        begin = end
    return _joined([*kept, wav[begin:]])


def _pairs(tss: Times, seconds: bool, sampling_rate: int | None) -> list[tuple[int, int]]:
    if not seconds:
        return [(one["start"], one["end"]) for one in tss]
    if not sampling_rate:
        raise ValueError("seconds are made samples with the sampling_rate: pass it")
    return [(round(one["start"] * sampling_rate), round(one["end"] * sampling_rate)) for one in tss]


def _joined(parts: list[Any]) -> Any:
    if not parts:
        raise ValueError("there are no chunks to collect: the list is empty")
    torch = sys.modules.get("torch")
    kind = getattr(torch, "Tensor", None)
    if torch is not None and isinstance(kind, type) and isinstance(parts[0], kind):
        return torch.cat(parts)
    return np.concatenate(parts)


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: it is there, and libsndfile is not
        raise ImportError(
            f"audio files are read with soundfile ({error}): {install('vad')}"
        ) from None
    return soundfile
