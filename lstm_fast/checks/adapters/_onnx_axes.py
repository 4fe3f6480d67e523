"""Where the frames and the output of a model have time and rows: found by running it."""

from __future__ import annotations

import contextlib
import math
from dataclasses import replace
from typing import Any

import numpy as np

from ..._arrays import Float32
from ..target import TargetError
from ._onnx_signature import Signature, size_of

SAY = "say time_axis= and batch_axis= (--time-axis, --batch-axis)"
NOISE = 0.1  # what quantisation over a batch or a sequence may do to others, as a part


def with_axes(runner: Any, signature: Signature, frame_axes: int, frame_is_said: bool) -> Signature:
    """Find where x and y have T and N, by trying it.

    Args:
        runner: onnxruntime's.
        signature: what is known.
        frame_axes: how many of x's last axes are those of one frame.
        frame_is_said: whether that was said, and not guessed.

    Raises:
        TargetError: it can't be run, or it is not clear.
    """
    if signature.time_axis is not None or signature.batch_axis is not None:
        time = None if signature.time_axis is None else signature.x_shape[signature.time_axis]
        if isinstance(time, int) and time != 1:
            _refuse_fixed(signature)
        return _with_y_axes(runner, signature)
    outer = list(range(len(signature.x_shape) - frame_axes))
    if len(outer) > 2:  # those that always have one size belong to the frame, as (1, 1, 80) does
        outer = [n for n in outer if not isinstance(signature.x_shape[n], int)]
        signature = replace(signature, input_size=_between(signature, outer))
    if len(outer) > 2:
        raise TargetError(f"x has shape {list(signature.x_shape)}: {SAY}")
    if not outer:
        return _with_y_axes(runner, signature)
    if len(outer) == 1:
        return _with_one_axis(runner, signature, outer[0])
    forgetful = None  # what little depends on earlier frames looks like rows, the wrong way round
    for time_axis, batch_axis in (outer, outer[::-1]):
        trial = replace(signature, time_axis=time_axis, batch_axis=batch_axis)
        try:
            _trial_sizes(trial)
            trial = _with_y_axes(runner, trial)
            if not _depends_rightly(runner, trial):
                continue
            if signature.states or trial.y_time_axis is None or _remembers(runner, trial):
                return trial
            forgetful = forgetful or trial
        except Exception:  # of whatever kind: then it is the other way round
            continue
    if forgetful is not None:
        return forgetful
    if signature.states and not frame_is_said and isinstance(signature.x_shape[outer[1]], int):
        # A stepped model that always takes several rows: they are one frame, such as (3, 41).
        size = _between(signature, outer[:1])
        return _with_one_axis(runner, replace(signature, input_size=size), outer[0])
    _refuse_fixed(signature)
    raise TargetError(
        f"x has shape {list(signature.x_shape)}, and neither way does its output depend on earlier "
        f"frames of the same row alone (is it bidirectional?): {SAY}"
    )


def _between(signature: Signature, outer: list[int]) -> int:
    """Return the values in a frame that has all axes of x but these."""
    return math.prod(size_of(n) for at, n in enumerate(signature.x_shape) if at not in outer)


def _with_one_axis(runner: Any, signature: Signature, axis: int) -> Signature:
    """Find whether the one axis that is not a frame's is time or rows.

    It is time where later rows depend on earlier ones. A model that can't be run with several rows
    has one.
    """
    rows = replace(signature, batch_axis=axis)
    size = signature.x_shape[axis]
    if isinstance(size, int):
        if size != 1:
            _refuse_fixed(signature)
        return _with_y_axes(runner, rows)
    if not signature.states or not rows.has_batches:
        with contextlib.suppress(Exception):  # of whatever kind: then it is not time
            trial = _with_y_axes(runner, replace(signature, time_axis=axis))
            if _remembers(runner, trial) and _causal(runner, trial):
                return trial
    with contextlib.suppress(TargetError):
        return _with_y_axes(runner, rows)
    shape = tuple(1 if n == axis else size for n, size in enumerate(signature.x_shape))
    return _with_y_axes(runner, replace(rows, x_shape=shape))


