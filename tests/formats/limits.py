"""Runs a reader on a file in a process of its own, and says what that took.

    taken = limits.taken(data, "file.keras")
    assert taken.is_within

The promise for any file of S bytes: 4 S + 64 MB of memory, one second of CPU time for each MB and
one at least, and then a result, or a FormatError whose text is short.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

MEGABYTE = 1 << 20
LONGEST_ERROR = 2100  # characters, the file's name among them
SLOWER = 4  # how much slower than a usual machine one that runs the tests may be
MOST_KEPT = 40 * MEGABYTE  # of a process after a file, with what the readers import
STOP_SECONDS, STOP_BYTES = 60, 6 << 30  # where a run is ended that keeps to no limit
ACTIONS = ("read", "load", "load_model", "no_lstm", "pytorch")  # the last: whatever it looks like


def memory_for(size: int) -> int:
    """Return how many bytes of memory a file of so many bytes may take."""
    return 4 * size + 64 * MEGABYTE


def seconds_for(size: int) -> float:
    """Return how much CPU time a file of so many bytes may take."""
    return max(1.0, size / MEGABYTE)


# ---- in this process -----------------------------------------------------------------------------


class Measured(NamedTuple):
    """What a call took: the most memory in bytes, CPU time in seconds; and what it raised."""

    memory: int
    seconds: float
    error: BaseException | None


class TookTooLongError(BaseException):
    """It used more CPU time than it may."""


def measured(call: Callable[[], Any], stop_seconds: float) -> Measured:
    """Call, and return what that took; Linux alone says how much memory it was.

    Args:
        call: what is measured. Its result is dropped.
        stop_seconds: of CPU time, after which it is ended by `TookTooLongError`.
    """

    def stop(*_: Any) -> None:
        raise TookTooLongError(f"more than {stop_seconds} s of CPU time")

    signal.signal(signal.SIGPROF, stop)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # forgets the peak
    raised: BaseException | None = None
    before, begin = _memory("VmRSS"), time.process_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, stop_seconds)
        try:
            call()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    except BaseException as error:  # whatever else comes out is what this looks for
        raised = error
    try:
        return Measured(_memory("VmHWM") - before, time.process_time() - begin, raised)
    finally:
        del raised  # whose traceback holds this frame, and with it all that was being read


def _memory(field: str) -> int:
    """Return a size in bytes out of /proc/self/status: VmRSS is now, VmHWM the most there was."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


# ---- in another process --------------------------------------------------------------------------


@dataclass(frozen=True)
class Taken:
    """What reading took: bytes of memory, seconds of CPU time, steps of work by its own count.

    size: of all files. allowed: steps for that size. outcome: "FormatError", "result", or the name
    of another error. text: of the error.
    """

    size: int
    allowed: float
    memory: int
    seconds: float
    steps: float
    outcome: str
    text: str

    @property
    def has_memory(self) -> bool:
        """Whether it kept to its memory."""
        return self.memory <= memory_for(self.size) and self.outcome != "MemoryError"

    @property
    def is_within(self) -> bool:
        """Whether the promise was kept, on a machine that may be `SLOWER`."""
        return (
            self.has_memory
            and self.seconds <= SLOWER * seconds_for(self.size)
            # One charge may be more than what is left; nothing is done after it, but to say so.
            and (self.outcome == "FormatError" or self.steps <= self.allowed)
            and self.outcome in ("FormatError", "result")
            and len(self.text) <= LONGEST_ERROR
        )


