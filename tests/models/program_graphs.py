"""Small ONNX models for tests of programs, and onnxruntime as what they are compared with."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from lstm_fast.formats.onnx._program import program_from_onnx
from lstm_fast.model import Model

FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
RNG = np.random.default_rng(22)


def floats(*shape, scale=1.0):
    return (RNG.standard_normal(shape) * scale).astype(np.float32)


def tensors(**values):
    """Return initialisers; whole numbers become int64."""
    arrays = {name: np.asarray(value) for name, value in values.items()}
    return [
        numpy_helper.from_array(
            one.astype(np.int64) if one.dtype.kind == "i" else one.astype(one.dtype), name
        )
        for name, one in arrays.items()
    ]


def node(kind, inputs, outputs, domain="", **attributes):
    """Return a node; inputs and outputs are names with spaces between, "_" for none."""
    names = [["" if one == "_" else one for one in text.split()] for text in (inputs, outputs)]
    return helper.make_node(kind, *names, name=f"{names[1][0]}.node", domain=domain, **attributes)


def info(name, shape=None, kind=FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def graph_model(nodes, inputs, outputs=("y",), constants=(), opset=17, functions=(), infos=()):
    """Return a model; inputs maps names to shapes, or to (shape, type)."""
    given = [
        info(name, *shape)
        if isinstance(shape, tuple) and len(shape) == 2 and isinstance(shape[0], list)
        else info(name, list(shape))
        for name, shape in inputs.items()
    ]
    graph = helper.make_graph(
        nodes, "g", given, [info(name) for name in outputs], list(constants), value_info=infos
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("mine", 1)]
    imports.append(helper.make_opsetid("com.microsoft", 1))
    return helper.make_model(graph, opset_imports=imports, ir_version=8, functions=functions)


@pytest.fixture
def onnx_file(tmp_path):
    """Writes a model and returns its path."""

    def write(model, name="model.onnx"):
        path = tmp_path / name
        path.write_bytes(model.SerializeToString())
        return path

    return write


def session(path):
    """Return an onnxruntime session on one thread."""
    onnxruntime = pytest.importorskip("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run(one, feed):
    """Return the outputs of an onnxruntime session by name."""
    return dict(
        zip([output.name for output in one.get_outputs()], one.run(None, feed), strict=True)
    )


def model_of(path, backend=None, **options):
    return Model.from_program(program_from_onnx(path, **options), backend=backend)


def silero(name):
    """Return a file of the package silero-vad, without importing that."""
    try:
        distribution = metadata.distribution("silero-vad")
    except metadata.PackageNotFoundError:
        pytest.skip("silero-vad is not installed")
    return Path(str(distribution.locate_file(f"silero_vad/data/{name}.onnx")))


def recurrent_weights(gates, inputs, hidden, scale=0.4):
    """Return W, R and B of a recurrent node."""
    return tensors(
        W=floats(1, gates * hidden, inputs, scale=scale),
        R=floats(1, gates * hidden, hidden, scale=scale),
        B=floats(1, 2 * gates * hidden, scale=scale),
    )


def crnn(states, inputs=40, hidden=64, units=96, classes=3):
    """Return what PyTorch writes for Linear, ReLU, two LSTM layers, Linear, softmax.

    states: whether h and c, of both layers, are inputs and outputs; else they start from zeros.
    """
    values = {
        "w1": floats(inputs, hidden, scale=inputs**-0.5),
        "b1": floats(hidden, scale=0.1),
        "w2": floats(units, classes, scale=units**-0.5),
        "b2": floats(classes, scale=0.1),
        "zeros": np.zeros((1, 1, units), np.float32),
        **{f"at{n}": np.array([n]) for n in range(2)},
    }
    for n, size in enumerate((hidden, units)):
        values[f"W{n}"] = floats(1, 4 * units, size, scale=0.1)
        values[f"R{n}"] = floats(1, 4 * units, units, scale=0.1)
        values[f"B{n}"] = floats(1, 8 * units, scale=0.1)
    first = [
        node("MatMul", "x w1", "m1"),
        node("Add", "b1 m1", "a1"),
        node("Relu", "a1", "r1"),
        node("Transpose", "r1", "x0", perm=[1, 0, 2]),
    ]
    nodes = list(first)
    for n in range(2):
        start = "zeros zeros"
        if states:
            nodes += [node("Gather", f"{k} at{n}", f"{k}0_{n}", axis=0) for k in ("h", "c")]
            start = f"h0_{n} c0_{n}"
        made = f"y{n} hn_{n} cn_{n}"
        nodes.append(node("LSTM", f"x{n} W{n} R{n} B{n} _ {start}", made, hidden_size=units))
        nodes.append(node("Squeeze", f"y{n} at1", f"x{n + 1}"))
    nodes += [
        node("Transpose", "x2", "t", perm=[1, 0, 2]),
        node("MatMul", "t w2", "m2"),
        node("Add", "m2 b2", "a2"),
        node("Softmax", "a2", "y", axis=-1),
    ]
    given, outputs = {"x": ["batch", "time", inputs]}, ["y"]
    if states:
        nodes += [node("Concat", f"{k}n_0 {k}n_1", f"{k}n", axis=0) for k in ("h", "c")]
        given |= {"h": [2, "batch", units], "c": [2, "batch", units]}
        outputs += ["hn", "cn"]
    return graph_model(nodes, given, outputs, tensors(**values)), values
