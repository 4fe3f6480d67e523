"""The pool of backends without one of their own: a stream per session, stepped in turns."""

from __future__ import annotations

import secrets
import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from types import FrameType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._arguments import MAX_CAPACITY, to_count
from .._arrays import Float32, LSTMState, StateLike
from .._handles import HANDLE_LIMIT, Handles, in_use, repeated, stale, to_handle
from .._process import bookkeeping, is_over, process_number
from .._session_pool import Like, SessionPool, State
from ..errors import PoolFullError
from ..pool import StreamPool
from ..stream import Stream

if TYPE_CHECKING:
    from ..lstm import LSTM


class Pooled(Protocol):
    """A stream that a pool can put back to where it was."""

    def reset(self) -> None: ...

    def prepare(self) -> None: ...

    def _keep(self) -> Any:
        """Return the state as it is, for `_put_back`; whoever calls has the stream to itself."""

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
        self.before: dict[int, tuple[Pooled, Any]] = {}

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


OneStream = TypeVar("OneStream", bound=Pooled)


class SessionsOfStreams(SessionPool[State, Like], Generic[State, Like, OneStream]):
    """Sessions that are streams: the same contract as the native pool, without its speed."""

    __slots__ = ("__weakref__", "_busy", "_capacity", "_prepared", "_room", "_streams")

    def __init__(self, capacity: int, prepared: int) -> None:
        self._capacity = capacity
        self._room = prepared
        self._streams: dict[int, OneStream] = {}
        self._busy: dict[int, _Call] = {}  # sessions that a call is using
        self._prepared: set[int] = set()

    @property
    def capacity(self) -> int:
        return self._capacity

    @property
    def nbytes(self) -> int:
        """Bytes of the states of all sessions that there is room for."""
        return self._capacity * self._state_bytes()

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
    ) -> Iterator[tuple[list[OneStream], _Call]]:
        """Have the streams of all these sessions to oneself, or of none.

        advances: whether they go back to where they were unless the call says that it counts.
        """
        keys: dict[int, OneStream] = {}
        call = _Call(sys._getframe(2))  # of the method that has this in a `with`
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
            if advances:
                call.before = {key: (stream, stream._keep()) for key, stream in keys.items()}
            self._busy.update(dict.fromkeys(keys, call))
        try:
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
        stream = self._begin()
        # so many to choose from that none ever comes twice; below 2**63 as the native ones
        handle = secrets.randbelow(HANDLE_LIMIT - 1) + 1
        with bookkeeping:
            if len(self._streams) >= self._capacity:
                raise PoolFullError(
                    f"all {self._capacity} sessions of this pool are open: close one, or grow(n) it"
                )
            opened[0] = handle
            self._streams[handle] = stream

    def _run_each(
        self,
        handles: Handles,
        steps: int,
        lengths: NDArray[np.uint64] | None,
        run: Callable[[OneStream, int, int], None],
    ) -> None:
        """Call run(stream, n, length) for the nth session, and have all of them advance or none."""
        own = [steps] * len(handles) if lengths is None else lengths.tolist()
        with self._using(handles, advances=True) as (streams, call):
            for n, (stream, length) in enumerate(zip(streams, own, strict=True)):
                run(stream, n, length)
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

    def _read_state(self, handle: int, state: State) -> None:
        with self._using(np.array([handle], np.uint64), several=False) as ([stream], _):
            self._read(stream, state)

    def _write_state(self, handle: int, state: State) -> None:
        with self._using(np.array([handle], np.uint64), several=False) as ([stream], _):
            self._write(stream, state)
            with bookkeeping:
                self._prepared.discard(handle)

    # What a kind of model provides.

    @abstractmethod
    def _state_bytes(self) -> int:
        """Return the bytes of one state."""

    @abstractmethod
    def _begin(self) -> OneStream:
        """Return a new stream."""

    @abstractmethod
    def _read(self, stream: OneStream, state: State) -> None:
        """Write a stream's state into the arrays of state."""

    @abstractmethod
    def _write(self, stream: OneStream, state: State) -> None:
        """Have a stream continue from state."""


class PooledStream(Stream):
    """A stream of an LSTM that a pool can put back to where it was."""

    __slots__ = ()

    @abstractmethod
    def _keep(self) -> Any:
        """See `Pooled`."""

    @abstractmethod
    def _put_back(self, kept: Any) -> None:
        """See `Pooled`."""


class PoolOfStreams(SessionsOfStreams[LSTMState, StateLike, PooledStream], StreamPool):
    """A pool of an LSTM's sessions."""

    __slots__ = ("_lstm",)

    def __init__(self, lstm: LSTM, capacity: int, prepared: int) -> None:
        super().__init__(capacity, prepared)
        self._lstm = lstm

    def _state_bytes(self) -> int:
        lstm = self._lstm
        return 4 * lstm.num_layers * (lstm.output_size + lstm.hidden_size)

    def _begin(self) -> PooledStream:
        stream = self._lstm.stream()
        assert isinstance(stream, PooledStream)
        return stream

    def _read(self, stream: PooledStream, state: LSTMState) -> None:
        state.h[:], state.c[:] = stream.state

    def _write(self, stream: PooledStream, state: LSTMState) -> None:
        stream.state = state

    def _run(
        self, handles: Handles, xs: Float32, lengths: NDArray[np.uint64] | None, ys: Float32
    ) -> None:
        def run(stream: PooledStream, n: int, length: int) -> None:
            if length:
                stream.run(xs[n, :length], ys[n, :length])
            ys[n, length:] = 0

        self._run_each(handles, xs.shape[1], lengths, run)
