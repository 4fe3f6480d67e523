"""The layers of an LSTM as the reference keeps them: in float64, or in whole numbers."""

from __future__ import annotations

from itertools import chain
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import reference
from .._arrays import Float32
from .._weights import MATRICES, LayerWeights
from ..cell import Activation

HidCell: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]


class FloatLayer:
    """Float weights; x_bounded says that the input is an h that lives in [-1, 1]."""

    def __init__(self, weights: LayerWeights, x_bounded: bool) -> None:
        self.is_plain, self.is_bounded = weights.is_plain, weights.is_bounded
        self.x_bounded = x_bounded
        self.parts = {
            kind: self.rounded(value) if kind in MATRICES else value.astype(np.float64)
            for kind, value in weights.parameters().items()
        }
        self.options: dict[str, Any] = {
            name: option_of(getattr(weights.cell, name)) for name in weights.cell.__match_args__
        }
        self.nbytes = sum(part.nbytes for part in self.parts.values())

    @staticmethod
    def rounded(weight: Float32) -> NDArray[np.float64]:
        return weight.astype(np.float64)

    def step(self, below: Float32, h: Float32, c: Float32) -> HidCell:
        if self.is_plain:
            w_ih, w_hh = self.parts["weight_ih"], self.parts["weight_hh"]
            b_ih, b_hh = self.parts.get("bias_ih"), self.parts.get("bias_hh")
            return reference.cell(below, h, c, w_ih, w_hh, b_ih, b_hh)
        return reference.variant_cell(below, h, c, self.parts, self.options)


def option_of(value: object) -> object:
    """Write an option as the reference takes it: activations as tuples."""
    if isinstance(value, Activation):
        return (value.name, value.alpha or 0.0, value.beta or 0.0)
    return value


class Float16Layer(FloatLayer):
    """Weights that were rounded to float16."""

    @staticmethod
    def rounded(weight: Float32) -> NDArray[np.float64]:
        return weight.astype(np.float16).astype(np.float64)


class Int8Layer(FloatLayer):
    """Weights in whole numbers with a scale per row, and operands in whole numbers, too."""

    def __init__(self, weights: LayerWeights, x_bounded: bool) -> None:
        super().__init__(weights, x_bounded)
        self.parts = {kind: part for kind, part in self.parts.items() if kind not in MATRICES}
        self.rows = {
            kind: reference.quantise_rows(value)
            for kind, value in weights.parameters().items()
            if kind in MATRICES
        }
        self.bias = self.parts.get("bias_ih", np.zeros(1)) + self.parts.get("bias_hh", np.zeros(1))
        arrays = [*self.parts.values(), self.bias, *chain(*self.rows.values())]
        self.nbytes = sum(array.nbytes for array in arrays)

    def step(self, below: Float32, h: Float32, c: Float32) -> HidCell:
        hidden, frame = reference.quantise_hidden, reference.quantise_frame
        x = (hidden if self.x_bounded else frame)(below)
        old = (hidden if self.is_bounded else frame)(h)
        return reference.variant_cell_int8(
            x, old, c, self.rows, {**self.parts, "bias": self.bias}, self.options
        )
