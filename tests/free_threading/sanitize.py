"""ThreadSanitizer looks at the core and at what Python calls of it, while four threads meet there.

The extension is built with it and loaded into an interpreter that is not; what that does with its
own memory is not looked at. The kernels, which know of no threads, are built without.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FOUND = 66  # the status of a program in which the sanitizer has found something
OPTIONS = f"ignore_noninstrumented_modules=1 exitcode={FOUND}"


class Mistake(NamedTuple):
    """A control: a change of a file that the sanitizer must notice."""

    file: str
    changes: tuple[tuple[str, str], ...]


MISTAKES = {
    "a step lets everybody in": Mistake(
        "csrc/stream.c", (("lf_enter(stream, LF_TO_ADVANCE);", "LF_OK;"),)
    ),
    "the names of the last call are not atomic": Mistake(
        "csrc/python/step.c",
        (
            ("static _Atomic(PyObject *) out_alone;", "static PyObject *out_alone;"),
            ("atomic_load_explicit(&out_alone, memory_order_relaxed)", "out_alone"),
            ("atomic_exchange(&out_alone, names);", "out_alone; out_alone = names;"),
        ),
    ),
}


def main(build: Path, wheel: Path) -> None:
    """Build, and run what must be clean and what must not.

    Args:
        build: where to.
        wheel: of the package, whose Python is taken.
    """
    os.chdir(ROOT)
    library = Path(_said("gcc", "-print-file-name=libtsan.so"))
    if not library.is_absolute():
        sys.exit("ThreadSanitizer is missing: apt install libtsan2 (that of gcc), and gcc")
    shutil.rmtree(build, ignore_errors=True)
    shutil.unpack_archive(wheel, build / "package", "zip")
    (core,) = build.glob("package/lstm_fast/_native*.so")
    extension = runpy.run_path("setup.py")["native_core"]()
    common = [
        *("gcc", "-std=c11", "-g", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off"),
        *(f"-I{one}" for one in (*extension.include_dirs, sysconfig.get_path("include"))),
        *(f"-D{name}={value}" for name, value in extension.define_macros),
    ]

    def compiled(source: str, text_of: str = "") -> str:
        made = build / (source.replace("/", "_") + (".wrong" if text_of else "") + ".o")
        is_kernel = source.startswith("csrc/isa/")
        how = ["-O3"] if is_kernel else ["-O1", "-fsanitize=thread"]
        folder = str(Path(source).parent)
        _said(*common, *how, f"-I{folder}", "-c", text_of or source, "-o", str(made))
        return str(made)

    def found(objects: Sequence[str]) -> bool:
        """Link these and run; return whether the sanitizer has found something."""
        _said("gcc", "-shared", "-fsanitize=thread", *objects, "-lm", "-lpthread", "-o", str(core))
        done = subprocess.run(
            [sys.executable, ROOT / "tests/free_threading/meet.py"],
            env=os.environ
            | {"LD_PRELOAD": str(library), "TSAN_OPTIONS": OPTIONS}
            | {"PYTHONPATH": str(build / "package")},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, FOUND):
            sys.exit(f"{done.stdout}{done.stderr}\nended with {done.returncode}")
        if done.returncode == 0:
            print(f"  {done.stdout.strip()}", flush=True)
        elif objects == right:
            print(done.stderr)
        return done.returncode == FOUND

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        right = [*threads.map(compiled, extension.sources)]
    if found(right):
        sys.exit("ThreadSanitizer found this")
    print("ThreadSanitizer found nothing", flush=True)
    for name, mistake in MISTAKES.items():
        text = Path(mistake.file).read_text(encoding="utf-8")
        for was, becomes in mistake.changes:
            if was not in text:
                sys.exit(f"{mistake.file} has no {was!r}")
            text = text.replace(was, becomes)
        wrong = build / f"wrong_{Path(mistake.file).name}"
        wrong.write_text(text, encoding="utf-8")
        at = extension.sources.index(mistake.file)
        if not found([*right[:at], compiled(mistake.file, str(wrong)), *right[at + 1 :]]):
            sys.exit(f"ThreadSanitizer did not notice that {name}")
        print(f"ThreadSanitizer noticed: {name}", flush=True)


def _said(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
