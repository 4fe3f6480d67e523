"""time_axis= makes one frame of a graph that is made for a fixed number of frames."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
from causal_graphs import Chain, distance, streamed, whole
from program_graphs import (
    floats,
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

T = 20
K = {"k": floats(4, 4, 3)}
TURN, BACK = (
    node("Transpose", before, after, perm=[0, 2, 1]) for before, after in (("x", "t"), ("z", "y"))
)
CONV = node("Conv", "t k", "z", pads=[2, 0])


def causal(nodes, before="z"):
    """Return nodes behind a causal convolution, whose result c is (1, T, 4)."""
    return [TURN, CONV, node("Transpose", before, "c", perm=[0, 2, 1]), *nodes]


# What exporters write where the length is fixed: the nodes behind c, and their constants.
BAKED = {
    "a shape": (
        [
            node("Reshape", "c rows", "r"),
            node("Gemm", "r w b", "g"),
            node("Reshape", "g back", "y"),
        ],
        {"rows": [T, 4], "w": floats(4, 5), "b": floats(5), "back": [1, T, 5]},
    ),
    "a shape with zeros and -1": (
        [
            node("Reshape", "c groups", "r"),
            node("Softmax", "r", "s"),
            node("Reshape", "s back", "y"),
        ],
        {"groups": [0, T, 2, -1], "back": [1, -1, 4]},
    ),
    "an end of a slice": (
        [node("Slice", "c start end one", "s"), node("Relu", "s", "y")],
        {"start": [0], "end": [T], "one": [1]},
    ),
    "a repeated row": (
        [
            node("Expand", "row shape", "r"),
            node("Concat", "c r", "j", axis=2),
            node("Relu", "j", "y"),
        ],
        {"row": floats(1, 1, 3), "shape": [1, T, 3]},
    ),
    "a repeated row that is added": (
        [node("Add", "c rows", "s"), node("Relu", "s", "y")],
        {"rows": np.repeat(floats(1, 1, 4), T, 1)},
    ),
    "a repeated bias": (
        [node("Reshape", "c rows", "r"), node("Gemm", "r w b", "y")],
        {"rows": [T, 4], "w": floats(4, 5), "b": np.repeat(floats(1, 5), T, 0)},
    ),
    "a repeated norm": (
        [
            node("ReduceL2", "c", "n", axes=[2], keepdims=1),
            node("Expand", "n shape", "e"),
            node("Div", "c e", "y"),
        ],
        {"shape": [1, T, 4]},
    ),
    "axes of size 1 are squeezed": (
        [node("Squeeze", "c", "s"), node("Unsqueeze", "s zero", "y")],
        {"zero": [0]},
    ),
    "frames and values in one": (
        [node("Flatten", "c", "f"), node("Tanh", "f", "h"), node("Reshape", "h back", "y")],
        {"back": [1, T, 4]},
    ),
    "an LSTM from zeros": (
        [
            node("Transpose", "c", "s", perm=[1, 0, 2]),
            node("Expand", "zero shape", "h"),
            node("LSTM", "s W R B lengths h h", "l", hidden_size=4),
            node("Reshape", "l back", "y"),
        ],
        {
            "zero": np.zeros((1, 1, 1), np.float32),
            "shape": [1, 1, 4],
            "lengths": np.array([T], np.int32),
            "back": [1, T, 4],
        },
    ),
    "each frame convolved": (
        [
            node("Reshape", "c apart", "a"),
            node("Conv", "a f", "d", pads=[1, 1]),
            node("Reshape", "d back", "y"),
        ],
        {"apart": [T, 1, 4], "f": floats(3, 1, 3), "back": [1, T, 12]},
    ),
}


def fixed(nodes, constants, outputs=("y",), length=T):
    weights = recurrent_weights(4, 4, 4)
    values = [*tensors(**{**K, **constants}), *weights]
    for one in values:
        if one.name == "lengths":
            one.data_type, one.raw_data = 6, np.int32([T]).tobytes()
    return graph_model(nodes, {"x": [1, length, 4]}, outputs, values)


@pytest.mark.parametrize("name", BAKED)
def test_what_is_made_for_a_length_takes_one_frame(name, onnx_file):
    nodes, constants = BAKED[name]
    path, xs = onnx_file(fixed(causal(nodes), constants)), floats(T, 4)
    (expected,) = run(session(path), {"x": xs[None]}).values()
    ys = streamed(path, xs, time_axis=1)
    assert np.allclose(ys, expected.reshape(ys.shape), atol=1e-5)
    model = load_model(path, time_axis={"x": -2})
    assert "z.node.history" in model.states
    text = "input x: axis 1 is time, and a step takes one of the 20 frames of the file"
    assert text in model.notes
    if name != "each frame convolved":  # which is a batch
        assert load_model(path).inputs["x"].shape == (T, 4)  # where nothing is said


@pytest.mark.parametrize("name", ["last", "first of padding"])
def test_what_is_taken_at_a_place(name, onnx_file):
    """The last frame, by its number; and the last of a padding that stands in front."""
    if name == "last":
        nodes = causal([node("Gather", "c at", "y", axis=1)])
        constants = {"at": np.array(T - 1)}
    else:
        nodes = [node("Pad", "x pads", "p"), node("Slice", "p one end one", "y")]
        constants = {"pads": [0, 2, 0, 0, 0, 0], "one": [1], "end": [T + 1]}
    path, xs = onnx_file(fixed(nodes, constants)), floats(T, 4)
    (expected,) = run(session(path), {"x": xs[None]}).values()
    ys = streamed(path, xs, time_axis=1)
    assert np.allclose(ys[-1:] if name == "last" else ys, expected.reshape(-1, 4), atol=1e-5)


REFUSED = {
    "a table of places": (
        [node("Add", "c table", "y")],
        {"table": floats(1, T, 4)},
        r"node 'y.node' \(Add\): it has other numbers for each of 20 frames. That is with",
    ),
    "a table that is joined": (
        [node("Concat", "c table", "y", axis=2)],
        {"table": floats(1, T, 4)},
        "Concat.: it has other numbers for each of 20 frames",
    ),
    "a product of frames": (
        [node("MatMul", "w c", "y")],
        {"w": floats(T, T)},
        "node 'y.node' .MatMul.: weights of shape .* That is with one frame instead of the 20",
    ),
    "chunks": (
        [node("Reshape", "c chunks", "y")],
        {"chunks": [1, 5, 4, 4]},
        "Reshape.: it puts frames in another order",
    ),
    "frames and values turned": (
        [node("Reshape", "c turned", "y")],
        {"turned": [1, 4, T]},
        "Reshape y.node puts frames in another order|it puts frames in another order",
    ),
    "the first frame": (
        [node("Gather", "c at", "y", axis=1)],
        {"at": np.array(0)},
        "Gather.: it takes frames by where they stand",
    ),
    "half of them": (
        [node("Slice", "c zero half one", "y")],
        {"zero": [0], "half": [T // 2], "one": [1]},
        "Slice.: it takes frames by where they stand",
    ),
    "two halves": (
        [node("Split", "c sizes", "y u", axis=1)],
        {"sizes": [T // 2, T // 2]},
        "Split.: it takes frames by where they stand",
    ),
    "every second": (
        [node("Slice", "c zero end one two", "y")],
        {"zero": [0], "end": [T], "one": [1], "two": [2]},
        "Slice",
    ),
    "less the last": (
        [node("Gather", "c at", "g", axis=1), node("Sub", "c g", "y")],
        {"at": [T - 1]},
        "node Gather g.node is in each frame of the result, and changes with the last one",
    ),
    "a mean": ([node("ReduceMean", "c", "y", axes=[1])], {}, "ReduceMean y.node works along"),
    "a repetition": ([node("Tile", "c n", "y")], {"n": [1, 2, 1]}, "Tile"),
    "the last state for all": (
        [
            node("Transpose", "c", "s", perm=[1, 0, 2]),
            node("LSTM", "s W R B", "l last", hidden_size=4),
            node("Expand", "last shape", "e"),
            node("Transpose", "e", "f", perm=[1, 0, 2]),
            node("Add", "c f", "y"),
        ],
        {"shape": [T, 1, 4]},
        "Add.*|Expand.*",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_the_same_for_each_frame_is_refused(name, onnx_file):
    nodes, constants, text = REFUSED[name]
    path = onnx_file(fixed(causal(nodes), constants))
    with pytest.raises(FormatError, match=text) as error:
        model_of(path, time_axis=1)
    assert "time_axis=" in str(error.value) or "is time, and node" in str(error.value)


@pytest.mark.parametrize("length", [None, 24])
def test_time_may_come_first(length, onnx_file):
    """(T, 1, I), as an LSTM has it."""
    nodes = [node("LSTM", "x W R B", "l", hidden_size=4), node("Squeeze", "l one", "y")]
    constants = [*recurrent_weights(4, 4, 4), *tensors(one=[1])]
    path = onnx_file(graph_model(nodes, {"x": [length or "T", 1, 4]}, constants=constants))
    xs = floats(24, 4)
    expected = run(session(path), {"x": xs[:, None]})["y"]
    assert np.allclose(streamed(path, xs, time_axis=0), expected.reshape(24, 4), atol=1e-5)


def test_a_free_axis_may_be_said_too(onnx_file):
    """Then it is the same program, and must take several frames."""
    chain = Chain(np.random.default_rng(2), 4, turned=True).conv(3, 3)
    path = onnx_file(chain.model())
    assert load_model(path, time_axis={"x": 1}).fingerprint == load_model(path).fingerprint
    with pytest.raises(FormatError, match="time_axis says 3 of input 'x', which has 3 axes"):
        load_model(path, time_axis=3)
    only = [node("Reshape", "x shape", "f"), node("Relu", "f", "y")]
    path = onnx_file(graph_model(only, {"x": ["b", "t", 4]}, constants=tensors(shape=[1, 4])))
    assert load_model(path).inputs["x"].shape == (4,)
    with pytest.raises(FormatError, match="an axis of time, but the graph does not take several"):
        load_model(path, time_axis=1)


def test_a_length_that_shapes_says(onnx_file):
    """The caller pins what the file leaves free; one frame is taken of so many."""
    nodes, constants = BAKED["a shape"]
    one = fixed(causal(nodes), constants, length="t")
    path, xs = onnx_file(one), floats(T, 4)
    with pytest.raises(FormatError, match=r"shape \(1, 1, 4\) does not fit into \(20, 4\)"):
        load_model(path)
    ys = streamed(path, xs, shapes={"x": (1, T, 4)}, time_axis=1)
    (expected,) = run(session(path), {"x": xs[None]}).values()
    assert np.allclose(ys, expected[0], atol=1e-5)


def test_two_inputs_of_frames_are_said_both(onnx_file):
    nodes = [TURN, CONV, node("Transpose", "z", "c", perm=[0, 2, 1]), node("Mul", "c gate", "y")]
    given = {"x": [1, T, 4], "gate": [1, T, 1]}
    path = onnx_file(graph_model(nodes, given, constants=tensors(**K)))
    with pytest.raises(FormatError, match=r"time_axis=1 is for a model with one input, .* x, gate"):
        load_model(path, time_axis=1)
    with pytest.raises(FormatError, match="Mul"):
        load_model(path, time_axis={"x": 1})
    model = load_model(path, time_axis={"x": 1, "gate": 1})
    xs, gates = floats(T, 4), floats(T, 1)
    (expected,) = run(session(path), {"x": xs[None], "gate": gates[None]}).values()
    stream = model.stream()
    ys = [stream.step({"x": x, "gate": gate}) for x, gate in zip(xs, gates, strict=True)]
    assert np.allclose(ys, expected[0], atol=1e-5)
    longer = {"x": [1, T, 4], "gate": [1, 2 * T, 1]}
    path = onnx_file(graph_model(nodes[:3], longer, ("c",), tensors(**K)))
    assert load_model(path, time_axis={"x": 1}).inputs["x"].shape == (4,)
    with pytest.raises(FormatError, match="have 20 and 40 frames in the file"):
        load_model(path, time_axis={"x": 1, "gate": 1})


def test_what_is_fixed_to_one_frame_stays(onnx_file):
    """Nothing shows whether frames come one by one, but the caller, who may say so."""
    path = onnx_file(graph_model([TURN, CONV, BACK], {"x": [1, 1, 4]}, constants=tensors(**K)))
    assert not load_model(path).states
    model, xs = load_model(path, time_axis=1), floats(9, 4)
    whole_path = onnx_file(
        graph_model([TURN, CONV, BACK], {"x": [1, 9, 4]}, constants=tensors(**K)), "whole.onnx"
    )
    assert np.allclose(model.stream().run(xs), whole(whole_path, xs), atol=1e-5)


WRONG = [
    ({"time_axis": "1"}, TypeError, "time_axis is a whole number"),
    ({"time_axis": 1.0}, TypeError, "time_axis is a whole number"),
    ({"time_axis": True}, TypeError, "time_axis is a whole number"),
    ({"time_axis": {"x": "1"}}, TypeError, "time_axis is a whole number"),
    ({"time_axis": [1]}, TypeError, "time_axis is a whole number"),
    ({"time_axis": {1: 1}}, TypeError, "time_axis maps names"),
    ({"time_axis": {"z": 1}}, FormatError, "time_axis names z, which is no input"),
    ({"time_axis": 3}, FormatError, "time_axis says 3 of input 'x', which has 3 axes"),
    ({"time_axis": -4}, FormatError, "time_axis says -4"),
]


@pytest.mark.parametrize(("options", "error", "text"), WRONG)
def test_wrong_axes(options, error, text, onnx_file):
    path = onnx_file(graph_model([TURN, CONV, BACK], {"x": [1, 9, 4]}, constants=tensors(**K)))
    with pytest.raises(error, match=text):
        load_model(path, **options)
    assert load_model(path, time_axis=np.int64(1)).inputs["x"].shape == (4,)


# ---- PyTorch's exporters -------------------------------------------------------------------------


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
