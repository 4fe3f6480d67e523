"""The audio that LiveKit's events still owe: what was said, and a little before it."""

from __future__ import annotations

from collections import deque

SAMPLE_BYTES = 2


class SpeechBuffer:
    """Samples of int16 as bytes, up to a limit. It has no more memory than it has samples.

    They stay in the pieces in which they came: growing one block would move it again and again.
    What does not fit is left out: the start of what was said is kept, not its end.
    """

    __slots__ = ("_limit", "_padding", "_pieces", "_size")

    def __init__(self, padding: int, limit: int) -> None:
        """Make an empty one.

        Args:
            padding: how many samples `keep_padding` leaves.
            limit: how many there may be, these included.
        """
        self._pieces: deque[bytes] = deque()
        self._size = 0  # bytes, as all sizes in here
        self._padding, self._limit = padding * SAMPLE_BYTES, limit * SAMPLE_BYTES

    def resize(self, padding: int, limit: int) -> None:
        """Take other sizes; the first samples stay, as far as there is room."""
        self._padding, self._limit = padding * SAMPLE_BYTES, limit * SAMPLE_BYTES
        while self._size > self._limit:
            last = self._pieces.pop()
            self._size -= len(last)
            if self._size < self._limit:
                self.append(last)

    def append(self, samples: bytes) -> bool:
        """Append what there is room for; return whether there was any, or nothing to append."""
        room = self._limit - self._size
        if room <= 0:
            return False
        if len(samples) > room:
            samples = samples[:room]
        self._pieces.append(samples)
        self._size += len(samples)
        return True

    def keep_padding(self) -> bool:
        """Drop all but the last samples; return whether that were any."""
        surplus = self._size - self._padding
        if surplus <= 0:
            return False
        self._size = self._padding
        pieces = self._pieces
        while surplus >= len(pieces[0]):
            surplus -= len(pieces.popleft())
            if not pieces:
                return True
        if surplus:
            pieces[0] = pieces[0][surplus:]
        return True

    def clear(self) -> None:
        """Leave nothing."""
        self._pieces.clear()
        self._size = 0

    def __bytes__(self) -> bytes:
        return b"".join(self._pieces)

    def __len__(self) -> int:
        """How many samples there are."""
        return self._size // SAMPLE_BYTES
