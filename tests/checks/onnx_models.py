"""Small ONNX models with the inputs and outputs that people's models have."""

from __future__ import annotations

import numpy as np
import pytest


def recurrent(frame, states, *, rows="rows", x="input", y="output", shape=None, wrong=()):
    """Return a model, as bytes, whose states are s = tanh(W x + s / 2), and whose output is a sum.

    Args:
        frame: the shape of one frame.
        states: name of each state's input, to the name of its output and its shape.
        rows: the first axis of x, a name or a number.
        x, y: their names.
        shape: of y, as it is declared; None is (rows, 1).
        wrong: names of states whose output is declared without a shape.
    """
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper, kind = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
    size, rng = int(np.prod(frame)), np.random.default_rng(0)
    nodes = [helper.make_node("Reshape", [x, "flat"], ["values"])]
    weights = {"flat": np.array([-1, size]), "half": np.float32([0.5]), "last": np.array([-1])}
    parts = []
    for name, (output, sizes) in states.items():
        weights[f"w_{name}"] = rng.standard_normal((size, sizes[-1])).astype(np.float32) / 8
        nodes += [
            helper.make_node("MatMul", ["values", f"w_{name}"], [f"a_{name}"]),
            helper.make_node("Mul", [name, "half"], [f"b_{name}"]),
            helper.make_node("Add", [f"a_{name}", f"b_{name}"], [f"s_{name}"]),
            helper.make_node("Tanh", [f"s_{name}"], [output]),
            helper.make_node("ReduceSum", [output, "last"], [f"sum_{name}"], keepdims=1),
        ]
        parts.append(f"sum_{name}")
    nodes.append(helper.make_node("Sum", parts, ["total"]))
    weights["y_shape"] = np.array([-1, *[1] * (len(shape or (0, 0)) - 1)])
    nodes.append(helper.make_node("Reshape", ["total", "y_shape"], [y]))
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [
            info(x, kind, [rows, *frame]),
            *(info(name, kind, sizes) for name, (_, sizes) in states.items()),
        ],
        [
            info(y, kind, shape or [rows, 1]),
            *(
                info(output, kind, None if name in wrong else sizes)
                for name, (output, sizes) in states.items()
            ),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def ten_vad():
    """Return a model with the inputs and outputs of TEN VAD: every free axis has its own name."""
    numbers = (2, 3, 6, 7)
    states = {f"input_{n}": (f"output_{n}", [f"unk__{n}", 64]) for n in numbers}
    return recurrent((3, 41), states, rows="unk__1", x="input_1", y="output_1", shape=["a", 1, 1])
