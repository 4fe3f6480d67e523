"""A program that is asked in JSON lines and answers in them: see `process` for what it speaks."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import subprocess
import threading
from typing import IO, Any

import numpy as np

from ..._process import SteadyLock
from ..target import TargetError

LONGEST_LINE = 1 << 26  # bytes; what is longer is not an answer
SHOWN = 2000  # characters of standard error
PATIENCE = 2.0  # seconds for a program to end by itself


class Program:
    """A program that runs, and its answers.

    Places of sessions in it: taken now; used, by any session so far; spoilt by what a reset leaves.
    """

    def __init__(self, command: list[str], timeout: float, start_timeout: float) -> None:
        self.taken, self.used, self.spoilt = set[int](), set[int](), set[int]()
        self._name, self._timeout = os.path.basename(command[0]), timeout
        self._lock = SteadyLock()
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


def written(x: Any) -> list[Any]:
    """Return numbers as JSON has them; for others it takes strings."""
    if x.dtype.kind == "i":
        return [int(v) for v in x]
    return [float(v) if np.isfinite(v) else str(float(v)) for v in x]
