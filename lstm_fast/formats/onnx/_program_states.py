"""Which inputs and outputs of a graph are one state: what goes out of a step goes into the next."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ...program import Op
from ._program_builder import Builder, Sym, Value, shape_of

MOVES = {"reshape", "slice", "gather", "transpose", "expand", "concat"}
MOST_MARKS = 64  # of one tensor; a state has one for each layer and kind
# What names of states have beside what is the same before and after a step.
SIDES = {"in", "out", "input", "output", "new", "next", "n", "0", "prev", "previous", "old"}
SIDES |= {"past", "present", "init", "initial", "updated", "last"}
SHORT = {"hn": "h", "cn": "c", "h0": "h", "c0": "c", "hx": "h", "cx": "c", "hy": "h", "cy": "c"}
WORDS = {"h", "c", "hc", "state", "states", "hidden", "cell", "cache", "caches", "buffer", "mem"}
WORDS |= {"memory", "context", "hs", "cs", "rnn", "lstm", "gru", "hiddens", "cells", "ctx"}

Mark = tuple[str, object]


def recognised(
    builder: Builder, inputs: Mapping[str, Sym], outputs: Mapping[str, Value]
) -> dict[str, str]:
    """Return the output that becomes each input which is a state.

    By what recurrent nodes do with them where there are such, else by their names.
    """
    floats = {name: one for name, one in inputs.items() if builder.kind(one) == "float32"}
    computed = {name: one for name, one in outputs.items() if isinstance(one, Sym)}
    marks, taken = _marks(builder, floats)
    pairs: dict[str, str] = {}
    for same in ({"h", "c"}, {"y", "c"}):  # an output may also be the last y, which is h
        for name, given in floats.items():
            wanted = taken.get(name)
            if name in pairs or not wanted:
                continue
            for output, value in computed.items():
                found = {mark for mark in marks.get(value.tensor, ()) if mark[0] in same}
                found = {("h" if kind == "y" else kind, node) for kind, node in found}
                free = output not in pairs.values() and value.shape == given.shape
                if free and found == wanted:
                    pairs[name] = output
                    break
    return pairs | _by_name(pairs, floats, computed)


def _marks(
    builder: Builder, inputs: Mapping[str, Sym]
) -> tuple[dict[int, frozenset[Mark]], dict[str, set[Mark]]]:
    """Return where tensors come from by movement, and which states of nodes each input becomes."""
    marks: dict[int, frozenset[Mark]] = {
        one.tensor: frozenset({("input", name)}) for name, one in inputs.items()
    }
    taken: dict[str, set[Mark]] = {}
    for op in builder.ops:
        if op.code in MOVES:
            moved: frozenset[Mark] = frozenset()
            for one in op.inputs:
                moved |= marks.get(one, frozenset())
            if moved and len(moved) <= MOST_MARKS:
                marks[op.outputs[0]] = moved
        elif op.code in ("lstm", "gru"):
            for kind, one in zip("hc" if op.code == "lstm" else "h", op.inputs[1:], strict=False):
                for what, name in marks.get(one, ()):
                    if what == "input":
                        taken.setdefault(str(name), set()).add((kind, _node(op)))
            for kind, one in zip("yhc", op.outputs, strict=False):
                marks[one] = frozenset({(kind, _node(op))})
    return marks, taken


def _node(op: Op) -> object:
    """Return what is the same for all steps of one recurrent node."""
    return op.source, op.inputs[-2:]


def _by_name(
    pairs: Mapping[str, str], inputs: Mapping[str, Sym], outputs: Mapping[str, Sym]
) -> dict[str, str]:
    left = [name for name in inputs if name not in pairs]
    free = [name for name in outputs if name not in pairs.values()]
    found: dict[str, str] = {}
    for name in left:
        common = _common(name)
        if not WORDS & set(common) or sum(_common(one) == common for one in left) != 1:
            continue
        same = [one for one in free if _common(one) == common]
        if len(same) == 1 and shape_of(outputs[same[0]]) == inputs[name].shape:
            found[name] = same[0]
    return found


def _common(name: str) -> tuple[str, ...]:
    """Return the words of a name without those that tell before from after."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+", name)
    joined = "".join(words).lower()
    if joined in SHORT:
        return (SHORT[joined],)
    lower = (SHORT.get(word.lower(), word.lower()) for word in words)
    return tuple(word for word in lower if word not in SIDES)
