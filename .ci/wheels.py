"""Builds the wheels of every platform on one machine, with the clang of ziglang, and checks them.

    python .ci/wheels.py FOLDER                 # all of them
    python .ci/wheels.py FOLDER win_amd64       # those whose tag has this in it

The Python in a wheel is the same everywhere, the core is compiled for each: against the headers of
the target's own NumPy, in which sizes of types differ, and for Windows against those of CPython
itself, whose sources are fetched once (LSTM_FAST_CPYTHON names them where they are at hand).
"""

from __future__ import annotations

import hashlib
import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "wheels"
LARGEST = 1_500_000  # bytes of a wheel
CPYTHON = "https://deb.debian.org/debian/pool/main/p/python3.14/python3.14_3.14.7.orig.tar.xz"
CPYTHON_SHA256 = "3b48dac8fb59f62eaa67ac83c1eb12bda1b7a08406dd286e252c11a66be27f81"


class Target(NamedTuple):
    """A platform: its wheel's tag, what zig calls it, and the tag of a wheel of NumPy's for it."""

    tag: str
    zig: str
    numpy: str


TARGETS = (
    Target(
        "manylinux_2_17_x86_64.manylinux2014_x86_64",
        "x86_64-linux-gnu.2.17",
        "manylinux_2_27_x86_64",
    ),
    Target(
        "manylinux_2_17_aarch64.manylinux2014_aarch64",
        "aarch64-linux-gnu.2.17",
        "manylinux_2_27_aarch64",
    ),
    Target("musllinux_1_2_x86_64", "x86_64-linux-musl", "musllinux_1_2_x86_64"),
    Target("musllinux_1_2_aarch64", "aarch64-linux-musl", "musllinux_1_2_aarch64"),
    Target("macosx_11_0_x86_64", "x86_64-macos.11.0", "macosx_14_0_x86_64"),
    Target("macosx_11_0_arm64", "aarch64-macos.11.0", "macosx_14_0_arm64"),
    Target("win_amd64", "x86_64-windows-gnu", "win_amd64"),
)


def run(*command: object, **options: object) -> str:
    """Run a command and return what it prints; its errors are shown."""
    done = subprocess.run(
        [str(part) for part in command],
        check=False,
        text=True,
        stdout=subprocess.PIPE,
        **options,  # type: ignore[call-overload]
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}\nended with {done.returncode}")
    return str(done.stdout)


def zig(*command: object) -> str:
    """Run zig."""
    return run(sys.executable, "-m", "ziglang", *command, cwd=ROOT)


# ---- headers -------------------------------------------------------------------------------------


def fetched(address: str, sha256: str) -> Path:
    """Return an archive, which is fetched once."""
    archive = BUILD / Path(address).name
    if not archive.exists():
        print(f"fetching {address}", flush=True)
        BUILD.mkdir(parents=True, exist_ok=True)
        urllib.request.urlretrieve(address, archive)
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != sha256:
        sys.exit(f"{archive} has the checksum {found}, expected {sha256}")
    return archive


def cpython() -> Path:
    """Return the folder of CPython's sources, of which Include and PC are needed."""
    if given := os.environ.get("LSTM_FAST_CPYTHON"):
        return Path(given)
    folder = BUILD / "cpython"
    if not folder.exists():
        archive = fetched(CPYTHON, CPYTHON_SHA256)
        with tarfile.open(archive) as tar:
            wanted = [one for one in tar if re.match(r"[^/]+/(Include|PC)/", one.name)]
            tar.extractall(BUILD / "unpacked", wanted, filter="data")
        next((BUILD / "unpacked").iterdir()).rename(folder)
    return folder


def python_headers(target: Target) -> Path:
    """Return a folder with Python.h and the pyconfig.h of a platform.

    Of all that pyconfig.h says, the stable ABI takes the sizes of types, which are the same on all
    systems of 64 bits but Windows.
    """
    system = "windows" if "windows" in target.zig else "posix"
    folder = BUILD / f"python-{system}"
    if not folder.exists():
        include = cpython() / "Include" if system == "windows" else sysconfig.get_path("include")
        shutil.copytree(include, folder)
        config = (
            cpython() / "PC" / "pyconfig.h"
            if system == "windows"
            else sysconfig.get_config_h_filename()
        )
        shutil.copy(config, folder / "pyconfig.h")
    return folder


def numpy_headers(target: Target) -> Path:
    """Return the headers in a wheel of NumPy's for a platform."""
    folder = BUILD / f"numpy-{target.numpy}"
    if not folder.exists():
        options = ["--no-deps", "--only-binary=:all:", "--python-version=3.13", "--dest", folder]
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet")
        run(*pip, *options, "--platform", target.numpy, "numpy>=2")
        with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
            headers = [name for name in wheel.namelist() if "/_core/include/" in name]
            wheel.extractall(folder, headers)
    return folder / "numpy" / "_core" / "include"


# ---- the core ------------------------------------------------------------------------------------


