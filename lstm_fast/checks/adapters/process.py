"""Programs as targets: a port in any language, behind a protocol of JSON lines.

The program reads one JSON object per line from its standard input, and answers each with one line
on its standard output, in order; it has to flush. What it writes to standard error is shown where
it fails. It ends when its input does.

    -> {"op": "info"}
    <- {"input_size": 64, "output_size": 128, "sessions": 16}

        input_size: I. output_size (may be missing): P. sessions (1 where it is missing): how many
        streams it holds at once. Where that is 1, a program is started for each session that is
        needed; else each message has a number, "session": 0 to sessions - 1.

    -> {"op": "reset", "session": 3}
    <- {}

        Forget everything about that session. It comes before the first step of each.

    -> {"op": "step", "session": 3, "x": [0.5, -1.25, ...]}
    <- {"y": [0.125, ...], "h": [[...], ...], "c": [[...], ...]}

        x has I numbers and y P. h (L lists of P) and c (L lists of H) are the state after the step;
        they may be missing. One layer may also be written as one list.

    -> {"op": "run", "session": 3, "xs": [[...], ...]}      only if info has "run": true
    <- {"ys": [[...], ...]}

    <- {"error": "what is wrong"}                           may answer anything

Numbers are those of float32, written so that they are read back to the bit: nine digits do. What is
no number in JSON is a string: "nan", "inf", "-inf".
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import shlex
import subprocess
import threading
import weakref
from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from ..._arrays import Float32
from ..target import State, Target, TargetError, to_array

__all__ = ["CommandTarget", "from_command"]

LONGEST_LINE = 1 << 26  # bytes; what is longer is no answer
SHOWN = 2000  # characters of standard error
PATIENCE = 2.0  # seconds for a program to end by itself


def from_command(
    command: str | Sequence[str],
    *,
    timeout: float = 10.0,
    start_timeout: float = 60.0,
    name: str | None = None,
    origin: str | None = None,
) -> CommandTarget:
    """Return a program as a target; see the module for what it has to speak.

    Args:
        command: the program and its arguments; a string is split as a shell does, without a shell.
        timeout: seconds for an answer.
        start_timeout: seconds for the first one.
        name: for the report.
        origin: Python that makes the target again, for reproductions.

    Raises:
        TargetError: it cannot be started, or does not answer rightly.
    """
    return CommandTarget(command, timeout, start_timeout, name, origin)


class CommandTarget(Target):
    """See `from_command`."""

    def __init__(
        self,
        command: str | Sequence[str],
        timeout: float,
        start_timeout: float,
        name: str | None,
        origin: str | None,
    ) -> None:
        self.command = shlex.split(command) if isinstance(command, str) else list(command)
        if not self.command:
            raise TargetError("the command is empty")
        self._timeout, self._start_timeout = timeout, start_timeout
        self._lock = threading.Lock()
        self._programs: list[Program] = []
        # Also of a target that nobody closes: no program outlives it.
        self._closing = weakref.finalize(self, _close_all, self._programs)
        info = self._start().info
        self.input_size = _count(info, "input_size", None)
        self.output_size = _count(info, "output_size", 0) or None
        self.places = _count(info, "sessions", 1)
        self.can_run = info.get("run") is True
        self.name = name or os.path.basename(self.command[0])
        if origin is None:
            origin = (
                "from lstm_fast.checks.adapters import from_command\n\n"
                f"target = from_command({self.command!r})"
            )
        self.origin = origin

    def _start(self) -> Program:
        program = Program(self.command, self._timeout, self._start_timeout)
        self._programs.append(program)
        return program

    def session(self) -> CommandSession:
        """Return a session: in a program that has a place, or in one that is started for it."""
        with self._lock:
            for program in [one for one in self._programs if not (one.is_alive or one.taken)]:
                program.close()
                self._programs.remove(program)
            for program in self._programs:
                if program.is_alive and len(program.taken) < self.places:
                    break
            else:
                program = self._start()
            place = min(set(range(self.places)) - program.taken)
            program.taken.add(place)
        return CommandSession(self, program, place)

    def free(self, program: Program, place: int) -> None:
        """Take a session's place back."""
        with self._lock:
            program.taken.discard(place)

    def close(self) -> None:
        """End all programs."""
        with self._lock:
            _close_all(self._programs)


def _close_all(programs: list[Program]) -> None:
    while programs:
        programs.pop().close()


class CommandSession:
    """One stream of a program."""

    def __init__(self, target: CommandTarget, program: Program, place: int) -> None:
        self._target, self._program, self._place = target, program, place
        self._several = target.places > 1
        self._closed = False
        self.state: State | None = None
        if target.can_run:
            self.run = self._run
        try:
            self.reset()
        except TargetError:
            self.close()
            raise

    def _ask(self, op: str, **more: Any) -> dict[str, Any]:
        number = {"session": self._place} if self._several else {}
        return self._program.ask({"op": op, **number, **more})

    def reset(self) -> None:
        self._ask("reset")
        self.state = None

    def step(self, x: Float32, /) -> Float32:
        answer = self._ask("step", x=_written(x))
        what = f"{self._target.name}: y"
        y = to_array(_read(answer, "y", what), what, (self._target.output_size,))
        self.state = None
        if "h" in answer and "c" in answer:
            h, c = (_state_part(answer, letter, self._target.name) for letter in "hc")
            self.state = h, c
        return y

    def _run(self, xs: Float32) -> Float32:
        answer = self._ask("run", xs=[_written(x) for x in xs])
        what = f"{self._target.name}: ys"
        return to_array(_read(answer, "ys", what), what, (len(xs), self._target.output_size))

    def close(self) -> None:
        """Give the place back."""
        if not self._closed:
            self._closed = True
            self._target.free(self._program, self._place)


