"""Find the speech in a recording with Silero VAD, run by lstm_fast.

Prints the segments of speech and the time that a chunk takes, draws a picture, and then runs many
sessions at once, one by one and in a pool, to show that each gets exactly what it would get alone,
to the bit.

    pip install ".[demo]" && pip install --no-deps silero-vad
    python examples/silero_vad.py [recording]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

INSTALL = 'pip install ".[demo]" && pip install --no-deps silero-vad'

try:
    import numpy as np
    import soundfile
    import soxr
    from numpy.typing import NDArray
    from tqdm import tqdm

    from lstm_fast import LstmFastError, Model, ModelStream, vad
    from silero_report import (
        CHUNK,
        CHUNK_SECONDS,
        RATE,
        Float32,
        Result,
        Segment,
        draw,
        read_truth,
        score,
        speech_segments,
    )
    from silero_times import measure, table
except ModuleNotFoundError as missing:
    print(f"error: {missing.name} is not installed: {INSTALL}", file=sys.stderr)
    sys.exit(2)

SPEECH = Path(__file__).resolve().with_name("data") / "speech.wav"
SEED = 0


class Amounts(NamedTuple):
    """How much is done: chunks that are timed, and ticks (chunks of each session) of the checks."""

    timed: int = 3000
    ticks: int = 200
    pool_ticks: int = 20


SLOW = Amounts(timed=100, ticks=20, pool_ticks=1)  # of the reference: some milliseconds a chunk
POOL = 1000  # sessions


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


def load_model(backend: str | None, isa: str | None) -> Model:
    """Make the model.

    Raises:
        UserError: its weights are not installed, or the backend or ISA cannot be had.
    """
    try:
        return vad.silero(sampling_rate=RATE, backend=backend, isa=isa)
    except (FileNotFoundError, ValueError, LstmFastError) as error:
        raise UserError(str(error)) from None


def as_chunks(audio: Float32) -> Float32:
    """Return audio as (chunks, CHUNK), the last one filled up with zeros."""
    return np.pad(audio, (0, -len(audio) % CHUNK)).reshape(-1, CHUNK)


def listen(stream: ModelStream, chunks: Float32) -> NDArray[np.float64]:
    """Return the probability of speech in each chunk, (chunks,)."""
    probabilities = np.empty(len(chunks))
    for index, chunk in enumerate(tqdm(chunks, "listening", delay=1, leave=False, disable=None)):
        (probabilities[index],) = stream.step(chunk)
    return probabilities


def chunks_at(audio: Float32, offsets: NDArray[np.int64], tick: int) -> Float32:
    """Return a chunk for each session, (sessions, CHUNK); the recording goes round."""
    at = offsets[:, None] + tick * CHUNK + np.arange(CHUNK)
    return audio.take(at, mode="wrap")


def trace(probabilities: NDArray[np.float64], state: Mapping[str, NDArray[Any]]) -> Trace:
    """Return the bytes of what a session put out."""
    return Trace(probabilities.tobytes(), b"".join(state[name].tobytes() for name in sorted(state)))


def play(
    streams: Sequence[ModelStream], offsets: NDArray[np.int64], audio: Float32, ticks: int
) -> list[Trace]:
    """Step all the sessions through so many chunks each, in another random order at each tick.

    Args:
        streams: new ones.
        offsets: the sample at which each one starts.
        audio: the recording.
        ticks: how many.
    """
    rng = np.random.default_rng(SEED)
    probabilities = np.empty((len(streams), ticks))
    hide = None if len(streams) > 1 else True
    for tick in tqdm(range(ticks), "all at once", delay=1, leave=False, disable=hide):
        chunks = chunks_at(audio, offsets, tick)
        for number in rng.permutation(len(streams)):
            (probabilities[number, tick],) = streams[number].step(chunks[number])
    pairs = zip(probabilities, streams, strict=True)
    return [trace(row, stream.state) for row, stream in pairs]


def alone(model: Model, offsets: NDArray[np.int64], audio: Float32, ticks: int) -> list[Trace]:
    """Return the traces of sessions that run one after the other."""
    each = tqdm(offsets, "one by one", delay=1, leave=False, disable=None)
    return [play([model.stream()], np.array([one]), audio, ticks)[0] for one in each]


def check_isolation(model: Model, audio: Float32, count: int, ticks: int) -> tuple[int, int]:
    """Compare sessions that run interleaved with the same sessions alone, bit by bit.

    Returns:
        How many of `count` sessions are identical; and how many differ of two that are made to
        share one stream, the control: unless both do, this check cannot fail and shows nothing.
    """
    offsets = np.random.default_rng(SEED).integers(len(audio), size=count)
    together = play([model.stream() for _ in range(count)], offsets, audio, ticks)
    solo = alone(model, offsets, audio, ticks)
    shared = model.stream()
    sharing = play([shared, shared], offsets[:2], audio, ticks)
    same = sum(a == b for a, b in zip(together, solo, strict=True))
    return same, sum(a != b for a, b in zip(sharing, solo[:2], strict=True))


def check_pool(model: Model, audio: Float32, ticks: int) -> tuple[int, float]:
    """Step POOL sessions of a pool together.

    Returns:
        How many are identical to their solo runs; and the seconds of a chunk of one session, in the
        median tick.
    """
    offsets = np.random.default_rng(SEED).integers(len(audio), size=POOL)
    pool = model.pool(POOL)
    handles = [pool.open() for _ in range(POOL)]
    probabilities, seconds = np.empty((POOL, ticks)), np.empty(ticks)
    for tick in tqdm(range(ticks), "in a pool", delay=1, leave=False, disable=None):
        chunks = chunks_at(audio, offsets, tick)
        start = perf_counter()
        found = pool.step(handles, chunks)
        seconds[tick] = perf_counter() - start
        probabilities[:, tick] = found[:, 0]
    pairs = zip(probabilities, handles, strict=True)
    together = [trace(row, pool.state(handle)) for row, handle in pairs]
    solo = alone(model, offsets, audio, ticks)
    return sum(a == b for a, b in zip(together, solo, strict=True)), float(
        np.median(seconds)
    ) / POOL


def show_segments(segments: Sequence[Segment], threshold: float) -> None:
    """Print a table of the speech."""
    if not segments:
        print(f"\nNo speech found (threshold {threshold:g}).")
        return
    print(f"\nSpeech found (threshold {threshold:g})")
    print("       start        end   duration   mean probability")
    for start, end, probability in segments:
        print(f"  {start:8.2f} s {end:8.2f} s {end - start:8.2f} s {probability:18.3f}")


def run(options: argparse.Namespace) -> bool:
    """Do all of it; return whether every session was as if alone, and the control was not.

    Raises:
        UserError: something that was asked for cannot be done.
    """
    path, threshold, count = options.wav, options.threshold, options.sessions
    audio, origin = read_recording(path)
    model = load_model(options.backend, options.isa)
    amounts = SLOW if model.backend == "reference" else Amounts()
    seconds = len(audio) / RATE
    print(f"Recording  {path}: {seconds:.2f} s, {origin}")
    print(f"Model      Silero VAD at {RATE} Hz: {model!r}")
    if amounts is SLOW:
        print(
            "           This backend computes in float64 and is slow, so less is timed and checked."
        )

    chunks = as_chunks(audio)
    probabilities = listen(model.stream(), chunks)
    segments = speech_segments(probabilities, threshold, seconds)
    show_segments(segments, threshold)
    truth = read_truth(SPEECH.with_suffix(".json")) if path.resolve() == SPEECH else None
    if truth is not None:
        found, wrong = score(segments, truth.speech, seconds)
        print(f"  {found:.2%} of the true speech was found.")
        print(f"  {wrong:.2%} of the time without speech was taken for speech.")
    for line in table(measure(model, chunks, amounts.timed), CHUNK_SECONDS):
        print(line)

    picture = options.out / "silero_vad.png"
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        result = Result(audio, probabilities, threshold, segments, truth)
        draw(picture, f"Silero VAD on {path.name}", result)
    except OSError as error:
        raise UserError(f"{picture}: this cannot be written ({error})") from None
    print(f"Picture    {picture}")

    same, spoiled = check_isolation(model, audio, count, amounts.ticks)
    print(f"Isolation  {same}/{count} sessions identical to their solo runs, bit for bit")
    print(
        f"Control    {spoiled}/2 sessions made to share one stream differ from theirs, as they must"
    )
    pooled, each = check_pool(model, audio, amounts.pool_ticks)
    print(
        f"Pool       {pooled}/{POOL} sessions identical to their solo runs, bit for bit; "
        f"{1e6 * each:.1f} µs a chunk of one"
    )
    return same == count and spoiled == 2 and pooled == POOL


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
