"""The C core behind cffi."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._arrays import Float32
from .._frames import Array
from .._process import handles_signals
from .._weights import LayerWeights, Weights
from ..cell import ACTIVATIONS, Activation, Cell
from ..stream import Stream
from ._native_core import (
    FLOATS,
    WEIGHT_TYPES,
    address_of,
    fail,
    ffi,
    from_buffer,
    lib,
    short_ways,
    text_of,
)
from ._native_pool import NativePool
from ._native_stream import NativeSession

if TYPE_CHECKING:
    from .._weight_types import Types
    from ..lstm import LSTM
    from ..program import Program
    from ._native_model import NativeProgram

name = "native"

COUPLINGS = {
    None: lib.LF_UNCOUPLED,
    "input": lib.LF_FORGET_FROM_INPUT,
    "forget": lib.LF_INPUT_FROM_FORGET,
}
NATIVE_ACTIVATIONS = frozenset(ACTIVATIONS) - {"softplus"}  # LF_<NAME> in the core


def isas() -> dict[str, list[str]]:
    """Return what each ISA that was built in lacks here, best first."""
    return {text_of(lib.lf_isa_name(i)): _missing(i) for i in range(lib.lf_isa_count())}


def _missing(index: int) -> list[str]:
    features: list[str] = []
    while pointer := lib.lf_isa_missing(index, len(features)):
        features.append(text_of(pointer))
    return features


def probe_read(isa: str, values: Float32) -> None:
    """Read values once, in the order of their addresses, as the kernels of that ISA do."""
    result = ffi.new("float *")
    status = lib.lf_probe_read(isa.encode(), from_buffer(FLOATS, values), values.size, result)
    if status:
        fail(status)


def probe_fma(isa: str, turns: int) -> int:
    """Do that many rounds of independent fmas; return how many single ones that were."""
    fmas = ffi.new("size_t *")
    status = lib.lf_probe_fma(isa.encode(), turns, fmas)
    if status:
        fail(status)
    return int(fmas[0])


def build(weights: Weights, isa: str | None, weight_dtype: str) -> NativeModel:
    """Pack the weights for that ISA, None for the best."""
    return NativeModel(weights, isa, weight_dtype)


def build_program(program: Program, data: bytes, types: Types, isa: str | None) -> NativeProgram:
    """Pack the constants of a program for that ISA, None for the best.

    Raises:
        CannotComputeError: it has something that is not in the core.
    """
    from ._native_model import NativeProgram

    return NativeProgram(program, data, types, isa)


def lacks(weights: Weights) -> str:
    """Return the first activation that is not in the core, or nothing."""
    names = {one.name for layer in weights.layers for one in layer.cell.activations}
    return ", ".join(sorted(names - NATIVE_ACTIVATIONS))


class NativeModel:
    """An `lf_model` and what Python needs to know of it."""

    def __init__(self, weights: Weights, isa: str | None, weight_dtype: str) -> None:
        layers = ffi.new("lf_layer_weights[]", len(weights.layers))
        kept = [
            _point_at(target, layer) for target, layer in zip(layers, weights.layers, strict=True)
        ]
        layers[0].x_is_bounded = weights.x_is_bounded
        result = ffi.new("lf_model **")
        status = lib.lf_model_create(
            weights.input_size,
            weights.hidden_size,
            0 if weights.layers[0].weight_hr is None else weights.output_size,
            len(weights.layers),
            layers,
            WEIGHT_TYPES[weight_dtype],
            ffi.NULL if isa is None else isa.encode(),
            ffi.NULL,  # Python writes and reads snapshots itself
            result,
        )
        del kept  # the core has packed what it needs
        if status:
            fail(status)
        self.handle = ffi.gc(result[0], lib.lf_model_destroy)
        self.isa = text_of(lib.lf_model_isa(self.handle))
        self.nbytes = int(lib.lf_model_packed_bytes(self.handle))
        self.piece: int = short_ways.piece_steps(address_of(self.handle))
        sizes = weights.input_size, weights.output_size
        self.ends = short_ways.ends(*(((None, "float32", (size,)),) for size in sizes))

    def stream(self, lstm: LSTM) -> NativeStream:
        return NativeStream(lstm, self)

    def pool(self, lstm: LSTM, capacity: int, prepared: int, threads: int) -> NativePool:
        return NativePool(lstm, self, capacity, prepared, threads)


def _point_at(target: Any, layer: LayerWeights) -> list[Any]:
    """Fill in one lf_layer_weights; the result must outlive its use."""
    kept = []
    for name, value in layer.parameters().items():
        buffer = from_buffer(FLOATS, value)
        setattr(target, name, buffer)
        kept.append(buffer)
    target.cell = options = ffi.new("lf_cell_options *", _options(layer.cell))
    return [*kept, options]


def _options(cell: Cell) -> dict[str, Any]:
    """Return the fields of an lf_cell_options."""
    gate, g, output = map(_function, cell.activations)
    return {
        "gate": gate,
        "input": g,
        "output": output,
        "clip": cell.clip or 0.0,
        "cell_clip": cell.cell_clip or 0.0,
        "proj_clip": cell.proj_clip or 0.0,
        "coupling": COUPLINGS[cell.coupled],
        "layer_norm_epsilon": cell.layer_norm_eps,
    }


def _function(activation: Activation) -> dict[str, Any]:
    return {
        "name": getattr(lib, f"LF_{activation.name.upper()}"),
        "alpha": activation.alpha or 0.0,
        "beta": activation.beta or 0.0,
    }


class NativeStream(NativeSession, Stream):
    """A stream of an LSTM whose state lives in the core."""

    __slots__ = ()

    # `install`, below this class, puts a method in C in this place. It steps float32 arrays without
    # a detour through Python, and calls `Stream.step` with whatever else it is given. Where NumPy's
    # arrays are not laid out as the extension was built for, this one stays.
    step = Stream.step

    def _advance(self, frames: Sequence[Array], steps: int, results: Sequence[Array]) -> None:
        x, y = from_buffer(FLOATS, frames[0]), from_buffer(FLOATS, results[0], True)
        if steps > self._core.piece and handles_signals():
            status = short_ways.stream_run(
                address_of(self._handle), address_of(x), steps, address_of(y)
            )
        else:
            status = lib.lf_stream_run_f32(self._handle, x, steps, y)
        if status:
            fail(status)


short_ways.install(Stream, NativeStream)  # sets NativeStream.step, see there
