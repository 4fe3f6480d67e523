"""Silero VAD for pipecat: its `SileroVADAnalyzer`, computed here.

from lstm_fast.integrations.pipecat import SileroVADAnalyzer  # not pipecat.audio.vad.silero

Decisions are those of pipecat-ai 1.14: the framework's own base class makes them, and the model is
reset when theirs is. What differs: nothing is sent to a thread; see docs/integrations.md.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from .._extras import install
from ..vad import CHUNKS
from . import _models
from ._sessions import Session, Window, open_session
from ._ticks import Tick, tick_of_this_loop

try:
    from pipecat.audio.vad.vad_analyzer import VADAnalyzer, VADParams, VADState
except ImportError as error:
    raise ImportError(f"pipecat-ai is missing: {install('pipecat')}") from error

__all__ = ["SileroVADAnalyzer"]

BESIDE = ("pipecat-ai", "pipecat/audio/vad/data/silero_vad.onnx")
FULL_SCALE = np.float32(1 / 32768)  # a power of two: the same bits as a division by 32768
SAMPLE_BYTES = 2

# When the model is reset, as pipecat-ai 1.14 does it: it hears less after long pauses, and a reset
# while somebody speaks would be heard as a pause.
RESET_SECONDS = 2.0  # of audio since the last reset, at least
RESET_BELOW = 0.1  # probability of a window that is clearly no speech
RESET_WINDOWS = 5  # in a row of these, at least


class SileroVADAnalyzer(VADAnalyzer):
    """Silero VAD as pipecat's analyzer of voice activity, for one audio track of 8 or 16 kHz.

    It computes in the thread that calls. With `shared` all such analyzers of an event loop compute
    together, in one step of a pool per tick; each gets the same bits as alone.
    """

    def __init__(
        self,
        *,
        sample_rate: int | None = None,
        params: VADParams | None = None,
        shared: bool = False,
        tick: float = 0.002,
        model_path: str | os.PathLike[str] | None = None,
    ) -> None:
        """Make an analyzer; the weights are read once in a process.

        Args:
            sample_rate: 8000 or 16000; None takes that of the pipeline, from `set_sample_rate`.
            params: thresholds, see pipecat's VADParams.
            shared: whether to ride in one pool with the others of this event loop.
            tick: for how many seconds a window then waits for others; 0 takes those that came in
                the same turn of the loop.
            model_path: a file of Silero VAD (docs/vad.md); None takes the one in pipecat-ai.

        Raises:
            ValueError: a rate or a tick is none.
            FileNotFoundError, FormatError: the file cannot be read, or the library onnx is missing.
        """
        if sample_rate is not None:
            _check_rate(sample_rate)
        if not 0 <= tick < 1:
            raise ValueError(f"tick is {tick}, it is a time of 0 to 1 seconds")
        super().__init__(sample_rate=sample_rate, params=params)
        self._shared, self._tick_seconds = shared, tick
        self._path = model_path
        self._session: Session | None = None
        self._session_rate = 0  # of the audio that it takes
        self._ahead: float | None = None  # the probability of the next window, from a tick
        self._calls = 0  # of analyze_audio that wait for a tick
        self._waits_in: Tick | None = None  # of all these
        self._is_closed = False
        self._windows_since_reset = 0
        self._quiet_windows = 0  # that were clearly no speech, in a row; a reset leaves it
        _models.model_for(sample_rate or max(CHUNKS), model_path, BESIDE)

    def set_sample_rate(self, sample_rate: int) -> None:
        """Set the rate of the audio, unless the constructor was given one.

        Raises:
            ValueError: it is neither 8000 nor 16000.
        """
        _check_rate(sample_rate)
        super().set_sample_rate(sample_rate)
        _models.model_for(self.sample_rate, self._path, BESIDE)  # now, not at the first window

    def num_frames_required(self) -> int:
        """Return how many samples a window has: 512 at 16 kHz, 256 at 8 kHz."""
        return CHUNKS[16000 if self.sample_rate == 16000 else 8000]

    def voice_confidence(self, buffer: bytes) -> float:
        """Return the probability of speech in the next window, and advance the session.

        Args:
            buffer: as many samples as `num_frames_required`, int16 in this machine's byte order.

        Raises:
            ValueError: it has another size.
            RuntimeError: `set_sample_rate` was not called.
            ConcurrentUseError: another thread is in the same call.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            self._check_is_set()
            window = self._window(buffer)
            ahead = self._session_now().step(window)
        session = self._session_now()
        self._windows_since_reset += 1
        self._quiet_windows = self._quiet_windows + 1 if ahead < RESET_BELOW else 0
        if self._is_reset_due():
            session.reset()
            self._windows_since_reset = 0
        return ahead

    async def analyze_audio(self, buffer: bytes) -> VADState:
        """Take audio of any length, and return what the voice is doing after it.

        Args:
            buffer: samples, int16 in this machine's byte order, in bytes, a bytearray or a
                memoryview of bytes. A sample may be cut in two: the next call has its other half.

        Raises:
            TypeError: buffer is something else.
            RuntimeError: `set_sample_rate` was not called, or the analyzer was cleaned up; or it
                is shared, and a call waits for a tick of another event loop.
        """
        if self._is_closed:
            raise RuntimeError("this analyzer was cleaned up: make a new one")
        self._check_is_set()
        data = _to_bytes(buffer)
        is_short = len(self._vad_buffer) + len(data) < self._vad_frames_num_bytes
        if not self._shared or (is_short and not self._calls):
            return self._run_analyzer(data)
        tick = tick_of_this_loop(self._tick_seconds)
        if self._calls and self._waits_in is not tick:
            raise RuntimeError("this analyzer waits for a tick of another event loop")
        self._waits_in = tick
        self._calls += 1
        answer = tick.send(self, data)
        try:
            state: VADState = await answer
            return state
        finally:
            tick.withdraw(answer)  # which a cancelled call may leave there
            self._calls -= 1
            if self._is_closed and not self._calls:
                self._session = None

    async def cleanup(self) -> None:
        """Release the session. What waits for a tick is still answered."""
        await super().cleanup()
        self._is_closed = True
        if not self._calls:
            self._session = None

    def _next_window(self, data: bytes) -> tuple[Session, Window] | None:
        """Return the session and the window that data completes, for a tick."""
        need = self._vad_frames_num_bytes
        if len(self._vad_buffer) + len(data) < need:
            return None
        start = self._vad_buffer[:need]
        return self._session_now(), self._window(start + data[: need - len(start)])

    def _take(self, data: bytes, ahead: float | None) -> VADState:
        """Take data in a tick; the probability of its first window may be known."""
        self._ahead = ahead
        try:
            state: VADState = self._run_analyzer(data)
            return state
        finally:
            self._ahead = None

    def _is_reset_due(self) -> bool:
        """Say whether the model is to be reset after this window.

        The base class looks at the window after this, so `_vad_state` is that before it.
        """
        samples = self._windows_since_reset * self.num_frames_required()
        return (
            samples >= RESET_SECONDS * self.sample_rate
            and self._vad_state == VADState.QUIET
            and self._quiet_windows >= RESET_WINDOWS
        )

    def _session_now(self) -> Session:
        """Return the session; where the rate has changed, another one, as theirs begins anew."""
        rate = self.sample_rate
        if self._session is None or self._session_rate != rate:
            self._session = open_session(_models.model_for(rate, self._path, BESIDE))
            self._session_rate = rate
        return self._session

    def _window(self, buffer: bytes) -> Window:
        """Return samples in -1...1, a new array."""
        frames = self.num_frames_required()
        if len(buffer) != frames * SAMPLE_BYTES:
            raise ValueError(
                f"a window has {len(buffer)} bytes, at {self.sample_rate} Hz it takes "
                f"{frames * SAMPLE_BYTES}: {frames} samples of int16"
            )
        window: Window = np.multiply(np.frombuffer(buffer, np.int16), FULL_SCALE, dtype=np.float32)
        return window

    def _check_is_set(self) -> None:
        if not self.sample_rate:
            raise RuntimeError("the rate is not known yet: call set_sample_rate(16000) or (8000)")


def _check_rate(sample_rate: int) -> None:
    if sample_rate not in CHUNKS:
        raise ValueError(
            f"sample_rate is {sample_rate}, Silero VAD takes 8000 or 16000: set the pipeline's "
            "audio_in_sample_rate to one of these"
        )


def _to_bytes(buffer: Any) -> bytes:
    """Return the bytes of samples.

    Raises:
        TypeError: they are not bytes of int16.
    """
    if isinstance(buffer, bytes):
        return buffer
    if isinstance(buffer, bytearray) or (
        isinstance(buffer, memoryview) and buffer.format in ("b", "B", "c", "h")
    ):
        return bytes(buffer)
    if isinstance(buffer, np.ndarray):
        raise TypeError(
            f"expected bytes of int16, found an array of {buffer.dtype}: pass x.tobytes(), and "
            "scale floats before, (32767 * x).astype(np.int16)"
        )
    raise TypeError(f"expected bytes of int16, found {type(buffer).__name__}")
