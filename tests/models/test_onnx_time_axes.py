"""A free time axis is taken as one frame only where no node works along it."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from program_graphs import floats, graph_model, model_of, node, onnx_file, tensors  # noqa: E402

from lstm_fast.errors import FormatError  # noqa: E402

__all__ = ["onnx_file"]  # a fixture


def sliced(step):
    start, end = (2**31, -(2**31)) if step < 0 else (0, 2**31)
    at = {"start": [start], "end": [end], "axis": [1], "step": [step]}
    return [node("Slice", "x start end axis step", "y")], at


TURNED = node("Transpose", "x", "t", perm=[0, 2, 1])
MIXED = {
    "reversed": (*sliced(-1), 17),
    "every second": (*sliced(2), 17),
    "constant in front": (
        [node("Concat", "zeros x", "p", axis=1), node("Relu", "p", "y")],
        {"zeros": floats(1, 2, 4)},
        17,
    ),
    "joined with itself": ([node("Concat", "x x", "y", axis=1)], {}, 17),
    "tiled": ([node("Tile", "x n", "y")], {"n": [1, 2, 1]}, 17),
    "expanded": ([node("Expand", "x n", "y")], {"n": [1, 3, 4]}, 17),
    "gathered twice": ([node("Gather", "x n", "y", axis=1)], {"n": [0, 0]}, 17),
    "strided product": (
        [TURNED, node("Conv", "t k", "y", strides=[2])],
        {"k": floats(3, 4, 1)},
        17,
    ),
    "softmax over all": ([node("Softmax", "x", "y", axis=1)], {}, 11),
    "normalised": (
        [node("LayerNormalization", "x scale", "y", axis=1)],
        {"scale": np.ones((1, 4), np.float32)},
        17,
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_what_works_along_it_is_an_error(name, onnx_file):
    nodes, constants, opset = MIXED[name]
    given = {"x": ["batch", "time", 4]}
    path = onnx_file(graph_model(nodes, given, constants=tensors(**constants), opset=opset))
    with pytest.raises(FormatError, match="works along an axis of one value"):
        model_of(path)
    assert model_of(path, shapes={"x": (1, 1, 4)}).inputs["x"].shape == (4,)


ALONE = {
    "a slice of channels": (
        [node("Slice", "x start end axis", "y")],
        {"start": [1], "end": [3], "axis": [2]},
        17,
    ),
    "channels of a constant": ([node("Concat", "zeros x", "y", axis=2)], {"zeros": [[[0.0]]]}, 17),
    "softmax": ([node("Softmax", "x", "y", axis=2)], {}, 11),
    "normalised": ([node("LayerNormalization", "x scale", "y")], {"scale": floats(4)}, 17),
    "product": ([TURNED, node("Conv", "t k", "y")], {"k": floats(3, 4, 1)}, 17),
}


@pytest.mark.parametrize("name", ALONE)
def test_what_takes_each_frame_alone_loads(name, onnx_file):
    nodes, constants, opset = ALONE[name]
    constants = {
        k: np.asarray(v, np.float32 if k == "zeros" else None) for k, v in constants.items()
    }
    given = {"x": ["batch", "time", 4]}
    path = onnx_file(graph_model(nodes, given, constants=tensors(**constants), opset=opset))
    assert model_of(path).inputs["x"].shape == (4,)


def test_a_state_may_be_joined_with_a_frame(onnx_file):
    """The last frame, which a convolution takes with the next."""
    nodes = [
        node("Concat", "cache x", "both", axis=1),
        node("Slice", "both one end one", "cache_out"),
        node("Transpose", "both", "t", perm=[0, 2, 1]),
        node("Conv", "t k", "y"),
    ]
    constants = tensors(one=[1], end=[9], k=floats(3, 4, 2))
    given = {"x": ["batch", "time", 4], "cache": [1, 1, 4]}
    model = model_of(onnx_file(graph_model(nodes, given, ("y", "cache_out"), constants)))
    assert list(model.states) == ["cache"]
