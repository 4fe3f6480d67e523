"""From recurrent layers of a Keras model to stacks of ours."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..._arrays import Float32
from ..._budget import Budget
from ..._weights import Direction, LayerWeights, make_weights
from ...cell import Cell
from .._files import Found
from ..gates import to_pytorch
from ._hdf5 import Object
from ._hdf5_messages import Hdf5Error
from ._model import CellPart, ConfigError, Layer, Run, Taken
from ._weights import Arrays, Store

REVERSED = (
    "go_backwards: Keras returns the outputs in the order in which it goes, the last step first; "
    "here they are at their own steps"
)
SUMMED = "merge_mode {}: Keras merges both directions so; here the output is their concatenation"
LAST = (
    "return_sequences=False: Keras returns the last output of each direction, which for the "
    "reverse one is at the first step"
)
GUESSED = (
    "the file does not say what it computes: taken are {}, and no mask before it; options of load "
    "and read with these names say otherwise"
)
CELL_STEPS, CELL_BYTES = 500, 8192  # of one cell that is read, beside its values
AS_TOLD = "the file does not say what it computes: it is as the options have it"


@dataclass(frozen=True)
class Entry:
    """A stack: its cells from the bottom up, as `Weights.layers` has them.

    layers: what Keras calls the layers that it is made of, where they are several; as many for
    each layer of the stack. notes, assumptions: as of `Found`.
    """

    name: str
    direction: Direction
    parts: tuple[CellPart, ...]
    notes: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()


def name_of(chain: list[Layer]) -> str:
    """Return how a chain of layers is called here."""
    *above, _ = chain[0].names or ("",)
    return "/".join([*above, "+".join(layer.names[-1] if layer.names else "" for layer in chain)])


def entries(chain: list[Layer]) -> list[Entry]:
    """Return the stacks that a chain of layers is."""
    name = name_of(chain)
    whole = Entry(
        name,
        "forward",
        tuple(chain_cells(chain)),
        tuple(dict.fromkeys(note for layer in chain for note in layer.notes)),
        tuple(dict.fromkeys(text for layer in chain for text in layer.assumptions)),
    )
    if len(chain[0].runs) == 1:
        run = Run(whole.parts, chain[0].runs[0].backwards)
        return _runs(replace(whole, layers=_parts(chain)), run, chain[-1].sequences)
    first, second = chain[0].runs
    directions = [run.backwards for run in (first, second)]
    if len(first.cells) == len(second.cells) == 1 and directions == [False, True]:
        texts = whole.assumptions
        if chain[-1].merge_mode != "concat":
            texts += (SUMMED.format(chain[-1].merge_mode),)
        if not chain[-1].sequences:
            texts += (LAST,)
        if len({cell.units for cell in whole.parts}) == 1:
            both = replace(whole, direction="bidirectional", assumptions=texts)
            return [replace(both, layers=_parts(chain))]
    note = "one direction of a Bidirectional whose two do not make one LSTM of ours"
    return [
        entry
        for run, word in ((first, "forward_layer"), (second, "backward_layer"))
        for entry in _runs(
            replace(whole, name=f"{name}/{word}", notes=(*whole.notes, note)),
            run,
            chain[-1].sequences,
        )
    ]


def _parts(chain: list[Layer]) -> tuple[str, ...]:
    """Return what the layers are called of which a chain has several."""
    names = []
    for layer in chain:
        cells, name = len(layer.runs[0].cells), "/".join(layer.names)
        names += [name] if cells == 1 else [f"{name}/{n}" for n in range(cells)]
    return tuple(names) if len(names) > 1 else ()


def chain_cells(chain: list[Layer]) -> list[CellPart]:
    """Return the cells of a chain from the bottom up."""
    return [cell for layer in chain for cell in layer.cells]


def _runs(entry: Entry, run: Run, sequences: bool) -> list[Entry]:
    """Return a run as one stack, or each of its cells where they differ in size."""
    if run.backwards:
        texts = (REVERSED,) if sequences else (LAST,)
        entry = replace(entry, direction="reverse", assumptions=(*entry.assumptions, *texts))
    if len({cell.units for cell in run.cells}) == 1:
        return [replace(entry, parts=run.cells)]
    note = "one of several cells on top of each other, of different sizes"
    entry = replace(entry, notes=(*entry.notes, note), layers=())
    return [
        replace(entry, name=f"{entry.name}/{n}", parts=(cell,)) for n, cell in enumerate(run.cells)
    ]


def guessed(layer: Layer, taken: Taken) -> Layer:
    """Return a layer that no config tells of, as the options and the version have it.

    Raises:
        ConfigError: the version does not say what its gates compute, and no option does.
    """
    plain = all(part.is_cudnn for part in layer.cells)  # which computes nothing else
    cell, texts = (Cell(), []) if plain else taken.cell()
    if taken.go_backwards is None and len(layer.runs) == 1:
        texts.append("go_backwards False")
    turned = bool(taken.go_backwards) and len(layer.runs) == 1
    runs = tuple(
        Run(
            tuple(replace(part, cell=part.cell if part.is_cudnn else cell) for part in run.cells),
            run.backwards or turned,
        )
        for run in layer.runs
    )
    if texts:
        return replace(layer, runs=runs, assumptions=(GUESSED.format(", ".join(texts)),))
    return replace(layer, runs=runs, notes=(AS_TOLD,))


class Reader:
    """Reads cells.

    Args:
        store: where they are.
        budget: what is charged.
    """

    def __init__(self, store: Store, budget: Budget) -> None:
        self._store = store
        self._budget = budget
        self.done: set[str] = set()  # kernels, by where they are

    def _read(self, where: str, array: Object) -> Float32:
        try:
            return array.read(turned=True)
        except Hdf5Error as error:
            raise type(error)(f"{where}: {error}") from None

    def layer(self, part: CellPart) -> tuple[LayerWeights, dict[str, str]]:
        """Return a cell's weights, and where they come from."""
        self._budget.work(CELL_STEPS, "its LSTMs")
        self._budget.memory(CELL_BYTES, "its LSTMs")
        arrays = self._store.arrays(part)
        if arrays is None:
            raise Hdf5Error(f"the weights of {'/'.join(part.names)} are missing")
        self.done.add(arrays.kernel[0])
        _check(part, arrays)
        kernel, recurrent = self._read(*arrays.kernel), self._read(*arrays.recurrent)
        bias = None if arrays.bias is None else self._read(*arrays.bias)
        sources = {"weight_ih": arrays.kernel[0], "weight_hh": arrays.recurrent[0]}
        sources = {kind: f"{where}, gates i, f, c, o" for kind, where in sources.items()}
        b_ih = b_hh = None
        if bias is not None and arrays.bias is not None:
            b_ih, b_hh = (bias, np.zeros_like(bias)) if not part.is_cudnn else np.split(bias, 2)
            sources["bias_ih"] = arrays.bias[0]
            sources["bias_hh"] = f"{arrays.bias[0]}, second half" if part.is_cudnn else "zeros"
            b_ih, b_hh = to_pytorch(b_ih, "keras"), to_pytorch(b_hh, "keras")
        w_ih, w_hh = _of_cudnn(kernel, recurrent) if part.is_cudnn else (kernel, recurrent)
        w_ih, w_hh = to_pytorch(w_ih, "keras"), to_pytorch(w_hh, "keras")
        layer = LayerWeights(w_ih, w_hh, b_ih, b_hh, cell=part.cell)
        for value in layer.parameters().values():  # which nobody else has
            value.flags.writeable = False
        return layer, sources


