"""Where a Keras file keeps the weights of an LSTM cell: in groups (Keras 3), by names (Keras 2)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from ..cell import PLAIN
from ._keras_config import CellPart, Layer, Other, Path, Run
from ._keras_hdf5 import Hdf5Error, Object

OLD_LAYERS = "_layer_checkpoint_dependencies"  # what Keras 2.12 calls the group "layers"
LEAF = re.compile(r"(kernel|recurrent_kernel|bias)(_[0-9]+)?(:[0-9]+)?")


@dataclass(frozen=True)
class Arrays:
    """The arrays of one cell, by where they are in the file."""

    kernel: tuple[str, Object]
    recurrent: tuple[str, Object]
    bias: tuple[str, Object] | None

    @property
    def is_lstm(self) -> bool:
        """Whether the shapes are those of an LSTM; with peepholes or three gates they are not."""
        kernel, recurrent = self.kernel[1].shape, self.recurrent[1].shape
        if len(kernel) != 2 or len(recurrent) != 2:
            return False
        units = recurrent[0]
        rows = None if self.bias is None else self.bias[1].shape
        return kernel[1] == recurrent[1] == 4 * units > 0 and rows in (
            None,
            (4 * units,),
            (8 * units,),
        )


class Store(Protocol):
    """Where weights are."""

    def arrays(self, part: CellPart) -> Arrays | None:
        """Return the arrays of a cell; None where they are not there."""

    def scan(self) -> list[Layer]:
        """Return whatever looks like an LSTM; what it computes is a guess."""

    def is_part(self, part: CellPart, other: Other) -> bool:
        """Whether a cell that `scan` found is of a layer that the config knows as another."""


class Groups:
    """The layout of Keras 3, in which groups are called by classes: layers/lstm_1/cell/vars/0."""

    def __init__(self, root: Object) -> None:
        self._root = root
        self._seen: set[int] = set()
        self._is_old = OLD_LAYERS in root.links

    def arrays(self, part: CellPart) -> Arrays | None:
        path = [OLD_LAYERS if self._is_old and n == "layers" else n for n in part.group]
        return self._at(self._root.get(*path), "/".join(path))

    def _at(self, group: Object | None, path: str) -> Arrays | None:
        found = [None if group is None else group.get("vars", number) for number in "012"]
        named = [(f"{path}/vars/{n}", one) for n, one in enumerate(found) if one is not None]
        if len(named) < 2 or not all(one.is_array for _, one in named):
            return None
        if group is not None and group.get("vars", "3") is not None:
            return None  # with peepholes, for one
        return Arrays(named[0], named[1], named[2] if len(named) == 3 else None)

    def is_part(self, part: CellPart, other: Other) -> bool:
        return part.group[: len(other.group)] == other.group

    def scan(self) -> list[Layer]:
        layers: list[Layer] = []
        self._seen.clear()
        self._scan(self._root, (), (), layers)
        return layers

    def _scan(self, group: Object, path: Path, names: Path, layers: list[Layer]) -> None:
        if id(group) in self._seen:  # there is one Object for each address
            raise Hdf5Error(f"the group {'/'.join(path)} is in two places")
        self._seen.add(id(group))
        both = [group.get(name) for name in ("forward_layer", "backward_layer")]
        runs = [
            None if one is None else self._run(one, (*path, name), names)
            for one, name in zip(both, ("forward_layer", "backward_layer"), strict=True)
        ]
        if runs[0] and runs[1]:
            backward = Run(runs[1].cells, True)
            layers.append(Layer(names, (runs[0], backward)))
            return
        if run := self._run(group, path, names):
            layers.append(Layer(names, (run,)))
            return
        for name in group.links:
            inner = group.get(name)
            if inner is None or name == "vars":
                continue
            is_layer = name not in ("layers", OLD_LAYERS)
            called = _own_name(inner) or name
            self._scan(inner, (*path, name), (*names, called) if is_layer else names, layers)

    def _run(self, group: Object, path: Path, names: Path) -> Run | None:
        inner = group.get("cell", "cells")
        paths = [path, (*path, "cell")]
        if inner is not None:
            paths = [(*path, "cell", "cells", name) for name in inner.links]
        cells: list[CellPart] = []
        for place in paths:
            found = self._at(self._root.get(*place), "")
            if found is not None and found.is_lstm:
                cells.append(_guess(found, place, names, len(cells)))
        if inner is not None and len(cells) < len(paths):
            return None
        return Run(tuple(cells), False) if cells else None


def _own_name(group: Object) -> str | None:
    """Return what the user called a layer, which Keras keeps since 3.7."""
    inner = group.get("vars")
    return None if inner is None else inner.text("name")


def _guess(found: Arrays, group: Path, names: Path, place: int) -> CellPart:
    units = found.recurrent[1].shape[0]
    is_cudnn = found.bias is not None and found.bias[1].shape == (8 * units,)
    return CellPart(group, names, place, units, PLAIN, found.bias is not None, is_cudnn, True)


class Names:
    """The layout of Keras 2, in which all goes by names: lstm/lstm/lstm_cell/kernel:0."""

    def __init__(self, root: Object, prefix: str) -> None:
        self._cells: dict[Path, Arrays] = {}
        seen = set()  # of groups, lest a damaged file names one a thousand times
        for layer in _names(root, "layer_names"):
            group = root.get(layer)
            if group is not None and id(group) not in seen:
                seen.add(id(group))
                self._collect(group, layer, f"{prefix}{layer}")

    def _collect(self, group: Object, layer: str, prefix: str) -> None:
        pieces: dict[Path, dict[str, tuple[str, Object]]] = {}
        for name in _names(group, "weight_names"):
            *path, last = name.split("/")
            match = LEAF.fullmatch(last)
            found = group.get(*path, last) if match else None
            if match and found is not None and found.is_array:
                kinds = pieces.setdefault((layer, *path, match[2] or ""), {})
                kinds[match[1]] = (f"{prefix}/{name}", found)
        for key, kinds in pieces.items():
            if {"kernel", "recurrent_kernel"} <= kinds.keys():
                one = Arrays(kinds["kernel"], kinds["recurrent_kernel"], kinds.get("bias"))
                if one.is_lstm:
                    self._cells[key] = one

    def arrays(self, part: CellPart) -> Arrays | None:
        if part.is_guess:
            return self._cells.get(part.group)
        top, own = part.names[0], part.names[-1]
        keys = [key for key in self._cells if key[0] == top]
        if len(part.names) > 1:  # in a model in the model; then names are all there is to go by
            keys = [key for key in keys if own in key[1:-1]]
        # A Bidirectional's forward layer is the first in all files seen; its name makes sure.
        keys.sort(key=lambda key: any(one.startswith("backward_") for one in key[1:]))
        return self._cells[keys[part.place]] if part.place < len(keys) else None

    def is_part(self, part: CellPart, other: Other) -> bool:
        return part.group[0] == other.names[0] and other.names[-1] in part.group[:-1]

    def scan(self) -> list[Layer]:
        layers: list[Layer] = []
        pairs: dict[Path, CellPart] = {}
        for key, found in self._cells.items():
            names = _layer_names(key)
            part = _guess(found, key, names, 0)
            forward = tuple(re.sub("^forward_", "", one) for one in key)
            backward = tuple(re.sub("^backward_", "", one) for one in key)
            if forward != key:
                pairs[forward] = part
                layers.append(Layer(names, (Run((part,), False),)))
            elif backward != key and backward in pairs:
                first = pairs.pop(backward)
                at = next(n for n, one in enumerate(layers) if one.cells == [first])
                runs = (Run((first,), False), Run((part,), True))
                layers[at] = Layer(tuple(n for n in names if n in first.names), runs)
            else:
                layers.append(Layer(names, (Run((part,), False),)))
        return layers


def _layer_names(key: Path) -> Path:
    """Return what the user knows of the path of a cell's weights."""
    names = tuple(name for n, name in enumerate(key[:-1]) if n == 0 or name != key[n - 1])
    is_own = re.fullmatch("lstm_cell(_[0-9]+)?", names[-1]) and "stacked_rnn_cells" not in names
    return names[:-1] if is_own and len(names) > 1 else names


def _names(group: Object, name: str) -> list[str]:
    """Return the texts of an attribute, which Keras cuts into pieces where there are many."""
    found = group.attribute(name)
    if found is None:
        found, n = [], 0
        while (more := group.attribute(f"{name}{n}")) is not None:
            found += more
            n += 1
    return [one.split(b"\0")[0].decode("utf-8", "replace") for one in found]
