"""What the tests under qemu need of this machine, and how they run it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build/arm"
COMPILER = "aarch64-linux-gnu-gcc"
C_LIBRARY = Path("/usr/aarch64-linux-gnu")  # of the cross compiler
KEYS = Path("/usr/share/keyrings/debian-archive-keyring.gpg")  # of Debian, which Ubuntu may lack
PACKAGES = {  # of Debian and Ubuntu, by the program that is looked for
    COMPILER: "gcc-aarch64-linux-gnu",
    "gcc": "gcc",
    "qemu-aarch64": "qemu-user",
    "qemu-x86_64": "qemu-user",
    "mmdebstrap": "mmdebstrap",
}


class FailedError(Exception):
    """A test that failed, or something without which there is none."""


def check_tools() -> None:
    """Raise FailedError with the names of the packages that are missing."""
    missing = {package for tool, package in PACKAGES.items() if shutil.which(tool) is None}
    if not (C_LIBRARY / "include").is_dir():
        missing.add("libc6-dev-arm64-cross")
    if not KEYS.exists():
        missing.add("debian-archive-keyring")
    if missing:
        raise FailedError(f"programs are missing: apt install {' '.join(sorted(missing))}")


def must(
    command: Sequence[str | Path],
    environment: Mapping[str, str] | None = None,
    *,
    status: int = 0,
    where: Path = ROOT,
) -> str:
    """Run a command and return what it said; raise FailedError unless it ends with the status."""
    words = [str(word) for word in command]
    process = subprocess.run(
        words,
        cwd=where,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    said = process.stdout + process.stderr
    if process.returncode != status:
        line = " ".join(words)
        raise FailedError(f"{line}\nended with {process.returncode} instead of {status}:\n{said}")
    return said


def at_once(function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    """As map, as many at a time as there are CPUs."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(function, items))
