"""The interpreters that wheels are run by: of each platform that this machine can stand in for.

All of it lies in build/test-wheels and is made once.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.arm import python as arm
from tests.arm.tools import ROOT, must

sys.path.append(str(ROOT / ".ci"))
import wheels as builder

BUILD = ROOT / "build/test-wheels"
NEEDS = ("numpy", "cffi", "pytest", "hypothesis")
MUSL = "3.14"
# A folder with python.exe: what python.org has as "Windows embeddable package (64-bit)", unpacked;
# of 3.10 to 3.13, for which the NumPy below is.
WINDOWS = "LSTM_FAST_WINDOWS_PYTHON"
# Newer ones look for a function at import that wine 8 has not (ucrtbase.crealf).
WINDOWS_NEEDS = ("numpy==2.1.3", *NEEDS[1:], "colorama")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


@dataclass(frozen=True)
class Interpreter:
    """How Python is run with an unpacked wheel."""

    command: Sequence[str | Path]
    packages: Path | None  # what a wheel needs, unpacked; None: they are installed
    environment: dict[str, str]
    drive: str = ""  # before absolute paths

    def run(self, site: Path, *arguments: str | Path) -> str:
        """Run it with an unpacked wheel; return what it said."""
        paths = [self.path(path) for path in (site, self.packages) if path]
        kept = {name: "" for name in os.environ if name.startswith("LSTM_FAST_")}
        own = {
            "PYTHONPATH": (";" if self.drive else ":").join(paths),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONSAFEPATH": "1",  # this tree's own package is not the wheel's
        }
        words = [self.path(one) if isinstance(one, Path) else one for one in arguments]
        return must([*self.command, *words], {**kept, **own, **self.environment}, where=BUILD)

    def path(self, path: Path) -> str:
        """Return a path as that system writes it."""
        return f"{self.drive}{path}".replace("/", "\\") if self.drive else str(path)


def site_of(wheel: Path) -> Path:
    """Return a folder with what a wheel installs."""
    folder = BUILD / "sites" / wheel.name.split("-", 2)[2].removesuffix(".whl")
    shutil.rmtree(folder, ignore_errors=True)
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def unpacked(folder: Path, platforms: Sequence[str], version: str, names: Sequence[str]) -> Path:
    """Return a folder with packages for another platform."""
    if not arm.is_made(folder, " ".join(names)):
        wheels = folder.with_name(f"{folder.name}-wheels")
        shutil.rmtree(wheels, ignore_errors=True)
        options = [f"--platform={one}" for one in platforms]
        options += [f"--python-version={version}", "--only-binary=:all:", "--dest", str(wheels)]
        must([*PIP, "download", *options, *names])
        for wheel in wheels.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(folder)
        arm.note_made(folder, " ".join(names))
    return folder


# ---- manylinux -----------------------------------------------------------------------------------


def glibc() -> Interpreter:
    """A virtual environment of this Python."""
    folder = BUILD / "venv"
    if not arm.is_made(folder, " ".join(NEEDS)):
        must([sys.executable, "-m", "venv", folder])
        must([folder / "bin/python", *PIP[1:], "install", *NEEDS])
        arm.note_made(folder, " ".join(NEEDS))
    return Interpreter([folder / "bin/python"], None, {})


def glibc_arm() -> Interpreter:
    """Debian's, under qemu, with the packages of tests/arm."""
    arm.BUILD.mkdir(parents=True, exist_ok=True)
    arm.make_system()
    arm.make_site()
    return Interpreter([arm.PYTHON], arm.SITE, {})


# ---- musllinux -----------------------------------------------------------------------------------


# which Hypothesis takes
ZLIB = "https://deb.debian.org/debian/pool/main/z/zlib/zlib_1.3.dfsg+really1.3.1.orig.tar.gz"
ZLIB_SHA256 = "60dd315c07f616887caa029408308a018ace66e3d142726a97db164b3b8f69fb"


def sources(name: str, address: str, sha256: str) -> Path:
    """Return a folder with the sources of an archive, as they came."""
    folder = BUILD / name
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(builder.fetched(address, sha256)) as tar:
        tar.extractall(folder, filter="data")
    return next(folder.iterdir())