def python_library(target: Target) -> Path:
    """Return the import library of the stable ABI on Windows."""
    library = BUILD / target.zig / "python3.lib"
    names = re.findall(
        r"^EXPORT_(FUNC|DATA)\((\w+)\)",
        (cpython() / "PC" / "python3dll.c").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    lines = [name + " DATA" * (kind == "DATA") for kind, name in names]
    definition = library.with_suffix(".def")
    definition.write_text(
        "LIBRARY python3.dll\nEXPORTS\n" + "\n".join(lines) + "\n", encoding="utf-8"
    )
    zig("dlltool", "-m", "i386:x86-64", "-d", definition, "-l", library)
    return library


def link_options(target: Target) -> list[object]:
    """Return what a core is linked with; a process of Python has the rest already."""
    if "macos" in target.zig:  # by itself zig would name it by the folder it is built in
        return ["-undefined", "dynamic_lookup", "-Wl,-install_name,@rpath/_native.abi3.so"]
    return [python_library(target)] if "windows" in target.zig else ["-lm", "-lpthread"]


def compiled(target: Target, setup: dict[str, object]) -> Path:
    """Return the core, compiled for a platform."""
    folder = BUILD / target.zig
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    extension = setup["native_core"]()  # type: ignore[operator]
    includes = ["-Icsrc", "-isystem", python_headers(target), "-isystem", numpy_headers(target)]
    macros = [f"-D{name}={value}" for name, value in extension.define_macros]
    flags = [*extension.extra_compile_args, "-Werror", "-fno-sanitize=undefined"]
    flags += [] if "windows" in target.zig else ["-fPIC"]

    def compile_one(source: str) -> Path:
        made = folder / (source.replace("/", "_") + ".o")
        zig("cc", "-target", target.zig, *flags, *includes, *macros, "-c", source, "-o", made)
        return made

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        objects = list(threads.map(compile_one, extension.sources))
    core = folder / ("_native.pyd" if "windows" in target.zig else "_native.abi3.so")
    zig("cc", "-target", target.zig, "-shared", "-s", *objects, *link_options(target), "-o", core)
    return core


# ---- wheels --------------------------------------------------------------------------------------


def pure_wheel() -> Path:
    """Return the wheel without a core."""
    folder = BUILD / "pure"
    shutil.rmtree(folder, ignore_errors=True)
    source = BUILD / "source"
    shutil.rmtree(source, ignore_errors=True)
    for name in run("git", "ls-files", "-z", cwd=ROOT).split("\0"):
        if name and (ROOT / name).exists():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet")
    run(
        *pip,
        "--no-deps",
        "--wheel-dir",
        folder,
        source,
        env=os.environ | {"LSTM_FAST_NO_NATIVE": "1"},
    )
    return next(folder.glob("*.whl"))


def wheel_of(target: Target, pure: Path, core: Path, tag: str, out: Path) -> Path:
    """Put a core into the wheel without one."""
    folder = BUILD / target.zig / "unpacked"
    run(sys.executable, "-m", "wheel", "unpack", "--dest", folder, pure)
    root = next(folder.iterdir())
    shutil.copy(core, root / "lstm_fast" / core.name)
    facts = next(root.glob("*.dist-info")) / "WHEEL"
    text = facts.read_text(encoding="utf-8").replace(
        "Root-Is-Purelib: true", "Root-Is-Purelib: false"
    )
    tags = "".join(f"Tag: {tag}-abi3-{platform}\n" for platform in target.tag.split("."))
    facts.write_text(re.sub(r"^Tag: .*\n", tags, text, flags=re.MULTILINE), encoding="utf-8")
    done = run(sys.executable, "-m", "wheel", "pack", "--dest-dir", out, root)
    return Path(re.search(r"(\S+\.whl)", done.replace("\n", " "))[1])  # type: ignore[index]


def check(target: Target, wheel: Path) -> None:
    """Check a wheel's size, its use of the stable ABI, and what it links to."""
    if (size := wheel.stat().st_size) > LARGEST:
        sys.exit(f"{wheel.name} has {size} bytes, more than {LARGEST}")
    run(sys.executable, "-m", "abi3audit", "--strict", "--summary", wheel)
    if "manylinux" in target.tag:
        shown = run(sys.executable, "-m", "auditwheel", "show", wheel)
        wanted = target.tag.split(".")[0]
        if f'"{wanted}"' not in shown.replace("\n", " "):
            sys.exit(f"auditwheel does not find {wanted} for {wheel.name}:\n{shown}")
    print(f"{wheel.name}: {size:,} bytes", flush=True)


def main() -> None:
    """Build and check what is asked for."""
    out = Path(sys.argv[1]).resolve()
    wanted = [one for one in TARGETS if not sys.argv[2:] or any(w in one.tag for w in sys.argv[2:])]
    os.chdir(ROOT)
    BUILD.mkdir(parents=True, exist_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    setup = runpy.run_path("setup.py")
    pure = pure_wheel()
    for target in wanted:
        print(f"{target.tag}: compiling", flush=True)
        core = compiled(target, setup)
        check(target, wheel_of(target, pure, core, str(setup["PYTHON_TAG"]), out))


if __name__ == "__main__":
    main()
