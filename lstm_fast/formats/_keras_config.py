"""The LSTMs that a Keras model's config tells of: what they compute, and which make a stack.

A config is JSON: a tree of layers with their options. What is said here holds for Keras 2 and 3.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..cell import Activation, Cell

# What Keras calls an activation, and what it is here. What hard_sigmoid is depends on the version.
ACTIVATIONS = {
    "tanh": Activation("tanh"),
    "sigmoid": Activation("sigmoid"),
    "linear": Activation("affine", 1.0, 0.0),
    "relu": Activation("relu"),
    "elu": Activation("elu", 1.0),
    "leaky_relu": Activation("leaky_relu", 0.2),
    "softsign": Activation("softsign"),
    "softplus": Activation("softplus"),
}
HARD_SIGMOID = {2: Activation("hard_sigmoid", 0.2, 0.5), 3: Activation("hard_sigmoid", 1 / 6, 0.5)}
# Layers that pass on what they get when nobody trains; a stack goes on across them.
IDLE = frozenset(
    {"Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise", "AlphaDropout"}
    | {"ActivityRegularization", "Identity"}
)
MODELS = frozenset({"Sequential", "Functional", "Model"})
Path = tuple[str, ...]


class ConfigError(ValueError):
    """The config is damaged, or tells of an LSTM that is not computed here."""


@dataclass(frozen=True)
class CellPart:
    """One LSTM cell.

    group: the path of groups under which Keras 3 keeps its weights.
    names: the names of the layers around it, from the top; Keras 2 goes by them.
    place: which it is of the cells of the innermost of these layers.
    is_guess: whether no config tells of it; then cell is the plain one.
    """

    group: Path
    names: Path
    place: int
    units: int
    cell: Cell
    use_bias: bool
    is_cudnn: bool = False
    is_guess: bool = False


@dataclass(frozen=True)
class Run:
    """Cells on top of each other that go through the sequence together, in one direction."""

    cells: tuple[CellPart, ...]
    backwards: bool


@dataclass(frozen=True)
class Layer:
    """A recurrent layer: one run, or the two of a Bidirectional, forward first."""

    names: Path
    runs: tuple[Run, ...]
    sequences: bool = True
    merge_mode: str | None = "concat"
    notes: tuple[str, ...] = ()

    @property
    def cells(self) -> list[CellPart]:
        return [cell for run in self.runs for cell in run.cells]


@dataclass(frozen=True)
class Other:
    """A recurrent layer that is no LSTM of Keras's own: GRU, a class that somebody derived."""

    kind: str
    group: Path
    names: Path

    def __str__(self) -> str:
        return f"{self.kind} {'/'.join(self.names)}"


@dataclass
class Model:
    """What a config tells of: chains of recurrent layers, and recurrent layers of other kinds."""

    major: int | None  # Keras's version
    chains: list[list[Layer]] = field(default_factory=list)
    others: list[Other] = field(default_factory=list)


def activation(value: Any, major: int | None, what: str) -> Activation:
    """Return what Keras calls by a name, or describes by a layer's config.

    Raises:
        ConfigError: it is none of those that are computed here.
    """
    if value is None:
        value = "linear"
    if isinstance(value, dict):
        options, kind = _dict(value.get("config")), value.get("class_name")
        number = {"LeakyReLU": ("negative_slope", "alpha"), "ELU": ("alpha",)}.get(str(kind), ())
        for name in number:
            if isinstance(options.get(name), (int, float)) and not value.get("registered_name"):
                return Activation("leaky_relu" if kind == "LeakyReLU" else "elu", options[name])
        value = kind if kind != "function" else value.get("config")
    elif value == "hard_sigmoid":
        if major is None:
            raise ConfigError(
                f"{what} is hard_sigmoid, which Keras 2 and 3 compute differently, and the file "
                "does not say by which it was written"
            )
        return HARD_SIGMOID[2 if major < 3 else 3]
    elif isinstance(value, str) and value in ACTIVATIONS:
        return ACTIVATIONS[value]
    known = ", ".join([*ACTIVATIONS, "hard_sigmoid"])
    raise ConfigError(f"{what} is {value!r}, which is not computed here; {known} are")


