"""ONNX: constants that decide what is computed: folded ones, bounds, masks and slopes."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
from program_graphs import (
    FLOAT,
    INT64,
    floats,
    graph_model,
    model_of,
    node,
    onnx_file,
    run,
    session,
    tensors,
)

from lstm_fast.errors import FormatError

__all__ = ["onnx_file"]  # a fixture

A, B, C = ([-7, 7, -7, 7, 6], [3, 3, -3, -3, 3], [0, 9, -9, 5, 5])

FOLDED = [
    ("Mod", (A, B), {"fmod": 1}, [-1, 1, -1, 1, 0]),
    ("Mod", (A, B), {}, [2, 1, -1, -2, 0]),
    ("Min", (A,), {}, A),
    ("Max", (A,), {}, A),
    ("Min", (A, B), {}, [-7, 3, -7, -3, 3]),
    ("Min", (A, B, C), {}, [-7, 3, -9, -3, 3]),
    ("Max", (A, B, C), {}, [3, 9, -3, 7, 6]),
    ("Max", (A, [0], [[1]], C), {}, [1, 9, 1, 7, 6]),
]


@pytest.mark.parametrize(("operator", "values", "attributes", "expected"), FOLDED)
def test_what_is_computed_while_reading(operator, values, attributes, expected, onnx_file):
    constants = tensors(**{f"c{n}": np.array(value) for n, value in enumerate(values)})
    names = " ".join(f"c{n}" for n in range(len(values)))
    made = [
        node(operator, names, "z", **attributes),
        node("Cast", "z", "f", to=FLOAT),
        node("Add", "x f", "y"),
    ]
    path = onnx_file(graph_model(made, {"x": [1, 5]}, constants=constants))
    zeros = np.zeros((1, 5), np.float32)
    assert model_of(path).stream().step(zeros[0]).tolist() == expected
    assert np.ravel(run(session(path), {"x": zeros})["y"]).tolist() == expected


def test_inputs_of_several_dtypes_are_not_folded(onnx_file):
    constants = tensors(a=np.array([1, 2]), b=np.array([1, 2]), c=np.float32([1, 2]))
    made = [node("Min", "a b c", "z"), node("Add", "x z", "y")]
    path = onnx_file(graph_model(made, {"x": [1, 2]}, constants=constants))
    with pytest.raises(FormatError, match="its inputs are int64 and float32"):
        model_of(path)


NO_AXES = {"Sum": None, "L1": np.abs, "L2": np.abs, "SumSquare": np.square, "LogSum": np.log}


@pytest.mark.parametrize("kind", NO_AXES)
def test_a_reduction_over_no_axis_is_no_copy(kind, onnx_file):
    """What it does to each element stays."""
    x = floats(1, 5) if kind != "LogSum" else np.abs(floats(1, 5)) + 1
    made = node(f"Reduce{kind}", "x", "y", noop_with_empty_axes=1)
    model = model_of(onnx_file(graph_model([made], {"x": [1, 5]}, opset=18)))
    expected = x if NO_AXES[kind] is None else NO_AXES[kind](x)
    np.testing.assert_allclose(model.stream().step(x[0]), expected[0], rtol=1e-6)


X = np.float32([[-2, -0.5, 0, 0.5, 2]])


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (1, -1), (1, None), (None, -1)])
@pytest.mark.parametrize("computed", ["", "min", "max", "min max"])
def test_bounds_of_which_the_lower_may_be_above(low, high, computed, onnx_file):
    """What is above max becomes max, last of all; a bound may be an input, too."""
    bounds = {"min": low, "max": high}
    given = {name: np.array(one, "f4") for name, one in bounds.items() if one is not None}
    made = node("Clip", " ".join(["x", *(n if n in given else "_" for n in bounds)]), "y")
    live = {name: value for name, value in given.items() if name in computed}
    fixed = {name: value for name, value in given.items() if name not in computed}
    inputs = {"x": [1, 5], **{name: [] for name in live}}
    path = onnx_file(graph_model([made], inputs, constants=tensors(**fixed)))
    model = model_of(path)
    frame = {"x": X[0], **{name: one[None] for name, one in live.items()}} if live else X[0]
    found = model.stream().step(frame)
    assert found.tolist() == np.ravel(run(session(path), {"x": X, **live})["y"]).tolist()


def test_bounds_of_an_old_clip(onnx_file):
    made = node("Clip", "x", "y", min=1.0, max=-1.0)
    model = model_of(onnx_file(graph_model([made], {"x": [1, 5]}, opset=6)))
    assert model.stream().step(X[0]).tolist() == [-1] * 5


@pytest.mark.parametrize("name", ["min", "max"])
def test_bounds_of_several_values_are_refused(name, onnx_file):
    given = "x b" if name == "min" else "x _ b"
    constants = tensors(b=np.float32([1, 2, 3, 4, 5]))
    path = onnx_file(graph_model([node("Clip", given, "y")], {"x": [1, 5]}, constants=constants))
    with pytest.raises(FormatError, match=rf"{name} has shape \(5,\), expected one number"):
        model_of(path)


@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan])
def test_a_mask_is_added_behind_a_product(value, onnx_file):
    mask = np.float32([0, value, 1])
    made = [node("MatMul", "x w", "m"), node("Add", "m b", "a"), node("Softmax", "a", "y")]
    constants = tensors(w=floats(4, 3), b=mask)
    path = onnx_file(graph_model(made, {"x": [1, 4]}, constants=constants))
    x = floats(1, 4)
    model = model_of(path)
    assert [op.code for op in model.program.ops] == ["dense", "add", "softmax"]
    found, theirs = model.stream().step(x[0]), np.ravel(run(session(path), {"x": x})["y"])
    if value < 0:
        assert found[1] == 0
        np.testing.assert_allclose(found, theirs, rtol=1e-5)
    else:
        assert np.isnan(found).any()


@pytest.mark.parametrize(("shape", "slope"), [([1, 3, 3], 3), ([1, 3, 4], 4), ([1, 3, 4], 3)])
def test_the_slope_of_an_old_prelu(shape, slope, onnx_file):
    """Before version 7 it has one value for each channel, of axis 1, not of the last axis."""
    made, constants = node("PRelu", "x s", "y"), tensors(s=np.abs(floats(slope)))
    with pytest.raises(FormatError, match="for axis 1 of"):
        model_of(onnx_file(graph_model([made], {"x": shape}, constants=constants, opset=6)))
    if shape[-1] == slope:
        model_of(onnx_file(graph_model([made], {"x": shape}, constants=constants, opset=7)))
    for size, rank in ((slope, 2), (1, 3)):
        constants = tensors(s=np.abs(floats(size)))
        given = {"x": [1, *[slope] * (rank - 1)]}
        model_of(onnx_file(graph_model([made], given, constants=constants, opset=6)))


class Whole:
    """An integer, as libraries beside NumPy have them."""

    def __index__(self):
        return 2


@pytest.mark.parametrize("count", [np.int64(2), np.uint8(2), np.array(2), Whole()])
def test_history_is_any_integer(count, onnx_file):
    path = onnx_file(graph_model([node("Relu", "x", "y")], {"x": [1, 5]}))
    model = model_of(path, history={"x": count})
    assert model.program.inputs[0].history == 2
    assert model.inputs["x"].shape == (3,)


@pytest.mark.parametrize("count", [True, np.True_, 2.0, "2", None, -1, np.int64(-1)])
def test_what_is_no_count_of_history(count, onnx_file):
    path = onnx_file(graph_model([node("Relu", "x", "y")], {"x": [1, 5]}))
    with pytest.raises(FormatError, match="expected 0 or more"):
        model_of(path, history={"x": count})


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_an_index_that_is_no_number(value, onnx_file):
    """The step raises and has changed nothing."""
    made = [
        node("Add", "x h", "hn"),
        node("Cast", "hn", "i", to=INT64),
        node("Gather", "table i", "y"),
    ]
    model = graph_model(
        made, {"x": [1], "h": [1]}, ("y", "hn"), constants=tensors(table=floats(7, 4))
    )
    # the reference alone knows what the index was
    model = model_of(onnx_file(model), states={"h": "hn"}, backend="reference")
    stream = model.stream()
    stream.step([2])
    before = stream.state
    with pytest.raises(ValueError, match="computed from a value that is not a number, or beyond"):
        stream.step([value])
    assert stream.state["h"] == before["h"] == 2
    stream.step([3])
    with pytest.raises(ValueError, match=r"the index 12 is not within the 7 rows of an embedding$"):
        stream.step([7])
    stream.state = {"h": [np.nan]}
    with pytest.raises(ValueError, match="not a number"):
        stream.step([0])
    stream.reset()
    stream.step([0])


def test_infinities_in_both_biases_are_refused_and_warn_of_nothing(onnx_file):
    """Their sum is not a number."""
    weights = {"W": floats(1, 24, 5), "R": floats(1, 24, 6), "B": floats(1, 48)}
    weights["B"][0, [0, 24]] = np.inf, -np.inf
    made = node("LSTM", "x W R B", "y", hidden_size=6)
    path = onnx_file(graph_model([made], {"x": [1, 1, 5]}, constants=tensors(**weights)))
    with pytest.raises(FormatError, match="not finite"):
        model_of(path)
