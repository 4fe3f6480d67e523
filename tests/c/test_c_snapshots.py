"""Snapshots in C are Python's, byte for byte, and a session moves between the two."""

from __future__ import annotations

import numpy as np
import pytest

from cases import bits, frames_for
from lstm_fast import LSTM, available
from lstm_fast._weights import WEIGHT_DTYPES
from variant_cases import everything

if not available()[0].startswith("native"):
    pytest.skip("no native core here", allow_module_level=True)

from lstm_fast._backends import native
from lstm_fast._native import ffi, lib

SIZES = {"plain": {}, "layers": {"num_layers": 3}, "projected": {"proj_size": 7}}
WIDTHS = {"everything": 7, "as wide": 19}  # of a projection; the last can't be told by the sizes


def lstm_of(kind, dtype):
    if kind in WIDTHS:
        weights = everything(sizes=(11, 19, WIDTHS[kind]))
        return LSTM.from_weights(weights, weight_dtype=dtype, backend="native", keep_weights=True)
    return LSTM.random(5, 19, seed=2, weight_dtype=dtype, backend="native", **SIZES[kind])


class CStream:
    """A stream of the core, of a model with the fingerprint of an LSTM."""

    def __init__(self, lstm, fingerprint):
        model, stream = ffi.new("lf_model **"), ffi.new("lf_stream **")
        weights = lstm.weights
        layers = ffi.new("lf_layer_weights[]", len(weights.layers))
        kept = [native._point_at(*pair) for pair in zip(layers, weights.layers, strict=True)]
        sizes = weights.input_size, weights.hidden_size, lstm.proj_size, len(weights.layers)
        dtype = native.WEIGHT_TYPES[lstm.weight_dtype]
        assert not lib.lf_model_create(*sizes, layers, dtype, ffi.NULL, fingerprint, model)
        del kept
        self.model = ffi.gc(model[0], lib.lf_model_destroy)
        assert not lib.lf_stream_create(self.model, stream)
        self.stream = ffi.gc(stream[0], lib.lf_stream_destroy)

    def snapshot(self):
        result = bytearray(lib.lf_snapshot_bytes(self.model))
        assert not lib.lf_stream_snapshot(self.stream, ffi.from_buffer(result), len(result))
        return bytes(result)

    def restore(self, data):
        return lib.lf_stream_restore(self.stream, ffi.from_buffer(data), len(data))

    def run(self, xs, outputs):
        ys = np.empty((len(xs), outputs), np.float32)
        x, y = (ffi.from_buffer("float[]", array) for array in (xs, ys))
        assert not lib.lf_stream_run_f32(self.stream, x, len(xs), y)
        return ys


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("kind", [*SIZES, *WIDTHS])
def test_a_session_moves_to_c_and_back(kind, dtype):
    lstm = lstm_of(kind, dtype)
    there = CStream(lstm, bytes.fromhex(lstm.fingerprint))
    stream, xs = lstm.stream(), frames_for((lstm.input_size,), "normal", 4, 12)
    stream.run(xs[:4])
    data = stream.snapshot()
    assert there.restore(data) == lib.LF_OK
    assert there.snapshot() == data
    assert bits(there.run(xs[4:8], lstm.output_size)) == bits(stream.run(xs[4:8]))
    back = lstm.stream()
    back.restore(there.snapshot())
    assert bits(back.run(xs[8:])) == bits(stream.run(xs[8:]))
    pool = lstm.pool(1)
    assert pool.snapshot(pool.restore(there.snapshot())) == there.snapshot()


def test_other_weights_are_refused():
    lstm = lstm_of("plain", "float32")
    other = CStream(lstm, bytes(32))
    assert other.restore(lstm.stream().snapshot()) == lib.LF_ERR_WEIGHTS
    with pytest.raises(ValueError, match="other weights"):
        lstm.stream().restore(other.snapshot())


def test_versions_agree():
    import lstm_fast

    assert ffi.string(lib.lf_version()).decode() == lstm_fast.__version__
