"""Runs random and damaged programs on the whole core, with the sanitizers where they are there.

    python tests/models/fuzz_c_programs.py --count 3000

Streams, their steps and a pool must do the same on every instruction set, and no sanitizer may find
anything. A file is named by its sort and a seed: --only whole --seed 1234.
"""

from __future__ import annotations

import argparse
import random
import re
import tempfile
from pathlib import Path

import fuzz_lfm
from c_runner import build, is_wrong, ran
from random_operations import random_program as one_operation
from random_programs import random_program

from lstm_fast import _lfm

BATCH = 200


def whole(seed):
    """A random program, as a file."""
    rng = random.Random(seed)
    return _lfm.to_bytes(random_program(rng, rng.randint(1, 12)))


def damaged(seed):
    """One of those, with some bytes that are wrong and a checksum that fits."""
    return fuzz_lfm.damaged(whole(seed % 997)[:-32], seed)


MAKERS = {"whole": whole, "damaged": damaged, "operations": one_operation}


def run(program, name, seeds):
    """Run the files of one sort; return the lines that were printed, of which none is wrong."""
    lines = []
    for begin in range(0, len(seeds), BATCH):
        part = seeds[begin : begin + BATCH]
        try:
            more = ran(program, [MAKERS[name](seed) for seed in part])
        except AssertionError as error:
            raise AssertionError(f"--only {name}, seeds {part[0]} to {part[-1]}: {error}") from None
        for seed, line in zip(part, more, strict=True):
            if is_wrong(line):
                raise AssertionError(f"--only {name} --seed {seed}: {line}")
        lines += more
    return lines


def run_out(program, seeds):
    """Let memory run out everywhere while models, streams and pools of programs are made."""
    for seed, line in zip(
        seeds, ran(program, [whole(seed) for seed in seeds], "memory"), strict=True
    ):
        if not re.fullmatch(r"0 after \d\d+", line):
            raise AssertionError(f"without memory, seed {seed}: {line}")


def run_all(program, options):
    names = MAKERS if options.only is None else [options.only]
    seeds = range(options.count) if options.seed is None else [options.seed]
    for name in names:
        lines = run(program, name, seeds)
        ran_through = sum(line.startswith("0 ") for line in lines)
        print(f"{name}: {len(lines)} files, {ran_through} of them ran", flush=True)
    run_out(program, seeds[:50])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--only", choices=MAKERS)
    parser.add_argument("--program", help="run_programs.c, where it is built already")
    options = parser.parse_args()
    if options.program:
        run_all(options.program, options)
        return
    with tempfile.TemporaryDirectory() as directory:
        run_all(build(Path(directory)), options)


if __name__ == "__main__":
    main()
