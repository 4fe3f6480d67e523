"""What a mistake is: a change to a machine, with words for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from .machine import Layer, Machine

Change = Callable[[Machine], "Machine | None"]  # None where there is nothing to get wrong
LayerChange = Callable[[Layer], "Layer | None"]


@dataclass(frozen=True)
class Mistake:
    """One thing that may be wrong.

    id: short and stable; words: what is wrong; advice: what to change; change: makes a machine that
    has it. No two of a group are made at once, and none that is not in pairs together with another.
    layer_change is there where it is made in each layer, and so might be in one alone.
    """

    id: str
    words: str
    advice: str
    change: Change
    group: str
    pairs: bool = True
    layer_change: LayerChange | None = None

    def in_layer(self, index: int) -> Mistake:
        """Return the same in one layer alone."""
        assert self.layer_change is not None
        return replace(
            self,
            id=f"{self.id}@layer{index}",
            words=f"{self.words}, in layer {index} (counted from 0) alone",
            change=_in_layers(self.layer_change, index),
            layer_change=None,
        )


Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Family:
    """A mistake with numbers in it, one or two, that have to be found.

    words and change take the numbers. neutral are those that change nothing; starts is where to
    look first. name makes the id of the numbers; None adds them to id. makes_sense says whether
    anyone may have such numbers.
    """

    id: str
    words: Callable[..., str]
    advice: str
    change: Callable[..., Machine]
    group: str
    neutral: Numbers
    starts: tuple[Numbers, ...]
    name: Callable[..., str] | None = None
    makes_sense: Callable[..., bool] = lambda *numbers: True

    def at(self, numbers: Numbers) -> Mistake:
        """Return it as a mistake, with these numbers."""
        text = ",".join(f"{number:.4g}" for number in numbers)
        return Mistake(
            f"{self.id}:{text}" if self.name is None else self.name(*numbers),
            self.words(*numbers),
            self.advice,
            lambda machine: self.change(machine, *numbers),
            self.group,
        )

    def in_layer(self, index: int) -> Family:
        """Return the same in one layer alone."""

        def change(machine: Machine, *numbers: float) -> Machine:
            changed = self.change(machine, *numbers).layers[index]
            layers = machine.layers
            return replace(machine, layers=(*layers[:index], changed, *layers[index + 1 :]))

        where = f"@layer{index}"
        return replace(
            self,
            id=f"{self.id}{where}",
            words=lambda *numbers: (
                f"{self.words(*numbers)}, in layer {index} (counted from 0) alone"
            ),
            change=change,
            name=lambda *numbers: f"{self.at(numbers).id}{where}",
        )


def _in_layers(change: LayerChange, index: int | None = None) -> Change:
    def changed(machine: Machine) -> Machine | None:
        layers = [
            change(layer) if index in (None, n) else None for n, layer in enumerate(machine.layers)
        ]
        if all(layer is None for layer in layers):
            return None
        kept = (new or old for new, old in zip(layers, machine.layers, strict=True))
        return replace(machine, layers=tuple(kept))

    return changed


def layered(id: str, words: str, advice: str, change: LayerChange, **options: Any) -> Mistake:
    group = options.pop("group", id.partition(":")[0])
    return Mistake(id, words, advice, _in_layers(change), group, layer_change=change, **options)


def whole(id: str, words: str, advice: str, group: str = "", **options: Any) -> Mistake:
    """Return a mistake that sets fields of a machine."""
    pairs = options.pop("pairs", True)
    group = group or id.partition(":")[0]
    return Mistake(id, words, advice, lambda m: replace(m, **options), group, pairs)
