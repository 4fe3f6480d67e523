"""A stream whose state lives in the core, of any model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from .._frames import Array
from ..model_stream import ModelStream
from ._native_core import Addresses, CoreStream, address_of, fail, ffi, lib

if TYPE_CHECKING:
    from ..model import Model


class CoreModel(Protocol):
    """What has an `lf_model`."""

    handle: Any
    piece: int
    ends: object  # what a step takes and gives, for the short ways

    def stream(self, whole: Any, /) -> NativeSession: ...


class NativeSession(ModelStream, CoreStream):
    """All that a stream does but its steps."""

    __slots__ = ("__weakref__", "_core", "_handle", "_model")

    def __init__(self, model: Model, core: CoreModel) -> None:
        self._model = model
        self._core = core  # the core's stream borrows the core's model
        result = ffi.new("lf_stream **")
        status = lib.lf_stream_create(core.handle, result)
        if status:
            fail(status)
        self._handle = ffi.gc(result[0], lib.lf_stream_destroy)
        self._attach(address_of(self._handle), core.ends)

    def _read_states(self, values: Sequence[Array]) -> None:
        states = Addresses(values, writable=True)
        status = lib.lf_stream_get_states(self._handle, states.pointers)
        if status:
            fail(status)

    def _write_states(self, values: Sequence[Array]) -> None:
        states = Addresses(values)
        status = lib.lf_stream_set_states(self._handle, states.pointers)
        if status:
            fail(status)

    def _restart(self) -> None:
        status = lib.lf_stream_reset(self._handle)
        if status:
            fail(status)

    def _prepare(self) -> None:
        status = lib.lf_stream_prepare(self._handle)
        if status:
            fail(status)

    def copy(self) -> NativeSession:
        twin = self._core.stream(self._model)
        status = lib.lf_stream_copy(twin._handle, self._handle)
        if status:
            fail(status)
        return twin

    copy.__doc__ = ModelStream.copy.__doc__
