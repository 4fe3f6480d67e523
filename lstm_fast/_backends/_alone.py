"""One thread at a time in a session that is computed in Python."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from types import FrameType

from .._process import bookkeeping, is_over, process_number
from ..errors import ConcurrentUseError
from ..model_stream import IN_USE


class Alone:
    """What a session asks, by calling it in a `with`, at the beginning of each method."""

    __slots__ = ("_owner",)

    def __init__(self) -> None:
        # the thread inside, and its call, by the process that it is in
        self._owner: dict[int, tuple[int, FrameType]] = {}

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Refuse a second thread.

        Not a lock: one that a signal handler's exception left locked would stay so, while a mark
        of a call that is over does no harm. What a thread of the parent has left is of another
        process.
        """
        mine = get_ident(), sys._getframe(2)  # of the method that has this in a `with`
        try:  # from before the mark on, so that it goes with the exception of a signal handler
            with bookkeeping:
                thread, call = self._owner.get(process_number.item(), mine)
                if thread != get_ident() and not is_over(thread, call):
                    raise ConcurrentUseError(IN_USE)
                self._owner = {process_number.item(): mine}
            yield
        finally:
            with bookkeeping:
                if mine in self._owner.values():  # it is another's where this was left long ago
                    self._owner = {}
