"""Silero VAD for LiveKit agents: the plugin's `VAD`, computed here.

from lstm_fast.integrations.livekit import VAD  # not livekit.plugins.silero

Events are those of livekit-plugins-silero 1.8. What differs: no thread computes for a stream, and
streams do not share their options; see docs/integrations.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any
from weakref import WeakSet

from .._extras import install
from ..model import Model
from ..vad import CHUNKS
from . import _models

try:
    from livekit import rtc
    from livekit.agents import utils, vad
    from livekit.agents.types import NOT_GIVEN, NotGivenOr
except ImportError as error:
    raise ImportError(f"livekit-agents is missing: {install('livekit')}") from error

from ._livekit_windows import Detector, Options

__all__ = ["VAD", "VADStream"]

logger = logging.getLogger(__name__)

BESIDE = ("livekit-plugins-silero", "livekit/plugins/silero/resources/silero_vad.onnx")
UPDATE_SECONDS = 0.032  # a window, at both rates
WINDOWS_IN_A_ROW = 16  # of one stream, before others in the event loop have a turn


class VAD(vad.VAD):
    """Silero VAD as a VAD of LiveKit agents; `stream()` gives each track a session of its own."""

    @classmethod
    def load(
        cls,
        *,
        min_speech_duration: float = 0.05,
        min_silence_duration: float = 0.55,
        prefix_padding_duration: float = 0.5,
        max_buffered_speech: float = 60.0,
        activation_threshold: float = 0.5,
        sample_rate: int = 16000,
        force_cpu: bool = True,
        onnx_file_path: NotGivenOr[str | os.PathLike[str]] = NOT_GIVEN,
        deactivation_threshold: NotGivenOr[float] = NOT_GIVEN,
        padding_duration: NotGivenOr[float] = NOT_GIVEN,
    ) -> VAD:
        """Read the weights, once in a process, and make a VAD. It blocks: call it in prewarm.

        Args:
            min_speech_duration: seconds of speech before START_OF_SPEECH.
            min_silence_duration: seconds of silence before END_OF_SPEECH.
            prefix_padding_duration: seconds of audio before the speech that events have, too.
            max_buffered_speech: seconds of speech that an event has at most.
            activation_threshold: the probability from which on a window is speech.
            sample_rate: that of the model, 8000 or 16000. Frames may have any rate.
            force_cpu: it always computes on the CPU; for the plugin's callers.
            onnx_file_path: a file of Silero VAD (docs/vad.md), by default that in the plugin, or
                in the package silero-vad.
            deactivation_threshold: the probability above which a window still is speech where
                somebody speaks; by default activation_threshold - 0.15, at least 0.01.
            padding_duration: an older name of prefix_padding_duration.

        Raises:
            TypeError, ValueError: an option is wrong.
            FileNotFoundError, FormatError: the file cannot be read, or the library onnx is missing.
        """
        if sample_rate not in CHUNKS:
            raise ValueError(f"sample_rate is {sample_rate}, Silero VAD computes at 8000 or 16000")
        if utils.is_given(padding_duration):
            logger.warning("padding_duration is now called prefix_padding_duration")
            prefix_padding_duration = padding_duration
        options = Options().changed(
            min_speech_duration=min_speech_duration,
            min_silence_duration=min_silence_duration,
            prefix_padding_duration=prefix_padding_duration,
            max_buffered_speech=max_buffered_speech,
            activation_threshold=activation_threshold,
            deactivation_threshold=deactivation_threshold,
        )
        if not utils.is_given(deactivation_threshold):
            threshold = max(options.activation_threshold - 0.15, 0.01)
            options = options.changed(deactivation_threshold=threshold)
        elif options.deactivation_threshold <= 0:
            raise ValueError("deactivation_threshold is 0: speech would never end")
        path = onnx_file_path if utils.is_given(onnx_file_path) else None
        model = _models.model_for(sample_rate, path or None, BESIDE)
        return cls(model=model, sample_rate=sample_rate, options=options)

    def __init__(self, *, model: Model, sample_rate: int, options: Options) -> None:
        """Call `VAD.load()` instead."""
        super().__init__(capabilities=vad.VADCapabilities(update_interval=UPDATE_SECONDS))
        self._silero, self._rate, self._options = model, sample_rate, options
        self._streams: WeakSet[VADStream] = WeakSet()

    @property
    def model(self) -> str:
        """What it is called in metrics."""
        return "silero"

    @property
    def provider(self) -> str:
        """What computes it, likewise."""
        return "lstm_fast"

    @property
    def min_silence_duration(self) -> float | None:
        """Seconds of silence before END_OF_SPEECH, for streams that begin now."""
        return self._options.min_silence_duration

    def stream(self) -> VADStream:
        """Begin a stream, in the running event loop."""
        stream = VADStream(self, Detector(self._silero, self._rate, self._options, logger.warning))
        self._streams.add(stream)
        return stream

    def update_options(
        self,
        *,
        min_speech_duration: NotGivenOr[float] = NOT_GIVEN,
        min_silence_duration: NotGivenOr[float] = NOT_GIVEN,
        prefix_padding_duration: NotGivenOr[float] = NOT_GIVEN,
        max_buffered_speech: NotGivenOr[float] = NOT_GIVEN,
        activation_threshold: NotGivenOr[float] = NOT_GIVEN,
        deactivation_threshold: NotGivenOr[float] = NOT_GIVEN,
    ) -> None:
        """Change options, see `load`, of all streams that there are and of those to come.

        Another activation_threshold leaves the deactivation_threshold as it is.

        Raises:
            TypeError, ValueError: one is wrong; nothing has changed.
        """
        changes = _given(locals())
        self._options = self._options.changed(**changes)
        for stream in self._streams:
            stream.update_options(**changes)


class VADStream(vad.VADStream):
    """A session on one audio track: push frames, and iterate over its events."""

    def __init__(self, parent: VAD, detector: Detector) -> None:
        """Call `VAD.stream()` instead."""
        self._detector = detector  # first: a loop with eager tasks begins to run right below
        super().__init__(parent)

    def push_frame(self, frame: rtc.AudioFrame) -> None:
        """Take a frame of any length, of one channel and any rate that LiveKit resamples.

        All have to have the rate of the first one: others are left out, and an error is logged.

        Raises:
            TypeError: it is not an AudioFrame.
            ValueError: it has several channels, or no rate.
            RuntimeError: the stream or its input has ended.
        """
        if not isinstance(frame, rtc.AudioFrame):
            raise TypeError(
                f"expected an rtc.AudioFrame, found {type(frame).__name__}: of an array of int16 "
                "make rtc.AudioFrame(x.tobytes(), sample_rate, 1, len(x))"
            )
        if frame.num_channels != 1:
            raise ValueError(
                f"the frame has {frame.num_channels} channels, a VAD takes 1: mix them, or ask "
                "for one where it comes from, as with rtc.AudioStream(track, num_channels=1)"
            )
        if frame.sample_rate <= 0:
            raise ValueError(f"the frame has a sample_rate of {frame.sample_rate}")
        super().push_frame(frame)

    def update_options(
        self,
        *,
        min_speech_duration: NotGivenOr[float] = NOT_GIVEN,
        min_silence_duration: NotGivenOr[float] = NOT_GIVEN,
        prefix_padding_duration: NotGivenOr[float] = NOT_GIVEN,
        max_buffered_speech: NotGivenOr[float] = NOT_GIVEN,
        activation_threshold: NotGivenOr[float] = NOT_GIVEN,
        deactivation_threshold: NotGivenOr[float] = NOT_GIVEN,
    ) -> None:
        """Change options of this stream, see `VAD.load`, from its next window on.

        Raises:
            TypeError, ValueError: one is wrong; nothing has changed.
        """
        changes = _given(locals())
        self._detector.set_options(self._detector.options.changed(**changes))

    @utils.log_exceptions(logger=logger)
    async def _main_task(self) -> None:
        detector, emit = self._detector, self._event_ch.send_nowait
        windows = 0
        async for frame in self._input_ch:
            if isinstance(frame, self._FlushSentinel):
                detector.reset()
                continue
            if not detector.push(frame):
                logger.error(
                    "a frame of %d Hz was left out: the first one had %d Hz",
                    *(frame.sample_rate, detector.input_rate),
                )
            while detector.has_window():
                detector.advance(emit)
                windows += 1
                if windows % WINDOWS_IN_A_ROW == 0:
                    await asyncio.sleep(0)


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    """Return the options among the arguments of a method."""
    return {name: value for name, value in arguments.items() if name != "self"}
