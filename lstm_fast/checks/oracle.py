"""The equations in float64 along a sequence, for any variant: what everything is compared with."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from .. import reference
from .._backends.reference import option_of
from .._weights import LayerWeights, Weights
from ..lstm import LSTM
from ._near import Float64
from .bounds import initial
from .target import Target

__all__ = ["Oracle", "Reference", "as_reference", "as_weights", "reference_for"]


@dataclass(frozen=True)
class Reference:
    """The LSTM that a target should be.

    origin: Python that makes it again, with `reference` as the name, for reproductions; None where
    it did not come from a file.
    """

    weights: Weights
    origin: str | None = None


def as_reference(value: Any, name: str | None = None) -> Reference:
    """Return a reference with its origin: see `as_weights`, which raises the same."""
    if isinstance(value, Reference):
        return value
    weights, origin = as_weights(value, name), None
    if isinstance(value, (str, os.PathLike)):
        file = os.fspath(value)
        origin = f"reference = {file!r}"
        if name is not None:
            load = "from lstm_fast.checks.oracle import as_weights"
            origin = f"{load}\n\nreference = as_weights({file!r}, {name!r})"
    return Reference(weights, origin)


def reference_for(target: Target, value: Any) -> Reference:
    """Return a reference for a target.

    Raises:
        ValueError: it takes other frames than the target; and what `as_weights` raises.
    """
    wanted = as_reference(value)
    if wanted.weights.input_size != target.input_size:
        raise ValueError(
            f"the reference takes {wanted.weights.input_size} values per frame, {target.name} "
            f"takes {target.input_size}"
        )
    return wanted


def as_weights(value: Any, name: str | None = None) -> Weights:
    """Return the weights of a reference: an LSTM, its weights, a state dict, a file, or a module.

    name: which LSTM, where a file has several.

    Raises:
        OSError, FormatError: the file can't be read.
        TypeError: it is none of these.
        ValueError: it does not run forward, so it can't be stepped.
    """
    if isinstance(value, Reference):
        value = value.weights
    if isinstance(value, (str, os.PathLike)):
        from .. import formats

        value = formats.pick(value, formats.read(value), name).weights
    elif isinstance(value, LSTM):
        value = value.weights
    elif isinstance(value, Mapping):
        value = LSTM.from_state_dict(value).weights
    elif not isinstance(value, Weights) and hasattr(value, "state_dict"):
        from .. import formats
        from ..formats import pytorch

        value = formats.pick(type(value).__name__, pytorch.from_module(value), name).weights
    if not isinstance(value, Weights):
        raise TypeError(
            "a reference is an LSTM, its weights, a state dict, a torch module or a file, found "
            f"{type(value).__name__}"
        )
    if value.direction != "forward":
        raise ValueError(f"the reference is {value.direction}: it can't be stepped frame by frame")
    return value


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
