"""The C library as a stranger gets it: built by CMake, found by pkg-config and by CMake."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lstm_fast

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples/c"
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]
missing = [tool for tool in ("cmake", "cc", "c++", "nm") if shutil.which(tool) is None]
if missing or not (ROOT / "CMakeLists.txt").exists():
    pytest.skip(f"missing: {', '.join(missing) or 'the sources'}", allow_module_level=True)


def run(*command, **options):
    process = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, **options
    )
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    """Where the library is installed; not where it was configured for."""
    folder = tmp_path_factory.mktemp("library")
    run("cmake", "-S", ROOT, "-B", folder / "build")
    run("cmake", "--build", folder / "build", "--parallel", os.cpu_count())
    run("cmake", "--install", folder / "build", "--prefix", folder / "prefix")
    return folder / "prefix"


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """What a Python process leaves for C++ to take up."""
    folder = tmp_path_factory.mktemp("session")
    run(sys.executable, EXAMPLES / "make_snapshot.py", folder)
    return folder


def test_only_the_public_names_are_exported(prefix):
    (library,) = prefix.glob("lib*/**/liblstm_fast.so")
    names = {line.split()[-1] for line in run("nm", "-D", "--defined-only", library).splitlines()}
    header = (ROOT / "csrc/lstm_fast.h").read_text()
    assert names == set(re.findall(r"\b(lf_\w+)\(", re.sub(r"/\*.*?\*/", "", header, flags=re.S)))
    assert "lf_model_create" in names


@pytest.mark.skipif(shutil.which("pkg-config") is None, reason="pkg-config is not installed")
@pytest.mark.parametrize("source", ["stream.c", "pool.c", "restore.cpp"])
def test_examples_by_pkg_config(prefix, session, tmp_path, source):
    (folder,) = prefix.glob("lib*/**/pkgconfig")
    environment = {**os.environ, "PKG_CONFIG_PATH": str(folder)}
    flags = run("pkg-config", "--cflags", "--libs", "lstm_fast", env=environment).split()
    version = run("pkg-config", "--modversion", "lstm_fast", env=environment)
    assert version.strip() == lstm_fast.__version__
    compiler = ["c++", "-std=c++17"] if source.endswith("cpp") else ["cc", "-std=c11"]
    program, rpath = tmp_path / "program", f"-Wl,-rpath,{folder.parent}"
    run(*compiler, *WARNINGS, EXAMPLES / source, *flags, rpath, "-o", program)
    assert run(program, session)


def test_examples_by_cmake(prefix, session, tmp_path):
    run("cmake", "-S", EXAMPLES, "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path)
    assert f"lstm_fast {lstm_fast.__version__} on " in run(tmp_path / "stream")
    assert "3 sessions, the same bits as alone" in run(tmp_path / "pool")
    assert "20 frames after a snapshot from Python: the same bits" in run(
        tmp_path / "restore", session
    )


def test_one_bit_of_the_weights_shows(prefix, session, tmp_path):
    """Negative control of the above: the same snapshot, and weights that differ."""
    shutil.copytree(session, tmp_path / "session")
    weights = tmp_path / "session/weight_hh_l0.f32"
    data = bytearray(weights.read_bytes())
    data[2] ^= 1
    weights.write_bytes(data)
    run("cmake", "-S", EXAMPLES, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", tmp_path / "build", "--target", "restore")
    process = subprocess.run(
        [tmp_path / "build/restore", tmp_path / "session"], capture_output=True, check=False
    )
    assert process.returncode == 1
    assert b"other bits than in Python" in process.stderr


SELF_TEST = """
#include <stdio.h>
#include "lstm_fast.h"
int main(void) {
    for (size_t n = 0; n < lf_isa_count(); n++)
        if (!lf_isa_missing(n, 0))
            printf("%s: %s\\n", lf_isa_name(n), lf_status_text(lf_self_test(lf_isa_name(n))));
}
"""


@pytest.mark.parametrize(
    ("flags", "contracts"), [("-std=gnu11 -ffp-contract=fast", True), ("-std=c11", False)]
)
def test_a_build_that_fuses_on_its_own_says_so(tmp_path, flags, contracts):
    """Where an ISA has fma; without one there is nothing to fuse with."""
    (tmp_path / "main.c").write_text(SELF_TEST)
    sources = [path for path in ROOT.glob("csrc/**/*.c") if path.parent.name != "python"]
    include = f"-I{ROOT / 'csrc'}"
    command = ["cc", *flags.split(), "-O2", include, tmp_path / "main.c", *sources, "-lm"]
    run(*command, "-o", tmp_path / "main")
    said = dict(line.split(": ", 1) for line in run(tmp_path / "main").splitlines())
    assert said.pop("scalar") == "no error"
    expected = "its compiler flags change the arithmetic" if contracts else "no error"
    assert all(text.endswith(expected) for text in said.values()), said


def test_ofast_does_not_build():
    source = ROOT / "csrc/model.c"
    command = ["cc", "-std=c11", "-Ofast", "-c", source, "-o", os.devnull]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode != 0
    assert "cannot be built with -ffast-math" in process.stderr
