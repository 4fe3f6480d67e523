"""TensorFlow 1: the arrays of its LSTM cells, as they come or in an .npz under their names.

    weights = tf1.from_arrays([{"kernel": ..., "bias": ...}], forget_bias=1.0)
    found = tf1.read("variables.npz", forget_bias=1.0)  # np.savez(file, **{v.name: value, ...})

A kernel is (I + H, 4H), gates i, c, f, o; with a projection (I + P, 4H). `forget_bias` is not in
the arrays: the cells add it at every step, to the forget gate and nothing else, so you have to say
what yours was made with. `BasicLSTMCell`, `LSTMCell` and the LSTMBlock cells take 1.0 unless they
are told; weights of `CudnnLSTM` have none, 0.0.
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

from .._arrays import Float32, to_float32
from .._weights import Direction, LayerWeights, Weights, make_weights
from ..cell import ActivationLike, Cell
from . import gates
from ._files import FormatError, Found, checked, size_limit

SUFFIXES = (".npz",)
DIAGONALS = ("w_i_diag", "w_f_diag", "w_o_diag")  # peepholes, in our order i, f, o
ARRAYS = ("kernel", "bias", *DIAGONALS, "projection/kernel", "projection/bias")
NAME = re.compile(rf"(?s)(?:(.*?)/)?({'|'.join(ARRAYS)})(?::0)?")
UNKNOWN_CELLS = {
    "layer_norm": "LayerNormBasicLSTMCell normalises its state too",
    "coupled_input_forget": "CoupledInputForgetGateLSTMCell has three gates",
    "conv_lstm": "a convolutional LSTM",
    "conv_1d_lstm": "a convolutional LSTM",
}
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
        cell_clip: as the cells were made with it.
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


def read(
    path: str | os.PathLike[str],
    *,
    forget_bias: float | None = None,
    cell_clip: float | None = None,
    proj_clip: float | None = None,
    activation: ActivationLike = "tanh",
) -> list[Found]:
    """Return every LSTM among the variables in an .npz file, under TensorFlow's names.

    A cell is known by its scope: the last part of it has "lstm" in it, or there is none. Cells
    cell_0, cell_1 of one scope are one stack; fw and bw are bidirectional where each layer has
    both; stacks that run apart from each other in each direction are two.

    Args:
        path: the file, such as np.savez(path, **{v.name: value, ...}) writes it.
        forget_bias: what the cells add to the forget gate at run time; it must be given.
        cell_clip: as the cells were made with it.
        proj_clip: likewise.
        activation: likewise.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, a cell is of another kind, or forget_bias is missing.
        TypeError, ValueError: an option has the wrong type or makes no sense.
    """
    path = Path(path)
    if forget_bias is not None:
        _forget_bias(forget_bias)
    Cell(input=activation, output=activation, cell_clip=cell_clip, proj_clip=proj_clip)
    options = {"cell_clip": cell_clip, "proj_clip": proj_clip, "activation": activation}
    stacks: dict[str, dict[_Place, dict[str, tuple[str, Float32]]]] = {}
    for name, value in _read_arrays(path).items():
        match = NAME.fullmatch(name)
        scope, kind = (match[1] or "", match[2]) if match else ("", "")
        place = _place(scope)
        stacks.setdefault(place.stack, {}).setdefault(place, {})[kind] = (name, value)
    if stacks and forget_bias is None:
        raise FormatError(f"{path}: {FORGET_BIAS}")
    return [
        _found(path, stack, places, forget_bias, options)
        for stack, places in sorted(stacks.items())
    ]


def _found(
    path: Path,
    stack: str,
    places: dict[_Place, dict[str, tuple[str, Float32]]],
    forget_bias: float | None,
    options: dict[str, Any],
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
    layers = [{kind: value for kind, (_, value) in places[place].items()} for place in ordered]
    with checked(path, stack or "cell", TypeError):
        weights = from_arrays(layers, forget_bias=forget_bias, direction=direction, **options)
    sources = {}
    for index, place in enumerate(ordered):
        suffix = weights.suffix(index)
        names = {kind: name for kind, (name, _) in places[place].items()}
        sources.update(_sources(names, suffix, forget_bias))
    return Found(stack, weights, sources)


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


def _is_wanted(path: Path, name: str) -> bool:
    """Return whether an array is part of an LSTM cell; refuse cells that we cannot compute."""
    match = NAME.fullmatch(name) if len(name) < 4096 else None
    if match is None:
        return False
    cell = (match[1] or "").lower().rpartition("/")[2]
    for word, reason in UNKNOWN_CELLS.items():
        if word in cell:
            raise FormatError(f"{path}: {name}: {reason}, which cannot be computed here")
    return "lstm" in cell or not cell


def _read_arrays(path: Path) -> dict[str, Float32]:
    """Return the arrays of LSTM cells, each checked against the file before it is read."""
    limit = size_limit(path)
    try:
        archive = zipfile.ZipFile(path)
    except Exception as error:  # zipfile has many errors for damaged files
        raise FormatError(f"{path}: damaged zip file: {error or type(error).__name__}") from error
    with archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > limit:
            raise FormatError(f"{path}: its arrays claim more bytes than the file can hold")
        names = {member.filename.removesuffix(".npy"): member for member in members}
        wanted = {name: member for name, member in names.items() if _is_wanted(path, name)}
        return {name: _read_array(path, archive, name, member) for name, member in wanted.items()}


def _read_array(
    path: Path, archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo
) -> Float32:
    with checked(path, f"array {name!r}", TypeError):
        try:
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                reader = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }[version]
                shape, _, dtype = reader(file)
            if dtype.hasobject or math.prod(shape) * dtype.itemsize > member.file_size:
                raise ValueError(f"{shape} of {dtype} is not what it holds")
            with archive.open(member) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
        except Exception as error:  # a damaged member or header can raise anything
            raise ValueError(f"damaged: {error or type(error).__name__}") from error
        return to_float32(array, name, None, "")
