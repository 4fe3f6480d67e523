"""The frames and outputs of one step of a pool: rows of arrays that are there from the start."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .._frames import Array, by_name
from .._program_checks import DTYPES
from ..model import Model


class Rows:
    """Room for the values of up to `most` sessions of a model.

    A frame is an array where the model has one input, a tuple of arrays where it has several.
    """

    def __init__(self, model: Model, most: int) -> None:
        inputs, outputs = model.inputs, model.outputs
        self.handles = np.empty(most, np.uint64)
        self._names, self._out_names = [*inputs], [*outputs]
        self._xs = [np.empty((most, *one.shape), DTYPES[one.kind]) for one in inputs.values()]
        self.ys = [np.empty((most, *one.shape), DTYPES[one.kind]) for one in outputs.values()]
        self._shape, self._dtype = self._xs[0].shape[1:], self._xs[0].dtype
        self._only = len(inputs) == 1

    def check(self, frame: Any) -> Any:
        """Return a frame as it is kept.

        Raises:
            TypeError: it is not an array of the input's dtype, or not a mapping where there are
                several.
            ValueError: its shape is another; or a name is missing or unknown.
        """
        right = self._only and type(frame) is np.ndarray
        if right and frame.dtype == self._dtype and frame.shape == self._shape:
            return frame
        values = by_name(frame, self._names, "a frame")
        for value, name, xs in zip(values, self._names, self._xs, strict=True):
            what = "the frame" if self._only else f"{name!r} of the frame"
            if type(value) is not np.ndarray or value.dtype != xs.dtype:
                found = f"{type(value).__name__} {getattr(value, 'dtype', '')}".strip()
                raise TypeError(f"{what} is an ndarray of {xs.dtype}, found {found}")
            if value.shape != xs.shape[1:]:
                raise ValueError(f"{what} has shape {value.shape}, expected {xs.shape[1:]}")
        return values[0] if self._only else tuple(values)

    def copy(self, frame: Any) -> Any:
        """Return a frame that is not the caller's."""
        return frame.copy() if self._only else tuple(value.copy() for value in frame)

    def fill(self, handles: Sequence[int], frames: Sequence[Any]) -> None:
        """Take the frames of these sessions."""
        count = len(frames)
        self.handles[:count] = handles
        columns = [frames] if self._only else [*zip(*frames, strict=True)]
        for xs, column in zip(self._xs, columns, strict=True):
            if xs.ndim == 2 and column[0].flags.c_contiguous:  # three times as quick as stack
                np.concatenate(column, out=xs[:count].reshape(-1))
            else:
                np.stack(column, out=xs[:count])

    def step(self, pool: Any, count: int) -> None:
        """Step the first `count` rows; the outputs are in `ys` then."""
        xs, ys = [x[:count] for x in self._xs], [y[:count] for y in self.ys]
        given = xs[0] if self._only else dict(zip(self._names, xs, strict=True))
        out = ys[0] if len(ys) == 1 else dict(zip(self._out_names, ys, strict=True))
        pool.step(self.handles[:count], given, out=out)

    def output(self, at: int) -> Any:
        """Return the output of a row, views of it: as of a step of one session."""
        if len(self.ys) == 1:
            return self.ys[0][at]
        return {name: y[at] for name, y in zip(self._out_names, self.ys, strict=True)}

    def kept_output(self, at: int) -> Any:
        """Return the output of a row, which the next step does not overwrite."""
        if len(self.ys) == 1:
            return self._kept(self.ys[0], at)
        return {name: self._kept(y, at) for name, y in zip(self._out_names, self.ys, strict=True)}

    @staticmethod
    def _kept(ys: Array, at: int) -> Array:
        row = np.empty(ys.shape[1:], ys.dtype)  # an array also where that is ()
        row[...] = ys[at]
        return row
