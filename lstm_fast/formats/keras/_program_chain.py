"""The layers of a Keras 3 model that is a chain, in the order in which a value goes through them.

A Sequential is one, and a Functional model in which each layer gets just what the one before it
puts out. Models in models are taken apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..._budget import Budget
from .._inventory import brief
from ._calls import call_of, kind_of, name_of, references
from ._config import INPUTS, MODELS, charge_layer, group_names
from ._model import ConfigError, Path


@dataclass(frozen=True)
class Piece:
    """One layer: its class, its options, where its weights are, and the names from the top."""

    kind: str
    options: dict[str, Any]
    group: Path
    names: Path
    is_training: bool = False

    @property
    def name(self) -> str:
        return "/".join(self.names)

    def __str__(self) -> str:
        return f"layer {self.name!r} ({self.kind})"


def a_dict(value: Any) -> dict[str, Any]:
    """Return a value that should be a dict, or an empty one."""
    return value if isinstance(value, dict) else {}


def chain(layer: dict[str, Any], group: Path, names: Path, budget: Budget) -> Iterator[Piece]:
    """Yield the layers of a model, or the one layer that it is.

    Args:
        layer: its config.
        group: where its weights are.
        names: its name behind those of the models around it; () for the model as a whole.
        budget: what is charged.

    Raises:
        ConfigError: it is not a chain.
    """
    charge_layer(budget, group, names)
    kind, options = kind_of(layer), a_dict(layer.get("config"))
    own, is_model = layer.get("registered_name"), kind in MODELS
    piece = Piece(kind, options, group, names, call_of(layer).training)
    module = brief(layer.get("module"))
    if module.startswith("keras.") and module != "keras.layers" and not is_model:
        raise ConfigError(f"{piece}: it is an operation of {module}; only layers are read here")
    if own and not (is_model and own == kind):
        raise ConfigError(f"{piece}: its class is your own, {brief(own)!r}: it is not read here")
    if not is_model:
        if module != "keras.layers":
            raise ConfigError(f"{piece}: it is of {module!r}, not of Keras: it is not read here")
        yield piece
        return
    listed = options.get("layers")
    layers = [a_dict(one) for one in listed] if isinstance(listed, list) else []
    inner = [name_of(one) for one in layers]
    if any("inbound_nodes" in one for one in layers):
        _check_graph(options, layers, inner)
    for one, place, name in zip(layers, group_names(layers, budget), inner, strict=True):
        yield from chain(one, (*group, "layers", place), (*names, name), budget)


def _check_graph(options: dict[str, Any], layers: list[dict[str, Any]], names: list[str]) -> None:
    """Refuse a graph of layers that is not a chain, or stands in another order."""
    told = "only models are read in which each layer follows the one before it"
    before: str | None = None
    for layer, name in zip(layers, names, strict=True):
        where = f"layer {name!r} ({kind_of(layer)})"
        call = call_of(layer)
        if kind_of(layer) in INPUTS:
            if before is not None:
                raise ConfigError(f"{where}: it is a second input: {told}")
        elif call.first != 1:
            raise ConfigError(f"{where}: it is called {call.first} times: {told}")
        elif call.masks:
            raise ConfigError(f"{where}: it is given a mask from {call.masks[0]!r}: {told}")
        elif call.data != ((before, 0),):
            found = ", ".join(repr(source) for source, _ in call.data[:8]) or "nothing"
            raise ConfigError(f"{where}: it gets what {found} puts out: {told}")
        before = name
    ends = list(references(options.get("output_layers")))
    if ends != [(before, 0)]:
        found = ", ".join(repr(source) for source, _ in ends[:8]) or "nothing"
        raise ConfigError(f"the model puts out what {found} computes, not its last layer: {told}")
