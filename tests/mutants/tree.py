"""A copy of the tree: how it is built, with a mistake or without, and how tests run on it."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .mutant import Mutant

ROOT = Path(__file__).parents[2]
PARTS = ("csrc", "lstm_fast", "tests", "examples", "setup.py", "pyproject.toml")
FLAGS = ["-std=c11", "-O1", "-g0", "-fPIC", "-fno-fast-math", "-ffp-contract=off", "-MMD"]
# A mistake that the compiler sees is too easy; and in tests of C this would pass for a failure.
WARNINGS = ["-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Wconversion", "-Werror"]
PYTEST = [sys.executable, "-m", "pytest", "-m", "not slow", "-x", "-v", "--tb=no", "-n0"]
PYTEST += ["-p", "no:cacheprovider", "-p", "tests.mutants.profile", "--hypothesis-profile=mutants"]
WITHOUT_NUMBA = ["-p", "tests.mutants.without_numba"]  # which takes long to compile
FOLDERS = ("cpu", "memory", "pool", "program")
ISAS = ("scalar", "avx2")  # one of one lane, and one whose vectors end in padding


def _name_of(source: Path) -> str:
    """Return a name for its object that no other one has."""
    return f"{source.parent.name}_{source.stem}"


class CannotJudgeError(Exception):
    """A mistake does not compile, or a test does not run."""


class Tree:
    """A copy of the sources, built, in which mistakes are planted."""

    def __init__(self, folder: Path) -> None:
        self.root, self.objects, self.changed = (
            folder / name for name in ("tree", "objects", "changed")
        )
        for part in PARTS:
            if (ROOT / part).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.so", ".hypothesis")
                shutil.copytree(ROOT / part, self.root / part, ignore=ignored)
            else:
                shutil.copy(ROOT / part, self.root / part)
        self.objects.mkdir()
        code = "import setup; setup.write_binding()"
        command = [sys.executable, "-c", code, "--version"]
        _run(command, self.root, {"LSTM_FAST_NO_NATIVE": "1"})
        for source in self._sources():
            self._compile(source, self.objects)
        self._link()
        self.has_numba = False  # whether tests see it

    def _sources(self) -> list[Path]:
        """Of the kernels those of two ISAs: the others take long to compile."""
        csrc = self.root / "csrc"
        return [
            *sorted(csrc.glob("*.c")),
            *(path for name in FOLDERS for path in sorted(csrc.glob(f"{name}/*.c"))),
            *(csrc / f"isa/{isa}.c" for isa in ISAS),
            *sorted(csrc.glob("python/*.c")),
            self.root / "tests/mutants/stand_ins.c",
            self.root / "build/lstm_fast_native.c",
        ]

    def _compile(self, source: Path, target: Path) -> None:
        include = [f"-I{self.root / 'csrc'}"]
        for folder in (sysconfig.get_path("include"), np.get_include()):
            include += ["-isystem", folder]
        defined = ["-DPy_LIMITED_API=0x030A0000", '-DLF_VERSION="mutant"']
        defined += ["-D_POSIX_C_SOURCE=200112L"]
        warnings = [] if source.parent.name == "build" else WARNINGS
        output = ["-c", str(source), "-o", str(target / f"{_name_of(source)}.o")]
        _run(["cc", *FLAGS, *warnings, *include, *defined, *output], self.root)

    def _link(self) -> None:
        """Objects that were compiled of a mistake go before those of the tree as it is."""
        names = [f"{_name_of(source)}.o" for source in self._sources()]
        places = [(self.changed / name, self.objects / name) for name in names]
        objects = [str(changed if changed.exists() else own) for changed, own in places]
        target = self.root / "lstm_fast/_native.abi3.so"
        target.unlink(missing_ok=True)
        _run(["cc", "-shared", *objects, "-o", str(target), "-lm", "-lpthread"], self.root)

    def _uses(self, source: Path, file: str) -> bool:
        needed = (self.objects / f"{_name_of(source)}.d").read_text(encoding="utf-8")
        return str(self.root / file) in map(os.path.normpath, needed.split())

    @contextlib.contextmanager
    def planted(self, mutant: Mutant) -> Iterator[None]:
        """Plant a mistake, build what depends on it, and take it back."""
        path = self.root / mutant.file
        text = path.read_text(encoding="utf-8")
        is_native = mutant.file.startswith("csrc/")
        self.changed.mkdir()
        try:
            path.write_text(text.replace(mutant.before, mutant.after), encoding="utf-8")
            if is_native:
                users = [one for one in self._sources() if self._uses(one, mutant.file)]
                if not users:
                    raise CannotJudgeError(f"nothing is built of {mutant.file}")
                for source in users:
                    self._compile(source, self.changed)
                self._link()
            else:
                compile(path.read_text(encoding="utf-8"), mutant.file, "exec")
            yield
        finally:
            path.write_text(text, encoding="utf-8")
            shutil.rmtree(self.changed)
            if is_native:
                self._link()

    def failure(self, test: str, limit: float) -> str:
        """Return which test fails or crashes, or nothing. `test` is what pytest is told to run."""
        command = [*PYTEST, *([] if self.has_numba else WITHOUT_NUMBA), *shlex.split(test)]
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.root),
            "PYTHONDONTWRITEBYTECODE": "1",
            "COLUMNS": "300",
        }
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            return f"{test}, which hangs"
        finally:
            if process.poll() is None:  # what it has started goes with it
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode == 0:
            return ""
        begun = re.findall(
            r"^(tests/\S+?::.*?)(?: (?:PASSED|FAILED|SKIPPED|ERROR)|$)", output, re.M
        )
        if process.returncode < 0 and begun:
            return f"{begun[-1]}, which dies of {signal.Signals(-process.returncode).name}"
        failed = re.findall(r"^FAILED (tests/.*?)(?: - |$)", output, re.M)
        if process.returncode != 1 or not failed:
            raise CannotJudgeError(f"{test} does not run:\n{output[-2000:]}")
        return str(failed[0])


def _run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    process = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode:
        raise CannotJudgeError(f"{shlex.join(command)}\n{process.stderr}")
