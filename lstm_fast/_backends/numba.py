"""The contract in Numba: for where no binary can be built. Packs weights and calls the kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._arrays import FLOAT32, Float32, LSTMState, canonical
from .._weights import LayerWeights, Weights
from ..errors import ConcurrentUseError
from ..stream import IN_USE, Stream
from ._numba_intrinsics import CHAINED, LANES
from ._numba_kernels import BUSY, FLOATS, HIDDEN_SCALE, copy_state, ffi, steps
from ._pool_of_streams import PoolOfStreams

if TYPE_CHECKING:
    from ..lstm import LSTM

name = "numba"
from_buffer = ffi.from_buffer


def isas() -> dict[str, list[str]]:
    """Return nothing: LLVM compiles for the CPU that it finds."""
    return {}


def build(weights: Weights, isa: str | None, weight_dtype: str) -> NumbaModel:
    """Pack the weights as the kernels read them."""
    return NumbaModel(weights, weight_dtype)


def _by_gate(values: NDArray[Any], padded: int) -> NDArray[Any]:
    """Pad rows (4H, ...) so that each gate has `padded` of them."""
    gates = values.reshape(4, -1, *values.shape[1:])
    result = np.zeros((4, padded, *values.shape[1:]), values.dtype)
    result[:, : gates.shape[1]] = gates
    return result.reshape(4 * padded, *values.shape[1:])


def _blocks(weight: NDArray[Any], padded: int) -> NDArray[Any]:
    """Put a matrix (4H, K) into the order of `add_half`."""
    columns = _by_gate(weight, padded).T  # (K, rows)
    whole = len(columns) - len(columns) % CHAINED
    grouped = columns[:whole].reshape(-1, CHAINED, 4 * padded // LANES, LANES).transpose(0, 2, 1, 3)
    return np.concatenate([grouped.ravel(), columns[whole:].ravel()])


def _quantised(weight: Float32) -> tuple[NDArray[np.int8], Float32]:
    """Round as LF_INT8 in csrc/lstm_fast.h says; columns padded to whole groups of four."""
    largest = np.abs(weight).max(axis=1)
    scale = np.where(largest < np.float32(2.0**-100), np.float32(0), largest / np.float32(127))
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(scale[:, None] == 0, np.float32(0), np.rint(weight / scale[:, None]))
    padded = np.zeros((len(weight), -(-weight.shape[1] // CHAINED) * CHAINED), np.int8)
    padded[:, : weight.shape[1]] = values
    return padded, scale


class NumbaModel:
    """The weights as the kernels want them."""

    isa = None

    def __init__(self, weights: Weights, weight_dtype: str) -> None:
        self.weight_dtype = weight_dtype
        self.padded = -(-weights.hidden_size // LANES) * LANES
        packed = [self._layer(layer) for layer in weights.layers]
        self.floats = np.concatenate([floats for floats, _ in packed])
        self.weights = np.concatenate([blocks for _, blocks in packed])
        self.nbytes = self.floats.nbytes + self.weights.nbytes

    def _layer(self, layer: LayerWeights) -> tuple[Float32, NDArray[Any]]:
        """Return the bias and the scales, and the weights, of one layer."""
        bias = np.zeros(len(layer.weight_hh), np.float32)
        if layer.bias_ih is not None and layer.bias_hh is not None:
            bias = layer.bias_ih + layer.bias_hh
        rows: list[Float32] = [bias]
        matrices: list[NDArray[Any]] = [layer.weight_ih, layer.weight_hh]
        if self.weight_dtype == "float16":
            matrices = [w.astype(np.float16).view(np.uint16) for w in matrices]
        elif self.weight_dtype == "int8":
            (q_ih, scale_ih), (q_hh, scale_hh) = map(_quantised, matrices)
            matrices = [q_ih, q_hh]
            rows += [scale_ih, scale_hh * HIDDEN_SCALE]
        floats = np.concatenate([_by_gate(row, self.padded) for row in rows])
        return floats, np.concatenate([_blocks(matrix, self.padded) for matrix in matrices])

    def stream(self, lstm: LSTM) -> NumbaStream:
        return NumbaStream(lstm, self)

    def pool(self, lstm: LSTM, capacity: int, prepared: int, threads: int) -> PoolOfStreams:
        return PoolOfStreams(lstm, capacity, prepared)


class NumbaStream(Stream):
    """A stream that calls a kernel."""

    __slots__ = (
        "_addresses",
        "_flags",
        "_h_and_c",
        "_kept",
        "_step",
        "_weights",
        "_x_shape",
        "_y_shape",
    )

    def __init__(self, lstm: LSTM, model: NumbaModel) -> None:
        super().__init__(lstm)
        inputs, units, layers = lstm.input_size, lstm.hidden_size, lstm.num_layers
        whole = np.int32 if model.weight_dtype == "int8" else np.float32
        arrays = (  # in the order that the kernels want
            model.floats,
            np.array([inputs, units, layers, model.padded], np.int64),
            np.zeros((2, layers, units), np.float32),
            np.zeros((1 + layers, 4, model.padded), whole),
            np.zeros(inputs + units + 2 * CHAINED, whole),
            np.zeros(2, np.int64),
        )
        addresses = np.array([array.ctypes.data for array in arrays], np.int64)
        self._kept = (*arrays, model, addresses)  # the kernel has their addresses
        self._weights = ffi.cast("void *", model.weights.ctypes.data)
        self._addresses = ffi.cast("void *", addresses.ctypes.data)
        self._h_and_c = ffi.cast("float *", arrays[2].ctypes.data)
        self._flags = ffi.cast("void *", arrays[5].ctypes.data)
        self._step = steps[model.weight_dtype]
        self._x_shape, self._y_shape = (inputs,), (units,)

    def step(self, x: Any, out: Float32 | None = None) -> Float32:
        # As in native.py: what needs no conversion takes the short way.
        if (
            type(x) is np.ndarray
            and x.dtype is FLOAT32
            and x.shape == self._x_shape
            and type(out) is np.ndarray
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
                if status == BUSY:
                    raise ConcurrentUseError(IN_USE)
        return super().step(x, out)

    step.__doc__ = Stream.step.__doc__

    def _advance(self, xs: Float32, ys: Float32) -> None:
        x_pointer, y_pointer = from_buffer(FLOATS, xs), from_buffer(FLOATS, ys, True)
        if self._step(self._weights, self._addresses, x_pointer, y_pointer, len(xs)):
            raise ConcurrentUseError(IN_USE)

    def _prepare(self) -> None:
        if self._step(self._weights, self._addresses, ffi.NULL, ffi.NULL, -1):
            raise ConcurrentUseError(IN_USE)

    def _read_state(self, state: LSTMState) -> None:
        both = np.empty((2, *state.h.shape), np.float32)
        pointer = from_buffer(FLOATS, both, True)
        if copy_state(self._h_and_c, pointer, both.size, False, self._flags):
            raise ConcurrentUseError(IN_USE)
        state.h[:], state.c[:] = both

    def _write_state(self, state: LSTMState) -> None:
        both = canonical(np.stack(state))
        pointer = from_buffer(FLOATS, both, True)
        if copy_state(pointer, self._h_and_c, both.size, True, self._flags):
            raise ConcurrentUseError(IN_USE)
