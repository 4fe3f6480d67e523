"""What cannot be streamed along time is refused by its node, with why and what to do."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
from causal_graphs import Chain, streamed, whole
from program_graphs import (
    INT64,
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

TURN, BACK = (
    node("Transpose", before, after, perm=[0, 2, 1]) for before, after in (("x", "t"), ("z", "y"))
)
K = {"k": floats(4, 4, 3)}
WEIGHTS = recurrent_weights(4, 4, 4)


def conv(text="t k", made="z", **attributes):
    return node("Conv", text, made, **attributes)


def lstm(x, made="l", kind="LSTM", **attributes):
    return node(kind, f"{x} W R B", made, hidden_size=4, **attributes)


AHEAD = "looks {} into the future: pad in front of time alone"
REFUSED = {
    "symmetric padding": (
        [TURN, conv(pads=[1, 1]), BACK],
        K,
        "Conv z.node " + AHEAD.format("1 frame") + r" \(F.pad\(x, \(2, 0\)\)\), or cut",
    ),
    "right padding": ([TURN, conv(pads=[0, 2]), BACK], K, AHEAD.format("2 frames")),
    "padding SAME": ([TURN, conv(auto_pad="SAME_UPPER"), BACK], K, AHEAD.format("1 frame")),
    "a padding node behind": (
        [TURN, node("Pad", "t pads", "p"), conv("p k"), BACK],
        {**K, "pads": [0, 0, 0, 0, 0, 2]},
        "Conv z.node " + AHEAD.format("2 frames"),
    ),
    "too little cut off": (
        [TURN, conv(pads=[2, 2]), node("Slice", "z at end two", "s"), node("Relu", "s", "y")],
        {**K, "at": [0], "end": [-1], "two": [2]},
        "Conv z.node " + AHEAD.format("1 frame"),
    ),
    "nothing cut off": ([TURN, conv(pads=[2, 2]), BACK], K, "Conv z.node looks 2 frames"),
    "not cut off before an LSTM": (
        [
            TURN,
            conv(pads=[2, 2]),
            node("Transpose", "z", "s", perm=[2, 0, 1]),
            lstm("s"),
            node("Relu", "l", "y"),
        ],
        K,
        "Conv z.node looks 2 frames into the future",
    ),
    "the last one, of padding": (
        [TURN, conv(pads=[2, 2]), node("Gather", "z at", "y", axis=2)],
        {**K, "at": np.array(-1)},
        "Conv z.node looks 2 frames into the future",
    ),
    "more frames than a session can keep": (
        [TURN, conv(pads=[2**32, 0], dilations=[2**31]), BACK],
        K,
        r"node 'z.node' \(Conv\): it keeps 4294967296 frames, which is too much for a session",
    ),
    "no padding": (
        [TURN, conv(), BACK],
        K,
        r"node 'z.node' \(Conv\): one result takes 3 values, .*has to pad 2 in front",
    ),
    "a stride": (
        [TURN, conv(pads=[2, 0], strides=[2]), BACK],
        K,
        "Conv z.node takes a stride of 2 along time",
    ),
    "copies of the first frame": (
        [TURN, node("Pad", "t pads", "p", mode="edge"), conv("p k"), BACK],
        {**K, "pads": [0, 0, 2, 0, 0, 0]},
        "Pad p.node pads time with frames .mode 'edge'.",
    ),
    "a padding that stays": (
        [TURN, node("Pad", "t pads", "z"), BACK, conv(pads=[2, 0], made="u")],
        {**K, "pads": [0, 0, 1, 0, 0, 0]},
        "of output y has 2 values along time for one frame: it is padded, and not cut",
    ),
    "a padding before an LSTM": (
        [
            TURN,
            node("Pad", "t pads", "p"),
            node("Transpose", "p", "s", perm=[2, 0, 1]),
            lstm("s"),
            node("Relu", "l", "y"),
        ],
        {"pads": [0, 0, 2, 0, 0, 0]},
        "LSTM l.node gets 3 values along time for one frame",
    ),
    "less the last, convolved": (
        [
            TURN,
            node("Gather", "t at", "g", axis=2),
            node("Sub", "t g", "s"),
            conv("s k", pads=[2, 0]),
            BACK,
        ],
        {**K, "at": [-1]},
        "Conv z.node keeps what it gets .* changes with each of them by Gather g.node",
    ),
    "less the last, to an LSTM": (
        [
            node("Gather", "x at", "g", axis=1),
            node("Sub", "x g", "s"),
            node("Transpose", "s", "t", perm=[1, 0, 2]),
            lstm("t", "y"),
        ],
        {"at": [-1]},
        "LSTM y.node keeps what it gets .* changes with each of them by Gather g.node",
    ),
    "times the last state, to an LSTM": (
        [
            node("Transpose", "x", "t", perm=[1, 0, 2]),
            lstm("t", "_ last"),
            node("Mul", "t last", "m"),
            lstm("m", "y"),
        ],
        {},
        "LSTM y.node keeps what it gets .* changes with each of them by LSTM .node",
    ),
    "the last frame, to an LSTM": (
        [
            node("Slice", "x at end one", "l"),
            node("Transpose", "l", "t", perm=[1, 0, 2]),
            lstm("t", "y"),
        ],
        {"at": [-1], "end": [2**31], "one": [1]},
        "LSTM y.node keeps its state from step to step, and in the file gets the last frames",
    ),
    "the last hundred, convolved": (
        [
            node("Slice", "x at end one", "l"),
            node("Transpose", "l", "t", perm=[0, 2, 1]),
            conv(pads=[2, 0]),
            BACK,
        ],
        {**K, "at": [-100], "end": [2**31], "one": [1]},
        "Conv z.node keeps what it gets",
    ),
    "an LSTM within each frame": (
        [
            node("Reshape", "x parts", "p"),
            node("Transpose", "p", "t", perm=[1, 0, 2]),
            lstm("t", "y"),
        ],
        {"parts": [-1, 1, 4]},
        "LSTM y.node gets each frame as a sequence of its own",
    ),
    "both directions": (
        [node("Transpose", "x", "t", perm=[1, 0, 2]), lstm("t", "y", direction="bidirectional")],
        {},
        r"node 'y.node' \(LSTM\): it is bidirectional, so it looks into the future",
    ),
    "backwards": (
        [node("Transpose", "x", "t", perm=[1, 0, 2]), lstm("t", "y", direction="reverse")],
        {},
        "it is reverse, so it looks into the future",
    ),
    "a mean behind a convolution": (
        [TURN, conv(pads=[2, 0]), node("ReduceMean", "z", "y", axes=[2])],
        K,
        "ReduceMean y.node works along",
    ),
    "a softmax of padded frames": (
        [TURN, node("Pad", "t pads", "p"), node("Softmax", "p", "s", axis=2), conv("s k"), BACK],
        {**K, "pads": [0, 0, 2, 0, 0, 0]},
        "Softmax s.node works along",
    ),
    "frames in groups": (
        [
            node("Reshape", "x two", "r"),
            node("Transpose", "r", "t", perm=[0, 2, 1]),
            conv(pads=[2, 0]),
            BACK,
        ],
        {"k": floats(2, 2, 3), "two": [1, -1, 2]},
        "Conv z.node works along an axis that has more than frames in it",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_stream_is_refused(name, onnx_file):
    nodes, constants, text = REFUSED[name]
    made = {name for one in nodes for name in one.output}
    outputs = ("y", "u") if "u" in made else ("y",)
    values = [*tensors(**constants), *WEIGHTS]
    path = onnx_file(graph_model(nodes, {"x": ["batch", "time", 4]}, outputs, values))
    with pytest.raises(FormatError, match=text) as error:
        model_of(path)
    assert str(path) in str(error.value)


def test_what_only_looks_into_the_future_loads(onnx_file):
    """All of these are causal: the same nodes, cut where they have to be."""
    for pads, cut in (([2, 2], [-2]), ([2, 0], [2**31])):
        nodes = [TURN, conv(pads=pads), node("Slice", "z at end two", "s")]
        nodes.append(node("Transpose", "s", "y", perm=[0, 2, 1]))
        constants = tensors(**K, at=[0], end=cut, two=[2])
        path = onnx_file(graph_model(nodes, {"x": ["batch", "time", 4]}, constants=constants))
        xs = floats(9, 4)
        assert np.allclose(streamed(path, xs), whole(path, xs), atol=1e-5)


def test_the_last_frame_behind_a_convolution_is_the_last_of_those_so_far(onnx_file):
    nodes = [TURN, conv(pads=[2, 0]), node("Gather", "z at", "y", axis=2)]
    constants = tensors(**K, at=np.array(-1))
    path = onnx_file(graph_model(nodes, {"x": ["batch", "time", 4]}, constants=constants))
    xs, theirs = floats(7, 4), session(path)
    ys = streamed(path, xs)
    for n in range(7):
        assert np.allclose(run(theirs, {"x": xs[None, : n + 1]})["y"][0], ys[n], atol=1e-5)


def test_tokens_are_embedded_and_convolved(onnx_file):
    """Frames of whole numbers themselves are not kept: they are padded in front of an embedding."""
    nodes = [node("Gather", "table x", "e", axis=0), node("Transpose", "e", "t", perm=[0, 2, 1])]
    nodes += [conv(pads=[2, 0]), BACK]
    constants = tensors(**K, table=floats(9, 4), pads=[0, 2, 0, 0])
    given = {"x": (["batch", "time"], INT64)}
    path = onnx_file(graph_model(nodes, given, constants=constants))
    xs = np.random.default_rng(3).integers(0, 9, (9, 1))
    expected = run(session(path), {"x": xs.T})["y"][0]
    assert np.allclose(streamed(path, xs), expected, atol=1e-5)
    assert model_of(path).fingerprint == model_of(path, time_axis=1).fingerprint
    nodes = [node("Concat", "zeros x", "p", axis=1), node("Gather", "table p", "e", axis=0)]
    nodes += [node("Transpose", "e", "t", perm=[0, 2, 1]), conv(), BACK]
    constants += tensors(zeros=np.zeros((1, 2), np.int64))
    path = onnx_file(graph_model(nodes, given, constants=constants))
    with pytest.raises(FormatError, match=r"node 'p.node' \(Concat\): it keeps frames of int64"):
        model_of(path, time_axis=1)


def test_a_state_of_the_file_and_those_of_convolutions(onnx_file):
    nodes = [
        node("Transpose", "x", "s", perm=[1, 0, 2]),
        node("LSTM", "s W R B _ h c", "l hn cn", hidden_size=4),
        node("Squeeze", "l one", "q"),
        node("Transpose", "q", "t", perm=[1, 2, 0]),
        conv(pads=[2, 0]),
        BACK,
    ]
    given = {"x": ["batch", "time", 4], "h": [1, "batch", 4], "c": [1, "batch", 4]}
    constants = [*WEIGHTS, *tensors(**K, one=[1])]
    path = onnx_file(graph_model(nodes, given, ("y", "hn", "cn"), constants))
    model, xs = load_model(path), floats(9, 4)
    assert list(model.states) == ["z.node.history", "h", "c"]
    zeros = np.zeros((1, 1, 4), np.float32)
    expected = run(session(path), {"x": xs[None], "h": zeros, "c": zeros})["y"][0]
    assert np.allclose(model.stream().run(xs), expected, atol=1e-5)


def test_two_inputs_of_frames(onnx_file):
    """Both have to grow together, whatever their axes are called; else one has to be said."""
    other = node("Transpose", "u", "v", perm=[0, 2, 1])
    nodes = [TURN, other, conv(pads=[2, 0], made="a"), conv("v k", "b", pads=[2, 0])]
    joined = [*nodes, node("Add", "a b", "z"), BACK]
    xs, us = floats(9, 4), floats(9, 4)
    for names in (("time", "time"), ("time", "frames")):
        given = {k: ["batch", one, 4] for k, one in zip("xu", names, strict=True)}
        path = onnx_file(graph_model(joined, given, constants=tensors(**K)))
        stream = load_model(path).stream()
        expected = run(session(path), {"x": xs[None], "u": us[None]})["y"][0]
        ys = [stream.step({"x": x, "u": u}) for x, u in zip(xs, us, strict=True)]
        assert np.allclose(ys, expected, atol=1e-5)
    cross = [*nodes, node("Transpose", "b", "c", perm=[1, 0, 2])]
    cross += [node("Unsqueeze", "a last", "d"), node("Add", "d c", "y")]
    given = {"x": ["batch", "time", 4], "u": ["batch", "frames", 4]}
    path = onnx_file(graph_model(cross, given, constants=tensors(**K, last=[3])))
    with pytest.raises(FormatError, match="time and frames do not grow together"):
        load_model(path)


@pytest.mark.parametrize("with_lstm", [False, True])
def test_an_axis_of_sequences_may_have_any_name(with_lstm, onnx_file):
    """As PyTorch's exporter calls sizes: what is not a batch by its name is looked at, too."""
    chain = Chain(np.random.default_rng(2), 4, turned=True).conv(3, 3)
    if with_lstm:
        chain.rnn("LSTM", 4)
    chain.inputs["x"][:2] = ["s0", "s1"]
    path, xs = onnx_file(chain.model()), floats(9, 4)
    model = load_model(path)
    assert len(model.states) == (3 if with_lstm else 1)
    assert np.allclose(model.stream().run(xs), whole(path, xs), atol=1e-5)


