"""The pool of backends without one of their own: a stream per session, stepped in turns."""

from __future__ import annotations

import secrets
import sys
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import get_ident
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._arguments import MAX_CAPACITY, to_count
from .._frames import Array
from .._handles import HANDLE_LIMIT, Handles, in_use, repeated, stale, to_handle
from .._process import bookkeeping, is_over, process_number
from ..errors import PoolFullError
from ..model_pool import ModelPool
from ..model_stream import ModelStream
from ..pool import StreamPool

if TYPE_CHECKING:
    from ..model import Model


class PooledStream(ModelStream):
    """A stream that a pool can put back to where it was."""

    __slots__ = ()

    @abstractmethod
    def _keep(self) -> Any:
        """Return the state as it is, for `_put_back`; whoever calls has the stream to itself."""

    @abstractmethod
    def _put_back(self, kept: Any) -> None:
        """Go back to that state, also from one that a fork has left half written."""


class _Call:
    """A call that is inside: whose it is, and what its sessions were before it.

    Once the call counts there is nothing to put back, which is one step for a signal handler and
    for a fork. Until then it is as if it had never been.
    """

    __slots__ = ("before", "frame", "process", "thread")

    def __init__(self, frame: FrameType) -> None:
        self.process, self.thread = process_number.item(), get_ident()
        self.frame: FrameType | None = frame
        self.before: dict[int, tuple[PooledStream, Any]] = {}

    def counts(self) -> None:
        self.before = {}

    @property
    def was_left(self) -> bool:
        """Whether nobody is in it any more.

        A signal handler's exception may have come before it could say so; or it was a thread of the
        parent's, which a fork has not taken along.
        """
        if self.process != process_number.item():
            return True
        return is_over(self.thread, self.frame)


class PoolOfStreams(ModelPool):
    """Sessions that are streams: the same contract as the native pool, without its speed."""

    __slots__ = ("__weakref__", "_busy", "_capacity", "_model", "_prepared", "_room", "_streams")

    def __init__(self, model: Model, capacity: int, prepared: int) -> None:
        self._model = model
        self._capacity = capacity
        self._room = prepared
        self._streams: dict[int, PooledStream] = {}
        self._busy: dict[int, _Call] = {}  # sessions that a call is using
        self._prepared: set[int] = set()

    @property
    def capacity(self) -> int:
        return self._capacity

    @property
    def nbytes(self) -> int:
        """Bytes of the states of all sessions that there is room for."""
        model = self._model
        return self._capacity * sum(one.nbytes for one in model._values(model._empty_state()))

    def __len__(self) -> int:
        return len(self._streams)

    def handles(self) -> Handles:
        with bookkeeping:
            return np.array([*self._streams], np.uint64)

    def grow(self, n: int) -> None:
        more = to_count(n, "n", 0)
        with bookkeeping:
            self._forget_what_was_left()
            if self._busy:
                raise in_use(None)
            to_count(self._capacity + more, "the capacity", 1, MAX_CAPACITY)
            self._capacity += more

    def close(self, handle: int) -> None:
        key = np.array([to_handle(handle)], np.uint64)
        with self._using(key, several=False) as ([stream], _):
            with bookkeeping:
                self._prepared.discard(int(key[0]))
                del self._streams[int(key[0])]
            stream.reset()

    def __contains__(self, handle: object) -> bool:
        return isinstance(handle, (int, np.integer)) and int(handle) in self._streams

    @contextmanager
    def _using(
        self, handles: Handles, several: bool = True, advances: bool = False
    ) -> Iterator[tuple[list[PooledStream], _Call]]:
        """Have the streams of all these sessions to oneself, or of none.

        advances: whether they go back to where they were unless the call says that it counts.
        """
        keys: dict[int, PooledStream] = {}
        call = _Call(sys._getframe(2))  # of the method that has this in a `with`
        try:  # from before the marks on, so that they go with the exception of a signal handler
            with bookkeeping:
                self._forget_what_was_left()
                for at, key in enumerate(handles.tolist()):
                    place = at if several else None
                    if key not in self._streams:
                        raise stale(key, place)
                    if key in self._busy:
                        raise in_use(key, place)
                    if key in keys:
                        raise repeated(handles, at)
                    keys[key] = self._streams[key]
                self._busy.update(dict.fromkeys(keys, call))
                if advances:  # behind the marks: what has none is not put back
                    call.before = {key: (stream, stream._keep()) for key, stream in keys.items()}
            yield [*keys.values()], call
        finally:
            with bookkeeping:
                self._forget(call)

    def _forget_what_was_left(self) -> None:
        for call in {call for call in self._busy.values() if call.was_left}:
            self._forget(call)

    def _forget(self, call: _Call) -> None:
        """Put back what does not count, and let others have the sessions."""
        for stream, kept in call.before.values():
            stream._put_back(kept)
        self._prepared.difference_update(call.before)
        call.counts()
        for key in [key for key, other in self._busy.items() if other is call]:
            del self._busy[key]
        call.frame = None

    def _open(self, opened: Handles) -> None:
        stream: PooledStream = self._model.stream()  # type: ignore[assignment]
        # so many to choose from that none ever comes twice; below 2**63 as the native ones
        handle = secrets.randbelow(HANDLE_LIMIT - 1) + 1
        with bookkeeping:
            if len(self._streams) >= self._capacity:
                raise PoolFullError(
                    f"all {self._capacity} sessions of this pool are open: close one, or grow(n) it"
                )
            opened[0] = handle
            self._streams[handle] = stream

    def _run(
        self,
        handles: Handles,
        steps: int,
        lengths: NDArray[np.uint64] | None,
        frames: Sequence[Array],
        results: Sequence[Array],
    ) -> None:
        own = [steps] * len(handles) if lengths is None else lengths.tolist()
        with self._using(handles, advances=True) as (streams, call):
            for n, (stream, length) in enumerate(zip(streams, own, strict=True)):
                if length:
                    given = [frame[n, :length] for frame in frames]
                    stream._advance(given, length, [result[n, :length] for result in results])
                for result in results:
                    result[n, length:] = 0
            stepped = [key for key, length in zip(handles.tolist(), own, strict=True) if length]
            with bookkeeping:
                call.counts()
                self._prepared.difference_update(stepped)

    def _prepare(self, handles: Handles) -> int:
        with self._using(handles) as (streams, _):
            for handle, stream in zip(handles.tolist(), streams, strict=True):
                with bookkeeping:
                    if handle in self._prepared or len(self._prepared) >= self._room:
                        continue
                    self._prepared.add(handle)
                stream.prepare()
            return len(self._prepared.intersection(handles.tolist()))

    def _read_states(self, handle: int, values: Sequence[Array]) -> None:
        with self._using(np.array([handle], np.uint64), several=False) as ([stream], _):
            stream._read_states(values)

    def _write_states(self, handle: int, values: Sequence[Array]) -> None:
        with self._using(np.array([handle], np.uint64), several=False) as ([stream], _):
            stream._write_states(values)
            with bookkeeping:
                self._prepared.discard(handle)

    def _restart(self, handle: int) -> None:
        with self._using(np.array([handle], np.uint64), several=False) as ([stream], _):
            stream.reset()
            with bookkeeping:
                self._prepared.discard(handle)


class PoolOfLSTMStreams(PoolOfStreams, StreamPool):
    """A pool of an LSTM's sessions."""

    __slots__ = ()
