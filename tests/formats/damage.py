"""Damaged files: a reader may refuse them, or read other weights, and nothing else."""

from __future__ import annotations

import random

from lstm_fast import FormatError


def damaged(data: bytes, count: int, seed: int):
    """Yield data cut short, with bytes changed, moved, doubled and left out."""
    rng = random.Random(seed)
    for _ in range(count):
        mutant = bytearray(data)
        kind = rng.randrange(6)
        place, length = rng.randrange(len(data)), rng.randrange(1, 40)
        if kind == 0:
            del mutant[place:]
        elif kind == 1:
            del mutant[place : place + length]
        elif kind == 2:
            mutant[place:place] = data[: length * 2]
        elif kind == 3:  # a number that is a size, perhaps
            mutant[place : place + 4] = rng.choice([0, 1, 2**31 - 1, 2**32 - 1]).to_bytes(
                4, "little"
            )
        else:
            for _ in range(rng.choice([1, 1, 2, 8])):
                mutant[rng.randrange(len(mutant))] = rng.randrange(256)
        yield bytes(mutant)


def refused(read, path, data: bytes, count: int, seed: int = 0) -> int:
    """Return how many of these damaged files were refused; the others were read."""
    number = 0
    for mutant in damaged(data, count, seed):
        path.write_bytes(mutant)
        try:
            read(path)
        except FormatError as error:
            assert str(path) in str(error)
            assert "\n" not in str(error)
            number += 1
    return number