class Program:
    """A program that runs, and its answers; `taken` are the places of sessions in it."""

    def __init__(self, command: list[str], timeout: float, start_timeout: float) -> None:
        self.taken: set[int] = set()
        self._name, self._timeout = os.path.basename(command[0]), timeout
        self._lock = threading.Lock()
        self._failed: str | None = None
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise TargetError(f"can't start {command[0]}: {error.strerror or error}") from error
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        self._errors: collections.deque[bytes] = collections.deque(maxlen=64)
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read_lines, args=(self._process.stdout,), daemon=True),
            threading.Thread(target=self._read_errors, args=(self._process.stderr,), daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        try:
            self.info = self.ask({"op": "info"}, start_timeout)
        except TargetError:
            self.close()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether it can still be asked."""
        return self._failed is None and self._process.poll() is None

    def _read_lines(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while line := stream.readline(LONGEST_LINE):
                self._lines.put(line)
        self._lines.put(None)

    def _read_errors(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError, ValueError):
            while chunk := stream.readline(4096):
                self._errors.append(chunk)

    def ask(self, message: dict[str, Any], timeout: float | None = None) -> dict[str, Any]:
        """Send a message and return the answer.

        Raises:
            TargetError: the program has ended, is silent, or answers something else.
        """
        with self._lock:
            if self._failed:
                raise TargetError(self._failed)
            try:
                return self._ask(message, timeout or self._timeout)
            except TargetError as error:
                # Whatever comes later would answer another question.
                self._failed = str(error)
                self._process.kill()
                raise

    def _ask(self, message: dict[str, Any], timeout: float) -> dict[str, Any]:
        op = message["op"]
        data = json.dumps(message, allow_nan=False).encode() + b"\n"
        self._send(data, op, timeout)
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            raise TargetError(
                f"{self._name} did not answer {op!r} within {timeout:g} s (does it flush its "
                f"output?){self._said()}"
            ) from None
        if line is None:
            raise TargetError(self._ended(op))
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            shown = line[:200].decode("utf-8", "replace").rstrip()
            raise TargetError(
                f"{self._name} answered {op!r} with {shown!r}, expected a JSON object in one line"
                f"{self._said()}"
            )
        if "error" in answer:
            raise TargetError(f"{self._name} answered {op!r} with an error: {answer['error']}")
        return answer

    def _send(self, data: bytes, op: str, timeout: float) -> None:
        """Write from a thread: a program that does not read would block this one for ever."""
        failed: list[OSError] = []

        def write() -> None:
            assert self._process.stdin is not None
            try:
                self._process.stdin.write(data)
                self._process.stdin.flush()
            except (OSError, ValueError) as error:
                failed.append(OSError(str(error)))

        if len(data) < 4096:  # fits into any pipe that the last answer has emptied
            write()
        else:
            writer = threading.Thread(target=write, daemon=True)
            writer.start()
            writer.join(timeout)
            if writer.is_alive():
                raise TargetError(f"{self._name} does not read its input{self._said()}")
        if failed:
            raise TargetError(self._ended(op))

    def _ended(self, op: str) -> str:
        try:
            code = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            return f"{self._name} closed its output instead of answering {op!r}{self._said()}"
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"
        return f"{self._name} {how} instead of answering {op!r}{self._said()}"

    def _said(self) -> str:
        """Return what it wrote to standard error."""
        self._readers[1].join(0.2)
        text = b"".join(list(self._errors)).decode("utf-8", "replace").strip()
        return f"; it said: {text[-SHOWN:]}" if text else ""

    def close(self) -> None:
        """End the program: by closing its input, and by force where that is not enough."""
        if self._process.stdin is not None:
            with contextlib.suppress(OSError, ValueError):
                self._process.stdin.close()
        try:
            self._process.wait(0.1 if self._failed else PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for reader in self._readers:
            reader.join(PATIENCE)
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        self._failed = self._failed or f"{self._name} was closed"


def _count(info: dict[str, Any], name: str, default: int | None) -> int:
    value = info.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < (default is None):
        raise TargetError(f"the answer to 'info' has {name} {value!r}, expected a whole number")
    return value


def _written(x: Float32) -> list[Any]:
    return [float(v) if np.isfinite(v) else str(float(v)) for v in x]


def _read(answer: dict[str, Any], name: str, what: str) -> Any:
    """Return numbers of an answer, where strings may stand for what JSON has none for."""
    if name not in answer:
        raise TargetError(
            f"{what} is missing in the answer, which has {', '.join(answer) or 'nothing'}"
        )
    return _numbers(answer[name], what)


def _numbers(value: Any, what: str) -> Any:
    if isinstance(value, list):
        return [_numbers(one, what) for one in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if value is None:
        return float("nan")
    if isinstance(value, str) and value.lower() in ("nan", "inf", "-inf", "infinity", "-infinity"):
        return float(value)
    raise TargetError(f"{what} holds {value!r}, expected numbers")


def _state_part(answer: dict[str, Any], letter: str, name: str) -> Float32:
    values = _read(answer, letter, f"{name}: {letter}")
    if isinstance(values, list) and values and not isinstance(values[0], list):
        values = [values]
    return to_array(values, f"{name}: {letter}", (None, None))
