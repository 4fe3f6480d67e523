"""One session: its state, and the calls that advance it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from . import _call_instead, snapshots
from ._arguments import check_out, to_float32, to_state
from ._arrays import Float32, LSTMState, StateLike

if TYPE_CHECKING:
    from .lstm import LSTM

IN_USE = "another thread is using this stream; give each thread or session a stream of its own"

FORKED = (
    "this process was forked while another thread of its parent was inside a call on this stream, "
    "whose state is half of a step here: reset it, or give it a state or a snapshot"
)


class Stream(ABC):
    """One session of an LSTM, made by `LSTM.stream()`.

    Its output is a function of the weights, its own inputs since its own reset, and nothing else.
    A call that raises one of the errors it names has changed nothing, and an exception of a signal
    handler finds it done wholly or not at all. A stream belongs to one thread at a time: a second
    caller gets `ConcurrentUseError`. After a fork it goes on in the child; where another thread was
    stepping it at that moment, each call there raises `ForkedError` until it is reset or given a
    state (docs/forks.md).

    Sizes: I is input_size, H is hidden_size, P is output_size (H, or proj_size where there is a
    projection), L is num_layers, T is any number of steps.
    """

    __slots__ = ()  # a backend's class has them: it may have a second base with fields, in C

    _lstm: LSTM

    def __new__(cls, *args: Any, **options: Any) -> Stream:
        """Refuse to make what only an LSTM can."""
        if cls is Stream:
            raise TypeError(_call_instead.of_session("Stream", "stream", args, options))
        return super().__new__(cls)

    @property
    def lstm(self) -> LSTM:
        """The LSTM that this is a stream of."""
        return self._lstm

    @property
    def model(self) -> LSTM:
        """The same under the name that it has in `ModelStream`."""
        return self._lstm

    def step(self, x: Any, out: Float32 | None = None) -> Float32:
        """Advance by one frame.

        Args:
            x: the frame, shape (I,). A C-contiguous float32 array is used as it is; other real
                dtypes, lists and strided views are converted. NaN and infinities are allowed: they
                spoil this stream until its reset, and no other.
            out: where to write the result, a C-contiguous float32 array of shape (P,) that shares
                no memory with x; None makes a new one. With float32 x and out nothing is allocated.

        Returns:
            The last layer's h, shape (P,), float32: `out` where it was given.

        Raises:
            TypeError: x has no real dtype, or out is no float32 array.
            ValueError: x or out has the wrong shape; out is strided, read-only or overlaps x.
            ConcurrentUseError: another thread is using this stream.
        """
        lstm = self._lstm
        frame = to_float32(x, "x", (lstm.input_size,), "this LSTM takes %s per step")
        result = check_out(out, (lstm.output_size,), x, frame, "x")
        self._advance(frame.reshape(1, -1), result.reshape(1, -1))
        return result

    def run(self, xs: Any, out: Float32 | None = None) -> Float32:
        """Advance by T frames: the same bits as T calls of `step`.

        In the main thread signal handlers have a turn every few milliseconds. Where one raises, as
        Ctrl-C's does, the state is as it was before; what is in `out` means nothing then.

        Args:
            xs: the frames, shape (T, I); T may be 0. Converted as by `step`.
            out: where to write, shape (T, P), as for `step`.

        Returns:
            The last layer's h after each step, shape (T, P), float32.

        Raises:
            TypeError, ValueError, ConcurrentUseError: as `step`.
        """
        lstm = self._lstm
        frames = to_float32(xs, "xs", (None, lstm.input_size), "this LSTM takes %s")
        result = check_out(out, (len(frames), lstm.output_size), xs, frames, "xs")
        self._advance(frames, result)
        return result

    def reset(self, state: StateLike | None = None) -> None:
        """Go back to the start, or to `state`: exactly what a fresh `lstm.stream(state)` is.

        Args:
            state: a pair (h, c) of shapes (L, P) and (L, H), or None for `lstm.initial_state`:
                zeros, unless it was trained.

        Raises:
            TypeError, ValueError, ConcurrentUseError: as the `state` setter.
        """
        self.state = self._lstm.initial_state if state is None else state

    def prepare(self) -> None:
        """Do what the next step can do before its frame is there: best called when idle.

        That is the recurrent half of every layer's sums, which leaves about half the time for the
        step itself, and asking the cache for the weights that are left. The results are the same
        bits as without. Reset and assigning a state drop what was prepared; a copy starts without.

        Raises:
            ConcurrentUseError: another thread is using this stream.
        """
        self._prepare()

    @property
    def state(self) -> LSTMState:
        """The state (h, c), copies of shapes (L, P) and (L, H); assign a pair to continue from it.

        Assigning converts to float32 and makes values canonical, as the arithmetic does: a
        magnitude below 2**-126 becomes a zero of its sign, and any NaN the one NaN. So what is
        read here is exactly what continues, and assigning what was read changes nothing.

        Raises:
            TypeError: assigned is no pair, or its values are not real numbers.
            ValueError: h or c has the wrong shape.
            ConcurrentUseError: another thread is using this stream.
        """
        lstm = self._lstm
        state = LSTMState.empty(lstm.num_layers, lstm.output_size, lstm.hidden_size)
        self._read_state(state)
        return state

    @state.setter
    def state(self, state: StateLike) -> None:
        lstm = self._lstm
        self._write_state(to_state(state, lstm.num_layers, lstm.output_size, lstm.hidden_size))

    @property
    def is_finite(self) -> bool:
        """Whether no value of the state is NaN or infinite.

        A NaN in a frame spoils the state until its reset, and so may an infinity; this says whether
        that has happened. It reads the state, and costs a step nothing.

        Raises:
            ConcurrentUseError: another thread is using this stream.
        """
        return self.state.is_finite

    def snapshot(self) -> bytes:
        """Return the state as bytes from which a session continues, bit for bit, anywhere.

        They are checksummed, describe themselves and are bound to the weights: `restore` here, or
        `StreamPool.restore`, takes them in another process and on another CPU. The format is
        written down in lstm_fast/snapshots.py.

        Raises:
            ConcurrentUseError: another thread is using this stream.
        """
        return snapshots.pack(self._lstm, self.state)

    def restore(self, snapshot: bytes) -> None:
        """Continue from where a snapshot was taken, by a stream or a pool of the same weights.

        Raises:
            SnapshotError: it is damaged, or was taken with other weights. Nothing has changed.
            TypeError: it is no bytes.
            ConcurrentUseError: another thread is using this stream.
        """
        self.state = snapshots.unpack(self._lstm, snapshot)

    def copy(self) -> Stream:
        """Return a new stream that continues from here on its own."""
        return self._lstm.stream(self.state)

    def __copy__(self) -> Stream:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> Stream:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._lstm, self.state)

    def __repr__(self) -> str:
        return f"<Stream of {self._lstm!r}>"

    # What a backend provides, on arrays that are checked.

    @abstractmethod
    def _advance(self, xs: Float32, ys: Float32) -> None:
        """Take the steps xs (T, I) and write ys (T, P), or change nothing and raise."""

    @abstractmethod
    def _read_state(self, state: LSTMState) -> None:
        """Write h and c into these arrays of shapes (L, P) and (L, H)."""

    @abstractmethod
    def _write_state(self, state: LSTMState) -> None:
        """Take h and c, of shapes (L, P) and (L, H), canonical, and drop what was prepared."""

    @abstractmethod
    def _prepare(self) -> None:
        """Do ahead what can be done of the next step; nothing is fine, too."""


def _restore(lstm: LSTM, state: LSTMState) -> Stream:
    return lstm.stream(state)
