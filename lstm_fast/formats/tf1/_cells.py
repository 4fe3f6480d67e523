"""From the arrays of TensorFlow 1's LSTM cells, one cell a layer, to weights of ours."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..._arguments import to_float32
from ..._arrays import Float32
from ..._weights import Direction, LayerWeights, Weights, make_weights
from ...cell import ActivationLike, Cell
from .. import gates
from ._file import ARRAYS, DIAGONALS

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

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> arrays = {"kernel": np.zeros((3 + 4, 16)), "bias": np.zeros(16)}
        >>> LSTM.from_weights(from_arrays([arrays], forget_bias=1.0)).hidden_size
        4
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


def to_forget_bias(value: Any) -> np.float32:
    """Return a forget_bias as it is added.

    Raises:
        TypeError: it is None or no number.
        ValueError: it is not finite.
    """
    if value is None:
        raise TypeError(FORGET_BIAS)
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"forget_bias must be a number, found {type(value).__name__}")
    if not math.isfinite(value):
        raise ValueError(f"forget_bias must be finite, found {value}")
    added: np.float32 = np.float32(value)
    return added


def _layer(arrays: Arrays, forget_bias: Any, cell: Cell) -> LayerWeights:
    added = to_forget_bias(forget_bias)
    if "kernel" not in arrays:
        raise ValueError(f"kernel is missing; there is {', '.join(sorted(arrays)) or 'nothing'}")
    if unknown := sorted(set(arrays) - set(ARRAYS)):
        raise ValueError(f"{unknown[0]!r} is not an array of a cell; those are {', '.join(ARRAYS)}")
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
