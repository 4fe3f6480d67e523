"""What a model's inputs and outputs are, as far as it was not said: by names, types and shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..target import TargetError
from ._onnx_axes import SAY, with_axes
from ._onnx_signature import Shape, Signature, size_of

DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")
Axes = tuple[int | None, int | None]  # of time and of the batch, as far as they were said


def guess(
    runner: Any,
    x: str | None,
    y: str | None,
    states: Mapping[str, str] | None,
    h_and_c: Sequence[str] | None,
    constants: Mapping[str, Any],
    frame_shape: Sequence[int] | None,
    axes: Axes,
) -> Signature:
    """Find out what was not said.

    Raises:
        TargetError: a name is wrong, or there are several possibilities.
    """
    ins = {one.name: one for one in runner.get_inputs()}
    outs = {one.name: one for one in runner.get_outputs()}
    inputs = {name: tuple(one.shape or ()) for name, one in ins.items()}
    outputs = {name: tuple(one.shape or ()) for name, one in outs.items()}
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
    axes = _said_axes(axes, inputs[x])
    if axes == (None, None):
        x_shape, frame_axes = _with_frame(inputs[x], frame_shape)
    else:  # then the axes that are left are those of a frame
        x_shape, frame_axes = _with_frame_between(inputs[x], frame_shape, axes), 0
    signature = Signature(
        x=x,
        y=y,
        x_shape=x_shape,
        input_size=_input_size(x_shape, frame_axes, axes),
        time_axis=axes[0],
        batch_axis=axes[1],
        states=pairs,
        h_and_c=shown,
        constants={name: _constant(name, value, ins[name]) for name, value in constants.items()},
        dtypes={name: kinds.get(name) for name in inputs},
        state_models={name: inputs[name] for name in pairs},
        outputs=tuple(outputs),
    )
    return with_axes(runner, signature, frame_axes, frame_shape is not None)


def _constant(name: str, value: Any, there: Any) -> Any:
    """Return the value of an input as the model takes it: its dtype, and [1] for a number."""
    array = np.asarray(value, DTYPES.get(there.type))
    shape = tuple(map(size_of, there.shape or ()))
    if array.size == 1 and math.prod(shape) == 1:
        return array.reshape(shape)
    if array.ndim != len(shape):
        raise TargetError(
            f"constants: {name!r} has shape {array.shape}, the model takes {list(there.shape)}"
        )
    return array


def _list(shapes: Mapping[str, Shape]) -> str:
    return ", ".join(f"{name!r} {list(shape)}" for name, shape in shapes.items())


def _only(what: str, names: Sequence[str], there: Mapping[str, Shape]) -> str:
    if len(names) != 1:
        option = {"x": "--input", "y": "--output"}[what]
        raise TargetError(f"which one is {what}? Say it, {what}= ({option}): {_list(there)}")
    return names[0]


def _output(outputs: Mapping[str, Shape], used: set[str], there: Mapping[str, Shape]) -> str:
    """Return the only output that is not a state; of an LSTM that only returns its state, h."""
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
    found, free = _by_name(candidates, inputs, outputs)
    if x is None and found and len(found) == len(inputs):  # no frames would be left
        first = next(iter(inputs))
        free = [o for o in outputs if o in free or o == found[first]]
        del found[first]
    rest = [name for name in candidates if name not in found]
    if x is None:
        rest = [n for n in rest if n != _frames(rest, inputs, outputs, ins)]
    for name in rest:  # by shape, from the last outputs on, in order
        group = [n for n in rest if _alike(inputs[n], inputs[name])]
        match = [o for o in outputs if o in free and _alike(inputs[name], outputs[o])]
        if len(match) < len(group):
            continue
        match = match[len(match) - len(group) :]
        found |= dict(zip(group, match, strict=True))
        free = [o for o in free if o not in match]
        rest = [n for n in rest if n not in group]
    return {name: found[name] for name in inputs if name in found}


def _by_name(
    candidates: Sequence[str], inputs: Mapping[str, Shape], outputs: Mapping[str, Shape]
) -> tuple[dict[str, str], list[str]]:
    """Return the pairs whose names belong together, and the outputs that are left."""
    free, found = list(outputs), dict[str, str]()
    for name in candidates:
        match = [o for o in free if _same_name(name, o) and _may_hold(outputs[o], inputs[name])]
        if len(match) == 1:
            found[name] = match[0]
            free.remove(match[0])
    return found, free


def _frames(
    rest: Sequence[str],
    inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape],
    ins: Mapping[str, Any],
) -> str | None:
    """Return which of these takes the frames: what no output resembles, or the first one."""
    if not rest or not all(one in rest or ins[one].type in FLOATS for one in inputs):
        return rest[0] if rest else None
    unlike = [n for n in rest if not any(_alike(inputs[n], o) for o in outputs.values())]
    return unlike[0] if unlike else rest[0]


def _same_name(one: str, other: str) -> bool:
    """Say whether names of an input and an output belong together: h_in and h_out, h and hn."""
    stem = _stem(one)
    if stem and stem == _stem(other):
        return True
    return other.lower() in {one.lower() + ending for ending in ("n", "_n", "out", "next", "new")}


def _may_hold(output: Shape, state: Shape) -> bool:
    """Say whether an output may be a state's; of one whose rank is not known that is open."""
    return len(state) >= 2 and (not output or _alike(state, output))


