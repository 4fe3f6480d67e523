"""Samples as people have them, checked, as float32 in -1...1."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._foreign_arrays import as_array

FULL_SCALE = 32768  # of 16 bits; integers of any dtype are such numbers
LOUDEST = 8.0  # what float samples may reach: 18 dB beyond full scale is not a recording


def to_samples(samples: Any, name: str = "samples") -> NDArray[np.float32]:
    """Return samples (n,) as float32, C-contiguous: an array of its own, or what was given.

    Args:
        samples: bytes of PCM16, little-endian; or real numbers of shape (n,): integers of 16 bits
            in whatever dtype, which are divided by 32768, or floats in -1...1. NaN and infinities
            among floats are passed on: they spoil that session, and no other.
        name: what to call them in an error.

    Raises:
        TypeError: they are not real numbers, or unsigned.
        ValueError: the shape is another; bytes end within a sample; integers are beyond 16 bits; or
            finite floats are beyond 8, as integers that were only converted are.
    """
    if isinstance(samples, (bytes, bytearray, memoryview)):
        return from_pcm16(samples, name)
    is_plain = type(samples) is np.ndarray and samples.dtype.kind in "if"
    array = samples if is_plain else as_array(samples, name)
    kind = array.dtype.kind
    if kind == "u":
        raise TypeError(
            f"{name} has dtype {array.dtype}: pass int16, or floats in -1...1 (of 8 bits unsigned "
            "(x.astype(np.float32) - 128) / 128 makes such)"
        )
    if kind not in "if" and array.size:
        raise TypeError(f"{name} has dtype {array.dtype}: pass int16, or floats in -1...1")
    if array.ndim != 1:
        raise ValueError(
            f"{name} has shape {array.shape}, expected (n,): of several channels pass one, or "
            "their mean"
        )
    if kind == "i":
        return scaled(array, name)
    check_loudness(array, name)
    return np.ascontiguousarray(array, np.float32)


def from_pcm16(data: Any, name: str = "samples") -> NDArray[np.float32]:
    """Return bytes of PCM16, little-endian, as float32 (n,).

    Raises:
        ValueError: they end within a sample.
    """
    view = memoryview(data)
    if view.nbytes % 2:
        raise ValueError(f"{name} has {view.nbytes} bytes: PCM16 has two for each sample")
    samples: NDArray[np.float32] = np.frombuffer(view, "<i2").astype(np.float32)
    samples /= FULL_SCALE
    return samples


def scaled(array: NDArray[Any], name: str) -> NDArray[np.float32]:
    """Return integers of 16 bits, in whatever signed dtype and shape, as float32.

    Raises:
        ValueError: they are beyond 16 bits.
    """
    if array.dtype.itemsize > 2 and array.size:
        low, high = int(array.min()), int(array.max())
        if low < -FULL_SCALE or high >= FULL_SCALE:
            raise ValueError(
                f"{name} has integers from {low} to {high}, and those of 16 bits are taken: divide "
                "by the full scale and pass floats in -1...1"
            )
    samples: NDArray[np.float32] = np.array(array, np.float32)  # exact: 16 bits fit
    samples /= FULL_SCALE
    return samples


def check_loudness(samples: NDArray[Any], name: str) -> None:
    """Refuse finite floats that cannot be samples.

    Raises:
        ValueError: there are some.
    """
    if not samples.size:
        return
    # Any NaN makes both of these NaN, which is not within anything.
    low, high = float(samples.min()), float(samples.max())
    if low >= -LOUDEST and high <= LOUDEST:
        return
    finite = samples[np.isfinite(samples)]
    loudest = float(np.abs(finite).max()) if finite.size else 0.0
    if loudest > LOUDEST:
        raise ValueError(
            f"{name} has floats up to {loudest:g}, expected -1...1: divide those of 16 bits by "
            "32768, or pass them as int16"
        )


def as_audio(x: Any, name: str) -> NDArray[np.float32]:
    """Return real numbers of any shape as float32, integers divided by 32768.

    Raises:
        TypeError: they are none, or unsigned.
        ValueError: lists of different lengths; or integers beyond 16 bits.
    """
    array = as_array(x, name)
    kind = array.dtype.kind
    if kind == "f" or (not array.size and kind in "iub"):
        return np.asarray(array, np.float32)
    if kind != "i":
        raise TypeError(f"{name} has dtype {array.dtype}, expected float32 in -1...1, or int16")
    return scaled(array, name)


def flat(audio: Any) -> NDArray[np.float32]:
    """Return a recording as (n,), whatever axes of size 1 it has besides.

    Raises:
        TypeError, ValueError: as `as_audio`; or it has several channels.
    """
    samples = as_audio(audio, "audio")
    if samples.size != max(samples.shape, default=1):
        raise ValueError(
            f"audio has shape {samples.shape}: of several channels pass one, or their mean"
        )
    return samples.reshape(-1)


def like(given: Any, array: NDArray[Any]) -> Any:
    """Return array as a tensor of PyTorch where what was given is one."""
    torch = sys.modules.get("torch")
    kind = getattr(torch, "Tensor", None)
    if torch is not None and isinstance(kind, type) and isinstance(given, kind):
        return torch.from_numpy(array)
    return array


def for_others(array: NDArray[np.float32]) -> Any:
    """Return what a model that is not ours takes: a tensor where PyTorch is loaded, as theirs."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "from_numpy"):
        return array
    return torch.from_numpy(np.array(array))  # a copy: it warns of memory that is read-only
