"""Keras's layers that keep nothing, and its causal convolution, as operations of a program."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .._inventory import brief
from ._config import LARGEST_SIZE
from ._program_activations import activate
from ._program_chain import Piece
from ._program_context import Context, flag, number, size

MOST_AXES = 8  # of a value


def dense(context: Context, piece: Piece) -> None:
    units, use_bias = size(piece, "units"), flag(piece, "use_bias", True)
    biases = [(units,)] if use_bias else []
    kernel, *bias = context.arrays(piece.group, [(context.last(), units), *biases], turned=True)
    context.apply("dense", *map(context.writer.constant, (kernel, *bias)))
    activate(context, piece)


def conv1d(context: Context, piece: Piece) -> None:
    """The frames that a window still needs are a state: (frames, channels), the oldest first."""
    if not context.has_time:
        raise ValueError("it goes along an axis within a frame; only ones along time are read")
    if len(context.shape) != 1:
        raise ValueError(f"a frame has shape {context.shape}, expected one axis of channels")
    filters, taps = size(piece, "filters"), size(piece, "kernel_size")
    dilation, groups = size(piece, "dilation_rate"), size(piece, "groups")
    _check_streamable(piece, taps)
    channels = context.shape[0]
    if channels % groups or filters % groups:
        raise ValueError(f"{channels} and {filters} channels are not in {groups} groups")
    biases = [(filters,)] if flag(piece, "use_bias", True) else []
    shapes = [(taps, channels // groups, filters), *biases]
    kernel, *bias = context.arrays(piece.group, shapes, turned=True)
    writer, kept = context.writer, dilation * (taps - 1)
    window = writer.emit("reshape", context.tensor, shape=(1, channels))
    if kept:
        history = writer.state(f"{piece.name}.history", (kept, channels))
        window = writer.emit("concat", history, window, axis=0)
        end = (kept + 1, channels)
        writer.keep(history, writer.emit("slice", window, starts=(1, 0), ends=end, steps=(1, 1)))
    weights = [writer.constant(one) for one in (kernel, *bias)]
    turned = writer.emit("transpose", window, order=(1, 0))
    made = writer.emit("conv", turned, *weights, dilation=dilation, groups=groups)
    context.tensor = writer.emit("reshape", made, shape=(filters,))
    activate(context, piece)


def _check_streamable(piece: Piece, taps: int) -> None:
    """Refuse a convolution whose results are not one for each step, of that and earlier ones."""
    padding = piece.options.get("padding", "valid")
    if piece.options.get("data_format", "channels_last") != "channels_last":
        raise ValueError("its data_format is not 'channels_last'")
    if (stride := size(piece, "strides")) != 1:
        raise ValueError(f"strides is {stride}: it does not give one result for each step of time")
    if padding == "causal" or (padding in ("same", "valid") and taps == 1):
        return
    why = {
        "same": "it looks into the future",
        "valid": "it gives fewer results than there are steps of time",
    }.get(str(padding), "that is not known here")
    raise ValueError(f"padding is {brief(padding, 40)!r}: {why}; use padding='causal'")


def layer_normalization(context: Context, piece: Piece) -> None:
    width = context.last()
    axes = piece.options.get("axis", -1)
    axes = axes if isinstance(axes, list) else [axes]
    if [context.axis(axis) for axis in axes] != [len(context.shape) - 1]:
        raise ValueError(f"axis is {brief(axes, 40)}; only the last one is computed here")
    if flag(piece, "rms_scaling", False):
        raise ValueError("rms_scaling is not computed here")
    scaled, centred = flag(piece, "scale", True), flag(piece, "center", True)
    found = iter(context.arrays(piece.group, [(width,)] * (scaled + centred)))
    parts = [context.writer.constant(next(found)) if one else -1 for one in (scaled, centred)]
    context.apply("layer_norm", *parts, epsilon=number(piece, "epsilon", 1e-3))


def batch_normalization(context: Context, piece: Piece) -> None:
    """A scale and a shift, from what training has seen: in float64, each rounded once."""
    width = context.last()
    if context.axis(piece.options.get("axis", -1)) != len(context.shape) - 1:
        raise ValueError(f"axis is {piece.options['axis']}; only the last one is computed here")
    scaled, centred = flag(piece, "scale", True), flag(piece, "center", True)
    arrays = context.arrays(piece.group, [(width,)] * (2 + scaled + centred))
    *trained, mean, variance = (one.astype(np.float64) for one in arrays)
    gamma = trained[0] if scaled else np.ones(width)
    beta = trained[-1] if centred else np.zeros(width)
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + number(piece, "epsilon", 1e-3))
        parts = [one.astype(np.float32) for one in (scale, beta - mean * scale)]
    if not all(np.isfinite(one).all() for one in parts):
        raise ValueError("its variance is negative or too small: there is no scale that is finite")
    for code, values in zip(("mul", "add"), parts, strict=True):
        context.apply(code, context.writer.constant(values))


def embedding(context: Context, piece: Piece) -> None:
    if context.writer.tensor(context.tensor).kind != "int64":
        raise ValueError("it gets what is computed; only one that the model begins with is read")
    shape = (size(piece, "input_dim"), size(piece, "output_dim"))
    (table,) = context.arrays(piece.group, [shape])
    context.tensor = context.writer.emit(
        "embedding", context.writer.constant(table), context.tensor
    )
    if piece.options.get("mask_zero") is True:
        context.writer.note(
            f"{piece}: mask_zero: Keras skips steps of token 0, state and output stay; here every "
            "step counts, so do not give them"
        )


def masking(context: Context, piece: Piece) -> None:
    value = number(piece, "mask_value", 0.0)
    context.writer.note(
        f"{piece}: Keras skips steps whose values are all {value:g}, state and output stay; here "
        "every step counts, so do not give them"
    )


def flatten(context: Context, piece: Piece) -> None:
    if context.has_time:
        raise ValueError("it joins all steps of time; a step has one")
    if piece.options.get("data_format", "channels_last") != "channels_last":
        raise ValueError("its data_format is not 'channels_last'")
    context.apply("reshape", shape=(math.prod(context.shape),))


def reshape(context: Context, piece: Piece) -> None:
    target = piece.options.get("target_shape")
    if not isinstance(target, list) or any(
        type(one) is not int or not -1 <= one < LARGEST_SIZE for one in target
    ):
        raise ValueError(f"target_shape is {brief(target, 60)}, expected a list of sizes")
    if len(target) > MOST_AXES:
        raise ValueError(f"target_shape has {len(target)} axes; {MOST_AXES} are read at most")
    if context.has_time:
        time, *target = target or [0]
        if time not in (context.steps, -1):
            raise ValueError(f"target_shape begins with {time}, which is not the axis of time")
        if -1 in target and time == -1:
            raise ValueError("target_shape has two sizes of -1")
    elements = math.prod(context.shape)
    rest = math.prod(one for one in target if one != -1)
    if target.count(-1) == 1 and rest > 0 and elements % rest == 0:
        target = [elements // rest if one == -1 else one for one in target]
    if -1 in target or math.prod(target) != elements:
        raise ValueError(f"target_shape is {target}, a frame has shape {context.shape}")
    context.apply("reshape", shape=tuple(target))


Handler = Callable[[Context, Piece], None]

HANDLERS: dict[str, Handler] = {
    "Dense": dense,
    "Conv1D": conv1d,
    "LayerNormalization": layer_normalization,
    "BatchNormalization": batch_normalization,
    "Embedding": embedding,
    "Masking": masking,
    "Flatten": flatten,
    "Reshape": reshape,
}
