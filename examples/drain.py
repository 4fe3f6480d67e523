"""A service that is killed in the middle of its calls, and another that goes on with them.

One process steps the sessions of many calls and after each tick writes a checkpoint: a snapshot of
each session that is live. It is killed with SIGKILL. A second one, on another instruction set where
there is one, restores the sessions from the checkpoint, is given the frames that came after it once
more, and goes on to the end. This script is the caller of both: it checks that together they
answered each frame with the bits that a service which was never killed would have given.

    python examples/drain.py

To drain a machine is the same without the violence: checkpoint, stop, restore elsewhere. With
thousands of sessions, write the checkpoint less often, and have as many more ticks to replay.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

import lstm_fast
from lstm_fast import LSTM, PoolFullError, SnapshotError, StreamPool

SIZES = (64, 128)
CALLS = 40
TICKS = 150
LONGEST = 100  # ticks that a call lasts at most
SEED = 0
MARGIN = 25  # ticks; a service may be ahead of those who read its answers by what a pipe holds


class Checkpoint(NamedTuple):
    """What a service needs to go on: the last tick that it stepped, and its sessions after that."""

    tick: int
    snapshots: dict[str, bytes]  # by call


class CheckpointError(SnapshotError):
    """A checkpoint is damaged, or of other weights. Nothing was restored."""


class Answer(NamedTuple):
    """A line that a service puts out for each frame."""

    tick: int
    call: str
    output: str  # (H,) float32, in hex


def make_lstm(isa: str | None = None) -> LSTM:
    """Return the LSTM that every process has: a snapshot is bound to its weights."""
    return LSTM.random(*SIZES, seed=SEED, isa=isa)


def live_calls(tick: int) -> list[str]:
    """Return the calls that are live in that tick: they come and go."""
    rng = np.random.default_rng(SEED)
    begins = rng.integers(0, TICKS - 1, CALLS)
    ends = begins + rng.integers(2, LONGEST, CALLS)
    return [f"call-{n}" for n in range(CALLS) if begins[n] <= tick < ends[n]]


def frame_of(call: str, tick: int) -> NDArray[np.float32]:
    """Return what that call sends in that tick, any number of times.

    It stands for what keeps the frames since the last checkpoint: the callers themselves, or a log.
    """
    rng = np.random.default_rng([SEED, tick, *call.encode()])
    return rng.standard_normal(SIZES[0], dtype=np.float32)


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replace the checkpoint: whoever reads it, and whenever we are killed, finds one whole one."""
    snapshots = {call: snapshot.hex() for call, snapshot in checkpoint.snapshots.items()}
    text = json.dumps({"tick": checkpoint.tick, "snapshots": snapshots}).encode()
    new = path.with_suffix(".new")
    new.write_bytes(checksum(text) + b"\n" + text)
    # A kill takes nothing of what is written. To survive a power cut as well, fsync the file here
    # and its directory after the next line.
    os.replace(new, path)


def checksum(text: bytes) -> bytes:
    """Return SHA-256, in hex. Snapshots have one of their own; this is for ticks and names, too."""
    return hashlib.sha256(text).hexdigest().encode()


def read_checkpoint(path: Path) -> Checkpoint:
    """Read what `write_checkpoint` wrote.

    Raises:
        CheckpointError: it is damaged in whatever way.
        OSError: there is no such file, or it cannot be read.
    """
    expected, _, text = path.read_bytes().partition(b"\n")
    if checksum(text) != expected:
        raise CheckpointError(
            f"{path} is damaged or cut short: its checksum does not fit. Take an older checkpoint, "
            "or delete it to begin all calls anew"
        )
    try:
        content = json.loads(text.decode("ascii"))
        tick, snapshots = content["tick"], content["snapshots"]
        if type(tick) is not int or not 0 <= tick < TICKS:
            raise ValueError(f"its tick is none of 0 to {TICKS - 1}")
        return Checkpoint(tick, {call: bytes.fromhex(one) for call, one in snapshots.items()})
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        why = str(error)[:200]  # which may have all of a file in it
        raise CheckpointError(f"{path} is not a checkpoint of this service: {why}") from None


