"""Many sessions in one block of memory, stepped together over one pass of the weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from . import _call_instead, snapshots
from ._arguments import check_out, to_float32, to_lengths, to_state
from ._arrays import Float32, LSTMState, StateLike
from ._handles import Handles, stale, to_handle, to_handles
from .errors import StaleHandleError

if TYPE_CHECKING:
    from .lstm import LSTM


class StreamPool(ABC):
    """Sessions of one LSTM that are stepped together, made by `LSTM.pool()`.

    Each session's output and state are the same bits as those of a `Stream` of its own, whoever
    else is in a call, in whatever order, on every ISA. A session is named by a handle, an opaque
    int below 2**63 that is never used twice. A call that raises has changed nothing, for any
    of its sessions; and an exception of a signal handler finds it done for all of them or for none.

    Threads may call at the same time as long as no two use the same session; who does gets
    `ConcurrentUseError`. The work itself runs without Python's lock.

    After a fork a pool and its handles go on in the child. Sessions that another thread was
    stepping at that moment raise `ForkedError` there until they are reset, given a state or closed
    (docs/forks.md).

    Sizes: n is the sessions in a call, I input_size, H hidden_size, P output_size (H, or proj_size
    where there is a projection), L num_layers, T steps.
    """

    __slots__ = ("__weakref__", "_lstm")

    def __new__(cls, *args: Any, **options: Any) -> StreamPool:
        """Refuse to make what only an LSTM can."""
        if cls is StreamPool:
            raise TypeError(_call_instead.of_session("StreamPool", "pool", args, options))
        return super().__new__(cls)

    def __init__(self, lstm: LSTM) -> None:
        self._lstm = lstm

    @property
    def lstm(self) -> LSTM:
        """The LSTM whose sessions these are."""
        return self._lstm

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

    def open(self, state: StateLike | None = None) -> int:
        """Begin a session, from the start or from state, and return its handle.

        Args:
            state: a pair (h, c) of shapes (L, P) and (L, H), or None for `lstm.initial_state`.

        Raises:
            PoolFullError: as many sessions are open as the pool has room for.
            TypeError, ValueError: state is no such pair.
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

    def step(
        self, handles: Handles | Sequence[int], xs: Any, out: Float32 | None = None
    ) -> Float32:
        """Advance each of these sessions by one frame.

        Args:
            handles: of open sessions, any of them in any order, none twice; shape (n,). An array of
                uint64 is used as it is.
            xs: a frame for each, shape (n, I). A C-contiguous float32 array is used as it is; what
                else `Stream.step` takes is converted.
            out: where to write, a C-contiguous float32 array of shape (n, P) that shares no memory
                with xs; None makes a new one.

        Returns:
            The last layer's h of each, shape (n, P), float32: `out` where it was given.

        Raises:
            StaleHandleError: a handle names no open session of this pool; the message says which.
            ValueError: a handle stands twice; xs or out has the wrong shape, or out can't be
                written in place.
            TypeError: handles are no integers, xs has no real dtype, or out is no float32 array.
            ConcurrentUseError: another thread is using one of the sessions, or the pool grows.
        """
        lstm, keys = self._lstm, to_handles(handles)
        n = len(keys)
        frames = to_float32(xs, "xs", (n, lstm.input_size), "this call takes %s, a row per handle")
        result = check_out(out, (n, lstm.output_size), xs, frames, "xs")
        self._run(keys, frames[:, None], None, result[:, None])
        return result

    def run(
        self,
        handles: Handles | Sequence[int],
        xs: Any,
        lengths: Any = None,
        out: Float32 | None = None,
    ) -> Float32:
        """Advance each of these sessions by up to T frames: the same bits as that many steps.

        In the main thread signal handlers have a turn every few milliseconds. Where one raises, as
        Ctrl-C's does, every state is as it was before; what is in `out` means nothing then.

        Args:
            handles: as for `step`.
            xs: the frames of each, shape (n, T, I).
            lengths: how many of them are a session's own, shape (n,), 0 to T each; None: all.
            out: as for `step`, shape (n, T, P).

        Returns:
            The last layer's h after each step, shape (n, T, P), float32; zeros beyond the lengths.

        Raises:
            As `step`; also TypeError and ValueError for lengths that are no integers or do not fit.
        """
        lstm, keys = self._lstm, to_handles(handles)
        n = len(keys)
        frames = to_float32(
            xs, "xs", (n, None, lstm.input_size), "this call takes %s, T frames per handle"
        )
        steps = frames.shape[1]
        own = None if lengths is None else to_lengths(lengths, n, steps, "handle")
        result = check_out(out, (n, steps, lstm.output_size), xs, frames, "xs")
        self._run(keys, frames, own, result)
        return result

    def prepare(self, handles: Handles | Sequence[int]) -> int:
        """Do what the next step of these sessions can do before its frame is there.

        As `Stream.prepare`: the same bits as without. A pool has room for as many prepared sessions
        as `LSTM.pool(prepared=...)` says; those beyond it are left as they are.

        Returns:
            How many of these sessions are prepared now.

        Raises:
            As `step`, for the handles.
        """
        return self._prepare(to_handles(handles))

    def reset(self, handle: int, state: StateLike | None = None) -> None:
        """Bring a session back to the start, or to state: exactly what a fresh one is.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
            TypeError, ValueError: state is no pair of shapes (L, P) and (L, H).
        """
        self.set_state(handle, self._lstm.initial_state if state is None else state)

    def state(self, handle: int) -> LSTMState:
        """Return the state (h, c) of a session, copies of shapes (L, P) and (L, H).

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
        """
        lstm = self._lstm
        state = LSTMState.empty(lstm.num_layers, lstm.output_size, lstm.hidden_size)
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
        lstm = self._lstm
        state = LSTMState.empty(lstm.num_layers, lstm.output_size, lstm.hidden_size)
        found = np.zeros(len(keys), np.bool_)
        for at, key in enumerate(keys.tolist()):
            try:
                self._read_state(key, state)
            except StaleHandleError:
                if handles is not None:
                    raise stale(key, at) from None
                continue  # it was closed since this has begun
            found[at] = not state.is_finite
        return keys[found]

    def set_state(self, handle: int, state: StateLike) -> None:
        """Make a session continue from state, which is made canonical as by `Stream.state`.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
            TypeError, ValueError: state is no pair of shapes (L, P) and (L, H).
        """
        self._write_state(to_handle(handle), self._to_state(state))

    def _to_state(self, state: StateLike) -> LSTMState:
        lstm = self._lstm
        return to_state(state, lstm.num_layers, lstm.output_size, lstm.hidden_size)

    def snapshot(self, handle: int) -> bytes:
        """Return a session's state as bytes from which it continues, bit for bit, anywhere.

        See `Stream.snapshot`. The session itself goes on.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
        """
        return snapshots.pack(self._lstm, self.state(handle))

    def restore(self, snapshot: bytes) -> int:
        """Begin a session that continues where a snapshot was taken, and return its handle.

        Raises:
            SnapshotError: it is damaged, or was taken with other weights.
            TypeError: it is no bytes.
            PoolFullError, ConcurrentUseError: as `open`.
        """
        return self.open(snapshots.unpack(self._lstm, snapshot))

    @abstractmethod
    def __contains__(self, handle: object) -> bool:
        """Say whether this is the handle of an open session."""

    def __repr__(self) -> str:
        return f"<StreamPool of {self._lstm!r}: {len(self)} of {self.capacity} open>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a pool belongs to its process and is not copied or pickled: take a snapshot of each "
            "session and restore them in a new pool"
        )

    # What a backend provides, on arguments that are checked; all or nothing, each.

    @abstractmethod
    def _open(self, opened: Handles) -> None:
        """Begin a session from the start; its handle stands in opened[0] as soon as it is open."""

    @abstractmethod
    def _run(
        self, handles: Handles, xs: Float32, lengths: NDArray[np.uint64] | None, ys: Float32
    ) -> None:
        """Take the steps xs (n, T, I), the first lengths[n] each, and write ys (n, T, P)."""

    @abstractmethod
    def _prepare(self, handles: Handles) -> int:
        """Prepare what there is room for; return how many are prepared."""

    @abstractmethod
    def _read_state(self, handle: int, state: LSTMState) -> None:
        """Write h and c into these arrays of shapes (L, P) and (L, H)."""

    @abstractmethod
    def _write_state(self, handle: int, state: LSTMState) -> None:
        """Take h and c, of shapes (L, P) and (L, H), canonical, and drop what was prepared."""
