"""Recurrent nodes keep their state from step to step, or the file is refused."""

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


def lstm(before, given, outputs=("Y",), made="Y hn cn"):
    """Return a model of an LSTM behind nodes that compute what it starts from."""
    nodes = [*before, node("LSTM", "x W R B _ h c", made, hidden_size=6)]
    constants = tensors(zeros=np.zeros((1, 1, 6), np.float32), ones=np.ones((1, 1, 6), np.float32))
    weights = [*recurrent_weights(4, 5, 6), *constants]
    return graph_model(nodes, {"x": [1, 1, 5], **given}, outputs, weights)


H, ZERO = node("Tanh", "s", "h"), node("Identity", "zeros", "c")
S = {"s": [1, 1, 6]}


@pytest.mark.parametrize(
    "before",
    [[H, ZERO], [H, node("Neg", "s", "c")], [node("Tanh", "ones", "h"), ZERO]],
    ids=["h alone", "both", "of constants"],
)
def test_a_start_that_each_step_computes_is_refused(before, onnx_file):
    with pytest.raises(FormatError, match="its h starts from 'h', which each step computes"):
        model_of(onnx_file(lstm(before, S)))


def test_a_start_that_never_changes_is_a_constant(onnx_file):
    path = onnx_file(lstm([node("Mul", "s ones", "h"), ZERO], S))
    model = model_of(path, constants={"s": np.zeros((1, 1, 6))})
    assert len(model.states) == 2


def test_a_start_may_be_made_a_state(onnx_file):
    """As the error says: what it is computed from is set once, by the caller."""
    path = onnx_file(lstm([H, node("Identity", "k", "c")], S | {"k": [1, 1, 6]}, ("Y", "hn", "cn")))
    shapes = {"h": (1, 1, 6)}
    model = model_of(path, inputs=["x", "h", "k"], states={"h": "hn", "k": "cn"}, shapes=shapes)
    start, stream, theirs = floats(1, 1, 6), model.stream(), session(path)
    stream.state = {"h": np.tanh(start), "k": np.zeros((1, 1, 6))}
    x = floats(5)
    found = run(theirs, {"x": x[None, None], "s": start, "k": np.zeros((1, 1, 6), np.float32)})
    assert np.allclose(stream.step(x), found["Y"].ravel(), atol=1e-6)


def test_the_end_of_another_node_is_no_start(onnx_file):
    first = node("LSTM", "x W R B", "_ h c", hidden_size=6)
    with pytest.raises(FormatError, match="which each step computes"):
        model_of(onnx_file(lstm([first], {})))


@pytest.mark.parametrize("same", [False, True], ids=["a state", "the end of itself"])
def test_a_state_is_no_start_where_the_end_of_a_node_is_added(same, onnx_file):
    first = node("LSTM", "x W R B", "_ a b", hidden_size=6)
    nodes = [first, node("Add", "s a" if same else "s ones", "h"), node("Identity", "t", "c")]
    path = onnx_file(lstm(nodes, S | {"t": [1, 1, 6]}, ("Y", "hn", "cn")))
    states = {"s": "hn", "t": "cn"}
    if not same:
        assert list(model_of(path, states=states).states) == ["s", "t"]
        return
    with pytest.raises(FormatError, match="its h starts from 'h', which each step computes"):
        model_of(path, states=states)


def test_a_state_may_be_computed_with(onnx_file):
    """A mask that clears it where a sequence begins: it is carried all the same."""
    nodes = [node("Mul", "s go", "h"), node("Mul", "t go", "c")]
    given = S | {"t": [1, 1, 6], "go": [1, 1, 1]}
    path = onnx_file(lstm(nodes, given, ("Y", "hn", "cn")))
    assert len(model_of(path, states={"s": "hn", "t": "cn"}).states) == 2
    with pytest.raises(FormatError, match="which each step computes"):
        model_of(path, states={})


def test_half_a_state_is_refused(onnx_file):
    path = onnx_file(lstm([node("Identity", "s", "h"), ZERO], S))
    with pytest.raises(FormatError, match="keeps its c from step to step, and not the other"):
        model_of(path)
    with pytest.raises(FormatError, match="keeps its c from step to step, and not the other"):
        model_of(path, states={})


def test_what_keeps_nothing_is_noted(onnx_file):
    given = {"h": [1, 1, 6], "c": [1, 1, 6]}
    path = onnx_file(lstm([], given, ("Y", "hn", "cn")))
    note = "starts each step from h and c, and keeps nothing by itself"
    assert any(note in text for text in model_of(path, states={}).notes)
    assert not any(note in text for text in model_of(path).notes)
