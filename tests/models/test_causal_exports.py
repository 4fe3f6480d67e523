"""Causal models as PyTorch's exporters write them, with a free and with a fixed time axis."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
from causal_graphs import distance
from program_graphs import floats, graph_model, node, onnx_file, run, session, tensors

from lstm_fast import load_model

__all__ = ["onnx_file"]  # a fixture


def net(torch):
    """Return a TCN with weight normalisation and residuals, an LSTM, a GRU, Linear and softmax."""
    nn, pad = torch.nn, torch.nn.functional.pad

    class Block(nn.Module):
        def __init__(self, channels, dilation):
            super().__init__()
            self.cut = 2 * dilation
            conv = nn.Conv1d(channels, 8, 3, padding=self.cut, dilation=dilation)
            self.conv, self.skip = (
                nn.utils.parametrizations.weight_norm(conv),
                nn.Conv1d(channels, 8, 1),
            )

        def forward(self, x):
            y = torch.relu(self.conv(x)[:, :, : -self.cut])
            return torch.relu(y + self.skip(x))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = nn.Conv1d(6, 6, 3, groups=6), nn.BatchNorm1d(6)
            self.blocks = nn.Sequential(Block(6, 1), Block(8, 2))
            self.lstm = nn.LSTM(8, 7, batch_first=True)
            self.gru, self.last = nn.GRU(7, 5), nn.Linear(5, 3)

        def forward(self, x):
            y = self.norm(self.first(pad(x.transpose(1, 2), (2, 0))))
            y, _ = self.lstm(self.blocks(y).transpose(1, 2))
            y, _ = self.gru(y.transpose(0, 1))
            return torch.softmax(self.last(y.transpose(0, 1)), -1)

    torch.manual_seed(0)
    one = Net().eval()
    one.norm.running_mean.uniform_(-1, 1)
    one.norm.running_var.uniform_(0.5, 2)
    return one


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("is_free", [True, False])
def test_what_pytorch_exports(is_free, tmp_path):
    torch = pytest.importorskip("torch")
    path, axes = tmp_path / "net.onnx", {"x": {0: "batch", 1: "time"}} if is_free else None
    names = {"input_names": ["x"], "output_names": ["y"]}
    given = (torch.randn(1, 24, 6),)
    torch.onnx.export(net(torch), given, path, dynamic_axes=axes, dynamo=False, **names)
    xs = floats(24, 6)
    model = load_model(path, time_axis=None if is_free else 1)
    (expected,) = run(session(path), {"x": xs[None]}).values()
    assert [name.rpartition(".")[2] for name in model.states] == ["history"] * 3 + ["h", "c", "h"]
    assert distance(model.program, xs, model.stream().run(xs)) <= 1
    assert distance(model.program, xs, expected[0], peer=True) <= 1


def dynamo(length):
    """Return what PyTorch's other exporter writes for convolution, LSTM and Linear.

    Sizes come from Shape with a start and an end, shapes are joined, states expanded from a
    number; where the length is fixed, all of that is in the file.
    """
    rng = np.random.default_rng(4)

    def draw(*shape):
        return (rng.standard_normal(shape) * 0.4).astype(np.float32)

    values = {
        "k": draw(4, 4, 3),
        "b": draw(4),
        "pads": [0, 0, 4, 0, 0, 0],
        "zero": np.float32(0),
        "w": draw(5, 3),
        "o": draw(3),
        "one": [1],
        "five": [5],
        "four": [4],
        "axis": [1],
        "minus": [-1],
    }
    nodes = [
        node("Transpose", "x", "t", perm=[0, 2, 1]),
        node("Pad", "t pads zero", "p", mode="constant"),
        node(
            "Conv",
            "p k b",
            "z",
            auto_pad="NOTSET",
            dilations=[2],
            group=1,
            kernel_shape=[3],
            pads=[0, 0],
            strides=[1],
        ),
        node("Relu", "z", "r"),
        node("Transpose", "r", "c", perm=[2, 0, 1]),
    ]
    if length is None:
        nodes += [
            node("Shape", "x", "batch", start=0, end=1),
            node("Shape", "x", "time", start=1, end=2),
            node("Concat", "one batch five", "size", axis=0),
            node("Concat", "batch time five", "rows", axis=0),
        ]
    else:
        values |= {"size": [1, 1, 5], "rows": [1, length, 5], "batch": [1], "time": [length]}
    nodes += [
        node("Expand", "zero size", "h0"),
        node("LSTM", "c W R B _ h0 h0", "l hn cn", hidden_size=5),
        node("Squeeze", "l axis", "s"),
        node("Transpose", "s", "u", perm=[1, 0, 2]),
        node("Reshape", "u rows", "v", allowzero=1),
        node("MatMul", "v w", "m"),
        node("Add", "m o", "y"),
    ]
    weights = tensors(W=draw(1, 20, 4), R=draw(1, 20, 5), B=draw(1, 40))
    given = {"x": ["batch", "time", 4] if length is None else [1, length, 4]}
    return graph_model(nodes, given, constants=[*tensors(**values), *weights], opset=18)


@pytest.mark.parametrize("length", [None, 24])
def test_what_the_other_exporter_writes(length, onnx_file):
    path, xs = onnx_file(dynamo(length)), floats(24, 4)
    model = load_model(path, time_axis=None if length is None else 1)
    (expected,) = run(session(path), {"x": xs[None]}).values()
    assert list(model.states) == ["p.node.history", "l.node.h", "l.node.c"]
    assert distance(model.program, xs, model.stream().run(xs)) <= 1
    assert distance(model.program, xs, expected[0], peer=True) <= 1
