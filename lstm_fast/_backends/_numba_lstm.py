"""LSTMs on the Numba backend: packs weights and calls the kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._arrays import FLOAT32, Float32, canonical
from .._frames import Array
from .._process import handles_signals
from .._weights import MATRICES, LayerWeights, Weights
from ..cell import Cell
from ..errors import ConcurrentUseError, ForkedError, LstmFastError
from ..model_stream import FORKED as WAS_FORKED
from ..model_stream import IN_USE
from ..stream import Stream
from ._numba_flags import FORKED, new_flags
from ._numba_intrinsics import CHAINED, LANES
from ._numba_kernels import FLOATS, HIDDEN_SCALE, OVERLAP, copy_state, ffi, kernel
from ._numba_packing import addresses_of, aligned, blocks_of, by_gate, stored_as, whole_of
from ._numba_pieces import piece_steps, run_in_pieces
from ._pool_of_streams import PooledStream, PoolOfLSTMStreams

if TYPE_CHECKING:
    from ..lstm import LSTM

from_buffer, ndarray = ffi.from_buffer, np.ndarray  # looked up twice in each step


def _numbers(cell: Cell) -> Float32:
    """Return the numbers of a cell: alpha and beta of its functions, clips, epsilon."""
    parameters = [(f.alpha or 0, f.beta or 0) for f in cell.activations]
    bounds = [cell.clip or 0, cell.cell_clip or 0, cell.proj_clip or 0]
    return np.array([*chain(*parameters), *bounds, cell.layer_norm_eps], np.float32)


def _append(parts: Mapping[str, NDArray[Any]], to: list[NDArray[Any]]) -> dict[str, int]:
    """Append arrays to a list that will be one array, and return where in it each begins."""
    places = {}
    for name, part in parts.items():
        places[name] = sum(map(len, to))
        to.append(part)
    return places


def _initial(weights: Weights) -> Float32:
    """Return what a stream starts from: h (L, P), then c (L, H), in one row."""
    zeros = np.zeros(weights.output_size, np.float32), np.zeros(weights.hidden_size, np.float32)
    h = [zeros[0] if layer.h_0 is None else layer.h_0 for layer in weights.layers]
    c = [zeros[1] if layer.c_0 is None else layer.c_0 for layer in weights.layers]
    return canonical(np.concatenate(h + c))


class NumbaModel:
    """The weights as the kernels want them."""

    isa = None
    kernel: Any

    def __init__(self, weights: Weights, weight_dtype: str) -> None:
        self.weight_dtype = weight_dtype
        self.whole = np.int32 if weight_dtype == "int8" else np.float32  # of operands and sums
        self.inputs, self.layers = weights.input_size, len(weights.layers)
        self.units, self.outputs = weights.hidden_size, weights.output_size
        self.padded = whole_of(self.units, LANES)
        self.initial = _initial(weights)
        self.floats: Float32
        self.weights: NDArray[Any]
        self._pack(weights)
        self.weights = aligned(self.weights)
        self.nbytes = self.floats.nbytes + self.weights.nbytes
        self.piece = piece_steps(self.nbytes)

    def _pack(self, weights: Weights) -> None:
        """Choose the kernel and set what it reads, wherever that lies."""
        self.kernel = kernel(self.weight_dtype)
        packed = [self._layer(layer) for layer in weights.layers]
        self.floats = np.concatenate([floats for floats, _ in packed])
        self.weights = np.concatenate([blocks for _, blocks in packed])

    def _layer(self, layer: LayerWeights) -> tuple[Float32, NDArray[Any]]:
        """Return the bias and the scales, and the weights, of one layer."""
        rows, blocks = [layer.bias], []
        for matrix, fixed in ((layer.weight_ih, np.float32(1)), (layer.weight_hh, HIDDEN_SCALE)):
            stored, scale = stored_as(matrix, self.weight_dtype)
            blocks.append(blocks_of(by_gate(stored, self.padded)))
            if scale is not None:
                rows.append(scale * fixed)
        return np.concatenate([by_gate(row, self.padded) for row in rows]), np.concatenate(blocks)

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """Return what the kernel wants for a new stream, in its order: see there."""
        return (
            self.floats,
            np.array([self.inputs, self.units, self.layers, self.padded], np.int64),
            self.initial.copy(),
            aligned(np.zeros((1 + self.layers, 4, self.padded), self.whole)),
            np.zeros(self.inputs + self.units + 2 * CHAINED, self.whole),
            new_flags(),
        )

    def stream(self, lstm: LSTM) -> NumbaStream:
        return NumbaStream(lstm, self)

    def pool(self, lstm: LSTM, capacity: int, prepared: int, threads: int) -> PoolOfLSTMStreams:
        return PoolOfLSTMStreams(lstm, capacity, prepared)


class VariantModel(NumbaModel):
    """Weights of cells that are not all plain, with a table of what each layer has."""

    def _pack(self, weights: Weights) -> None:
        from . import _numba_variants as variants  # compiled when it is first needed

        self.kernel = variants.kernel(self.weight_dtype)
        self.padded_out = whole_of(self.outputs, LANES)
        table: list[list[int]] = []
        floats: list[Float32] = []
        matrices: list[NDArray[Any]] = []
        x_is_bounded = weights.x_is_bounded
        for layer in weights.layers:
            gate, g, output = (variants.FUNCTIONS.index(f.name) for f in layer.cell.activations)
            entries = {"gate": gate, "input": g, "output": output, "bounded": layer.is_bounded}
            entries["x_bounded"], x_is_bounded = x_is_bounded, layer.is_bounded
            entries["coupled"] = (None, "input", "forget").index(layer.cell.coupled)
            blocks, scales = self._matrices(layer)
            parts = {"numbers": _numbers(layer.cell)} | self._vectors(layer) | scales
            entries |= _append(parts, floats) | _append(blocks, matrices)
            table.append([entries.get(column, -1) for column in variants.COLUMNS])
        self.table = np.array(table, np.int64)
        self.floats, self.weights = np.concatenate(floats), np.concatenate(matrices)

    def _vectors(self, layer: LayerWeights) -> dict[str, Float32]:
        """Return the parameters that are not matrices and the same for every weight_dtype."""
        vectors = {"bias": by_gate(layer.bias, self.padded)}
        if layer.peephole is not None:
            i, f, o = layer.peephole.reshape(3, -1)
            vectors["peephole"] = by_gate(np.concatenate([i, f, 0 * i, o]), self.padded)
        if layer.layer_norm is not None:
            vectors["layer_norm"] = by_gate(layer.layer_norm, self.padded)
        if layer.weight_hr is not None:
            bias = np.zeros(self.outputs, np.float32) if layer.bias_hr is None else layer.bias_hr
            vectors["bias_hr"] = by_gate(bias, self.padded_out, 1)
        return vectors

    def _matrices(self, layer: LayerWeights) -> tuple[dict[str, NDArray[Any]], dict[str, Float32]]:
        """Return the matrices as they are stored, and their scales for int8."""
        blocks: dict[str, NDArray[Any]] = {}
        scales: dict[str, Float32] = {}
        for kind in MATRICES:
            matrix: Float32 | None = getattr(layer, kind)
            if matrix is None:
                continue
            stored, scale = stored_as(matrix, self.weight_dtype)
            padded, gates = (self.padded_out, 1) if kind == "weight_hr" else (self.padded, 4)
            blocks[kind] = blocks_of(by_gate(stored, padded, gates))
            if scale is not None:
                fixed = HIDDEN_SCALE if kind == "weight_hh" and layer.is_bounded else np.float32(1)
                scales[kind.replace("weight", "scale")] = by_gate(scale * fixed, padded, gates)
        return blocks, scales

    def arrays(self) -> tuple[NDArray[Any], ...]:
        sizes = (self.inputs, self.outputs, self.units, self.layers, self.padded, self.padded_out)
        groups = (whole_of(count, CHAINED) for count in (self.inputs, self.outputs, self.units))
        rows = 4 * self.padded
        return (
            self.floats,
            np.array([*sizes, len(self.floats)], np.int64),
            self.initial.copy(),
            aligned(np.zeros((1 + self.layers) * rows + self.padded_out, self.whole)),
            np.zeros(sum(groups), self.whole),
            new_flags(),
            self.table,
            np.zeros(rows + self.padded + 16, np.float32),
        )


def packed(weights: Weights, weight_dtype: str) -> NumbaModel:
    """Pack the weights as the kernels read them."""
    plain = weights.is_plain and not (weights.x_is_bounded and weight_dtype == "int8")
    return (NumbaModel if plain else VariantModel)(weights, weight_dtype)


def _address(pointer: Any) -> int:
    return int(ffi.cast("uintptr_t", pointer))


def _refusal(status: int) -> LstmFastError:
    return ForkedError(WAS_FORKED) if status == FORKED else ConcurrentUseError(IN_USE)


class NumbaStream(Stream, PooledStream):
    """A stream that calls a kernel."""

    __slots__ = (
        "__weakref__",
        "_addresses",
        "_core",
        "_flags",
        "_h_and_c",
        "_kept",
        "_model",
        "_state",
        "_step",
        "_weights",
        "_x_shape",
        "_y_shape",
    )

    def __init__(self, lstm: LSTM, core: NumbaModel) -> None:
        self._model = lstm
        arrays = core.arrays()
        addresses = addresses_of(arrays)
        self._kept = (*arrays, addresses)
        self._core, self._state = core, arrays[2]
        self._weights = ffi.cast("void *", core.weights.ctypes.data)
        self._addresses = ffi.cast("void *", addresses.ctypes.data)
        self._h_and_c = ffi.cast("float *", arrays[2].ctypes.data)
        self._flags = ffi.cast("void *", arrays[5].ctypes.data)
        self._step = core.kernel
        self._x_shape, self._y_shape = (core.inputs,), (core.outputs,)

    def step(self, x: Any, out: Any = None) -> Float32:
        # As in native.py: what needs no conversion takes the short way.
        if (
            type(x) is ndarray
            and x.dtype is FLOAT32
            and x.shape == self._x_shape
            and type(out) is ndarray
            and out.dtype is FLOAT32
            and out.shape == self._y_shape
        ):
            try:
                x_pointer, y_pointer = from_buffer(FLOATS, x), from_buffer(FLOATS, out, True)
            except (ValueError, BufferError):
                pass  # strided or read-only
            else:
                status = self._step(self._weights, self._addresses, x_pointer, y_pointer, 1)
                if not status:
                    return out
                if status != OVERLAP:
                    raise _refusal(status)
        return super().step(x, out)

    step.__doc__ = Stream.step.__doc__

    def _advance(self, frames: Sequence[Array], steps: int, results: Sequence[Array]) -> None:
        (xs,), (ys,) = frames, results
        x_pointer, y_pointer = from_buffer(FLOATS, xs), from_buffer(FLOATS, ys, True)
        if steps > self._core.piece and handles_signals():
            status = run_in_pieces(
                _address(self._step),
                _address(self._weights),
                self._kept[-1],
                (_address(x_pointer), xs[0].nbytes, steps),
                (_address(y_pointer), ys[0].nbytes),
                self._state,
                self._core.piece,
            )
        else:
            status = self._step(self._weights, self._addresses, x_pointer, y_pointer, steps)
        if status:
            raise _refusal(status)

    def _prepare(self) -> None:
        status = self._step(self._weights, self._addresses, ffi.NULL, ffi.NULL, -1)
        if status:
            raise _refusal(status)

    def _restart(self) -> None:
        self._put_back(self._core.initial.copy())

    def _read_states(self, values: Sequence[Array]) -> None:
        both = np.empty(sum(value.size for value in values), np.float32)
        pointer = from_buffer(FLOATS, both, True)
        status = copy_state(self._h_and_c, pointer, both.size, False, self._flags)
        if status:
            raise _refusal(status)
        for value, part in zip(values, np.split(both, [values[0].size]), strict=True):
            value[...] = part.reshape(value.shape)

    def _write_states(self, values: Sequence[Array]) -> None:
        self._put_back(canonical(np.concatenate([value.ravel() for value in values])))

    def _keep(self) -> Float32:
        copied: Float32 = self._state.copy()
        return copied

    def _put_back(self, kept: Float32) -> None:
        pointer = from_buffer(FLOATS, kept, True)
        status = copy_state(pointer, self._h_and_c, kept.size, True, self._flags)
        if status:
            raise _refusal(status)
