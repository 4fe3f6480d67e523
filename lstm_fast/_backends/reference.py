"""The reference as a backend: float64 inside a step, float32 state between steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import reference
from .._arrays import Float32, canonical
from .._weights import Weights
from ..stream import ArrayStream

if TYPE_CHECKING:
    from ..lstm import LSTM

name = "reference"


def isas() -> dict[str, list[str]]:
    """Return nothing: there is no choice."""
    return {}


def build(weights: Weights, isa: str | None) -> ReferenceModel:
    """Keep the weights, in float64."""
    return ReferenceModel(weights)


class ReferenceModel:
    """The weights as the equations want them."""

    isa = None

    def __init__(self, weights: Weights) -> None:
        self.layers = [
            [
                None if value is None else value.astype(np.float64)
                for value in (layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh)
            ]
            for layer in weights.layers
        ]

    @property
    def nbytes(self) -> int:
        return sum(value.nbytes for layer in self.layers for value in layer if value is not None)

    def stream(self, lstm: LSTM) -> ReferenceStream:
        return ReferenceStream(lstm, self)


class ReferenceStream(ArrayStream):
    """A stream that calls `reference.cell` per layer and step."""

    __slots__ = ("_model",)

    def __init__(self, lstm: LSTM, model: ReferenceModel) -> None:
        super().__init__(lstm)
        self._model = model

    def _compute(self, xs: Float32, ys: Float32) -> None:
        h, c = self._h.copy(), self._c.copy()  # an interrupt must not leave half a run behind
        with np.errstate(all="ignore"):  # infinities and NaN are allowed, and contained
            for t, x in enumerate(canonical(xs)):
                below = x
                for n, (w_ih, w_hh, b_ih, b_hh) in enumerate(self._model.layers):
                    assert w_ih is not None
                    assert w_hh is not None
                    h_new, c_new = reference.cell(below, h[n], c[n], w_ih, w_hh, b_ih, b_hh)
                    h[n] = canonical(h_new.astype(np.float32))
                    c[n] = canonical(c_new.astype(np.float32))
                    below = h[n]
                ys[t] = h[-1]
        self._h, self._c = h, c
