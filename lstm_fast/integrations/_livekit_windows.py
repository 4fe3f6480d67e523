"""Frames of one LiveKit stream in, its events out, window by window; without asyncio."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from livekit import rtc
from livekit.agents.utils import is_given
from livekit.agents.vad import VADEvent, VADEventType

from ..model import Model
from ..vad import CHUNKS
from ._sessions import open_session
from ._speech_buffer import SAMPLE_BYTES, SpeechBuffer

FULL_SCALE = np.float32(32767)  # theirs, where others divide by 32768
SMOOTHING = 0.35  # the weight of the smoothed probability before, in the next one


@dataclass
class Options:
    """What one stream goes by. Times in seconds."""

    min_speech_duration: float = 0.05
    min_silence_duration: float = 0.55
    prefix_padding_duration: float = 0.5
    max_buffered_speech: float = 60.0
    activation_threshold: float = 0.5
    deactivation_threshold: float = 0.35

    def changed(self, **changes: Any) -> Options:
        """Return others; what is not a number among the changes was not given.

        Raises:
            TypeError, ValueError: one is none, or negative.
        """
        values = dict(vars(self))
        values.update({name: one for name, one in changes.items() if _is_number(name, one)})
        return Options(**values)


def _is_number(name: str, value: Any) -> bool:
    """Say whether an option was given, and refuse what it cannot be."""
    if not is_given(value):
        return False
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating, np.integer)):
        raise TypeError(f"{name} is {value!r}, it is a number")
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name} is {value}, it is 0 or more")
    return True


class Detector:
    """What a stream keeps between frames, and how it decides."""

    def __init__(
        self, model: Model, rate: int, options: Options, warn: Callable[[str], None]
    ) -> None:
        """Make one.

        Args:
            model: Silero VAD for that rate.
            rate: 8000 or 16000.
            options: as it begins.
            warn: takes what somebody should know.
        """
        self.options = options
        self.input_rate = 0  # that of the first frame
        self._rate, self._size = rate, CHUNKS[rate]
        self._seconds = self._size / rate  # of a window
        self._warn = warn
        self._session = open_session(model)
        self._window = np.empty(self._size, np.float32)
        self._speech = SpeechBuffer(0, 0)
        self._heard = bytearray()  # at the input's rate, not yet in an event
        self._resampled = self._heard  # at the model's rate, not yet in a window
        self._resampler: rtc.AudioResampler | None = None
        self.reset()

    def reset(self) -> None:
        """Forget all that was heard; no event says so."""
        self._session.reset()
        self._smoothed: float | None = None
        self._speech.clear()
        self._is_full = False
        self._speaking = False
        self._speech_duration = self._silence_duration = 0.0  # as events have it
        self._loud_for = self._quiet_for = 0.0  # since the last window of the other kind
        self._samples, self._timestamp = 0, 0.0
        self._heard.clear()
        self._fraction = 0.0  # of an input sample that events are behind
        self._start_resampler()

    def set_options(self, options: Options) -> None:
        """Go by others from the next window on."""
        if options.max_buffered_speech > self.options.max_buffered_speech:
            self._is_full = False
        self.options = options
        if self.input_rate:
            self._speech.resize(*self._speech_sizes())

    def push(self, frame: rtc.AudioFrame) -> bool:
        """Take a frame; return whether it was of the rate that the first one had."""
        if not self.input_rate:
            self.input_rate = frame.sample_rate
            self._speech = SpeechBuffer(*self._speech_sizes())
            self._start_resampler()
        elif frame.sample_rate != self.input_rate:
            return False
        if len(frame.data) != frame.samples_per_channel:  # there may be more behind its samples
            frame = rtc.AudioFrame(
                bytes(frame.data[: frame.samples_per_channel]),
                *(frame.sample_rate, 1, frame.samples_per_channel),
            )
        self._heard += frame.data.cast("B")
        if self._resampler is not None:
            for one in self._resampler.push(frame):
                self._resampled += one.data.cast("B")
        return True

    def has_window(self) -> bool:
        """Say whether `advance` can go on."""
        return len(self._resampled) >= self._size * SAMPLE_BYTES

    def advance(self, emit: Callable[[VADEvent], None]) -> None:
        """Compute the next window, and emit its events."""
        start = time.perf_counter()
        window_bytes = self._size * SAMPLE_BYTES
        samples = np.frombuffer(bytes(self._resampled[:window_bytes]), np.int16)
        np.divide(samples, FULL_SCALE, out=self._window, dtype=np.float32)
        probability = self._smooth(self._session.step(self._window))
        self._samples += self._size
        self._timestamp += self._seconds
        heard = self._take_heard()
        if self._resampler is not None:
            del self._resampled[:window_bytes]
        if not self._speech.append(heard) and not self._is_full:
            self._is_full = True
            self._warn("max_buffered_speech is reached: what is said from here on is in no event")
        if self._speaking:
            self._speech_duration += self._seconds
        else:
            self._silence_duration += self._seconds
        emit(
            VADEvent(
                type=VADEventType.INFERENCE_DONE,
                samples_index=self._samples,
                timestamp=self._timestamp,
                silence_duration=self._silence_duration,
                speech_duration=self._speech_duration,
                probability=probability,
                inference_duration=time.perf_counter() - start,
                frames=[self._frame(heard)],
                speaking=self._speaking,
                raw_accumulated_silence=self._quiet_for,
                raw_accumulated_speech=self._loud_for,
            )
        )
        options = self.options
        if probability >= options.activation_threshold or (
            self._speaking and probability > options.deactivation_threshold
        ):
            self._on_loud(emit)
        else:
            self._on_quiet(emit)

    def _on_loud(self, emit: Callable[[VADEvent], None]) -> None:
        self._loud_for += self._seconds
        self._quiet_for = 0.0
        if self._speaking or self._loud_for < self.options.min_speech_duration:
            return
        self._speaking = True
        self._silence_duration, self._speech_duration = 0.0, self._loud_for
        emit(self._turn(VADEventType.START_OF_SPEECH, self._speech_duration))

    def _on_quiet(self, emit: Callable[[VADEvent], None]) -> None:
        self._quiet_for += self._seconds
        self._loud_for = 0.0
        if self._speaking:
            if self._quiet_for < self.options.min_silence_duration:
                return
            self._speaking = False
            self._silence_duration = self._quiet_for
            spoken = max(0.0, self._speech_duration - self._quiet_for)
            emit(self._turn(VADEventType.END_OF_SPEECH, spoken))
            self._speech_duration = 0.0
        if self._speech.keep_padding():
            self._is_full = False

    def _turn(self, kind: VADEventType, speech_duration: float) -> VADEvent:
        """Return the event of a start or an end, with all of its audio."""
        return VADEvent(
            type=kind,
            samples_index=self._samples,
            timestamp=self._timestamp,
            silence_duration=self._silence_duration,
            speech_duration=speech_duration,
            frames=[self._frame(bytes(self._speech))],
            speaking=self._speaking,
        )

    def _smooth(self, probability: float) -> float:
        before = self._smoothed
        if before is not None:
            probability = SMOOTHING * before + (1 - SMOOTHING) * probability
        self._smoothed = probability
        return probability

    def _take_heard(self) -> bytes:
        """Return the input that belongs to a window; what is left of a sample is kept in mind."""
        exact = self._size * (self.input_rate / self._rate) + self._fraction
        whole = int(exact)
        self._fraction = exact - whole
        heard = bytes(self._heard[: whole * SAMPLE_BYTES])
        del self._heard[: whole * SAMPLE_BYTES]
        return heard

    def _frame(self, samples: bytes) -> rtc.AudioFrame:
        return rtc.AudioFrame(samples, self.input_rate, 1, len(samples) // SAMPLE_BYTES)

    def _speech_sizes(self) -> tuple[int, int]:
        """Return padding and limit of the audio kept, in samples of the input."""
        padding = int(self.options.prefix_padding_duration * self.input_rate)
        return padding, int(self.options.max_buffered_speech * self.input_rate) + padding

    def _start_resampler(self) -> None:
        """Begin anew, where the input has another rate."""
        if self.input_rate in (0, self._rate):
            return
        self._resampled = bytearray()
        self._resampler = rtc.AudioResampler(
            self.input_rate, self._rate, quality=rtc.AudioResamplerQuality.QUICK
        )
