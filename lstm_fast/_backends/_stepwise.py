"""Sessions of backends that compute one step of a model as a function, in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from numpy.typing import NDArray

from .._arrays import canonical
from ..errors import ConcurrentUseError
from ..model_stream import IN_USE
from ._alone import Alone
from ._pool_of_streams import PooledStream

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


class StepwiseStream(PooledStream):
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
