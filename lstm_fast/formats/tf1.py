"""TensorFlow 1: the arrays of its LSTM cells, as they come or in an .npz under their names.

    weights = tf1.from_arrays([{"kernel": ..., "bias": ...}], forget_bias=1.0)
    found = tf1.read("variables.npz", forget_bias=1.0)  # np.savez(file, **{v.name: value, ...})

A kernel is (I + H, 4H), gates i, c, f, o; with a projection (I + P, 4H). `forget_bias` is not in
the arrays: the cells add it at every step, to the forget gate and nothing else, so you have to say
what yours was made with. `BasicLSTMCell`, `LSTMCell` and the LSTMBlock cells take 1.0 unless they
are told; weights of `CudnnLSTM` have none, 0.0. The activation and the clips are not in the arrays
either; those that you do not say are taken as the cells have them unless they are told, and stand
in `Found.assumptions`.
"""

from __future__ import annotations

import math
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .._arguments import to_float32
from .._arrays import Float32
from .._weights import Direction, LayerWeights, Weights, make_weights
from ..cell import ActivationLike, Cell
from . import gates
from ._files import FormatError, Found, Refused, checked
from ._inventory import listed
from ._tf1_file import ARRAYS, DIAGONALS, NAME, Value, read_arrays

SUFFIXES = (".npz",)
FORGET_BIAS = (
    "forget_bias must be given: it is not in the arrays. BasicLSTMCell, LSTMCell, LSTMBlockCell "
    "and LSTMBlockFusedCell add forget_bias=1.0 at run time unless they were made with another; "
    "CudnnLSTM adds none, 0.0"
)
Arrays = Mapping[str, Any]


def from_arrays(
    layers: Sequence[Arrays],
    *,
    forget_bias: float | None,
    cell_clip: float | None = None,
    proj_clip: float | None = None,
    activation: ActivationLike = "tanh",
    direction: Direction = "forward",
) -> Weights:
    """Return the weights of a stack from the arrays of its cells; see `LSTM.from_weights`.

    Args:
        layers: for each layer from the bottom up a mapping of TensorFlow's names to arrays: kernel;
            bias, if there is one; w_i_diag, w_f_diag and w_o_diag, if there are peepholes;
            projection/kernel and projection/bias, if it projects. For "bidirectional" the cells of
            forward and backward in turns.
        forget_bias: what the cells add to the forget gate at run time.
        cell_clip: as the cells were made with it; None is none.
        proj_clip: likewise.
        activation: likewise.
        direction: "forward", "reverse" or "bidirectional".

    Raises:
        TypeError: something has the wrong type; forget_bias is None.
        ValueError: shapes do not fit, or values are not finite.
    """
    if isinstance(layers, Mapping):
        layers = [layers]
    cell = Cell(input=activation, output=activation, cell_clip=cell_clip)
    projected = Cell(input=activation, output=activation, cell_clip=cell_clip, proj_clip=proj_clip)
    made = [
        _layer(arrays, forget_bias, projected if "projection/kernel" in arrays else cell)
        for arrays in layers
    ]
    return make_weights(made, direction)


def _forget_bias(value: Any) -> np.float32:
    if value is None:
        raise TypeError(FORGET_BIAS)
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"forget_bias must be a number, found {type(value).__name__}")
    if not math.isfinite(value):
        raise ValueError(f"forget_bias must be finite, found {value}")
    added: np.float32 = np.float32(value)
    return added


def _layer(arrays: Arrays, forget_bias: Any, cell: Cell) -> LayerWeights:
    added = _forget_bias(forget_bias)
    if "kernel" not in arrays:
        raise ValueError(f"kernel is missing; there is {', '.join(sorted(arrays)) or 'nothing'}")
    if unknown := sorted(set(arrays) - set(ARRAYS)):
        raise ValueError(f"{unknown[0]!r} is no array of a cell; those are {', '.join(ARRAYS)}")
    values = {name: to_float32(value, name, None, "") for name, value in arrays.items()}
    kernel = values["kernel"]
    if kernel.ndim != 2 or kernel.shape[1] % 4 or not kernel.shape[1]:
        raise ValueError(f"kernel has shape {kernel.shape}, expected (inputs + units, 4 * units)")
    size = kernel.shape[1] // 4
    projection, diagonals = _projection(values, size), _diagonals(values, size)
    inputs = kernel.shape[0] - (size if projection is None else projection.shape[0])
    if inputs < 1:
        raise ValueError(f"kernel has {kernel.shape[0]} rows, which leaves none for the input")
    bias = values.get("bias", np.zeros(4 * size, np.float32))
    if bias.shape != (4 * size,):
        raise ValueError(f"bias has shape {bias.shape}, expected ({4 * size},)")
    rows = gates.to_pytorch(kernel.T, "tensorflow1")
    # It stays apart from the bias, so that both are kept to the bit and rounded once, when added.
    forget = np.zeros(4 * size, np.float32)
    forget[size : 2 * size] = added
    return LayerWeights(
        rows[:, :inputs],
        rows[:, inputs:],
        gates.to_pytorch(bias, "tensorflow1"),
        forget,
        weight_hr=projection,
        bias_hr=values.get("projection/bias"),
        peephole=diagonals,
        cell=cell,
    )


