"""Runs the core under qemu, on Arm and on CPUs of x86-64 that this one is not.

    python -m tests.arm [--all | --core]

Cross compiler, interpreter and packages lie in build/arm and are made once. Exit status 1 where a
test fails; what is missing on this machine is said by the name of its package.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

from . import core, python
from .tools import BUILD, ROOT, FailedError, check_tools, must

FILES = ("tests/backends/test_golden_bits.py", "tests/streams/test_streams.py")
MORE = ("tests/backends/test_bits.py", "tests/pools/test_pool.py")
# Plain C takes minutes for these under qemu, which has no fma unit. 5x19x2 has every variant, too.
LARGE = ("64x64x1", "80x64", "129x65", "220x200", "300x257", "80x256", "80x320", "256x256")
LARGE += ("512x512", "640x640", "1024x1024")


def make_python() -> None:
    """An interpreter, its packages, and the core for it."""
    python.make_system()
    python.make_site()
    python.make_package()


def isas() -> None:
    """Which ISA each CPU gets; and the error of one that it lacks."""
    shown = "import lstm_fast; print(lstm_fast.LSTM.random(3, 4).isa)"
    for cpu, isa in core.ARM.items():
        if python.python("-c", shown, cpu=cpu).strip() != isa:
            raise FailedError(f"{cpu} does not take {isa}")
    said = python.python("-c", shown, cpu="cortex-a53", status=1, LSTM_FAST_ISA="neondot")
    error = said.strip().splitlines()[-1]
    if not error.startswith("ValueError: LSTM_FAST_ISA='neondot' needs dotprod"):
        raise FailedError(f"not the usual error:\n{said}")
    print(f"  cortex-a53: {error}")


def tests(files: tuple[str, ...], examples: int, *options: str) -> None:
    """Python tests, with their children; `-n`: processes. Of a property, so many examples."""
    at_a_time = f"-n{os.cpu_count()}"
    python_tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", at_a_time, *options]
    said = python.python(*python_tests, *files, LSTM_FAST_EXAMPLES=str(examples))
    print(f"  {said.strip().splitlines()[-1]}")


def silero() -> None:
    """Silero VAD's probabilities have the bits that they have here."""
    from lstm_fast import vad

    model = BUILD / "silero.lfm"
    vad.silero().save(model)
    script = ROOT / "tests/arm/silero_bits.py"
    here = must([sys.executable, script, model], {"PYTHONPATH": str(ROOT)})
    there = python.python(script, model)
    lines = [line.split() for line in (here + there).strip().splitlines()]
    found = {dtype: {digest for name, digest, _ in lines if name == dtype} for dtype, *_ in lines}
    if len(found) != 2 or any(len(digests) != 1 for digests in found.values()):
        raise FailedError(f"Silero VAD has other bits:\n{here}{there}")
    names = dict.fromkeys(isa for *_, isa in lines)
    print(f"  the same of {', '.join(names)}")


def main() -> int:
    """Run everything; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.arm", description=__doc__)
    most = parser.add_mutually_exclusive_group()
    most.add_argument("--all", action="store_true", help="large shapes and more files, for an hour")
    most.add_argument("--core", action="store_true", help="only C, without an interpreter for Arm")
    given = parser.parse_args()
    is_all = given.all
    start = time.monotonic()

    def step(text: str, function: Callable[..., object], *arguments: object) -> object:
        print(f"{time.monotonic() - start:5.0f} s  {text}", flush=True)
        return function(*arguments)

    without = [] if is_all else ["-k", " and ".join(f"not {name}" for name in LARGE)]
    try:
        check_tools()
        step("a big-endian CPU is refused", core.big_endian_is_refused)
        arm = step("the core, compiled for AArch64", core.Core, core.COMPILER)
        assert isinstance(arm, core.Core)
        step("its vectors", core.vectors, arm)
        step("mistakes in them and in what else is Arm's", core.mistakes_are_noticed, arm)
        step("golden bits in C", core.bits, arm)
        step("the C tests", lambda: core.programs(arm, is_all=is_all))
        step("golden bits in C on other x86-64 CPUs", core.bits_on_x86)
        if not given.core:
            step("CPython and packages for AArch64", make_python)
            step("instruction sets of CPUs", isas)
            step("Silero VAD", silero)
            files, examples = (FILES + MORE, 60) if is_all else (FILES, 8)
            step("Python tests", tests, files, examples, *without)
    except FailedError as error:
        print(error)
        return 1
    print(f"{time.monotonic() - start:5.0f} s  passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
