"""The orders in which formats keep the gates, and the way from each to ours."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["GRU_ORDERS", "GRU_OURS", "ORDERS", "OURS", "gru_to_pytorch", "to_pytorch"]

Array = TypeVar("Array", bound=NDArray[Any])

OURS = "ifgo"  # PyTorch's
GRU_OURS = "rzn"  # PyTorch's, too

# i: input gate; f: forget gate; g: what goes into the cell (c in ONNX and Keras, j in TensorFlow);
# o: output gate. Readers ask for an order by name, so that a test can swap gates here and see that
# the reader's results change.
ORDERS: dict[str, str] = {
    "pytorch": "ifgo",
    "onnx": "iofg",
    "keras": "ifgo",
    "tensorflow1": "igfo",
    "mlx": "ifgo",
    "flax": "ifgo",
    "equinox": "ifgo",
}
# r: reset gate; z: update gate; n: the new value (h in ONNX and Keras).
GRU_ORDERS: dict[str, str] = {"pytorch": "rzn", "onnx": "zrn", "keras": "zrn"}


def to_pytorch(values: Array, order: str) -> Array:
    """Return values with their blocks of rows in PyTorch's order i, f, g, o.

    Args:
        values: the first axis is a block of H rows for each gate.
        order: one of ORDERS: how the blocks are ordered here; if it is ours, values are returned
            as they are.

    Raises:
        ValueError: the first axis is not four blocks.

    Example:
        >>> import numpy as np
        >>> to_pytorch(np.arange(4), "onnx")  # of H = 1, in the order i, o, f, g
        array([0, 2, 3, 1])
    """
    return _reordered(values, ORDERS[order], OURS)


def gru_to_pytorch(values: Array, order: str) -> Array:
    """Return the same for a GRU: blocks of rows in PyTorch's order r, z, n; order: of GRU_ORDERS.

    Raises:
        ValueError: the first axis is not three blocks.

    Example:
        >>> import numpy as np
        >>> gru_to_pytorch(np.arange(3), "onnx")  # of H = 1, in the order z, r, n
        array([1, 0, 2])
    """
    return _reordered(values, GRU_ORDERS[order], GRU_OURS)


def _reordered(values: Array, letters: str, ours: str) -> Array:
    rows = values.shape[0] if values.ndim else 0
    if values.ndim == 0 or rows % len(letters):
        raise ValueError(f"expected {len(letters)} * hidden_size rows, found shape {values.shape}")
    if letters == ours:
        return values
    blocks = values.reshape(len(letters), rows // len(letters), *values.shape[1:])
    ordered = blocks[[letters.index(gate) for gate in ours]]
    result: Array = np.ascontiguousarray(ordered.reshape(values.shape))  # type: ignore[assignment]
    return result
