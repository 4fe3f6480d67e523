"""Builds a free-threaded Python, installs the package in it, and tests it on four threads at once.

Then ThreadSanitizer looks at the core while four threads meet there.

    python -m tests.free_threading [options of pytest, or other files]

Interpreter and packages lie in build/free-threaded and are made once. What is missing on this
machine is said by the names of Debian's packages. LSTM_FAST_PYTHON names a free-threaded Python
that is there already, from 3.14 on.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build/free-threaded"
VENV = BUILD / "venv"
SETUP = BUILD / "setup"  # where wheels are built
PACKAGES = ("numpy>=2", "cffi>=2", "setuptools>=77", "pytest>=8", "hypothesis>=6.100")
PACKAGES += ("pytest-run-parallel>=0.8",)
THREADS = 4
# Every test by all threads at once, and those whose own threads meet.
STREAMS = ("streams", "stream_races", "stream_threads", "left_calls", "snapshots", "nonfinite")
POOLS = ("pool", "pool_errors", "pool_sessions", "pool_memory", "pool_threads")
FILES = (
    *(f"tests/streams/test_{name}.py" for name in STREAMS),
    *(f"tests/pools/test_{name}.py" for name in POOLS),
    *(f"tests/backends/test_{name}.py" for name in ("bits", "free_threading")),
)
HEADERS = {  # what an interpreter needs that can run pip, by the package of Debian that has it
    "zlib.h": "zlib1g-dev",
    "openssl/ssl.h": "libssl-dev",
    "ffi.h": "libffi-dev",
}
QUICK = "-DNDEBUG -fwrapv -O1 -g0 -w"  # compiles in a third of the time


def run(*command: object, where: Path = ROOT, output: int | None = None) -> None:
    """Run a command, and end with its status where that is not 0."""
    words = [str(word) for word in command]
    status = subprocess.run(words, cwd=where, stdout=output, check=False).returncode
    if status:
        sys.exit(f"{' '.join(words)}\nended with {status}")


def has(header: str) -> bool:
    """Say whether the compiler finds a header."""
    command = ["cc", "-E", "-x", "c", "-include", header, os.devnull]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def check_tools() -> None:
    """End with the names of what is missing to build an interpreter."""
    missing = {"build-essential" for tool in ("cc", "make") if shutil.which(tool) is None}
    missing |= {package for name, package in HEADERS.items() if missing or not has(name)}
    if missing:
        sys.exit(
            f"to build a free-threaded Python: apt install {' '.join(sorted(missing))}; or set "
            "LSTM_FAST_PYTHON to one that is there"
        )


def sources() -> Path:
    """Return the folder of CPython's sources, those of the wheels."""
    facts = runpy.run_path(str(ROOT / ".ci/wheels.py"))
    archive = facts["fetched"](facts["CPYTHON"], facts["CPYTHON_SHA256"])
    with tarfile.open(archive) as tar:
        tar.extractall(BUILD / "sources", filter="data")
    return next((BUILD / "sources").iterdir())


def interpreter() -> Path:
    """Return a free-threaded Python, which the first call takes minutes to build."""
    if given := os.environ.get("LSTM_FAST_PYTHON"):
        return Path(given)
    made = BUILD / "python"
    program = made / "bin/python3"
    if not program.exists():
        check_tools()
        BUILD.mkdir(parents=True, exist_ok=True)
        folder = sources()
        print("building a free-threaded Python: six minutes on two CPUs", flush=True)
        run("./configure", "--quiet", "--disable-gil", f"--prefix={made}", where=folder)
        make = ("make", "--silent", f"-j{os.cpu_count()}", f"OPT={QUICK}")
        run(*make, where=folder)
        run(*make, "install", where=folder, output=subprocess.DEVNULL)  # names 10,000 files
        shutil.rmtree(BUILD / "sources")
    return program


def check(program: Path) -> None:
    """End unless that runs without Python's lock."""
    code = "import sys; print(sys.version_info >= (3, 14) and not sys._is_gil_enabled())"
    done = subprocess.run([program, "-c", code], capture_output=True, text=True, check=False)
    if done.stdout.strip() != "True":
        sys.exit(f"{program} is not a free-threaded Python from 3.14 on\n{done.stderr}")


def install(program: Path) -> tuple[Path, Path]:
    """Install the package from a wheel; return the Python that has it, and that wheel."""
    python = VENV / "bin/python"
    if not python.exists():
        run(program, "-m", "venv", VENV)
    pip = (python, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", *PACKAGES)
    shutil.rmtree(SETUP, ignore_errors=True)
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", SETUP, ROOT)
    (wheel,) = SETUP.glob("*.whl")
    if "-cp314-cp314t-" not in wheel.name and "LSTM_FAST_PYTHON" not in os.environ:
        sys.exit(f"{wheel.name} is not for a free-threaded Python alone")
    run(*pip, "install", "--no-deps", "--force-reinstall", wheel)
    print(wheel.name, flush=True)
    return python, wheel


def main() -> None:
    """Set up what is missing, and test."""
    program = interpreter()
    check(program)
    python, wheel = install(program)
    # From another folder than that of the sources, in which no core for it is built.
    options = ["-q", "-c", ROOT / "pyproject.toml", "--rootdir", ROOT, "-p", "no:cacheprovider"]
    given = sys.argv[1:]
    files = [str(ROOT / one) if one.startswith("tests/") else one for one in given]
    if not any(one.startswith(str(ROOT)) for one in files):
        files += [str(ROOT / one) for one in FILES]
    run(python, "-m", "pytest", *options, f"--parallel-threads={THREADS}", *files, where=SETUP)
    if not given:
        run(python, ROOT / "tests/free_threading/sanitize.py", BUILD / "sanitized", wheel)


if __name__ == "__main__":
    main()
