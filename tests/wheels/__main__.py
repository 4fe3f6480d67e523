"""Runs the wheels that `make wheels` has made, each where this machine can stand in for its own.

    python -m tests.wheels [WORD ...]

WORD: of the wheels with this in their name alone. Interpreters lie in build/test-wheels and are
made once: CPython for musl is compiled, in some minutes. What is missing here is said by the name
of its package, and of such a wheel at most the C tests run. LSTM_FAST_WINDOWS_PYTHON names a folder
with Python's embeddable package for Windows, to be run under wine; without it, C tests alone are.
Exit status 1 where a test fails.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

from tests.arm import __main__ as arm
from tests.arm.tools import ROOT, FailedError

from . import core_programs, symbols
from .interpreters import BUILD, PYTHONS, WINDOWS, missing, site_of

BITS = ("tests/backends/test_golden_bits.py", "tests/backends/test_bits.py")
# Minutes where each instruction is translated: the larger shapes of the corpus, and random ones
LARGE = (*arm.LARGE, "test_all_give", "test_also_of", "thousand")


def run_wheel(wheel: Path, platform: str) -> str:
    """Smoke test and golden bits of a wheel; return what was said of them."""
    interpreter = PYTHONS[platform].make()
    site = site_of(wheel)
    smoke = BUILD / "smoke/program/smoke.py"  # which refuses a package that is near it
    smoke.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / ".ci/smoke.py", smoke)
    isa = interpreter.run(site, smoke, "native").partition("isa='")[2].partition("'")[0]
    options = ["-q", "-p", "no:cacheprovider", "-c", ROOT / "pyproject.toml", "--rootdir", ROOT]
    if PYTHONS[platform].is_slow:
        options += ["-k", " and ".join(f"not {name}" for name in LARGE)]
    files = [ROOT / name for name in BITS]
    said = interpreter.run(site, "-m", "pytest", *options, *files)
    return f"{isa}, {said.strip().splitlines()[-1].strip('= ')}"


def run_in_c(wheel: Path, why: str = "") -> tuple[str, str]:
    """Run the C tests alone; return the same as what_of."""
    count, said = core_programs.run(wheel)
    return "C tests run" if count else "only built", "; ".join(filter(None, (said, why)))


def what_of(wheel: Path) -> tuple[str, str]:
    """Return what was done with a wheel: "run", "C tests run" or "only built"; and more of it."""
    platform = next((name for name in PYTHONS if name in wheel.name), None)
    if "macosx" in wheel.name:
        return "only built", symbols.check(wheel)
    if platform is None:
        return run_in_c(wheel)
    if absent := missing(PYTHONS[platform].needs):
        return run_in_c(wheel, f"Python was not run: apt install {absent}")
    if platform == "win_amd64" and WINDOWS not in os.environ:
        return run_in_c(wheel, f"{WINDOWS} names no Python for Windows")
    said = (PYTHONS[platform].title, run_wheel(wheel, platform), core_programs.run(wheel)[1])
    return "run", "; ".join(filter(None, said))


def main() -> int:
    """Run all; print a table; return the exit status."""
    wheels = sorted((ROOT / "dist").glob("*.whl"))
    wheels = [one for one in wheels if not sys.argv[1:] or any(w in one.name for w in sys.argv[1:])]
    if not wheels:
        print("there is no such wheel in dist/: make wheels")
        return 1
    BUILD.mkdir(parents=True, exist_ok=True)
    rows, failed, start = [], False, time.monotonic()
    for wheel in wheels:
        print(f"{time.monotonic() - start:5.0f} s  {wheel.name}", flush=True)
        try:
            done, more = what_of(wheel)
        except FailedError as error:
            print(error)
            done, more, failed = "FAILED", "see above", True
        rows.append((wheel.name.split("-", 2)[2].removesuffix(".whl"), done, more))
    print("\n| wheel | | |\n|---|---|---|")
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
