"""Sessions of backends that compute one step of a model as a function, in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._arrays import canonical
from .._handles import Handles
from ..errors import ConcurrentUseError
from ..model_pool import ModelPool
from ..model_stream import ModelStream
from ..stream import IN_USE
from ._alone import Alone
from ._pool_of_streams import SessionsOfStreams

if TYPE_CHECKING:
    from ..model import Model

Array: TypeAlias = NDArray[Any]
Kept: TypeAlias = tuple[Array, ...]  # states in the program's order, then histories in the inputs'


class StepwiseCore(Protocol):
    """A program whose step is a function."""

    @property
    def initial(self) -> Kept: ...

    def step(self, kept: Kept, frames: Sequence[Array]) -> tuple[Sequence[Array], Kept]:
        """Take one step; nothing that is given is written to.

        Args:
            kept: what a session keeps.
            frames: a value for each input, of the shape and dtype that the program says, floats
                canonical.

        Returns:
            A value for each output, and what the session keeps from now on.

        Raises:
            ValueError: an index is beyond an embedding's table.
        """
        ...


def owned(value: Array) -> Array:
    """Return a copy of a value, canonical where it holds floats."""
    return canonical(value) if value.dtype.kind == "f" else value.copy()


class StepwiseStream(ModelStream):
    """A stream whose state is a tuple of arrays."""

    __slots__ = ("__weakref__", "_alone", "_core", "_kept", "_model")

    def __init__(self, model: Model, core: StepwiseCore) -> None:
        self._model = model
        self._core = core
        self._alone = Alone()
        self._kept = core.initial  # replaced as a whole, never written to

    def _advance(self, frames: Sequence[Array], steps: int, results: Sequence[Array]) -> None:
        values = [owned(frame) for frame in frames]
        rows: list[Sequence[Array]] = []
        with self._alone():
            before = kept = self._kept
            for t in range(steps):
                outputs, kept = self._core.step(kept, [value[t] for value in values])
                rows.append(outputs)
            for t, outputs in enumerate(rows):
                for result, value in zip(results, outputs, strict=True):
                    result[t] = value
            if self._kept is not before:  # a signal handler of this thread was here
                raise ConcurrentUseError(IN_USE)
            self._kept = kept

    def _read_states(self, values: Sequence[Array]) -> None:
        with self._alone():
            kept = self._kept
        for target, value in zip(values, kept, strict=True):
            target[...] = value

    def _write_states(self, values: Sequence[Array]) -> None:
        kept = tuple(map(owned, values))
        with self._alone():
            self._kept = kept

    def _restart(self) -> None:
        with self._alone():
            self._kept = self._core.initial

    def _prepare(self) -> None:
        with self._alone():
            pass

    def _keep(self) -> Kept:
        return self._kept

    def _put_back(self, kept: Kept) -> None:
        self._kept = kept


class StepwisePool(
    SessionsOfStreams[dict[str, Array], Mapping[str, Any], StepwiseStream], ModelPool
):
    """A pool of streams whose states are tuples of arrays."""

    __slots__ = ("_core", "_model")

    def __init__(self, model: Model, core: StepwiseCore, capacity: int, prepared: int) -> None:
        super().__init__(capacity, prepared)
        self._model = model
        self._core = core

    def _state_bytes(self) -> int:
        return sum(value.nbytes for value in self._core.initial)

    def _begin(self) -> StepwiseStream:
        return StepwiseStream(self._model, self._core)

    def _read(self, stream: StepwiseStream, state: dict[str, Array]) -> None:
        stream._read_states([*state.values()])

    def _write(self, stream: StepwiseStream, state: dict[str, Array]) -> None:
        stream._write_states([*state.values()])

    def _run(
        self,
        handles: Handles,
        steps: int,
        lengths: NDArray[np.uint64] | None,
        frames: Sequence[Array],
        results: Sequence[Array],
    ) -> None:
        def run(stream: StepwiseStream, n: int, length: int) -> None:
            own = [result[n, :length] for result in results]
            stream._advance([frame[n, :length] for frame in frames], length, own)
            for result in results:
                result[n, length:] = 0

        self._run_each(handles, steps, lengths, run)
