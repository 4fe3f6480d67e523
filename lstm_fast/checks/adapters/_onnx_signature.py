"""Which inputs and outputs of a model are frames, outputs and state, and where N and T are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..._arrays import Float32
from ..target import State, TargetError

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
}
FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")
Shape = tuple[Any, ...]  # of a model: ints, names, None


@dataclass(frozen=True)
class Signature:
    """What is what.

    x, y: names. x_shape: of x, with the model's own names for what is free. time_axis, batch_axis:
    of x, None where there is none. frame_shape: of one frame alone. states: inputs to outputs.
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
    sizes: dict[str, int] = field(default_factory=dict)  # of axes of the state that are free

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
        frame = [self.x_shape[n] if isinstance(self.x_shape[n], int) else 1 for n in free]
        if math.prod(frame) != self.input_size:
            frame[-1] = self.input_size
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
        if name in shape and name is not None:
            return shape.index(name)
        free = [n for n, size in enumerate(shape) if not isinstance(size, int)]
        return free[0] if len(free) == 1 else 1 if len(shape) == 3 and 1 in free else None

    def state_shapes(self, rows: int) -> dict[str, tuple[tuple[int, ...], Any]]:
        """Return shape and dtype of each state input for that many rows."""
        result = {}
        for name, shape in self.state_models.items():
            axis = self._state_axis(shape) if self.batch_axis is not None else None
            sizes = [
                size
                if isinstance(size, int)
                else rows
                if n == axis
                else self.sizes.get(str(size), 1)
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


def guess(
    runner: Any,
    x: str | None,
    y: str | None,
    states: Mapping[str, str] | None,
    h_and_c: Sequence[str] | None,
    constants: Mapping[str, Any],
    frame_shape: Sequence[int] | None,
    axes: tuple[int | None, int | None],
) -> Signature:
    """Find out what was not said.

    Raises:
        TargetError: a name is wrong, or there are several possibilities.
    """
    ins = {one.name: one for one in runner.get_inputs()}
    outs = {one.name: one for one in runner.get_outputs()}
    inputs = {name: tuple(one.shape) for name, one in ins.items()}
    outputs = {name: tuple(one.shape) for name, one in outs.items()}
    tables = (("x", [x], inputs), ("y", [y], outputs), ("h_and_c", h_and_c or [], outputs))
    for what, names, there in (
        *tables,
        ("constants", list(constants), inputs),
        ("states", list(states or {}), inputs),
        ("states", list((states or {}).values()), outputs),
    ):
        for name in names:
            if name is not None and name not in there:
                raise TargetError(f"{what}: there is no {name!r} in the model: {_list(there)}")
    unknown = [
        name for name, one in ins.items() if one.type not in DTYPES and name not in constants
    ]
    if unknown:
        raise TargetError(f"constants= (--set) must give {', '.join(map(repr, unknown))}")
    left = {name: shape for name, shape in inputs.items() if name not in constants}
    pairs = dict(states) if states is not None else _pairs(left, outputs, ins, x)
    x = x or _only("x", [n for n in left if n not in pairs and ins[n].type in FLOATS], inputs)
    extra = [n for n in left if n not in pairs and n != x]
    if extra:
        raise TargetError(
            f"what is input {extra[0]!r}? Say it in constants= or states= (--set, "
            f"--state): {_list(inputs)}"
        )
    used = set(pairs.values())
    shown = tuple(h_and_c) if h_and_c is not None else _shown(pairs, inputs, outputs, y)
    y = y or _output(outputs, used | set(shown), outputs)
    kinds = {name: np.dtype(DTYPES[one.type]) for name, one in ins.items() if one.type in DTYPES}
    from ._onnx_axes import with_axes

    signature = Signature(
        x=x,
        y=y,
        x_shape=inputs[x],
        input_size=_input_size(inputs[x], frame_shape),
        time_axis=axes[0],
        batch_axis=axes[1],
        states=pairs,
        h_and_c=shown,
        constants={name: np.asarray(value) for name, value in constants.items()},
        dtypes={name: kinds.get(name) for name in inputs},
        state_models={name: inputs[name] for name in pairs},
        outputs=tuple(outputs),
    )
    return with_axes(runner, signature)


def _list(shapes: Mapping[str, Shape]) -> str:
    return ", ".join(f"{name!r} {list(shape)}" for name, shape in shapes.items())


def _only(what: str, names: Sequence[str], there: Mapping[str, Shape]) -> str:
    if len(names) != 1:
        option = {"x": "--input", "y": "--output"}[what]
        raise TargetError(f"which one is {what}? Say it, {what}= ({option}): {_list(there)}")
    return names[0]


def _output(outputs: Mapping[str, Shape], used: set[str], there: Mapping[str, Shape]) -> str:
    """Return the only output that is no state; of an LSTM that only returns its state, h."""
    names = [name for name in outputs if name not in used]
    if not names and outputs:
        return next(iter(outputs))
    return _only("y", names, there)


def _pairs(
    inputs: Mapping[str, Shape], outputs: Mapping[str, Shape], ins: Mapping[str, Any], x: str | None
) -> dict[str, str]:
    """Pair inputs with outputs that can hold the same, if there is but one way to do so.

    First by names that differ in an ending such as "_in" and "_out", then by shape; where several
    have one shape, in the order in which they stand (h before c, as torch and everybody has them).
    """
    candidates = [n for n in inputs if n != x and ins[n].type in FLOATS]
    if x is None and len(candidates) == len(inputs):
        # The frames are the input that no output resembles, or the first one.
        resembling = [n for n in candidates if any(_alike(inputs[n], o) for o in outputs.values())]
        candidates = [n for n in candidates if n in resembling and n != next(iter(inputs))]
    elif x is None:
        candidates = [n for n in candidates if n != next(iter(inputs))]
    free = list(outputs)
    found: dict[str, str] = {}
    for name in candidates:  # by name
        stem = _stem(name)
        match = [o for o in free if _stem(o) == stem and _alike(inputs[name], outputs[o])]
        if len(match) == 1:
            found[name] = match[0]
            free.remove(match[0])
    rest = [name for name in candidates if name not in found]
    for name in rest:  # by shape, from the last outputs on, in order
        group = [n for n in rest if _alike(inputs[n], inputs[name])]
        match = [o for o in outputs if o in free and _alike(inputs[name], outputs[o])]
        if len(match) < len(group):
            continue
        match = match[len(match) - len(group) :]
        found |= dict(zip(group, match, strict=True))
        free = [o for o in free if o not in match]
        rest = [n for n in rest if n not in group]
    return found


def _stem(name: str) -> str:
    """Return a name without what tells input and output apart."""
    text = name.lower().replace(".", "_").replace(":", "_")
    for word in ("output", "input", "initial", "final", "next", "prev", "new", "old", "out", "in"):
        parts = [part for part in text.split("_") if part != word]
        text = "_".join(parts)
    for ending in ("n", "0", "t"):  # h0 and hn
        if len(text) == 2 and text[0] in "hc" and text.endswith(ending):
            text = text[0]
    return text


def _alike(a: Shape, b: Shape) -> bool:
    """Say whether two shapes may be the same; a state has two axes or more."""
    if len(a) != len(b) or len(a) < 2:
        return False
    sizes = [(m, n) for m, n in zip(a, b, strict=True) if isinstance(m, int) and isinstance(n, int)]
    last = a[-1] == b[-1] or not (isinstance(a[-1], int) and isinstance(b[-1], int))
    return last and all(m == n for m, n in sizes)


def _shown(
    pairs: Mapping[str, str],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    y: str | None,
) -> tuple[str, ...]:
    """Return the outputs that hold h and c, where that is clear."""
    ends = list(pairs.values())
    if len(ends) == 2:
        by_name = sorted(ends, key=lambda o: _stem(o).startswith("c") or "cell" in o.lower())
        return tuple(by_name)
    if len(ends) == 1:
        shape = outputs[ends[0]]
        first = inputs[next(iter(pairs))][0]
        is_both = isinstance(first, int) and first % 2 == 0 and len(shape) == 3
        return (ends[0],) if is_both else ()
    if ends:
        return ()
    last = [name for name in outputs if name != y and len(outputs[name]) == 3][-2:]
    if len(outputs) == 3 and len(last) == 2 and list(outputs)[1:] == last:
        return tuple(last)
    return ()


def _input_size(shape: Shape, frame_shape: Sequence[int] | None) -> int:
    if frame_shape is not None:
        return math.prod(frame_shape)
    if not shape or not isinstance(shape[-1], int):
        raise TargetError(
            f"x has shape {list(shape)}, its last axis is free: say frame_shape= (--frame), such "
            "as (1, 64)"
        )
    return int(shape[-1])
