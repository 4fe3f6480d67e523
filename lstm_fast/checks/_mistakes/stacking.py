"""What goes wrong between layers: states of others, sums with what a layer took."""

from __future__ import annotations

from collections.abc import Iterator

from .machine import Machine, Slots
from .mistake import Mistake, whole
from .streaming import PARTS

OWN = "each layer keeps an h and a c of its own: layer n takes what layer n gave a step before"


def swaps(machine: Machine) -> Iterator[Mistake]:
    """Yield layers that take each other's state, or share one."""
    count = len(machine.layers)
    for name, order in _orders(count).items():
        for parts, text in PARTS.items():
            id = "" if parts == "hc" else f":{parts}"
            id += "" if count == 2 else f"@{name}"
            whose = f"{text} of layers {name.replace('-', ' and ')} (counted from 0)"
            for where, words, options in (
                ("carried", "change places from step to step", {"carried": True, "start": True}),
                ("carried", "change places from step to step", {"carried": True, "shown": True}),
                ("carried", "change places from step to step", {"carried": True}),
                ("shown", "change places in the state shown", {"shown": True}),
                ("start", "change places in a state that is set", {"start": True}),
                (
                    "start",
                    "change places in a state that is set, and in the state shown",
                    {"start": True, "shown": True},
                ),
            ):
                yield _slots(
                    f"layer_states_swapped:{where}{id}",
                    f"{whose} {words}",
                    Slots(order, parts, **options),
                )
    yield from _shared(count)


def _orders(count: int) -> dict[str, tuple[int, ...]]:
    """Return whose state each layer takes, by the layers that take another's."""
    layers = tuple(range(count))
    result = {}
    for low in layers:
        for high in layers[low + 1 :]:
            order = list(layers)
            order[low], order[high] = high, low
            result[f"{low}-{high}"] = tuple(order)
    if count > 2:
        result["all, in a ring upwards"] = (count - 1, *layers[:-1])
        result["all, in a ring downwards"] = (*layers[1:], 0)
    if count > 3:
        result["all, in reverse"] = layers[::-1]
    return result


def _shared(count: int) -> Iterator[Mistake]:
    """Yield layers that have one state together, and those that all take the first's."""
    groups = {"all layers": tuple(range(count))}
    if count > 2:
        groups |= {f"layers {n} and {n + 1}": (n, n + 1) for n in range(count - 1)}
    for (name, group), (parts, text) in (
        (group, part) for group in groups.items() for part in PARTS.items()
    ):
        order = list(range(count))
        for below, n in zip((group[-1], *group[:-1]), group, strict=True):
            order[n] = below
        id = "" if parts == "hc" else f":{parts}"
        id += "" if len(group) == count else f"@{group[0]}-{group[1]}"
        many = "have one {0} together" if len(parts) == 1 else "share {0}"
        for start in (True, False):
            for top in (True, False) if len(group) == count else (False,):
                yield _slots(
                    f"layer_states_shared{id}",
                    f"{name} {many.format(text)}",
                    Slots(tuple(order), parts, True, True, start=start, top=top),
                )
    for parts, text in PARTS.items():
        id = "" if parts == "hc" else f":{parts}"
        for which, n in (("first", 0), ("last", count - 1)):
            for start, fresh in ((True, False), (False, False), (True, True)):
                yield _slots(
                    f"layer_states_of:{which}{id}",
                    f"every layer takes {text} of layer {n} (counted from 0)",
                    Slots((n,) * count, parts, True, fresh, start=start),
                )


def _slots(id: str, words: str, slots: Slots) -> Mistake:
    return whole(id, words, OWN, pairs=False, slots=slots)


def residuals(machine: Machine) -> Iterator[tuple[str, str, tuple[float, ...]]]:
    """Yield ranges of layers to which what they take may be added: id, words, ones and zeros."""
    layers = machine.layers
    fits = [layer.sizes[0] == layer.sizes[2] for layer in layers]
    for first in range(len(layers)):
        for last in range(first, len(layers)):
            if not all(fits[first : last + 1]):
                break
            ones = tuple(float(first <= n <= last) for n in range(len(layers)))
            many = f"layers{first}-{last}" if last > first else f"layer{first}"
            words = f"layers {first} to {last}" if last > first else f"layer {first}"
            words += " (counted from 0)"
            words += ", the output" if last == len(layers) - 1 else ""
            yield many, words, ones
