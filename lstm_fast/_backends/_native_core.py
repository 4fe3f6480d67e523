"""The extension: what the native backend's modules share of it. Only this one imports it."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import TYPE_CHECKING, Any, NoReturn

import _cffi_backend  # noqa: F401  # the extension needs it, which freezers cannot see
from numpy.typing import NDArray

from .._native import __file__ as extension_file
from .._native import ffi, lib
from ..errors import ConcurrentUseError, ForkedError
from ..model_stream import FORKED, IN_USE

__all__ = [
    "FLOATS",
    "WEIGHT_TYPES",
    "Addresses",
    "CoreStream",
    "address_of",
    "fail",
    "ffi",
    "from_buffer",
    "lib",
    "short_ways",
    "text_of",
]

FLOATS = ffi.typeof("float[]")
BYTES = ffi.typeof("char[]")
from_buffer = ffi.from_buffer

WEIGHT_TYPES = {
    "float32": lib.LF_FLOAT32,
    "float16": lib.LF_FLOAT16,
    "int8": lib.LF_INT8,
}


def _short_ways() -> Any:
    """Load csrc/python/step.c, the second module in the extension's file."""
    loader = ExtensionFileLoader("_native_step", extension_file)
    spec = spec_from_loader("_native_step", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


short_ways = _short_ways()


if TYPE_CHECKING:

    class CoreStream:
        """Has an lf_stream, and what its steps take and give, where `step` finds them at once."""

        def _attach(self, address: int, ends: object) -> None: ...

else:
    CoreStream = short_ways.CoreStream


class Addresses:
    """Where arrays lie, as an array of pointers; lives as long as they are used.

    writable: whether they are written to; one that cannot be is a BufferError or a ValueError.
    """

    __slots__ = ("_buffers", "pointers")

    def __init__(self, arrays: Iterable[NDArray[Any]], writable: bool = False) -> None:
        self._buffers = [from_buffer(BYTES, array, writable) for array in arrays]
        self.pointers = ffi.new("void *[]", self._buffers)

    @property
    def address(self) -> int:
        """Where the pointers lie."""
        return address_of(self.pointers)


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