def _projection(values: dict[str, Float32], size: int) -> Float32 | None:
    projection = values.get("projection/kernel")
    if projection is None and "projection/bias" in values:
        raise ValueError("there is a projection/bias, but no projection/kernel")
    if projection is not None and (projection.ndim != 2 or projection.shape[0] != size):
        raise ValueError(f"projection/kernel has shape {projection.shape}, expected ({size}, ...)")
    return None if projection is None else projection.T


def _diagonals(values: dict[str, Float32], size: int) -> Float32 | None:
    there = [values[name] for name in DIAGONALS if name in values]
    if not there:
        return None
    if len(there) != len(DIAGONALS) or any(value.shape != (size,) for value in there):
        shapes = ", ".join(f"{name} {values[name].shape}" for name in DIAGONALS if name in values)
        raise ValueError(f"peepholes are {', '.join(DIAGONALS)}, each ({size},); found {shapes}")
    return np.concatenate(there)


class _Place(NamedTuple):
    """Where a cell stands: its stack, its layer, and its direction where there are two."""

    stack: str
    layer: int
    backward: bool | None
    stacked_directions: bool  # each layer has both directions, instead of each direction its layers


def _place(scope: str) -> _Place:
    """Read a scope such as "rnn/multi_rnn_cell/cell_0/lstm_cell"."""
    parts = scope.split("/")
    way = next((n for n, part in enumerate(parts) if part in ("fw", "bw")), None)
    level = next((n for n, part in enumerate(parts) if re.fullmatch("cell_[0-9]{1,6}", part)), None)
    backward = None if way is None else parts[way] == "bw"
    layer = 0 if level is None else int(parts[level].removeprefix("cell_"))
    within = way is not None and (level is None or level < way)
    if level is not None:
        parts[level] = "cell_*"
    if way is not None and within:
        parts[way] = "*"
    return _Place("/".join(parts), layer, backward, within)


def recognise(path: Path, head: bytes) -> bool:
    """Return whether it is an .npz file."""
    if not head.startswith(b"PK\x03\x04"):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # zipfile has many errors for damaged files
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


class _Made(NamedTuple):
    """How the cells were made, as far as the options of `read` say it."""

    activation: ActivationLike | None
    cell_clip: float | None
    proj_clip: float | None

    @property
    def options(self) -> dict[str, Any]:
        """What `from_arrays` takes."""
        cell_clip, proj_clip = (
            None if clip == math.inf else clip for clip in (self.cell_clip, self.proj_clip)
        )
        activation = "tanh" if self.activation is None else self.activation
        return {"activation": activation, "cell_clip": cell_clip, "proj_clip": proj_clip}

    def check(self) -> None:
        """Raise what makes no sense, whatever is in the file."""
        options = self.options
        activation = options.pop("activation")
        Cell(input=activation, output=activation, **options)

    def assumptions(self, stack: str, weights: Weights) -> tuple[str, ...]:
        """Return what was assumed of the cells of a stack: how they are made unless told."""
        texts = ["activation tanh"] if self.activation is None else []
        if self.cell_clip is None and "basic_lstm_cell" not in stack:  # which has none
            texts.append("no cell_clip")
        projects = any(layer.weight_hr is not None for layer in weights.layers)
        if self.proj_clip is None and projects:
            texts.append("no proj_clip")
        if not texts:
            return ()
        clips = "; a clip of infinity says that there is none" if "clip" in texts[-1] else ""
        return (
            f"the arrays do not say how the cells were made: taken are {', '.join(texts)}; load "
            f"and read have options of these names{clips}",
        )


