"""Small ONNX models made by hand, and what the reader makes of them."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from lstm_fast.formats import read

INPUTS, H = 3, 2
FLOAT = TensorProto.FLOAT
RNG = np.random.default_rng(0)
W = RNG.uniform(-1, 1, (1, 4 * H, INPUTS)).astype(np.float32)
R = RNG.uniform(-1, 1, (1, 4 * H, H)).astype(np.float32)
B = RNG.uniform(-1, 1, (1, 8 * H)).astype(np.float32)


def tensor(name, value):
    return numpy_helper.from_array(np.asarray(value), name)


def ints(name, *values):
    return tensor(name, np.array(values, np.int64))


def value(name, shape=None):
    return helper.make_tensor_value_info(name, FLOAT, shape)


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs, outputs, outputs[0] + ".node", **attributes)


def lstm(inputs=("x", "W", "R", "B"), outputs=("y",), **attributes):
    return helper.make_node("LSTM", inputs, outputs, "lstm", **{"hidden_size": H, **attributes})


def model(nodes, tensors, outputs=("y",), inputs=("x",), opset=14, **options):
    graph = helper.make_graph(
        nodes, "g", [value(n) for n in inputs], [value(n) for n in outputs], tensors
    )
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("mine", 1)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, **options)


PLAIN = [tensor("W", W), tensor("R", R), tensor("B", B)]


@pytest.fixture
def found(tmp_path):
    """Writes a model and reads it."""

    def write_and_read(one):
        path = tmp_path / "model.onnx"
        path.write_bytes(one.SerializeToString())
        return read(path)

    return write_and_read


@pytest.fixture
def plain(found):
    (one,) = found(model([lstm()], PLAIN))
    return one.weights.state_dict()


def same(one, other):
    return set(one) == set(other) and all(np.array_equal(one[k], other[k]) for k in one)
