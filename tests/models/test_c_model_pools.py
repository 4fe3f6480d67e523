"""Pools of whole models in the C core: built with sanitizers, and run on files made here."""

from __future__ import annotations

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from c_parser import COMPILER, CSRC, ROOT
from program_cases import Builder, gru_layer, halves, lstm_layer

from lstm_fast import Model

if not CSRC.exists():
    pytest.skip("the tests run without the sources", allow_module_level=True)
if not COMPILER:
    pytest.skip("neither gcc nor clang is installed", allow_module_level=True)

HERE = ROOT / "tests/c"
FLAGS = (
    "-std=c11 -O1 -g1 -ffp-contract=off -D_POSIX_C_SOURCE=200112L -pthread "
    "-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Werror"
)
WRAP = "-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc"
SANITIZERS = {
    "none": "",
    "memory": "-fsanitize=address,undefined -fno-sanitize=alignment -fno-sanitize-recover=all",
    "threads": "-fsanitize=thread",
}


def several_ends(seed=0):
    """A history, an embedding of five rows, states of three layers; two inputs, three outputs."""
    build = Builder(seed)
    x, token = build.input("audio", (2, 8), history=3), build.input("token", (), "int64")
    row = build.op("embedding", build.weights(5, 4), token)
    conv = build.op("conv", x, build.weights(4, 2, 3), build.weights(4), stride=2)
    flat = build.op("reshape", conv, shape=(4 * build.tensors[conv].shape[1],))
    plane = build.op("reshape", x, shape=(2, 1, 11))
    filtered = build.op("conv2d", plane, build.weights(2, 1, 2, 3), groups=2, pad_end=(1, 0))
    wide = build.op("conv2d", filtered, build.weights(3, 2, 1, 3), strides=(1, 4), pad_end=(0, 2))
    wide = build.op("reshape", wide, shape=(9,))
    both = build.op("concat", flat, row, wide, axis=0)
    y = gru_layer(build, both, "g", 5, linear_before_reset=True)
    build.output("z", lstm_layer(build, y, "p", 6, 3, ("peephole", "bias_hr"), clip=2.0))
    build.output("y", y)
    build.output("row", row)
    return build.program()


def simple_ends(seed=0):
    build = Builder(seed)
    x = build.op("dense", build.input("x", (5,)), build.weights(6, 5), build.weights(6))
    y = lstm_layer(build, x, "a", 7)
    build.output("y", build.op("dense", y, build.weights(3, 7), build.weights(3)))
    return build.program()


# what each takes; in the other order it must fail
PROGRAMS = {
    "test_model_pool": (several_ends, simple_ends),
    "test_model_pool_calls": (several_ends, simple_ends),
    "test_model_prepare": (several_ends, halves),
    "test_model_snapshot": (several_ends, simple_ends),
}


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def build(directory, flags):
    """The programs, with the plain C kernels alone; none where such programs do not run here."""
    probe = directory / "probe.c"
    probe.write_text("int main(void) { return 0; }\n")
    runs = run(COMPILER, *flags, str(probe), "-o", str(directory / "probe")).returncode == 0
    if not runs or run(str(directory / "probe")).returncode:
        return []
    sources = [path for path in CSRC.rglob("*.c") if path.parent.name not in {"isa", "python"}]
    sources += [CSRC / "isa/scalar.c", HERE / "only_scalar.c"]
    plain = [COMPILER, *FLAGS.split(), f"-I{CSRC}", f"-I{HERE}"]
    compiler = [*plain, *flags]

    def compile_one(source):
        """Kernels without the sanitizer: with it they take a compiler a minute."""
        target = str(directory / f"{'_'.join(source.parts[-2:])}.o")
        how = plain if source.parent.name == "isa" else compiler
        built = run(*how, "-c", str(source), "-o", target)
        assert built.returncode == 0, built.stderr
        return target

    def link(name):
        program = str(directory / name)
        built = run(*compiler, WRAP, str(HERE / f"{name}.c"), *objects, "-o", program, "-lm")
        assert built.returncode == 0, built.stderr
        return program

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources))
        return list(pool.map(link, PROGRAMS))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("models")
    paths = {}
    for make in {make for pair in PROGRAMS.values() for make in pair}:
        path = directory / f"{make.__name__}.lfm"
        path.write_bytes(Model.from_program(make()).to_bytes())
        paths[make] = str(path)
    return paths


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_pools_of_whole_models(sanitizer, files, tmp_path):
    programs = build(tmp_path, SANITIZERS[sanitizer].split())
    if not programs:
        pytest.skip(f"{COMPILER}: programs with {SANITIZERS[sanitizer]} do not run here")
    for program, makers in zip(programs, PROGRAMS.values(), strict=True):
        first, second = (files[make] for make in makers)
        process = run(program, first, second)
        assert process.returncode == 0, process.stdout + process.stderr
        process = run(program, second, first)  # negative control: not what they look for
        assert process.returncode != 0
    shutil.rmtree(tmp_path)