def read_model(config: Any, major: int | None) -> Model:
    """Return what a config tells of.

    Raises:
        ConfigError: it is damaged, or tells of an LSTM that is not computed here.
    """
    model = Model(major)
    _Reader(model).walk(config, (), ())
    return model


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def snake_case(name: str) -> str:
    """Return how Keras 3 calls the group of a layer of this class."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def group_names(layers: list[dict[str, Any]]) -> list[str]:
    """Return the groups of layers beside each other: by class, numbered from the second on."""
    names, used = [], dict[str, int]()
    for layer in layers:
        name = snake_case(str(layer.get("class_name")))
        count = used.get(name, 0)
        used[name] = count + 1
        names.append(f"{name}_{count}" if count else name)
    return names


def _references(value: Any) -> Iterator[tuple[str, int]]:
    """Yield the tensors in a layer's inbound nodes, by the layer they come from and which it is."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _references(inner)
    elif isinstance(value, list):
        if len(value) in (3, 4) and isinstance(value[0], str) and isinstance(value[2], int):
            yield value[0], value[2]
            value = value[3:]
        for inner in value:
            yield from _references(inner)


def _feeds(
    config: dict[str, Any], layers: list[dict[str, Any]], names: list[str]
) -> dict[str, str]:
    """Return which layer is the only one that gets what a layer puts out, and nothing else."""
    if not any("inbound_nodes" in layer for layer in layers):
        return dict(itertools.pairwise(names))  # a Sequential
    sources = {
        name: list(_references(layer.get("inbound_nodes")))
        for name, layer in zip(names, layers, strict=True)
    }
    uses: dict[str, list[tuple[int, str | None]]] = {}
    for name, found in [*sources.items(), (None, list(_references(config.get("output_layers"))))]:
        for source, tensor in found:
            uses.setdefault(source, []).append((tensor, name))
    feeds = {}
    for source, used in uses.items():
        (tensor, target), *more = used
        if target is not None and not more and tensor == 0 and len(sources[target]) == 1:
            feeds[source] = target
    return feeds


