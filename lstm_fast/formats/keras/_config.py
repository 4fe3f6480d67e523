"""The LSTMs that a Keras model's config tells of: what they compute, and which make a stack.

A config is JSON: a tree of layers with their options. What is said here holds for Keras 2 and 3;
`_calls` has how layers are called, `_model` what they are for us.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import Any

from ..._budget import Budget
from ...cell import Cell
from .._inventory import VALUES, brief
from ._calls import assumptions, call_of, kind_of, mask_after, name_of, references
from ._model import CellPart, ConfigError, Layer, Model, Other, Path, Run, Taken, activation

# Layers that pass on what they get when nobody trains; a stack goes on across them.
IDLE = frozenset(
    {"Dropout", "SpatialDropout1D", "GaussianDropout", "GaussianNoise", "AlphaDropout"}
    | {"ActivityRegularization", "Identity"}
)
MODELS = frozenset({"Sequential", "Functional", "Model"})
INPUTS = frozenset({"InputLayer"})
LAYER_STEPS, LAYER_BYTES = 60, 2000  # of one layer or cell, beside its names
GROUP_STEPS = 15  # to see how it is called
COPIES = 6  # of the names around a layer, which stand in texts of it
LARGEST_SIZE = 2**63  # beyond which sizes only make products that take long


def read_model(config: Any, taken: Taken, budget: Budget) -> Model:
    """Return what a config tells of.

    Args:
        config: parsed.
        taken: for what it leaves open.
        budget: what is charged.

    Raises:
        FormatError: it takes more than a file of this size can need.
    """
    model = Model()
    _Reader(model, taken, budget).walk(config, (), (), None)
    return model


def charge_layer(budget: Budget, group: Path, names: Path) -> None:
    """Charge what is made of one layer or cell.

    Raises:
        FormatError: it is more than a file of this size can need.
    """
    what = "what its config tells of"
    budget.work(LAYER_STEPS + len(group) + len(names), what)
    characters = sum(map(len, group)) + sum(map(len, names))
    budget.memory(LAYER_BYTES + 16 * len(group) + COPIES * characters, what)


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def snake_case(name: str) -> str:
    """Return how Keras 3 calls the group of a layer of this class."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def group_names(layers: list[dict[str, Any]], budget: Budget) -> list[str]:
    """Return the groups of layers beside each other: by class, numbered from the second on.

    Raises:
        FormatError: there are more than a file of this size can need.
    """
    budget.work(GROUP_STEPS * len(layers), "what its config tells of")
    names, used = [], dict[str, int]()
    for layer in layers:
        name = snake_case(kind_of(layer))
        count = used.get(name, 0)
        used[name] = count + 1
        names.append(f"{name}_{count}" if count else name)
    return names


def _feeds(
    config: dict[str, Any], layers: list[dict[str, Any]], names: list[str]
) -> dict[str, str]:
    """Return which layer is the only one that gets what a layer puts out, and nothing else."""
    if not any("inbound_nodes" in layer for layer in layers):
        return dict(itertools.pairwise(names))  # a Sequential
    sources = {name: call_of(layer).data for name, layer in zip(names, layers, strict=True)}
    uses: dict[str, list[tuple[int, str | None]]] = {}
    for name, found in [*sources.items(), (None, tuple(references(config.get("output_layers"))))]:
        for source, tensor in found:
            uses.setdefault(source, []).append((tensor, name))
    feeds = {}
    for source, used in uses.items():
        (tensor, target), *more = used
        if target is not None and not more and tensor == 0 and len(sources[target]) == 1:
            feeds[source] = target
    return feeds


