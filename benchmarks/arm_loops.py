"""Count what a multiply-add costs in the inner loops for Arm, and compute what a step should take.

    python benchmarks/arm_loops.py [--mca llvm-mca-19]

Nothing here is measured: it compiles the kernels with GCC's cross compiler and, where the package
ziglang is installed, with its Clang, takes the loop over one operand apart, and asks llvm-mca (17
or newer, which has models of these cores) for the cycles of one turn. docs/performance.md has the
results: cycles of a turn and, with weights from L1, us for the sums of a step of 128 -> 128. Exit
status 1 where a loop has more instructions than it may, or a store.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
FLAGS = ["-std=c11", "-O3", "-g0", "-fno-fast-math", "-ffp-contract=off"]
GCC, OBJDUMP = "aarch64-linux-gnu-gcc", "aarch64-linux-gnu-objdump"
MOST = 1.8  # instructions for each fma or dot
CORES = {  # as llvm-mca names them: where they are, and their clock in GHz
    "neoverse-n1": ("Graviton2", 2.5),
    "neoverse-v1": ("Graviton3", 2.6),
    "neoverse-v2": ("Graviton4", 2.8),
    "apple-m1": ("M1", 3.2),
}
UNITS, PANEL = 128, 16  # of the layer that times are for, as many inputs as units; of a panel


@dataclass(frozen=True)
class Loop:
    """A loop over an operand: its ISA, function, and the instruction that counts."""

    isa: str
    function: str
    work: str
    limited: bool = True  # by MOST; other loops are only shown

    def turns(self) -> float:
        """Return the turns of a step of the layer, or 0 where the loop is one of pools."""
        columns = 1 if self.work == "fmla" else 4
        return UNITS / PANEL * 2 * UNITS / columns if "wide" in self.function else 0


LOOPS = (
    Loop("neon", "float32_wide", "fmla"),
    Loop("neon", "float16_wide", "fmla", limited=False),
    Loop("neon", "int8_wide", "sadalp", limited=False),
    Loop("neondot", "int8_wide", "sdot"),
    Loop("neon", "tiles_float32_4", "fmla", limited=False),
    Loop("neondot", "tiles_int8_4", "sdot", limited=False),
)


def compilers() -> dict[str, list[str]]:
    """Return the compilers that are here, by name, as commands for AArch64."""
    found = {"GCC": [GCC]}
    if importlib.util.find_spec("ziglang"):
        found["zig cc"] = [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            "-target",
            "aarch64-linux-gnu.2.17",
        ]
    return found


def run(command: Sequence[str | Path]) -> str:
    """Run a command and return what it printed."""
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def instructions(objects: Path, function: str) -> list[tuple[int, str]]:
    """Return the instructions of a function with their addresses."""
    text = run([OBJDUMP, "-d", "--no-show-raw-insn", f"--disassemble={function}", objects])
    lines = re.findall(r"^ +([0-9a-f]+):\t(.*)$", text, re.MULTILINE)
    return [(int(at, 16), re.sub(r"\s*//.*", "", line).strip()) for at, line in lines]


def inner_loop(found: list[tuple[int, str]], work: str) -> list[str]:
    """Return the shortest loop with the most of the work in it."""
    best: list[str] = []
    for last, (at, line) in enumerate(found):
        jump = re.match(r"(?:b\.\w+|cbn?z\s.*,|b)\s+([0-9a-f]+) <", line)
        if not jump or int(jump[1], 16) > at:
            continue
        body = [one for where, one in found[: last + 1] if where >= int(jump[1], 16)]
        count = sum(one.startswith(work) for one in body)
        jumps = sum(bool(re.match(r"b\.|b\s|cbn?z|tbn?z|ret", one)) for one in body)
        if count >= 4 and jumps <= 2 and (not best or len(body) < len(best)):
            best = body
    return best


def cycles(mca: str, core: str, body: list[str]) -> float:
    """Return the cycles of a turn as llvm-mca computes them."""
    lines = [re.sub(r"<.*>", "", one) for one in body]
    straight = [one for one in lines if not re.match(r"b\.|cbn?z|b\s", one)]
    turns = 200
    with tempfile.NamedTemporaryFile("w", suffix=".s") as file:
        file.write("\n".join(straight) + "\n")
        file.flush()
        command = [mca, "-march=aarch64", f"-mcpu={core}", "-mattr=+dotprod,+fullfp16"]
        said = run([*command, f"-iterations={turns}", file.name])
    total = re.search(r"Total Cycles: +(\d+)", said)
    assert total is not None, said
    return int(total[1]) / turns


def shown(loop: Loop, name: str, body: list[str], mca: str | None) -> bool:
    """Print a line of the table; return whether the loop is as it may be."""
    work = sum(one.startswith(loop.work) for one in body)
    stores = sum(one.startswith("st") for one in body)
    each = len(body) / work
    cells = [loop.isa, loop.function, name, f"{len(body)} / {work} = {each:.2f}", str(stores)]
    for core, (_, gigahertz) in CORES.items() if mca else ():
        found = cycles(mca, core, body)
        time = f" ({found * loop.turns() / gigahertz / 1000:.1f} us)" if loop.turns() else ""
        cells.append(f"{found:.1f}{time}")
    print("| " + " | ".join(cells) + " |")
    return not loop.limited or (each <= MOST and not stores)


def main() -> int:
    """Print the table; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mca", help="llvm-mca, for the cycles of each turn")
    mca = parser.parse_args().mca
    if missing := [
        tool for tool in (GCC, OBJDUMP, *([mca] if mca else ())) if not shutil.which(tool)
    ]:
        print(f"missing: {', '.join(missing)} (apt install gcc-aarch64-linux-gnu llvm-19)")
        return 1
    cells = ["ISA", "loop", "compiler", "instructions / multiply-adds", "stores"]
    cells += [f"{core}, {where} at {clock} GHz" for core, (where, clock) in CORES.items() if mca]
    print("| " + " | ".join(cells) + " |")
    print("|" + "---|" * len(cells))
    fits = True
    for name, compiler in compilers().items():
        with tempfile.TemporaryDirectory() as folder:
            for isa in dict.fromkeys(loop.isa for loop in LOOPS):
                source, target = ROOT / f"csrc/isa/{isa}.c", Path(folder) / f"{isa}.o"
                run([*compiler, *FLAGS, f"-I{ROOT / 'csrc'}", "-c", source, "-o", target])
            for loop in LOOPS:
                found = instructions(Path(folder) / f"{loop.isa}.o", loop.function)
                fits &= shown(loop, name, inner_loop(found, loop.work), mca)
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
