"""What pools of every kind have in common: sessions that are opened, named, kept and closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, NoReturn, TypeVar

import numpy as np

from ._handles import Handles, stale, to_handle, to_handles
from .errors import StaleHandleError

State = TypeVar("State")  # what a session keeps
Like = TypeVar("Like")  # what is taken for one


class SessionPool(ABC, Generic[State, Like]):
    """Sessions of one model in a block of memory, by their handles."""

    __slots__ = ()

    @property
    @abstractmethod
    def capacity(self) -> int:
        """How many sessions can be open at once; `grow` adds to it."""

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Bytes that the pool holds: states, what it knows of each session, and scratch."""

    @abstractmethod
    def __len__(self) -> int:
        """How many sessions are open."""

    @abstractmethod
    def handles(self) -> Handles:
        """Return the handles of all open sessions, in no particular order, shape (n,), uint64."""

    @abstractmethod
    def grow(self, n: int) -> None:
        """Add room for n more sessions. Handles stay valid.

        Raises:
            TypeError: n is no integer.
            ValueError: n is negative, or the capacity would exceed 2**24.
            ConcurrentUseError: another thread is inside a call on this pool: the memory moves.
            MemoryError: there is none.
        """

    @abstractmethod
    def close(self, handle: int) -> None:
        """End a session: its memory is zeroed and its handle is void from here on.

        Raises:
            StaleHandleError: handle names no open session of this pool.
            ConcurrentUseError: another thread is using the session.
        """

    def open(self, state: Like | None = None) -> int:
        """Begin a session, from the start or from state, and return its handle.

        Args:
            state: what `state` returns, or None for the model's own start.

        Raises:
            PoolFullError: as many sessions are open as the pool has room for.
            TypeError, ValueError: state is none of this model.
            ConcurrentUseError: the pool is growing.
        """
        start = None if state is None else self._to_state(state)
        opened: Handles = np.zeros(1, np.uint64)
        try:
            self._open(opened)
            handle: int = opened.item()
            if start is not None:
                self._write_state(handle, start)
            return handle
        except BaseException:  # also of a signal handler: nobody else would know of the session
            if (left := opened.item()) in self:
                self.close(left)
            raise

    def prepare(self, handles: Handles | Sequence[int]) -> int:
        """Do what the next step of these sessions can do before its frame is there.

        As `Stream.prepare`: the same bits as without. A pool has room for as many prepared sessions
        as `pool(prepared=...)` says; those beyond it are left as they are.

        Returns:
            How many of these sessions are prepared now.

        Raises:
            As `step`, for the handles.
        """
        return self._prepare(to_handles(handles))

    def reset(self, handle: int, state: Like | None = None) -> None:
        """Bring a session back to the start, or to state: exactly what a fresh one is.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
            TypeError, ValueError: state is none of this model.
        """
        if state is None:
            self._write_state(to_handle(handle), self._start())
        else:
            self.set_state(handle, state)

    def state(self, handle: int) -> State:
        """Return the state of a session, copies, of the form that `Stream.state` has.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
        """
        state = self._empty_state()
        self._read_state(to_handle(handle), state)
        return state

    def spoiled(self, handles: Handles | Sequence[int] | None = None) -> Handles:
        """Return the handles of the sessions whose state holds a NaN or an infinity.

        A NaN in a frame spoils the state of its session until that is reset, and so may an
        infinity; no other session notices. This reads the states, and costs a step nothing.

        Args:
            handles: of open sessions to look at, shape (n,); None: all that are open.

        Returns:
            Those of the handles whose sessions are spoiled, in their order, shape (m,), uint64.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`, each session as it is looked at.
            TypeError, ValueError: handles are no sequence of integers.
        """
        keys = self.handles() if handles is None else to_handles(handles)
        state = self._empty_state()
        found = np.zeros(len(keys), np.bool_)
        for at, key in enumerate(keys.tolist()):
            try:
                self._read_state(key, state)
            except StaleHandleError:
                if handles is not None:
                    raise stale(key, at) from None
                continue  # it was closed since this has begun
            found[at] = not self._is_finite(state)
        return keys[found]

    def set_state(self, handle: int, state: Like) -> None:
        """Make a session continue from state, which is made canonical as by `Stream.state`.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
            TypeError, ValueError: state is none of this model.
        """
        self._write_state(to_handle(handle), self._to_state(state))

    def snapshot(self, handle: int) -> bytes:
        """Return a session's state as bytes from which it continues, bit for bit, anywhere.

        See `Stream.snapshot`. The session itself goes on.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
        """
        return self._pack(self.state(handle))

    def restore(self, snapshot: bytes) -> int:
        """Begin a session that continues where a snapshot was taken, and return its handle.

        Raises:
            SnapshotError: it is damaged, or was taken with other weights.
            TypeError: it is no bytes.
            PoolFullError, ConcurrentUseError: as `open`.
        """
        return self.open(self._unpack(snapshot))

    @abstractmethod
    def __contains__(self, handle: object) -> bool:
        """Say whether this is the handle of an open session."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a pool belongs to its process and is not copied or pickled: take a snapshot of each "
            "session and restore them in a new pool"
        )

    # What a kind of model provides.

    @abstractmethod
    def _start(self) -> State:
        """Return what a session begins with."""

    @abstractmethod
    def _empty_state(self) -> State:
        """Return one whose arrays are to be filled."""

    @abstractmethod
    def _to_state(self, state: Like) -> State:
        """Check and convert what was given."""

    @abstractmethod
    def _is_finite(self, state: State) -> bool:
        """Say whether no value is NaN or infinite."""

    @abstractmethod
    def _pack(self, state: State) -> bytes:
        """Return a snapshot."""

    @abstractmethod
    def _unpack(self, snapshot: bytes) -> Like:
        """Return the state in a snapshot."""

    # What a backend provides, on arguments that are checked; all or nothing, each.

    @abstractmethod
    def _read_state(self, handle: int, state: State) -> None:
        """Write what the session keeps into the arrays of state."""

    @abstractmethod
    def _write_state(self, handle: int, state: State) -> None:
        """Take what the session is to keep, canonical, and drop what was prepared."""

    @abstractmethod
    def _open(self, opened: Handles) -> None:
        """Begin a session from the start; its handle stands in opened[0] as soon as it is open."""

    @abstractmethod
    def _prepare(self, handles: Handles) -> int:
        """Prepare what there is room for; return how many are prepared."""
