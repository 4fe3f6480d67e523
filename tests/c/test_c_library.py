"""The C library as a stranger gets it: built by CMake, found by pkg-config and by CMake."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
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


@pytest.fixture(scope="module")
def voice_activity(prefix, tmp_path_factory):
    """The program vad, and a .lfm file of Silero that the command line has made."""
    try:
        onnx = lstm_fast.vad.silero_file()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    pytest.importorskip("onnx", exc_type=ImportError)
    folder = tmp_path_factory.mktemp("vad")
    options = ["--shape", "input=1,576", "--constant", "sr=16000", "--history", "input=64"]
    convert = [sys.executable, "-m", "lstm_fast", "convert", onnx, folder / "vad.lfm"]
    run(*convert, *options, cwd=ROOT)
    run("cmake", "-S", EXAMPLES, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    run("cmake", "--build", folder / "build", "--target", "vad")
    return folder / "build/vad", folder / "vad.lfm"


def probabilities_in_python(samples):
    """What vad.c should print of 16-bit samples."""
    model = lstm_fast.vad.silero()
    if model.backend != "native":
        pytest.skip("the native core is not built, and others round elsewhere")
    chunks = np.pad(samples / np.float32(32768), (0, -len(samples) % 512)).reshape(-1, 512)
    return [f"{p:.6f}" for p in model.stream().run(chunks)[:, 0].tolist()]


def test_voice_activity_in_c_is_that_in_python(voice_activity, tmp_path):
    """Of a .wav file, and of its samples alone; the control begins one sample later."""
    wav, raw = ROOT / "examples/data/speech.wav", tmp_path / "speech.raw"
    data = wav.read_bytes()[44:]
    samples = np.frombuffer(data, "<i2").astype(np.float32)
    expected = probabilities_in_python(samples)
    for skipped in (0, 2):
        raw.write_bytes(data[skipped:])
        lines = run(*voice_activity, raw).splitlines()
        assert ([line.split()[-1] for line in lines] == expected) == (skipped == 0)
        if not skipped:
            assert run(*voice_activity, wav).splitlines() == lines
            assert lines[1].split()[0] == "0.032"


@pytest.mark.parametrize(
    ("at", "value", "text"),
    [
        (22, 2, "no plain .wav of 16 bits, mono, 16 kHz"),
        (34, 8, "no plain .wav"),
        (None, 0, ".lfm"),
    ],
)
def test_voice_activity_in_c_refuses_other_files(voice_activity, tmp_path, at, value, text):
    """Two channels, 8 bits, and a recording in the place of the model."""
    wav = tmp_path / "other.wav"
    data = bytearray((ROOT / "examples/data/speech.wav").read_bytes()[:4000])
    if at is not None:
        data[at] = value
    wav.write_bytes(data)
    program, model = voice_activity
    command = [program, wav if at is None else model, wav]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout) == (1, "")
    assert text in process.stderr


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
    """Where an ISA has fma, here AVX2; without one there is nothing to fuse with."""
    (tmp_path / "main.c").write_text(SELF_TEST)
    rooms = ROOT.glob("csrc/**/*.c")
    sources = [path for path in rooms if path.parent.name not in ("isa", "python")]
    sources += [ROOT / "csrc/isa/scalar.c", ROOT / "csrc/isa/avx2.c"]  # each more takes seconds
    sources.append(ROOT / "tests/mutants/stand_ins.c")
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
