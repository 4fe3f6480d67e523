"""Which inputs and outputs of a graph are one state: what goes out of a step goes into the next."""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Mapping

from ...program import Op, Shape
from ._program_builder import Builder, Sym, Value

MOVES = {"reshape", "slice", "gather", "transpose", "expand", "concat"}
MOST_MARKS = 64  # of one tensor; a state has one for each layer and kind
# What names of states have beside what is the same before and after a step.
SIDES = {"in", "out", "input", "output", "new", "next", "n", "0", "prev", "previous", "old"}
SIDES |= {"past", "present", "init", "initial", "updated", "last"}
SHORT = {"hn": "h", "cn": "c", "h0": "h", "c0": "c", "hx": "h", "cx": "c", "hy": "h", "cy": "c"}
# Not lstm, buffer, context, memory: lstm_input and lstm_output are frames as a rule.
WORDS = {"h", "c", "hc", "hs", "cs", "state", "states", "hidden", "hiddens", "cell", "cells"}
WORDS |= {"cache", "caches"}

Mark = tuple[str, object]


def recognised(
    builder: Builder, inputs: Mapping[str, Sym], outputs: Mapping[str, Value]
) -> tuple[dict[str, str], set[str]]:
    """Return the output that becomes each input which is a state, and those that are y as well.

    By what recurrent nodes do with them where there are such, else by their names.
    """
    floats = {name: one for name, one in inputs.items() if builder.kind(one) == "float32"}
    computed = {name: one for name, one in outputs.items() if isinstance(one, Sym)}
    marks, taken = _marks(builder, floats)
    pairs: dict[str, str] = {}
    used: set[str] = set()
    shown: set[str] = set()
    for same in ({"h", "c"}, {"y", "c"}):  # an output may also be the last y, which is h
        ends: dict[object, deque[str]] = defaultdict(deque)
        for output, value in computed.items():
            found = {mark for mark in marks.get(value.tensor, ()) if mark[0] in same}
            if found and output not in used:
                if any(kind == "y" for kind, _ in found):
                    shown.add(output)
                kinds = frozenset(("h" if kind == "y" else kind, node) for kind, node in found)
                ends[kinds, value.shape].append(output)
        for name, given in floats.items():
            left = ends.get((frozenset(taken.get(name, ())), given.shape))
            if name not in pairs and left:
                pairs[name] = left.popleft()
                used.add(pairs[name])
    named = _by_name(
        {name: one for name, one in floats.items() if name not in pairs},
        {name: one for name, one in computed.items() if name not in used},
    )
    return pairs | named, shown & used


def _marks(
    builder: Builder, inputs: Mapping[str, Sym]
) -> tuple[dict[int, frozenset[Mark]], dict[str, set[Mark]]]:
    """Return where tensors come from by movement, and which states of nodes each input becomes."""
    marks: dict[int, frozenset[Mark]] = {
        one.tensor: frozenset({("input", name)}) for name, one in inputs.items()
    }
    taken: dict[str, set[Mark]] = {}
    last = {_node(op): op for op in builder.ops if op.code in ("lstm", "gru")}
    for op in builder.ops:
        if op.code in MOVES:
            moved = _moved(builder, op, marks)
            if moved and len(moved) <= MOST_MARKS:
                marks[op.outputs[0]] = frozenset(moved)
        elif op.code in ("lstm", "gru"):
            for kind, one in zip("hc" if op.code == "lstm" else "h", op.inputs[1:], strict=False):
                for what, name in marks.get(one, ()):
                    if what == "input":
                        taken.setdefault(str(name), set()).add((kind, _node(op)))
            for kind, one in zip("yhc", op.outputs, strict=False):
                marks[one] = frozenset({(kind, _node(op))})
            if last[_node(op)] is not op:
                marks[op.outputs[0]] = frozenset({("step", _node(op))})
    return marks, taken


def _moved(builder: Builder, op: Op, marks: Mapping[int, frozenset[Mark]]) -> set[Mark]:
    """Return the marks of what an operation moves; of a node's frames only the last is its y."""
    moved = set[Mark]()
    for one in op.inputs:
        moved |= marks.get(one, frozenset())
        if len(moved) > MOST_MARKS:
            return moved
    steps = {node for kind, node in moved if kind == "step"}
    if not steps:
        return moved
    if op.code == "concat":
        if len({node for _, node in moved}) == 1 and all(one in marks for one in op.inputs):
            return {("step", node) for node in steps}
        return {one for one in moved if one[1] not in steps}
    if op.code == "slice" and _takes_last(builder.shape(op.inputs[0]), op):
        return {("y", node) for node in steps}
    return moved if op.code == "reshape" else set()


def _takes_last(shape: Shape, op: Op) -> bool:
    """Tell whether a slice is the last along the first axis that has several, and all of that."""
    axis = next((n for n, size in enumerate(shape) if size > 1), 0)
    starts, ends = [0] * len(shape), list(shape)
    starts[axis] = shape[axis] - 1
    return list(op.attributes["starts"]) == starts and list(op.attributes["ends"]) == ends


def _node(op: Op) -> object:
    """Return what is the same for all steps of one recurrent node."""
    return op.source, op.inputs[-2:]


def _by_name(inputs: Mapping[str, Sym], outputs: Mapping[str, Sym]) -> dict[str, str]:
    """Return the pairs whose names say that they are states, and which belongs to which."""
    ends: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in outputs:
        ends[_common(name)].append(name)
    words = {name: _common(name) for name in inputs}
    count = Counter(words.values())
    found: dict[str, str] = {}
    for name, common in words.items():
        same = ends.get(common, [])
        if not WORDS & set(common) or count[common] != 1 or len(same) != 1:
            continue
        if outputs[same[0]].shape == inputs[name].shape:
            found[name] = same[0]
    return found


def _common(name: str) -> tuple[str, ...]:
    """Return the words of a name without those that tell before from after."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+", name)
    joined = "".join(words).lower()
    if joined in SHORT:
        return (SHORT[joined],)
    lower = (_plain(word.lower()) for word in words)
    return tuple(word for word in lower if word not in SIDES)


def _plain(word: str) -> str:
    """Return a word of a name as other names have it: cachen is the next cache."""
    if word in SHORT:
        return SHORT[word]
    return word[:-1] if word.endswith("n") and word[:-1] in WORDS else word
