"""Many sessions of an LSTM, in PyTorch's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import _call_instead
from ._arguments import check_out, is_mapping, to_float32, to_lengths
from ._arrays import Float32, LSTMState
from ._handles import Handles, to_handle, to_handles
from .model_pool import ModelPool

if TYPE_CHECKING:
    from typing_extensions import Self  # only for the type checker, which has it

    from .lstm import LSTM

__all__ = ["StreamPool"]


class StreamPool(ModelPool):
    """Sessions of one LSTM that are stepped together, made by `LSTM.pool()`: a `ModelPool`.

    Each session's output and state are the same bits as those of a `Stream` of its own, whoever
    else is in a call, in whatever order, on every ISA. A session is named by a handle, an opaque
    int below 2**63 that is never used twice. A call that raises has changed nothing, for any
    of its sessions; and an exception of a signal handler finds it done for all of them or for none.

    Threads may call at the same time as long as no two use the same session; a call that meets
    another one there raises `ConcurrentUseError`. The work itself runs without Python's lock.

    After a fork a pool and its handles go on in the child. Sessions that another thread was
    stepping at that moment raise `ForkedError` there until they are reset, given a state or closed
    (docs/forks.md).

    Sizes: n is the sessions in a call, I input_size, H hidden_size, P output_size (H, or proj_size
    where there is a projection), L num_layers, T steps. A state is a pair (h, c) of shapes (L, P)
    and (L, H), such as `Stream.state`.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> pool = LSTM.random(3, 4).pool(100)
        >>> alice, bob = pool.open(), pool.open()
        >>> pool.step([bob, alice], np.ones((2, 3), np.float32)).shape
        (2, 4)
        >>> pool.close(alice)
        >>> len(pool), bob in pool, alice in pool
        (1, True, False)
    """

    __slots__ = ()

    _model: LSTM

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Refuse to make what only an LSTM can."""
        if cls is StreamPool:
            raise TypeError(_call_instead.of_session("StreamPool", "pool", args, options))
        return super().__new__(cls)

    @property
    def lstm(self) -> LSTM:
        """The LSTM whose sessions these are."""
        return self._model

    @property
    def model(self) -> LSTM:
        """The same under the name that it has in `ModelPool`."""
        return self._model

    def step(self, handles: Handles | Sequence[int], xs: Any, out: Any = None) -> Float32:
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
            ValueError: a handle is given twice; xs or out has the wrong shape, or out can't be
                written in place.
            TypeError: handles are not integers, xs has no real dtype, or out is not a float32
                array.
            ConcurrentUseError: another thread is using one of the sessions, or the pool grows.
        """
        if is_mapping(xs) or is_mapping(out):
            return super().step(handles, xs, out)  # type: ignore[return-value]  # as of `Stream`
        lstm, keys = self._model, to_handles(handles)
        n = len(keys)
        frames = to_float32(xs, "xs", (n, lstm.input_size), "this call takes %s, a row per handle")
        result = check_out(out, (n, lstm.output_size), xs, frames, "xs")
        self._run(keys, 1, None, [frames[:, None]], [result[:, None]])
        return result

    def run(
        self, handles: Handles | Sequence[int], xs: Any, lengths: Any = None, out: Any = None
    ) -> Float32:
        """Advance each of these sessions by up to T frames: the same bits as that many steps.

        In the main thread signal handlers have a turn every few milliseconds. Where one raises, as
        Ctrl-C's does, every state is as it was before; what is in `out` is then undefined.

        Args:
            handles: as for `step`.
            xs: the frames of each, shape (n, T, I).
            lengths: how many of them are a session's own, shape (n,), 0 to T each; None: all.
            out: as for `step`, shape (n, T, P).

        Returns:
            The last layer's h after each step, shape (n, T, P), float32; zeros beyond the lengths.

        Raises:
            As `step`; also TypeError and ValueError for lengths that are not integers or do not
                fit.
        """
        if is_mapping(xs) or is_mapping(out):
            return super().run(handles, xs, lengths, out)  # type: ignore[return-value]
        lstm, keys = self._model, to_handles(handles)
        n = len(keys)
        frames = to_float32(
            xs, "xs", (n, None, lstm.input_size), "this call takes %s, T frames per handle"
        )
        steps = frames.shape[1]
        own = None if lengths is None else to_lengths(lengths, n, steps, "handle")
        result = check_out(out, (n, steps, lstm.output_size), xs, frames, "xs")
        self._run(keys, steps, own, [frames], [result])
        return result

    def state(self, handle: int) -> LSTMState:
        """Return the state (h, c) of a session, copies of shapes (L, P) and (L, H).

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
        """
        state = self._model._empty_state()
        self._read_states(to_handle(handle), state)
        return state

    def __repr__(self) -> str:
        return f"<StreamPool of {self._model!r}: {len(self)} of {self.capacity} open>"
