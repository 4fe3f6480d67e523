"""What a library for macOS needs of others: nothing but libSystem and Python itself."""

from __future__ import annotations

import re
import shutil
import zipfile
from pathlib import Path

from tests.arm.tools import FailedError, must

from .interpreters import BUILD

# Of the C library, as the core uses them
OTHERS = re.compile("_?Py|__|_tlv")  # Python, and what compilers put in
SYSTEM = re.compile(  # none of them newer than macOS 10.15
    r"abort|aligned_alloc|bzero|calloc|free|malloc|realloc|memchr|memcmp|memcpy|memmove|"
    r"memset|memset_pattern16|fma|fmaf|frexp|frexpf|ldexp|ldexpf|exp|expf|log|logf|nearbyintf|"
    r"pow|sqrt|sqrtf|sin|cos|tan|tanh|floor|ceil|snprintf|strcmp|strncmp|"
    r"strlen|strchr|getenv|sysctlbyname|sched_yield|timespec_get|dyld_stub_binder|"
    r"pthread_atfork|pthread_cond_broadcast|pthread_cond_wait|"
    r"pthread_getschedparam|pthread_mutex_lock|pthread_mutex_unlock|pthread_self"
)


def wrong(needed: set[str], libraries: set[str]) -> list[str]:
    """Return the symbols and libraries that neither the system nor Python has."""
    symbols = {name for name in needed if not (OTHERS.match(name) or SYSTEM.fullmatch(name))}
    return sorted(symbols | {one for one in libraries if "/libSystem." not in one})


def check(wheel: Path) -> str:
    """Raise FailedError where the core of a wheel needs anything else; return what was found."""
    if not (shutil.which("llvm-nm") and shutil.which("llvm-objdump")):
        return "symbols were not looked at: apt install llvm"
    folder = BUILD / "macos"
    with zipfile.ZipFile(wheel) as archive:
        core = Path(archive.extract("lstm_fast/_native.abi3.so", folder))
    lines = must(["llvm-nm", "--undefined-only", "--just-symbol-name", core]).split()
    needed = {name.removeprefix("_") for name in lines}
    shown = must(["llvm-objdump", "--macho", "--dylibs-used", core]).splitlines()[1:]
    libraries = {line.split()[0] for line in shown if line.strip()}
    if not needed or not libraries:
        raise FailedError(f"{wheel.name}: its symbols and libraries cannot be read")
    # the negative control: what is in no system library is noticed
    assert wrong({"lf_not_there"}, {"/usr/lib/libgomp.dylib"}) == [
        "/usr/lib/libgomp.dylib",
        "lf_not_there",
    ]
    libraries -= {"@rpath/_native.abi3.so"}
    if found := wrong(needed, libraries):
        raise FailedError(f"{wheel.name} needs what neither libSystem nor Python has: {found}")
    return f"{len(needed)} undefined symbols, all of libSystem or Python"
