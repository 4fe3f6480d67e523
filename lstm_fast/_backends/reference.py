"""The reference as a backend: float64 inside a step, float32 state between steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import reference
from .._arrays import Float32, LSTMState, canonical
from .._weights import LayerWeights, Weights
from ..errors import ConcurrentUseError
from ..stream import IN_USE, Stream
from ._pool_of_streams import PoolOfStreams

if TYPE_CHECKING:
    from ..lstm import LSTM

name = "reference"
HidCell = tuple[NDArray[np.float64], NDArray[np.float64]]


def isas() -> dict[str, list[str]]:
    """Return nothing: there is no choice."""
    return {}


def build(weights: Weights, isa: str | None, weight_dtype: str) -> ReferenceModel:
    """Keep the weights in float64, rounded as weight_dtype wants them."""
    layer = {"float32": FloatLayer, "float16": Float16Layer, "int8": Int8Layer}[weight_dtype]
    return ReferenceModel([layer(one) for one in weights.layers])


class FloatLayer:
    """Float weights."""

    def __init__(self, weights: LayerWeights) -> None:
        zeros = np.zeros(len(weights.weight_hh))
        self.w_ih, self.w_hh = self.rounded(weights.weight_ih), self.rounded(weights.weight_hh)
        self.b_ih = zeros if weights.bias_ih is None else weights.bias_ih.astype(np.float64)
        self.b_hh = zeros if weights.bias_hh is None else weights.bias_hh.astype(np.float64)
        self.nbytes = self.w_ih.nbytes + self.w_hh.nbytes + self.b_ih.nbytes + self.b_hh.nbytes

    @staticmethod
    def rounded(weight: Float32) -> NDArray[np.float64]:
        return weight.astype(np.float64)

    def step(self, below: Float32, h: Float32, c: Float32, *, x_is_hidden: bool) -> HidCell:
        return reference.cell(below, h, c, self.w_ih, self.w_hh, self.b_ih, self.b_hh)


class Float16Layer(FloatLayer):
    """Weights that were rounded to float16."""

    @staticmethod
    def rounded(weight: Float32) -> NDArray[np.float64]:
        return weight.astype(np.float16).astype(np.float64)


class Int8Layer(FloatLayer):
    """Weights in whole numbers with a scale per row, and operands in whole numbers, too."""

    def __init__(self, weights: LayerWeights) -> None:
        super().__init__(weights)
        self.rows_ih = reference.quantise_rows(weights.weight_ih)
        self.rows_hh = reference.quantise_rows(weights.weight_hh)

    def step(self, below: Float32, h: Float32, c: Float32, *, x_is_hidden: bool) -> HidCell:
        quantise = reference.quantise_hidden if x_is_hidden else reference.quantise_frame
        x, hidden = quantise(below), reference.quantise_hidden(h)
        return reference.cell_int8(x, hidden, c, self.rows_ih, self.rows_hh, self.b_ih + self.b_hh)


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

    def pool(self, lstm: LSTM, capacity: int, prepared: int, threads: int) -> PoolOfStreams:
        return PoolOfStreams(lstm, capacity, prepared)


class ReferenceStream(Stream):
    """A stream that takes the reference's step, layer by layer. Has nothing to prepare."""

    __slots__ = ("_c", "_h", "_model", "_owner")

    def __init__(self, lstm: LSTM, model: ReferenceModel) -> None:
        super().__init__(lstm)
        self._model = model
        self._h = np.zeros((lstm.num_layers, lstm.hidden_size), np.float32)
        self._c = np.zeros_like(self._h)
        self._owner: dict[str, int] = {}

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Refuse a second thread.

        Not a lock: one that a signal handler's exception left locked would stay so, while this
        thread's own mark does it no harm. setdefault is one step that no thread can come between.
        """
        if self._owner.setdefault("thread", get_ident()) != get_ident():
            raise ConcurrentUseError(IN_USE)
        try:
            yield
        finally:
            self._owner.clear()

    def _advance(self, xs: Float32, ys: Float32) -> None:
        with (
            self._alone(),
            np.errstate(all="ignore"),
        ):  # what is not finite is allowed, and contained
            h, c = self._h.copy(), self._c.copy()  # an interrupt must not leave half a run behind
            for t, x in enumerate(canonical(xs)):
                below = x
                for n, layer in enumerate(self._model.layers):
                    h_new, c_new = layer.step(below, h[n], c[n], x_is_hidden=n > 0)
                    h[n] = canonical(h_new.astype(np.float32))
                    c[n] = canonical(c_new.astype(np.float32))
                    below = h[n]
                ys[t] = h[-1]
            self._h, self._c = h, c

    def _prepare(self) -> None:
        with self._alone():
            pass

    def _read_state(self, state: LSTMState) -> None:
        with self._alone():
            state.h[:], state.c[:] = self._h, self._c

    def _write_state(self, state: LSTMState) -> None:
        with self._alone():
            self._h, self._c = canonical(state.h), canonical(state.c)
