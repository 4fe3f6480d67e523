"""Which inputs and outputs of a graph are one state: what goes out of a step goes into the next."""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Mapping

from ...program import Op
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
) -> dict[str, str]:
    """Return the output that becomes each input which is a state.

    By what recurrent nodes do with them where there are such, else by their names.
    """
    floats = {name: one for name, one in inputs.items() if builder.kind(one) == "float32"}
    computed = {name: one for name, one in outputs.items() if isinstance(one, Sym)}
    marks, taken = _marks(builder, floats)
    pairs: dict[str, str] = {}
    used: set[str] = set()
    for same in ({"h", "c"}, {"y", "c"}):  # an output may also be the last y, which is h
        ends: dict[object, deque[str]] = defaultdict(deque)
        for output, value in computed.items():
            found = {mark for mark in marks.get(value.tensor, ()) if mark[0] in same}
            if found and output not in used:
                kinds = frozenset(("h" if kind == "y" else kind, node) for kind, node in found)
                ends[kinds, value.shape].append(output)
        for name, given in floats.items():
            left = ends.get((frozenset(taken.get(name, ())), given.shape))
            if name not in pairs and left:
                pairs[name] = left.popleft()
                used.add(pairs[name])
    return pairs | _by_name(
        {name: one for name, one in floats.items() if name not in pairs},
        {name: one for name, one in computed.items() if name not in used},
    )


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
    lower = (SHORT.get(word.lower(), word.lower()) for word in words)
    return tuple(word for word in lower if word not in SIDES)
