"""Many sessions of a whole model, stepped together over one pass of the weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ._arguments import to_lengths
from ._frames import Array, State, StateGiven, Values, check_outs, is_finite, returned, to_steps
from ._handles import Handles, stale, to_handle, to_handles
from .errors import StaleHandleError

if TYPE_CHECKING:
    from typing_extensions import Self  # only for the type checker, which has it

    from .model import Model
    from .snapshots import Snapshot

__all__ = ["ModelPool"]


class ModelPool(ABC):
    """Sessions of one model that are stepped together, made by `Model.pool()`.

    Each session's outputs and state are the same bits as those of a `ModelStream` of its own,
    whoever else is in a call, in whatever order, on every ISA. A session is named by a handle, an
    opaque int below 2**63 that is never used twice. A call that raises has changed nothing, for any
    of its sessions; and an exception of a signal handler finds it done for all of them or for none.

    Threads may call at the same time as long as no two use the same session; a call that meets
    another one there raises `ConcurrentUseError`. The work itself runs without Python's lock.

    After a fork a pool and its handles go on in the child. Sessions that another thread was
    stepping at that moment raise `ForkedError` there until they are reset, given a state or closed
    (docs/forks.md).

    Sizes: n is the sessions in a call, T steps. A state is a mapping such as `ModelStream.state`.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM, Model
        >>> pool = Model.from_program(LSTM.random(3, 4).program).pool(2)
        >>> handles = [pool.open(), pool.open()]
        >>> pool.step(handles, np.zeros((2, 3), np.float32)).shape
        (2, 4)
    """

    __slots__ = ()  # a backend's class has them

    _model: Model

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Refuse to make what only a Model can."""
        if cls is ModelPool:
            raise TypeError("a ModelPool is made by its Model: call model.pool(capacity)")
        return super().__new__(cls)

    @property
    def model(self) -> Model:
        """The model whose sessions these are."""
        return self._model

    def step(self, handles: Handles | Sequence[int], xs: Any, out: Any = None) -> Values:
        """Advance each of these sessions by one frame.

        Args:
            handles: of open sessions, any of them in any order, none twice; shape (n,). An array of
                uint64 is used as it is.
            xs: as x of `ModelStream.step`, with n in front of every input.
            out: where to write, as of `ModelStream.step`, with n in front of every output.

        Returns:
            As `ModelStream.step`, with n in front of every output.

        Raises:
            StaleHandleError: a handle names no open session of this pool; the message says which.
            TypeError, ValueError: as `ModelStream.step`; handles are not integers, or one of them
                is given twice.
            ConcurrentUseError: another thread is using one of the sessions, or the pool grows.
        """
        model, keys = self._model, to_handles(handles)
        frames = to_steps(xs, model, (len(keys),))
        results = check_outs(out, model.outputs, (len(keys),), xs, frames)
        self._run(
            keys, 1, None, [frame[:, None] for frame in frames], [one[:, None] for one in results]
        )
        return returned(out, model.outputs, results)

    def run(
        self, handles: Handles | Sequence[int], xs: Any, lengths: Any = None, out: Any = None
    ) -> Values:
        """Advance each of these sessions by up to T frames: the same bits as that many steps.

        In the main thread signal handlers have a turn every few milliseconds. Where one raises, as
        Ctrl-C's does, every state is as it was before; what is in `out` is then undefined.

        Args:
            handles: as for `step`.
            xs: as x of `ModelStream.step`, with n and T in front of every input.
            lengths: how many of the T frames are a session's own, shape (n,), 0 to T each; None:
                all.
            out: as for `step`, with n and T in front of every output.

        Returns:
            As `step`, with n and T in front of every output; zeros beyond the lengths.

        Raises:
            As `step`; also TypeError and ValueError for lengths that are not integers or do not
                fit.
        """
        model, keys = self._model, to_handles(handles)
        frames = to_steps(xs, model, (len(keys), None))
        steps = frames[0].shape[1]
        own = None if lengths is None else to_lengths(lengths, len(keys), steps, "handle")
        results = check_outs(out, model.outputs, (len(keys), steps), xs, frames)
        self._run(keys, steps, own, frames, results)
        return returned(out, model.outputs, results)

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
            TypeError: n is not an integer.
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

    def open(self, state: StateGiven | None = None) -> int:
        """Begin a session, from the start or from state, and return its handle.

        Args:
            state: what `state` returns, or None for the model's own start.

        Raises:
            PoolFullError: as many sessions are open as the pool has room for.
            TypeError, ValueError: state is none of this model.
            ConcurrentUseError: the pool is growing.
        """
        start = None if state is None else self._taken(state)
        opened: Handles = np.zeros(1, np.uint64)
        try:
            self._open(opened)
            handle: int = opened.item()
            if start is not None:
                self._write_states(handle, start)
            return handle
        except BaseException:  # also of a signal handler: nobody else would know of the session
            if (left := opened.item()) in self:
                self.close(left)
            raise

    def prepare(self, handles: Handles | Sequence[int]) -> int:
        """Do what the next step of these sessions can do before its frame is there.

        As `ModelStream.prepare`: the same bits as without. A pool has room for as many prepared
        sessions as `pool(prepared=...)` says; those beyond it are left as they are.

        Returns:
            How many of these sessions are prepared now.

        Raises:
            As `step`, for the handles.
        """
        return self._prepare(to_handles(handles))

    def reset(self, handle: int, state: StateGiven | None = None) -> None:
        """Bring a session back to the start, or to state: exactly what a fresh one is.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
            TypeError, ValueError: state is none of this model.
        """
        if state is None:
            self._restart(to_handle(handle))
        else:
            self.set_state(handle, state)

    def state(self, handle: int) -> State:
        """Return the state of a session, copies, of the form that `ModelStream.state` has.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
        """
        model = self._model
        state = model._empty_state()
        self._read_states(to_handle(handle), model._values(state))
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
            TypeError, ValueError: handles are not a sequence of integers.
        """
        keys = self.handles() if handles is None else to_handles(handles)
        values = self._model._values(self._model._empty_state())
        found = np.zeros(len(keys), np.bool_)
        for at, key in enumerate(keys.tolist()):
            try:
                self._read_states(key, values)
            except StaleHandleError:
                if handles is not None:
                    raise stale(key, at) from None
                continue  # it was closed since this has begun
            found[at] = not is_finite(values)
        return keys[found]

    def set_state(self, handle: int, state: StateGiven) -> None:
        """Make a session continue from state, which is made canonical as by `ModelStream.state`.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
            TypeError, ValueError: state is none of this model.
        """
        self._write_states(to_handle(handle), self._taken(state))

    def _taken(self, state: StateGiven) -> Sequence[Array]:
        return self._model._values(self._model._to_state(state))

    def snapshot(self, handle: int) -> bytes:
        """Return a session's state as bytes from which it continues, bit for bit, anywhere.

        See `ModelStream.snapshot`. The session itself goes on.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
        """
        return self._model._to_snapshot(self.state(handle))

    def restore(self, snapshot: Snapshot) -> int:
        """Begin a session that continues where a snapshot was taken, and return its handle.

        Args:
            snapshot: bytes, or a file, as of `ModelStream.restore`.

        Raises:
            SnapshotError, TypeError, OSError: as `ModelStream.restore`.
            PoolFullError, ConcurrentUseError: as `open`.
        """
        return self.open(self._model._from_snapshot(snapshot))

    @abstractmethod
    def __contains__(self, handle: object) -> bool:
        """Say whether this is the handle of an open session."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a pool belongs to its process and is not copied or pickled: take a snapshot of each "
            "session and restore them in a new pool"
        )

    def __repr__(self) -> str:
        return f"<ModelPool of {self._model!r}: {len(self)} of {self.capacity} open>"

    # What a backend provides, on arguments that are checked; all or nothing, each.

    @abstractmethod
    def _run(
        self,
        handles: Handles,
        steps: int,
        lengths: NDArray[np.uint64] | None,
        frames: Sequence[Array],
        results: Sequence[Array],
    ) -> None:
        """Take the steps of each input (n, T, ...), the first lengths[n] each; write (n, T, ...).

        Raises:
            ValueError: an index is beyond an embedding's table.
        """

    @abstractmethod
    def _read_states(self, handle: int, values: Sequence[Array]) -> None:
        """Write what the session keeps into arrays of their shapes."""

    @abstractmethod
    def _write_states(self, handle: int, values: Sequence[Array]) -> None:
        """Take what the session is to keep, and drop what was prepared."""

    @abstractmethod
    def _restart(self, handle: int) -> None:
        """Bring a session back to the start."""

    @abstractmethod
    def _open(self, opened: Handles) -> None:
        """Begin a session from the start; its handle is in opened[0] as soon as it is open."""

    @abstractmethod
    def _prepare(self, handles: Handles) -> int:
        """Prepare what there is room for; return how many are prepared."""
