"""A pool whose sessions live in the core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .._arguments import to_count
from .._arrays import Float32
from .._frames import Array
from .._handles import HANDLE_LIMIT, Handles, forked, in_use, repeated, stale, to_handle
from .._process import handles_signals
from ..errors import PoolFullError
from ..model_pool import ModelPool
from ..pool import StreamPool
from ._native_core import FLOATS, Addresses, address_of, fail, ffi, from_buffer, lib, short_ways
from ._native_stream import CoreModel

if TYPE_CHECKING:
    from ..model import Model

HANDLES = ffi.typeof("unsigned long long[]")
SIZES = ffi.typeof("size_t[]")


class NativeSessions(ModelPool):
    """All that a pool does but its steps."""

    __slots__ = ("__weakref__", "_address", "_core", "_ends", "_handle", "_model")

    def __init__(
        self, model: Model, core: CoreModel, capacity: int, prepared: int, threads: int
    ) -> None:
        self._model = model
        self._core = core  # the core's pool borrows the core's model
        result = ffi.new("lf_pool **")
        status = lib.lf_pool_create(core.handle, capacity, prepared, threads, result)
        if status:
            fail(status)
        self._handle = ffi.gc(result[0], lib.lf_pool_destroy)
        self._address = address_of(self._handle)
        self._ends = core.ends

    @property
    def capacity(self) -> int:
        return int(lib.lf_pool_capacity(self._handle))

    @property
    def nbytes(self) -> int:
        return int(lib.lf_pool_bytes(self._handle))

    def __len__(self) -> int:
        return int(lib.lf_pool_open_count(self._handle))

    def handles(self) -> Handles:
        while True:  # once more where it has grown in between
            result = np.empty(self.capacity, np.uint64)
            target = from_buffer(HANDLES, result, True)
            count = int(lib.lf_pool_handles(self._handle, target, result.size))
            if count <= result.size:
                return np.array(result[:count])

    def grow(self, n: int) -> None:
        more = to_count(n, "n", 0)
        to_count(self.capacity + more, "the capacity", 1)
        status = lib.lf_pool_grow(self._handle, more)
        if status:
            fail_session(status)

    def close(self, handle: int) -> None:
        key = to_handle(handle)
        status = lib.lf_pool_close(self._handle, key)
        if status:
            fail_session(status, key)

    def __contains__(self, handle: object) -> bool:
        if not isinstance(handle, (int, np.integer)) or not 0 < handle < HANDLE_LIMIT:
            return False
        return bool(lib.lf_pool_is_open(self._handle, int(handle)))

    def _read_states(self, handle: int, values: Sequence[Array]) -> None:
        states = Addresses(values, writable=True)
        status = lib.lf_pool_get_states(self._handle, handle, states.pointers)
        if status:
            fail_session(status, handle)

    def _write_states(self, handle: int, values: Sequence[Array]) -> None:
        states = Addresses(values)
        status = lib.lf_pool_set_states(self._handle, handle, states.pointers)
        if status:
            fail_session(status, handle)

    def _restart(self, handle: int) -> None:
        status = lib.lf_pool_reset(self._handle, handle)
        if status:
            fail_session(status, handle)

    def _open(self, opened: Handles) -> None:
        status = lib.lf_pool_open(self._handle, from_buffer(HANDLES, opened, True))
        if status == lib.LF_ERR_FULL:
            raise PoolFullError(
                f"all {self.capacity} sessions of this pool are open: close one, or grow(n) it"
            )
        if status:
            fail_session(status)

    def _prepare(self, handles: Handles) -> int:
        bad, ready = ffi.new("size_t *"), ffi.new("size_t *")
        status = lib.lf_pool_prepare(
            self._handle, from_buffer(HANDLES, handles), len(handles), ready, bad
        )
        if status:
            fail_at(status, handles, bad[0])
        return int(ready[0])


class NativePool(NativeSessions, StreamPool):
    """A pool of an LSTM's sessions."""

    __slots__ = ()

    def step(self, handles: Handles | Sequence[int], xs: Any, out: Any = None) -> Float32:
        ys: Float32 | None = short_ways.pool_step(self._address, self._ends, handles, xs, out)
        return super().step(handles, xs, out) if ys is None else ys

    step.__doc__ = StreamPool.step.__doc__

    def _run(
        self,
        handles: Handles,
        steps: int,
        lengths: NDArray[np.uint64] | None,
        frames: Sequence[Array],
        results: Sequence[Array],
    ) -> None:
        n = len(handles)
        keys = from_buffer(HANDLES, handles)
        own = ffi.NULL if lengths is None else from_buffer(SIZES, lengths)
        x, y = from_buffer(FLOATS, frames[0]), from_buffer(FLOATS, results[0], True)
        if steps > 1 and n * steps > self._core.piece and handles_signals():
            memory = map(address_of, (own, x, y))
            status, at = short_ways.pool_run(self._address, address_of(keys), n, steps, *memory)
        else:
            bad = ffi.new("size_t *")
            status = lib.lf_pool_run_f32(self._handle, keys, n, steps, own, x, y, bad)
            at = bad[0]
        if status:
            fail_at(status, handles, at)


def fail_session(status: int, handle: int | None = None, at: int | None = None) -> NoReturn:
    if status == lib.LF_ERR_BUSY:
        raise in_use(handle, at)
    if status == lib.LF_ERR_FORKED:
        raise forked(handle, at)
    if status == lib.LF_ERR_HANDLE and handle is not None:
        raise stale(handle, at)
    fail(status)


def fail_at(status: int, handles: Handles, at: int) -> NoReturn:
    if status == lib.LF_ERR_REPEATED:
        raise repeated(handles, at)
    fail_session(status, int(handles[at]) if at < len(handles) else None, at)
