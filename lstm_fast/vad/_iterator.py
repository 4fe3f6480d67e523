"""Speech starts and ends of one session, chunk by chunk, as silero-vad's `VADIterator` has them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._drop_in import SileroVAD
from ._events import HYSTERESIS
from ._samples import as_audio, for_others
from ._silero import CHUNKS


class VADIterator:
    """One session that is given chunk after chunk.

    Its attributes are those of silero-vad's: model, threshold, sampling_rate, min_silence_samples,
    speech_pad_samples, triggered, temp_end, current_sample. For any size of chunk, any rate and
    states to save there is `SpeechStream`.

    Example:
        >>> from lstm_fast import checks
        >>> iterator = VADIterator(load_silero_vad())
        >>> chunks = checks.speech(100, 512, 16000)
        >>> [found for chunk in chunks if (found := iterator(chunk))]  # and no end until now
        [{'start': 0}]
    """

    def __init__(
        self,
        model: Any,
        threshold: float = 0.5,
        sampling_rate: int = 16000,
        min_silence_duration_ms: int = 100,
        speech_pad_ms: int = 30,
    ) -> None:
        """Begin in silence, and reset the model.

        Args:
            model: what `load_silero_vad` returns, or silero-vad's own; for this session alone.
            threshold: the probability from which on a chunk is speech; 0.15 below it speech ends.
            sampling_rate: 8000 or 16000.
            min_silence_duration_ms: shorter silence ends nothing.
            speech_pad_ms: what is added on both sides.

        Raises:
            ValueError: sampling_rate is another.
        """
        if sampling_rate not in CHUNKS:
            raise ValueError(f"sampling_rate is {sampling_rate!r}, VADIterator takes 8000 or 16000")
        self.model = model
        self.threshold = threshold
        self.sampling_rate = sampling_rate
        self.min_silence_samples = sampling_rate * min_silence_duration_ms / 1000
        self.speech_pad_samples = sampling_rate * speech_pad_ms / 1000
        self.reset_states()

    def reset_states(self) -> None:
        """Go back to the start."""
        self.model.reset_states()
        self.triggered = False
        self.temp_end = 0
        self.current_sample = 0

    def __call__(
        self, x: Any, return_seconds: bool = False, time_resolution: int = 1
    ) -> dict[str, Any] | None:
        """Take the next chunk and return what it decides.

        Args:
            x: shape (512,) at 16 kHz, (256,) at 8 kHz, or with an axis of size 1 in front; floats
                in -1...1, or integers of 16 bits, which are divided by 32768, unlike there.
            return_seconds: whether times are seconds instead of samples.
            time_resolution: how many decimal places those have.

        Returns:
            {"start": ...}, {"end": ...} or None.

        Raises:
            TypeError: x is not an array of real numbers.
            ValueError: its shape is another. Nothing has changed.
        """
        samples = _audio(x)
        taken = samples if isinstance(self.model, SileroVAD) else for_others(samples)
        probability = float(self.model(taken, self.sampling_rate).item())
        size = samples.shape[-1]
        self.current_sample += size
        decided = self._decide(probability, size)
        if decided is None:
            return None
        kind, at = decided
        if return_seconds:
            return {kind: round(at / self.sampling_rate, time_resolution)}
        return {kind: int(at)}

    def _decide(self, probability: float, size: int) -> tuple[str, float] | None:
        if probability >= self.threshold:
            self.temp_end = 0
            if not self.triggered:
                self.triggered = True
                return "start", max(0, self.current_sample - self.speech_pad_samples - size)
        elif probability < self.threshold - HYSTERESIS and self.triggered:
            self.temp_end = self.temp_end or self.current_sample
            if self.current_sample - self.temp_end >= self.min_silence_samples:
                end = self.temp_end + self.speech_pad_samples - size
                self.temp_end, self.triggered = 0, False
                return "end", end
        return None


def _audio(x: Any) -> NDArray[np.float32]:
    """Return x as an array, with what silero-vad calls a wrong type where it is none.

    Raises:
        TypeError: it is not an array of real numbers.
        ValueError: there are several rows, or no axis.
    """
    try:
        samples = as_audio(x, "x")
    except ValueError as error:
        if "rectangular" in str(error):
            raise TypeError(str(error)) from None
        raise
    if samples.ndim not in (1, 2) or (samples.ndim == 2 and len(samples) != 1):
        raise ValueError(f"x has shape {samples.shape}, expected (samples,): one session's")
    return samples
