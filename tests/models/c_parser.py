"""The C parser of `.lfm` files: built with sanitizers, and what it should print of a file."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from pathlib import Path

import numpy as np

from lstm_fast import FormatError, _lfm
from lstm_fast.operations import OPERATIONS

ROOT = Path(__file__).parents[2]
CSRC = ROOT / "csrc"
PARSER = ("check", "parse", "records", "shapes", "shapes_weights", "signatures", "tensor", "texts")
SOURCES = [
    ROOT / "tests/c/print_lfm.c",
    *(CSRC / f"program/{name}.c" for name in PARSER),
    CSRC / "sha256.c",
    *sorted(CSRC.glob("memory/*.c")),
]
FLAGS = (
    "-std=c11 -O2 -g -D_POSIX_C_SOURCE=200112L -Wl,--wrap=aligned_alloc "
    "-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
)
SANITIZERS = "-fsanitize=address,undefined -fno-sanitize-recover=all"
REFUSED = ("19", "20")  # LF_ERR_PROGRAM, LF_ERR_VERSION
COMPILER = next((cc for cc in ("gcc", "clang") if shutil.which(cc)), None)


def build(directory):
    """Return the program, with sanitizers where programs built with them run here."""
    program = str(directory / "print_lfm")
    command = [COMPILER, *FLAGS.split(), f"-I{CSRC}", *map(str, SOURCES), "-o", program]
    for more in (SANITIZERS.split(), []):
        built = subprocess.run(
            [*command, *more, "-lm", "-pthread"], capture_output=True, text=True, check=False
        )
        if built.returncode == 0 and printed(program, [], "table"):
            return program
    raise AssertionError(built.stderr)


def printed(program, files, *what):
    """What it prints of these files, in lines; whatever a sanitizer finds is an AssertionError."""
    data = b"".join(struct.pack("<I", len(file)) + file for file in files)
    process = subprocess.run([program, *what], input=data, capture_output=True, check=False)
    assert process.returncode == 0, process.stderr.decode(errors="replace")
    return process.stdout.decode().splitlines()


def _text(text):
    data = text.encode()
    return f"{zlib.crc32(data):x}:{len(data)}"


def _numbers(numbers):
    return "(" + ",".join(str(number % 2**32) for number in numbers) + ")"


def _values(array):
    return f"={zlib.crc32(array.tobytes()):x}"


def _attribute(one, value):
    if one.type == "ints":
        return "[" + ",".join(map(str, value)) + "]"
    if one.type == "float":
        return f"{int(np.float32(value).view(np.uint32)):x}f"
    return str(one.choices.index(value) if one.type == "name" else int(value))


def _op(op):
    table = OPERATIONS[op.code].attributes
    attributes = (_attribute(one, op.attributes[name]) for name, one in table.items())
    head = ("op", op.code, _text(op.source), _numbers(op.inputs), _numbers(op.outputs))
    return " ".join((*head, *attributes))


def described(program):
    """A program as print_lfm describes it."""
    parts = ["0"]
    for number, tensor in enumerate(program.tensors):
        constant = program.constants.get(number)
        parts.append(f"tensor {_lfm.NUMBERS[tensor.kind]} {_numbers(tensor.shape)}")
        parts.append(f"{np.prod(tensor.shape, dtype=int)}")
        parts[-1] += "" if constant is None else _values(constant)
    for one in program.inputs:
        parts.append(f"input {_text(one.name)} {one.tensor} {one.history} {_numbers(one.shape)}")
    parts += [f"output {_text(one.name)} {one.tensor}" for one in program.outputs]
    for one in program.states:
        parts.append(f"state {_text(one.name)} {one.tensor} {one.next}{_values(one.initial)}")
    return " ".join((*parts, *map(_op, program.ops)))


def expected(file):
    """What it should print of a file; None for one that Python refuses."""
    try:
        return described(_lfm.from_bytes(file))
    except FormatError:
        return None


def disagreements(program, files):
    """The files that are read differently, with what each reader says; and how many are models."""
    differ, models = [], 0
    for file, found in zip(files, printed(program, files), strict=True):
        wanted = expected(file)
        models += wanted is not None
        if found != wanted and not (wanted is None and found in REFUSED):
            differ.append((file, found, wanted))
    return differ, models


def row_of(operation):
    """An operation as print_lfm has it in its table."""
    attributes = (
        f"{name}:{one.type}:{len(one.choices)}" for name, one in operation.attributes.items()
    )
    head = (str(operation.number), operation.code, str(operation.outputs))
    return " ".join((*head, *operation.inputs, *attributes))
