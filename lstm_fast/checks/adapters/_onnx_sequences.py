"""ONNX models that keep their past within a sequence: run over all frames since the reset."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..target import TargetError
from ._onnx_guess import DTYPES
from ._onnx_whole import OnnxModelTarget

__all__ = ["OnnxSequencesTarget"]

LENGTHS, ROWS = (5, 7), (3, 4)  # of trials: what grows with the frames is time, with sessions rows


class OnnxSequencesTarget(OnnxModelTarget):
    """A file whose layers start anew in each call: each step runs all frames since the reset.

    States that the file has as inputs stay zeros: the frames before are all there.

    Example:
        >>> import onnx, tempfile
        >>> text = '''<ir_version: 8, opset_import: ["": 17]>
        ... lstm (float[t, 1, 1] x) => (float[t, 1, 1, 1] y)
        ... <float[1, 4, 1] w = {1, 2, 3, 4}, float[1, 4, 1] r = {4, 3, 2, 1}>
        ... { y = LSTM <hidden_size = 1> (x, w, r) }'''
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     onnx.save(onnx.parser.parse_model(text), f"{folder}/lstm.onnx")
        ...     type(from_onnx_model(f"{folder}/lstm.onnx")).__name__
        'OnnxSequencesTarget'
    """

    def _check_states(self, own: list[str]) -> None:
        for name in self.layout.inputs:
            dims = list(self._infos[name].shape or ())
            if name not in self._times or self._histories.get(name):
                said = [one for one in ("history", "shapes") if name in self._options[one]]
                advice = "from a file with a free axis of time (dynamic axes)"
                if said:
                    flags = [f"{one}= (--{one.removesuffix('s')})" for one in said]
                    advice = f"without {' and '.join(flags)}"
                raise TargetError(
                    f"{self._path}: {', '.join(own)} is kept from step to step by the model "
                    "itself, which onnxruntime does not: it can only be checked as whole "
                    f"sequences, and input {name!r} {dims} is read as one step, not as a "
                    f"sequence. Check it {advice}, or export it with the state as inputs and "
                    "outputs"
                )
            length = dims[self._times[name]]
            if isinstance(length, int):
                raise TargetError(
                    f"{self._path}: input {name!r} {dims} always holds {length} frames, so that "
                    "onnxruntime can't step it, and what it keeps is in no output: export it with "
                    "the time axis free (dynamic axes), or with the state as inputs and outputs"
                )
        self._time_of, self._row_of = self._output_axes()

    def _batch_axes(self) -> dict[str, int] | None:
        if any(axis is None for axis in self._row_of.values()):
            return None
        return {name: 0 if axis else 1 for name, axis in self._times.items()}

    def _output_axes(self) -> tuple[dict[str, int | None], dict[str, int | None]]:
        """Return where each output has time, and sessions: the axis that grows with them.

        Raises:
            TargetError: the file can't be run, or several axes of an output grow with the frames.
        """
        short, long = (self._shapes(length, 1) for length in LENGTHS)
        times = {}
        for name, one in short.items():
            axes = _grown(one, long[name])
            if axes is None or len(axes) > 1:
                raise TargetError(
                    f"{self._path}: output {name!r} has shape {one} of {LENGTHS[0]} frames and "
                    f"{long[name]} of {LENGTHS[1]}: it is not clear which axis is time"
                )
            times[name] = axes[0] if axes else None
        try:
            few, more = (self._shapes(LENGTHS[0], rows) for rows in ROWS)
        except TargetError:
            return times, dict.fromkeys(short)
        grown = {name: _grown(one, more[name]) for name, one in few.items()}
        return times, {n: axes[0] if axes and len(axes) == 1 else None for n, axes in grown.items()}

    def _shapes(self, steps: int, rows: int) -> dict[str, tuple[int, ...]]:
        frames: dict[str, Any] = {
            name: np.zeros((steps, rows, *one.shape), DTYPES[self._infos[name].type])
            for name, one in self.layout.inputs.items()
        }
        made = self.over(frames, rows)
        return {name: np.shape(made[name]) for name in self.layout.outputs}

    def over(self, frames: Mapping[str, Any], rows: int) -> dict[str, Any]:
        """Run frames (T, n, ...) by name from the start; return all outputs as the file has them.

        Raises:
            TargetError: onnxruntime can't.
        """
        feeds = dict(self.rest())
        for name in self._next:
            sizes = [rows if isinstance(n, str) else n for n in self._infos[name].shape or ()]
            feeds[name] = np.zeros([n or 1 for n in sizes], DTYPES[self._infos[name].type])
        for name, values in frames.items():
            axis, dims = self._times[name], self._infos[name].shape
            batch = 0 if axis else 1
            others = [at for at in range(len(dims)) if at not in (axis, batch)]
            inner = self._inner(name, others)
            whole = values.reshape(len(values), rows, *inner)
            ends = (axis, batch)
            whole = whole[:, 0] if len(dims) == 1 else np.moveaxis(whole, (0, 1), ends)
            feeds[name] = np.ascontiguousarray(whole, DTYPES[self._infos[name].type])
        return self.call(feeds)

    def _inner(self, name: str, axes: list[int]) -> list[int]:
        """Return the sizes of a frame along these axes of the file's input.

        Raises:
            TargetError: they do not hold one frame.
        """
        dims, shape = self._infos[name].shape, self.layout.inputs[name].shape
        given = self._options["shapes"].get(name, dims)
        sizes = [given[at] if isinstance(given[at], int) else dims[at] for at in axes]
        free = [n for n, size in enumerate(sizes) if not isinstance(size, int)]
        known = math.prod(size for size in sizes if isinstance(size, int))
        sizes = [size if isinstance(size, int) else 1 for size in sizes]
        if len(free) == 1:
            sizes[free[0]] = math.prod(shape) // known
        if math.prod(sizes) != math.prod(shape):
            raise TargetError(
                f"{self._path}: input {name!r} {list(dims)} does not show a frame of shape "
                f"{shape}: export it with sizes, but for time and batch"
            )
        return sizes

    def last(self, made: Mapping[str, Any], rows: int, count: int | None) -> dict[str, Any]:
        """Return the outputs of the last step, (n, ...), or of the last `count` of one session."""
        found = {}
        for name, one in self.layout.outputs.items():
            array, time, row = np.asarray(made[name]), self._time_of[name], self._row_of[name]
            if count is not None:
                assert time is not None
                array = np.moveaxis(array, time, 0)[-count:]
                found[name] = array.reshape(count, *one.shape)
                continue
            if rows > 1:
                assert row is not None
                array = np.moveaxis(array, row, 0)
                time = None if time is None else time + (time < row)
            if time is not None:
                array = np.take(array, -1, axis=time)
            found[name] = array.reshape(rows, *one.shape) if rows > 1 else array.reshape(one.shape)
        return found

    def open(self) -> Any:
        """Return a new session."""
        return _Session(self, 1)

    def open_batch(self, n: int) -> Any:
        """Return n sessions as the rows of one batch, where all outputs have an axis for that."""
        return None if self._rows_at is None else _Session(self, n)


def _grown(one: tuple[int, ...], other: tuple[int, ...]) -> list[int] | None:
    """Return the axes in which two shapes differ, or None where they have not as many."""
    if len(one) != len(other):
        return None
    return [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]


class _Session:
    """Runs all frames since the reset."""

    def __init__(self, target: OnnxSequencesTarget, rows: int) -> None:
        self._target, self._rows = target, rows
        if rows == 1 and all(axis is not None for axis in target._time_of.values()):
            self.run = self._run
        self.reset()

    def reset(self) -> None:
        self._frames: dict[str, list[Any]] = {name: [] for name in self._target.layout.inputs}

    def _made(self, x: Any, steps: int) -> dict[str, Any]:
        by_name = x if isinstance(x, Mapping) else {next(iter(self._frames)): x}
        for name, kept in self._frames.items():
            shape = self._target.layout.inputs[name].shape
            kept.extend(np.array(np.reshape(by_name[name], (steps, self._rows, *shape))))
        stacked = {name: np.stack(kept) for name, kept in self._frames.items()}
        return self._target.over(stacked, self._rows)

    def step(self, x: Any) -> dict[str, Any]:
        return self._target.last(self._made(x, 1), self._rows, None)

    def _run(self, xs: Any) -> dict[str, Any]:
        values = next(iter(xs.values())) if isinstance(xs, Mapping) else xs
        return self._target.last(self._made(xs, len(values)), 1, len(values))