def restore(pool: StreamPool, checkpoint: Checkpoint) -> dict[str, int]:
    """Open the sessions of a checkpoint; return their handles by call.

    Raises:
        CheckpointError: one of them is damaged, or was made with other weights; or there is no room
            for all. Then none is open.
    """
    handles: dict[str, int] = {}
    call = ""
    try:
        for call, snapshot in checkpoint.snapshots.items():
            handles[call] = pool.restore(snapshot)
        return handles
    except BaseException as error:  # also of a signal handler
        for handle in handles.values():
            pool.close(handle)
        if isinstance(error, (SnapshotError, PoolFullError)):
            raise CheckpointError(f"the session of {call!r} is not restored: {error}") from error
        raise


def serve(path: Path, lstm: LSTM, forget: bool = False) -> Iterator[list[Answer]]:
    """Serve all calls from where the checkpoint at path says, and keep it up to date.

    Args:
        path: of the checkpoint; without one this begins at tick 0.
        lstm: the LSTM.
        forget: whether to begin all sessions from zeros, for the control.
    """
    pool = lstm.pool(CALLS)
    last, handles = -1, {}
    if path.exists():
        checkpoint = read_checkpoint(path)
        last = checkpoint.tick
        if forget:
            handles = {call: pool.open() for call in checkpoint.snapshots}
        else:
            handles = restore(pool, checkpoint)
    for tick in range(last + 1, TICKS):
        calls = live_calls(tick)
        for call in [*handles]:
            if call not in calls:
                pool.close(handles.pop(call))
        for call in calls:
            if call not in handles:
                handles[call] = pool.open()
        outputs: NDArray[np.float32] = np.empty((0, SIZES[1]), np.float32)
        if calls:
            frames = np.stack([frame_of(call, tick) for call in calls])
            outputs = pool.step([handles[call] for call in calls], frames)
        # Answer before the checkpoint: a kill in between makes the next process answer once more,
        # with the same bits. The other way round the answers might be lost.
        yield [Answer(tick, c, y.tobytes().hex()) for c, y in zip(calls, outputs, strict=True)]
        snapshots = {call: pool.snapshot(handle) for call, handle in handles.items()}
        write_checkpoint(path, Checkpoint(tick, snapshots))


def put_out(path: Path, isa: str | None) -> None:
    """Serve, and print the answers."""
    for answers in serve(path, make_lstm(isa)):
        for answer in answers:
            print(*answer)
        sys.stdout.flush()


def run_service(path: Path, isa: str | None, kill_at: int | None) -> tuple[list[Answer], int]:
    """Run a service in a process of its own.

    Args:
        path: of the checkpoint.
        isa: what it runs on; None for the best.
        kill_at: the tick with whose first answer it is killed; None: not at all.

    Returns:
        All that it has answered, and its exit status.
    """
    command = [sys.executable, __file__, "--serve", str(path), *(["--isa", isa] if isa else [])]
    answers, killed = [], False
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.endswith("\n"):
                break  # it was killed while it wrote this
            tick, call, output = line.split()
            answers.append(Answer(int(tick), call, output))
            if kill_at is not None and int(tick) >= kill_at and not killed:
                process.kill()  # SIGKILL: it can do nothing about it
                killed = True
    return answers, process.returncode


def uninterrupted(lstm: LSTM) -> dict[tuple[int, str], str]:
    """Return what is to be answered, by tick and call: what a stream for each call gives."""
    streams = {f"call-{n}": lstm.stream() for n in range(CALLS)}
    return {
        (tick, call): streams[call].step(frame_of(call, tick)).tobytes().hex()
        for tick in range(TICKS)
        for call in live_calls(tick)
    }


