"""Sessions of a model, in pools that the whole process shares.

A `ModelStream` has scratch memory of its own, 50 kB of it for Silero VAD. A session in a pool takes
1.3 kB, and as long for a step. Any thread may use any session, as long as two do not use the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import cast
from weakref import WeakKeyDictionary, finalize

import numpy as np
from numpy.typing import NDArray

from ..errors import PoolFullError
from ..model import Model

CAPACITY = 256  # sessions; another pool is made then, since a pool that grows must not be in use
THREADS = 2  # that compute in a pool at the same time, each with 0.6 MB of scratch
Window = NDArray[np.float32]


class Session:
    """A session, closed some time after nobody refers to it any more."""

    __slots__ = ("__weakref__", "_handle", "_handles", "_row", "pool")

    def __init__(self, pool: Pool, handle: int) -> None:
        self.pool, self._handle = pool, handle
        self._handles = np.array([handle], np.uint64)
        self._row = np.empty((1, 1), np.float32)
        # This may come in the middle of anything, also of a call on the pool: so it only notes it.
        finalize(self, pool.left.append, handle).atexit = False

    def step(self, window: Window) -> float:
        """Take a window, and return its probability."""
        self.pool.sessions.step(self._handles, window[None], out=self._row)
        return self._row.item()

    def reset(self) -> None:
        """Go back to the start."""
        self.pool.sessions.reset(self._handle)


class Pool:
    """As many sessions of a model as there is room for."""

    def __init__(self, model: Model) -> None:
        self.sessions = model.pool(CAPACITY, prepared=0, threads=THREADS)
        self.left: deque[int] = deque()  # handles of sessions that nobody refers to

    def open(self) -> Session:
        """Begin a session.

        Raises:
            PoolFullError: there is no room.
        """
        with suppress(IndexError):  # which is how to ask a deque that others use, too
            while True:
                self.sessions.close(self.left.popleft())
        return Session(self, self.sessions.open())

    def step(self, sessions: Sequence[Session], windows: Sequence[Window]) -> list[float]:
        """Take a window for each of these sessions; where it raises, none has changed."""
        handles = np.concatenate([session._handles for session in sessions])
        rows = np.empty((len(sessions), 1), np.float32)
        self.sessions.step(handles, np.stack(windows), out=rows)
        return cast(list[float], rows[:, 0].tolist())


_pools: WeakKeyDictionary[Model, list[Pool]] = WeakKeyDictionary()


def open_session(model: Model) -> Session:
    """Begin a session of a model."""
    pools = _pools.setdefault(model, [])
    for pool in pools:
        try:
            return pool.open()
        except PoolFullError:
            continue
    pools.append(Pool(model))  # two threads may make two: no lock is here that a fork could keep
    return open_session(model)
