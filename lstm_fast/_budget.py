"""What reading one file may take: memory and work, in proportion to its size."""

from __future__ import annotations

from .errors import FormatError

MEMORY_BYTES, MEMORY_TIMES = 48 << 20, 4  # for a file of any size, and for each byte of it
# A step of work is about a microsecond of Python on a slow machine.
STEPS, STEPS_A_BYTE = 500_000, 0.5


class Budget:
    """What is left of the memory and the work that a file is worth.

    A file is untrusted: a few bytes of it can ask for any amount of both, by sizes that they claim,
    by naming one thing many times, or by naming things that name things. So whatever is copied or
    made is charged before it is done, not only what is read; and whatever goes over parts of the
    file is charged for its steps. Every reader charges the budget of its `Source`.

    Attributes:
        size: of the file and of those beside it that were read, in bytes.
        memory_left: bytes.
        work_left: steps, each about a microsecond.
    """

    __slots__ = ("_error", "_title", "memory_left", "size", "work_left")

    def __init__(self, title: object, size: int, error: type[ValueError] = FormatError) -> None:
        """Make one.

        Args:
            title: what errors call the file.
            size: of the file, in bytes.
            error: what is raised when it is used up.
        """
        self._title, self._error = title, error
        self.size = self.memory_left = 0
        self.work_left = 0.0
        self.add(size)
        self.memory_left += MEMORY_BYTES
        self.work_left += STEPS

    def add(self, size: int) -> None:
        """Take in another file, which belongs to this one, of so many bytes."""
        self.size += size
        self.memory_left += MEMORY_TIMES * size
        self.work_left += STEPS_A_BYTE * size

    def memory(self, count_bytes: int, what: str = "what it claims") -> None:
        """Charge memory that is about to be taken.

        Raises:
            FormatError: it is more than a file of this size can need.
        """
        if count_bytes > self.memory_left:
            raise self._error(
                f"{self._title}: {what} would take {_rounded(count_bytes)} bytes of memory, more "
                f"than the {max(self.memory_left, 0)} that are left for a file of this size"
            )
        self.memory_left -= count_bytes

    def charge(self, steps: float, count_bytes: int, what: str) -> None:
        """Charge both, of what is done often.

        Raises:
            FormatError: see `memory` and `work`.
        """
        if count_bytes > self.memory_left or steps > self.work_left:
            self.memory(count_bytes, what)
            self.work(steps)
        else:
            self.memory_left -= count_bytes
            self.work_left -= steps

    def give_back(self, count_bytes: int) -> None:
        """Return memory that was charged and is free again."""
        self.memory_left += count_bytes

    def work(self, steps: float = 1, what: str = "reading it") -> None:
        """Charge steps that are about to be done.

        Raises:
            FormatError: they are more than a file of this size can need.
        """
        self.work_left -= steps
        if self.work_left < 0:
            raise self._error(
                f"{self._title}: {what} takes more work than a file of this size can need"
            )


def _rounded(count: int) -> str:
    """Return a number for an error, which stays short however many digits it has."""
    return str(count) if count < 10**18 else "more than 10**18"