def _noise(shape: tuple[int, ...], seed: int = 0) -> Float32:
    """Return values within +-3.

    Another seed gives others, not only of another sign, which a spectrum does not see.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    return (rng.random(shape) * 6 - 3).astype(np.float32)


def _remembers(runner: Any, signature: Signature) -> bool:
    """Say whether the last output depends on the first of several frames."""
    if signature.y_time_axis is None:
        return False
    xs = _noise((5, 1, signature.input_size))
    other = xs.copy()
    other[0] = _noise(xs[0].shape, 1)
    last = [signature.last(_run(runner, signature, one), 1) for one in (xs, other)]
    return bool((last[0] != last[1]).any())


def _causal(runner: Any, signature: Signature) -> bool:
    """Say whether the first output leaves the last frame alone.

    Or nearly so: quantisation over a sequence lets a later frame change the scale of the first, by
    some hundredths of what it changes itself; one way back through an LSTM leaves more.
    """
    rows, axis = _trial_sizes(signature)[1], signature.y_time_axis
    first = np.zeros((2, rows, signature.input_size), np.float32)
    first[0, 0, 0] = 3
    other = first.copy()
    other[1, 0] = 3
    ys = [_run(runner, signature, one) for one in (first, other)]
    early, late = (np.abs(np.diff([np.take(y, t, axis) for y in ys], axis=0)).max() for t in (0, 1))
    return bool(early <= NOISE * late)


def _fixed(signature: Signature) -> bool:
    """Say whether the model takes neither one frame at a time nor sequences that grow."""
    time = None if signature.time_axis is None else signature.x_shape[signature.time_axis]
    rows = None if signature.batch_axis is None else signature.x_shape[signature.batch_axis]
    if isinstance(rows, int) and rows != 1:
        return True
    return isinstance(time, int) and (time != 1 or not signature.states)


def _refuse_fixed(signature: Signature) -> None:
    sizes = [size for size in signature.x_shape[:-1] if isinstance(size, int) and size != 1]
    if sizes:
        advice = (
            f"If they are one frame, say so: frame_shape= (--frame {sizes[0]},"
            f"{signature.x_shape[-1]})"
            if signature.states
            else "Export it with the state as inputs and outputs for one step, or with dynamic axes"
        )
        raise TargetError(
            f"x has shape {list(signature.x_shape)}, with {sizes[0]} rows or steps fixed, so that "
            f"one session can't be stepped. {advice}"
        )


def _run(runner: Any, signature: Signature, xs: Float32) -> Any:
    states = {
        name: np.zeros(shape, kind)
        for name, (shape, kind) in signature.state_shapes(xs.shape[1]).items()
    }
    feeds = {signature.x: signature.shaped(xs), **states, **signature.constants}
    try:
        return np.asarray(runner.run([signature.y], feeds)[0])
    except Exception as error:  # onnxruntime raises many kinds
        sizes = {name: np.shape(value) for name, value in feeds.items()}
        unknown = [
            f"{name!r} {list(shape)}"
            for name, shape in signature.state_models.items()
            if sum(not isinstance(size, int) for size in shape) > 1
        ]
        guess = f" (free axes of {', '.join(unknown)} are taken as 1, but for the batch)"
        raise TargetError(
            f"onnxruntime can't run it with {sizes}{guess if unknown else ''}: {error}"
        ) from error


def _trial_sizes(signature: Signature) -> tuple[int, int]:
    """Return T and N for a trial: those that are fixed, else unlike each other."""

    def size(axis: int | None, free: int) -> int:
        if axis is None:
            return 1
        fixed = signature.x_shape[axis]
        return fixed if isinstance(fixed, int) else free

    return size(signature.time_axis, 5), size(signature.batch_axis, 3)


def _with_y_axes(runner: Any, signature: Signature) -> Signature:
    """Find where y has T and N: the axes that have their sizes."""
    steps, rows = _trial_sizes(signature)
    y = _run(runner, signature, np.zeros((steps, rows, signature.input_size), np.float32))
    time_axis = batch_axis = None
    outer = y.shape[: max(1, y.ndim - 1)]  # the last one is that of the values, where there is more
    if signature.time_axis is not None and steps > 1:
        axes = [n for n, size in enumerate(outer) if size == steps]
        time_axis = axes[0] if axes else _time_at_the_end(runner, signature, y.shape)
    if rows > 1:
        axes = [n for n, size in enumerate(outer) if size == rows]
        batch_axis = next((n for n in axes if n != time_axis), None)
    return replace(signature, y_time_axis=time_axis, y_batch_axis=batch_axis)


def _time_at_the_end(runner: Any, signature: Signature, shape: tuple[int, ...]) -> int | None:
    """Return y's last axis where that grows with the frames: of one value each, without an axis."""
    steps, rows = _trial_sizes(signature)
    axis = signature.time_axis
    if shape[-1:] != (steps,) or axis is None or isinstance(signature.x_shape[axis], int):
        return None
    xs = np.zeros((steps + 2, rows, signature.input_size), np.float32)
    longer = _run(runner, signature, xs).shape
    return len(shape) - 1 if longer == (*shape[:-1], steps + 2) else None


def _depends_rightly(runner: Any, signature: Signature) -> bool:
    """Say whether changed frames change their own row, and hardly another, and nothing before.

    With T and N the wrong way round, the first row is the first step, and changes the next one.
    """
    steps, rows = _trial_sizes(signature)
    if steps == 1 and rows == 1:
        return True  # then nothing depends on which is which
    if _fixed(signature):
        return False
    if steps > 1 and signature.y_time_axis is not None and not _causal(runner, signature):
        return False
    xs = _noise((steps, rows, signature.input_size))
    changed = xs.copy()
    changed[:, 0] = _noise(xs[:, 0].shape, 1)
    one, other = (signature.last(_run(runner, signature, v), rows) for v in (xs, changed))
    moved = np.abs(one - other).max(axis=1)
    return bool(moved[0] > 0 and (moved[1:] <= NOISE * moved[0]).all())
