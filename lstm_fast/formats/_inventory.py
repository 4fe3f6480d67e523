"""What a file holds where there is no LSTM in it: its first names or operators, in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from reprlib import Repr
from typing import Any

from .._shown import LONGEST, plain

MOST = 12
VALUES = Repr()
VALUES.maxlist = VALUES.maxdict = VALUES.maxtuple = MOST
VALUES.maxstring = VALUES.maxother = VALUES.maxlong = LONGEST


def counted(counts: Counter[str]) -> str:
    """Return the most common kinds with their numbers: "MatMul (4), Add (2)"."""
    some = ", ".join(f"{plain(name)} ({count})" for name, count in counts.most_common(MOST))
    return some + _more(len(counts))


def listed(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    every = list(names)
    return ", ".join(map(plain, every[:MOST])) + _more(len(every))


def brief(value: Any, longest: int = LONGEST) -> str:
    """Return how a value of any kind begins, without taking more of it than is shown."""
    return (value if isinstance(value, str) else VALUES.repr(value))[:longest]


def _more(count: int) -> str:
    return f" and {count - MOST} more" if count > MOST else ""