def _stem(name: str) -> str:
    """Return a name without what tells input and output apart."""
    text = name.lower().replace(".", "_").replace(":", "_")
    for word in ("output", "input", "initial", "final", "next", "prev", "new", "old", "out", "in"):
        parts = [part for part in text.split("_") if part != word]
        text = "_".join(parts)
    short = text.replace("_", "")
    is_short = len(short) == 2 and short[0] in "hc" and short[1] in "n0t"  # h0 and h_n
    return short[0] if is_short else text


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


def _said_axes(axes: Axes, x_shape: Shape) -> Axes:
    """Return axes counted from the start."""
    rank = len(x_shape)
    if any(n is not None and not -rank <= n < rank for n in axes):
        raise TargetError(f"x has shape {list(x_shape)}, there is no such axis in {axes}: {SAY}")
    time_axis, batch_axis = (None if n is None else n % rank for n in axes)
    return time_axis, batch_axis


def _input_size(x_shape: Shape, frame_axes: int, said: Axes) -> int:
    """Return the values in a frame: over its axes, which are the last ones or those left over."""
    if said == (None, None):
        return math.prod(x_shape[len(x_shape) - frame_axes :])
    return math.prod(size_of(size) for n, size in enumerate(x_shape) if n not in said)


def _with_frame(x_shape: Shape, frame_shape: Sequence[int] | None) -> tuple[Shape, int]:
    """Return x's shape with the sizes of a frame in it, and how many of its last axes are those.

    Sizes of 1 at the start are axes of time or of rows: (1, 576) is a frame of 576 values.
    """
    if frame_shape is None:
        if not x_shape or not isinstance(x_shape[-1], int):
            raise TargetError(
                f"x has shape {list(x_shape)}, its last axis is free: say frame_shape= (--frame), "
                "such as (1, 64)"
            )
        return x_shape, 1
    sizes = tuple(map(int, frame_shape))
    while len(sizes) > 1 and sizes[0] == 1:
        sizes = sizes[1:]
    for count in range(1, len(x_shape) + 1):  # the axes that one size is spread over
        tail = x_shape[-count:]
        if len(sizes) == 1 and count > 1 and math.prod(map(size_of, tail)) == sizes[0]:
            return x_shape, count
        if len(sizes) == count and all(
            size == n or not isinstance(size, int) for size, n in zip(tail, sizes, strict=True)
        ):
            return (*x_shape[:-count], *sizes), count
    raise TargetError(
        f"x has shape {list(x_shape)}, which a frame of shape {tuple(frame_shape)} does not fit: "
        "say another one, frame_shape= (--frame)"
    )


def _with_frame_between(x_shape: Shape, frame_shape: Sequence[int] | None, said: Axes) -> Shape:
    """Return x's shape with the sizes of a frame in the axes that are neither time nor batch."""
    frame = [n for n in range(len(x_shape)) if n not in said]
    inner, _ = _with_frame(tuple(x_shape[n] for n in frame), frame_shape)
    sizes = dict(zip(frame, inner, strict=True))
    return tuple(sizes.get(n, size) for n, size in enumerate(x_shape))
