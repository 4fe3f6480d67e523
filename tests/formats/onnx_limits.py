"""Reads files in a process of its own and says what each took; Linux alone says that exactly.

    python onnx_limits.py MODULE NAME SIZE READER [free] ...

MODULE makes the file, by its function NAME of SIZE; READER is a function of lstm_fast that reads
it. With `free` the budget charges nothing, which is what the tests have as a control.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
MEGABYTE = 1 << 20
WALL = 300.0  # seconds, after which something is wrong with the machine or with the reader


class Took(NamedTuple):
    """What reading one file took: bytes of memory, steps of work by its own count; what came."""

    size: int
    outcome: str
    text: str
    memory: int
    steps: float
    allowed: float


class Case(NamedTuple):
    module: str
    name: str
    size: int
    reader: str
    is_free: bool = False


def taken(cases: Iterable[Case]) -> list[Took]:
    """Read some files, one after the other, in another process."""
    command = [sys.executable, str(Path(__file__)), json.dumps([list(case) for case in cases])]
    path = os.pathsep.join([str(HERE.parent.parent), *sys.path])
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=WALL,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [Took(*one) for one in json.loads(done.stdout.splitlines()[-1])]


def _status(field: str) -> int:
    """VmRSS is the memory now, VmHWM the most there was."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


class _Counted:
    """Counts the steps of all budgets, and lets all pass where they are free."""

    def __init__(self, is_free: bool) -> None:
        from lstm_fast._budget import Budget

        self.steps = 0.0
        self._class: Any = Budget
        self._whole = Budget.work, Budget.memory
        work = Budget.work

        def counted(budget: Any, steps: float = 1, *rest: Any) -> None:
            self.steps += steps
            if not is_free:
                work(budget, steps, *rest)

        self._class.work = counted
        if is_free:
            self._class.memory = lambda *_: None

    def end(self) -> None:
        self._class.work, self._class.memory = self._whole


def _took(case: Case) -> Took:
    import lstm_fast
    from lstm_fast import formats
    from lstm_fast._budget import STEPS, STEPS_A_BYTE

    data = getattr(importlib.import_module(case.module), case.name)(case.size)
    read: Any = {"read": formats.read, "load": formats.load, "load_model": lstm_fast.load_model}
    counted = _Counted(case.is_free)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = _status("VmRSS")
    outcome, text = "read", ""
    try:
        read[case.reader](data)
    except lstm_fast.FormatError as error:
        outcome, text = "refused", str(error)
    memory = _status("VmHWM") - before
    counted.end()
    allowed = STEPS + STEPS_A_BYTE * len(data)
    return Took(len(data), outcome, text, memory, counted.steps, allowed)


def main() -> None:
    import warnings

    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
    cases = [Case(*one) for one in json.loads(sys.argv[1])]
    for case in cases:  # what libraries take to get going is not the file's
        _took(case._replace(size=1, is_free=False))
    print(json.dumps([list(_took(case)) for case in cases]))


if __name__ == "__main__":
    main()