class _Reader:
    def __init__(self, model: Model, taken: Taken, budget: Budget) -> None:
        self._model = model
        self._budget = budget
        self._taken = taken
        self._assumed: list[str] = []  # of the layer that is being read

    def walk(self, config: Any, group: Path, names: Path, mask: str | None) -> str | None:
        """Look through a model, or whatever else has layers; return the mask that it puts out.

        Masks are in words what makes them; None is none.
        """
        options = _dict(config).get("config")
        if isinstance(options, list):  # a Sequential before Keras 2.2.3
            options = {"layers": options}
        options = _dict(options)
        listed = options.get("layers")
        if not isinstance(listed, list):
            return mask
        layers = [_dict(layer) for layer in listed]
        inner = [name_of(layer) for layer in layers]
        inputs = frozenset(
            n for n, layer in zip(inner, layers, strict=True) if kind_of(layer) in INPUTS
        )
        found: dict[str, Layer | None] = {}
        masks: dict[str, str | None] = {}
        last = mask
        for layer, place, name in zip(
            layers, group_names(layers, self._budget), inner, strict=True
        ):
            charge_layer(self._budget, (*group, place), (*names, name))
            call = call_of(layer)
            before = next(filter(None, (masks.get(source) for source, _ in call.data)), None)
            before = (mask if name in inputs else before) if "inbound_nodes" in layer else last
            one, after = self._layer_and_mask(
                layer, (*group, "layers", place), (*names, name), before, inputs
            )
            last = masks[name] = after
            if one is not None or kind_of(layer) in IDLE:
                found[name] = one
        self._chain(found, _feeds(options, layers, inner))
        leaving = [masks.get(source) for source, _ in references(options.get("output_layers"))]
        return next(filter(None, leaving), None) if leaving else last

    def _layer_and_mask(
        self,
        layer: dict[str, Any],
        group: Path,
        names: Path,
        mask: str | None,
        inputs: frozenset[str],
    ) -> tuple[Layer | None, str | None]:
        """Return a recurrent layer, None for another, and the mask that it puts out."""
        kind = kind_of(layer)
        self._model.kinds.append(kind)
        if kind in MODELS or isinstance(_dict(layer.get("config")).get("layers"), list):
            return None, self.walk(layer, group, names, mask)
        self._assumed.clear()
        try:
            one = self._layer(layer, group, names)
        except ConfigError as error:
            self._model.refused.append(Other(brief(kind), group, names))
            one = Layer(names, (), error=str(error))
        if one is not None and one.error is None:
            texts, notes = assumptions(layer, mask, inputs)
            texts = [*dict.fromkeys(self._assumed), *texts]
            one = replace(one, assumptions=tuple(texts), notes=(*one.notes, *notes))
        return one, mask if kind in INPUTS else mask_after(layer, mask)

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
        """Return a recurrent layer; None for another, after a look into it.

        Raises:
            ConfigError: it is an LSTM that cannot be computed.
        """
        kind, options = kind_of(layer), _dict(layer.get("config"))
        if kind == "TimeDistributed":
            wrapped = _dict(options.get("layer"))
            inner, _ = self._layer_and_mask(wrapped, (*group, "layer"), names, None, frozenset())
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
        kind = layer.get("registered_name") or kind_of(layer)
        if kind == "RNN":
            cell = _dict(_dict(layer.get("config")).get("cell"))
            kind = f"RNN of {brief(cell.get('registered_name') or kind_of(cell))}"
        self._model.others.append(Other(brief(kind), group, names))

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
            None if mode is None else brief(mode),
            _notes(options_of_first),
        )

    def _run(self, layer: dict[str, Any], group: Path, names: Path, first: int) -> Run | None:
        """Return the cells of a layer that is an LSTM, or an RNN of LSTMCells."""
        kind, options = kind_of(layer), _dict(layer.get("config"))
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
        if kind_of(cells[0]) == "StackedRNNCells":
            inner = _dict(cells[0].get("config")).get("cells")
        if isinstance(inner, list):
            cells = [_dict(cell) for cell in inner]
            groups = [(*group, "cell", "cells", name) for name in group_names(cells, self._budget)]
        kinds = {None if c.get("registered_name") else kind_of(c) for c in cells}
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
        charge_layer(self._budget, group, names)
        units, where = options.get("units"), "/".join(names)
        if "output_dim" in options:
            raise ConfigError(f"{where} is of Keras 1; load it with Keras 2 and save it again")
        if not isinstance(units, int) or not 1 <= units < LARGEST_SIZE:
            raise ConfigError(f"{where} has {VALUES.repr(units)} units")
        cell = Cell()
        if not is_cudnn:
            cell = self._activations(options, where)
        use_bias = options.get("use_bias", True) is not False
        return CellPart(group, names, place, units, cell, use_bias, is_cudnn)

    def _activations(self, options: dict[str, Any], where: str) -> Cell:
        major = self._taken.version.major
        main = activation(options.get("activation", "tanh"), major, f"activation of {where}")
        if "recurrent_activation" in options:
            name = options["recurrent_activation"]
            gate = activation(name, major, f"recurrent_activation of {where}")
        else:
            try:
                gate, texts = self._taken.gates()
                self._assumed += [f"its config does not hold it: {text}" for text in texts]
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from None
        return Cell(gate=gate, input=main, output=main)


def _notes(options: dict[str, Any]) -> tuple[str, ...]:
    notes = []
    if options.get("stateful") is True:
        notes.append("stateful in Keras: a stream goes on from one call to the next by itself")
    if options.get("time_major") is True:
        notes.append("time_major in Keras: there time is the first axis, then the batch")
    return tuple(notes)


def fits(lower: Layer, upper: Layer) -> bool:
    """Whether two layers that follow each other are layers of one LSTM."""
    directions = [[run.backwards for run in layer.runs] for layer in (lower, upper)]
    units = {cell.units for layer in (lower, upper) for cell in layer.cells}
    is_bidirectional = len(lower.runs) == 2
    return (
        lower.error is upper.error is None
        and lower.sequences
        and lower.merge_mode == upper.merge_mode == "concat"
        and directions[0] == directions[1] == ([False, True] if is_bidirectional else [False])
        and len(units) == 1
        and not (is_bidirectional and any(len(r.cells) > 1 for x in (lower, upper) for r in x.runs))
    )
