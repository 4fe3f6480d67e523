"""Functions whose result is one and the same object to all who ask for the same."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from ._process import bookkeeping

P = ParamSpec("P")
T = TypeVar("T")


def made_once(most: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Keep what a function returns for each of the last so many arguments.

    Threads that ask at the same time may each make one, and get the one that was there first;
    `functools.lru_cache` gives each its own.
    """

    def decorate(make: Callable[P, T]) -> Callable[P, T]:
        kept: dict[Any, T] = {}

        @wraps(make)
        def get(*args: P.args, **options: P.kwargs) -> T:
            key = args, tuple(sorted(options.items()))
            with bookkeeping:
                found = key in kept
                if found:
                    kept[key] = value = kept.pop(key)  # the last to go
            if found:
                return value
            made = make(*args, **options)
            with bookkeeping:
                value = kept.setdefault(key, made)
                while len(kept) > most:
                    del kept[next(iter(kept))]
            return value

        return get

    return decorate
