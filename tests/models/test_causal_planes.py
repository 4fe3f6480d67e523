"""Convolutions along time and another axis: where they are causal along time, they are streamed."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
from causal_graphs import distance
from program_cases import pool_backends
from program_graphs import (
    graph_model,
    model_of,
    node,
    onnx_file,
    recurrent_weights,
    run,
    session,
    tensors,
)

from lstm_fast import load_model
from lstm_fast.errors import FormatError

__all__ = ["onnx_file"]  # a fixture

RNG = np.random.default_rng(0)
WEIGHTS = {
    name: (RNG.standard_normal(shape) * 0.3).astype(np.float32)
    for name, shape in {"w": (4, 1, 3, 3), "v": (4, 1, 2, 1), "u": (3, 4, 3, 3)}.items()
}
STACK = [  # (frames, bands): plain, depthwise, dilated along time with a stride along bands
    node("Conv", "x w", "a", pads=[2, 1, 0, 1]),
    node("Relu", "a", "b"),
    node("Conv", "b v", "c", pads=[1, 0, 0, 0], group=4),
    node("Conv", "c u", "d", pads=[4, 0, 0, 0], dilations=[2, 1], strides=[1, 2]),
    node("Sigmoid", "d", "y"),
]
FRAMES = RNG.standard_normal((20, 9)).astype(np.float32)


def file_of(onnx_file, nodes=STACK):
    return onnx_file(graph_model(nodes, {"x": [1, 1, "time", 9]}, constants=tensors(**WEIGHTS)))


@pytest.mark.parametrize("backend", pool_backends())
def test_each_frame_is_that_of_the_sequence(backend, onnx_file):
    """Ours and onnxruntime's, within their bounds of float64; the control comes a frame late."""
    path = file_of(onnx_file)
    model = load_model(path, backend=backend)
    assert [one.shape for one in model.states.values()] == [(2, 9), (4, 1, 9), (4, 4, 9)]
    ours = model.stream().run(FRAMES)
    theirs = run(session(path), {"x": FRAMES[None, None]})["y"][0].transpose(1, 0, 2)
    assert ours.shape == theirs.shape == (20, 3, 4)
    assert distance(model.program, FRAMES, ours) <= 1
    assert distance(model.program, FRAMES, theirs, peer=True) <= 1
    assert distance(model.program, FRAMES, np.roll(theirs, 1, axis=0), peer=True) > 1


@pytest.mark.parametrize("backend", pool_backends())
def test_cuts_and_pools_change_no_bit(backend, onnx_file):
    model = load_model(file_of(onnx_file), backend=backend)
    expected, stream, pool = model.stream().run(FRAMES), model.stream(), model.pool(3)
    cut = [stream.run(FRAMES[:7]), stream.step(FRAMES[7])[None], stream.run(FRAMES[8:])]
    assert np.concatenate(cut).tobytes() == expected.tobytes()
    handles = [pool.open() for _ in range(3)]
    rows = pool.run(handles, np.stack([FRAMES, FRAMES[::-1], FRAMES]))
    assert rows[0].tobytes() == rows[2].tobytes() == expected.tobytes() != rows[1].tobytes()


REFUSED = {
    "ahead": ("Conv", [1, 1, 1, 1], r"Conv y.node looks 1 frame into .*F.pad\(x, \(0, 0, 2, 0\)\)"),
    "no padding": ("Conv", [0, 1, 0, 1], r"y.node. \(Conv\): .* has to pad 2 in front"),
    "pooling": ("MaxPool", [2, 1, 0, 1], r"MaxPool y.node works along"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_looks_ahead_or_keeps_nothing_is_refused(case, onnx_file):
    operator, pads, text = REFUSED[case]
    inputs, kernel = ("x w", {}) if operator == "Conv" else ("x", {"kernel_shape": [3, 3]})
    path = file_of(onnx_file, [node(operator, inputs, "y", pads=pads, **kernel)])
    with pytest.raises(FormatError, match=text):
        model_of(path)


POOLS = {
    "max": ("MaxPool", {}),
    "mean": ("AveragePool", {}),
    "dilated": ("MaxPool", {"dilations": [2]}),
}


def pooled(kind, length, stride, attributes):
    """Return a pooling of three behind a padding in front, and an LSTM's last frame behind that."""
    front = 2 * attributes.get("dilations", [1])[0]
    nodes = [
        node("Transpose", "x", "t", perm=[0, 2, 1]),
        node("Pad", "t pads", "p"),
        node(kind, "p", "m", kernel_shape=[3], strides=[stride], **attributes),
        node("Transpose", "m", "s", perm=[2, 0, 1]),
        node("LSTM", "s W R B", "l h c", hidden_size=4),
        node("Squeeze", "h", "y"),
    ]
    constants = [*recurrent_weights(4, 4, 4), *tensors(pads=[0, 0, front, 0, 0, 0])]
    return graph_model(nodes, {"x": [1, length, 4]}, constants=constants)


@pytest.mark.parametrize("length", ["time", 17])
@pytest.mark.parametrize("name", POOLS)
def test_a_pooling_behind_a_padding_is_streamed_without_a_stride(name, length, onnx_file):
    """With one, one frame is as many as its window: the padding's state would hide the stride."""
    (kind, attributes), axis = POOLS[name], {} if length == "time" else {"time_axis": 1}
    path, xs = onnx_file(pooled(kind, length, 1, attributes)), RNG.standard_normal((17, 4))
    xs = xs.astype(np.float32)
    expected = run(session(path), {"x": xs[None]})["y"].ravel()
    assert np.allclose(load_model(path, **axis).stream().run(xs)[-1].ravel(), expected, atol=1e-6)
    path = onnx_file(pooled(kind, length, 2, attributes))
    strided = run(session(path), {"x": xs[None]})["y"].ravel()
    assert not np.allclose(strided, expected, atol=1e-3)
    with pytest.raises(FormatError, match=f"{kind} m.node works along time"):
        load_model(path, **axis)
