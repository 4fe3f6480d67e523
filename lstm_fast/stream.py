"""One session of an LSTM, in PyTorch's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _call_instead
from ._arguments import check_out, is_mapping, to_float32
from ._arrays import Float32, LSTMState
from ._frames import StateGiven
from .model_stream import ModelStream

if TYPE_CHECKING:
    from typing_extensions import Self  # only for the type checker, which has it

    from .lstm import LSTM

__all__ = ["Stream"]


class Stream(ModelStream):
    """One session of an LSTM, made by `LSTM.stream()`: a `ModelStream` whose state is (h, c).

    Its output is a function of the weights, its own inputs since its own reset, and nothing else.
    A call that raises one of the errors it names has changed nothing, and an exception of a signal
    handler finds it done wholly or not at all. A stream belongs to one thread at a time: a second
    caller gets `ConcurrentUseError`. After a fork it goes on in the child; where another thread was
    stepping it at that moment, each call there raises `ForkedError` until it is reset or given a
    state (docs/forks.md).

    Sizes: I is input_size, H is hidden_size, P is output_size (H, or proj_size where there is a
    projection), L is num_layers, T is any number of steps.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> stream = LSTM.random(3, 4).stream()
        >>> frames = np.linspace(-1, 1, 15, dtype=np.float32).reshape(5, 3)
        >>> ys = stream.run(frames)
        >>> saved = stream.state
        >>> stream.reset()
        >>> all((stream.step(x) == y).all() for x, y in zip(frames, ys))  # the same bits
        True
        >>> bool((stream.state.c == saved.c).all())
        True
    """

    __slots__ = ()

    _model: LSTM

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Refuse to make what only an LSTM can."""
        if cls is Stream:
            raise TypeError(_call_instead.of_session("Stream", "stream", args, options))
        return super().__new__(cls)

    @property
    def lstm(self) -> LSTM:
        """The LSTM that this is a stream of."""
        return self._model

    @property
    def model(self) -> LSTM:
        """The same under the name that it has in `ModelStream`."""
        return self._model

    def step(self, x: Any, out: Any = None) -> Float32:
        """Advance by one frame.

        Args:
            x: the frame, shape (I,). A C-contiguous float32 array is used as it is; other real
                dtypes, lists and strided views are converted. NaN and infinities are allowed: they
                spoil this stream until its reset, and no other. {"x": frame} is the same.
            out: where to write the result, a C-contiguous float32 array of shape (P,) that shares
                no memory with x, or {"y": such an array}; None makes a new one. With float32 x and
                out nothing is allocated.

        Returns:
            The last layer's h, shape (P,), float32: `out` where it was given.

        Raises:
            TypeError: x has no real dtype, or out is not a float32 array.
            ValueError: x or out has the wrong shape; out is strided, read-only or overlaps x.
            ConcurrentUseError: another thread is using this stream.
        """
        if is_mapping(x) or is_mapping(out):
            return super().step(x, out)  # type: ignore[return-value]  # out, where it is a mapping
        lstm = self._model
        frame = to_float32(x, "x", (lstm.input_size,), "this LSTM takes %s per step")
        result = check_out(out, (lstm.output_size,), x, frame, "x")
        self._advance([frame[None]], 1, [result[None]])
        return result

    def run(self, xs: Any, out: Any = None) -> Float32:
        """Advance by T frames: the same bits as T calls of `step`.

        In the main thread signal handlers have a turn every few milliseconds. Where one raises, as
        Ctrl-C's does, the state is as it was before; what is in `out` is then undefined.

        Args:
            xs: the frames, shape (T, I); T may be 0. Converted as by `step`.
            out: where to write, shape (T, P), as for `step`.

        Returns:
            The last layer's h after each step, shape (T, P), float32.

        Raises:
            TypeError, ValueError, ConcurrentUseError: as `step`.
        """
        if is_mapping(xs) or is_mapping(out):
            return super().run(xs, out)  # type: ignore[return-value]
        lstm = self._model
        frames = to_float32(xs, "xs", (None, lstm.input_size), "this LSTM takes %s")
        result = check_out(out, (len(frames), lstm.output_size), xs, frames, "xs")
        self._advance([frames], len(frames), [result])
        return result

    @property
    def state(self) -> LSTMState:
        """The state (h, c), copies of shapes (L, P) and (L, H); assign a pair to continue from it.

        A mapping by the names of `LSTM.states` will do, too.

        Assigning converts to float32 and makes values canonical, as the arithmetic does: a
        magnitude below 2**-126 becomes a zero of its sign, and any NaN the one NaN. So what is
        read here is exactly what continues, and assigning what was read changes nothing.

        Raises:
            TypeError: assigned is not a pair, or its values are not real numbers.
            ValueError: h or c has the wrong shape; or of a mapping a name is missing or unknown.
            ConcurrentUseError: another thread is using this stream.
        """
        state = self._model._empty_state()
        self._read_states(state)
        return state

    @state.setter
    def state(self, state: StateGiven) -> None:
        self._write_states(self._model._to_state(state))

    def __repr__(self) -> str:
        return f"<Stream of {self._model!r}>"


def _restore(lstm: LSTM, state: LSTMState) -> Stream:
    """Return what a stream was that an earlier version pickled."""
    return lstm.stream(state)
