"""Throws damaged `.lfm` files, with a checksum that fits, at the loader: errors only, and bounded.

    python tests/models/fuzz_lfm.py --count 300000

What is read all the same is another model: it must be written as it was read, and take a step. A
file is named by its model and a seed, so each can be had again: --only rich --seed 1234.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import random
import struct
import time
import tracemalloc
from dataclasses import replace

import numpy as np
from program_cases import PROGRAMS

from lstm_fast import FormatError, Model

SECONDS = 1.0  # of CPU time for one file
NUMBERS = (0, 1, 2, 3, 4, 7, 8, 9, 63, 64, 65, 255, 2**16, 2**16 + 1, 2**28, 2**31)
NAMES = (*PROGRAMS, "notes")  # that one: many notes that are one long text
SMALL = 2**16  # values of a step that is taken


def bodies():
    """The files to begin with, without their checksums."""
    programs = {name: make() for name, make in PROGRAMS.items()}
    note = "a note of 64 kB " * 2**12
    programs["notes"] = replace(programs["chain"], notes=(note,) * 3000)
    return {name: Model.from_program(one).to_bytes()[:-32] for name, one in programs.items()}


def damaged(body, seed):
    """One damaged file: words of the header and the records, or bytes anywhere."""
    rng, result = random.Random(seed), bytearray(body)
    (words,) = struct.unpack_from("<I", body, 40)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        if rng.random() < 0.8:
            at = 4 * rng.randrange(2, 16 + words)
            if at + 4 > len(result):
                continue
            (old,) = struct.unpack_from("<I", result, at)
            near = (old + 1, old - 1, old ^ 2**31, old * 2, 2**32 - 1, 2**32 - 2)
            value = rng.choice((*near, *NUMBERS, rng.randrange(2**32), rng.randrange(64)))
            struct.pack_into("<I", result, at, value % 2**32)
        elif rng.random() < 0.6:
            result[rng.randrange(8, len(result))] = rng.randrange(256)
        else:
            at, size = rng.randrange(8, len(result)), rng.choice((1, 4, 64))
            piece = result[at : at + size]
            result[at : at + size] = b"" if rng.random() < 0.5 else piece * 2
    return bytes(result) + hashlib.sha256(result).digest()


def check(data):
    """Read a file; return whether it is one. Whatever is wrong is an AssertionError, or its own."""
    begin = time.process_time()
    try:
        model = Model.from_bytes(data)
    except FormatError:
        model = None
    assert time.process_time() - begin < SECONDS
    if model is None:
        return False
    assert Model.from_program(model.program).to_bytes() == data  # one form of a program
    program = model.program
    if sum(math.prod(one.shape) for one in program.tensors) > SMALL:
        return True
    frame = {name: np.zeros(one.shape, one.kind) for name, one in model.inputs.items()}
    stream = model.stream()
    try:
        result = stream.step(frame)
    except ValueError as error:
        assert "of an embedding" in str(error)
        return True
    found = result if isinstance(result, dict) else dict.fromkeys(model.outputs, result)
    for name, one in model.outputs.items():
        assert (found[name].shape, str(found[name].dtype)) == (one.shape, one.kind)
    for name, one in model.states.items():
        assert (stream.state[name].shape, str(stream.state[name].dtype)) == (one.shape, one.kind)
    return True


def run(count, first=0, names=NAMES):
    """Check so many files of each model; return how many were models."""
    read = 0
    for name in names:
        body = bodies()[name]
        for seed in range(first, first + count):
            data = damaged(body, seed)
            try:
                read += check(data)
            except Exception as error:
                raise AssertionError(f"--only {name} --seed {seed}") from error
    return read


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--only", choices=NAMES)
    options = parser.parse_args()
    names = NAMES if options.only is None else (options.only,)
    count = 1 if options.seed is not None else options.count // len(names)
    tracemalloc.start()
    read = run(count, options.seed or 0, names)
    peak = tracemalloc.get_traced_memory()[1]
    print(f"{count * len(names)} files, {read} of them models, at most {peak >> 20} MiB of memory")
    assert peak < 64 << 20


if __name__ == "__main__":
    main()
