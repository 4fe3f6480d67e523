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

        Forget everything about that session. It comes before the first step of each. A number is
        given to another session only where the program, after a reset, answers a few frames as it
        did when it was new; else a program is started again, so that what a reset forgets is found
        by the check that is there for it, and spoils no other.

    -> {"op": "step", "session": 3, "x": [0.5, -1.25, ...]}
    <- {"y": [0.125, ...], "h": [[...], ...], "c": [[...], ...]}

        x has I numbers and y P. h (L lists of P) and c (L lists of H) are the state after the step;
        they may be missing. One layer may also be written as one list.

    -> {"op": "run", "session": 3, "xs": [[...], ...]}      only if info has "run": true
    <- {"ys": [[...], ...]}

        At most 256 frames.

A whole voice activity detector says so in its answer to "info":

    <- {"input_size": 512, "sampling_rate": 16000, "samples": "int16"}

        x has so many samples: whole numbers of int16, or float32 in -1...1 where samples is
        "float32" or missing. y is the probability of speech, a number or a list of one, or null
        where no chunk of Silero VAD's size was complete. See `adapters.from_vad`.

    <- {"error": "what is wrong"}                           may answer anything

Numbers are those of float32, written so that they are read back to the bit: nine digits do. What is
no number in JSON is a string: "nan", "inf", "-inf".
"""

from __future__ import annotations

import json
import os
import shlex
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._arrays import Float32
from ..._process import SteadyLock
from ..probes import uniform
from ..target import State, Target, TargetError, to_array
from ._program import Program, written
from .vad import VadTarget, checked_vad

__all__ = ["CommandTarget", "from_command"]

MOST_FRAMES = 256  # in a line, so that it is short, and answered before the time is up
TRIED = 3  # frames, to see whether a place is as new


def from_command(
    command: str | Sequence[str],
    *,
    timeout: float = 10.0,
    start_timeout: float = 60.0,
    name: str | None = None,
    origin: str | None = None,
) -> Target:
    """Return a program as a target; see the module for what it has to speak.

    Args:
        command: the program and its arguments; a string is split as a shell does, without a shell.
        timeout: seconds for an answer.
        start_timeout: seconds for the first one.
        name: for the report.
        origin: Python that makes the target again, for reproductions.

    Raises:
        TargetError: it cannot be started, or does not answer rightly.
        ValueError: a timeout is not above 0.

    Example:
        >>> import sys
        >>> import numpy as np
        >>> port = '''
        ... import json, sys
        ... answers = {"info": {"input_size": 1}, "reset": {}}
        ... for line in sys.stdin:
        ...     asked = json.loads(line)
        ...     print(json.dumps(answers.get(asked["op"], {"y": asked.get("x")})), flush=True)
        ... '''
        >>> with from_command([sys.executable, "-c", port]) as target:
        ...     target.session().step(np.float32([0.5]))
        array([0.5], dtype=float32)
    """
    target = CommandTarget(command, timeout, start_timeout, name, origin)
    return target if target.sampling_rate is None else ProgramVad(target)


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
        try:
            self.command = shlex.split(command) if isinstance(command, str) else list(command)
        except ValueError as error:
            raise TargetError(f"can't read the command {command!r}: {error}") from error
        if not self.command:
            raise TargetError("the command is empty")
        if not (timeout > 0 and start_timeout > 0):
            raise ValueError(f"timeouts must be above 0, found {timeout:g} and {start_timeout:g}")
        self._timeout, self._start_timeout = timeout, start_timeout
        self._lock = SteadyLock()
        self._programs: list[Program] = []
        self._as_new: list[str] | None = None  # answers of a place that nothing was asked before
        # Also of a target that nobody closes: no program outlives it.
        self._closing = weakref.finalize(self, _close_all, self._programs)
        info = self._start().info
        self.input_size = _count(info, "input_size", None)
        self.output_size = _count(info, "output_size", 0) or None
        self.places = _count(info, "sessions", 1)
        self.can_run = info.get("run") is True
        self.sampling_rate: Any = info.get("sampling_rate")
        self.samples = info.get("samples", "float32")
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
            for program in [one for one in self._programs if self._is_done(one)]:
                program.close()
                self._programs.remove(program)
            program, place = self._free_place()
            program.taken.add(place)
            program.used.add(place)
        return CommandSession(self, program, place)

    def _free_place(self) -> tuple[Program, int]:
        """Return a place that is new, or is as new after a reset."""
        for program in self._programs:
            for place in range(self.places):
                if not program.is_alive or place in program.taken | program.spoilt:
                    continue
                if self._is_as_new(program, place):
                    return program, place
                program.spoilt.add(place)
        return self._start(), 0

    def _is_as_new(self, program: Program, place: int) -> bool:
        """Say whether a place is new, or answers a few frames as a new one did."""
        if self._as_new is None:
            self._as_new = self._answers(program, place)
        elif place not in program.used:
            return True
        # Twice: the first time may itself leave something.
        return all(self._answers(program, place) == self._as_new for _ in range(2))

    def _answers(self, program: Program, place: int) -> list[str]:
        """Return what a place answers after a reset."""
        number = {"session": place} if self.places > 1 else {}
        program.ask({"op": "reset", **number})
        return [
            json.dumps(program.ask({"op": "step", **number, "x": written(x)}), sort_keys=True)
            for x in self._tried()
        ]

    def _tried(self) -> Any:
        frames = uniform(TRIED, self.input_size, 0).array
        return (frames * 4096).astype(np.int16) if self.samples == "int16" else frames

    def _is_done(self, program: Program) -> bool:
        """Say whether a program has no session, and no place for one."""
        return not program.taken and not (program.is_alive and len(program.spoilt) < self.places)

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


class ProgramVad(VadTarget):
    """A program that is a whole voice activity detector."""

    def __init__(self, program: CommandTarget) -> None:
        self._program = program
        try:
            checked_vad(program.sampling_rate, program.samples, program.input_size)
            if program.samples not in ("float32", "int16"):
                raise ValueError(f"samples is {program.samples!r}, expected 'float32' or 'int16'")
        except ValueError as error:
            program.close()
            raise TargetError(f"the answer to 'info' is wrong: {error}") from error
        rate, size = program.sampling_rate, program.input_size
        super().__init__(program.session, rate, program.samples, size, None, "chunk")
        self.name, self.origin, self.threads = program.name, program.origin, program.threads

    def close(self) -> None:
        """End all programs."""
        self._program.close()


class CommandSession:
    """One stream of a program."""

    def __init__(self, target: CommandTarget, program: Program, place: int) -> None:
        self._target, self._program, self._place = target, program, place
        self._several = target.places > 1
        self._closed = False
        self._state: State | None = None
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

    @property
    def state(self) -> State | None:
        """What came with the last answer; it can't be set."""
        return self._state

    def reset(self) -> None:
        self._ask("reset")
        self._state = None

    def step(self, x: Float32, /) -> Float32:
        answer = self._ask("step", x=written(x))
        what = f"{self._target.name}: y"
        y = to_array(_read(answer, "y", what), what, (self._target.output_size,))
        self._state = None
        if "h" in answer and "c" in answer:
            h, c = (_state_part(answer, letter, self._target.name) for letter in "hc")
            self._state = h, c
        return y

    def chunk(self, x: Any) -> Any:
        """Return what a voice activity detector answers to a chunk of samples, None for null."""
        y = self._ask("step", x=written(x)).get("y", self)
        if y is self:
            raise TargetError(f"{self._target.name}: y is missing in the answer")
        return None if y is None else _numbers(y, f"{self._target.name}: y")

    def _run(self, xs: Float32) -> Float32:
        what, parts = f"{self._target.name}: ys", []
        for at in range(0, len(xs), MOST_FRAMES):
            part = xs[at : at + MOST_FRAMES]
            answer = self._ask("run", xs=[written(x) for x in part])
            shape = (len(part), self._target.output_size)
            parts.append(to_array(_read(answer, "ys", what), what, shape))
        return np.concatenate(parts)

    def close(self) -> None:
        """Give the place back."""
        if not self._closed:
            self._closed = True
            self._target.free(self._program, self._place)


def _count(info: dict[str, Any], name: str, default: int | None) -> int:
    value = info.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or value < (default is None):
        raise TargetError(f"the answer to 'info' has {name} {value!r}, expected a whole number")
    return value


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
