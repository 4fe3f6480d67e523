"""The package where it is not simply installed: frozen into a program, in a zip file, in parts."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import zipfile
from modulefinder import ModuleFinder
from pathlib import Path

import pytest

import lstm_fast
from conftest import known_isas
from lstm_fast import _extras, formats

PACKAGE = Path(lstm_fast.__file__).parent
ROOT = Path(__file__).parents[2]
PROGRAM = """\
import lstm_fast
lstm = lstm_fast.LSTM.random(4, 8)
print(lstm, lstm.stream().step([0.5] * 4).tobytes().hex())
"""
# What readers and backends import where it is installed; left out, so that the build stays small
LIBRARIES = ("numba", "llvmlite", "torch", "onnx", "tflite", "flatbuffers", "h5py", "ml_dtypes")


def run(*command, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("LSTM_FAST_")}
    return subprocess.run(
        [str(part) for part in command],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def settings():
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


# ---- what an installation consists of ----


def test_every_package_is_installed():
    packages = {
        ".".join(p.parent.relative_to(PACKAGE.parent).parts) for p in PACKAGE.rglob("__init__.py")
    }
    assert packages == set(settings()["tool"]["setuptools"]["packages"])


def test_extras_are_those_of_the_project():
    extras = settings()["project"]["optional-dependencies"]
    assert {name: [*libraries] for name, libraries in _extras.EXTRAS.items()} == {
        # a marker says where it is installed
        name: [library.partition(";")[0] for library in extras[name]]
        for name in _extras.EXTRAS
    }


def test_no_message_takes_the_package_for_one_on_an_index():
    for folder in (PACKAGE, ROOT / "examples"):
        for path in folder.rglob("*.py"):
            for line in path.read_text(encoding="utf-8").splitlines():
                said = re.search(r"""pip install\W+lstm[-_]fast""", line)
                assert not said or path.name == "_extras.py", f"{path}: {line}"


def test_pyinstaller_finds_the_hook():
    named = settings()["project"]["entry-points"]["pyinstaller40"]["hook-dirs"]
    module, _, function = named.partition(":")
    (folder,) = getattr(importlib.import_module(module), function)()
    assert (Path(folder) / "hook-lstm_fast.py").is_file()


# ---- frozen into a program ----


def seen_by_freezers(script):
    """The modules of ours that import statements lead to, wherever those stand."""
    alone = script.parent / "alone"  # with nothing else that is installed beside it
    shutil.copytree(PACKAGE, alone / PACKAGE.name, dirs_exist_ok=True)
    finder = ModuleFinder(path=[str(alone)], excludes=["numpy", "_cffi_backend"])
    finder.run_script(str(script))
    missing, _ = finder.any_missing_maybe()
    return {name for name in finder.modules if name.startswith("lstm_fast")}, missing


def test_freezers_see_every_backend_and_reader(tmp_path):
    script = tmp_path / "program.py"
    script.write_text("import lstm_fast")
    seen, _ = seen_by_freezers(script)
    assert {f"lstm_fast.formats.{reader}" for reader in formats.READERS} <= seen
    inside = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        for reader in formats.READERS
        for path in (PACKAGE / "formats" / reader).glob("_[!_]*.py")
    }
    assert "lstm_fast.formats.onnx._file" in inside
    assert inside <= seen
    backends = {f"lstm_fast._backends.{path.stem}" for path in (PACKAGE / "_backends").glob("*.py")}
    assert backends - {"lstm_fast._backends.__init__"} <= seen
    assert "lstm_fast.bench.suite" not in seen  # the test can fail: nothing leads there


def test_a_program_that_pyinstaller_made_runs(tmp_path):
    """Some 20 s: nearly all of it is PyInstaller and NumPy."""
    pytest.importorskip("PyInstaller", reason="needs pyinstaller")
    if not known_isas():
        pytest.skip("the native core is not built")
    from lstm_fast.__pyinstaller import get_hook_dirs

    (tmp_path / "program.py").write_text(PROGRAM)
    excluded = [part for name in LIBRARIES for part in ("--exclude-module", name)]
    folders = [
        part
        for name in ("distpath", "workpath", "specpath")
        for part in (f"--{name}", tmp_path / name)
    ]
    built = run(
        *(sys.executable, "-m", "PyInstaller", *folders, *excluded),
        *("--paths", PACKAGE.parent, "--additional-hooks-dir", *get_hook_dirs()),
        tmp_path / "program.py",
        PYINSTALLER_CONFIG_DIR=str(tmp_path / "cache"),
    )
    assert built.returncode == 0, built.stderr
    assert "hook-lstm_fast.py" in built.stderr
    frozen = run(tmp_path / "distpath" / "program" / "program")
    assert (frozen.returncode, frozen.stderr) == (0, "")
    assert "backend='native'" in frozen.stdout
    assert frozen.stdout == run(sys.executable, tmp_path / "program.py").stdout
    other = run(
        tmp_path / "distpath" / "program" / "program",
        LSTM_FAST_BACKEND="reference",
    )
    assert "backend='reference'" in other.stdout, other.stderr


# ---- in a zip file ----


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("zip") / "app.zip"
    with zipfile.ZipFile(path, "w") as file:
        for part in PACKAGE.rglob("*"):
            if part.suffix in {".py", ".so", ".pyi", ".typed"}:
                file.write(part, part.relative_to(PACKAGE.parent))
    return path


def in_zip(archive, code, **environment):
    """Run code where lstm_fast is in that file alone, whatever is installed."""
    start = (
        "import sys, warnings\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in str(f)]\n"
        f"sys.path.insert(0, {str(archive)!r})\n"
        "import lstm_fast\n"
        f"assert lstm_fast.__file__.startswith({str(archive)!r})\n"
    )
    return run(sys.executable, "-c", start + code, **environment)


def test_from_a_zip_file_it_runs_and_names_the_cause(archive):
    done = in_zip(archive, "lstm = lstm_fast.LSTM.random(2, 3)\nprint(lstm.backend)")
    numba = importlib.util.find_spec("numba") is not None
    assert done.stdout.split() == ["numba" if numba else "reference"], done.stderr
    assert f"cannot be loaded from the zip file {archive}" in done.stderr
    assert "C compiler" not in done.stderr  # which would not help
    forced = in_zip(archive, "lstm_fast.LSTM.random(2, 3)", LSTM_FAST_BACKEND="native")
    assert "BackendUnavailableError" in forced.stderr
    assert f"the zip file {archive}" in forced.stderr


def test_in_a_zip_file_readers_are_found(archive, tmp_path):
    from lstm_fast.formats import safetensors

    lstm = lstm_fast.LSTM.random(2, 3, backend="reference")
    safetensors.write(tmp_path / "x.safetensors", lstm.weights)
    code = f"print(lstm_fast.load({str(tmp_path / 'x.safetensors')!r}).fingerprint)"
    done = in_zip(archive, code, LSTM_FAST_BACKEND="reference")
    assert (done.stdout.strip(), done.stderr) == (lstm.fingerprint, "")


def test_a_folder_is_no_zip_file():
    """Negative control: without the core, and with no zip file, a compiler is what is missing."""
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['lstm_fast._native', 'numba']))\n"
        "import lstm_fast; lstm_fast.LSTM.random(2, 3)"
    )
    done = run(sys.executable, "-c", code)
    assert "C compiler" in done.stderr
    assert "zip" not in done.stderr
