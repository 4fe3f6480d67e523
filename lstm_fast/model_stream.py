"""One session of a whole model: its state, and the calls that advance it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ._frames import Array, State, StateGiven, Values, check_outs, is_finite, returned, to_steps

if TYPE_CHECKING:
    from typing_extensions import Self  # only for the type checker, which has it

    from .model import Model
    from .snapshots import Snapshot

__all__ = ["ModelStream"]

IN_USE = "another thread is using this stream; give each thread or session a stream of its own"

FORKED = (
    "this process was forked while another thread of its parent was inside a call on this stream, "
    "whose state is half of a step here: reset it, or give it a state or a snapshot"
)


class ModelStream(ABC):
    """One session of a `Model`, made by `Model.stream()`; of an LSTM it is a `Stream`.

    Its output is a function of the model, its own inputs since its own reset, and nothing else. A
    call that raises one of the errors it names has changed nothing, and an exception of a signal
    handler finds it done wholly or not at all. A stream belongs to one thread at a time: a second
    caller gets `ConcurrentUseError`. After a fork it goes on in the child; where another thread was
    stepping it at that moment, each call there raises `ForkedError` until it is reset or given a
    state (docs/forks.md).

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM, Model
        >>> model = Model.from_program(LSTM.random(3, 4).program)
        >>> stream = model.stream()
        >>> y = stream.step({"x": np.ones(3, np.float32)})  # by name, or the array alone
        >>> data = stream.snapshot()
        >>> again = model.stream()
        >>> again.restore(data)
        >>> bool((again.step(np.ones(3)) == stream.step(np.ones(3))).all())
        True
    """

    __slots__ = ()  # a backend's class has them: it may have a second base with fields, in C

    _model: Model

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Refuse to make what only a Model can."""
        if cls is ModelStream:
            raise TypeError("a ModelStream is made by its Model: call model.stream()")
        return super().__new__(cls)

    @property
    def model(self) -> Model:
        """The model that this is a stream of."""
        return self._model

    def step(self, x: Any, out: Any = None) -> Values:
        """Advance by one frame.

        Args:
            x: the value of the only input, of the shape and kind that `model.inputs` says; or a
                mapping of names to values, which it must be where there are several inputs. Real
                numbers are converted to float32, integers to int64; a model of `lstm_fast.vad`
                takes no integers. NaN and infinities are allowed: they spoil this stream until its
                reset, and no other.
            out: where to write, as what is returned: a C-contiguous array, or a mapping of them.

        Returns:
            The value of the only output, of the shape and kind that `model.outputs` says, floats as
            float32; or a dict of names to values where there are several. `out` where it was given.

        Raises:
            TypeError: a value is of another kind, or out has no such arrays.
            ValueError: a shape does not fit; a name is missing or unknown; an index is beyond an
                embedding's table; or out is strided, read-only or overlaps another value.
            ConcurrentUseError: another thread is using this stream.
        """
        model = self._model
        frames = to_steps(x, model, ())
        results = check_outs(out, model.outputs, (), x, frames)
        self._advance([frame[None] for frame in frames], 1, [one[None] for one in results])
        return returned(out, model.outputs, results)

    def run(self, xs: Any, out: Any = None) -> Values:
        """Advance by T frames: the same bits as T calls of `step`.

        In the main thread signal handlers have a turn every few milliseconds. Where one raises, as
        Ctrl-C's does, the state is as it was before; what is in `out` is then undefined, as it
        is where a later step has an index that is beyond a table.

        Args:
            xs: as x of `step`, with an axis of T steps in front of every input; T may be 0.
            out: as of `step`, with T in front of every output.

        Returns:
            As `step`, with T in front of every output.

        Raises:
            TypeError, ValueError, ConcurrentUseError: as `step`; and the inputs differ in T.
        """
        model = self._model
        frames = to_steps(xs, model, (None,))
        steps = len(frames[0])
        results = check_outs(out, model.outputs, (steps,), xs, frames)
        self._advance(frames, steps, results)
        return returned(out, model.outputs, results)

    def reset(self, state: StateGiven | None = None) -> None:
        """Go back to the start, or to `state`: exactly what a fresh `model.stream(state)` is.

        Raises:
            TypeError, ValueError, ConcurrentUseError: as the `state` setter.
        """
        if state is not None:
            self.state = state
            return
        self._restart()

    def prepare(self) -> None:
        """Do what the next step can do before its frame is there: best called when idle.

        That is the recurrent half of every LSTM and GRU layer whose h is a state or a part of one.
        The results are the same bits as without. A step, reset, and assigning or restoring a state
        drop what was prepared; a copy starts without. A model without such a layer, and a backend
        that does no work ahead, do nothing.

        Raises:
            ConcurrentUseError: another thread is using this stream.
        """
        self._prepare()

    @property
    def state(self) -> State:
        """The state by name, copies; assign such a mapping to continue from it.

        The names, shapes and kinds are those of `model.states`. What an input with history keeps is
        called `NAME.history`. Assigning converts to float32 and makes values canonical (a magnitude
        below 2**-126 becomes a zero of its sign, any NaN the one NaN), so assigning what was read
        changes nothing. A model without state has an empty mapping.

        Raises:
            TypeError: assigned is not a mapping, or its values are not of their kind.
            ValueError: a name is missing or unknown, or a shape does not fit.
            ConcurrentUseError: another thread is using this stream.
        """
        model = self._model
        state = model._empty_state()
        self._read_states(model._values(state))
        return state

    @state.setter
    def state(self, state: StateGiven) -> None:
        model = self._model
        self._write_states(model._values(model._to_state(state)))

    @property
    def is_finite(self) -> bool:
        """Whether no value of the state is NaN or infinite.

        A NaN in a frame spoils the state until its reset, and so may an infinity; this says whether
        that has happened. It reads the state, and costs a step nothing.

        Raises:
            ConcurrentUseError: another thread is using this stream.
        """
        return is_finite(self._model._values(self.state))

    def snapshot(self) -> bytes:
        """Return the state as bytes from which a session continues, bit for bit, anywhere.

        They are checksummed, describe themselves and are bound to the program and its types of
        weights: `restore` here, or `ModelPool.restore`, takes them in another process and on
        another CPU. The format is written down in lstm_fast/snapshots.py.

        Raises:
            ConcurrentUseError: another thread is using this stream.
        """
        return self._model._to_snapshot(self.state)

    def restore(self, snapshot: Snapshot) -> None:
        """Continue from where a snapshot was taken, by a stream or a pool of the same model.

        Args:
            snapshot: bytes, bytearray or memoryview; or the file that holds them, as a
                `pathlib.Path` or open in binary mode, which is read from its position. A str is
                refused: it may be a snapshot that was decoded by mistake, and is not a path.

        Raises:
            SnapshotError: it is damaged, was taken of another model, or is in no regular file.
                Nothing has changed.
            TypeError: it is none of these.
            OSError: the file cannot be read.
            ConcurrentUseError: another thread is using this stream.
        """
        self.state = self._model._from_snapshot(snapshot)

    def copy(self) -> ModelStream:
        """Return a new stream that continues from here on its own."""
        return self._model.stream(self.state)

    def __copy__(self) -> ModelStream:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> ModelStream:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (self._model, self.state)

    def __repr__(self) -> str:
        return f"<ModelStream of {self._model!r}>"

    # What a backend provides, on arrays that are checked: C-contiguous, of their dtype and shape.
    # Floats among those that are given may be anything; what is kept and returned is canonical.
    # A state is a list of arrays, in the order of the states; of an LSTM it is h and c.

    @abstractmethod
    def _advance(self, frames: Sequence[Array], steps: int, results: Sequence[Array]) -> None:
        """Take the steps of each input's frames (T, ...) and write each output's (T, ...).

        Where it raises, no state has changed.

        Raises:
            ValueError: an index is beyond an embedding's table.
        """

    @abstractmethod
    def _read_states(self, values: Sequence[Array]) -> None:
        """Write what the session keeps into arrays of their shapes."""

    @abstractmethod
    def _write_states(self, values: Sequence[Array]) -> None:
        """Take what the session is to keep, and drop what was prepared."""

    @abstractmethod
    def _restart(self) -> None:
        """Go back to the start."""

    @abstractmethod
    def _prepare(self) -> None:
        """Do ahead what can be done of the next step; nothing is fine, too."""


def _restore(model: Model, state: State) -> ModelStream:
    return model.stream(state)