# ---- the last axis -------------------------------------------------------------------------------


def test_the_last_axis_is_time_where_it_can_be(onnx_file):
    chain = Chain(np.random.default_rng(2), 4).conv(3, 3)
    path = onnx_file(chain.model())
    model = load_model(path)
    assert model.inputs["x"].shape == (4,)
    assert model.outputs["y"].shape == (3,)
    with pytest.raises(FormatError, match="history= is of the last axis of input 'x', which is"):
        load_model(path, history={"x": 2}, time_axis=2)
    with pytest.raises(FormatError, match="nothing says what time is in one step"):
        load_model(path, history={"x": 2})
    assert load_model(path, shapes={"x": (1, 4, 8)}).inputs["x"].shape == (4, 8)


def test_samples_are_not_time(onnx_file):
    """What works on so many at once says why they are not taken one by one."""
    nodes = [conv("x k", "y", strides=[2])]
    path = onnx_file(
        graph_model(nodes, {"x": ["batch", 1, "samples"]}, constants=tensors(k=floats(3, 1, 4)))
    )
    with pytest.raises(
        FormatError,
        match=r'what samples is in one step: say shapes=\{"x": \(1, 1, ...\)\}, or, where that is '
        r'time, time_axis=\{"x": 2\}. It is not taken as time, because: node .*one result takes 4',
    ):
        model_of(path)
    assert model_of(path, shapes={"x": (1, 1, 8)}).outputs["y"].shape == (3, 3)