def read(
    path: str | os.PathLike[str],
    *,
    forget_bias: float | None = None,
    cell_clip: float | None = None,
    proj_clip: float | None = None,
    activation: ActivationLike | None = None,
) -> list[Found | Refused]:
    """Return every LSTM among the variables in an .npz file, under TensorFlow's names.

    A cell is known by its scope: the last part of it has "lstm" in it, or there is none. Cells
    cell_0, cell_1 of one scope are one stack; fw and bw are bidirectional where each layer has
    both; stacks that run apart from each other in each direction are two.

    Args:
        path: the file, such as np.savez(path, **{v.name: value, ...}) writes it.
        forget_bias: what the cells add to the forget gate at run time; it must be given.
        cell_clip: as the cells were made with it; infinity says that there is none, None assumes
            it.
        proj_clip: likewise.
        activation: likewise; None assumes tanh.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, or forget_bias is missing.
        TypeError, ValueError: an option has the wrong type or makes no sense.
    """
    path = Path(path)
    if forget_bias is not None:
        _forget_bias(forget_bias)
    made = _Made(activation, cell_clip, proj_clip)
    made.check()
    arrays, refused = read_arrays(path)
    stacks: dict[str, dict[_Place, dict[str, tuple[str, Value]]]] = {}
    for name, value in arrays.items():
        match = NAME.fullmatch(name)
        scope, kind = (match[1] or "", match[2]) if match else ("", "")
        place = _place(scope)
        stacks.setdefault(place.stack, {}).setdefault(place, {})[kind] = (name, value)
    if stacks and forget_bias is None:
        raise FormatError(f"{path}: {FORGET_BIAS}")
    found: list[Found | Refused] = [Refused(name, error) for name, error in refused.items()]
    for stack, places in stacks.items():
        try:
            found.append(_found(path, stack, places, forget_bias, made))
        except FormatError as error:
            found.append(Refused(stack, error))
    return sorted(found, key=lambda one: one.name)


def _found(
    path: Path,
    stack: str,
    places: dict[_Place, dict[str, tuple[str, Value]]],
    forget_bias: float | None,
    made: _Made,
) -> Found:
    """Make one LSTM of the cells of a stack."""
    ordered = sorted(places, key=lambda place: (place.layer, bool(place.backward)))
    both = ordered[0].stacked_directions
    direction: Direction = (
        "bidirectional" if both else "reverse" if ordered[0].backward else "forward"
    )
    ways = (False, True) if both else (ordered[0].backward,)
    wanted = [(n, way) for n in range(ordered[-1].layer + 1) for way in ways]
    if [(place.layer, place.backward) for place in ordered] != wanted:
        raise FormatError(f"{path}: {stack}: cells are missing, or there are some twice")
    layers: list[dict[str, Float32]] = []
    for place in ordered:
        layer: dict[str, Float32] = {}
        for kind, (_, value) in places[place].items():
            if isinstance(value, FormatError):
                raise value
            layer[kind] = value
        layers.append(layer)
    with checked(path, stack or "cell", TypeError):
        weights = from_arrays(layers, forget_bias=forget_bias, direction=direction, **made.options)
    sources = {}
    for index, place in enumerate(ordered):
        suffix = weights.suffix(index)
        names = {kind: name for kind, (name, _) in places[place].items()}
        sources.update(_sources(names, suffix, forget_bias))
    scopes = [_scope(places[place]) for place in ordered]
    parts = tuple(scopes) if len(scopes) > 1 else ()
    return Found(stack, weights, sources, (), made.assumptions(stack, weights), parts)


def _scope(cell: dict[str, tuple[str, Value]]) -> str:
    """Return the scope of a cell, from the name of one of its arrays."""
    match = NAME.fullmatch(next(iter(cell.values()))[0])
    return (match[1] or "") if match else ""


def _sources(names: dict[str, str], suffix: str, forget_bias: float | None) -> dict[str, str]:
    texts = {
        "weight_ih": f"{names['kernel']}, the first rows, gates icfo",
        "weight_hh": f"{names['kernel']}, the last rows, gates icfo",
        "bias_ih": f"{names['bias']}, gates icfo" if "bias" in names else "zeros",
        "bias_hh": f"forget_bias {forget_bias:g} for the forget gate, zeros elsewhere",
    }
    if DIAGONALS[0] in names:
        texts["peephole"] = ", ".join(names[kind] for kind in DIAGONALS)
    for kind, name in (("weight_hr", "projection/kernel"), ("bias_hr", "projection/bias")):
        if name in names:
            texts[kind] = names[name]
    return {kind + suffix: text for kind, text in texts.items()}


def inventory(path: Path) -> str:
    """Return in words what there is in a file without an LSTM."""
    with zipfile.ZipFile(path) as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
    return (
        f"there are arrays {listed(names)}; those of a cell are called {', '.join(ARRAYS[:2])} "
        "under a scope with lstm in its last part, as in rnn/lstm_cell/kernel"
    )