class _Reader:
    def __init__(self, model: Model) -> None:
        self._model = model

    def walk(self, config: Any, group: Path, names: Path) -> None:
        """Look through a model, or whatever else has layers."""
        options = _dict(config).get("config")
        if isinstance(options, list):  # a Sequential before Keras 2.2.3
            options = {"layers": options}
        options = _dict(options)
        listed = options.get("layers")
        if not isinstance(listed, list):
            return
        layers = [_dict(layer) for layer in listed]
        inner = [str(_dict(one.get("config")).get("name", one.get("name"))) for one in layers]
        found: dict[str, Layer | None] = {}
        for layer, place, name in zip(layers, group_names(layers), inner, strict=True):
            one = self._layer(layer, (*group, "layers", place), (*names, name))
            if one is not None or layer.get("class_name") in IDLE:
                found[name] = one
        self._chain(found, _feeds(options, layers, inner))

    def _chain(self, found: dict[str, Layer | None], feeds: dict[str, str]) -> None:
        """Put layers that follow each other into one chain."""
        chains: dict[str, list[Layer]] = {}  # by the name of the layer that comes next
        for name, layer in found.items():  # in the order of the config: what feeds comes first
            chain = chains.pop(name, [])
            if layer is not None:
                if not chain or not fits(chain[-1], layer):
                    chain = []
                    self._model.chains.append(chain)
                chain.append(layer)
            if chain and name in feeds:
                chains[feeds[name]] = chain

    def _layer(self, layer: dict[str, Any], group: Path, names: Path) -> Layer | None:
        """Return a recurrent layer; None for another, after a look into it."""
        kind, options = layer.get("class_name"), _dict(layer.get("config"))
        if kind in MODELS or isinstance(options.get("layers"), list):
            self.walk(layer, group, names)
        elif kind == "TimeDistributed":
            inner = self._layer(_dict(options.get("layer")), (*group, "layer"), names)
            if inner is not None:
                self._model.chains.append([inner])
        elif kind == "Bidirectional":
            return self._bidirectional(options, group, names)
        elif run := self._run(layer, group, names, 0):
            sequences = options.get("return_sequences") is True
            return Layer(names, (run,), sequences, "concat", _notes(options))
        elif "recurrent_initializer" in options or kind in ("RNN", "LSTM"):
            self._other(layer, group, names)
        return None

    def _other(self, layer: dict[str, Any], group: Path, names: Path) -> None:
        kind = layer.get("registered_name") or layer.get("class_name")
        if kind == "RNN":
            cell = _dict(_dict(layer.get("config")).get("cell"))
            kind = f"RNN of {cell.get('registered_name') or cell.get('class_name')}"
        self._model.others.append(Other(str(kind), group, names))

    def _bidirectional(self, options: dict[str, Any], group: Path, names: Path) -> Layer | None:
        forward = _dict(options.get("layer"))
        backward = _dict(options.get("backward_layer"))
        first = self._run(forward, (*group, "forward_layer"), names, 0)
        if first is None:
            self._other(forward, group, names)
            return None
        if not backward:  # then it is made from the other, with go_backwards turned
            second = self._run(forward, (*group, "backward_layer"), names, len(first.cells))
            second = second and Run(second.cells, not first.backwards)
        else:
            second = self._run(backward, (*group, "backward_layer"), names, len(first.cells))
        if second is None:
            raise ConfigError(f"{'/'.join(names)} is an LSTM in one direction only")
        options_of_first = _dict(forward.get("config"))
        mode = options.get("merge_mode", "concat")
        return Layer(
            names,
            (first, second),
            options_of_first.get("return_sequences") is True,
            None if mode is None else str(mode),
            _notes(options_of_first),
        )

    def _run(self, layer: dict[str, Any], group: Path, names: Path, first: int) -> Run | None:
        """Return the cells of a layer that is an LSTM, or an RNN of LSTMCells."""
        kind, options = layer.get("class_name"), _dict(layer.get("config"))
        if layer.get("registered_name"):  # somebody's own class of that name
            return None
        backwards = options.get("go_backwards") is True
        if kind == "LSTM":
            return Run((self._cell(options, (*group, "cell"), names, first),), backwards)
        if kind == "CuDNNLSTM":
            return Run((self._cell(options, group, names, first, True),), backwards)
        if kind != "RNN":
            return None
        inner = options.get("cell")
        cells, groups = [_dict(inner)], [(*group, "cell")]
        if cells[0].get("class_name") == "StackedRNNCells":
            inner = _dict(cells[0].get("config")).get("cells")
        if isinstance(inner, list):
            cells = [_dict(cell) for cell in inner]
            groups = [(*group, "cell", "cells", name) for name in group_names(cells)]
        kinds = {None if c.get("registered_name") else c.get("class_name") for c in cells}
        if kinds != {"LSTMCell"}:
            return None
        parts = [
            self._cell(_dict(cell.get("config")), place, names, first + n)
            for n, (cell, place) in enumerate(zip(cells, groups, strict=True))
        ]
        return Run(tuple(parts), backwards)

    def _cell(
        self, options: dict[str, Any], group: Path, names: Path, place: int, is_cudnn: bool = False
    ) -> CellPart:
        units, where = options.get("units"), "/".join(names)
        if "output_dim" in options:
            raise ConfigError(f"{where} is of Keras 1; load it with Keras 2 and save it again")
        if not isinstance(units, int) or units < 1:
            raise ConfigError(f"{where} has {units!r} units")
        cell = Cell()
        if not is_cudnn:
            main, gate = (
                activation(options.get(name, default), self._model.major, f"{name} of {where}")
                for name, default in (("activation", "tanh"), ("recurrent_activation", "sigmoid"))
            )
            cell = Cell(gate=gate, input=main, output=main)
        use_bias = options.get("use_bias", True) is not False
        return CellPart(group, names, place, units, cell, use_bias, is_cudnn)


def _notes(options: dict[str, Any]) -> tuple[str, ...]:
    if options.get("stateful") is not True:
        return ()
    return ("stateful in Keras: a stream goes on from one call to the next by itself",)


def fits(lower: Layer, upper: Layer) -> bool:
    """Whether two layers that follow each other are layers of one LSTM."""
    directions = [[run.backwards for run in layer.runs] for layer in (lower, upper)]
    units = {cell.units for layer in (lower, upper) for cell in layer.cells}
    is_bidirectional = len(lower.runs) == 2
    return (
        lower.sequences
        and lower.merge_mode == upper.merge_mode == "concat"
        and directions[0] == directions[1] == ([False, True] if is_bidirectional else [False])
        and len(units) == 1
        and not (is_bidirectional and any(len(r.cells) > 1 for x in (lower, upper) for r in x.runs))
    )
