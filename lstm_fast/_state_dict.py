"""Weights by PyTorch's names: of `torch.nn.LSTM` and `torch.nn.LSTMCell`, and ours beyond them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._arrays import Float32, to_float32
from ._weights import KINDS, Direction, LayerWeights, Weights, make_weights
from .cell import PLAIN, Cell

PARAMETER = re.compile(rf"({'|'.join(KINDS)})(?:_l(0|[1-9][0-9]{{0,5}}))?(_reverse)?")
Names = dict[tuple[int, bool], dict[str, str]]  # of the mapping, by layer and direction, and kind


def _index(mapping: Mapping[str, Any], prefix: str) -> Names:
    """Return the mapping's own names."""
    names: Names = {}
    for name in mapping:
        if not isinstance(name, str) or not name.startswith(prefix):
            continue
        match = PARAMETER.fullmatch(name[len(prefix) :])
        if not match:
            continue
        kind, layer, reverse = match.groups()
        kinds = names.setdefault((int(layer or 0), bool(reverse)), {})
        if kind in kinds:
            raise ValueError(f"both {kinds[kind]} and {name} are given; they mean the same layer")
        kinds[kind] = name
    return names


def prefixes(names: Any) -> list[str]:
    """Return the prefixes under which there are LSTM weights, sorted."""
    ends = tuple(
        f"weight_ih{layer}{reverse}" for layer in ("", "_l0") for reverse in ("", "_reverse")
    )
    found = {
        name[: -len(end)]
        for name in names
        if isinstance(name, str)
        for end in ends
        if name.endswith(end) and (name == end or name[: -len(end)].endswith((".", "/", "_", "-")))
    }
    return sorted(found)


def _missing(mapping: Mapping[str, Any], name: str, prefix: str) -> ValueError:
    text = f"{name} is missing"
    others = [other for other in prefixes(mapping) if other != prefix]
    if others:
        text += "; there are LSTM weights under " + ", ".join(f"prefix={o!r}" for o in others[:5])
    elif mapping:
        text += "; the mapping has " + ", ".join(map(repr, list(mapping)[:5]))
        text += ", ..." if len(mapping) > 5 else ""
    return ValueError(text)


def _hidden_size(mapping: Mapping[str, Any], name: str, projected: bool) -> int:
    """Read it off weight_hh, which has four times as many rows."""
    shape = to_float32(mapping[name], name, None, "").shape
    if len(shape) == 2 and shape[0] and shape[0] % 4 == 0 and projected:
        return int(shape[0]) // 4
    if len(shape) != 2 or shape[1] == 0 or shape[0] != 4 * shape[1]:
        hint = " (it looks transposed)" if len(shape) == 2 and shape[1] == 4 * shape[0] else ""
        raise ValueError(f"{name} has shape {shape}, expected (4 * hidden_size, hidden_size){hint}")
    return int(shape[1])


def _take(mapping: Mapping[str, Any], name: str, kind: str, hidden_size: int) -> Float32:
    rows = KINDS[kind][0]
    length = {"4H": 4 * hidden_size, "3H": 3 * hidden_size, "H": hidden_size}.get(rows)
    shape = (length, *[None] * (len(KINDS[kind]) - 1))
    what = "expected %s"
    if rows == "4H":
        what += ": 4 * hidden_size rows, gates i, f, g, o"
    free = "input_size" if kind == "weight_ih" else "proj_size" if rows == "P" else "hidden_size"
    value = to_float32(mapping[name], name, shape, what, free=free)
    finite = np.isfinite(value)
    if not finite.all():
        where = tuple(int(i) for i in np.argwhere(~finite)[0])
        found = np.asarray(mapping[name])[where]
        raise ValueError(f"{name} is not finite in float32: {found} at {list(where)}")
    if value.size == 0:
        raise ValueError(f"{name} has shape {value.shape}, expected an input_size of 1 or more")
    return value


def _direction(names: Names, prefix: str) -> Direction:
    directions = {reverse for _, reverse in names}
    return (
        "bidirectional" if len(directions) == 2 else "reverse" if True in directions else "forward"
    )


def read_weights(mapping: Mapping[str, Any], prefix: str = "", cell: Cell = PLAIN) -> Weights:
    """Read a stack from a state dict of `torch.nn.LSTM` or `torch.nn.LSTMCell`.

    Args:
        mapping: names to values, each anything that `np.asarray` takes; other names are ignored.
        prefix: what stands before the names, such as "model.decoder.rnn.".
        cell: the options of every layer's cell.

    Raises:
        TypeError: mapping is no mapping, or values are not real numbers.
        ValueError: a weight is missing, misshapen or not finite, or things do not go together.
    """
    if not isinstance(mapping, Mapping):
        raise TypeError(f"expected a mapping of names to arrays, found {type(mapping).__name__}")
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a string, found {type(prefix).__name__}")
    names = _index(mapping, prefix)
    direction = _direction(names, prefix)
    first = names.get((0, direction == "reverse"), {})
    bare = first.get("weight_hh", "").endswith(("weight_hh", "weight_hh_reverse"))
    projected = any("weight_hr" in kinds for kinds in names.values())
    is_there = {kind for kinds in names.values() for kind in kinds}
    wanted = ["weight_ih", "weight_hh"]
    wanted += ["bias_ih", "bias_hh"] if is_there & {"bias_ih", "bias_hh"} else []
    wanted += ["weight_hr"] if projected else []

    def called(kind: str, layer: int, reverse: bool) -> str:
        number = "" if bare and layer == 0 else f"_l{layer}"
        return f"{prefix}{kind}{number}{'_reverse' if reverse else ''}"

    if "weight_hh" not in first:
        raise _missing(mapping, called("weight_hh", 0, direction == "reverse"), prefix)
    hidden_size = _hidden_size(mapping, first["weight_hh"], projected)
    layers, display = [], {}
    for n in range(1 + max(layer for layer, _ in names)):
        for reverse in {"forward": [False], "reverse": [True]}.get(direction, [False, True]):
            kinds = names.get((n, reverse), {})
            for kind in wanted:
                if kind not in kinds:
                    raise _missing(mapping, called(kind, n, reverse), prefix)
            values = {
                kind: _take(mapping, kinds[kind], kind, hidden_size)
                for kind in KINDS
                if kind in kinds
            }
            layers.append(LayerWeights(**values, cell=cell))
            suffix = f"_l{n}_reverse" if reverse else f"_l{n}"
            display.update({kind + suffix: called(kind, n, reverse) for kind in KINDS})
    return make_weights(layers, direction, display)
