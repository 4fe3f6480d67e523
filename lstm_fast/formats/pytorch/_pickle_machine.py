"""Pickles of protocol 0 to 5, read without running any of them.

A pickle is a program for a machine with a stack and a memo. Python's own imports what the file
names and calls what it says. This one makes inert values (see `_pickle_values`): it never imports,
never calls, never hashes a key, and never recurses. Memory is charged before it is taken, by an
estimate that each opcode has beside it (see `_pickle_opcodes`); the time is that of so many opcodes
as the file has bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, BinaryIO

from ..._budget import Budget
from ._pickle_opcodes import KEPT_BYTES, LONGEST_LINE, OPCODES
from ._pickle_values import Global, PickleError

STEPS_AN_OPCODE, STEPS_A_NAME = 1.0, 5
WHAT = "the pickle in it"


class Machine:
    """Unpickles one value after another from a file."""

    def __init__(
        self, file: BinaryIO, size: int, budget: Budget, persistent: Callable[[Any], Any]
    ) -> None:
        """Make one that begins where the file stands.

        Args:
            file: buffered.
            size: of the whole file, in bytes.
            budget: of the file that it is in.
            persistent: returns what a persistent id stands for.
        """
        self.file = file
        self.size = size
        self.persistent = persistent
        self.budget = budget
        self.packages: set[str] = set()  # of what the file named, such as "torch"
        self._forget()

    def _forget(self) -> None:
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Return the next value.

        Raises:
            PickleError: there is none.
            FormatError: it takes more memory or work than the budget has.
            OSError: of the file.
        """
        self._forget()
        take, charge, count = self.file.read, self.budget.memory, 0
        try:
            while (code := take(1)) != b".":
                known = OPCODES.get(code)
                if known is None:
                    raise PickleError(f"no opcode is {code!r}" if code else "it is cut short")
                run, cost = known
                charge(cost, WHAT)
                run(self)
                count += 1
            return self.stack.pop()
        except IndexError:
            raise PickleError(f"the opcode {code!r} finds nothing on the stack") from None
        except UnicodeDecodeError:
            raise PickleError("a text in it is not text") from None
        finally:  # there are no more of them than bytes
            self.budget.give_back(KEPT_BYTES * len(self.memo))
            self._forget()
            self.budget.work(STEPS_AN_OPCODE * count, WHAT)

    def charge(self, cost: int) -> None:
        """Count memory that is about to be taken."""
        self.budget.memory(cost, WHAT)

    def take(self, count: int) -> bytes:
        """Return the next bytes, charged where they are many; what is not there takes no memory."""
        if count > LONGEST_LINE:
            if count > self.size - self.file.tell():
                raise PickleError(f"it claims {count} bytes, more than there are")
            self.charge(count)
        data = self.file.read(count)
        if len(data) != count:
            raise PickleError("it is cut short")
        return data

    def line(self, longest: int = LONGEST_LINE) -> bytes:
        """Return what there is up to the end of the line, charged where it is much."""
        data = self.file.readline(min(longest, self.budget.memory_left) + 1)
        if len(data) > LONGEST_LINE:
            self.charge(len(data))
        if not data.endswith(b"\n"):
            raise PickleError("it is cut short, or a line in it is too long")
        return data[:-1]

    def number(self, size: int) -> int:
        """Return an unsigned whole number of so many bytes."""
        return int.from_bytes(self.take(size), "little")

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def since_mark(self) -> list[Any]:
        """Return what was pushed since the last mark, and forget the mark."""
        items, self.stack = self.stack, self.marked.pop()
        return items

    def keep(self, index: int) -> None:
        """Put what is on top into the memo."""
        if not 0 <= index < 2**32:
            raise PickleError(f"it keeps a value under the number {index}")
        self.memo[index] = self.stack[-1]

    def recall(self, index: int) -> None:
        """Push what the memo has."""
        if index not in self.memo:
            raise PickleError(f"it recalls the value {index}, which it has not kept")
        self.stack.append(self.memo[index])

    def named(self, module: str, name: str) -> Global:
        """Return what stands for something that the file would import."""
        if len(module) + len(name) > LONGEST_LINE:
            raise PickleError("a name in it is too long")
        self.charge(4 * (len(module) + len(name)))
        self.budget.work(STEPS_A_NAME, WHAT)
        self.packages.add(module.partition(".")[0])
        return Global(f"{module}.{name}")
