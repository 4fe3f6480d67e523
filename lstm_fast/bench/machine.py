"""Facts about the machine and the software, for people and for reports."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import warnings
from pathlib import Path
from typing import TypedDict

from .. import __version__, _backends
from .._arguments import usable_cpus
from ..errors import BackendUnavailableError
from .schema import Machine

CPUINFO = Path("/proc/cpuinfo")
CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
# What kernels like ours use, x86 then Arm, as Linux spells it.
FEATURES = re.findall(
    r"\S+",
    "sse4_2 avx avx2 fma f16c avx_vnni avx_vnni_int8 avx512f avx512bw avx512vl avx512dq "
    "avx512_vnni avx512_bf16 avx512_fp16 amx_tile amx_int8 amx_bf16 "
    "asimd asimdhp asimddp i8mm bf16 sve sve2 sme",
)


class Choice(TypedDict):
    """What an LSTM runs on when nothing is asked for, and why."""

    backend: str | None
    isa: str | None
    reason: str


class Info(TypedDict):
    """What `lstm-fast info --json` prints."""

    machine: Machine
    isas: dict[str, list[str]]  # {name: CPU features that are missing}, best first
    backends: dict[str, str]  # {name: version of what it stands on, or what to do about it}
    chosen: Choice


def _cpuinfo() -> dict[str, str]:
    """Return the first CPU's entries; empty where there is no such file."""
    try:
        lines = CPUINFO.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def caches() -> dict[str, int]:
    """Return {"L1d": bytes, "L2": bytes, ...} of the first CPU."""
    found: dict[str, int] = {}
    units = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
    for index in sorted(CACHES.glob("index*")):
        try:
            level, kind, size = (
                (index / name).read_text(encoding="ascii").strip()
                for name in ("level", "type", "size")
            )
        except OSError:
            continue
        if kind != "Instruction":
            bytes_ = int(size.rstrip("KMG")) * units.get(size[-1], 1)
            found[f"L{level}{'d' if kind == 'Data' else ''}"] = bytes_
    return found


def version(package: str) -> str | None:
    """Return the version of an installed package without importing it; None where it is not."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def facts(packages: tuple[str, ...] = ()) -> Machine:
    """Describe this machine, with the versions of lstm_fast, NumPy, cffi and these packages."""
    cpu = _cpuinfo()
    flags = (cpu.get("flags") or cpu.get("Features") or "").split()
    try:
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        system = platform.platform()
    versions = {name: version(name) for name in ("numpy", "cffi", *packages)}
    return Machine(
        cpu=cpu.get("model name") or platform.processor() or platform.machine(),
        architecture=platform.machine(),
        cpus=usable_cpus(),
        virtual="hypervisor" in flags,
        caches=caches(),
        features=[name for name in FEATURES if name in flags],
        os=f"{system}, {platform.system()} {platform.release()}",
        python=f"{platform.python_implementation()} {platform.python_version()}",
        packages={"lstm_fast": __version__}
        | {name: found for name, found in versions.items() if found is not None},
    )


def known_isas() -> dict[str, list[str]]:
    """Return {name: missing CPU features} of the native backend; empty where it is not built."""
    try:
        isas: dict[str, list[str]] = _backends.load("native").isas()
    except BackendUnavailableError:
        return {}
    return isas


def _choice() -> Choice:
    """Say what an LSTM made without arguments runs on."""
    variables = [
        f"{name}={os.environ[name]}"
        for name in (_backends.BACKEND_VARIABLE, _backends.ISA_VARIABLE)
        if os.environ.get(name)
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module, isa = _backends.choose(None, None)
    except (ValueError, BackendUnavailableError) as error:
        return Choice(backend=None, isa=None, reason=str(error))
    reason = "the best that this CPU can run"
    if variables:
        reason = f"set by {' and '.join(variables)}"
    elif module.name != "native":
        reason = "the best that is installed"
    return Choice(backend=module.name, isa=isa, reason=reason)


def info() -> Info:
    """Return what `lstm-fast info` tells."""
    isas = known_isas()
    numba = version("numba")
    backends = {
        "native": f"cffi {version('cffi')}" if isas else _backends.missing("native"),
        "numba": f"numba {numba}" if numba else _backends.missing("numba"),
        "reference": f"numpy {version('numpy')}",
    }
    return Info(machine=facts(), isas=isas, backends=backends, chosen=_choice())


def size_text(size: int) -> str:
    """Bytes for people: "48 KiB", "1 MiB"."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit:
            return f"{size / unit:.3g} {name}"
    return f"{size} B"


def info_text(info: Info) -> str:
    """Return the lines that `lstm-fast info` prints."""
    machine, chosen = info["machine"], info["chosen"]
    caches = ", ".join(f"{name} {size_text(size)}" for name, size in machine["caches"].items())
    virtual = ", in a virtual machine" if machine["virtual"] else ""
    name = chosen["backend"] or "nothing"
    if chosen["isa"]:
        name += f":{chosen['isa']}"
    lines = [
        ("lstm_fast", f"{machine['packages']['lstm_fast']}, {machine['python']}"),
        ("system", machine["os"]),
        ("CPU", f"{machine['cpu']}, {machine['architecture']}{virtual}"),
        ("CPUs", f"{machine['cpus']} for this process"),
        ("caches", caches or "unknown"),
        ("features", " ".join(machine["features"]) or "none known"),
        ("", ""),
        *(
            ("ISAs" if n == 0 else "", f"{isa:<12} {f'needs {chr(32).join(m)}' if m else 'runs'}")
            for n, (isa, m) in enumerate(info["isas"].items() or [("none", ["the native core"])])
        ),
        ("", ""),
        *(
            ("backends" if n == 0 else "", f"{backend:<12} {text}")
            for n, (backend, text) in enumerate(info["backends"].items())
        ),
        ("", ""),
        ("chosen", f"{name}: {chosen['reason']}"),
    ]
    return "\n".join(f"{key:<10} {text}".rstrip() for key, text in lines)
