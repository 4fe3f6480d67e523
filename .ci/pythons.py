"""Tries one wheel on each CPython that is found here: the smoke test, then the golden bits.

The oldest one gets the oldest NumPy and cffi that pyproject.toml allows.

python .ci/pythons.py dist/lstm_fast-*-cp310-abi3-*.whl
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import which

ROOT = Path(__file__).parents[1]
NEWEST = max(14, sys.version_info.minor)
VERSIONS = tuple(f"3.{minor}" for minor in range(10, NEWEST + 1))
# What the wheel's stable ABI is for: of this implementation, with the GIL.
FITS = """
import sys, sysconfig, venv
assert sys.implementation.name == "cpython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
print("%d.%d" % sys.version_info[:2])
"""


def candidates(version: str) -> Iterator[str]:
    """Yield what may be a Python of a version: this one, those on PATH, those of pyenv."""
    if version == "{}.{}".format(*sys.version_info):
        yield sys.executable
    for folder in os.get_exec_path():
        if found := which(f"python{version}", path=folder):
            yield found
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    # 3.10.13 is newer than 3.10.9
    releases = sorted(
        pyenv.glob(f"versions/{version}.*/bin/python"),
        key=lambda path: [int(digits) for digits in re.findall(r"\d+", path.parts[-3])],
    )
    yield from map(str, reversed(releases))


def found(version: str) -> str | None:
    """Return the first candidate that runs: a shim of pyenv's may refuse to."""
    for python in candidates(version):
        asked = subprocess.run([python, "-c", FITS], check=False, capture_output=True, text=True)
        if asked.stdout.strip() == version:
            return python
    return None


def oldest() -> list[str]:
    """Return the oldest NumPy and cffi that pyproject.toml allows, as pip takes them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    line = next(one for one in text.splitlines() if one.startswith("dependencies = "))
    return [f"{name}=={least}.*" for name, least in re.findall(r"(\w+)>=([\d.]+)", line)]


def trial(version: str, python: str, wheel: Path, folder: Path) -> tuple[bool, str]:
    """Return whether a wheel passes in a fresh environment, and what was printed."""
    inside = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", inside]
    pytest = ["-m", "pytest", "-q", "-c", ROOT / "pyproject.toml", f"--rootdir={ROOT}"]
    steps = [
        [python, "-m", "venv", "--without-pip", folder],
        # Brings NumPy and cffi, which are enough.
        [*pip, "install", "--quiet", wheel, *(oldest() if version == VERSIONS[0] else ())],
        [inside, ROOT / ".ci/smoke.py", "native"],
        [*pip, "install", "--quiet", "pytest", "hypothesis"],
        [inside, *pytest, "-p", "no:cacheprovider", ROOT / "tests/backends/test_bits.py"],
    ]
    printed = ""
    for step in steps:
        done = subprocess.run(
            [str(part) for part in step],
            check=False,
            cwd=folder.parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},  # into tests/, of another version
        )
        printed += done.stdout
        if done.returncode:
            return False, f"{printed}{' '.join(map(str, step))}\nended with {done.returncode}"
    return True, printed


def main() -> int:
    """Try the wheel everywhere; fail where it fails, or where no Python was found."""
    wheel = Path(sys.argv[1]).resolve()
    pythons = {version: found(version) for version in VERSIONS}
    here = {version: python for version, python in pythons.items() if python}
    with tempfile.TemporaryDirectory() as work, ThreadPoolExecutor(os.cpu_count()) as threads:
        folders = (Path(work) / version for version in here)
        results = threads.map(trial, here, here.values(), [wheel] * len(here), folders)
        failed = []
        for (version, python), (passed, printed) in zip(here.items(), results, strict=True):
            last = printed.strip().splitlines()[-1] if passed else f"FAILED\n{printed}"
            print(f"CPython {version} ({python}): {last}", flush=True)
            failed += [] if passed else [version]
    missing = [version for version in VERSIONS if version not in here]
    if missing:
        print(f"not found here, so not tried: CPython {', '.join(missing)}")
    return 1 if failed or not here else 0


if __name__ == "__main__":
    sys.exit(main())