def _of_cudnn(kernel: Float32, recurrent: Float32) -> tuple[Float32, Float32]:
    """Return what CuDNNLSTM has in Keras's shapes, but gate by gate in cuDNN's order.

    Both are given transposed, (4H, I) and (4H, H).
    """
    inputs, units = kernel.shape[1], recurrent.shape[1]
    w_ih = [block.T.reshape(units, inputs) for block in np.split(kernel, 4)]
    return np.concatenate(w_ih), np.concatenate([block.T for block in np.split(recurrent, 4)])


def _check(part: CellPart, arrays: Arrays) -> None:
    """Compare the file's shapes with what the config says."""
    name, units = "/".join(part.names), part.units
    bias = () if arrays.bias is None else (arrays.bias,)
    shapes = [one[1].shape for one in (arrays.kernel, arrays.recurrent, *bias)]
    biases = [((8 if part.is_cudnn else 4) * units,)] if part.use_bias else []
    expected = [(*shapes[0][:1], 4 * units), (units, 4 * units), *biases]
    if shapes != expected:
        raise ConfigError(
            f"{name} has arrays of shapes {', '.join(map(str, shapes))}; with {units} units they "
            f"should be (inputs, {4 * units}), {', '.join(map(str, expected[1:]))}"
        )


def found_of(name: str, entry: Entry, layers: list[tuple[LayerWeights, dict[str, str]]]) -> Found:
    """Return a stack of cells that were read.

    Raises:
        ValueError: they do not fit each other.
    """
    weights = make_weights([layer for layer, _ in layers], entry.direction, copy=False)
    sources = {
        kind + weights.suffix(index): where
        for index, (_, named) in enumerate(layers)
        for kind, where in named.items()
    }
    return Found(name, weights, sources, entry.notes, entry.assumptions, entry.layers)
