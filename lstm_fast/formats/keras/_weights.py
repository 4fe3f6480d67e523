"""Where a Keras file keeps the weights of an LSTM cell: in groups (Keras 3), by names (Keras 2)."""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from ...cell import PLAIN
from ._file import OLD_LAYERS
from ._hdf5 import TEXT_BYTES, WIDEST, Object
from ._hdf5_messages import Hdf5Error, WholeFileError, text_of
from ._model import CellPart, Layer, Other, Path, Run

MOST_SHOWN = 1000
KEY_STEPS = 0.5
# Of one name of an array, beside its characters; and of one piece of a path.
NAME_STEPS, NAME_BYTES, PIECE_BYTES = 10, 1000, 60
COPIES = 6  # of a path, which stands in texts of it
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
        """Return the arrays of a cell; None where they are not there.

        Raises:
            Hdf5Error: they are damaged.
        """

    def scan(self) -> list[Layer]:
        """Return whatever looks like an LSTM; what it computes is a guess.

        What is damaged is a layer with an error, whose only cell says where it is.
        """

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
        length = min(len(part.group), len(other.group))
        return part.group[:length] == other.group[:length]

    def scan(self) -> list[Layer]:
        layers: list[Layer] = []
        self._seen.clear()
        self._try(self._root, (), (), layers)
        return layers

    def _try(self, group: Object, path: Path, names: Path, layers: list[Layer]) -> None:
        try:
            self._scan(group, path, names, layers)
        except WholeFileError:
            raise
        except Hdf5Error as error:
            length = sum(map(len, path)) + sum(map(len, names))
            group.budget.memory(NAME_BYTES + COPIES * length, "its groups")
            layers.append(_broken((*path, "cell"), names, f"{'/'.join(path)}: {error}"))

    def _scan(self, group: Object, path: Path, names: Path, layers: list[Layer]) -> None:
        if id(group) in self._seen:  # there is one Object for each address
            raise WholeFileError(f"the group {'/'.join(path)} is in two places")
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
        length = sum(map(len, path)) + sum(map(len, names))
        for name in group.links:
            group.budget.work(NAME_STEPS, "its groups")
            is_layer, place = name not in ("layers", OLD_LAYERS), (*path, name)
            try:
                inner = group.get(name)
                called = name if inner is None else _own_name(inner) or name
            except Hdf5Error as error:
                group.budget.memory(NAME_BYTES + COPIES * (length + len(name)), "its groups")
                layers.append(_broken(place, (*names, name), f"{'/'.join(place)}: {error}"))
                continue
            if inner is not None and name != "vars":
                self._try(inner, place, (*names, called) if is_layer else names, layers)

    def _run(self, group: Object, path: Path, names: Path) -> Run | None:
        inner = group.get("cell", "cells")
        paths = [path, (*path, "cell")]
        if inner is not None:
            paths = [(*path, "cell", "cells", name) for name in inner.links]
        cells: list[CellPart] = []
        what = "its cells"
        group.budget.work(NAME_STEPS * len(paths), what)
        group.budget.memory((NAME_BYTES + 16 * len(path)) * len(paths), what)
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


def _broken(group: Path, names: Path, error: str) -> Layer:
    """Return a layer that cannot be read."""
    return Layer(names, (Run((CellPart(group, names, 0, 1, PLAIN, False),), False),), error=error)


