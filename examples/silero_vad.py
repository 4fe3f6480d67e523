"""Find the speech in a recording with Silero VAD, its LSTM stepped by lstm_fast.

Prints the segments of speech and the time that a step takes, draws a picture, and then runs many
sessions at once to show that each gets exactly what it would get alone, to the bit.

    pip install ".[demo]" && pip install --no-deps silero-vad
    python examples/silero_vad.py [recording]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from time import perf_counter_ns
from typing import NamedTuple

INSTALL = 'pip install ".[demo]" && pip install --no-deps silero-vad'

try:
    import numpy as np
    import soundfile
    import soxr
    from numpy.typing import NDArray
    from tqdm import tqdm

    from lstm_fast import LstmFastError
    from silero import CHUNK, CHUNK_SECONDS, RATE, Float32, Session, SileroVAD
    from silero_report import Result, Segment, draw, read_truth, score, speech_segments
except ModuleNotFoundError as missing:
    print(f"error: {missing.name} is not installed: {INSTALL}", file=sys.stderr)
    sys.exit(2)

SPEECH = Path(__file__).resolve().with_name("data") / "speech.wav"
MIN_TIMED = 3000  # chunks to time; a short recording is played again until there are as many
TICKS = 200  # chunks that each session of the isolation check hears
SEED = 0


class UserError(Exception):
    """What the user can put right: told in one line."""


class Recording(NamedTuple):
    """Samples, shape (samples,), float32 at RATE; and where they are from."""

    audio: Float32
    origin: str


class Trace(NamedTuple):
    """All that a session put out, as bytes: its probabilities, and its state at the end."""

    probabilities: bytes
    state: bytes


def read_recording(path: Path) -> Recording:
    """Read any format that libsndfile knows, mix it to mono and resample it to RATE.

    Raises:
        UserError: there is nothing there that can be listened to.
    """
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, TypeError) as error:  # TypeError: headerless .raw
        raise UserError(f"{path}: this cannot be read as audio ({error})") from None
    if not len(samples):
        raise UserError(f"{path}: there are no samples in it")
    if not np.isfinite(samples).all():
        raise UserError(f"{path}: it has samples that are not finite")
    audio = samples.mean(axis=1)
    if rate != RATE:
        audio = soxr.resample(audio, rate, RATE)
    if len(audio) < CHUNK:
        raise UserError(
            f"{path}: {1e3 * len(audio) / RATE:.1f} ms are too short, one chunk is "
            f"{1e3 * CHUNK_SECONDS:.0f} ms"
        )
    channels = samples.shape[1]
    origin = f"{rate} Hz, {'mono' if channels == 1 else f'{channels} channels mixed to one'}"
    return Recording(np.ascontiguousarray(audio, np.float32), origin)


def load_model(backend: str | None, isa: str | None) -> SileroVAD:
    """Make the model.

    Raises:
        UserError: its weights are not installed, or the backend or ISA cannot be had.
    """
    try:
        return SileroVAD(backend=backend, isa=isa)
    except (FileNotFoundError, ValueError, LstmFastError) as error:
        raise UserError(str(error)) from None


def as_chunks(audio: Float32) -> Float32:
    """Return audio as (chunks, CHUNK), the last one filled up with zeros."""
    return np.pad(audio, (0, -len(audio) % CHUNK)).reshape(-1, CHUNK)


def listen(session: Session, chunks: Float32) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Pass chunks through a session, part by part and timed.

    Returns:
        The probabilities, (chunks,), and the nanoseconds of (LSTM step, whole chunk), (chunks, 2).
    """
    hidden = np.empty(session.model.lstm.output_size, np.float32)
    probabilities = np.empty(len(chunks))
    times = np.empty((len(chunks), 2), np.int64)
    for index, chunk in enumerate(tqdm(chunks, "listening", delay=1, leave=False, disable=None)):
        start = perf_counter_ns()
        features = session.features(chunk)
        before_step = perf_counter_ns()
        session.stream.step(features, out=hidden)
        after_step = perf_counter_ns()
        probabilities[index] = session.model.probability(hidden)
        times[index] = after_step - before_step, perf_counter_ns() - start
    return probabilities, times


