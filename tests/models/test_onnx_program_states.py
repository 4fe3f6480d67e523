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
