"""Segments of speech in a whole recording, by the rules and arguments of silero-vad 6.2."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._extras import install
from .._foreign_arrays import as_array
from ._drop_in import SileroVAD, SileroVADSequence
from ._events import HYSTERESIS, LOWEST
from ._samples import as_audio, flat, for_others
from ._segments import Cutter, Rules, padded
from ._silero import CHUNKS

Segments = list[dict[str, Any]]


def get_speech_timestamps(
    audio: Any,
    model: Any,
    threshold: float = 0.5,
    sampling_rate: int = 16000,
    min_speech_duration_ms: int = 250,
    max_speech_duration_s: float = float("inf"),
    min_silence_duration_ms: int = 100,
    speech_pad_ms: int = 30,
    return_seconds: bool = False,
    time_resolution: int = 1,
    visualize_probs: bool = False,
    progress_tracking_callback: Callable[[float], Any] | None = None,
    neg_threshold: float | None = None,
    window_size_samples: int = 512,
    min_silence_at_max_speech: int = 98,
    use_max_poss_sil_at_max_speech: bool = True,
) -> Segments:
    """Return where speech is in a recording.

    Args:
        audio: shape (n,), or (1, n): floats in -1...1, of an array, a tensor or a list; integers
            are of 16 bits and divided by 32768, unlike there.
        model: what `load_silero_vad` returns, which is reset first. Anything else that is called
            like it, such as silero-vad's own, is stepped chunk by chunk.
        threshold: the probability from which on a chunk is speech.
        sampling_rate: 8000, 16000, or a multiple of it: then one of so many samples is taken,
            without a filter, and a warning given.
        min_speech_duration_ms: segments that are not longer are dropped.
        max_speech_duration_s: longer ones are cut, at a silence if there is one.
        min_silence_duration_ms: shorter silence does not end a segment.
        speech_pad_ms: what is added on both sides, where there is room.
        return_seconds: whether times are seconds instead of samples.
        time_resolution: how many decimal places those have.
        visualize_probs: whether to draw the probabilities with matplotlib.
        progress_tracking_callback: called with the percentage after each chunk.
        neg_threshold: the probability below which speech may end; None: threshold - 0.15, at least
            0.01.
        window_size_samples: ignored, as there.
        min_silence_at_max_speech: the silence in ms that is long enough to cut at.
        use_max_poss_sil_at_max_speech: whether to cut at the longest such silence, or at the last.

    Returns:
        {"start": ..., "end": ...} of each segment, ints in samples of what was given, or floats.

    Raises:
        TypeError: audio is not an array of real numbers.
        ValueError: it has several channels; or sampling_rate is another.
        ImportError: visualize_probs is true, and matplotlib is not installed.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import checks
        >>> silence = np.zeros(16000, np.float32)
        >>> audio = np.concatenate([silence, checks.speech(100, 512, 16000).ravel(), silence])
        >>> get_speech_timestamps(audio, load_silero_vad(), return_seconds=True)
        [{'start': 1.0, 'end': 4.3}]
    """
    samples = _mono(audio)
    rate, step = _rate(sampling_rate)
    if step > 1:
        samples = samples[::step]
        warnings.warn(
            f"of {sampling_rate} Hz one of {step} samples is taken, without a filter: resample to "
            "16000 Hz if there is sound above 8000 Hz",
            UserWarning,
            stacklevel=2,
        )
    model.reset_states()
    size, length = CHUNKS[rate], len(samples)
    probabilities: list[float] = []
    for block in _blocks(model, samples, rate):
        for probability in block:
            probabilities.append(probability)
            if progress_tracking_callback:
                done = min(len(probabilities) * size, length)
                progress_tracking_callback(done / length * 100)
    return get_speech_timestamps_from_probs(
        probabilities,
        sampling_rate=rate,
        threshold=threshold,
        min_speech_duration_ms=min_speech_duration_ms,
        max_speech_duration_s=max_speech_duration_s,
        min_silence_duration_ms=min_silence_duration_ms,
        speech_pad_ms=speech_pad_ms,
        return_seconds=return_seconds,
        time_resolution=time_resolution,
        visualize_probs=visualize_probs,
        neg_threshold=neg_threshold,
        min_silence_at_max_speech=min_silence_at_max_speech,
        use_max_poss_sil_at_max_speech=use_max_poss_sil_at_max_speech,
        audio_length_samples=length,
        step=step,
    )


def get_speech_timestamps_sequence(
    audio: Any,
    model: SileroVADSequence,
    threshold: float = 0.5,
    sampling_rate: int = 16000,
    min_speech_duration_ms: int = 250,
    max_speech_duration_s: float = float("inf"),
    min_silence_duration_ms: int = 100,
    speech_pad_ms: int = 30,
    return_seconds: bool = False,
    time_resolution: int = 1,
    visualize_probs: bool = False,
    neg_threshold: float | None = None,
    min_silence_at_max_speech: int = 98,
    use_max_poss_sil_at_max_speech: bool = True,
    max_frames: int | None = None,
) -> Segments:
    """Return where speech is in a recording: `get_speech_timestamps` for a `SileroVADSequence`.

    Args, Returns, Raises: as there; max_frames as of `SileroVADSequence.audio_forward`. No warning
    is given of a multiple of 16 kHz.

    Example:
        >>> import numpy as np
        >>> model = load_silero_vad(sequence=True)
        >>> get_speech_timestamps_sequence(np.zeros(16000, np.float32), model)
        []
    """
    rate, step = _rate(sampling_rate)
    samples = flat(audio)[::step]
    probabilities = model.audio_forward(samples, sampling_rate=rate, max_frames=max_frames)
    return get_speech_timestamps_from_probs(
        probabilities,
        sampling_rate=rate,
        threshold=threshold,
        min_speech_duration_ms=min_speech_duration_ms,
        max_speech_duration_s=max_speech_duration_s,
        min_silence_duration_ms=min_silence_duration_ms,
        speech_pad_ms=speech_pad_ms,
        return_seconds=return_seconds,
        time_resolution=time_resolution,
        visualize_probs=visualize_probs,
        neg_threshold=neg_threshold,
        min_silence_at_max_speech=min_silence_at_max_speech,
        use_max_poss_sil_at_max_speech=use_max_poss_sil_at_max_speech,
        audio_length_samples=len(samples),
        step=step,
    )


def get_speech_timestamps_from_probs(
    speech_probs: Any,
    sampling_rate: int = 16000,
    threshold: float = 0.5,
    min_speech_duration_ms: int = 250,
    max_speech_duration_s: float = float("inf"),
    min_silence_duration_ms: int = 100,
    speech_pad_ms: int = 30,
    return_seconds: bool = False,
    time_resolution: int = 1,
    visualize_probs: bool = False,
    neg_threshold: float | None = None,
    min_silence_at_max_speech: int = 98,
    use_max_poss_sil_at_max_speech: bool = True,
    audio_length_samples: int | None = None,
    step: int = 1,
) -> Segments:
    """Return where speech is, of the probabilities of the chunks of a recording.

    Args:
        speech_probs: shape (chunks,), of an array, a tensor or a list; chunks of 512 samples at
            16000 Hz, of 256 at any other rate.
        sampling_rate: of the chunks.
        threshold: as of `get_speech_timestamps`, and so are those that follow.
        min_speech_duration_ms: likewise.
        max_speech_duration_s: likewise.
        min_silence_duration_ms: likewise.
        speech_pad_ms: likewise.
        return_seconds: likewise.
        time_resolution: likewise.
        visualize_probs: likewise.
        neg_threshold: likewise.
        min_silence_at_max_speech: likewise.
        use_max_poss_sil_at_max_speech: likewise.
        audio_length_samples: of the recording; None: as many as the chunks have.
        step: by what to multiply samples.

    Returns:
        As `get_speech_timestamps`.

    Raises:
        TypeError: speech_probs are not real numbers.
        ValueError: they have several axes.

    Example:
        >>> probabilities = [0.0] * 10 + [0.9] * 30 + [0.0] * 20  # of chunks of 32 ms
        >>> len(get_speech_timestamps_from_probs(probabilities))
        1
    """
    probabilities = as_array(speech_probs, "speech_probs")
    if probabilities.size != max(probabilities.shape, default=0):
        raise ValueError(f"speech_probs has shape {probabilities.shape}, expected (chunks,)")
    size = CHUNKS[16000] if sampling_rate == 16000 else CHUNKS[8000]
    length = audio_length_samples
    if length is None:
        length = probabilities.size * size
    pad = sampling_rate * speech_pad_ms / 1000
    rules = Rules(
        threshold=threshold,
        negative=max(threshold - HYSTERESIS, LOWEST) if neg_threshold is None else neg_threshold,
        shortest=sampling_rate * min_speech_duration_ms / 1000,
        longest=sampling_rate * max_speech_duration_s - size - 2 * pad,
        silence=sampling_rate * min_silence_duration_ms / 1000,
        pause=sampling_rate * min_silence_at_max_speech / 1000,
        takes_longest_pause=bool(use_max_poss_sil_at_max_speech),
    )
    values = probabilities.astype(np.float64).reshape(-1).tolist()
    found = Cutter(rules).all_of(values, size, length)
    segments = padded(found, pad, length)
    if visualize_probs:
        _draw(values, size / sampling_rate)
    if not return_seconds:
        times: list[tuple[Any, Any]] = [(start * step, end * step) for start, end in segments]
    else:
        times = [
            (
                max(round(start / sampling_rate, time_resolution), 0),
                min(round(end / sampling_rate, time_resolution), length / sampling_rate),
            )
            for start, end in segments
        ]
    return [{"start": start, "end": end} for start, end in times]


def _rate(sampling_rate: int) -> tuple[int, int]:
    """Return the model's rate, and of how many samples to take one for it."""
    step = 1
    if sampling_rate > 16000 and sampling_rate % 16000 == 0:
        step, sampling_rate = int(sampling_rate // 16000), 16000
    if sampling_rate not in CHUNKS:
        raise ValueError(
            f"sampling_rate is {sampling_rate!r}, expected 8000, 16000 or a multiple of 16000: "
            "read_audio resamples"
        )
    return int(sampling_rate), step


def _mono(audio: Any) -> NDArray[np.float32]:
    """Return (n,) of (n,), or of that behind axes of size 1.

    Raises:
        TypeError: it is not an array of real numbers, or a single number.
        ValueError: it has several channels.
    """
    try:
        samples = as_audio(audio, "audio")
    except ValueError as error:
        if "rectangular" in str(error):
            raise TypeError(str(error)) from None
        raise
    while samples.ndim > 1 and samples.shape[0] == 1:
        samples = samples[0]
    if samples.ndim > 1:
        raise ValueError(
            f"audio has shape {samples.shape}, expected (n,): of several channels pass one, or "
            "their mean"
        )
    if not samples.ndim:
        raise TypeError("audio is a single number, expected (n,)")
    return samples


def _blocks(model: Any, samples: NDArray[np.float32], rate: int) -> Iterator[list[float]]:
    """Yield lists of probabilities of the chunks, the last of which is filled up with zeros."""
    if isinstance(model, SileroVAD):
        for block in model.probabilities(samples, rate):
            yield block.tolist()
        return
    size = CHUNKS[rate]
    for begin in range(0, len(samples), size):
        chunk = samples[begin : begin + size]
        if len(chunk) < size:
            chunk = np.pad(chunk, (0, size - len(chunk)))
        yield [float(model(for_others(chunk), rate).item())]


def _draw(probabilities: list[float], seconds: float) -> None:
    """Draw probabilities over time as a new figure of matplotlib.

    Raises:
        ImportError: that is not installed.
    """
    try:
        from matplotlib import pyplot
    except ImportError:
        raise ImportError(f"visualize_probs draws with matplotlib: {install('plot')}") from None
    times = np.arange(len(probabilities)) * seconds
    _, axes = pyplot.subplots(figsize=(16, 8))
    axes.fill_between(times, probabilities)
    axes.set(xlabel="seconds", ylabel="speech probability", ylim=(0, 1.05))
    axes.set_xlim(0, max(len(probabilities) * seconds, seconds))
