"""Plants each mistake of the catalogue in a copy of the tree; a test has to notice it.

    python -m tests.mutants [--only TEXT] [--list]

The copy lies in a temporary folder, so this tree stays as it is, however a run ends. First every
test runs without a mistake. A mistake that its own test misses is shown to the tests of all others,
the quickest first, before it counts as living. Exit status 1 where a mistake lives or can't be
judged, or where the catalogue does not fit the code any more. It needs an x86 CPU with AVX2.
Mistakes in the vectors of Arm are those of tests/arm.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .catalogue import ALL
from .mutant import Mutant
from .tree import ROOT, CannotJudgeError, Tree

SLOWEST = 180.0  # seconds that a test may take without any mistake
PATIENCE = 10.0  # times as long, and a mistake that makes it hang is noticed, too


def unfit(mutant: Mutant) -> str:
    """Return why a mistake can't be planted, or nothing."""
    path = ROOT / mutant.file
    count = path.read_text(encoding="utf-8").count(mutant.before) if path.exists() else 0
    return "" if count == 1 else f"{mutant.file} has {count} of {mutant.before!r}"


def measure(tree: Tree, mutants: Sequence[Mutant]) -> dict[str, float]:
    """Return the seconds of each test on the tree as it is, the quickest first."""
    seconds = {}
    tests = {mutant.killer: mutant.needs_numba for mutant in mutants}
    for n, (test, tree.has_numba) in enumerate(tests.items(), 1):
        start = time.monotonic()
        failed = tree.failure(test, SLOWEST)
        seconds[test] = time.monotonic() - start
        if failed:
            raise CannotJudgeError(f"without any mistake there is {failed}")
        print(f"test {n}/{len(tests)}: {seconds[test]:.1f} s: {test}", flush=True)
    return dict(sorted(seconds.items(), key=lambda item: item[1]))


def killer(tree: Tree, mutant: Mutant, seconds: dict[str, float]) -> str:
    """Plant a mistake and return what noticed it, or nothing where it lives."""
    tree.has_numba = mutant.needs_numba
    with tree.planted(mutant):
        for test in (mutant.killer, *(test for test in seconds if test != mutant.killer)):
            if failed := tree.failure(test, 5 + PATIENCE * seconds[test]):
                return failed if test == mutant.killer else f"{failed} (not {mutant.killer})"
    return ""


def judge(tree: Tree, mutants: Sequence[Mutant]) -> int:
    """Try all of them, say how each ends, and return the exit status."""
    start = time.monotonic()
    seconds = measure(tree, mutants)
    living, unjudged = [], []
    for n, mutant in enumerate(mutants, 1):
        began = time.monotonic()
        try:
            found = killer(tree, mutant, seconds)
            verdict = f"killed by {found}" if found else "LIVES"
            living += [] if found else [mutant]
        except CannotJudgeError as error:
            verdict = f"CANNOT BE JUDGED: {error}"
            unjudged.append(mutant)
        took = time.monotonic() - began
        print(f"{n}/{len(mutants)} {took:5.1f} s  {mutant.what}: {verdict}", flush=True)
    died = len(mutants) - len(living) - len(unjudged)
    print(f"{died} of {len(mutants)} mistakes died, in {time.monotonic() - start:.0f} s")
    for mutant in living:
        print(f"lives: {mutant.file}: {mutant.what}")
    for mutant in unjudged:
        print(f"can't be judged: {mutant.file}: {mutant.what}")
    return int(bool(living or unjudged))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description="Plants mistakes; each has to be noticed."
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="those whose lines hold TEXT")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    options = parser.parse_args(arguments)
    chosen = [mutant for mutant in ALL if options.only in "\n".join(mutant)]
    if options.list:
        for mutant in chosen:
            print(f"{mutant.file}: {mutant.what}")
    problems = [text for mutant in chosen if (text := unfit(mutant))]
    for text in problems:
        print(f"no longer fits: {text}")
    if options.list or problems:
        return int(bool(problems))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the copy goes, then as well
    try:
        with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
            return judge(Tree(Path(folder)), chosen)
    except CannotJudgeError as error:
        print(error)
        return 1
    except KeyboardInterrupt:
        print("interrupted")
        return 1


if __name__ == "__main__":
    sys.exit(main())
