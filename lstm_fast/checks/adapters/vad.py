"""Whole voice activity detectors as targets: audio in, the probability of speech out."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ..._arrays import Float32
from ...program import Tensor
from ..layout import Layout
from ..probes import Frames
from ..speech import INT16, frames_of_speech
from ..target import Target, TargetError, to_array, told

__all__ = ["SAMPLES", "VadTarget", "from_vad"]

SAMPLES = ("float32", "int16", "bytes", "tensor")
RATES = {16000: 512, 8000: 256}  # Silero VAD's, and the samples that one of its steps takes
CALLS = ("__call__", "step", "process", "process_chunk")
RESETS = ("reset", "reset_states", "reset_state")
OF_TORCH = {"torch", "__torch__", "silero_vad"}  # what takes tensors, and the sampling rate
NOMINAL = 2.0  # `Options.scale` at which speech is as loud as recordings are
LARGEST_CHUNK = 1 << 20
LARGEST = 1e6  # of the gain: all of it is clipped


def from_vad(
    make: Callable[[], Any],
    *,
    sampling_rate: int = 16000,
    samples: str | None = None,
    chunk: int | None = None,
    full_scale: int | None = None,
    call: str | None = None,
    passes_rate: bool | None = None,
    recordings: bool = False,
    name: str | None = None,
    origin: str | None = None,
    threads: bool = True,
) -> VadTarget:
    """Return a target of a whole VAD of your own, to be compared with Silero VAD.

    What `make` returns is called with one chunk of samples after the other and returns the
    probability of speech. It has reset(), or reset_states(); where there is none, a new one is made
    instead. Of what it returns, the last number counts. Where a chunk completes none of Silero
    VAD's, it may also return None.

    Args:
        make: called for each session: a class, or a function without arguments.
        sampling_rate: 16000 or 8000, of the audio.
        samples: what it takes: "float32", an array in -1...1; "int16", an array; "bytes", PCM of
            16 bits, little endian; "tensor", float32 of torch. None is "tensor" for what comes from
            silero-vad or torch, else "float32".
        chunk: how many samples it takes at once; None is 512 at 16000 Hz and 256 at 8000.
        full_scale: of integers: what they should be divided by, 32768 or 32767. None takes either,
            and the report says so where it is 32767.
        call: the method that takes a chunk; None is the first of `__call__`, step, process and
            process_chunk that there is.
        passes_rate: whether that takes the sampling rate as well; None: where it has two arguments.
        recordings: whether it takes whole recordings and returns all their probabilities. It is
            given all chunks since the reset, and one of silence behind them, which is not looked
            at: what becomes of the end of a recording is told apart, as a warning.
        name: for the report.
        origin: Python that makes the target again, for reproductions.
        threads: whether sessions may run in threads of their own.

    Raises:
        TypeError, ValueError: an argument is wrong; the text says which values there are.

    Example:
        >>> from lstm_fast import checks, vad
        >>> make = vad.SileroVoiceActivityDetector  # or a class of yours, with `__call__` or step
        >>> target = from_vad(make, samples="bytes", full_scale=32767)
        >>> checks.reset(target).status
        'passed'
    """
    if not callable(make):
        raise TypeError(f"make is {type(make).__name__}, expected a class or a function")
    size = checked_vad(sampling_rate, samples, chunk)
    if full_scale not in (None, INT16, INT16 - 1):
        raise ValueError(f"full_scale is {full_scale!r}, expected {INT16} or {INT16 - 1}")
    if full_scale is not None and samples not in ("int16", "bytes"):
        raise ValueError(f'full_scale is of samples="int16" or "bytes", found {samples!r}')
    if recordings and size != RATES[sampling_rate]:
        raise ValueError(f"chunk is {size}, of recordings it has to be {RATES[sampling_rate]}")
    target = VadTarget(make, sampling_rate, samples, size, full_scale, call, passes_rate)
    target.recordings = recordings
    target.name = name or str(getattr(make, "__name__", "vad"))
    target.origin, target.threads = origin, threads
    return target


def checked_vad(sampling_rate: Any, samples: Any, chunk: Any) -> int:
    """Return how many samples a VAD takes at once.

    Raises:
        ValueError: an argument is wrong.
    """
    if isinstance(sampling_rate, bool) or sampling_rate not in RATES:
        raise ValueError(
            f"sampling_rate is {sampling_rate!r}, Silero VAD takes 16000 or 8000: check what "
            "resamples with audio of one of these"
        )
    if samples is not None and samples not in SAMPLES:
        raise ValueError(f"samples is {samples!r}, expected one of {', '.join(SAMPLES)}")
    size = RATES[sampling_rate] if chunk is None else chunk
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= LARGEST_CHUNK:
        raise ValueError(f"chunk is {size!r}, expected how many samples it takes at once")
    return size


class VadTarget(Target):
    """See `from_vad`.

    Attributes:
        sampling_rate: in Hz. chunk: samples in a frame. own_chunk: those of Silero VAD's.
        full_scale: what integers are divided by; frames are what the model should see of them.
        settled: whether full_scale was said or found, and not assumed.
        recordings: whether it takes all chunks since the reset at once.

    Example:
        >>> target = from_vad(lambda: None, sampling_rate=8000)
        >>> target.chunk, target.takes_integers
        (256, False)
    """

    def __init__(
        self,
        make: Callable[[], Any],
        sampling_rate: int,
        samples: str | None,
        chunk: int,
        full_scale: int | None,
        call: str | None = None,
        passes_rate: bool | None = None,
    ) -> None:
        self._make, self._samples, self._call, self._passes_rate = make, samples, call, passes_rate
        self.sampling_rate, self.chunk = sampling_rate, chunk
        self.own_chunk = RATES[sampling_rate]
        self.takes_integers = samples in ("int16", "bytes")
        self.full_scale, self.settled = full_scale or INT16, full_scale is not None
        self.layout = Layout(
            {"input": Tensor((chunk,), "float32")}, {"output": Tensor((1,), "float32")}, {}
        )
        self.input_size, self.output_size = chunk, 1
        self.recordings = False

    @property
    def holds_floats(self) -> bool:
        """Whether a chunk can hold NaN."""
        return not self.takes_integers

    def drawn(self, steps: int, seed: int, scale: float) -> Frames:
        """Return sound like speech; `Options.scale` 2 is as loud as recordings are."""
        gain = min(scale / NOMINAL, LARGEST)
        full_scale = self.full_scale
        return frames_of_speech(steps, self.chunk, self.sampling_rate, seed, gain, full_scale)

    def session(self) -> _Session | _Recording:
        """Return a new session, which takes frames as the model should see them."""
        return _Recording(self) if self.recordings else _Session(self)

    def last_of(self, xs: Float32, silent: int) -> Float32:
        """Return the probability of the last chunk of a recording, with so much silence behind.

        Raises:
            TargetError: there is not one for each chunk.
        """
        behind = np.zeros((silent, self.chunk), np.float32)
        whole = np.concatenate([xs, behind])
        y = self.caller(self.made())(whole.ravel())
        found = _numbers(y)
        if found.size != len(whole):
            raise TargetError(
                f"a recording of {len(whole)} chunks returned {found.size} values, expected a "
                "probability for each"
            )
        return found[len(xs) - 1 : len(xs)]

    def made(self) -> Any:
        """Return what `make` makes."""
        return self._make()

    def caller(self, vad: Any) -> Callable[[Any], Any]:
        """Return a function that gives a chunk to a VAD, in the form that it takes.

        Raises:
            TargetError: nothing in it takes one.
        """
        names = CALLS if self._call is None else (self._call,)
        found = next((name for name in names if callable(getattr(vad, name, None))), None)
        if found is None:
            raise TargetError(
                f"{type(vad).__name__} has no {' or '.join(names)}: say call=, the name of the "
                "method that takes a chunk"
            )
        function = vad if found == "__call__" else getattr(vad, found)
        is_of_torch = bool(_libraries(vad) & OF_TORCH)
        samples = self._samples or ("tensor" if is_of_torch else "float32")
        passes = self._passes_rate
        if passes is None:
            passes = is_of_torch or _wanted(function) > 1
        more = (self.sampling_rate,) if passes else ()
        return lambda x: function(self._as(x, samples), *more)

    def _as(self, x: Float32, samples: str) -> Any:
        if samples == "float32":
            return x
        if samples == "tensor":
            import torch

            return torch.from_numpy(x)
        whole = np.rint(np.nan_to_num(x.astype(np.float64)) * self.full_scale)
        integers = np.clip(whole, -INT16, INT16 - 1).astype("<i2")
        return integers.tobytes() if samples == "bytes" else integers.astype(np.int16)

    def reference_for(self, value: Any = None) -> Any:
        """Return Silero VAD, of a file, a model or the installed package, as what it should be."""
        from .._vads.references import vad_reference

        return vad_reference(self, value)

    def hint(self) -> str:
        """Return what to say where it breaks down: which size a chunk has, and should have."""
        given = f". (It was given {self.chunk} samples of {self.sampling_rate} Hz"
        if self.chunk == self.own_chunk:
            return f"{given}: a model that is told another rate cannot take so many)"
        return f"{given}; Silero VAD takes {self.own_chunk} at once at that rate)"


class _Session:
    """One VAD, behind frames of float32.

    Nothing is expected before enough samples for Silero VAD's first chunk were there: 0 stands for
    it. After that None is the last probability again.
    """

    def __init__(self, target: VadTarget) -> None:
        self._target = target
        self._new()

    def _new(self) -> None:
        self._vad = self._target.made()
        self._give = self._target.caller(self._vad)
        self._begin()

    def _begin(self) -> None:
        self._taken, self._last, self._was_told = 0, np.zeros(1, np.float32), False

    def reset(self) -> None:
        for name in RESETS:
            function = getattr(self._vad, name, None)
            if callable(function):
                function()
                self._begin()
                return
        self.close()
        self._new()

    def step(self, x: Float32, /) -> Float32:
        target = self._target
        try:
            y = self._give(x)
        except TargetError:  # of a program: it says itself what is wrong
            raise
        except Exception as error:
            raise TargetError(f"it raised {told(error)}{target.hint()}") from error
        self._taken += len(x)
        if self._taken < target.own_chunk:
            return self._last
        if y is not None:
            self._last, self._was_told = _probability(y, len(x) > target.own_chunk), True
        elif len(x) >= target.own_chunk or (not self._was_told and self._taken >= self._silent()):
            raise TargetError(
                f"it returned None, and had {self._taken} samples since the reset; expected the "
                f"probability of the last {target.own_chunk}: is a return missing?"
            )
        return self._last

    def _silent(self) -> int:
        """Return how many samples a VAD that collects them may take before its first answer."""
        return 3 * self._target.own_chunk

    def close(self) -> None:
        closing = getattr(self._vad, "close", None)
        if callable(closing):
            closing()


class _Recording:
    """All chunks since the reset, again and again."""

    def __init__(self, target: VadTarget) -> None:
        self._target = target
        self.reset()

    def reset(self) -> None:
        self._chunks: list[Float32] = []

    def step(self, x: Float32, /) -> Float32:
        self._chunks.append(np.array(x))
        return self._target.last_of(np.stack(self._chunks), 1)


def _numbers(y: Any) -> Float32:
    return to_array(y.detach() if hasattr(y, "detach") else y, "a chunk", None).ravel()


def _probability(y: Any, may_be_several: bool) -> Float32:
    array = _numbers(y)
    if array.size == 0 or (array.size > 1 and not may_be_several):
        raise TargetError(f"a chunk returned {array.size} values, expected one probability")
    return array[-1:]


def _libraries(value: Any) -> set[str]:
    return {one.__module__.partition(".")[0] for one in type(value).__mro__}


def _wanted(function: Any) -> int:
    """Return how many arguments a function has to be given; 1 where that is not known."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return sum(one.kind in kinds and one.default is one.empty for one in parameters)
