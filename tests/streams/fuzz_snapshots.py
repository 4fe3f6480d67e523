"""Throws damaged snapshots, with a checksum that fits, at all that restores them: errors only.

    python tests/streams/fuzz_snapshots.py --count 300000

Each is refused with a `SnapshotError` that is short, and changes nothing; or it is taken, and a
snapshot of the session is of the same form. The C core, with the address and undefined behaviour
sanitizers where they are there, does the same with each of those of an LSTM and a model. A snapshot
is named by its kind and a seed, so each can be had again: --only lstm --seed 1234.
"""

from __future__ import annotations

import argparse
import random
import signal
import struct
import subprocess
import sys
import tempfile
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parents[1]
sys.path += [str(TESTS), str(TESTS / "models")]

from lstm_fast import LSTM, Model, SnapshotError, vad  # noqa: E402
from lstm_fast._weight_types import weight_types  # noqa: E402
from lstm_fast._weights import WEIGHT_DTYPES  # noqa: E402
from lstm_fast.serve.keeping import Kept  # noqa: E402
from snapshot_damage import CHECKSUM, damaged, damaged_bytes, parts, sealed  # noqa: E402

SECONDS = 1.0  # of CPU time for one
MEMORY_TIMES, MEMORY_BYTES = 4, 4 << 20  # for each of its bytes, and beside
TEXT = 400  # characters of an error
BATCH = 500
SIZES = (5, 19, 2)  # as small_lstm.h has them


class TookTooLongError(BaseException):
    """A reader used more CPU time than it may."""


class Session:
    """What restores snapshots, in whatever way; `restore` returns one of the session after it."""

    def __init__(self, restore, taken, make=damaged, snapshot=lambda: b"", program=None):
        self.restore, self.taken, self.make = restore, taken, make
        self.snapshot, self.program = snapshot, program


def _session(session, taken, make=damaged, program=None):
    def restore(data):
        session.restore(data)
        return session.snapshot()

    return Session(restore, taken, make, session.snapshot, program)


def _pool(pool, taken, make):
    def restore(data):
        handle = pool.restore(data)
        try:
            return pool.snapshot(handle)
        finally:
            pool.close(handle)

    return Session(restore, taken, make, lambda: str(len(pool)))


def lstm(backend=None):
    model = LSTM.random(*SIZES, backend=backend)
    return _session(model.stream(), _used(model), program=())


def model(weight_dtype="float32"):
    program = LSTM.random(*SIZES).program
    one = Model.from_program(program, weight_dtype=weight_dtype)
    types = weight_types(program, weight_dtype)
    return _session(one.stream(), _used(one), program=[WEIGHT_DTYPES.index(n) for n in types])


def _used(one):
    stream = one.stream()
    stream.run(np.random.default_rng(0).standard_normal((4, SIZES[0])).astype(np.float32))
    return stream.snapshot()


def chunks():
    session, taken = vad.Chunks(44100), vad.Chunks(44100)
    taken.push(np.ones(1000, np.float32))
    return _session(session, taken.snapshot(), plainly_damaged)


def events():
    session, taken = vad.SpeechEvents(), vad.SpeechEvents()
    for probability in (0.9, 0.1, 0.1, 0.1, 0.1, 0.9, 0.1):
        taken.push(probability)
    return _session(session, taken.snapshot(), plainly_damaged)


def plainly_damaged(taken, seed):
    return damaged_bytes(taken, random.Random(seed))


def speech(of_pool=False):
    one = vad.silero()
    session, taken = (vad.SpeechStream(one, rate=44100) for _ in range(2))
    taken.push(np.ones(3000, np.float32))
    if of_pool:
        return _pool(vad.SpeechPool(1, one), taken.snapshot(), damaged_speech)
    return _session(session, taken.snapshot(), damaged_speech)


def damaged_speech(taken, seed):
    """One of its three parts is damaged, or the whole."""
    rng = random.Random(seed)
    if rng.random() < 0.2:
        return sealed(damaged_bytes(taken[:-CHECKSUM], rng))
    sizes, pieces, begin = list(struct.unpack_from("<3I", taken, 8)), [], 20
    for size in sizes:
        pieces.append(taken[begin : begin + size])
        begin += size
    n = rng.randrange(3)
    pieces[n] = damaged(pieces[n], seed) if n == 0 else damaged_bytes(pieces[n], rng)
    if rng.random() < 0.95:
        sizes = [len(piece) for piece in pieces]
    return sealed(taken[:8] + struct.pack("<3I", *sizes) + b"".join(pieces))


def kept():
    """What a server keeps of a session: its header is JSON that is parsed."""
    replies = [(3 * n, b'{"type":"window"}') for n in range(4)]
    parts_ = _used(LSTM.random(*SIZES)), vad.Chunks(8000).snapshot(), vad.SpeechEvents().snapshot()
    one = Kept("A" * 22, 8000, {"threshold": 0.4, "speech_pad_ms": 3}, 5, 1, *parts_, replies)
    return Session(lambda data: Kept.from_bytes(data).to_bytes(), one.to_bytes(), damaged_kept)


