"""What packing an LSTM of a file takes, charged like what reading it took."""

from __future__ import annotations

from .._budget import MEMORY_TIMES, Budget
from .._weights import Weights

LANES = 16  # of the widest kernels, to which the units of a layer are filled up
ITEM_BYTES = {"float32": 4, "float16": 2, "int8": 1}
# Of Python, for a layer; a lone direction and one of two is packed by itself.
LAYER_STEPS, ALONE_STEPS = 30, 110
STEPS_A_VALUE, STEPS_A_BYTE = 0.02, 0.0005


def charge_packing(budget: Budget, weights: Weights, weight_dtype: str) -> None:
    """Charge what is beyond four times the file, which weights of 8 bits need in any case.

    Raises:
        FormatError: it is more than a file of this size is worth.
    """
    values = packed = 0
    for layer in weights.layers:
        rows, columns = layer.weight_ih.shape
        outputs = layer.weight_hh.shape[1]
        units = -(-rows // 4 // LANES) * LANES
        columns += outputs + 2
        projection = 0 if layer.weight_hr is None else outputs + LANES
        values += rows * columns
        packed += units * (4 * columns + projection)
    what = "its weights, packed for the kernels,"
    size = packed * ITEM_BYTES.get(str(weight_dtype), 4)  # a wrong one is refused later
    budget.memory(max(0, size - MEMORY_TIMES * budget.size), what)
    steps = LAYER_STEPS if weights.direction == "forward" else ALONE_STEPS
    budget.work(
        steps * len(weights.layers) + STEPS_A_VALUE * values + STEPS_A_BYTE * size, "packing it"
    )
