"""Keras's activations as operations: by their names, and as layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .._inventory import brief
from ._calls import kind_of
from ._program_chain import Piece, a_dict
from ._program_context import Context, number

SELU = (1.67326319217681884765625, 1.05070102214813232421875)  # alpha, scale
NAMED: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("relu", {}),
    "sigmoid": ("sigmoid", {}),
    "tanh": ("tanh", {}),
    "exponential": ("exp", {}),
    "softplus": ("softplus", {}),
    "softsign": ("softsign", {}),
    "gelu": ("gelu", {}),
    "hard_silu": ("hard_swish", {}),
    "hard_swish": ("hard_swish", {}),
    "relu6": ("clip", {"min": 0.0, "max": 6.0}),
    "hard_tanh": ("clip", {"min": -1.0, "max": 1.0}),
    "leaky_relu": ("leaky_relu", {"alpha": 0.2}),
    "elu": ("elu", {"alpha": 1.0}),
    "celu": ("elu", {"alpha": 1.0}),
    "hard_sigmoid": ("hard_sigmoid", {"alpha": 1 / 6, "beta": 0.5}),
}


def activate(context: Context, piece: Piece, option: str = "activation") -> None:
    """Add what a layer's activation computes.

    Raises:
        ValueError: it is none of those that are computed here.
    """
    value = piece.options.get(option)
    if isinstance(value, dict):
        kind, own = kind_of(value), value.get("registered_name")
        if kind in LAYERS and value.get("module") == "keras.layers" and not own:
            inner = Piece(kind, a_dict(value.get("config")), (*piece.group, option), piece.names)
            LAYERS[kind](context, inner)
            return
        value = value.get("config") if kind == "function" else (own or kind)
    if value is not None:
        _named(context, value, option)


def _named(context: Context, name: Any, option: str) -> None:
    if name == "linear":
        return
    if name in ("softmax", "log_softmax"):
        context.last()
        context.apply(name, axis=len(context.shape) - 1)
        return
    if isinstance(name, str) and name in NAMED:
        code, attributes = NAMED[name]
        context.apply(code, **attributes)
        return
    if isinstance(name, str) and name in BUILT:
        BUILT[name](context)
        return
    known = ", ".join(["linear", *NAMED, *BUILT, "softmax", "log_softmax"])
    raise ValueError(f"{option} is {brief(name)!r}, which is not computed here; {known} are")


def _times(context: Context, *codes: str) -> None:
    """Multiply the value with what these operations make of it."""
    before = context.tensor
    for code in codes:
        context.apply(code)
    context.tensor = context.writer.emit("mul", before, context.tensor)


def _silu(context: Context) -> None:
    _times(context, "sigmoid")


def _mish(context: Context) -> None:
    _times(context, "softplus", "tanh")


def _selu(context: Context) -> None:
    alpha, scale = SELU
    context.apply("elu", alpha=alpha)
    context.apply("mul", context.writer.constant(np.full((), scale, np.float32)))


BUILT: dict[str, Callable[[Context], None]] = {
    "silu": _silu,
    "swish": _silu,
    "mish": _mish,
    "selu": _selu,
}


# ---- layers that are activations -----------------------------------------------------------------


def _activation(context: Context, piece: Piece) -> None:
    activate(context, piece)


def _relu(context: Context, piece: Piece) -> None:
    """max_value where x is above it, and negative_slope x below 0."""
    if number(piece, "threshold", 0.0) != 0:
        raise ValueError(f"threshold is {piece.options['threshold']}; only 0 is computed here")
    slope = number(piece, "negative_slope", 0.0)
    most = math.inf
    if piece.options.get("max_value") is not None:
        most = number(piece, "max_value", 0.0)
    if most < 0:
        raise ValueError(f"max_value is {most}, expected 0 or more")
    if slope == 0:
        context.apply("relu" if most == math.inf else "clip", **_bounds(0.0, most))
        return
    context.apply("leaky_relu", alpha=slope)
    if most < math.inf:
        context.apply("clip", max=most)


def _bounds(low: float, high: float) -> dict[str, float]:
    return {} if high == math.inf else {"min": low, "max": high}


def _leaky_relu(context: Context, piece: Piece) -> None:
    context.apply("leaky_relu", alpha=number(piece, "negative_slope", 0.3))


def _elu(context: Context, piece: Piece) -> None:
    context.apply("elu", alpha=number(piece, "alpha", 1.0))


def _softmax(context: Context, piece: Piece) -> None:
    axis = piece.options.get("axis", -1)
    if isinstance(axis, list) and len(axis) == 1:
        (axis,) = axis
    context.apply("softmax", axis=context.axis(axis))


def _prelu(context: Context, piece: Piece) -> None:
    """Keras keeps a slope for each value, time included unless its axis is shared."""
    shared = piece.options.get("shared_axes")
    axes = shared if isinstance(shared, list) else []
    time = (1,) if context.has_time else ()
    if context.has_time and 1 not in axes:
        raise ValueError("it has a slope for each step of time; share that axis: shared_axes=[1]")
    first = 1 + len(time)
    frame = tuple(1 if n + first in axes else size for n, size in enumerate(context.shape))
    (slopes,) = context.arrays(piece.group, [(*time, *frame)])
    context.apply("prelu", context.writer.constant(slopes.reshape(frame)))


LAYERS: dict[str, Callable[[Context, Piece], None]] = {
    "Activation": _activation,
    "ReLU": _relu,
    "LeakyReLU": _leaky_relu,
    "ELU": _elu,
    "Softmax": _softmax,
    "PReLU": _prelu,
}
