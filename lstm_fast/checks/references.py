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

__all__ = ["NOT_GIVEN", "NoReference", "Reference", "as_reference", "as_weights", "reference_for"]


@dataclass(frozen=True)
class NoReference:
    """Why there is nothing to compare a target with; on_purpose: because that was asked for."""

    reason: str
    on_purpose: bool = False


COMPUTES_BEFORE = (
    "where the model computes something before its LSTM, that LSTM cannot be compared frame by "
    "frame. Export or wrap the LSTM alone and check that, or use --no-reference (reference=None) "
    "for the other checks"
)
NOT_GIVEN = NoReference(
    "no reference was given (reference= gives one, reference=None does without)"
)
LEFT_OUT = NoReference("no reference was wanted", on_purpose=True)


@dataclass(frozen=True)
class Reference:
    """The LSTM that a target should be.

    weights: float32. weight_dtype: as what the target stores them: "float32", "float16" or, as our
    contract says, "int8". origin: Python that makes the reference again, with `reference` as the
    name, for reproductions; None where there is none. assumptions: what its file leaves open and
    was assumed, as in `formats.Found`.
    """

    weights: Weights
    weight_dtype: str = "float32"
    origin: str | None = None
    assumptions: tuple[str, ...] = ()

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
    weights, assumptions = _read(value, name, ignore)
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
    return Reference(weights, dtype, origin, assumptions)


def reference_for(target: Target, value: Any) -> Reference:
    """Return a reference for a target: see `as_reference`.

    Raises:
        ValueError: it takes other frames than the target; and what `as_reference` raises.
    """
    wanted = as_reference(value)
    if wanted.weights.input_size != target.input_size:
        raise ValueError(
            f"the reference takes {wanted.weights.input_size} values per frame, {target.name} "
            f"takes {target.input_size}: {COMPUTES_BEFORE}"
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
    return _read(value, name, ignore)[0]


def _read(
    value: Any, name: str | None, ignore: str | Iterable[str]
) -> tuple[Weights, tuple[str, ...]]:
    """Return what `as_weights` does, and what was assumed where a file leaves it open."""
    from .. import formats

    assumptions: tuple[str, ...] = ()
    if isinstance(value, Reference):
        value = value.weights
    if isinstance(value, (str, os.PathLike)):
        options: dict[str, Any] = {"ignore": ignore} if ignore else {}
        found = formats.pick(value, formats.read(value, **options), name)
        value, assumptions = found.weights, found.assumptions
    elif isinstance(value, LSTM):
        value = value.weights
    elif isinstance(value, Mapping):
        value = LSTM.from_state_dict(value, ignore=ignore).weights
    elif not isinstance(value, Weights) and hasattr(value, "state_dict"):
        from ..formats import pytorch

        modules = pytorch.from_module(value, ignore=ignore)
        found = formats.pick(type(value).__name__, modules, name)
        value, assumptions = found.weights, found.assumptions
    if not isinstance(value, Weights):
        raise TypeError(
            "a reference is an LSTM, its weights, a state dict, a torch module or a file, found "
            f"{type(value).__name__}"
        )
    if value.direction != "forward":
        raise ValueError(f"the reference is {value.direction}: it can't be stepped frame by frame")
    return value, assumptions
