"""Looks for damaged files that take new ways through a reader, by what code they reach (Atheris).

    pip install atheris      # not for every Python; it is no dependency of the tests
    python tests/formats/fuzz_coverage.py pytorch FOLDER -max_total_time=1800
    python tests/formats/fuzz_coverage.py keras FOLDER -max_total_time=1800

FOLDER keeps the files that reached something new; it begins with the ones in golden/formats. What
follows are options of libFuzzer. A file is a failure for the reasons that `fuzz.py` has; it is
written to the folder where this runs, as crash-HASH.
"""

from __future__ import annotations

import random
import shutil
import sys
import warnings
from pathlib import Path

import atheris
import fuzz
import structures

LARGEST = 1 << 18  # bytes of a file


def main() -> None:
    reader, folder, *options = sys.argv[1:]
    with atheris.instrument_imports(include=["lstm_fast.formats", "lstm_fast._state_dict"]):
        from lstm_fast import formats

        read = getattr(formats, reader).read
    starts = [path for path in fuzz.sources() if path.parent.name == reader]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for path in starts:
        shutil.copy(path, folder)
    damages = [damage for path in starts if (damage := structures.of(path))]
    warnings.simplefilter("ignore")

    def one(data: bytes) -> None:
        if wrong := fuzz.outcome(lambda: read(data), len(data)):
            raise RuntimeError(wrong)

    def mutated(data: bytes, largest: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if not damages or rng.random() < 0.4:
            return bytes(atheris.Mutate(data, largest))
        try:
            return rng.choice(damages)(data, rng)[:largest]
        except Exception:  # what it damages is damaged already, in any way
            return fuzz.mutate(data, rng)[:largest]

    defaults = [f"-max_len={LARGEST}", "-timeout=60", "-rss_limit_mb=4096"]
    arguments = [sys.argv[0], folder, *defaults, *options]
    atheris.Setup(arguments, one, custom_mutator=mutated, enable_python_coverage=True)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
