"""Lists of numbers in a JSON text as arrays, and what else its objects hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..._arrays import Float32
from ..._budget import Budget
from ..._shown import shown
from ...program import Shape

MOST_DIMENSIONS = 3  # of what layers have
ITEM_BYTES = 8 + 4  # as it is read, and as it is kept
STEPS_AN_ITEM = 0.2


def shape_of(value: Any) -> Shape:
    """Return the shape of nested lists, going by the first of each.

    Raises:
        ValueError: there is no list, or an empty one, or they are nested too deep.
    """
    shape: list[int] = []
    while isinstance(value, list):
        if not value or len(shape) == MOST_DIMENSIONS:
            what = "an empty list" if not value else f"more than {MOST_DIMENSIONS} lists in a list"
            raise ValueError(f"expected numbers, found {what}")
        shape.append(len(value))
        value = value[0]
    if not shape:
        raise ValueError(f"expected a list of numbers, found {shown(value)}")
    return tuple(shape)


def array(value: Any, budget: Budget) -> Float32:
    """Return nested lists of numbers as an array.

    Raises:
        ValueError: the lists have other lengths than the first of them, or there is something else
            than numbers that are finite in float32.
        FormatError: they are more than the file can hold.
    """
    shape = shape_of(value)
    budget.memory(ITEM_BYTES * math.prod(shape), f"an array of shape {shape}")
    budget.work(STEPS_AN_ITEM * math.prod(shape))
    flat = [value]
    for size in shape:
        if not all(type(one) is list and len(one) == size for one in flat):
            raise ValueError(f"a list within it is not as long as the first: its shape is {shape}")
        flat = [inner for one in flat for inner in one]
    if not all(type(one) in (float, int) for one in flat):
        other = next(one for one in flat if type(one) not in (float, int))
        raise ValueError(f"expected numbers, found {shown(other)}")
    with np.errstate(over="ignore"):
        try:
            values: Float32 = np.array(flat, np.float64).astype(np.float32)
        except OverflowError:
            values = np.full(1, np.inf, np.float32)
    if not np.isfinite(values).all():
        raise ValueError("there are values that are not finite in float32")
    return values.reshape(shape)


def size(content: dict[str, Any], name: str, usual: int | None = None) -> int:
    """Return a size, 1 or more.

    Args:
        content: a JSON object.
        name: of the size in it.
        usual: what it is where it is left out; None: it must not be.

    Raises:
        ValueError: it is something else.
    """
    value = content.get(name, usual)
    if isinstance(value, list) and value:  # RTNeural takes the last
        value = value[-1]
    if type(value) is not int or not 1 <= value < 2**31:
        raise ValueError(f"{name} is {shown(value)}, expected 1 or more")
    return value


def number(content: dict[str, Any], name: str, usual: float) -> float:
    """Return a number that need not be there.

    Raises:
        ValueError: it is something else.
    """
    value = content.get(name, usual)
    if type(value) not in (int, float) or not abs(value) < 1e9:
        raise ValueError(f"{name} is {shown(value)}, expected a number")
    return float(value)
