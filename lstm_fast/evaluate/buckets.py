"""Buckets: which cohort a sequence belongs to."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from .._arguments import is_integer
from .sequences import Labelled

__all__ = ["Buckets", "by", "by_gap", "by_steps"]


class Buckets:
    """One way to part sequences into cohorts; make one with `by_steps`, `by_gap` or `by`.

    Attributes:
        name: of the way, such as "steps".
        order: the cohorts' names in order, where they are known beforehand.

    Example:
        >>> is_long = Buckets("length", lambda one: "long" if one.steps > 2 else "short")
        >>> is_long(Labelled(xs=[1.0, 2.0, 3.0], gold="yes"))
        'long'
    """

    def __init__(
        self, name: str, cohort: Callable[[Labelled], str], order: Sequence[str] = ()
    ) -> None:
        self.name = name
        self.order = tuple(order)
        self._cohort = cohort

    def __call__(self, sequence: Labelled) -> str:
        """Return the name of a sequence's cohort.

        Raises:
            ValueError: it lacks what the cohort depends on.
        """
        return self._cohort(sequence)

    def __repr__(self) -> str:
        return f"<Buckets {self.name!r}>"


def _to_edges(edges: Sequence[Any], integer: bool) -> list[Any]:
    if isinstance(edges, str) or not isinstance(edges, Iterable):
        raise TypeError(f"edges are a list of numbers, such as [10, 50], found {edges!r}")
    values = [_to_steps(edge) if integer else _number(edge) for edge in edges]
    if not values:
        raise ValueError("there are no edges; n of them make n + 1 buckets")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"edges must be finite, found {values}")
    if any(a >= b for a, b in pairwise(values)):
        raise ValueError(f"edges must ascend, found {values}")
    return values


def _number(value: Any) -> float:
    """Return an edge as a float.

    Raises:
        TypeError: it is not a number.
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"edges are numbers, found {value!r}") from None


def _to_steps(value: Any) -> int:
    """Return a number of steps as an int.

    Raises:
        TypeError: it is not an integer.
    """
    if not is_integer(value):
        raise TypeError(f"edges of steps are integers, found {value!r}")
    return int(value)


def by_steps(edges: Sequence[int], name: str = "steps") -> Buckets:
    """Part by the number of steps T of the whole sequence, whatever window of it is seen.

    Args:
        edges: ascending, each the least T of a bucket: [10, 50] makes "<10", "10-49" and "50+".
        name: of the way to part.

    Raises:
        TypeError, ValueError: the edges are not ascending integers.

    Example:
        >>> by_steps([25, 100]).name
        'steps'
    """
    values = _to_edges(edges, integer=True)
    names = [f"<{values[0]}"]
    names += [_span(low, high - 1) for low, high in pairwise(values)]
    names.append(f"{values[-1]}+")
    return Buckets(name, lambda s: names[int(np.searchsorted(values, s.steps, "right"))], names)


def _span(low: int, high: int) -> str:
    return str(low) if low == high else f"{low}-{high}"


NO_GAP = "no gap"


def by_gap(edges: Sequence[float], name: str = "largest gap") -> Buckets:
    """Part by the largest time between two neighbouring steps of the whole sequence, in seconds.

    Args:
        edges: ascending, each the least gap of a bucket: [0.5, 2] makes "<0.5 s", "0.5-2 s" (2
            not included) and "2+ s"; sequences of fewer than two steps are "no gap".
        name: of the way to part.

    Raises:
        TypeError, ValueError: the edges are not ascending numbers.

    Example:
        >>> by_gap([0.5, 2]).order
        ('no gap', '<0.5 s', '0.5-2 s', '2+ s')
    """
    values = _to_edges(edges, integer=False)
    names = [f"<{values[0]:g} s"]
    names += [f"{low:g}-{high:g} s" for low, high in pairwise(values)]
    names.append(f"{values[-1]:g}+ s")

    def cohort(sequence: Labelled) -> str:
        gap = sequence.largest_gap
        return NO_GAP if gap is None else names[int(np.searchsorted(values, gap, "right"))]

    return Buckets(name, cohort, (NO_GAP, *names))


def by(
    key: str | Callable[[Labelled], Any],
    name: str | None = None,
    *,
    missing: str | None = None,
    order: Sequence[Any] = (),
) -> Buckets:
    """Part by anything else.

    Args:
        key: one of `Labelled.keys`; or what computes a value from the sequence. Values are named by
            `str`.
        name: of the way to part; None takes the key or the function's name.
        missing: the cohort of sequences without that key, or with None; None makes them an error.
        order: values in the order in which they are reported; others follow, sorted.

    Raises:
        TypeError: key is neither.

    Example:
        >>> by("device").name  # of the sequence {"keys": {"device": "phone"}, ...}
        'device'
    """
    if not (isinstance(key, str) or callable(key)):
        raise TypeError(f"a key is a string or a callable, found {type(key).__name__}")

    def cohort(sequence: Labelled) -> str:
        value = sequence.keys.get(key) if isinstance(key, str) else key(sequence)
        if value is None:
            if missing is None:
                raise ValueError(f"it has no key {key!r}; by(..., missing=...) names their cohort")
            return missing
        return str(value)

    called = key if isinstance(key, str) else getattr(key, "__name__", "key")
    return Buckets(name or called, cohort, [str(value) for value in order])
