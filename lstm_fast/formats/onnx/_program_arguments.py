"""What a caller says of an ONNX model, checked for its types."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .._files import FormatError


def axes(given: Any) -> int | dict[str, int]:
    """Return time_axis= with whole numbers in it."""
    given_axes = given if isinstance(given, Mapping) or given is None else {"": given}
    found = mapping("time_axis", given_axes)
    for name, axis in found.items():
        try:
            if isinstance(axis, (bool, np.bool_)):
                raise TypeError
            found[name] = operator.index(axis)
        except TypeError:
            text = f"time_axis is a whole number, or maps names to such, found {given!r}"
            raise TypeError(text) from None
    return found if given_axes is given else int(found[""])


def mapping(what: str, given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"{what} maps names to values, found {given!r}")
    return dict(given)


def names(what: str, given: Any) -> list[str] | None:
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f"{what} is a list of names, found {given!r}")
    if not all(isinstance(name, str) for name in given):
        raise TypeError(f"{what} is a list of names, found {given!r}")
    if not given or len(set(given)) < len(given):
        raise FormatError(f"{what} names nothing, or something twice: {list(given)}")
    return list(given)