class Names:
    """The layout of Keras 2, in which all goes by names: lstm/lstm/lstm_cell/kernel:0."""

    def __init__(self, root: Object, prefix: str) -> None:
        self._budget = root.budget
        self._cells: dict[Path, Arrays | Hdf5Error] = {}
        self._keys: dict[str, list[Path]] | None = None
        self._layers: dict[str, Hdf5Error] = {}  # those that are damaged as a whole
        seen = set()  # of groups, lest a damaged file names one a thousand times
        for layer in _names(root, "layer_names"):
            try:
                group = root.get(layer)
                if group is not None and id(group) not in seen:
                    seen.add(id(group))
                    self._collect(group, layer, f"{prefix}{layer}")
            except Hdf5Error as error:
                self._layers[layer] = type(error)(f"{prefix}{layer}: {error}")

    def _collect(self, group: Object, layer: str, prefix: str) -> None:
        pieces: dict[Path, dict[str, tuple[str, Object]]] = {}
        errors: dict[Path, Hdf5Error] = {}
        for name in _names(group, "weight_names"):
            pieces_count, length = 1 + name.count("/"), len(prefix) + len(name)
            self._budget.work(NAME_STEPS + pieces_count, "its names")
            self._budget.memory(
                NAME_BYTES + PIECE_BYTES * pieces_count + COPIES * length, "its names"
            )
            *path, last = name.split("/")
            match = LEAF.fullmatch(last)
            if not match:
                continue
            key = (layer, *path, match[2] or "")
            kinds = pieces.setdefault(key, {})
            try:
                found = group.get(*path, last)
                if found is not None and found.is_array:
                    kinds[match[1]] = (f"{prefix}/{name}", found)
            except Hdf5Error as error:
                errors[key] = type(error)(f"{prefix}/{name}: {error}")
        for key, kinds in pieces.items():
            if key in errors:
                self._cells[key] = errors[key]
            elif {"kernel", "recurrent_kernel"} <= kinds.keys():
                one = Arrays(kinds["kernel"], kinds["recurrent_kernel"], kinds.get("bias"))
                if one.is_lstm:
                    self._cells[key] = one

    def arrays(self, part: CellPart) -> Arrays | None:
        found = self._find(part)
        if isinstance(found, Hdf5Error):
            raise found
        return found

    def _find(self, part: CellPart) -> Arrays | Hdf5Error | None:
        if part.is_guess:
            return self._cells.get(part.group)
        top, own = part.names[0], part.names[-1]
        if top in self._layers:
            return self._layers[top]
        keys = self._by_layer().get(top, [])
        self._budget.work(KEY_STEPS * len(keys), "its LSTMs")
        if len(part.names) > 1:  # in a model in the model; then names are all there is to go by
            keys = [key for key in keys if own in key[1:-1]]
        # A Bidirectional's forward layer is the first in all files seen; its name makes sure.
        keys = sorted(keys, key=lambda key: any(one.startswith("backward_") for one in key[1:]))
        return self._cells[keys[part.place]] if part.place < len(keys) else None

    def _by_layer(self) -> dict[str, list[Path]]:
        """Return the cells of each layer at the top."""
        if self._keys is None:
            self._keys = {}
            for key in self._cells:
                self._keys.setdefault(key[0], []).append(key)
        return self._keys

    def is_part(self, part: CellPart, other: Other) -> bool:
        return part.group[0] == other.names[0] and other.names[-1] in part.group[:-1]

    def scan(self) -> list[Layer]:
        layers = [_broken((name,), (name,), str(error)) for name, error in self._layers.items()]
        pairs: dict[Path, tuple[CellPart, int]] = {}  # a first direction, and where it is
        for key, found in self._cells.items():
            names = _layer_names(key)
            if isinstance(found, Hdf5Error):
                layers.append(_broken(key, names, str(found)))
                continue
            part = _guess(found, key, names, 0)
            forward = tuple(re.sub("^forward_", "", one) for one in key)
            backward = tuple(re.sub("^backward_", "", one) for one in key)
            if forward != key:
                pairs[forward] = part, len(layers)
                layers.append(Layer(names, (Run((part,), False),)))
            elif backward != key and backward in pairs:
                first, at = pairs.pop(backward)
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
    for one in found:
        group.budget.memory(TEXT_BYTES + WIDEST * len(one), name)
    return [text_of(one) for one in found]


def weights_names(root: Object) -> list[str]:
    """Return the paths of the arrays in a file, up to a number that is enough to show."""
    found: list[str] = []
    waiting = deque([("", root)])
    seen = set[int]()
    while waiting and len(found) < MOST_SHOWN:
        path, group = waiting.popleft()
        if id(group) in seen:
            continue
        seen.add(id(group))
        for name in group.links:
            root.budget.memory(NAME_BYTES + len(path) + len(name), "its names")
            inner = group.get(name)
            place = f"{path}/{name}" if path else name
            if inner is not None and inner.is_array:
                found.append(place)
            elif inner is not None:
                waiting.append((place, inner))
    return found
