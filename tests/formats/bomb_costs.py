"""What reading costs just below the limits: each bomb at sizes down to a thousandth of its own.

    python tests/formats/bomb_costs.py [--load | --load_model] [WORD ...]

--load: that in place of `read`. WORD: bombs with this in their name alone. Prints, for each, its
dearest size: CPU seconds and memory as parts of what a file of that size may take, and microseconds
for each step of work that was charged; a step should cost about one. The suite looks at the full
sizes, which are refused; what is charged too little shows in those that are not. Run it on a quiet
machine.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import bombs
import limits
import newer_bombs
import onnx_bombs
import tflite_bombs
import torch_bombs
from bombs import Bomb


class Cost(NamedTuple):
    """One reading: its parts of the CPU time and of the memory that it may take."""

    time: float
    memory: float
    scale: int
    taken: limits.Taken


class Sized(NamedTuple):
    """A bomb, and how it is read at a scale."""

    name: str
    scale: int
    take: Callable[[int], limits.Taken]


def all_bombs(reading: str = "read") -> Iterator[Sized]:
    """Yield all that there are; reading: what is done with those that are read."""
    files = list({**bombs.BOMBS, **newer_bombs.BOMBS}.items())
    tables = (
        (onnx_bombs.READ, "a.onnx", "read"),
        (onnx_bombs.WHOLE, "a.onnx", "load_model"),
        (tflite_bombs.BOMBS, "a.tflite", "read"),
    )
    for table, file, action in tables:
        for make, scale in table.items():
            files.append((make.__name__, Bomb(file, make, scale, action)))
    for name, bomb in files:
        action = reading if bomb.action == "read" else bomb.action
        yield Sized(name, bomb.scale, partial(of_file, bomb._replace(action=action)))
    for name, folder_bomb in torch_bombs.BOMBS.items():
        yield Sized(name, folder_bomb.scale, partial(of_folder, folder_bomb, reading))


def of_file(bomb: Bomb, scale: int) -> limits.Taken:
    return limits.taken(bomb.make(scale), bomb.name, bomb.action, **bomb.options)


def of_folder(bomb: torch_bombs.Bomb, action: str, scale: int) -> limits.Taken:
    with tempfile.TemporaryDirectory() as folder:
        return limits.taken_by(bomb(Path(folder), scale), action)


def costs(bomb: Sized) -> Iterator[Cost]:
    """Yield what each size takes."""
    scale = bomb.scale
    while scale >= max(1, bomb.scale // 1000):
        taken = bomb.take(scale)
        time = taken.seconds / limits.seconds_for(taken.size)
        yield Cost(time, taken.memory / limits.memory_for(taken.size), scale, taken)
        scale = scale * 2 // 3


def main() -> int:
    print("time  memory  us/step  scale")
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    actions = [word.removeprefix("--") for word in sys.argv[1:] if word.startswith("--")]
    for bomb in all_bombs(*actions):
        if not words or any(word in bomb.name for word in words):
            found = list(costs(bomb))
            dearest, largest = max(found), max(found, key=lambda one: one.memory)
            step = 1e6 * dearest.taken.seconds / max(1.0, dearest.taken.steps)
            row = f"{dearest.time:4.0%}  {largest.memory:6.0%}  {step:7.2f}  {dearest.scale}"
            print(f"{row} ({dearest.taken.outcome})  {bomb.name}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
