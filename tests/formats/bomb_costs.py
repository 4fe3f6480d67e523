"""What reading costs just below the limits: each bomb at sizes down to a thousandth of its own.

    python tests/formats/bomb_costs.py [WORD ...]

WORD: bombs with this in their name alone. Prints, for each, its dearest size: CPU seconds and
memory as parts of what a file of that size may take, and microseconds for each step of work that
was charged; a step should cost about one. The suite looks at the full sizes, which are refused;
what is charged too little shows in those that are not. Run it on a quiet machine.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import NamedTuple

import bombs
import limits
import newer_bombs
import onnx_bombs
import tflite_bombs
from bombs import Bomb


class Cost(NamedTuple):
    """One reading: its parts of the CPU time and of the memory that it may take."""

    time: float
    memory: float
    scale: int
    taken: limits.Taken


def all_bombs() -> Iterator[tuple[str, Bomb]]:
    """Yield all that are made by a scale."""
    yield from {**bombs.BOMBS, **newer_bombs.BOMBS}.items()
    tables = (
        (onnx_bombs.READ, "a.onnx", "read"),
        (onnx_bombs.WHOLE, "a.onnx", "load_model"),
        (tflite_bombs.BOMBS, "a.tflite", "read"),
    )
    for table, file, action in tables:
        for make, scale in table.items():
            yield make.__name__, Bomb(file, make, scale, action)


def costs(bomb: Bomb) -> Iterator[Cost]:
    """Yield what each size takes."""
    scale = bomb.scale
    while scale >= max(1, bomb.scale // 1000):
        taken = limits.taken(bomb.make(scale), bomb.name, bomb.action, **bomb.options)
        time = taken.seconds / limits.seconds_for(taken.size)
        yield Cost(time, taken.memory / limits.memory_for(taken.size), scale, taken)
        scale = scale * 2 // 3


def main() -> int:
    print("time  memory  us/step  scale")
    for name, bomb in all_bombs():
        if not sys.argv[1:] or any(word in name for word in sys.argv[1:]):
            found = list(costs(bomb))
            dearest, largest = max(found), max(found, key=lambda one: one.memory)
            step = 1e6 * dearest.taken.seconds / max(1.0, dearest.taken.steps)
            row = f"{dearest.time:4.0%}  {largest.memory:6.0%}  {step:7.2f}  {dearest.scale}"
            print(f"{row} ({dearest.taken.outcome})  {name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
