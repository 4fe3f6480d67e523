"""Many sessions of a whole model, stepped together over one pass of the weights."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import snapshots
from ._arguments import to_lengths
from ._frames import Array, Values, check_outs, empty, is_finite, returned, to_state, to_steps
from ._handles import Handles, to_handles
from ._session_pool import SessionPool

if TYPE_CHECKING:
    from .model import Model

__all__ = ["ModelPool"]


class ModelPool(SessionPool[dict[str, Array], Mapping[str, Any]]):
    """Sessions of one model that are stepped together, made by `Model.pool()`.

    What `StreamPool` says of an LSTM's sessions holds for these: each has the same bits as a
    `ModelStream` of its own, whoever else is in a call; a call that raises has changed nothing, for
    any of them; and threads may call at the same time as long as no two use the same session.

    Sizes: n is the sessions in a call, T steps. A state is a mapping such as `ModelStream.state`.
    """

    __slots__ = ()  # a backend's class has them

    _model: Model

    def __new__(cls, *args: Any, **options: Any) -> ModelPool:
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
            TypeError, ValueError: as `ModelStream.step`; handles are no integers, or one of them
                stands twice.
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
        Ctrl-C's does, every state is as it was before; what is in `out` means nothing then.

        Args:
            handles: as for `step`.
            xs: as x of `ModelStream.step`, with n and T in front of every input.
            lengths: how many of the T frames are a session's own, shape (n,), 0 to T each; None:
                all.
            out: as for `step`, with n and T in front of every output.

        Returns:
            As `step`, with n and T in front of every output; zeros beyond the lengths.

        Raises:
            As `step`; also TypeError and ValueError for lengths that are no integers or do not fit.
        """
        model, keys = self._model, to_handles(handles)
        frames = to_steps(xs, model, (len(keys), None))
        steps = frames[0].shape[1]
        own = None if lengths is None else to_lengths(lengths, len(keys), steps, "handle")
        results = check_outs(out, model.outputs, (len(keys), steps), xs, frames)
        self._run(keys, steps, own, frames, results)
        return returned(out, model.outputs, results)

    def __repr__(self) -> str:
        return f"<ModelPool of {self._model!r}: {len(self)} of {self.capacity} open>"

    def _start(self) -> dict[str, Array]:
        return self._model.stream().state

    def _empty_state(self) -> dict[str, Array]:
        states = self._model.states
        return dict(zip(states, empty(states), strict=True))

    def _to_state(self, state: Mapping[str, Any]) -> dict[str, Array]:
        states = self._model.states
        return dict(zip(states, to_state(state, states), strict=True))

    def _is_finite(self, state: dict[str, Array]) -> bool:
        return is_finite(state.values())

    def _pack(self, state: dict[str, Array]) -> bytes:
        return snapshots.pack_model(self._model, state)

    def _unpack(self, snapshot: bytes) -> Mapping[str, Any]:
        return snapshots.unpack_model(self._model, snapshot)

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
