"""One session of a whole model: its state, and the calls that advance it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ._backends._alone import Alone
from ._frames import Array, Values, by_name, check_outs, to_steps, to_value
from .errors import ConcurrentUseError
from .stream import IN_USE

if TYPE_CHECKING:
    from .model import Model

__all__ = ["ModelStream"]


class ModelStream:
    """One session of a `Model`, made by `Model.stream()`.

    Its output is a function of the model, its own inputs since its own reset, and nothing else. A
    call that raises one of the errors it names has changed nothing. A stream belongs to one thread
    at a time: a second caller gets `ConcurrentUseError`.
    """

    __slots__ = ("__weakref__", "_alone", "_kept", "_model")

    def __init__(self, model: Model) -> None:
        if not hasattr(model, "_core"):
            raise TypeError("a ModelStream is made by its Model: call model.stream()")
        self._model = model
        self._alone = Alone()
        self._kept = model._core.initial  # replaced as a whole, never written to

    @property
    def model(self) -> Model:
        """The model that this is a stream of."""
        return self._model

    def step(self, x: Any, out: Any = None) -> Values:
        """Advance by one frame.

        Args:
            x: the value of the only input, of the shape and kind that `model.inputs` says; or a
                mapping of names to values, which it must be where there are several inputs. Real
                numbers are converted to float32, integers to int64. NaN and infinities are allowed:
                they spoil this stream until its reset, and no other.
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
        frames = to_steps(x, model.inputs, many=False)
        results = check_outs(out, model.outputs, (), x)
        with self._alone():
            before = self._kept
            outputs, kept = model._core.step(before, frames)
            for result, value in zip(results, outputs, strict=True):
                result[...] = value
            self._finish(before, kept)
        return self._returned(out, results)

    def run(self, xs: Any, out: Any = None) -> Values:
        """Advance by T frames: the same bits as T calls of `step`.

        Where a signal handler raises, as Ctrl-C's does, the state is as it was before; what is in
        `out` means nothing then.

        Args:
            xs: as x of `step`, with an axis of T steps in front of every input; T may be 0.
            out: as of `step`, with T in front of every output.

        Returns:
            As `step`, with T in front of every output.

        Raises:
            TypeError, ValueError, ConcurrentUseError: as `step`; and the inputs differ in T.
        """
        model = self._model
        frames = to_steps(xs, model.inputs, many=True)
        steps = len(frames[0])
        results = check_outs(out, model.outputs, (steps,), xs)
        rows: list[list[Array]] = []
        with self._alone():
            before = kept = self._kept
            for t in range(steps):
                outputs, kept = model._core.step(kept, [frame[t] for frame in frames])
                rows.append(outputs)
            for t, outputs in enumerate(rows):
                for result, value in zip(results, outputs, strict=True):
                    result[t] = value
            self._finish(before, kept)
        return self._returned(out, results)

    def _finish(self, before: Any, kept: Any) -> None:
        if self._kept is not before:  # a signal handler of this thread was here
            raise ConcurrentUseError(IN_USE)
        self._kept = kept

    def _returned(self, out: Any, results: list[Array]) -> Values:
        if out is not None:
            values: Values = out
            return values
        names = self._model.outputs
        return results[0] if len(results) == 1 else dict(zip(names, results, strict=True))

    def reset(self, state: Mapping[str, Any] | None = None) -> None:
        """Go back to the start, or to `state`: exactly what a fresh `model.stream(state)` is.

        Raises:
            TypeError, ValueError, ConcurrentUseError: as the `state` setter.
        """
        if state is not None:
            self.state = state
            return
        with self._alone():
            self._kept = self._model._core.initial

    def prepare(self) -> None:
        """Do nothing: this backend can do nothing of a step before its frame is there.

        Raises:
            ConcurrentUseError: another thread is using this stream.
        """
        with self._alone():
            pass

    @property
    def state(self) -> dict[str, Array]:
        """The state by name, copies; assign such a mapping to continue from it.

        The names, shapes and kinds are those of `model.states`. What an input with history keeps is
        called `NAME.history`. Assigning converts to float32 and makes values canonical (a magnitude
        below 2**-126 becomes a zero of its sign, any NaN the one NaN), so assigning what was read
        changes nothing. A model without state has an empty mapping.

        Raises:
            TypeError: assigned is no mapping, or its values are not of their kind.
            ValueError: a name is missing or unknown, or a shape does not fit.
            ConcurrentUseError: another thread is using this stream.
        """
        with self._alone():
            kept = self._kept
        return {name: value.copy() for name, value in zip(self._model.states, kept, strict=True)}

    @state.setter
    def state(self, state: Mapping[str, Any]) -> None:
        if not isinstance(state, Mapping):
            raise TypeError(
                f"state must be a mapping such as stream.state, found {type(state).__name__}"
            )
        states = self._model.states
        values = by_name(state, [*states], "state")
        kept = tuple(
            to_value(value, f"state {name!r}", tensor)
            for value, (name, tensor) in zip(values, states.items(), strict=True)
        )
        with self._alone():
            self._kept = kept

    @property
    def is_finite(self) -> bool:
        """Whether no value of the state is NaN or infinite.

        Raises:
            ConcurrentUseError: another thread is using this stream.
        """
        return all(bool(np.isfinite(value).all()) for value in self.state.values())

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


def _restore(model: Model, state: dict[str, Array]) -> ModelStream:
    return model.stream(state)
