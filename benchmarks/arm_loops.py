"""Count what a multiply-add costs in the inner loops for Arm, and compute what a step should take.

    python benchmarks/arm_loops.py [--mca llvm-mca-19]

Nothing here is measured: it compiles the kernels with GCC's cross compiler and, where the package
ziglang is installed, with its Clang, takes the loop over one operand apart, and asks llvm-mca (17
or newer, which has models of these cores) for the cycles of one turn. From these, and from the
cycles of what else a panel takes, follows what a step should take; where L1 does not hold the
weights, at least the time in which they come from L2. docs/performance.md has the results. Exit
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
L2_BYTES_A_CYCLE = 32  # what a Neoverse N1 gets at best


@dataclass(frozen=True)
class Core:
    """A core, by the name that llvm-mca has for it."""

    name: str
    where: str
    gigahertz: float
    l1_kib: int
    l2_kib: int

    def __str__(self) -> str:
        return f"{self.name}, {self.where} at {self.gigahertz} GHz"


CORES = (
    Core("neoverse-n1", "Graviton2", 2.5, 64, 1024),
    Core("neoverse-v1", "Graviton3", 2.6, 64, 1024),
    Core("neoverse-v2", "Graviton4", 2.8, 64, 2048),
    Core("apple-m1", "M1", 3.2, 128, 12 << 10),
)
UNITS = (64, 128, 256)  # of the layers that times are for, each with as many inputs
GATES, HALVES, PANEL = 4, 2, 16  # PANEL: units in one


@dataclass(frozen=True)
class Loop:
    """A loop over an operand: its ISA, function, and the instruction that counts."""

    isa: str
    function: str
    work: str
    limited: bool = True  # by MOST; other loops are only shown
    weight_bytes: int = 0  # of one weight, where the function is one of single steps

    @property
    def columns(self) -> int:
        """Inputs that one turn takes."""
        return 1 if self.work == "fmla" else 4


LOOPS = (
    Loop("neon", "float32_wide", "fmla", weight_bytes=4),
    Loop("neon", "float16_wide", "fmla", limited=False, weight_bytes=2),
    Loop("neon", "int8_wide", "sadalp", limited=False, weight_bytes=1),
    Loop("neondot", "int8_wide", "sdot", weight_bytes=1),
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


@dataclass(frozen=True)
class Parts:
    """The instructions of a function: of its inner loop, around that for each half, and a panel."""

    turn: list[str]
    half: list[str]
    panel: list[str]


def loops(found: list[tuple[int, str]]) -> list[range]:
    """Return where each jump back goes from and to, as positions in the function."""
    at = {address: position for position, (address, _) in enumerate(found)}
    jumps = [re.match(r"(?:b\.\w+|cbn?z\s.*,|b)\s+([0-9a-f]+) <", line) for _, line in found]
    targets = [at.get(int(jump[1], 16)) if jump else None for jump in jumps]
    return [
        range(target, position + 1)
        for position, target in enumerate(targets)
        if target is not None and target <= position
    ]


def parts(found: list[tuple[int, str]], work: str) -> Parts:
    """Take a function apart: its inner loop is the shortest one with the work in it."""

    def lines(of: range, without: range = range(0)) -> list[str]:
        return [found[at][1] for at in of if at not in without]

    def is_inner(of: range) -> bool:
        body = lines(of)
        jumps = sum(bool(re.match(r"b\.|b\s|cbn?z|tbn?z|ret", one)) for one in body)
        return jumps <= 2 and sum(one.startswith(work) for one in body) >= 4

    turn = min(filter(is_inner, loops(found)), key=len)
    around = [of for of in loops(found) if of.start <= turn.start and of.stop > turn.stop]
    half, panel = min(around, key=len, default=turn), max(around, key=len, default=turn)
    return Parts(lines(turn), lines(half, turn), lines(panel, half))


def cycles(mca: str, core: Core, body: list[str], turns: int) -> float:
    """Return the cycles of a turn as llvm-mca computes them."""
    lines = [re.sub(r"<.*>|^adrp.*", "", one) for one in body]
    straight = [one for one in lines if not re.match(r"b\.|cbn?z|b\s", one)]
    with tempfile.NamedTemporaryFile("w", suffix=".s") as file:
        file.write("\n".join(straight) + "\n")
        file.flush()
        command = [mca, "-march=aarch64", f"-mcpu={core.name}", "-mattr=+dotprod,+fullfp16"]
        said = run([*command, f"-iterations={turns}", file.name])
    total = re.search(r"Total Cycles: +(\d+)", said)
    assert total is not None, said
    return int(total[1]) / turns


def cells(loop: Loop, name: str, body: list[str], mca: str | None) -> tuple[list[str], bool]:
    """Return a line of the table of loops, and whether the loop is as it may be."""
    work = sum(one.startswith(loop.work) for one in body)
    stores = sum(one.startswith("st") for one in body)
    each = len(body) / work
    line = [loop.isa, loop.function, name, f"{len(body)} / {work} = {each:.2f}", str(stores)]
    line += [f"{cycles(mca, core, body, 200):.1f}" for core in CORES if mca]
    return line, not loop.limited or (each <= MOST and not stores)


def times(loop: Loop, name: str, of: Parts, mca: str, units: int) -> list[str]:
    """Return a line of the table of steps: us, and where the weights come from."""
    line = [loop.isa, loop.function.partition("_")[0], name, f"{units} -> {units}"]
    weights = GATES * units * HALVES * units * loop.weight_bytes
    for core in CORES:
        turns = HALVES * units / loop.columns * cycles(mca, core, of.turn, 200)
        rest = HALVES * cycles(mca, core, of.half, 1) + cycles(mca, core, of.panel, 1)
        computing = units / PANEL * (turns + rest)
        reading = weights / L2_BYTES_A_CYCLE if weights >= core.l1_kib << 10 else 0
        us = max(computing, reading) / core.gigahertz / 1000
        level = "L1" if not reading else "L2" if weights < core.l2_kib << 10 else "beyond L2"
        line.append(f"{us:.1f} ({level}{', which limits' if reading > computing else ''})")
    return line


def show(table: list[list[str]]) -> None:
    """Print a table, the first line of which is its head."""
    head, *lines = ["| " + " | ".join(line) + " |" for line in table]
    print(head, "|" + "---|" * len(table[0]), *lines, "", sep="\n")


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
    cores = [str(core) for core in CORES if mca]
    table = [["ISA", "loop", "compiler", "instructions / multiply-adds", "stores", *cores]]
    steps = [["ISA", "weights", "compiler", "us of a step", *cores]]
    fits = True
    for name, compiler in compilers().items():
        with tempfile.TemporaryDirectory() as folder:
            for isa in dict.fromkeys(loop.isa for loop in LOOPS):
                source, target = ROOT / f"csrc/isa/{isa}.c", Path(folder) / f"{isa}.o"
                run([*compiler, *FLAGS, f"-I{ROOT / 'csrc'}", "-c", source, "-o", target])
            for loop in LOOPS:
                found = instructions(Path(folder) / f"{loop.isa}.o", loop.function)
                of = parts(found, loop.work)
                line, is_right = cells(loop, name, of.turn, mca)
                table.append(line)
                fits &= is_right
                if mca and loop.weight_bytes:
                    steps += [times(loop, name, of, mca, units) for units in UNITS]
    show(table)
    if mca:
        show(steps)
    return 0 if fits else 1


if __name__ == "__main__":
    sys.exit(main())
