"""From a Keras file to LSTMs of ours: those in its config, then what else looks like one."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

from ..._source import Readable, Source
from ...cell import Activation
from .._files import FormatError, Found, Refused, checked
from .._inventory import counted, listed
from ._config import read_model
from ._file import Opened, opened
from ._hdf5_messages import Hdf5Error, WholeFileError
from ._model import CellPart, ConfigError, Layer, Model, Other, Taken
from ._stacks import Entry, Reader, entries, found_of, guessed, name_of
from ._weights import Groups, Names, Store, weights_names

KNOWN_STEPS = 0.5  # to look whether a cell is of a layer that is known


def read(
    path: Readable,
    *,
    activation: str | Activation | None = None,
    recurrent_activation: str | Activation | None = None,
    go_backwards: bool | None = None,
) -> list[Found | Refused]:
    """Return every LSTM in a Keras file.

    Args:
        path: the file, by its path, as bytes, or open; see `Source`.
        activation: what the LSTM was made with, as Keras calls it or as an `Activation`; for a
            file of weights alone, and for parts that no config tells of. None is tanh.
        recurrent_activation: likewise. None is the default of the version that wrote the file:
            hard_sigmoid before Keras 2.3, sigmoid since.
        go_backwards: likewise. None is False.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, has a layout that Keras does not write, or there are only
            recurrent layers of other kinds.
        ValueError: an option is not such an activation.

    Example:
        >>> import keras, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = f"{folder}/model.keras"
        ...     keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(4)]).save(path)
        ...     [one.weights.hidden_size for one in read(path)]
        [4]
    """
    source = Source.of(path)
    with opened(source) as file:
        taken = Taken.of(file.version, activation, recurrent_activation, go_backwards)
        with checked(source, "config", RecursionError):
            model = read_model(file.config, taken, source.budget)
        with checked(source, "weights", RecursionError):
            found = _Stacks(source, file, model, taken).read()
    if not found and model.others:
        raise FormatError(
            f"{source}: there is no LSTM in it, but {', '.join(map(str, model.others[:12]))}"
        )
    return found


def inventory(source: Source) -> str:
    """Return in words what there is in a file without an LSTM."""
    with opened(source) as file, checked(source, "config", RecursionError):
        taken = Taken.of(file.version, None, None, None)
        kinds = Counter(read_model(file.config, taken, source.budget).kinds)
        if kinds:
            return f"there are layers {counted(kinds)}"
        weights = file.root.get("model_weights") or file.root
        names = weights_names(weights)
    old = any(re.search("_[WUb]_[ifco](:0)?$", name) for name in names)
    keras_1 = "; it is of Keras 1: load it with Keras 2 and save it again" if old else ""
    if not names:
        return "there are no arrays"
    return f"there are arrays {listed(names)}{keras_1}"


def _store(file: Opened) -> Store:
    """Return where the weights are."""
    inner = file.root.get("model_weights")
    if inner is not None:
        return Names(inner, "model_weights/")
    if any(file.root.attribute(name) is not None for name in ("layer_names", "layer_names0")):
        return Names(file.root, "")
    return Groups(file.root)


class _RefusedError(Exception):
    """Why one stack cannot be computed, when the others of the file may be."""


class _Stacks:
    """Reads every stack: those in the config, then what else looks like one."""

    def __init__(self, source: Source, file: Opened, model: Model, taken: Taken) -> None:
        self._path, self._model, self._taken = source, model, taken
        self._budget = source.budget
        self._store = _store(file)
        self._reader = Reader(self._store, source.budget)
        self._seen: set[str] = set()
        self._names: dict[str, int] = {}
        self._found: list[Found | Refused] = []

    def read(self) -> list[Found | Refused]:
        for chain in self._model.chains:
            self._add(chain, "config")
        done = set(self._reader.done)
        known = [*self._model.others, *self._model.refused]
        for layer in self._store.scan():
            self._budget.work(1 + len(known) * KNOWN_STEPS, "its LSTMs")
            if any(self._store.is_part(cell, one) for one in known for cell in layer.cells[:1]):
                continue
            if layer.error is not None:
                if not self._model.chains:  # what a config leaves out is a layer of another kind
                    self._add([layer], "weights")
                continue
            arrays = [self._store.arrays(part) for part in layer.cells]
            if not any(one is not None and one.kernel[0] in done for one in arrays):
                self._guess(layer)
        return self._found

    def _guess(self, layer: Layer) -> None:
        try:
            self._add([guessed(layer, self._taken)], "weights")
        except ConfigError as error:
            self._refuse(name_of([layer]), f"{name_of([layer])}: {error}")

    def _name(self, name: str) -> str:
        count = self._names[name] = self._names.get(name, 0) + 1
        return name if count == 1 else f"{name}#{count}"

    def _refuse(self, name: str, text: str) -> None:
        self._found.append(Refused(self._name(name), FormatError(f"{self._path}: {text}")))

    def _add(self, chain: list[Layer], where: str) -> None:
        """Add what a chain of layers is; each on its own, if one of them cannot be computed."""
        if chain[0].error is not None:
            self._refuse(name_of(chain), f"{where}: {chain[0].error}")
            return
        for entry in entries(chain):
            if self._is_shared(entry):
                continue
            left = self._budget.memory_left
            try:
                self._add_entry(entry)
            except _RefusedError as refused:
                self._budget.give_back(left - self._budget.memory_left)
                error = FormatError(str(refused))  # without what its traceback keeps
                if len(chain) > 1:
                    self._seen.difference_update(one.names[-1] for one in entry.parts)
                    for layer in chain:
                        self._add([layer], where)
                    return
                self._found.append(Refused(self._name(entry.name), error, entry.layers))
                self._model.refused += [Other("LSTM", one.group, one.names) for one in entry.parts]

    def _is_shared(self, entry: Entry) -> bool:
        """Whether it is of a layer that two models share, whose weights are kept once."""
        own = {part.names[-1] for part in entry.parts if part.names}
        is_shared = own <= self._seen and any(self._is_missing(part) for part in entry.parts)
        self._seen.update(own)
        return is_shared

    def _is_missing(self, part: CellPart) -> bool:
        try:
            return self._store.arrays(part) is None
        except Hdf5Error:  # which is said when it is read
            return False

    def _add_entry(self, entry: Entry) -> None:
        try:
            layers = [self._reader.layer(part) for part in entry.parts]
            found = found_of(entry.name, entry, layers)
        except (FormatError, WholeFileError):
            raise
        except (Hdf5Error, ConfigError) as error:
            raise _RefusedError(f"{self._path}: weights: {error}") from None
        except ValueError as error:
            raise _RefusedError(f"{self._path}: {entry.name or 'weights'}: {error}") from None
        self._found.append(replace(found, name=self._name(entry.name)))
