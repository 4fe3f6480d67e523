"""The LSTM that a target should be: read from whatever holds one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from .._weights import MATRICES, Weights, check_weight_dtype
from ..lstm import LSTM
from .target import Target

__all__ = ["Reference", "as_reference", "as_weights", "reference_for"]


@dataclass(frozen=True)
class Reference:
    """The LSTM that a target should be.

    weights: float32. weight_dtype: as what the target stores them: "float32", "float16" or, as our
    contract says, "int8". origin: Python that makes the reference again, with `reference` as the
    name, for reproductions; None where there is none.
    """

    weights: Weights
    weight_dtype: str = "float32"
    origin: str | None = None

    @cached_property
    def exact(self) -> Weights:
        """The weights that are computed with; of int8 they are only a part of it."""
        if self.weight_dtype != "float16":
            return self.weights
        layers = [
            replace(
                layer,
                **{
                    kind: value.astype(np.float16).astype(np.float32)
                    for kind in MATRICES
                    if (value := getattr(layer, kind)) is not None
                },
            )
            for layer in self.weights.layers
        ]
        return replace(self.weights, layers=tuple(layers))


def as_reference(
    value: Any,
    name: str | None = None,
    weight_dtype: str | None = None,
    ignore: str | Iterable[str] = (),
) -> Reference:
    """Return a reference of an LSTM, its weights, a state dict, a file, or a module.

    Args:
        value: what holds it.
        name: which LSTM, where a file has several.
        weight_dtype: as what the target stores the weights; None takes that of an `LSTM`, and
            "float32" for all else.
        ignore: patterns of names that are left out of a state dict, a file or a module.

    Raises:
        OSError, FormatError: the file can't be read.
        TypeError: it is none of these.
        ValueError: it does not run forward, so it can't be stepped; weight_dtype is unknown, or
            can't hold these weights.
    """
    if isinstance(value, Reference):
        return value
    weights = as_weights(value, name, ignore)
    dtype = weight_dtype or (value.weight_dtype if isinstance(value, LSTM) else "float32")
    check_weight_dtype(weights, dtype)
    origin = None
    if isinstance(value, (str, os.PathLike)):
        file = os.fspath(value)
        origin = f"reference = {file!r}"
        if name is not None or dtype != "float32" or ignore:
            load = "from lstm_fast.checks.references import as_reference"
            more = f", {ignore if isinstance(ignore, str) else list(ignore)!r}" if ignore else ""
            origin = f"{load}\n\nreference = as_reference({file!r}, {name!r}, {dtype!r}{more})"
    return Reference(weights, dtype, origin)


def reference_for(target: Target, value: Any) -> Reference:
    """Return a reference for a target: see `as_reference`.

    Raises:
        ValueError: it takes other frames than the target; and what `as_reference` raises.
    """
    wanted = as_reference(value)
    if wanted.weights.input_size != target.input_size:
        raise ValueError(
            f"the reference takes {wanted.weights.input_size} values per frame, {target.name} "
            f"takes {target.input_size}"
        )
    return wanted


def as_weights(value: Any, name: str | None = None, ignore: str | Iterable[str] = ()) -> Weights:
    """Return the weights of a reference: an LSTM, its weights, a state dict, a file, or a module.

    name: which LSTM, where a file has several. ignore: see `as_reference`.

    Raises:
        OSError, FormatError: the file can't be read.
        TypeError: it is none of these.
        ValueError: it does not run forward, so it can't be stepped.
    """
    if isinstance(value, Reference):
        value = value.weights
    if isinstance(value, (str, os.PathLike)):
        from .. import formats

        options: dict[str, Any] = {"ignore": ignore} if ignore else {}
        value = formats.pick(value, formats.read(value, **options), name).weights
    elif isinstance(value, LSTM):
        value = value.weights
    elif isinstance(value, Mapping):
        value = LSTM.from_state_dict(value, ignore=ignore).weights
    elif not isinstance(value, Weights) and hasattr(value, "state_dict"):
        from .. import formats
        from ..formats import pytorch

        found = pytorch.from_module(value, ignore=ignore)
        value = formats.pick(type(value).__name__, found, name).weights
    if not isinstance(value, Weights):
        raise TypeError(
            "a reference is an LSTM, its weights, a state dict, a torch module or a file, found "
            f"{type(value).__name__}"
        )
    if value.direction != "forward":
        raise ValueError(f"the reference is {value.direction}: it can't be stepped frame by frame")
    return value