def measure(model: SileroVAD, chunks: Float32) -> NDArray[np.int64]:
    """Return times as `listen` does, of at least MIN_TIMED chunks after a warm-up."""
    session = model.session()
    listen(session, chunks[:100])
    return listen(session, np.tile(chunks, (-(-MIN_TIMED // len(chunks)), 1)))[1]


def play(sessions: Sequence[Session], offsets: NDArray[np.int64], audio: Float32) -> list[Trace]:
    """Step all the sessions through TICKS chunks each, in another random order at each tick.

    Args:
        sessions: new ones.
        offsets: the sample at which each one starts; the recording goes round.
        audio: the recording.
    """
    rng = np.random.default_rng(SEED)
    within = np.arange(CHUNK)
    probabilities = np.empty((len(sessions), TICKS))
    hide = None if len(sessions) > 1 else True
    for tick in tqdm(range(TICKS), "all at once", delay=1, leave=False, disable=hide):
        for number in rng.permutation(len(sessions)):
            chunk = audio.take(offsets[number] + tick * CHUNK + within, mode="wrap")
            probabilities[number, tick] = sessions[number](chunk)
    states = [session.stream.state for session in sessions]
    return [
        Trace(row.tobytes(), state.h.tobytes() + state.c.tobytes())
        for row, state in zip(probabilities, states, strict=True)
    ]


def check_isolation(model: SileroVAD, audio: Float32, count: int) -> tuple[int, int]:
    """Compare sessions that run interleaved with the same sessions alone, bit by bit.

    Returns:
        How many of `count` sessions are identical; and how many differ of two that are made to
        share one stream, the control: unless both do, this check cannot fail and shows nothing.
    """
    offsets = np.random.default_rng(SEED).integers(len(audio), size=count)
    together = play([model.session() for _ in range(count)], offsets, audio)
    each = tqdm(offsets, "one by one", delay=1, leave=False, disable=None)
    alone = [play([model.session()], np.array([offset]), audio)[0] for offset in each]
    stream = model.lstm.stream()
    sharing = play([Session(model, stream), Session(model, stream)], offsets[:2], audio)
    same = sum(a == b for a, b in zip(together, alone, strict=True))
    return same, sum(a != b for a, b in zip(sharing, alone[:2], strict=True))


def show_segments(segments: Sequence[Segment], threshold: float) -> None:
    """Print a table of the speech."""
    if not segments:
        print(f"\nNo speech found (threshold {threshold:g}).")
        return
    print(f"\nSpeech found (threshold {threshold:g})")
    print("       start        end   duration   mean probability")
    for start, end, probability in segments:
        print(f"  {start:8.2f} s {end:8.2f} s {end - start:8.2f} s {probability:18.3f}")


def show_times(times: NDArray[np.int64]) -> None:
    """Print what `measure` returned."""
    step, chunk = times.T / 1e3
    print(f"\nTime for one chunk of {1e3 * CHUNK_SECONDS:.0f} ms ({len(times)} timed)")
    print("                         p50         p99")
    for name, values in (("LSTM step alone", step), ("whole chunk", chunk)):
        p50, p99 = np.percentile(values, (50, 99))
        print(f"  {name:<16}{p50:7.1f} µs  {p99:7.1f} µs")
    factor = chunk.mean() / (1e6 * CHUNK_SECONDS)
    print(f"  real-time factor {factor:.4f}: {1 / factor:.0f} times as fast as the audio\n")


def run(options: argparse.Namespace) -> bool:
    """Do all of it; return whether every session was as if alone, and the control was not.

    Raises:
        UserError: something that was asked for cannot be done.
    """
    path, threshold, count = options.wav, options.threshold, options.sessions
    audio, origin = read_recording(path)
    model = load_model(options.backend, options.isa)
    seconds = len(audio) / RATE
    print(f"Recording  {path}: {seconds:.2f} s, {origin}")
    print(f"Model      Silero VAD {version('silero-vad')} at {RATE} Hz, {CHUNK} samples per chunk")
    print(f"LSTM       {model.lstm!r}")

    chunks = as_chunks(audio)
    probabilities, _ = listen(model.session(), chunks)
    segments = speech_segments(probabilities, threshold, seconds)
    show_segments(segments, threshold)
    truth = read_truth(SPEECH.with_suffix(".json")) if path.resolve() == SPEECH else None
    if truth is not None:
        found, wrong = score(segments, truth.speech, seconds)
        print(f"  {found:.2%} of the true speech was found.")
        print(f"  {wrong:.2%} of the time without speech was taken for speech.")
    show_times(measure(model, chunks))

    picture = options.out / "silero_vad.png"
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        result = Result(audio, probabilities, threshold, segments, truth)
        draw(picture, f"Silero VAD on {path.name}", result)
    except OSError as error:
        raise UserError(f"{picture}: this cannot be written ({error})") from None
    print(f"Picture    {picture}")

    same, spoiled = check_isolation(model, audio, count)
    print(f"Isolation  {same}/{count} sessions identical to their solo runs, bit for bit")
    print(
        f"Control    {spoiled}/2 sessions made to share one stream differ from theirs, as they must"
    )
    return same == count and spoiled == 2


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    shipped = Path(os.path.relpath(SPEECH))
    add = parser.add_argument
    add("wav", nargs="?", type=Path, default=shipped, help="a recording (%(default)s)")
    add("--out", type=Path, default=Path("out"), metavar="DIR", help="for the picture (out)")
    add("--backend", help="of lstm_fast: native, numba or reference (the best there is)")
    add("--isa", help="of the native backend: avx512, avx2 or scalar (the best of this CPU)")
    add("--threshold", type=float, default=0.5, help="probability where speech starts (0.5)")
    add("--sessions", type=int, default=50, metavar="N", help="to run at once, 2 or more (50)")
    options = parser.parse_args(arguments)
    if not 0 < options.threshold < 1:
        parser.error(f"--threshold must lie between 0 and 1, found {options.threshold:g}")
    if options.sessions < 2:
        parser.error(f"--sessions must be 2 or more, found {options.sessions}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0, 1 if the isolation check failed, 2 for what cannot be done."""
    try:
        return 0 if run(parse(arguments)) else 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
