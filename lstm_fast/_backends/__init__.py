"""The implementations of the contract, and the choice between them.

A backend is a module with

    name           "native", "numba" or "reference"
    isas()         {name: missing CPU features}, best first; empty where there is nothing to choose
    build(weights, isa, weight_dtype)   a `Core`: the weights, packed; all run forward
    lacks(weights)  what of this variant it cannot compute, in words, or ""
    build_program(program, data, types, isa)   a `Core`; raises `CannotComputeError`

Importing one may raise ImportError; nothing here imports one before it is needed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from .._extras import install
from .._process import bookkeeping
from ..errors import BackendUnavailableError
from ._refusals import CannotComputeError

if TYPE_CHECKING:
    from .._weight_types import Types
    from ..model_pool import ModelPool
    from ..model_stream import ModelStream
    from ..program import Program

NAMES = ("native", "numba", "reference")  # best first
BACKEND_VARIABLE = "LSTM_FAST_BACKEND"
ISA_VARIABLE = "LSTM_FAST_ISA"


class Core(Protocol):
    """What a model computes with: its program with packed constants, or an LSTM's packed weights.

    whole: the Model or LSTM that it is of.
    """

    @property
    def isa(self) -> str | None: ...

    @property
    def nbytes(self) -> int: ...

    def stream(self, whole: Any, /) -> ModelStream: ...

    def pool(self, whole: Any, capacity: int, prepared: int, threads: int, /) -> ModelPool: ...


Lacks: TypeAlias = Callable[[ModuleType], str]


def _lacks_nothing(backend: ModuleType) -> str:
    return ""


# Programs that freeze an application look for import statements, so these are not computed.
def _native() -> ModuleType:
    from . import native

    return native


def _numba() -> ModuleType:
    from . import numba

    return numba


def _reference() -> ModuleType:
    from . import reference

    return reference


IMPORTS = {"native": _native, "numba": _numba, "reference": _reference}


_PACKAGE = Path(__file__).parents[1]


def _installed_elsewhere() -> str:
    """Return where another lstm_fast with a native core is installed, which this one hides."""
    for folder in sys.path:
        other = Path(folder) / _PACKAGE.name
        built = (other / f"_native{suffix}" for suffix in EXTENSION_SUFFIXES)
        if other != _PACKAGE and any(path.exists() for path in built):
            return str(folder)
    return ""


def missing(name: str) -> str:
    """Return in words why there is no native or no Numba backend here, and what to do."""
    if name == "numba":
        return f"Numba is missing: {install('numba')}"
    archive = getattr(__spec__.loader, "archive", None)  # of a zipimporter
    if archive is not None:
        return (
            f"the native core cannot be loaded from the zip file {archive}, since Python loads "
            "extension modules from folders alone: unpack it, or install lstm_fast beside it"
        )
    if others := _installed_elsewhere():
        return (
            f"Python imports the source folder {_PACKAGE.parent}, in which nothing was built, and "
            f"so hides the lstm_fast that is installed in {others}: run it from another folder, or "
            "install with pip install --editable ."
        )
    return (
        "the native core is missing: install lstm_fast again from its source folder (pip install "
        "--force-reinstall --no-cache-dir .) where there is a C compiler (gcc or clang), without "
        "LSTM_FAST_NO_NATIVE set"
    )


def load(name: str) -> ModuleType:
    """Import a backend by name.

    Raises:
        ValueError: there is no backend of that name.
        BackendUnavailableError: it is not installed, or does not load here.
    """
    if name not in NAMES:
        raise ValueError(f"there is no backend {name!r}; choose one of {', '.join(NAMES)}")
    try:
        return IMPORTS[name]()
    except ImportError as error:
        raise BackendUnavailableError(f"backend {name!r}: {missing(name)} ({error})") from error


def _load_best(lacks: Lacks) -> ModuleType:
    """Import the best backend that lacks nothing; say so, once, if a better one is not here."""
    absent: dict[str, str] = {}
    lack = ""
    for name in NAMES:
        try:
            backend = load(name)
        except BackendUnavailableError as error:
            absent[name] = str(error.__cause__)
            continue
        if found := lacks(backend):
            lack = lack or f"the {name!r} backend has no {found}"
            continue
        if absent:
            _warn_slower(name, absent, lack)
        return backend
    raise AssertionError("the reference backend needs and lacks nothing")


_warned = False


def _warn_slower(used: str, absent: dict[str, str], lack: str) -> None:
    """Warn, once; absent: why which backends are not here, lack: what one that is here has not."""
    global _warned  # noqa: PLW0603 - once per process is the point
    with bookkeeping:
        if _warned:
            return
        _warned = True
    causes = [missing("native")] if "native" in absent else []
    causes += [lack] if lack else []
    if "numba" in absent and used == "reference":
        causes.append(f"{'or, ' if 'native' in absent else ''}for a faster one, {install('numba')}")
    why = "; ".join(absent.values())
    message = f"lstm_fast runs on its {used!r} backend, because {'; '.join(causes)} ({why})"
    warnings.warn(message, RuntimeWarning, stacklevel=_levels_to_the_caller())


def _levels_to_the_caller() -> int:
    """Return the `stacklevel` that makes a warning name the line that called lstm_fast."""
    levels = 0
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith(f"{_PACKAGE.name}."):
        frame = frame.f_back
        levels += 1
    return levels + 1


def _choose_isa(backend: ModuleType, isa: str | None, source: str) -> str | None:
    known: dict[str, list[str]] = backend.isas()
    if isa is None:
        return next((name for name, missing in known.items() if not missing), None)
    if not known:
        raise ValueError(
            f"{source}{isa!r} is for the native backend, this model runs on {backend.name!r}"
        )
    here = ", ".join(name for name, missing in known.items() if not missing)
    if isa not in known:
        raise ValueError(f"{source}{isa!r} is not an ISA of lstm_fast; this CPU can run {here}")
    if known[isa]:
        raise ValueError(
            f"{source}{isa!r} needs {', '.join(known[isa])}, which this CPU or its operating "
            f"system lacks; it can run {here}"
        )
    return isa


def choose(
    name: str | None, isa: str | None, lacks: Lacks = _lacks_nothing
) -> tuple[ModuleType, str | None]:
    """Return the backend and the ISA for what was asked, by argument or by environment.

    lacks: what a backend cannot compute of what it is chosen for, in words, or "".

    Raises:
        TypeError: a name is not a string.
        ValueError: a name is unknown, or this CPU lacks what that ISA needs, or that backend cannot
            compute this.
        BackendUnavailableError: a backend was asked for that is not installed.
    """
    for what, value in (("backend", name), ("isa", isa)):
        if value is not None and not isinstance(value, str):
            raise TypeError(f"{what} must be a string or None, found {type(value).__name__}")
    asked = name
    if asked is None and (variable := os.environ.get(BACKEND_VARIABLE)):
        if variable not in NAMES:
            raise ValueError(
                f"{BACKEND_VARIABLE}={variable!r} is not a backend; choose one of "
                f"{', '.join(NAMES)}"
            )
        asked = variable
    backend = _load_best(lacks) if asked is None else load(asked)
    if lack := lacks(backend):
        raise ValueError(
            f"the {backend.name!r} backend has no {lack}; name no backend, and one that has it "
            "is chosen"
        )
    source = "isa="
    if isa is None and (asked in (None, "native")) and (variable := os.environ.get(ISA_VARIABLE)):
        isa, source = variable, f"{ISA_VARIABLE}="
    return backend, _choose_isa(backend, isa, source)


def build_program(
    name: str | None, isa: str | None, program: Program, data: bytes, types: Types
) -> tuple[str, Core]:
    """Return the name of the backend for what was asked, and the program packed for it.

    data: the program's `.lfm` file.

    Raises:
        As `choose`.
    """
    refused: dict[str, str] = {}
    while True:  # each turn refuses one more, and the reference computes everything
        backend, chosen = choose(name, isa, lambda one: refused.get(one.name, ""))
        try:
            return backend.name, backend.build_program(program, data, types, chosen)
        except CannotComputeError as error:
            refused[backend.name] = str(error)


def available() -> list[str]:
    """Return what can run here, best first: "native:<isa>" for each ISA of this CPU, and so on.

    Numba counts as available when it is installed; it is not imported to find out.

    Example:
        >>> available()[-1]  # the best is first; this one is always there
        'reference'
    """
    names: list[str] = []
    try:
        isas: dict[str, list[str]] = load("native").isas()
        names += [f"native:{isa}" for isa, missing in isas.items() if not missing]
    except BackendUnavailableError:
        pass
    if importlib.util.find_spec("numba") is not None:
        names.append("numba")
    return [*names, "reference"]
