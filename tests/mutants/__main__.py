"""Plants each mistake of the catalogue in a copy of the tree and runs the test that should notice.

    python tests/mutants [--only TEXT] [--list]

Exit status 1 where a mistake lives, or where the catalogue no longer fits the code.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from catalogue import ALL, Mutant

ROOT = Path(__file__).parents[2]
FLAGS = ["-std=c11", "-O1", "-g0", "-fPIC", "-fno-fast-math", "-ffp-contract=off"]
LIMIT = 900  # seconds for one test: a mistake that hangs is noticed, too


class Tree:
    """A copy of the sources in which mistakes are planted, and how it is built."""

    def __init__(self, folder: Path) -> None:
        self.root, self.objects = folder / "tree", folder / "objects"
        for part in ("csrc", "lstm_fast", "tests", "examples", "setup.py", "pyproject.toml"):
            source = ROOT / part
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.so")
                shutil.copytree(source, self.root / part, ignore=ignored)
            else:
                shutil.copy(source, self.root / part)
        self.objects.mkdir()
        self._write_binding()

    def _write_binding(self) -> None:
        code = "import setup; setup.write_binding()"
        environment = {**os.environ, "LSTM_FAST_NO_NATIVE": "1"}
        command = [sys.executable, "-c", code, "--version"]
        subprocess.run(command, cwd=self.root, env=environment, check=True, capture_output=True)

    def sources(self) -> list[Path]:
        """The scalar kernels alone: the others take most of the time, and are checked by bits."""
        csrc = self.root / "csrc"
        return [
            *sorted(csrc.glob("*.c")),
            *sorted([*csrc.glob("cpu/*.c"), *csrc.glob("memory/*.c"), *csrc.glob("pool/*.c")]),
            csrc / "isa/scalar.c",
            *sorted(csrc.glob("python/*.c")),
            self.root / "tests/c/only_scalar.c",
            self.root / "build/lstm_fast_native.c",
        ]

    def build(self, changed: str | None = None) -> None:
        """Compile what depends on a changed file, everything for None or a header, and link."""
        everything = changed is None or not changed.endswith(".c")
        for source in self.sources():
            if everything or source == self.root / str(changed):
                self._compile(source)
        objects = [str(self.objects / f"{source.stem}.o") for source in self.sources()]
        target = self.root / "lstm_fast/_native.abi3.so"
        run("cc", "-shared", *objects, "-o", str(target), "-lm", "-lpthread")

    def _compile(self, source: Path) -> None:
        folders = [self.root / "csrc", sysconfig.get_path("include"), np.get_include()]
        include = [f"-I{folder}" for folder in folders]
        defined = ["-DPy_LIMITED_API=0x030A0000", '-DLF_VERSION="mutant"']
        target = str(self.objects / f"{source.stem}.o")
        run("cc", *FLAGS, *include, *defined, "-c", str(source), "-o", target)

    def passes(self, test: str) -> bool:
        """Whether a test passes on the tree as it is now."""
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", test]
        environment = {**os.environ, "PYTHONPATH": str(self.root), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            process = subprocess.run(
                command,
                cwd=self.root,
                env=environment,
                capture_output=True,
                check=False,
                timeout=LIMIT,
            )
        except subprocess.TimeoutExpired:
            return False
        return process.returncode == 0


def run(*command: str) -> None:
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}\n{process.stderr}")


def unfit(mutant: Mutant) -> str:
    """Return why a mistake can't be planted, or nothing."""
    path = ROOT / mutant.file
    count = path.read_text(encoding="utf-8").count(mutant.before) if path.exists() else 0
    return "" if count == 1 else f"{mutant.file} has {count} of {mutant.before!r}"


def survives(tree: Tree, mutant: Mutant) -> bool:
    """Plant a mistake, look, and take it back."""
    path = tree.root / mutant.file
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(mutant.before, mutant.after), encoding="utf-8")
    try:
        if mutant.file.startswith("csrc/"):
            tree.build(mutant.file)
        return tree.passes(mutant.killer)
    finally:
        path.write_text(text, encoding="utf-8")
        if mutant.file.startswith("csrc/"):
            tree.build(mutant.file)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status."""
    parser = argparse.ArgumentParser(description="Plants mistakes; each has to be noticed.")
    parser.add_argument("--only", default="", metavar="TEXT", help="those whose lines hold TEXT")
    parser.add_argument("--list", action="store_true", help="only say what there is")
    options = parser.parse_args(arguments)
    chosen = [mutant for mutant in ALL if options.only in " ".join(mutant)]
    problems = [text for mutant in chosen if (text := unfit(mutant))]
    for text in problems:
        print(f"no longer fits: {text}")
    if options.list or problems:
        for mutant in chosen:
            print(f"{mutant.file}: {mutant.before.strip().splitlines()[0]}")
        return 1 if problems else 0
    living = 0
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder))
        tree.build()
        for killer in sorted({mutant.killer for mutant in chosen}):
            if not tree.passes(killer):
                print(f"{killer} fails without any mistake")
                return 1
        for n, mutant in enumerate(chosen, 1):
            lives = survives(tree, mutant)
            living += lives
            what = mutant.before.strip().splitlines()[0][:70]
            print(
                f"{n}/{len(chosen)} {'LIVES' if lives else 'killed'}: {mutant.file}: {what}",
                flush=True,
            )
    print(f"{len(chosen)} mistakes, {living} live")
    return int(living > 0)


if __name__ == "__main__":
    sys.exit(main())
