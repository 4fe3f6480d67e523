"""What of a TFLite model is left out, and errors that belong to one of its LSTMs."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_fast import FormatError, FormatWarning, formats

pytest.importorskip("tflite", reason="the library tflite is not installed")
schema = pytest.importorskip(
    "ai_edge_litert.schema_py_generated", reason="ai_edge_litert is not installed"
)
from tflite_models import Graph, add_lstm, random_parts  # noqa: E402


def parts(seed, inputs=5, units=7):
    return random_parts(np.random.default_rng(seed), inputs, units)


def write(folder, graph, inputs, outputs):
    path = folder / "model.tflite"
    path.write_bytes(graph.build(inputs, outputs))
    return path


def two(folder, first, second, *, between=None, **options):
    """Write two LSTMs: beside each other, or the second after the first."""
    graph = Graph(schema)
    x = graph.tensor("x", (1, 1, 5))
    low = add_lstm(graph, x, first, name="low")
    high = add_lstm(graph, low if between == "stack" else x, second, name="high", **options)
    outputs = [high] if between == "stack" else [low, high]
    return write(folder, graph, [x], outputs)


def bad(kind):
    """Return parts that cannot be computed, and options of the operator."""
    one = parts(1)
    if kind == "nan":
        one["input_to_cell"][0, 0] = np.nan
    elif kind == "missing":
        one["recurrent_to_forget"] = one["recurrent_to_forget"].copy()
        del one["output_bias"]
    elif kind == "shape":
        one["input_to_cell"] = one["input_to_cell"].T.copy()
    return one, {"activation": "RELU6"} if kind == "activation" else {}


@pytest.mark.parametrize("kind", ["nan", "missing", "shape", "activation"])
def test_a_bad_operator_stands_in_its_place(kind, tmp_path):
    second, options = bad(kind)
    path = two(tmp_path, parts(0), second, **options)
    good, refused = formats.read(path)
    assert (good.name, refused.name) == ("low/y", "high/y")
    assert isinstance(refused, formats.Refused)
    with pytest.raises(FormatError, match="operator 1 UNIDIRECTIONAL_SEQUENCE_LSTM"):
        formats.load(path, name="high/y")
    assert formats.load(path, name="low/y", backend="reference").hidden_size == 7
    with pytest.warns(FormatWarning, match="left out, since it cannot be computed"):
        formats.load(path, backend="reference")


def test_an_integer_operator_beside_a_float_one(tmp_path):
    graph = Graph(schema)
    x = graph.tensor("x", (1, 1, 5))
    whole = graph.tensor("whole", (1, 1, 5), type="int8", scale=0.1)
    integer = add_lstm(graph, whole, parts(1), name="integer")
    plain = add_lstm(graph, x, parts(0), name="plain")
    path = write(tmp_path, graph, [x, whole], [integer, plain])
    refused, good = formats.read(path)
    assert (refused.name, good.name) == ("integer/y", "plain/y")
    assert "a fully integer LSTM" in str(refused.error)
    assert good.assumptions == ()


def test_a_sound_layer_of_a_stack_with_a_bad_one(tmp_path):
    second = parts(1, inputs=7)
    path = two(tmp_path, parts(0), second, between="stack")
    (stack,) = formats.read(path)
    assert (stack.name, stack.parts) == ("high/y", ("low/y", "high/y"))
    with pytest.raises(FormatError, match=r"'low/y' is layer 0 .* of the stack 'high/y'"):
        formats.load(path, name="low/y")
    second["output_bias"][0] = np.inf
    good, refused = formats.read(two(tmp_path, parts(0), second, between="stack"))
    assert (good.name, refused.name) == ("low/y", "high/y")
    assert isinstance(refused, formats.Refused)


def test_int8_weights_are_an_assumption(tmp_path):
    one, scales = parts(0), {}
    for name, value in list(one.items()):
        if "_to_" in name:
            scales[name] = np.abs(value).max() / 127
            one[name] = np.rint(value / scales[name]).astype(np.int8)
    graph = Graph(schema)
    x = graph.tensor("x", (1, 1, 5))
    path = write(tmp_path, graph, [x], [add_lstm(graph, x, one, scales=scales)])
    (found,) = formats.read(path)
    assert "TFLite also rounds the input and h to int8" in found.assumptions[0]
    with pytest.warns(FormatWarning, match="int8 weights, dequantised"):
        formats.load(path, backend="reference")


@pytest.mark.parametrize("after", [False, True])
def test_an_input_that_is_reversed_and_an_output_that_is_not(after, tmp_path):
    graph = Graph(schema)
    x, turned = graph.tensor("x", (1, 4, 5)), graph.tensor("turned", (1, 4, 5))
    axis = graph.constant("axis", np.int32([1]))
    graph.op("REVERSE_V2", [x, axis], [turned])
    y = add_lstm(graph, turned, parts(0), steps=4)
    if after:
        back = graph.tensor("back", (1, 4, 7))
        graph.op("REVERSE_V2", [y, axis], [back])
        y = back
    (found,) = formats.read(write(tmp_path, graph, [x], [y]))
    assert found.weights.direction == ("reverse" if after else "forward")
    assert bool(found.assumptions) != after
    if not after:
        assert "give them in reverse" in found.assumptions[0]


def of_operators(folder, *codes):
    graph = Graph(schema)
    x = graph.tensor("x", (1, 1, 5))
    for code in codes:
        graph.op(code, [x], [x])
    return write(folder, graph, [x], [x])


def test_what_there_is_instead_is_said(tmp_path):
    path = of_operators(tmp_path, "CONV_2D", "ADD", "ADD")
    assert formats.read(path) == []
    with pytest.raises(FormatError, match=r"no LSTM in it; there are operators ADD \(2\), CONV_2D"):
        formats.load(path)
    path = of_operators(tmp_path, "FULLY_CONNECTED", "LOGISTIC", "TANH", "MUL", "ADD")
    with pytest.raises(FormatError, match=r"its parts, for each step.*without unroll or a mask"):
        formats.load(path)
    path = of_operators(tmp_path, "WHILE")
    with pytest.raises(FormatError, match=r"but a WHILE loop.*operators WHILE \(1\)"):
        formats.load(path)
