"""What a node keeps of the frames of the steps before, and what it need not compute.

A padding puts values in front of a sequence. Where frames come one by one, the frames before stand
there instead, and the values of the padding only as long as there are none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...program import Op
from ._file import Array
from ._program_builder import Builder, Sym, UnsupportedError, Value, shape_of, without_leading
from ._program_elementwise import PARAMETERS, UNARY
from ._program_nodes import Node

# What gives each value of its one input a value of its own.
EACH = {*UNARY.values(), *(code for code, _ in PARAMETERS.values()), "gelu", "clip"}
MOST_EACH = 8  # of them between a convolution and what is cut off


def behind_past(node: Node, value: Value, axis: int, before: Array) -> Sym:
    """Return a value behind the frames before it, which become a state of the node.

    Args:
        node: whose padding it is.
        value: what each step adds to the past is its first frame along `axis`.
        axis: of time.
        before: what stands in front of the first frame of all, with the axes of value.

    Raises:
        UnsupportedError: it holds no floats, as all state does.
    """
    builder, shape, count = node.builder, shape_of(value), before.shape[axis]
    if not isinstance(value, Sym) or builder.kind(value) != "float32":
        raise UnsupportedError(
            f"it keeps frames of {builder.kind(value)} for the steps that follow, and only floats "
            "are kept"
        )
    skip = without_leading(shape, axis)
    held = (*shape[skip:axis], count, *shape[axis + 1 :])
    whole = (*shape[:axis], count + shape[axis], *shape[axis + 1 :])
    initial = np.ascontiguousarray(before, np.float32).reshape(held)
    name, state = node.registers.new(f"{node.name}.history", initial)
    frames = builder.shaped(value, shape[skip:])
    window = builder.emit("concat", [state, frames], whole[skip:], axis=axis - skip)
    starts, ends = [0] * len(held), list(held)
    starts[axis - skip], ends[axis - skip] = 1, count + 1
    node.registers.next[name] = builder.emit(
        "slice",
        [window],
        held,
        starts=tuple(starts),
        ends=tuple(ends),
        steps=(1,) * len(held),
    )
    frames_text = "frame" if count == 1 else f"{count} frames"
    builder.note(f"node {node.name} keeps the last {frames_text} for the steps that follow")
    return Sym(window, whole)


def cut_earlier(builder: Builder, value: Sym, ranges: Sequence[range]) -> Sym | None:
    """Return what a cut leaves, from a convolution that does not compute the rest.

    It is one that pads behind, as causal ones are written that pad on both sides; None where there
    is not one. ranges: what is left of each axis.
    """
    shape, last = value.shape, ranges[-1]
    whole = all(one == range(size) for one, size in zip(ranges[:-1], shape[:-1], strict=True))
    if not whole or last.start != 0 or last.step != 1:
        return None
    tensor, chain = value.tensor, list[Op]()
    while len(chain) <= MOST_EACH and (op := builder.made.get(tensor)) is not None:
        held = builder.shape(tensor)
        if held[-1:] != shape[-1:] or held != builder.shape(value.tensor):
            return None
        chain.append(op)
        if op.code not in EACH:
            break
        tensor = op.inputs[0]
    cut = shape[-1] - len(last)
    if not chain or chain[-1].code != "conv":
        return None
    conv, held = chain.pop(), builder.shape(value.tensor)
    if conv.attributes["stride"] != 1 or conv.attributes["pad_end"] < cut:
        return None
    held, source = (*held[:-1], len(last)), builder.source
    builder.source = conv.source
    padding = {"pad_end": conv.attributes["pad_end"] - cut}
    made = builder.emit("conv", conv.inputs, held, **{**conv.attributes, **padding})
    for op in reversed(chain):
        builder.source = op.source
        made = builder.emit(op.code, [made], held, **op.attributes)
    builder.source = source
    return Sym(made, (*shape[:-1], len(last)))
