"""The equations in float64 along a sequence, for any variant: what everything is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any

import numpy as np

from .. import reference
from .._backends._reference_layers import option_of
from .._weights import LayerWeights, Weights
from ._error_arithmetic import Float64
from .bounds import initial

__all__ = ["Oracle"]


class Oracle:
    """One session in float64, from the initial state on. h (L, P) and c (L, H)."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.layers = [_Layer(layer) for layer in weights.layers]
        self.h, self.c = initial(weights)

    def step(self, x: Any) -> Float64:
        """Take one frame (I,) and return the last layer's h (P,)."""
        below = np.asarray(x, np.float64)
        for n, layer in enumerate(self.layers):
            self.h[n], self.c[n] = layer.step(below, self.h[n], self.c[n])
            below = self.h[n]
        return below

    def run(self, xs: Iterable[Any]) -> tuple[Float64, Float64]:
        """Take frames (T, I) and return h (T, L, P) and c (T, L, H) after each."""
        states = [(self.h.copy(), self.c.copy()) for _ in self._steps(xs)]
        hs = np.array([h for h, _ in states]).reshape(-1, *self.h.shape)
        return hs, np.array([c for _, c in states]).reshape(-1, *self.c.shape)

    def _steps(self, xs: Iterable[Any]) -> Iterator[Float64]:
        for x in xs:
            yield self.step(x)


class _Layer:
    """One layer's parameters in float64, made once."""

    def __init__(self, layer: LayerWeights) -> None:
        self.plain = layer.is_plain
        self.parts = {kind: value.astype(np.float64) for kind, value in layer.parameters().items()}
        names = [field.name for field in fields(layer.cell)]
        self.options = {name: option_of(getattr(layer.cell, name)) for name in names}

    def step(self, x: Float64, h: Float64, c: Float64) -> tuple[Float64, Float64]:
        if not self.plain:
            return reference.variant_cell(x, h, c, self.parts, self.options)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return reference.cell(x, h, c, *(self.parts.get(name) for name in names))  # type: ignore[arg-type]
