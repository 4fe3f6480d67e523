"""The C tests of the core, linked with the objects that a wheel was made of."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.arm.core import SLOW
from tests.arm.tools import ROOT, at_once, must

from .interpreters import BUILD, UNDER_WINE, WINE, WINE_ENVIRONMENT, builder, make_wine

TESTS = ROOT / "tests/c"
sys.path.append(str(TESTS))
from c_programs import FLAGS, PROGRAMS  # noqa: E402

# zig's linker for Windows wraps no functions; and Windows has no forks.
NOT_ON_WINDOWS = {name for name, options in PROGRAMS.items() if any("wrap" in o for o in options)}
NOT_ON_WINDOWS |= {"test_forks.c", "test_forks_threads.c"}


def run(wheel: Path) -> tuple[int, str]:
    """Compile and run them for the platform of a wheel; return how many, and more about it."""
    target = next(one for one in builder.TARGETS if one.tag.split(".")[0] in wheel.name)
    if "gnu.2" in target.zig:
        return 0, ""  # `make test` and `make test-arm` run them
    objects = sorted((builder.BUILD / target.zig).glob("csrc_*.o"))
    objects = [one for one in objects if not one.name.startswith("csrc_python_")]
    if not objects:
        return 0, "its objects are no longer there, so no C tests"
    names, emulator = list(PROGRAMS), []
    if "windows" in target.zig:
        if not WINE.exists():
            return 0, "no C tests: apt install wine64"
        make_wine()
        names, emulator = [name for name in PROGRAMS if name not in NOT_ON_WINDOWS], [*UNDER_WINE]
    if "aarch64" in target.zig:
        if not shutil.which("qemu-aarch64"):
            return 0, "no C tests: apt install qemu-user"
        names, emulator = [one for one in names if one not in SLOW], ["qemu-aarch64"]
    folder = BUILD / "c" / target.zig
    folder.mkdir(parents=True, exist_ok=True)

    def one(name: str) -> None:
        program = folder / f"{Path(name).stem}.exe"
        line = [sys.executable, "-m", "ziglang", "cc", "-target", target.zig]
        line += [*" ".join(FLAGS).split(), "-fno-sanitize=undefined", f"-I{ROOT / 'csrc'}"]
        line += [*PROGRAMS[name], TESTS / name, *objects, "-o", program, "-lm"]
        must(line)
        must([*emulator, program], WINE_ENVIRONMENT)

    at_once(one, names)
    under = f" under {Path(emulator[-1]).name}" if emulator else ""
    return len(names), f"{len(names)} C tests{under}"
