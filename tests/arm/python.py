"""CPython for AArch64 out of Debian's packages, wheels for it, and the package built for it.

Nothing of it is installed here: all of it lies in build/arm, and is made once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import zipfile
from pathlib import Path

from .tools import BUILD, COMPILER, ROOT, FailedError, must

SUITE, VERSION = "bookworm", "3.11"
DEBIAN = (
    "python3-minimal",
    f"libpython{VERSION}-stdlib",
    f"libpython{VERSION}-dev",  # its headers
    "libc6",
    "libstdc++6",
    "libffi8",
    "zlib1g",
    "libgomp1",
)
WHEELS = ("numpy", "cffi", "pytest", "pytest-xdist", "hypothesis")
PLATFORMS = ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")
SYSTEM, SITE, SOURCE = BUILD / "system", BUILD / "site", BUILD / "source"
PYTHON, HEADERS = BUILD / "python", BUILD / "headers"
CACHE = BUILD / "bytecode"  # without it each start compiles for seconds
COPIED = ("csrc", "lstm_fast", "setup.py", "pyproject.toml", "README.md", "LICENSE")


def is_made(folder: Path, of: str) -> bool:
    """Whether the folder was made, of just that; if not, it is empty now."""
    stamp = folder.with_suffix(".stamp")
    if stamp.exists() and stamp.read_text(encoding="utf-8") == of:
        return True
    stamp.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    return False


def note_made(folder: Path, of: str) -> None:
    """From now on the folder counts as made."""
    folder.with_suffix(".stamp").write_text(of, encoding="utf-8")


def make_system() -> None:
    """An interpreter with its libraries, as Debian has them."""
    packages = ",".join(DEBIAN)
    if not is_made(SYSTEM, packages):
        must(
            [
                "mmdebstrap",
                "--arch=arm64",
                "--variant=extract",
                f"--include={packages}",
                SUITE,
                SYSTEM,
            ]
        )
        note_made(SYSTEM, packages)
    HEADERS.mkdir(exist_ok=True)
    (HEADERS / "aarch64-linux-gnu").mkdir(exist_ok=True)
    for name in (f"python{VERSION}", f"aarch64-linux-gnu/python{VERSION}"):
        link = HEADERS / name
        link.unlink(missing_ok=True)
        link.symlink_to(SYSTEM / "usr/include" / name)
    interpreter = SYSTEM / f"usr/bin/python{VERSION}"
    PYTHON.write_text(
        "#!/bin/sh\n"
        f'exec qemu-aarch64 -L "{SYSTEM}" -cpu "${{ARM_CPU:-max}}" "{interpreter}" "$@"\n',
        encoding="utf-8",
    )
    PYTHON.chmod(0o755)


def make_site() -> None:
    """Packages of PyPI; and sys.executable, for tests with processes of their own."""
    names = " ".join(WHEELS)
    if is_made(SITE, names):
        return
    wheels = BUILD / "wheels"
    shutil.rmtree(wheels, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    platforms = [f"--platform={platform}" for platform in PLATFORMS]
    must(
        [
            *pip,
            "--only-binary=:all:",
            *platforms,
            f"--python-version={VERSION}",
            "-d",
            wheels,
            *WHEELS,
        ]
    )
    for wheel in wheels.glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(SITE)
    (SITE / "sitecustomize.py").write_text(
        f"import sys\n\nsys.executable = {str(PYTHON)!r}\n", encoding="utf-8"
    )
    note_made(SITE, names)


def make_package() -> None:
    """The package with its core, as setup.py builds it."""
    files = sorted(path for path in (ROOT / "csrc").rglob("*") if path.is_file())
    files += [*sorted((ROOT / "lstm_fast").rglob("*.py")), ROOT / "setup.py"]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    if is_made(SOURCE, digest):
        return
    SOURCE.mkdir()
    ignored = shutil.ignore_patterns("*.so", "__pycache__")
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, SOURCE / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, SOURCE / name)
    headers = (HEADERS, HEADERS / f"python{VERSION}", SITE / "numpy/_core/include")
    environment = {
        "CC": COMPILER,
        "LDSHARED": f"{COMPILER} -shared",
        "CFLAGS": " ".join(f"-I{folder}" for folder in headers),
    }
    said = must(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"], environment, where=SOURCE
    )
    if not list((SOURCE / "lstm_fast").glob("_native*.so")):
        raise FailedError(f"the core was not built for AArch64:\n{said}")
    note_made(SOURCE, digest)


def python(*arguments: str | Path, cpu: str = "max", status: int = 0, **environment: str) -> str:
    """Run the interpreter for AArch64 and return what it said."""
    kept = {name: "" for name in os.environ if name.startswith("LSTM_FAST_")}
    paths = {"PYTHONPATH": f"{SOURCE}:{SITE}", "PYTHONPYCACHEPREFIX": str(CACHE), "ARM_CPU": cpu}
    paths["PYTHONDONTWRITEBYTECODE"] = ""  # even where this process has it
    paths["PYTHONSAFEPATH"] = "1"  # this tree's own package is for another CPU
    return must([PYTHON, *arguments], {**kept, **paths, **environment}, status=status)
