"""Which plans a port may follow: what is right with one mistake in it, and with two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

from ...vad import CHUNKS
from .ports import CONTEXTS, SCALES, STATES, Plan, Window
from .words import CONTEXT_PART, said_of

__all__ = ["MOST", "plans", "right_window"]

MOST = 2  # mistakes at once
OF_INTEGERS = ("unsigned", "other_bytes")


def right_window(rate: int, has_context: bool) -> Window:
    """Return what the model should be given."""
    size = CHUNKS[rate]
    return Window(rate, size, size // CONTEXT_PART if has_context else 0)


def plans(right: Window, chunk: int, takes_integers: bool) -> list[Plan]:
    """Return plans with mistakes in them, those with fewer first.

    Args:
        right: the window that there should be.
        chunk: samples that the target takes at once.
        takes_integers: whether these are integers.
    """
    base = Plan(right)
    changes = list(_changes(right, chunk, takes_integers))
    made = [replace(base, **one) for one in changes]
    for one, other in combinations(changes, 2):
        if not one.keys() & other.keys():
            made.append(replace(base, **one, **other))
    numbers = {plan: len(said_of(plan, right)) for plan in made if not _is_idle(plan)}
    return sorted((plan for plan, n in numbers.items() if n <= MOST), key=numbers.__getitem__)


def _is_idle(plan: Plan) -> bool:
    """Say whether a part of a plan changes nothing."""
    return plan.context != "right" and not plan.window.context


def _changes(right: Window, chunk: int, takes_integers: bool) -> Iterator[dict[str, Any]]:
    for context in CONTEXTS:
        if context != "right":
            yield {"context": context}
    for state in STATES:
        if state != "kept":
            yield {"state": state}
    for scale in SCALES:
        if scale != "right" and (takes_integers or scale not in OF_INTEGERS):
            yield {"scale": scale}
    yield {"end": "zeroed"}
    yield {"late": True}
    for window in _windows(right, chunk):  # last: models of other windows have to be loaded
        yield {"window": window}
    yield {"weights": "float16"}


def _windows(right: Window, chunk: int) -> Iterator[Window]:
    contexts = sorted({size // CONTEXT_PART for size in CHUNKS.values()} | {0})
    for rate, size in CHUNKS.items():
        for count in contexts if right.context else [0]:
            sizes = dict.fromkeys((size, chunk, *CHUNKS.values()))
            found = [Window(rate, one, count) for one in sizes]
            if chunk < size:
                found.append(Window(rate, size, count, filled=True))
            yield from (one for one in found if one != right)
