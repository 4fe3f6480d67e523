"""Whole models in the C core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._frames import Tensors, Values
from .._handles import Handles
from .._process import handles_signals
from .._program_checks import given_tensors, returned_tensors
from ..model_pool import ModelPool
from ..model_stream import ModelStream
from ..program import Program
from ._native_core import (
    WEIGHT_TYPES,
    Addresses,
    address_of,
    fail,
    ffi,
    from_buffer,
    lib,
    short_ways,
    text_of,
)
from ._native_pool import HANDLES, SIZES, NativeSessions, fail_at
from ._native_stream import NativeSession
from ._refusals import CannotComputeError

if TYPE_CHECKING:
    from .._weight_types import Types
    from ..model import Model

Array = NDArray[Any]


class NativeProgram:
    """An `lf_model` that was made of a program."""

    def __init__(self, program: Program, data: bytes, types: Types, isa: str | None) -> None:
        result = ffi.new("lf_model **")
        status = lib.lf_model_load_as(
            from_buffer(data),
            len(data),
            ffi.new("lf_weight_type[]", [WEIGHT_TYPES[type_] for type_ in types]),
            len(types),
            ffi.NULL if isa is None else isa.encode(),
            result,
        )
        if status == lib.LF_ERR_UNSUPPORTED:
            raise CannotComputeError(f"way to do this: {text_of(lib.lf_status_text(status))}")
        if status:
            fail(status)
        self.program = program
        self.handle = ffi.gc(result[0], lib.lf_model_destroy)
        self.isa = text_of(lib.lf_model_isa(self.handle))
        self.nbytes = int(lib.lf_model_packed_bytes(self.handle))
        self.piece: int = short_ways.piece_steps(address_of(self.handle))
        self.ends = short_ways.ends(
            _described(given_tensors(program)), _described(returned_tensors(program))
        )

    def stream(self, whole: Model) -> NativeModelStream:
        return NativeModelStream(whole, self)

    def pool(self, whole: Model, capacity: int, prepared: int, threads: int) -> NativeModelPool:
        return NativeModelPool(whole, self, capacity, prepared, threads)


def _described(tensors: Tensors) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    return tuple((name, one.kind, one.shape) for name, one in tensors.items())


def fail_in_a_step(status: int, program: Program, frames: Sequence[Array]) -> None:
    """Raise the error of a status that a step or a run has returned."""
    if status == lib.LF_ERR_INDEX:
        raise ValueError(which_index(program, frames))
    if status:
        fail(status)


def which_index(program: Program, frames: Sequence[Array]) -> str:
    """Say which index is beyond an embedding's table, where it is one of those that were given."""
    given = {one.tensor: frame for one, frame in zip(program.inputs, frames, strict=True)}
    for op in program.ops:
        if op.code != "embedding" or op.inputs[1] not in given:
            continue
        rows = len(program.constants[op.inputs[0]])
        indices = given[op.inputs[1]]
        wrong = indices[(indices < -rows) | (indices >= rows)]
        if wrong.size:
            return f"the index {wrong.flat[0]} is not within the {rows} rows of an embedding"
    return (
        "an index that a step has computed is not within the rows of an embedding; where it comes "
        "of a value that is not a number, reset the stream"
    )


class NativeModelStream(NativeSession):
    """A stream of a whole model."""

    __slots__ = ()

    _core: NativeProgram

    step = ModelStream.step  # replaced by `install` below, as that of `NativeStream`

    def _advance(self, frames: Sequence[Array], steps: int, results: Sequence[Array]) -> None:
        inputs, outputs = Addresses(frames), Addresses(results, writable=True)
        if steps > self._core.piece and handles_signals():
            status = short_ways.stream_run_values(
                address_of(self._handle), inputs.address, steps, outputs.address
            )
        else:
            status = lib.lf_stream_run(self._handle, inputs.pointers, steps, outputs.pointers)
        fail_in_a_step(status, self._core.program, frames)


short_ways.install(ModelStream, NativeModelStream)  # sets NativeModelStream.step, see there


class NativeModelPool(NativeSessions):
    """A pool of a whole model's sessions."""

    __slots__ = ()

    _core: NativeProgram

    def step(self, handles: Handles | Sequence[int], xs: Any, out: Any = None) -> Values:
        ys: Values | None = short_ways.pool_step(self._address, self._ends, handles, xs, out)
        return super().step(handles, xs, out) if ys is None else ys

    step.__doc__ = ModelPool.step.__doc__

    def _run(
        self,
        handles: Handles,
        steps: int,
        lengths: NDArray[np.uint64] | None,
        frames: Sequence[Array],
        results: Sequence[Array],
    ) -> None:
        count = len(handles)
        keys = from_buffer(HANDLES, handles)
        own = ffi.NULL if lengths is None else from_buffer(SIZES, lengths)
        inputs, outputs = Addresses(frames), Addresses(results, writable=True)
        if steps > 1 and count * steps > self._core.piece and handles_signals():
            status, at = short_ways.pool_run_values(
                *(self._address, address_of(keys), count, steps, address_of(own)),
                *(inputs.address, outputs.address),
            )
        else:
            bad = ffi.new("size_t *")
            ends = inputs.pointers, outputs.pointers
            status = lib.lf_pool_run(self._handle, keys, count, steps, own, *ends, bad)
            at = bad[0]
        if status == lib.LF_ERR_INDEX:
            raise ValueError(which_index(self._core.program, frames))
        if status:
            fail_at(status, handles, at)