def taken(
    data: bytes, name: str, action: str = "read", free: bool = False, **options: Any
) -> Taken:
    """Read a file in a process of its own, and return what that took.

    Args:
        data: what it holds.
        name: of the file.
        action: one of ACTIONS.
        free: whether nothing is charged, as a control.
        options: of the reader.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(data)
        return taken_by(path, action, free, **options)


def taken_by(path: Path, action: str = "read", free: bool = False, **options: Any) -> Taken:
    """Read a file by its path, as `taken` does; the others in its folder belong to it."""
    from lstm_fast._budget import STEPS, STEPS_A_BYTE

    size = sum(file.stat().st_size for file in path.parent.iterdir() if file.is_file())
    allowed = STEPS + STEPS_A_BYTE * size
    worker = _worker()
    assert worker.stdin is not None
    assert worker.stdout is not None
    worker.stdin.write(json.dumps([str(path), action, free, options]) + "\n")
    worker.stdin.flush()
    answer = worker.stdout.readline()
    if not answer:
        _WORKERS.clear()
        return Taken(size, allowed, 0, 0.0, 0.0, f"the process ended with {worker.wait()}", "")
    found = json.loads(answer)
    if found.pop("kept") > MOST_KEPT:  # in which the next file would find room
        worker.kill()
        worker.wait()
        _WORKERS.clear()
    return Taken(size, allowed, **found)


_WORKERS: list[subprocess.Popen[str]] = []  # the one that there is, if any


def _worker() -> subprocess.Popen[str]:
    """Return a process that waits for files; it ends with this one."""
    if not _WORKERS:
        home = str(Path(__file__).parents[2])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([home, *sys.path])}
        started = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        _WORKERS.append(started)
        atexit.register(started.kill)
    return _WORKERS[0]


def _act(path: str, action: str, options: dict[str, Any]) -> None:
    import lstm_fast
    from lstm_fast import formats

    if action == "no_lstm":
        raise formats.no_lstm(path)
    actions: dict[str, Callable[..., Any]] = {
        "read": formats.read,
        "load": lstm_fast.load,
        "load_model": lstm_fast.load_model,
        "pytorch": formats.pytorch.read,
    }
    actions[action](path, **options)


@contextmanager
def _charged(free: bool) -> Iterator[list[float]]:
    """Give a list of the steps that all budgets are charged; free: and let them all pass."""
    from lstm_fast._budget import Budget

    steps = [0.0]
    memory, work, charge = Budget.memory, Budget.work, Budget.charge

    def counted_work(budget: Budget, count: float = 1, *rest: str) -> None:
        steps[0] += count
        if not free:
            work(budget, count, *rest)

    def counted_charge(budget: Budget, count: float, *rest: Any) -> None:
        steps[0] += count
        if not free:
            charge(budget, count, *rest)

    Budget.work, Budget.charge = counted_work, counted_charge  # type: ignore[method-assign]
    if free:
        Budget.memory = lambda *_: None  # type: ignore[assignment, method-assign]
    try:
        yield steps
    finally:
        Budget.memory, Budget.work, Budget.charge = memory, work, charge  # type: ignore[method-assign]


def _run(path: str, action: str, free: bool, options: dict[str, Any]) -> dict[str, Any]:
    """Act in this process."""
    _warm_up(Path(path).suffix, action, options)
    with _charged(free) as steps:
        memory, seconds, error = measured(lambda: _act(path, action, options), STOP_SECONDS)
    outcome = "result" if error is None else type(error).__name__
    if outcome == "MissingExtraError":
        outcome = "FormatError"
    text = "" if error is None else str(error)
    took = {"memory": memory, "seconds": seconds, "steps": steps[0]}
    return {**took, "outcome": outcome, "text": text}


def _warm_up(suffix: str, action: str, options: dict[str, Any]) -> None:
    """Read a good file, so that what the libraries take to get going is not the next one's."""
    import lstm_fast
    from lstm_fast import formats

    good = GOLDEN / GOOD[suffix]
    of_reader = {key: value for key, value in options.items() if key != "weight_dtype"}
    formats.read(good.read_bytes(), **of_reader)
    if action == "load_model":
        with suppress(lstm_fast.FormatError):  # of which some have parts that are not computed
            lstm_fast.load_model(good)


def _serve() -> None:
    """Answer to one file after the other."""
    import resource

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (_memory("VmSize") + STOP_BYTES,) * 2)
    begin = _memory("VmRSS")
    for line in sys.stdin:
        found = _run(*json.loads(line))
        gc.collect()
        sys.stdout.write(json.dumps({**found, "kept": _memory("VmRSS") - begin}) + "\n")
        sys.stdout.flush()


GOLDEN = Path(__file__).parent.parent / "golden" / "formats"
GOOD = {  # a file of each kind that reads well
    ".keras": "keras/keras3_stacks.keras",
    ".h5": "keras/keras2_stacks.h5",
    ".nam": "nam/one_layer.nam",
    ".npz": "tf1/basic.npz",
    ".bin": "keras/keras3_stacks.keras",
    ".zip": "keras/keras3_stacks.keras",
    ".json": "nam/one_layer.nam",
    ".safetensors": "safetensors/two_layers.safetensors",
    ".pt": "pytorch/checkpoint.ckpt",
    ".pkl": "pytorch/checkpoint.ckpt",
    ".onnx": "onnx/dynamo_stack.onnx",
    ".tflite": "tflite/keras_stack.tflite",
}

if __name__ == "__main__":
    _serve()
