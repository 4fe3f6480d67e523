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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lstm_fast
from lstm_fast import formats
from lstm_fast._budget import Budget

MEGABYTE = 1 << 20
LONGEST_ERROR = 2100  # characters, the file's name among them
SLOWER = 4  # how much slower than a usual machine one that runs the tests may be
MOST_KEPT = 40 * MEGABYTE  # of a process after a file, with what the readers import
STOP_SECONDS, STOP_BYTES = 60, 3 << 30  # where a run is ended that keeps to no limit
ACTIONS = ("read", "load", "load_model", "no_lstm")


@dataclass(frozen=True)
class Taken:
    """What reading took: memory in bytes, CPU time in seconds; and what came of it.

    outcome: "FormatError", "result", or the name of another error. text: of the error.
    """

    size: int
    memory: int
    seconds: float
    outcome: str
    text: str

    @property
    def is_within(self) -> bool:
        """Whether the promise was kept, on a machine that may be `SLOWER`."""
        return (
            self.memory <= 4 * self.size + 64 * MEGABYTE
            and self.seconds <= SLOWER * max(1.0, self.size / MEGABYTE)
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
        worker = _worker()
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps([str(path), action, free, options]) + "\n")
        worker.stdin.flush()
        answer = worker.stdout.readline()
    if not answer:
        _WORKERS.clear()
        return Taken(len(data), 0, 0.0, f"the process ended with {worker.wait()}", "")
    found = json.loads(answer)
    if found.pop("kept") > MOST_KEPT:  # in which the next file would find room
        worker.kill()
        worker.wait()
        _WORKERS.clear()
    return Taken(len(data), **found)


_WORKERS: list[subprocess.Popen[str]] = []  # the one that there is, if any


def _worker() -> subprocess.Popen[str]:
    """Return a process that waits for files; it ends with this one."""
    if not _WORKERS:
        home = str(Path(lstm_fast.__file__).parents[1])
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


def _memory(field: str) -> int:
    """Return a size in bytes out of /proc/self/status: VmRSS is now, VmHWM the most there was."""
    text = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def _act(path: str, action: str, options: dict[str, Any]) -> None:
    if action == "no_lstm":
        raise formats.no_lstm(path)
    {"read": formats.read, "load": lstm_fast.load, "load_model": lstm_fast.load_model}[action](
        path, **options
    )


class _Stopped(BaseException):
    """It kept to no limit."""


def _stop(*_: Any) -> None:
    raise _Stopped


def _run(path: str, action: str, free: bool, options: dict[str, Any]) -> dict[str, Any]:
    """Act in this process."""
    _warm_up(Path(path).suffix, options)
    charges = Budget.memory, Budget.work
    if free:
        Budget.memory = Budget.work = lambda *_: None  # type: ignore[method-assign]
    signal.signal(signal.SIGPROF, _stop)
    signal.setitimer(signal.ITIMER_PROF, STOP_SECONDS)
    outcome, text = "result", ""
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before, begin = _memory("VmRSS"), time.process_time()
    try:
        _act(path, action, options)
    except BaseException as error:
        outcome, text = type(error).__name__, str(error)
    seconds = time.process_time() - begin
    signal.setitimer(signal.ITIMER_PROF, 0)
    memory = _memory("VmHWM") - before
    Budget.memory, Budget.work = charges  # type: ignore[method-assign]
    if outcome == "MissingExtraError":
        outcome = "FormatError"
    return {"memory": memory, "seconds": seconds, "outcome": outcome, "text": text}


def _warm_up(suffix: str, options: dict[str, Any]) -> None:
    """Read a good file, so that what the libraries take to get going is not the next one's."""
    good = GOLDEN / GOOD[suffix]
    formats.read(good.read_bytes(), **options)
    if suffix == ".nam":
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
    ".onnx": "onnx/dynamo_stack.onnx",
    ".tflite": "tflite/keras_stack.tflite",
}

if __name__ == "__main__":
    _serve()
