"""Throws damaged and made-up `.lfm` files at the C parser, which must agree with Python's.

    python tests/models/fuzz_c_parser.py --count 300000

With the address and undefined behaviour sanitizers where they are there. A file is named by its
sort and a seed, so each can be had again: --only rich --seed 1234.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import fuzz_lfm
from c_parser import build, disagreements
from random_operations import random_program

BATCH = 1000
SHARES = {"operations": 10, "chain": 5, "rich": 5, "notes": 1}  # the last are large


def makers():
    """What makes a file of each sort from a seed."""
    bodies = fuzz_lfm.bodies()
    damaged = {name: partial(fuzz_lfm.damaged, body) for name, body in bodies.items()}
    return {"operations": random_program, **damaged}


def run(program, name, first, count):
    """Compare so many files of one sort; return how many are models."""
    make, models = makers()[name], 0
    for begin in range(first, first + count, BATCH):
        seeds = range(begin, min(begin + BATCH, first + count))
        files = [make(seed) for seed in seeds]
        differ, more = disagreements(program, files)
        for file, found, wanted in differ[:1]:
            seed = seeds[files.index(file)]
            raise AssertionError(f"--only {name} --seed {seed}: {found} in C, {wanted} in Python")
        models += more
    return models


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--only", choices=SHARES)
    options = parser.parse_args()
    names = SHARES if options.only is None else {options.only: 1}
    with tempfile.TemporaryDirectory() as directory:
        program = build(Path(directory))
        for name, share in names.items():
            part = options.count * share // sum(names.values())
            count = 1 if options.seed is not None else part
            models = run(program, name, options.seed or 0, count)
            print(f"{name}: {count} files, {models} of them models, all as in Python", flush=True)


if __name__ == "__main__":
    main()
