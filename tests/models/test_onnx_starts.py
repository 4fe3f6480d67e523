"""Recurrent nodes keep their state from step to step, or the file is refused."""

from __future__ import annotations

import re

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


def advice(error):
    """Return what the two ways out of an error say, each as arguments of load_model."""
    text = str(error.value).replace("<value>", "None")
    found = re.findall(r"inputs=\[.*?\], [a-z]+=\{.*?\}(?:, shapes=\{.*?\})?", text)
    return [eval(f"dict({one})") for one in found]  # our own text


@pytest.mark.parametrize("free", [False, True])
def test_a_start_that_is_a_product_is_given_as_the_error_says(free, onnx_file):
    """What it is computed from would not do: no product is computed while a file is read."""
    weight = floats(3, 6)
    before = [node("MatMul", "e weight", "p"), node("Unsqueeze", "p zero", "h"), ZERO]
    one = lstm(before, {"e": [1, 3]})
    one.graph.initializer.extend(tensors(weight=weight, zero=[0]))
    one.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    if free:
        one.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "time"
    path, e, xs = onnx_file(one), floats(1, 3), floats(4, 5)
    axis = {} if free else {"time_axis": {"x": 0}}
    for options in ({}, {"constants": {"e": e}}):
        with pytest.raises(FormatError, match="its h starts from 'h', which each step") as error:
            model_of(path, **options, **axis)
    fixed, kept = advice(error)
    assert fixed == {"inputs": ["x", "h"], "constants": {"h": None}}
    assert kept["states"] == {"h": "hn"}
    start = (e @ weight)[None]
    expected = run(session(path), {"x": xs[:, None], "e": e})["Y"].reshape(4, 6)
    given = model_of(path, **fixed | {"constants": {"h": start}}, **axis).stream()
    assert np.allclose([given.step(x).ravel() for x in xs], expected, atol=1e-6)
    state = model_of(path, **kept, **axis).stream()
    state.state = {**state.state, "h": start}
    assert np.allclose([state.step(x).ravel() for x in xs], expected, atol=1e-6)


def test_both_halves_are_said_at_once(onnx_file):
    path = onnx_file(lstm([H, node("Neg", "s", "n"), node("Tanh", "n", "c")], S))
    with pytest.raises(FormatError, match="its h starts from 'h'") as error:
        model_of(path)
    fixed, kept = advice(error)
    assert kept["states"] == {"h": "hn", "c": "cn"}
    model_of(path, **fixed | {"constants": {"h": floats(1, 1, 6), "c": floats(1, 1, 6)}})
    assert list(model_of(path, **kept).states) == ["h", "c"]


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
