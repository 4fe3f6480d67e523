"""Programs of tests/c that read files: built with the core and sanitizers, and what they say."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lstm_fast

ROOT = Path(__file__).parents[2]
CSRC, HERE = ROOT / "csrc", ROOT / "tests/c"
FLAGS = ["-std=c11", "-O1", "-g1", "-fno-fast-math", "-ffp-contract=off"]
FLAGS += ["-D_POSIX_C_SOURCE=200112L"]
SANITIZERS = [
    "-fsanitize=address,undefined",
    "-fno-sanitize=alignment",
    "-fno-sanitize-recover=all",
]
WRAPPED = ("malloc", "calloc", "realloc", "aligned_alloc", "lf_cpu_l2_bytes")
COMPILER = next((cc for cc in ("gcc", "clang") if shutil.which(cc)), None)
RIGHT = re.compile(r"large|\d+|0 \d+ [0-9a-f]{16}")  # what it says of a file that does as it should


def isas():
    """Scalar, and the best instruction set of this CPU; each takes long to compile."""
    names = (name.partition(":") for name in lstm_fast.available())
    here = [isa for backend, _, isa in names if backend == "native"]
    return {"scalar", *here[:1]}


def _works(flags, directory):
    probe = directory / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    command = [COMPILER, *flags, str(probe), "-o", str(directory / "probe")]
    return not (
        subprocess.run(command, capture_output=True, check=False).returncode
        or subprocess.run([directory / "probe"], capture_output=True, check=False).returncode
    )


def build(directory, name="run_programs", wrapped=WRAPPED):
    """Return the program, with sanitizers where programs built with them run here."""
    flags = [
        *FLAGS,
        f"-I{CSRC}",
        f"-I{HERE}",
        *(SANITIZERS if _works(SANITIZERS, directory) else []),
    ]
    names = isas()
    # the stand-ins of those that are there get other names
    hidden = [f"-Dlf_isa_{name}=no_stand_in_for_{name}" for name in names - {"scalar"}]
    others = [one for one in CSRC.rglob("*.c") if one.parent.name not in {"isa", "python"}]
    sources = [*(CSRC / f"isa/{name}.c" for name in names), HERE / f"{name}.c", *others]
    commands = [(source, []) for source in sources] + [(HERE / "only_scalar.c", hidden)]

    def compile_one(command):
        source, more = command
        target = str(directory / f"{source.stem}-{source.parent.name}.o")
        line = [COMPILER, *flags, *more, "-c", str(source), "-o", target]
        built = subprocess.run(line, capture_output=True, text=True, check=False)
        assert built.returncode == 0, built.stderr
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, commands))
    program = str(directory / name)
    wraps = [f"-Wl,--wrap={one}" for one in wrapped]
    line = [COMPILER, *flags, *wraps, *objects, "-o", program, "-lm", "-pthread"]
    built = subprocess.run(line, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return program


def ran(program, files, *what):
    """What it says of these files, in lines; whatever a sanitizer finds is an AssertionError."""
    data = b"".join(struct.pack("<I", len(file)) + file for file in files)
    process = subprocess.run([program, *what], input=data, capture_output=True, check=False)
    lines = process.stdout.decode().splitlines()
    text = process.stderr.decode(errors="replace")
    assert process.returncode == 0, f"file {len(lines)}: {text}"
    return lines


def is_wrong(line):
    """Whether it says that a file is not run everywhere alike."""
    return not RIGHT.fullmatch(line)