def damaged_kept(taken, seed):
    return (
        damaged(taken, seed).replace(b"LSTMFAST", b"LFSERVE1") if seed % 2 else _again(taken, seed)
    )


def _again(taken, seed):
    """With a checksum over the magic that it has."""
    data = damaged(b"LSTMFAST" + taken[8:], seed)
    return sealed(taken[:8] + data[8:-CHECKSUM])


KINDS = {
    "lstm": lstm,
    "reference": lambda: lstm("reference"),
    "model": model,
    "mixed": lambda: model({0: "float16", 1: "int8"}),
    "chunks": chunks,
    "events": events,
    "kept": kept,
    "speech": speech,
    "speech_pool": lambda: speech(of_pool=True),
}
OF_C = ("lstm", "model", "mixed")
OF_SILERO = ("speech", "speech_pool")  # which takes the files of silero-vad, and onnx


@contextmanager
def _limited(seconds):
    def stop(*_):
        raise TookTooLongError(f"more than {seconds} s of CPU time")

    if not hasattr(signal, "SIGPROF"):  # Windows
        yield
        return
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def check(session, data):
    """Restore one; return the snapshot of the session after it, or nothing where it is refused.

    Whatever is wrong with how that goes is an AssertionError, or its own.
    """
    before = session.snapshot()
    tracemalloc.reset_peak()
    begin = tracemalloc.get_traced_memory()[0]
    try:
        with _limited(SECONDS):
            after = session.restore(data)
    except SnapshotError as error:
        text = str(error)
        assert len(text) <= TEXT, f"an error of {len(text)} characters: {text[:TEXT]}"
        assert text.isprintable(), text
        assert session.snapshot() == before, "what was refused has changed something"
        after = b""
    taken = tracemalloc.get_traced_memory()[1] - begin
    assert taken <= MEMORY_TIMES * len(data) + MEMORY_BYTES, (
        f"took {taken >> 10} KiB for {len(data)} bytes"
    )
    if after and data.startswith(b"LSTMFAST"):
        header = data[: len(data) - len(parts(data)[1]) - CHECKSUM]
        assert after.startswith(header), "it has taken a header which is not its own"
    assert len(after) in (0, len(data)), f"of {len(data)} bytes {len(after)} have become"
    return after


def run(kind, seeds, program=None):
    """Restore those snapshots, also by a program of C; return how many were taken."""
    session, count = KINDS[kind](), 0
    assert check(session, session.taken) == session.taken  # the control
    for begin in range(0, len(seeds), BATCH):
        part = seeds[begin : begin + BATCH]
        files, results = [session.make(session.taken, seed) for seed in part], []
        for seed, data in zip(part, files, strict=True):
            try:
                results.append(check(session, data))
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                raise AssertionError(f"--only {kind} --seed {seed}: {error!r}"[:1000]) from error
        if program is not None and session.program is not None:
            _compare(kind, session, program, part, files, results)
        count += sum(map(bool, results))
    return count


def _compare(kind, session, program, seeds, files, results):
    """Let the C core restore the same ones."""
    header, _ = parts(session.taken)
    is_model = header["version"] == 2
    given = LSTM.random(*SIZES).program if is_model else None
    first = Model.from_program(given).to_bytes() if given else bytes.fromhex(header["fingerprint"])
    data = b"".join(struct.pack("<I", len(file)) + file for file in (first, *files))
    command = [str(program), *map(str, session.program)]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    lines = done.stdout.decode().splitlines()
    assert done.returncode == 0, f"--only {kind}, after {len(lines)}: {done.stderr.decode()}"
    for seed, line, result in zip(seeds, lines, results, strict=True):
        status, _, after = line.partition(" ")
        if (status == "0", after) != (bool(result), result.hex()):
            raise AssertionError(
                f"--only {kind} --seed {seed}: in C {line[:80]}, in Python another"
            )


def built(folder):
    """Build the program, or return None where there is no compiler."""
    import c_runner

    if c_runner.COMPILER is None:
        return None
    return c_runner.build(Path(folder), "restore_snapshots", wrapped=())


def run_all(program, options):
    names = {None: [*KINDS], "of_c": OF_C}.get(options.only, [options.only])
    each = -(-options.count // len(names))
    seeds = range(each) if options.seed is None else range(options.seed, options.seed + 1)
    begin = time.monotonic()
    for name in names:
        try:
            taken = run(name, seeds, program)
        except ImportError as error:
            print(f"{name}: not here, {error}", flush=True)
            continue
        seconds = time.monotonic() - begin
        print(f"{name}: {len(seeds)} snapshots, {taken} of them taken; {seconds:.0f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000, help="in all")
    parser.add_argument("--seed", type=int, help="just this one")
    parser.add_argument("--only", choices=[*KINDS, "of_c"])
    parser.add_argument("--program", type=Path, help="tests/c/restore_snapshots.c, built")
    options = parser.parse_args()
    tracemalloc.start()
    with tempfile.TemporaryDirectory() as folder:
        run_all(options.program or built(folder), options)


if __name__ == "__main__":
    main()
