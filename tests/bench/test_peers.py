"""Other people's LSTMs compute the same: onnxruntime's operator, and PyTorch where it is installed.

Each is judged by the bound that our own implementations are held to, from float64: theirs are
float32 with sums in orders of their own, which the bound covers, and activations of their own,
whose errors are below PEER_ACTIVATION.
"""

from __future__ import annotations

import numpy as np
import pytest

from cases import frames_for, layers_of, weights_for
from tolerances import PEER_ACTIVATION, step

SHAPES = [(1, 1), (3, 5), (16, 16), (40, 64), (65, 33), (128, 128), (7, 257)]
STEPS = 20


def onnx_order(weight):
    """PyTorch's i, f, g, o to ONNX's i, o, f, c, with the axis of directions in front."""
    i, f, g, o = np.split(weight, 4)
    return np.concatenate([i, o, f, g])[None]


def onnxruntime_lstm(weights, hidden_size):
    """An onnxruntime session of one LSTM operator: X -> Y, Y_h, Y_c."""
    ort = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    helper, f32 = onnx.helper, onnx.TensorProto.FLOAT
    bias = np.concatenate([onnx_order(weights["bias_ih_l0"]), onnx_order(weights["bias_hh_l0"])], 1)
    values = {
        "W": onnx_order(weights["weight_ih_l0"]),
        "R": onnx_order(weights["weight_hh_l0"]),
        "B": bias,
    }
    outputs = ["Y", "Y_h", "Y_c"]
    graph = helper.make_graph(
        [helper.make_node("LSTM", ["X", "W", "R", "B"], outputs, hidden_size=hidden_size)],
        "lstm",
        [helper.make_tensor_value_info("X", f32, ["T", 1, None])],
        [helper.make_tensor_value_info(name, f32, None) for name in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def torch_lstm(weights, hidden_size):
    torch = pytest.importorskip("torch")
    input_size = weights["weight_ih_l0"].shape[1]
    layers = sum("weight_hh" in name for name in weights)
    module = torch.nn.LSTM(input_size, hidden_size, layers)
    module.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return torch, module


def excess(weights, xs, ys, final_c=None):
    """Largest error over its bound of one layer's h along a sequence, and of its final c."""
    (layer,) = layers_of(weights)
    hidden_size = ys.shape[1]
    h = c = h_error = c_error = np.zeros(hidden_size)
    worst = 0.0
    for x, y in zip(xs, ys, strict=True):
        h, c, h_error, c_error = step(x, h, c, layer, 0.0, h_error, c_error)
        h_error, c_error = h_error + PEER_ACTIVATION, c_error + PEER_ACTIVATION * (1 + np.abs(c))
        worst = np.maximum(worst, np.max(np.abs(y - h) / h_error))  # keeps a NaN, unlike max
    if final_c is not None:
        worst = np.maximum(worst, np.max(np.abs(final_c - c) / c_error))
    return worst


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_onnxruntime(implementation, shape):
    weights = weights_for((*shape, 1), "normal", 4)
    xs = frames_for((*shape, 1), "normal", 4, STEPS)
    peer, _, peer_c = onnxruntime_lstm(weights, shape[1]).run(None, {"X": xs[:, None]})
    stream = implementation.from_state_dict(weights).stream()
    ys = stream.run(xs)
    assert excess(weights, xs, peer[:, 0, 0], peer_c[0, 0]) <= 1
    assert excess(weights, xs, ys, stream.state.c[0]) <= 1


def test_onnxruntime_with_gates_in_our_order_differs():
    """Negative control: a port that forgets to permute the gates is far outside the bound."""
    shape = (16, 16)
    weights = weights_for((*shape, 1), "normal", 4)
    xs = frames_for((*shape, 1), "normal", 4, STEPS)
    unpermuted = {
        name: np.concatenate([np.split(w, 4)[k] for k in (0, 2, 3, 1)])
        for name, w in weights.items()
    }
    peer = onnxruntime_lstm(unpermuted, shape[1]).run(["Y"], {"X": xs[:, None]})[0]
    assert excess(weights, xs, peer[:, 0, 0]) > 100


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_torch(implementation, shape, bias):
    weights = weights_for((*shape, 1), "normal", 6)
    xs = frames_for((*shape, 1), "normal", 6, STEPS)
    torch, module = torch_lstm(weights, shape[1])
    if not bias:
        module = torch.nn.LSTM(*shape, bias=False)
        weights = dict(module.state_dict())
    lstm = implementation.from_state_dict(weights)  # torch's tensors as they are
    with torch.no_grad():
        peer, (_, peer_c) = module(torch.from_numpy(xs))
    ours = {name: np.asarray(value) for name, value in weights.items()}
    stream = lstm.stream()
    ys = stream.run(torch.from_numpy(xs))
    assert excess(ours, xs, peer.numpy(), peer_c[0].numpy()) <= 1
    assert excess(ours, xs, ys, stream.state.c[0]) <= 1


def test_torch_cell_and_stack_load_by_their_own_names(implementation):
    torch = pytest.importorskip("torch")
    cell, stack = torch.nn.LSTMCell(5, 9), torch.nn.LSTM(5, 9, 3)
    x = np.linspace(-1, 1, 5, dtype=np.float32)
    with torch.no_grad():
        cell_h, _ = cell(torch.from_numpy(x))
        stack_y, _ = stack(torch.from_numpy(x[None]))
    for module, expected in ((cell, cell_h.numpy()), (stack, stack_y[0].numpy())):
        lstm = implementation.from_state_dict(module.state_dict())
        np.testing.assert_allclose(lstm.stream().step(x), expected, rtol=0, atol=PEER_ACTIVATION)
    assert module.state_dict().keys() == lstm.state_dict().keys()
