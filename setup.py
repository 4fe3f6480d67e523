"""Builds the native core: csrc/ behind a cffi binding in API mode, for the stable ABI.

A free-threaded Python has no stable ABI before 3.15: there the core is for that version alone.

Everything else about the package is in pyproject.toml. Without a working C compiler, or with
LSTM_FAST_NO_NATIVE=1 in the environment, the package is built without the core and says so when
it is first used.
"""

import os
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from cffi import FFI
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

CSRC = Path("csrc")
MODULE = "lstm_fast._native"
VERSION = (Path("lstm_fast") / "_version.py").read_text(encoding="utf-8").split('"')[-2]
PYTHON_TAG, PYTHON_HEX = "cp310", "0x030A0000"  # the oldest CPython that the binary serves
IS_FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

# The arithmetic is a contract of bits (csrc/lstm_fast.h), so flags from the environment that would
# change it are taken back here.
COMPILE_ARGS = [
    "-std=c11",
    "-O3",
    "-g0",
    "-fno-fast-math",
    "-fno-unsafe-math-optimizations",
    "-ffp-contract=off",
    "-fvisibility=hidden",
]
# CFLAGS reach the linker, too, which for -Ofast or -ffast-math adds start-up code that makes the
# whole process flush subnormals as soon as the module is imported.
LINK_ARGS = ["-O3", "-fno-fast-math", "-fno-unsafe-math-optimizations"]


def write_binding() -> str:
    """Write the cffi module's C source from the marked regions of the headers."""
    ffi = FFI()
    for name in ("lstm_fast.h", "lstm_fast_probes.h"):
        header = (CSRC / name).read_text(encoding="utf-8")
        ffi.cdef(header.split("/* LF_CFFI_BEGIN */")[1].split("/* LF_CFFI_END */")[0])
    ffi.set_source(MODULE, '#include "lstm_fast_probes.h"', py_limited_api=not IS_FREE_THREADED)
    source = Path("build") / "lstm_fast_native.c"
    source.parent.mkdir(exist_ok=True)
    ffi.emit_c_code(str(source))
    return str(source)


def native_core() -> Extension:
    """Describe the extension; optional, so that a failing compiler does not fail the install."""
    rooms = ("cpu", "isa", "memory", "pool", "program", "python")
    folders = (CSRC, *(CSRC / name for name in rooms))
    sources = sorted(str(path) for folder in folders for path in folder.glob("*.c"))
    depends = sorted(str(path) for path in CSRC.rglob("*") if path.suffix in {".h", ".inc"})
    stable_abi = [] if IS_FREE_THREADED else [("Py_LIMITED_API", PYTHON_HEX)]
    return Extension(
        MODULE,
        sources=[write_binding(), *sources],
        depends=depends,
        include_dirs=[str(CSRC), np.get_include()],
        define_macros=[*stable_abi, ("LF_VERSION", f'"{VERSION}"')],
        extra_compile_args=COMPILE_ARGS,
        extra_link_args=LINK_ARGS,
        libraries=["m"] if os.name == "nt" else ["m", "pthread"],
        py_limited_api=not IS_FREE_THREADED,
        optional=True,
    )


class BuildOnAllCpus(build_ext):
    """Compiles as many files at a time as there are CPUs: the kernels take most of a minute."""

    def build_extension(self, extension: Extension) -> None:
        """Build it; where a file does not compile, as setuptools does."""
        compile_in_turn = self.compiler.compile

        def compile_at_once(sources: list[str], **options: Any) -> list[str]:
            first = compile_in_turn(sources[:1], **options)  # makes the folders, finds the compiler
            with ThreadPoolExecutor(os.cpu_count()) as threads:
                rest = threads.map(lambda one: compile_in_turn([one], **options), sources[1:])
                return first + [path for paths in rest for path in paths]

        self.compiler.compile = compile_at_once
        super().build_extension(extension)


def main() -> None:
    """Build what was asked for."""
    if os.environ.get("LSTM_FAST_NO_NATIVE", "0") not in {"", "0"}:
        setup()
        return
    setup(
        ext_modules=[native_core()],
        cmdclass={"build_ext": BuildOnAllCpus},
        options={} if IS_FREE_THREADED else {"bdist_wheel": {"py_limited_api": PYTHON_TAG}},
    )


if __name__ == "__main__":  # .ci/wheels.py takes what is above for other platforms
    main()
