"""The pool of backends without one of their own: a stream per session, stepped in turns."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, get_ident
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._arrays import Float32, LSTMState
from ..errors import PoolFullError
from ..pool import (
    HANDLE_LIMIT,
    MAX_CAPACITY,
    Handles,
    StreamPool,
    in_use,
    repeated,
    stale,
    to_count,
    to_handle,
)
from ..stream import Stream

if TYPE_CHECKING:
    from ..lstm import LSTM


class PoolOfStreams(StreamPool):
    """Sessions that are streams: the same contract as the native pool, without its speed."""

    __slots__ = ("_busy", "_capacity", "_lock", "_prepared", "_room", "_streams")

    def __init__(self, lstm: LSTM, capacity: int, prepared: int) -> None:
        super().__init__(lstm)
        self._capacity = capacity
        self._room = prepared
        self._streams: dict[int, Stream] = {}
        self._busy: dict[int, int] = {}  # sessions that a call is using, and its thread
        self._prepared: set[int] = set()
        self._lock = Lock()  # around the bookkeeping, never around a computation

    @property
    def capacity(self) -> int:
        return self._capacity

    @property
    def nbytes(self) -> int:
        """Bytes of the states of all sessions that there is room for."""
        lstm = self._lstm
        return self._capacity * 4 * lstm.num_layers * (lstm.output_size + lstm.hidden_size)

    def __len__(self) -> int:
        return len(self._streams)

    def handles(self) -> Handles:
        with self._lock:
            return np.array([*self._streams], np.uint64)

    def grow(self, n: int) -> None:
        more = to_count(n, "n", 0)
        with self._lock:
            self._forget()
            if self._busy:
                raise in_use(None)
            to_count(self._capacity + more, "the capacity", 1, MAX_CAPACITY)
            self._capacity += more

    def close(self, handle: int) -> None:
        key = np.array([to_handle(handle)], np.uint64)
        with self._using(key, several=False) as [stream]:
            stream.reset()
            with self._lock:
                del self._streams[int(key[0])]
                self._prepared.discard(int(key[0]))

    def __contains__(self, handle: object) -> bool:
        return isinstance(handle, (int, np.integer)) and int(handle) in self._streams

    @contextmanager
    def _using(self, handles: Handles, several: bool = True) -> Iterator[list[Stream]]:
        """Have the streams of all these sessions to oneself, or of none."""
        keys: dict[int, Stream] = {}
        with self._lock:
            self._forget()
            for at, key in enumerate(handles.tolist()):
                place = at if several else None
                if key not in self._streams:
                    raise stale(key, place)
                if key in self._busy:
                    raise in_use(key, place)
                if key in keys:
                    raise repeated(handles, at)
                keys[key] = self._streams[key]
            self._busy.update(dict.fromkeys(keys, get_ident()))
        try:
            yield [*keys.values()]
        finally:
            with self._lock:
                self._forget()

    def _forget(self) -> None:
        """Drop this thread's marks: an exception of a signal handler may have left some."""
        me = get_ident()
        for key in [key for key, thread in self._busy.items() if thread == me]:
            del self._busy[key]

    def _open(self) -> int:
        stream = self._lstm.stream()
        with self._lock:
            if len(self._streams) >= self._capacity:
                raise PoolFullError(
                    f"all {self._capacity} sessions of this pool are open: close one, or grow(n) it"
                )
            # so many to choose from that none ever comes twice; below 2**63 as the native ones
            handle = secrets.randbelow(HANDLE_LIMIT - 1) + 1
            self._streams[handle] = stream
        return handle

    def _run(
        self, handles: Handles, xs: Float32, lengths: NDArray[np.uint64] | None, ys: Float32
    ) -> None:
        steps = xs.shape[1]
        own = [steps] * len(handles) if lengths is None else lengths.tolist()
        with self._using(handles) as streams:
            for stream, x, length, y in zip(streams, xs, own, ys, strict=True):
                stream.run(x[:length], y[:length])
                y[length:] = 0
            stepped = [key for key, length in zip(handles.tolist(), own, strict=True) if length]
            with self._lock:
                self._prepared.difference_update(stepped)

    def _prepare(self, handles: Handles) -> int:
        with self._using(handles) as streams:
            for handle, stream in zip(handles.tolist(), streams, strict=True):
                with self._lock:
                    if handle in self._prepared or len(self._prepared) >= self._room:
                        continue
                    self._prepared.add(handle)
                stream.prepare()
            return len(self._prepared.intersection(handles.tolist()))

    def _read_state(self, handle: int, state: LSTMState) -> None:
        with self._using(np.array([handle], np.uint64), several=False) as [stream]:
            state.h[:], state.c[:] = stream.state

    def _write_state(self, handle: int, state: LSTMState) -> None:
        with self._using(np.array([handle], np.uint64), several=False) as [stream]:
            stream.state = state
            with self._lock:
                self._prepared.discard(handle)
