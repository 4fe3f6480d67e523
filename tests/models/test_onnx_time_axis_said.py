"""time_axis= makes one frame of a graph that is made for a fixed number of frames."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
from causal_graphs import Chain, streamed, whole
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
        "Gather.: it takes frames by their place",
    ),
    "half of them": (
        [node("Slice", "c zero half one", "y")],
        {"zero": [0], "half": [T // 2], "one": [1]},
        "Slice.: it takes frames by their place",
    ),
    "two halves": (
        [node("Split", "c sizes", "y u", axis=1)],
        {"sizes": [T // 2, T // 2]},
        "Split.: it takes frames by their place",
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


SOME = {  # every so many frames: the last among them, which is where one frame looks like all
    "every second": ([node("Slice", "x zero end one step", "s")], 17, 2),
    "every third": ([node("Slice", "x zero end one step", "s")], 16, 3),
    "every second result": (
        [node("Tanh", "x", "t"), node("Slice", "t zero end one step", "s")],
        17,
        2,
    ),
    "backwards": ([node("Slice", "x far near one back", "s")], 17, -1),
    "by number": ([node("Gather", "x every", "s", axis=1)], 17, 2),
    "halves of frames, less the first": (
        [node("Reshape", "x halves", "q"), node("Slice", "q one end one", "s")],
        17,
        1,
    ),
}
ENDS = {
    "all": [node("Tanh", "s", "y")],
    "the last": [node("Gather", "s last", "y", axis=1)],
    "the last of an LSTM": [
        node("Transpose", "s", "r", perm=[1, 0, 2]),
        node("LSTM", "r W R B", "l h c", hidden_size=4),
        node("Squeeze", "h", "y"),
    ],
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("name", SOME)
def test_some_of_the_frames_are_not_one_a_step(name, end, onnx_file):
    """One frame is the last of every so many, too, and would be taken in each step."""
    nodes, length, step = SOME[name]
    constants = tensors(
        **{"zero": [0], "end": [2**31 - 1], "one": [1], "step": [step], "last": np.array(-1)},
        **{"far": [length - 1], "near": [-length - 1], "back": [-1]},
        **{"halves": [1, 2 * length, 2], "every": np.arange(0, length, max(step, 1))},
    )
    weights = recurrent_weights(4, 2 if "halves" in name else 4, 4)
    path = onnx_file(
        graph_model([*nodes, *ENDS[end]], {"x": [1, length, 4]}, constants=[*constants, *weights])
    )
    session(path)  # which takes it
    with pytest.raises(FormatError, match=r"Slice|Gather|Reshape") as error:
        load_model(path, time_axis=1)
    assert "damaged" not in str(error.value)
    assert load_model(path).inputs["x"].shape == (length, 4)  # all of them a step, as it stands


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
    ({"time_axis": {"z": 1}}, FormatError, "time_axis names z, which is not an input"),
    ({"time_axis": 3}, FormatError, "time_axis says 3 of input 'x', which has 3 axes"),
    ({"time_axis": -4}, FormatError, "time_axis says -4"),
]


@pytest.mark.parametrize(("options", "error", "text"), WRONG)
def test_wrong_axes(options, error, text, onnx_file):
    path = onnx_file(graph_model([TURN, CONV, BACK], {"x": [1, 9, 4]}, constants=tensors(**K)))
    with pytest.raises(error, match=text):
        load_model(path, **options)
    assert load_model(path, time_axis=np.int64(1)).inputs["x"].shape == (4,)
