"""Which outputs are states, and what they do to the rest of a graph."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from program_graphs import (  # noqa: E402
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

from lstm_fast.errors import FormatError  # noqa: E402

__all__ = ["onnx_file"]  # a fixture


def three_frames(at):
    """Return a GRU over three frames, and its y at one of them as an output beside y itself."""
    nodes = [
        node("GRU", "x W R B _ start", "Y _", hidden_size=6),
        node("Gather", "Y at", "end", axis=0),
    ]
    return graph_model(
        nodes,
        {"x": [3, 1, 5], "start": [1, 1, 6]},
        ("Y", "end"),
        [*recurrent_weights(3, 5, 6), *tensors(at=np.array(at))],
    )


@pytest.mark.parametrize("at", [0, 1])
def test_an_earlier_y_is_no_state(at, onnx_file):
    model = model_of(onnx_file(three_frames(at)))
    assert not model.states
    assert list(model.inputs) == ["x", "start"]
    assert list(model.outputs) == ["Y", "end"]


@pytest.mark.parametrize("at", [2, -1])
def test_the_last_y_is_a_state_and_an_output(at, onnx_file):
    path = onnx_file(three_frames(at))
    model = model_of(path)
    assert list(model.states) == ["start"]
    assert list(model.outputs) == ["Y", "end"]
    theirs, stream = session(path), model.stream()
    state = np.zeros((1, 1, 6), np.float32)
    for x in floats(4, 3, 5):
        found, ours = run(theirs, {"x": x[:, None], "start": state}), stream.step(x[:, None])
        state = found["end"]
        assert np.allclose(ours["Y"].ravel(), found["Y"].ravel(), atol=1e-6)
        assert np.allclose(ours["end"].ravel(), state.ravel(), atol=1e-6)


# ---- outputs that nobody asks for ----------------------------------------------------------------


def test_an_output_that_nobody_asks_for_may_take_other_inputs(onnx_file):
    nodes = [node("Relu", "x", "e"), node("Tanh", "e", "b"), node("Neg", "x", "z")]
    path = onnx_file(graph_model(nodes, {"x": [1, 4]}, ("b", "z")))
    model = model_of(path, inputs=["e"], outputs=["b"], shapes={"e": (1, 4)})
    assert list(model.inputs) == ["e"]
    assert list(model.outputs) == ["b"]


def test_an_output_that_nobody_asks_for_may_have_no_size(onnx_file):
    nodes = [node("Relu", "x", "a"), node("Neg", "q", "z")]
    path = onnx_file(graph_model(nodes, {"x": [1, 4], "q": [1, "len"]}, ("a", "z")))
    model = model_of(path, outputs=["a"])
    assert list(model.inputs) == ["x"]
    with pytest.raises(FormatError, match="nothing says what len is"):
        model_of(path)


@pytest.mark.parametrize("states", [None, {"cache": "cache_out"}])
def test_what_a_state_becomes_may_not_work_along_time(states, onnx_file):
    """Although the output that is asked for takes each frame alone."""
    nodes = [
        node("Add", "x cache", "y"),
        node("ReduceMean", "x", "cache_out", axes=[1]),
        node("Neg", "cache_out", "z"),
    ]
    given = {"x": ["batch", "time", 4], "cache": [1, 1, 4]}
    path = onnx_file(graph_model(nodes, given, ("y", "cache_out", "z")))
    with pytest.raises(FormatError, match=r"works along (an axis of size 1|time)"):
        model_of(path, outputs=["y"], states=states)
    assert list(model_of(path, outputs=["y"], states={}).inputs) == ["x", "cache"]
