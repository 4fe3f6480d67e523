"""The extension: what the native backend's modules share of it. Only this one imports it."""

from __future__ import annotations

from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import Any, NoReturn

import _cffi_backend  # noqa: F401  # the extension needs it, which freezers cannot see

from .._native import __file__ as extension_file
from .._native import ffi, lib
from ..errors import ConcurrentUseError, ForkedError
from ..stream import FORKED, IN_USE

__all__ = ["FLOATS", "address_of", "fail", "ffi", "from_buffer", "lib", "short_ways", "text_of"]

FLOATS = ffi.typeof("float[]")
from_buffer = ffi.from_buffer


def _short_ways() -> Any:
    """Load csrc/python/step.c, the second module in the extension's file."""
    loader = ExtensionFileLoader("_native_step", extension_file)
    spec = spec_from_loader("_native_step", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


short_ways = _short_ways()


def text_of(pointer: Any) -> str:
    """Return what a `const char *` points at."""
    return str(ffi.string(pointer).decode())


def fail(status: int) -> NoReturn:
    """Raise the error of a status that is not LF_OK."""
    if status == lib.LF_ERR_BUSY:
        raise ConcurrentUseError(IN_USE)
    if status == lib.LF_ERR_FORKED:
        raise ForkedError(FORKED)
    if status == lib.LF_ERR_MEMORY:
        raise MemoryError("lstm_fast: no memory for the packed weights, the stream or the pool")
    raise ValueError(text_of(lib.lf_status_text(status)))


def address_of(pointer: Any) -> int:
    """Return what a pointer of cffi holds."""
    return int(ffi.cast("uintptr_t", pointer))