def make_musl(folder: Path) -> None:
    """CPython with zlib, built with musl from the sources that Debian has."""
    compiler, many = BUILD / "musl-cc", f"-j{os.cpu_count()}"
    # gcc would name the C library that is its own
    compiler.write_text(
        '#!/bin/sh\ncase " $* " in\n*-print-multiarch*) echo x86_64-linux-musl ;;\n'
        '*) exec musl-gcc "$@" ;;\nesac\n',
        encoding="utf-8",
    )
    compiler.chmod(0o755)
    zlib = sources("zlib", ZLIB, ZLIB_SHA256)
    must(["./configure", "--static"], {"CC": str(compiler), "CFLAGS": "-O2 -fPIC"}, where=zlib)
    must(["make", many, "libz.a"], where=zlib)
    # with pkg-config it would find libraries of the other C library
    options = ["PKG_CONFIG=false", f"ZLIB_CFLAGS=-I{zlib}", f"ZLIB_LIBS={zlib / 'libz.a'}"]
    options += ["OPT=-O1", f"--prefix={folder}", "--without-ensurepip", "--disable-test-modules"]
    where = sources("cpython", builder.CPYTHON, builder.CPYTHON_SHA256)
    must(["./configure", f"CC={compiler}", *options], where=where)
    must(["make", many], where=where)
    must(["make", "install"], where=where)


def musl_loader() -> Path:
    """Return musl 1.2.5, which is its own loader.

    NumPy's wheels have packed relative relocations (DT_RELR), which musl applies from 1.2.4 on.
    With an older one, as Debian 12's, the first constructor in them is a jump to nowhere.
    """
    folder, of = BUILD / "musl-system", "trixie"
    if not arm.is_made(folder, of):
        must(["mmdebstrap", "--arch=amd64", "--variant=extract", "--include=musl", of, folder])
        arm.note_made(folder, of)
    return folder / "usr/lib/x86_64-linux-musl/libc.so"


def musl() -> Interpreter:
    """CPython built here with musl, with wheels for musllinux."""
    folder, of = BUILD / "musl", f"{builder.CPYTHON} {ZLIB}"
    if not arm.is_made(folder, of):
        make_musl(folder)
        arm.note_made(folder, of)
    packages = unpacked(BUILD / "musl-site", ["musllinux_1_2_x86_64"], MUSL, NEEDS)
    return Interpreter([musl_loader(), folder / f"bin/python{MUSL}"], packages, {})


# ---- Windows -------------------------------------------------------------------------------------

WINE = Path("/usr/lib/wine/wine64")
# Python for Windows does not begin where its input is none that wine knows.
UNDER_WINE = ("sh", "-c", 'exec "$0" "$@" </dev/null', WINE)
WINE_ENVIRONMENT = {"WINEPREFIX": str(BUILD / "wine"), "WINEDEBUG": "-all"}


def make_wine() -> None:
    """A Windows of its own that says it is 10, as new versions of Python want."""
    if not arm.is_made(BUILD / "wine", "win10"):
        key = ("reg", "add", r"HKCU\Software\Wine", "/v", "Version", "/d", "win10", "/f")
        (BUILD / "wine").mkdir()
        must([*UNDER_WINE, *key], WINE_ENVIRONMENT)
        arm.note_made(BUILD / "wine", "win10")


def windows() -> Interpreter:
    """Python for Windows, under wine, with wheels for Windows."""
    make_wine()
    folder = Path(os.environ[WINDOWS]).resolve()
    (search_path,) = folder.glob("python3*._pth")
    version = search_path.stem.removeprefix("python3")
    # of a copy: with that file it would look nowhere else, and wine cannot do what _wmi asks for
    home = BUILD / f"windows-3.{version}"
    if not home.exists():
        shutil.copytree(folder, home, ignore=shutil.ignore_patterns("*._pth", "_wmi.pyd"))
    site = BUILD / f"windows-site-3.{version}"
    packages = unpacked(site, ["win_amd64"], f"3.{version}", WINDOWS_NEEDS)
    own = {"PYTHONHOME": f"Z:{home}".replace("/", "\\")}
    command = [*UNDER_WINE, home / "python.exe"]
    return Interpreter(command, packages, {**WINE_ENVIRONMENT, **own}, drive="Z:")


# ---- all of them ---------------------------------------------------------------------------------


class Python(NamedTuple):
    """An interpreter that can be made, and {program: Debian's package} of what that takes."""

    title: str
    make: Callable[[], Interpreter]
    needs: dict[str, str]
    is_slow: bool = False


ARM_NEEDS = {"qemu-aarch64": "qemu-user", "mmdebstrap": "mmdebstrap"}
MUSL_NEEDS = {"musl-gcc": "musl-tools", "mmdebstrap": "mmdebstrap"}
PYTHONS = {
    "manylinux_2_17_x86_64": Python("CPython of this machine", glibc, {}),
    "manylinux_2_17_aarch64": Python("CPython under qemu", glibc_arm, ARM_NEEDS, is_slow=True),
    "musllinux_1_2_x86_64": Python("CPython with musl", musl, MUSL_NEEDS),
    "win_amd64": Python("CPython under wine", windows, {str(WINE): "wine64"}, is_slow=True),
}


def missing(needs: dict[str, str]) -> str:
    """Return the packages of Debian's that this machine lacks."""
    return " ".join(sorted({needs[name] for name in needs if shutil.which(name) is None}))
