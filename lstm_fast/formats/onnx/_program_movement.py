"""ONNX's operators that move values and compute nothing, as operations of a program."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...program import Shape
from ._program_builder import (
    MOST_COPIED,
    Builder,
    Sym,
    Taken,
    UnsupportedError,
    Value,
    Window,
    shape_of,
    stripped,
    without_leading,
)
from ._program_nodes import Node, axis_in, lowering
from ._program_past import behind_past, cut_earlier

ENDLESS = 2**31 - 1  # and above: an end of a slice that stands for that of the axis


def view(value: Value, shape: Sequence[int]) -> Value:
    """Return the same elements in another shape, which costs nothing."""
    wanted = tuple(int(size) for size in shape)
    if math.prod(wanted) != math.prod(shape_of(value)):
        raise ValueError(f"shape {shape_of(value)} does not fit into {wanted}")
    return Sym(value.tensor, wanted) if isinstance(value, Sym) else value.reshape(wanted)


@lowering("Reshape")
def _reshape(node: Node) -> list[Value]:
    value, target = node.need(0), node.whole_numbers(1, "shape")
    if target is None:
        raise ValueError("its shape is missing")
    shape = shape_of(value)
    if not node.attributes.get("allowzero"):
        target = [shape[n] if size == 0 else size for n, size in enumerate(target)]
    if target.count(-1) == 1:
        rest = -math.prod(target)
        if rest <= 0 or math.prod(shape) % rest:
            raise ValueError(f"shape {shape} does not fit into {target}")
        target[target.index(-1)] = math.prod(shape) // rest
    return [view(value, target)]


@lowering("Flatten")
def _flatten(node: Node) -> list[Value]:
    value, axis = node.need(0), int(node.attributes.get("axis", 1))
    shape = shape_of(value)
    axis = axis if axis >= 0 else axis + len(shape)
    return [view(value, (math.prod(shape[:axis]), math.prod(shape[axis:])))]


@lowering("Squeeze")
def _squeeze(node: Node) -> list[Value]:
    value, axes = node.need(0), node.whole_numbers(1, "axes")
    shape = shape_of(value)
    gone = {n for n, size in enumerate(shape) if size == 1}
    if axes is not None:
        chosen = {axis_in(axis, len(shape)) for axis in axes}
        if not chosen <= gone:
            raise ValueError(f"axes {axes} of shape {shape} are not of size 1")
        gone = chosen
    return [view(value, [size for n, size in enumerate(shape) if n not in gone])]


@lowering("Unsqueeze")
def _unsqueeze(node: Node) -> list[Value]:
    value, axes = node.need(0), node.whole_numbers(1, "axes")
    if axes is None:
        raise ValueError("its axes are missing")
    rank = len(shape_of(value)) + len(axes)
    new = {axis_in(axis, rank) for axis in axes}
    if len(new) != len(axes):
        raise ValueError(f"axes {axes} are not different ones")
    rest = iter(shape_of(value))
    return [view(value, [1 if n in new else next(rest) for n in range(rank)])]


@lowering("Transpose")
def _transpose(node: Node) -> list[Value]:
    value = node.need(0)
    rank = len(shape_of(value))
    order = node.attributes.get("perm")
    order = list(range(rank))[::-1] if order is None else [int(axis) for axis in order]
    if sorted(order) != list(range(rank)):
        raise ValueError(f"perm {order} is not an order of {rank} axes")
    return [transposed(node.builder, value, order)]


def transposed(builder: Builder, value: Value, order: Sequence[int]) -> Value:
    """Return a value with its axes in another order; those of size 1 move for nothing."""
    shape = shape_of(value)
    result = [shape[axis] for axis in order]
    moved = [axis for axis in order if shape[axis] != 1]
    kept = sorted(moved)
    if moved == kept:
        return view(value, result)
    inner = builder.shaped(value, [shape[axis] for axis in kept])
    made = builder.emit(
        "transpose",
        [inner],
        [shape[axis] for axis in moved],
        builder.kind(value),
        order=tuple(kept.index(axis) for axis in moved),
    )
    return Sym(made, tuple(result))


@lowering("Concat")
def _concat(node: Node) -> list[Value]:
    values = [node.need(index) for index in range(len(node.inputs))]
    values = [value for value in values if 0 not in shape_of(value)]
    axis = node.attributes.get("axis", 1 if node.opset < 4 else None)
    if axis is None:
        raise ValueError("its axis is missing")
    *first, last = values or [np.zeros(0, np.float32)]
    constants = [one for one in first if not isinstance(one, Sym)]
    if not first or not isinstance(last, Sym) or len(constants) < len(first):
        return [concatenated(node.builder, values, int(axis))]
    axis = axis_in(int(axis), len(last.shape))
    joined = concatenated(node.builder, values, axis)  # which checks their shapes
    node.builder.take(sum(one.nbytes for one in constants))
    before = np.concatenate(constants, axis)
    node.builder.work.windows.append(Window(axis, before.shape[axis], 0))
    return [joined if node.past is None else behind_past(node, last, axis, before)]


def concatenated(builder: Builder, values: Sequence[Value], axis: int) -> Value:
    """Return values one after the other along an axis."""
    shapes = [shape_of(value) for value in values]
    if not values:
        raise ValueError("there is nothing to join")
    axis = axis_in(axis, len(shapes[0]))
    kinds = {builder.kind(value) for value in values}
    others = {(shape[:axis], shape[axis + 1 :]) for shape in shapes}
    if len(kinds) > 1 or len(others) > 1 or len({len(shape) for shape in shapes}) > 1:
        raise ValueError(f"shapes {', '.join(map(str, shapes))} are not joined along axis {axis}")
    if len(values) == 1:
        return values[0]
    builder.spend(3 * len(values))
    computed = [value.tensor for value in values if isinstance(value, Sym)]
    if len(set(computed)) < len(values):  # joined with constants, or with itself
        builder.works_along(*(v.shape[axis] for v in values if isinstance(v, Sym)))
    skip = without_leading(shapes[0], axis)
    whole = (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :])
    inputs = [
        builder.shaped(value, shape[skip:]) for value, shape in zip(values, shapes, strict=True)
    ]
    (kind,) = kinds
    return Sym(builder.emit("concat", inputs, whole[skip:], kind, axis=axis - skip), whole)


@lowering("Slice")
def _slice(node: Node) -> list[Value]:
    value = node.need(0)
    names = ("starts", "ends", "axes", "steps")
    starts, ends, axes, steps = (node.whole_numbers(n + 1, k) for n, k in enumerate(names))
    if starts is None or ends is None:
        raise ValueError("its starts or ends are missing")
    rank = len(shape_of(value))
    chosen = list(range(len(starts))) if axes is None else [axis_in(a, rank) for a in axes]
    steps = [1] * len(starts) if steps is None else steps
    cuts = [slice(None)] * rank
    for axis, start, end, step in zip(chosen, starts, ends, steps, strict=True):
        cuts[axis] = slice(start, end, step)
    for axis, cut in node.cuts.items():
        cuts[axis] = cut
    return [sliced(node.builder, value, cuts)]


def sliced(builder: Builder, value: Value, cuts: Sequence[slice]) -> Value:
    """Return value[cuts], one cut for each axis."""
    shape = shape_of(value)
    ranges = [range(*cut.indices(size)) for cut, size in zip(cuts, shape, strict=True)]
    for axis, (cut, size, one) in enumerate(zip(cuts, shape, ranges, strict=True)):
        if cut.step not in (None, 1):
            builder.works_along(size)
        if cut != slice(None) and one:
            counted = cut.stop is not None and 0 <= cut.stop < ENDLESS
            end = cut.stop if counted else None
            is_tail = cut.start is not None and cut.start < 0
            if one.step != 1 and len(one) > 1:
                builder.work.taken.append(Taken(axis, size, -1, -1))
            else:
                behind = size - 1 - one[-1]
                builder.work.taken.append(Taken(axis, size, one[0], behind, end, is_tail))
    whole = tuple(len(one) for one in ranges)
    if all(one == range(size) for one, size in zip(ranges, shape, strict=True)):
        return value
    if 0 in whole:
        text = f"it leaves nothing of shape {shape}"
        if any(not one and size == 1 for one, size in zip(ranges, shape, strict=True)):
            text += (
                ", as one frame has none before it. What delays frames has to pad first and to cut "
                "then, F.pad(x, (0, 0, 1, 0))[:, :-1], and keeps the frames that it needs"
            )
        raise UnsupportedError(text)
    if isinstance(value, Sym) and (earlier := cut_earlier(builder, value, ranges)) is not None:
        return earlier
    skip = len(shape) - len(stripped(shape))
    made = builder.emit(
        "slice",
        [builder.shaped(value, shape[skip:])],
        whole[skip:],
        builder.kind(value),
        starts=tuple(one.start for one in ranges[skip:]),
        ends=tuple(one.stop for one in ranges[skip:]),
        steps=tuple(one.step for one in ranges[skip:]),
    )
    return Sym(made, whole)


@lowering("Split")
def _split(node: Node) -> list[Value]:
    value, sizes = node.need(0), node.whole_numbers(1, "split")
    axis = axis_in(int(node.attributes.get("axis", 0)), len(shape_of(value)))
    whole, count = shape_of(value)[axis], node.outputs
    if sizes is None:
        each = -(-whole // count)
        sizes = [each] * (count - 1) + [whole - each * (count - 1)]
    if any(size < 0 for size in sizes) or sum(sizes) != whole:
        raise ValueError(f"shape {shape_of(value)} is not split into {sizes}")
    results: list[Value] = []
    start = 0
    for size in sizes:
        cuts = [slice(None)] * len(shape_of(value))
        cuts[axis] = slice(start, start + size)
        results.append(sliced(node.builder, value, cuts))
        start += size
    return results


@lowering("Gather")
def _gather(node: Node) -> list[Value]:
    value, indices = node.need(0), node.need(1)
    shape, builder = shape_of(value), node.builder
    axis = axis_in(int(node.attributes.get("axis", 0)), len(shape))
    whole = (*shape[:axis], *shape_of(indices), *shape[axis + 1 :])
    if isinstance(indices, Sym):
        if isinstance(value, Sym) or axis != 0 or value.dtype.kind != "f":
            raise UnsupportedError(
                "its indices are computed, and it takes no rows of a table of floats"
            )
        inner = builder.shaped(node.of_kind(indices, "int64"), stripped(shape_of(indices)))
        held = (*builder.shape(inner), *shape[1:])
        return [Sym(builder.emit("embedding", [builder.constant(value), inner], held), whole)]
    size = shape[axis]
    if indices.size and not (indices.min() >= -size and indices.max() < size):
        raise ValueError(f"its indices are beyond the {size} values of axis {axis}")
    return [taken(builder, value, indices.astype(np.int64) % size, axis)]


def taken(builder: Builder, value: Value, indices: np.ndarray, axis: int) -> Value:
    """Return a value at indices (0 or more) along an axis; a slice where one will do."""
    shape = shape_of(value)
    whole = (*shape[:axis], *indices.shape, *shape[axis + 1 :])
    builder.take(8 * indices.size)
    builder.spend(0.2 * indices.size)
    flat = [int(one) for one in indices.ravel()]
    if not flat:
        raise UnsupportedError("it takes nothing")
    if len(flat) > 1 and shape[axis] == 1:
        builder.works_along(1)
    step = flat[1] - flat[0] if len(flat) > 1 else 1
    if step > 0 and flat == list(range(flat[0], flat[-1] + 1, step)):
        cuts = [slice(None)] * len(shape)
        cuts[axis] = slice(flat[0], flat[-1] + 1, step)
        return view(sliced(builder, value, cuts), whole)
    builder.work.taken.append(Taken(axis, shape[axis], -1, -1))
    skip = without_leading(shape, axis)
    held = (*shape[skip:axis], len(flat), *shape[axis + 1 :])
    inputs = [builder.shaped(value, shape[skip:]), builder.constant(np.array(flat, np.int64))]
    return Sym(builder.emit("gather", inputs, held, builder.kind(value), axis=axis - skip), whole)


@lowering("Expand")
def _expand(node: Node) -> list[Value]:
    value, target = node.need(0), node.whole_numbers(1, "shape")
    if target is None or any(size < 1 for size in target):
        raise ValueError(f"its shape is {target}")
    return [expanded(node.builder, value, np.broadcast_shapes(shape_of(value), tuple(target)))]


def expanded(builder: Builder, value: Value, whole: Shape) -> Value:
    """Return a value broadcast to a shape."""
    if math.prod(whole) == math.prod(shape_of(value)):
        return view(value, whole)
    held = stripped(whole)
    shape = shape_of(value)
    behind = whole[len(whole) - len(shape) :]
    builder.works_along(*(a for a, b in zip(shape, behind, strict=True) if a != b))
    inner = builder.shaped(value, shape[max(len(shape) - len(held), 0) :] or (1,))
    return Sym(builder.emit("expand", [inner], held, builder.kind(value), shape=held), whole)


@lowering("Tile")
def _tile(node: Node) -> list[Value]:
    value, repeats = node.need(0), node.whole_numbers(1, "repeats")
    if repeats is None or len(repeats) != len(shape_of(value)) or any(n < 1 for n in repeats):
        raise ValueError(f"its repeats are {repeats}")
    for axis, count in enumerate(repeats):
        if count > 4096:
            raise UnsupportedError(f"it repeats axis {axis} {count} times")
        if count > 1:
            value = concatenated(node.builder, [value] * count, axis)
    return [value]


@lowering("Pad")
def _pad(node: Node) -> list[Value]:
    value, pads = node.need(0), node.whole_numbers(1, "pads")
    shape, mode = shape_of(value), node.attributes.get("mode", "constant")
    if pads is None and node.opset < 2:
        pads = node.whole_numbers(1, "paddings")
    axes = node.known(3, "axes")
    chosen = list(range(len(shape)))
    if axes is not None:
        chosen = [axis_in(int(axis), len(shape)) for axis in np.ravel(axes)]
    if pads is None or len(pads) != 2 * len(chosen):
        raise ValueError(f"its pads are {pads}, its input has shape {shape}")
    before, after = [0] * len(shape), [0] * len(shape)
    for n, axis in enumerate(chosen):
        before[axis], after[axis] = pads[n], pads[n + len(chosen)]
    fill = node.known(2, "value")
    filled = float(node.attributes.get("value", 0.0)) if fill is None else float(fill.item())
    cuts = [
        slice(max(-b, 0), size - max(-a, 0))
        for b, a, size in zip(before, after, shape, strict=True)
    ]
    value = sliced(node.builder, value, cuts)
    before, after = [max(n, 0) for n in before], [max(n, 0) for n in after]
    for axis, (b, a) in enumerate(zip(before, after, strict=True)):
        if b or a:
            node.builder.work.windows.append(Window(axis, b, a, mode=str(mode)))
    if node.past is not None:
        held = list(shape_of(value))
        held[node.past] = before[node.past]
        node.builder.take(4 * math.prod(held))
        value = behind_past(node, value, node.past, np.full(held, filled, np.float32))
        before[node.past] = 0
    return [_padded(node, value, before, after, mode, filled)]


def _padded(
    node: Node, value: Value, before: list[int], after: list[int], mode: str, filled: float
) -> Value:
    shape, builder = shape_of(value), node.builder
    whole = tuple(b + size + a for b, size, a in zip(before, shape, after, strict=True))
    if whole == shape:
        return value
    builder.works_along(*(a for a, b in zip(shape, whole, strict=True) if a != b))
    if mode in ("edge", "wrap"):
        if max(whole) > MOST_COPIED:
            raise UnsupportedError(f"it makes shape {whole} of {shape}")
        builder.take(16 * sum(whole))
        for axis, size in enumerate(shape):
            if before[axis] or after[axis]:
                at = np.arange(-before[axis], size + after[axis])
                at = np.clip(at, 0, size - 1) if mode == "edge" else at % size
                value = taken(builder, value, at, axis)
        return value
    if mode not in ("constant", "reflect"):
        raise UnsupportedError(
            f"its mode is {mode!r}; 'constant', 'reflect', 'edge' and 'wrap' are computed"
        )
    if mode == "reflect" and any(
        max(b, a) >= size for b, a, size in zip(before, after, shape, strict=True) if b or a
    ):
        raise ValueError(f"shape {shape} is too small to be reflected by {before} and {after}")
    if builder.kind(value) != "float32":
        raise UnsupportedError("it pads values that are not floats")
    skip = len(stripped(whole))
    first = min(len(shape) - len(stripped(shape)), len(shape) - skip)
    made = builder.emit(
        "pad",
        [builder.shaped(value, shape[first:])],
        whole[first:],
        builder.kind(value),
        before=tuple(before[first:]),
        after=tuple(after[first:]),
        mode=mode,
        value=filled,
    )
    return Sym(made, whole)
