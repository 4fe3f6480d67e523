"""What is joined in front of frames along time: a constant or a state, and no other input."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
from causal_graphs import distance
from program_graphs import floats, graph_model, node, onnx_file, run, session, tensors

from lstm_fast import load_model
from lstm_fast.errors import FormatError

__all__ = ["onnx_file"]  # a fixture

JOINED = {
    "an input": [node("Concat", "cond x", "z", axis=2), node("Conv", "z k", "y")],
    "what is made of one": [
        node("Relu", "cond", "c"),
        node("Concat", "c x", "z", axis=2),
        node("Conv", "z k", "y"),
    ],
}
KEEP = node("Slice", "z start end axes", "kept")


def joined(onnx_file, nodes, *more):
    """Return a file that joins an input and frames along time, in front of a convolution."""
    inputs = {"x": [1, 4, "time"], "cond": [1, 4, 1]}
    values = {"k": floats(4, 4, 2), "start": [-1], "end": [2**31], "axes": [2]}
    outputs = ("y", *(one.output[0] for one in more))
    return onnx_file(graph_model([*nodes, *more], inputs, outputs, constants=tensors(**values)))


@pytest.mark.parametrize("name", JOINED)
def test_an_input_in_front_of_the_frames_is_refused(name, onnx_file):
    """In the file it stands there once, and in steps of one frame in front of each."""
    path = joined(onnx_file, JOINED[name])
    text = r"Concat z.node puts input 'cond' in front of the frames.*constants=.\"cond\".*states=."
    for options in ({}, {"states": {}}, {"time_axis": {"x": 2}}):
        with pytest.raises(FormatError, match=text):
            load_model(path, **options)
    assert [*load_model(path, shapes={"x": (1, 4, 1)}).inputs] == ["x", "cond"]


@pytest.mark.parametrize("is_state", [True, False])
def test_a_constant_or_a_state_in_front_of_the_frames_is_right(is_state, onnx_file):
    """The controls: what a step has kept, and what never changes."""
    path = joined(onnx_file, JOINED["an input"], *([KEEP] if is_state else []))
    xs, cond = floats(9, 4), np.zeros((1, 4, 1), np.float32) if is_state else floats(1, 4, 1)
    told = {"states": {"cond": "kept"}} if is_state else {"constants": {"cond": cond}}
    model = load_model(path, **told)
    expected = run(session(path), {"x": xs.T[None], "cond": cond})["y"][0].T
    assert distance(model.program, xs, model.stream().run(xs)) <= 1
    assert distance(model.program, xs, expected, peer=True) <= 1
