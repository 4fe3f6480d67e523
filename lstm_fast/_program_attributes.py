"""The attributes of operations, checked and completed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ._arguments import is_integer, is_number
from .operations import OPERATIONS, Attribute

INT_BOUND = 2**31  # they are 32 bits wide in files


def complete(code: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return all attributes of an operation, checked, with defaults, floats as float32 keeps them.

    Raises:
        ValueError: one is missing, unknown, or no such value.
    """
    table = OPERATIONS[code].attributes
    if unknown := [str(name) for name in attributes if name not in table]:
        there = ", ".join(table) or "none"
        raise ValueError(f"there is no attribute {', '.join(unknown)}; there are: {there}")
    result = {}
    for name, one in table.items():
        value = attributes.get(name, one.default)
        if value is None:
            raise ValueError(f"the attribute {name} is missing")
        result[name] = _value(name, one, value)
    return result


def _value(name: str, one: Attribute, value: Any) -> Any:
    if one.type == "name":
        if value not in one.choices:
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(one.choices)}")
        return str(value)
    if one.type == "flag":
        if not isinstance(value, (bool, np.bool_, int, np.integer)) or value not in (0, 1):
            raise ValueError(f"{name} is {value!r}, expected True or False")
        return bool(value)
    if one.type == "ints":
        if not isinstance(value, (tuple, list)):
            raise ValueError(f"{name} is {value!r}, expected a tuple of integers")
        return tuple(_int(name, item) for item in value)
    if one.type == "int":
        return _int(name, value)
    if not is_number(value) or math.isnan(value):
        raise ValueError(f"{name} is {value!r}, expected a number")
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _int(name: str, value: Any) -> int:
    if not is_integer(value) or not -INT_BOUND <= value < INT_BOUND:
        raise ValueError(f"{name} is {value!r}, expected an integer of 32 bits")
    return int(value)