def refusal(lstm: LSTM, snapshot: bytes) -> str | None:
    """Return why a snapshot is refused, or None if it is taken."""
    try:
        lstm.pool(1).restore(snapshot)
    except SnapshotError as error:
        return str(error)
    return None


def check_controls(path: Path, expected: dict[tuple[int, str], str]) -> bool:
    """Show that the check can fail: without the states, and with the wrong ones.

    Args:
        path: of a copy of the checkpoint.
        expected: what is to be answered.
    """
    lstm, (_, snapshots) = make_lstm(), read_checkpoint(path)
    snapshot = next(iter(snapshots.values()))
    flipped = bytearray(snapshot)
    flipped[len(flipped) // 2] ^= 1
    reasons = [
        refusal(lstm, bytes(flipped)),
        refusal(lstm, snapshot[:-1]),
        refusal(LSTM.random(*SIZES, seed=SEED + 1), snapshot),
    ]
    forgetful = [a for answers in serve(path, lstm, forget=True) for a in answers]
    ongoing = [answer for answer in forgetful if answer.call in snapshots]
    wrong = sum(expected[a.tick, a.call] != a.output for a in ongoing)
    print(f"Control, without the states: {wrong} of {len(ongoing)} answers to these calls differ")
    for what, reason in zip(("flipped bit", "cut short", "other weights"), reasons, strict=True):
        print(f"Control, {what}: {reason or 'the snapshot was taken, which it must not be'}")
    return wrong == len(ongoing) > 0 and all(reasons) and refusal(lstm, snapshot) is None


def run(folder: Path, kill_at: int) -> bool:
    """Do all of it; return whether everything was as it must be."""
    path, copy = folder / "checkpoint.json", folder / "copy.json"
    lstm = make_lstm()
    isas = [name[7:] for name in lstm_fast.available() if name.startswith("native:")]
    other = isas[-1] if lstm.backend == "native" else None
    expected = uninterrupted(lstm)
    print(f"{CALLS} calls come and go in {TICKS} ticks, {len(expected)} frames; {lstm!r}")

    before, status = run_service(path, None, kill_at)
    killed = status == -signal.SIGKILL
    checkpoint = read_checkpoint(path)
    print(
        f"First service: exit status {status}, {len(before)} answers, until tick {before[-1].tick}"
    )
    print(f"Checkpoint: after tick {checkpoint.tick}, {len(checkpoint.snapshots)} sessions")
    copy.write_bytes(path.read_bytes())
    path.with_suffix(".new").write_text('{"tick": 1')  # as a kill while it is written leaves it

    after, status = run_service(path, other, None)
    where = other or lstm.backend
    print(f"Second service, on {where}: {len(after)} answers, from tick {after[0].tick} on")
    answers: dict[tuple[int, str], set[str]] = {}
    for answer in [*before, *after]:
        answers.setdefault((answer.tick, answer.call), set()).add(answer.output)
    right = sum(answers.get(key) == {output} for key, output in expected.items())
    twice = len(before) + len(after) - len(answers)
    print(f"Together: {right} of {len(expected)} answers have the bits of an uninterrupted service")
    print(f"          each time that they were given, which {twice} were twice")
    complete = right == len(expected) == len(answers) and status == 0
    return check_controls(copy, expected) and killed and complete


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0, or 1 if a call did not get what it must."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("--kill-at", type=int, default=TICKS // 2, metavar="TICK", help="(%(default)s)")
    add("--serve", type=Path, metavar="CHECKPOINT", help="be one of the services")
    add("--isa", help="that this service runs on")
    options = parser.parse_args(arguments)
    if not 1 <= options.kill_at <= TICKS - MARGIN:
        parser.error(f"--kill-at must be 1 to {TICKS - MARGIN}, found {options.kill_at}")
    if options.serve:
        try:
            put_out(options.serve, options.isa)
        except (CheckpointError, OSError) as error:
            print(f"drain.py: {error}", file=sys.stderr)
            return 1
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return 0 if run(Path(folder), options.kill_at) else 1


if __name__ == "__main__":
    sys.exit(main())
