"""Keras: .keras and .weights.h5 of Keras 3, .h5 and .keras of Keras 2; without Keras or h5py.

    LSTM, CuDNNLSTM, RNN of LSTMCells, each also in Bidirectional and TimeDistributed, in models in
    models; those that follow each other and are as wide make one stack.

A file of weights alone (`save_weights`) says nothing about activations or order: there, every LSTM
is on its own, with the activations that the options give.

Keras's arrays are transposed to ours and their gates i, f, c, o are ours, too. `unit_forget_bias`
is how the bias was once initialised; it is in the weights, and nothing is added.

libhdf5 does not survive damaged files, so the little of HDF5 that Keras uses is read here: see
`_keras_hdf5`. `_keras_config` has what a model is made of, `_keras_weights` where its arrays are,
and `_keras_found` makes stacks of them.
"""

from __future__ import annotations

import os
from pathlib import Path

from .._weights import LayerWeights
from ..cell import Activation, Cell
from ._files import FormatError, Found, checked, size_limit
from ._keras_config import Layer, Model, read_model
from ._keras_config import activation as keras_activation
from ._keras_files import Opened, opened
from ._keras_found import Entry, Reader, entries, found_of, guessed
from ._keras_hdf5 import SIGNATURE
from ._keras_weights import Groups, Names, Store

SUFFIXES = (".keras", ".h5", ".hdf5")
Layers = list[tuple[LayerWeights, dict[str, str]]]  # and where they come from


def recognise(path: Path, head: bytes) -> bool:
    """Return whether it is an HDF5 file, or a zip file that begins as Keras's do."""
    if head[:4] == b"PK\3\4":
        first = head[30 : 30 + int.from_bytes(head[26:28], "little")]
        return path.suffix == ".keras" or first in (b"metadata.json", b"config.json")
    return head[:8] == SIGNATURE


def read(
    path: str | os.PathLike[str],
    *,
    activation: str | Activation | None = None,
    recurrent_activation: str | Activation | None = None,
    go_backwards: bool = False,
) -> list[Found]:
    """Return every LSTM in a Keras file.

    Args:
        path: the file.
        activation: what the LSTM was made with, as Keras calls it or as an `Activation`; for a
            file of weights alone, and for parts that no config tells of. None is tanh.
        recurrent_activation: likewise; None is sigmoid.
        go_backwards: likewise.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, has a layout that Keras does not write, or an LSTM of a kind
            that is not computed here.
        ValueError: an option is no such activation.
    """
    path = Path(path)
    with opened(path) as file:
        with checked(path, "config", RecursionError):
            model = read_model(file.config, file.major)
        cell = _cell(activation, recurrent_activation, file.major)
        with checked(path, "weights", RecursionError):
            stacks = _stacks(file, model, cell, go_backwards, size_limit(path))
    if not stacks and model.others:
        raise FormatError(
            f"{path}: there is no LSTM in it, but {', '.join(map(str, model.others))}"
        )
    names: dict[str, int] = {}
    found = []
    for entry, layers in stacks:
        count = names[entry.name] = names.get(entry.name, 0) + 1
        name = entry.name if count == 1 else f"{entry.name}#{count}"
        with checked(path, name or "weights"):
            found.append(found_of(name, entry, layers))
    return found


def _cell(main: str | Activation | None, gate: str | Activation | None, major: int | None) -> Cell:
    """Return what the options ask for."""
    named = {"activation": (main, "tanh"), "recurrent_activation": (gate, "sigmoid")}
    found = []
    for name, (value, default) in named.items():
        if isinstance(value, Activation):
            found.append(value)
        else:
            found.append(keras_activation(default if value is None else value, major or 3, name))
    return Cell(gate=found[1], input=found[0], output=found[0])


def _store(file: Opened) -> Store:
    """Return where the weights are."""
    inner = file.root.get("model_weights")
    if inner is not None:
        return Names(inner, "model_weights/")
    if any(file.root.attribute(name) is not None for name in ("layer_names", "layer_names0")):
        return Names(file.root, "")
    return Groups(file.root)


def _stacks(
    file: Opened, model: Model, cell: Cell, go_backwards: bool, limit: int
) -> list[tuple[Entry, Layers]]:
    """Return every stack with its layers: those in the config, then what else looks like one."""
    store = _store(file)
    reader = Reader(store, limit)
    stacks: list[tuple[Entry, Layers]] = []
    seen: set[str] = set()

    def add(chain: list[Layer]) -> None:
        for entry in entries(chain):
            own = {part.names[-1] for part in entry.parts if part.names}
            if own <= seen and any(store.arrays(part) is None for part in entry.parts):
                continue  # a layer that two models share; its weights are kept once
            seen.update(own)
            stacks.append((entry, [reader.layer(part) for part in entry.parts]))

    for chain in model.chains:
        add(chain)
    done = set(reader.done)
    for layer in store.scan():
        if any(store.is_part(layer.cells[0], other) for other in model.others):
            continue
        arrays = [store.arrays(part) for part in layer.cells]
        if not any(one is not None and one.kernel[0] in done for one in arrays):
            add([guessed(layer, cell, go_backwards)])
    return stacks
