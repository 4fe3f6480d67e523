"""The core in C, for AArch64 and x86-64: its tests, its golden bits, and which ISA is taken."""

from __future__ import annotations

import platform
import shutil
import sys
from pathlib import Path

from . import mistakes
from .tools import BUILD, C_LIBRARY, COMPILER, ROOT, FailedError, at_once, must

CSRC, TESTS = ROOT / "csrc", ROOT / "tests/c"
sys.path.append(str(TESTS))
from c_programs import FLAGS, PROGRAMS  # noqa: E402

QEMU = ("qemu-aarch64", "-L", C_LIBRARY)
ARM = {"cortex-a53": "neon", "cortex-a72": "neon", "cortex-a76": "neondot", "max": "neondot"}
X86 = {"Nehalem": "scalar", "Haswell": "avx2", "max": "avx2"}  # qemu 7.2 has no AVX-512
ISAS = ("neondot", "neon", "scalar")
# Minutes under qemu, so with --all only: many threads, and errors of results whose bits are known
SLOW = ("test_forks_threads.c", "test_pool_threads.c", "test_element_errors.c")


class Core:
    """The objects of the core by one compiler, and programs linked with them."""

    def __init__(self, compiler: str) -> None:
        self.folder = BUILD / "c" / compiler
        self.folder.mkdir(parents=True, exist_ok=True)
        # without debugging information, which takes as long again
        self.command = [compiler, *" ".join(FLAGS).split(), "-g0"]
        sources = [path for path in CSRC.rglob("*.c") if path.parent.name != "python"]
        # those of instruction sets take longest
        sources.sort(key=lambda path: path.parent.name != "isa")
        self.objects = at_once(self.compiled, sources)

    def compiled(self, source: Path) -> Path:
        """Return the object of a source."""
        target = self.folder / f"{source.parent.name}_{source.stem}.o"
        must([*self.command, f"-I{CSRC}", "-c", source, "-o", target])
        return target

    def program(self, name: str, source: Path, *options: str, csrc: Path = CSRC) -> Path:
        """Return the program of a source and all objects."""
        target = self.folder / name
        line = [*self.command, f"-I{csrc}", f"-I{TESTS}", *options, source, *self.objects]
        must([*line, "-o", target, "-lm", "-pthread"])
        return target


def big_endian_is_refused() -> None:
    """For a CPU of the other order the build says why there is none."""
    # without headers of a C library, which there is for one order only
    line = [COMPILER, "-mbig-endian", "-std=c11", "-ffreestanding", f"-I{CSRC}", "-fsyntax-only"]
    said = must([*line, "-x", "c", CSRC / "kernel.h"], status=1)
    if "cannot be built for a big-endian CPU" not in said:
        raise FailedError(f"a build for a big-endian CPU fails with other words:\n{said}")


def vectors(core: Core) -> None:
    """Each word of the vocabulary, on CPUs that have the ISA; those that lack it say so."""
    for isa in ISAS:
        program = core.program(f"vec_{isa}", TESTS / "test_vec.c", f"-DLF_THIS_ISA={isa}")
        for cpu, best in ARM.items():
            lacks_it = isa == "neondot" and best != isa
            must([*QEMU, "-cpu", cpu, program], status=77 if lacks_it else 0)


def programs(core: Core, *, is_all: bool) -> None:
    """The C tests of the core."""

    def one(name: str) -> None:
        program = core.program(Path(name).stem, TESTS / name, *PROGRAMS[name])
        must([*QEMU, "-cpu", "max", program])

    at_once(one, [name for name in PROGRAMS if is_all or name not in SLOW])


def bits(core: Core) -> None:
    """Golden bits of each weight type, plain and with every option, and the ISA that is taken."""
    program = core.program("bits", TESTS / "test_bits.c")
    for cpu, isa in ARM.items():
        must([*QEMU, "-cpu", cpu, program, isa])
        print(f"  AArch64, {cpu}: {isa}")


def bits_on_x86() -> None:
    """The same on older and newer CPUs of x86-64: nothing there is an illegal instruction."""
    if platform.machine() != "x86_64":
        print("  this is no x86-64, and gcc makes no programs for one")
        return
    core = Core("gcc")
    program = core.program("bits", TESTS / "test_bits.c")
    for cpu, isa in X86.items():
        must(["qemu-x86_64", "-cpu", cpu, program, isa])
        print(f"  x86-64, {cpu}: {isa}")


def mistakes_are_noticed(core: Core) -> None:
    """Negative control: mistakes in what is Arm's alone, each of which fails its test."""

    def lives(number: int) -> str:
        mistake = mistakes.ALL[number]
        folder = BUILD / "mistakes" / str(number)
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(CSRC, folder)
        file = folder / mistake.file
        text = file.read_text(encoding="utf-8")
        if text.count(mistake.before) != 1:
            return f"{mistake}: is not once in the file"
        file.write_text(text.replace(mistake.before, mistake.after), encoding="utf-8")
        source, option = TESTS / mistake.test, f"-DLF_THIS_ISA={mistake.isa}"
        name = f"mistake_{number}"
        program = core.program(name, source, option, "-Wno-unused-parameter", csrc=folder)
        try:
            must([*QEMU, "-cpu", "max", program], status=1)
        except FailedError as error:
            return f"{mistake}: {error}"
        return ""

    living = list(filter(None, at_once(lives, range(len(mistakes.ALL)))))
    if living:
        raise FailedError("mistakes that no test notices:\n" + "\n".join(living))
    print(f"  {len(mistakes.ALL)} mistakes, each noticed")
