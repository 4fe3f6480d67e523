"""One LSTM node of ONNX: its attributes and inputs, and what they are for us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..._arrays import Float32
from ..._weights import DIRECTIONS, Direction, LayerWeights
from ...cell import ACTIVATIONS, Activation, Cell, Coupled
from ..gates import ORDERS, to_pytorch
from ._file import Array

# The inputs of LSTM, and those that DynamicQuantizeLSTM adds.
INPUTS = ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P")
QUANTISED = ("W_scale", "W_zero_point", "R_scale", "R_zero_point")
ATTRIBUTES = {"activation_alpha", "activation_beta", "activations", "clip", "direction"}
ATTRIBUTES |= {"hidden_size", "input_forget", "layout"}
ATTRIBUTES |= {"output_sequence"}  # opset 1's: whether Y is wanted

# ONNX's names, which onnxruntime takes in any case
NAMES = {name.replace("_", ""): name for name in ACTIVATIONS}
# onnxruntime takes 0 where these have no alpha or beta, ONNX's text says something else
AMBIGUOUS = frozenset({"affine", "scaled_tanh", "thresholded_relu"})


@dataclass(frozen=True)
class Options:
    """The attributes of a node; cells has one for each direction."""

    direction: Direction
    cells: tuple[Cell, ...]
    layout: int
    hidden_size: int | None
    notes: tuple[str, ...] = ()

    @property
    def num_directions(self) -> int:
        return len(self.cells)


def options(attributes: Mapping[str, Any]) -> Options:
    """Read a node's attributes.

    Raises:
        TypeError, ValueError: one makes no sense, or is one that we cannot compute.
    """
    if unknown := sorted(set(attributes) - ATTRIBUTES):
        raise ValueError(f"an LSTM has no attribute {', '.join(unknown)}")
    direction = str(attributes.get("direction", "forward")).lower()
    if direction not in DIRECTIONS:
        raise ValueError(f"direction is one of {', '.join(DIRECTIONS)}, found {direction!r}")
    layout = attributes.get("layout", 0)
    if layout not in (0, 1):
        raise ValueError(f"layout is 0 or 1, found {layout!r}")
    functions, notes = _activations(attributes, 2 if direction == "bidirectional" else 1)
    coupled: Coupled | None = "input" if attributes.get("input_forget", 0) else None
    clip = attributes.get("clip")
    cells = tuple(
        Cell(f, g, h, clip=clip, coupled=coupled)
        for f, g, h in zip(functions[::3], functions[1::3], functions[2::3], strict=True)
    )
    chosen: Direction = next(known for known in DIRECTIONS if known == direction)
    return Options(chosen, cells, layout, attributes.get("hidden_size"), notes)


def _activations(
    attributes: Mapping[str, Any], directions: int
) -> tuple[list[Activation], tuple[str, ...]]:
    """Return f, g, h of each direction.

    The lists of parameters are consumed in order by those functions that have such a parameter, as
    onnxruntime does it.
    """
    names = attributes.get("activations") or ["Sigmoid", "Tanh", "Tanh"] * directions
    if len(names) != 3 * directions:
        raise ValueError(f"expected {3 * directions} activations, found {len(names)}: {names}")
    left = {p: list(attributes.get(f"activation_{p}") or []) for p in ("alpha", "beta")}
    functions = []
    for name in names:
        known = NAMES.get(name.lower())
        if known is None:
            raise ValueError(f"activation {name!r} is none of {', '.join(NAMES)}")
        values: dict[str, float] = {}
        for parameter in ACTIVATIONS[known]:
            if left[parameter]:
                values[parameter] = left[parameter].pop(0)
            elif known in AMBIGUOUS:
                raise ValueError(
                    f"{name} has no activation_{parameter}: ONNX's text and onnxruntime take "
                    f"different values then, so write into the file which is meant"
                )
        functions.append(Activation(known, **values))
    notes = tuple(
        f"activation_{parameter} has {len(rest)} more values than there are functions to take them"
        for parameter, rest in left.items()
        if rest
    )
    return functions, notes


def layers(found: Options, arrays: Mapping[str, Array]) -> list[LayerWeights]:
    """Return the layer of each direction.

    Args:
        found: the node's attributes.
        arrays: W (D, 4H, I), R (D, 4H, H) and, where they are there, B (D, 8H), P (D, 3H), and
            initial_h and initial_c (D, H), which are trained.

    Raises:
        ValueError: a shape does not fit.
    """
    weight, recurrent = _matrix(arrays, "W"), _matrix(arrays, "R")
    directions, hidden_size = found.num_directions, recurrent.shape[2]
    if found.hidden_size is not None and found.hidden_size != hidden_size:
        raise ValueError(f"hidden_size is {found.hidden_size}, but R has shape {recurrent.shape}")
    expected = {
        "W": (directions, 4 * hidden_size, weight.shape[2]),
        "R": (directions, 4 * hidden_size, hidden_size),
        "B": (directions, 8 * hidden_size),
        "P": (directions, 3 * hidden_size),
        "initial_h": (directions, hidden_size),
        "initial_c": (directions, hidden_size),
    }
    for name, value in arrays.items():
        if value.shape != expected[name]:
            raise ValueError(f"{name} has shape {value.shape}, expected {expected[name]}")
    return [
        _layer(found.cells[n], {k: _float32(k, v[n]) for k, v in arrays.items()})
        for n in range(directions)
    ]


def _matrix(arrays: Mapping[str, Array], name: str) -> Array:
    value = arrays.get(name)
    if value is None:
        raise ValueError(f"{name} is missing")
    if value.ndim != 3:
        raise ValueError(f"{name} has shape {value.shape}, expected (directions, rows, columns)")
    return value


def _float32(name: str, value: Array) -> Float32:
    if value.dtype.kind != "f":
        raise ValueError(f"{name} is {value.dtype}, expected floats")
    with np.errstate(over="ignore"):  # infinity is refused with the weights
        return value.astype(np.float32, copy=False)


def _layer(cell: Cell, parts: Mapping[str, Float32]) -> LayerWeights:
    values = {
        "weight_ih": to_pytorch(parts["W"], "onnx"),
        "weight_hh": to_pytorch(parts["R"], "onnx"),
    }
    if "B" in parts:
        of_input, of_hidden = np.split(parts["B"], 2)
        values["bias_ih"] = to_pytorch(of_input, "onnx")
        values["bias_hh"] = to_pytorch(of_hidden, "onnx")
    if "P" in parts:
        order = ORDERS["onnx"].replace("g", "")  # the cell has none
        blocks = np.split(parts["P"], 3)
        values["peephole"] = np.concatenate([blocks[order.index(gate)] for gate in "ifo"])
    for ours, name in (("h_0", "initial_h"), ("c_0", "initial_c")):
        if name in parts:
            values[ours] = parts[name].copy()
    return LayerWeights(**values, cell=cell)


def initial_row(value: Array, found: Options, name: str) -> Array | None:
    """Return the state (D, H) that every sequence starts from; None if they differ.

    Args:
        value: (D, N, H), or (N, D, H) with layout 1.
        found: the node's attributes.
        name: the input, for errors.

    Raises:
        ValueError: its shape does not fit.
    """
    if value.ndim != 3 or value.dtype.kind != "f" or 0 in value.shape:
        raise ValueError(
            f"{name} is {value.dtype} of shape {value.shape}, expected floats (D, N, H)"
        )
    rows = np.moveaxis(value, 0, 1) if found.layout else value
    first = rows[:, 0]
    same = np.array_equal(rows, np.broadcast_to(first[:, None], rows.shape))
    return first if same else None
