"""The reference as a backend: float64 inside a step, float32 state between steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._arrays import LSTMState, canonical
from .._frames import Array
from .._weights import Weights
from ..errors import ConcurrentUseError
from ..model_stream import IN_USE
from ..stream import Stream
from ._alone import Alone
from ._pool_of_streams import PooledStream, PoolOfLSTMStreams
from ._reference_layers import Float16Layer, FloatLayer, Int8Layer

if TYPE_CHECKING:
    from .._weight_types import Types
    from ..lstm import LSTM
    from ..program import Program
    from ._reference_model import ReferenceProgram

name = "reference"


def isas() -> dict[str, list[str]]:
    """Return nothing: there is no choice."""
    return {}


def lacks(weights: Weights) -> str:
    """Return nothing: it has every variant."""
    return ""


def build(weights: Weights, isa: str | None, weight_dtype: str) -> ReferenceModel:
    """Keep the weights in float64, rounded as weight_dtype wants them."""
    layer = {"float32": FloatLayer, "float16": Float16Layer, "int8": Int8Layer}[weight_dtype]
    below_bounded = [weights.x_is_bounded, *(one.is_bounded for one in weights.layers)]
    return ReferenceModel(
        [
            layer(one, x_bounded)
            for one, x_bounded in zip(weights.layers, below_bounded, strict=False)
        ]
    )


def build_program(program: Program, data: bytes, types: Types, isa: str | None) -> ReferenceProgram:
    """Keep the constants in float64, rounded as their types want them."""
    from ._reference_model import ReferenceProgram

    return ReferenceProgram(program, types)


class ReferenceModel:
    """The layers as the equations want them."""

    isa = None

    def __init__(self, layers: list[FloatLayer]) -> None:
        self.layers = layers

    @property
    def nbytes(self) -> int:
        return sum(layer.nbytes for layer in self.layers)

    def stream(self, lstm: LSTM) -> ReferenceStream:
        return ReferenceStream(lstm, self)

    def pool(self, lstm: LSTM, capacity: int, prepared: int, threads: int) -> PoolOfLSTMStreams:
        return PoolOfLSTMStreams(lstm, capacity, prepared)


class ReferenceStream(Stream, PooledStream):
    """A stream that takes the reference's step, layer by layer. Has nothing to prepare."""

    __slots__ = ("__weakref__", "_alone", "_core", "_model", "_state")

    def __init__(self, lstm: LSTM, core: ReferenceModel) -> None:
        self._model = lstm
        self._core = core
        self._state = lstm.initial_state  # replaced as a whole, never written to
        self._alone = Alone()

    def _advance(self, frames: Sequence[Array], steps: int, results: Sequence[Array]) -> None:
        (xs,), (ys,) = frames, results
        with (
            self._alone(),
            np.errstate(all="ignore"),
        ):  # what is not finite is allowed, and contained
            before = self._state
            h, c = before.h.copy(), before.c.copy()  # an interrupt leaves no half a run behind
            for t, x in enumerate(canonical(xs)):
                below = x
                for n, layer in enumerate(self._core.layers):
                    h_new, c_new = layer.step(below, h[n], c[n])
                    h[n] = canonical(h_new.astype(np.float32))
                    c[n] = canonical(c_new.astype(np.float32))
                    below = h[n]
                ys[t] = h[-1]
            if self._state is not before:  # a signal handler of this thread was here
                raise ConcurrentUseError(IN_USE)
            self._state = LSTMState(h, c)

    def _prepare(self) -> None:
        with self._alone():
            pass

    def _restart(self) -> None:
        with self._alone():
            self._state = self._model.initial_state

    def _read_states(self, values: Sequence[Array]) -> None:
        with self._alone():
            values[0][...], values[1][...] = self._state

    def _write_states(self, values: Sequence[Array]) -> None:
        with self._alone():
            self._state = LSTMState(*map(canonical, values))

    def _keep(self) -> LSTMState:
        return self._state

    def _put_back(self, kept: LSTMState) -> None:
        self._state = kept
