"""What can happen to a call from outside of its thread: the process forks, or a signal comes."""

from __future__ import annotations

import os
from threading import RLock, get_ident, main_thread

import numpy as np

# Held around what several threads keep in step, never around a computation. A fork waits for it, so
# the child finds a change done or not begun; and a signal handler that comes in the middle of one
# and calls us does not lock itself out.
bookkeeping = RLock()

# Another number in each process that forks have made of one another. What a thread leaves when it
# takes something holds it: the parent's threads are not there in the child to give anything back.
# An array, so that compiled code can read it.
process_number = np.ones(1, np.int64)


def _begin_in_child() -> None:
    process_number[0] += 1
    bookkeeping.release()


if hasattr(os, "register_at_fork"):  # not on Windows, where nothing forks
    os.register_at_fork(
        before=bookkeeping.acquire,
        after_in_parent=bookkeeping.release,
        after_in_child=_begin_in_child,
    )


def handles_signals() -> bool:
    """Say whether this is the thread in which Python calls signal handlers."""
    return get_ident() == main_thread().ident
