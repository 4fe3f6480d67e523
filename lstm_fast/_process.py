"""What can happen to a call from outside of its thread: the process forks, or a signal comes."""

from __future__ import annotations

import os
import sys
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE, CO_GENERATOR, CO_ITERABLE_COROUTINE
from threading import RLock, get_ident, main_thread
from types import FrameType

import numpy as np


class SteadyLock(type(RLock())):  # type: ignore[misc]  # a class that has no name to import
    """A lock that no exception of a signal handler leaves taken."""

    def __enter__(self) -> bool:
        """Take it, where no handler can have a turn before the `with` has begun.

        From Python 3.14 on one can between the two if this is a function in C. A `for` has no place
        for that, nor has a return. To give it back, the `__exit__` in C is right: a function in
        Python begins with such a place.
        """
        for _ in iter(self.acquire, None):
            return True
        return False  # which no acquire leads to


# Held around what several threads keep in step, never around a computation. A fork waits for it, so
# the child finds a change done or not begun; and a signal handler that comes in the middle of one
# and calls us does not lock itself out.
bookkeeping = SteadyLock()

# How often a stack is looked at that moves meanwhile, before its call counts as going on.
LOOKS = 1000
IS_FREE_THREADED = "free-threading" in sys.version  # a build that can run without Python's lock
SUSPENDS = CO_GENERATOR | CO_COROUTINE | CO_ASYNC_GENERATOR | CO_ITERABLE_COROUTINE

# Another number in each process that forks have made of one another. What a thread leaves when it
# takes something holds it: the parent's threads are not there in the child to give anything back.
# An array, so that compiled code can read it.
process_number = np.ones(1, np.int64)


def _begin_in_child() -> None:
    process_number[0] += 1
    try:
        bookkeeping.release()
    except RuntimeError:  # a server that forks in C may run only this one of the three
        bookkeeping._at_fork_reinit()  # as the standard library does


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(
        before=bookkeeping.acquire,
        after_in_parent=bookkeeping.release,
        after_in_child=_begin_in_child,
    )


def handles_signals() -> bool:
    """Say whether this is the thread in which Python calls signal handlers."""
    return get_ident() == main_thread().ident


def is_over(thread: int, call: FrameType | None) -> bool:
    """Say whether a thread has left this call of a function, in whatever way.

    A signal handler's exception may have come before the call could say so itself. Where threads
    run without Python's lock, nobody else may look at a stack that moves: there the call of another
    one goes on until it says that it is over, at the latest when that exception goes, or the thread
    has ended.
    """
    is_mine = thread == get_ident()
    if IS_FREE_THREADED and not is_mine:
        return thread not in sys._current_frames()
    for _ in range(LOOKS):
        frame = sys._getframe() if is_mine else sys._current_frames().get(thread)
        last = None
        while frame is not None and frame is not call:
            last, frame = frame, frame.f_back
        if frame is not None:
            return False
        # A generator or coroutine that waits by now no longer knows who called it: look again.
        if last is None or not last.f_code.co_flags & SUSPENDS:
            return True
    return False
