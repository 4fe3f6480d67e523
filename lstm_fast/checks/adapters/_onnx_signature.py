"""Which inputs and outputs of a model are frames, outputs and state, and where N and T are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._arrays import Float32
from ..target import State, TargetError

Shape = tuple[Any, ...]  # of a model: ints, names, None


def size_of(axis: Any) -> int:
    """Return the size of an axis of a model; one that is free is 1."""
    return axis if isinstance(axis, int) else 1


@dataclass(frozen=True)
class Signature:
    """What is what.

    x, y: names. x_shape: of x, with the model's own names for what is free. time_axis, batch_axis:
    of x, None where there is none; its other axes are those of one frame, and input_size is how
    many values these hold. states: inputs to outputs.
    h_and_c: outputs: of h and of c, or of both, or none. dtypes: of inputs. state_models: shapes of
    the state's inputs. outputs: all names in order. whole: it takes sequences from the start.
    """

    x: str
    y: str
    x_shape: Shape
    input_size: int
    time_axis: int | None
    batch_axis: int | None
    states: dict[str, str]
    h_and_c: tuple[str, ...]
    constants: dict[str, Any]
    dtypes: dict[str, Any]
    state_models: dict[str, Shape]
    outputs: tuple[str, ...]
    y_time_axis: int | None = None
    y_batch_axis: int | None = None

    @property
    def has_batches(self) -> bool:
        """Whether several sessions fit into one call."""
        if self.batch_axis is None or isinstance(self.x_shape[self.batch_axis], int):
            return False
        return all(self._state_axis(shape) is not None for shape in self.state_models.values())

    def shaped(self, xs: Float32) -> Any:
        """Return frames (T, n, I) as x wants them."""
        steps, rows, _ = xs.shape
        free = [n for n in range(len(self.x_shape)) if n not in (self.time_axis, self.batch_axis)]
        frame = [size_of(self.x_shape[n]) for n in free]
        values = xs.reshape(steps, rows, *frame)
        if self.time_axis is None:
            values = values[-1][None]
        if self.batch_axis is None:
            values = values[:, :1]
        order: list[int] = []
        rest = iter(range(2, 2 + len(frame)))
        for n in range(len(self.x_shape)):
            order.append(0 if n == self.time_axis else 1 if n == self.batch_axis else next(rest))
        dropped = tuple(n for n in (0, 1) if n not in order)
        values = values.transpose(*dropped, *order)
        values = values.reshape(values.shape[len(dropped) :])
        return np.ascontiguousarray(values, self.dtypes[self.x])

    def last(self, y: Any, rows: int) -> Float32:
        """Return the output of the last step, (n, P)."""
        y = np.asarray(y)
        if self.y_time_axis is not None:
            y = np.take(y, [-1], axis=self.y_time_axis)
        if self.y_batch_axis is not None:
            y = np.moveaxis(y, self.y_batch_axis, 0)
        if y.size % rows:
            raise TargetError(f"output {self.y!r} has shape {y.shape}, which is not {rows} rows")
        return np.ascontiguousarray(y.reshape(rows, -1), np.float32)

    def each(self, y: Any) -> Float32:
        """Return the output of each step of one row, (T, P); there is a y_time_axis."""
        assert self.y_time_axis is not None
        y = np.moveaxis(np.asarray(y), self.y_time_axis, 0)
        return np.ascontiguousarray(y.reshape(len(y), -1), np.float32)

    def _state_axis(self, shape: Shape) -> int | None:
        """Return where a state has N: the axis that is free, or the middle one of three."""
        assert self.batch_axis is not None
        name = self.x_shape[self.batch_axis]
        if isinstance(name, str) and name in shape:
            return shape.index(name)
        free = [n for n, size in enumerate(shape) if not isinstance(size, int)]
        return free[0] if len(free) == 1 else 1 if len(shape) == 3 and 1 in free else None

    def state_shapes(self, rows: int) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Return shape and dtype of each state input for that many rows."""
        result = {}
        for name, shape in self.state_models.items():
            axis = self._state_axis(shape) if self.batch_axis is not None else None
            sizes = [
                rows if n == axis and not isinstance(size, int) else size_of(size)
                for n, size in enumerate(shape)
            ]
            result[name] = (tuple(sizes), self.dtypes[name])
        return result

    def h_c(self, outputs: Mapping[str, Any]) -> State | None:
        """Return h (L, P) and c (L, H) of one session, where the model shows them."""
        if not self.h_and_c or any(name not in outputs for name in self.h_and_c):
            return None
        parts = [np.asarray(outputs[name], np.float32) for name in self.h_and_c]
        if len(parts) == 1:
            parts = list(np.split(parts[0], 2))
        h, c = (part.reshape(-1, part.shape[-1]) for part in parts)
        return np.array(h), np.array(c)

    def inputs_of_state(self, state: State) -> dict[str, Any]:
        """Return the state's inputs for h (L, P) and c (L, H)."""
        if not self.h_and_c or set(self.states.values()) != set(self.h_and_c):
            raise AttributeError("the state of this model can't be set")
        shapes = self.state_shapes(1)
        names = {output: name for name, output in self.states.items()}
        if len(self.h_and_c) == 1:
            one = names[self.h_and_c[0]]
            return {one: np.concatenate(state).reshape(shapes[one][0]).astype(shapes[one][1])}
        return {
            names[output]: np.asarray(part).reshape(shapes[names[output]][0]).astype(np.float32)
            for output, part in zip(self.h_and_c, state, strict=True)
        }
