"""Small ONNX models with the inputs and outputs that people's models have."""

from __future__ import annotations

import numpy as np
import pytest


def recurrent(
    frame,
    states,
    *,
    rows="rows",
    x="input",
    y="output",
    shape=None,
    wrong=(),
    size=None,
    last=False,
    gain=None,
    units=None,
):
    """Return a model, as bytes, whose states are tanh(W x + s / 2), and whose output is their sum.

    Args:
        frame: the shape of one frame as it is declared.
        states: name of each state's input, to the name of its output and its shape.
        rows: the first axis of x, a name or a number.
        x, y: their names.
        shape: of y, as it is declared; None is (rows, 1).
        wrong: names of states whose output is declared without a shape.
        size: the values in a frame; None is what frame holds.
        last: whether x is the last input.
        units: of each state, where its shape does not say it.
        gain: the shape of an input of that name, which multiplies the output.
    """
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper, kind = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT
    size, rng = size or int(np.prod(frame)), np.random.default_rng(0)
    width = shape[-1] if shape else 1
    weights = {"flat": np.array([-1, size])}
    nodes, parts = [helper.make_node("Reshape", [x, "flat"], ["values"])], []
    for name, (output, sizes) in states.items():
        hidden = units or sizes[-1]
        weights[f"w_{name}"] = rng.standard_normal((size, hidden)).astype(np.float32) / 8
        weights[f"v_{name}"] = rng.standard_normal((hidden, width)).astype(np.float32)
        weights[f"u_{name}"] = np.eye(hidden, dtype=np.float32) / 2
        weights[f"flat_{name}"] = np.array([-1, hidden])
        nodes += [
            helper.make_node("MatMul", ["values", f"w_{name}"], [f"a_{name}"]),
            helper.make_node("MatMul", [name, f"u_{name}"], [f"b_{name}"]),
            helper.make_node("Add", [f"a_{name}", f"b_{name}"], [f"s_{name}"]),
            helper.make_node("Tanh", [f"s_{name}"], [output]),
            helper.make_node("Slice", [output, "zero", "one", "zero"], [f"first_{name}"])
            if len(sizes) == 3
            else helper.make_node("Identity", [output], [f"first_{name}"]),
            helper.make_node("Reshape", [f"first_{name}", f"flat_{name}"], [f"rows_{name}"]),
            helper.make_node("MatMul", [f"rows_{name}", f"v_{name}"], [f"sum_{name}"]),
        ]
        parts.append(f"sum_{name}")
    weights |= {"zero": np.array([0]), "one": np.array([1])}
    weights["y_shape"] = np.array([-1, *[1] * (len(shape or (0, 0)) - 2), width])
    nodes.append(helper.make_node("Sum", parts, ["total"]))
    if gain:
        nodes += [helper.make_node("Mul", ["total", "gain"], ["scaled"])]
    nodes.append(helper.make_node("Reshape", ["scaled" if gain else "total", "y_shape"], [y]))
    info = helper.make_tensor_value_info
    inputs = [info(x, kind, [rows, *frame])]
    inputs += [info(name, kind, sizes) for name, (_, sizes) in states.items()]
    inputs += [info("gain", kind, gain)] if gain else []
    outputs = [info(y, kind, shape or [rows, 1])]
    outputs += [
        info(output, kind, None if name in wrong else sizes)
        for name, (output, sizes) in states.items()
    ]
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in weights.items()]
    graph = helper.make_graph(
        nodes, "recurrent", inputs[1:] + inputs[:1] if last else inputs, outputs, tensors
    )
    return _model(onnx, graph)


def ten_vad():
    """Return a model with the inputs and outputs of TEN VAD: every free axis has its own name."""
    numbers = (2, 3, 6, 7)
    states = {f"input_{n}": (f"output_{n}", [f"unk__{n}", 64]) for n in numbers}
    return recurrent((3, 41), states, rows="unk__1", x="input_1", y="output_1", shape=["a", 1, 1])


def sequence(lstm, with_states):
    """Return an LSTM over one whole sequence (T, I), as bytes, with its states outside or not."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    (layer,), hidden = lstm.weights.layers, lstm.hidden_size

    def iofc(array):
        i, f, g, o = np.split(array, 4)
        return np.concatenate([i, o, f, g])[None].astype(np.float32)

    weights = {
        "W": iofc(layer.weight_ih),
        "R": iofc(layer.weight_hh),
        "B": np.concatenate([iofc(layer.bias_ih), iofc(layer.bias_hh)], axis=1),
        "rows": np.array([1]),
        "y_shape": np.array([-1, hidden]),
    }
    states = ["h", "c"] if with_states else ["", ""]
    nodes = [
        helper.make_node("Unsqueeze", ["x", "rows"], ["xs"]),
        helper.make_node(
            "LSTM", ["xs", "W", "R", "B", "", *states], ["ys", "hn", "cn"], hidden_size=hidden
        ),
        helper.make_node("Reshape", ["ys", "y_shape"], ["y"]),
    ]
    info, one = helper.make_tensor_value_info, [1, 1, hidden]
    inputs = [info("x", kind, ["time", lstm.input_size])]
    outputs = [info("y", kind, ["time", hidden])]
    if with_states:
        inputs += [info(name, kind, one) for name in states]
        outputs += [info(f"{name}n", kind, one) for name in states]
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    return _model(onnx, helper.make_graph(nodes, "sequence", inputs, outputs, tensors))


def _model(onnx, graph):
    opsets = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
