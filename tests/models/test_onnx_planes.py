"""Convolutions along two axes and poolings, beside onnxruntime and by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from program_graphs import (  # noqa: E402
    floats,
    graph_model,
    model_of,
    node,
    onnx_file,
    run,
    session,
    tensors,
)
from test_onnx_operators import agrees  # noqa: E402

from lstm_fast.errors import FormatError  # noqa: E402

__all__ = ["onnx_file"]  # a fixture

SHAPE = [1, 4, 6, 9]
CONVOLUTIONS = [  # shape of the weights, attributes
    ((5, 4, 3, 3), {}),
    ((5, 4, 1, 3), {}),
    ((5, 4, 3, 1), {"pads": [2, 0, 0, 0]}),
    ((5, 4, 2, 3), {"pads": [1, 0, 2, 1], "strides": [2, 3]}),
    ((5, 4, 2, 3), {"dilations": [3, 2], "pads": [0, 2, 1, 0]}),
    ((8, 2, 3, 2), {"group": 2, "pads": [1, 1, 1, 1]}),
    ((4, 1, 3, 3), {"group": 4, "pads": [1, 1, 1, 1]}),
    ((8, 1, 3, 3), {"group": 4, "strides": [1, 2]}),
    ((5, 4, 6, 9), {}),
    ((5, 4, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ((5, 4, 2, 2), {"auto_pad": "SAME_LOWER"}),
    ((5, 4, 1, 1), {"strides": [2, 2]}),
    ((5, 4, 1, 1), {"pads": [0, 1, 0, 0]}),
]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("weight", "attributes"), CONVOLUTIONS)
def test_convolutions_along_two_axes(weight, attributes, bias, onnx_file):
    constants = tensors(w=floats(*weight, scale=0.2), b=floats(weight[0]))
    made = node("Conv", "x w b" if bias else "x w", "y", **attributes)
    path = onnx_file(graph_model([made], {"x": SHAPE}, constants=constants))
    assert agrees(path, floats(*SHAPE)) == ["conv2d"]


BEHIND = {
    "a bias": ([node("Conv", "x w", "z"), node("Add", "z a", "y")], ["conv2d"]),
    "a normalisation": (
        [node("Conv", "x w b", "z"), node("BatchNormalization", "z s o m d", "y")],
        ["conv2d"],
    ),
    "an activation": ([node("Conv", "x w", "z"), node("Relu", "z", "y")], ["conv2d", "relu"]),
    "an addition along the last axis": (
        [node("Conv", "x w", "z"), node("Add", "z b", "y")],
        ["conv2d", "add"],
    ),
}


@pytest.mark.parametrize("case", list(BEHIND))
def test_what_follows_a_convolution(case, onnx_file):
    """The addition is along the four columns that are left, not along the four rows of weights."""
    nodes, expected = BEHIND[case]
    constants = tensors(
        w=floats(4, 4, 3, 6, scale=0.2),
        b=floats(4),
        a=floats(1, 4, 1, 1),
        s=floats(4),
        o=floats(4),
        m=floats(4),
        d=np.abs(floats(4)) + 0.5,
    )
    path = onnx_file(graph_model(nodes, {"x": SHAPE}, constants=constants))
    assert agrees(path, floats(*SHAPE)) == expected


POOLS = [
    ([1, 3, 9], {"kernel_shape": [3]}),
    ([1, 3, 9], {"kernel_shape": [2], "strides": [2]}),
    ([1, 3, 9], {"kernel_shape": [4], "strides": [3], "pads": [1, 2]}),
    ([1, 3, 9], {"kernel_shape": [2], "strides": [2], "ceil_mode": 1}),
    ([1, 3, 9], {"kernel_shape": [9]}),
    ([1, 3, 2], {"kernel_shape": [3], "strides": [2], "ceil_mode": 1}),  # longer than its axis
    ([1, 3, 2], {"kernel_shape": [4], "strides": [3], "pads": [1, 0], "ceil_mode": 1}),
    (SHAPE, {"kernel_shape": [2, 2], "strides": [2, 2]}),
    (SHAPE, {"kernel_shape": [1, 3], "strides": [1, 2], "pads": [0, 0, 0, 1]}),
    (SHAPE, {"kernel_shape": [5, 7], "pads": [1, 2, 3, 4]}),
    (SHAPE, {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1], "ceil_mode": 1}),
    (SHAPE, {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    (SHAPE, {"kernel_shape": [2, 3], "auto_pad": "SAME_LOWER"}),
    (SHAPE, {"kernel_shape": [3, 2], "auto_pad": "VALID"}),
    (SHAPE, {"kernel_shape": [1, 1]}),
    (SHAPE, {"kernel_shape": [1, 1], "strides": [2, 3]}),
]
DILATED = [
    (SHAPE, {"kernel_shape": [2, 3], "dilations": [3, 2]}),
    (SHAPE, {"kernel_shape": [3, 4], "dilations": [2, 2], "pads": [1, 2, 1, 0]}),
]


@pytest.mark.parametrize(("shape", "attributes"), POOLS + DILATED)
def test_the_largest_of_each_window(shape, attributes, onnx_file):
    made = node("MaxPool", "x", "y", **attributes)
    path, x = onnx_file(graph_model([made], {"x": shape}, opset=19)), floats(*shape)
    model = model_of(path)
    found = model.stream().step(x.reshape(model.inputs["x"].shape))
    expected = run(session(path), {"x": x})["y"]
    assert np.array_equal(found.ravel(), expected.ravel())
    assert {op.code for op in model.program.ops} <= {"pad", "slice", "maximum", "reshape"}


@pytest.mark.parametrize("counts", [0, 1])
@pytest.mark.parametrize(("shape", "attributes"), POOLS)
def test_the_mean_of_each_window(shape, attributes, counts, onnx_file):
    made = node("AveragePool", "x", "y", count_include_pad=counts, **attributes)
    found = agrees(onnx_file(graph_model([made], {"x": shape}, opset=19)), floats(*shape))
    assert found == ["conv" if len(shape) == 3 else "conv2d", "div"]


def by_hand(x, kernel, dilations, pads):
    """The largest value of each window of a plane; NaN where there is one."""
    sizes = [
        size + 2 * pad - dilation * (taps - 1)
        for size, pad, dilation, taps in zip(x.shape, pads, dilations, kernel, strict=True)
    ]
    result = np.full(sizes, -np.inf, np.float32)
    for at in itertools.product(*map(range, sizes)):
        for tap in itertools.product(*map(range, kernel)):
            i, j = (at[n] + tap[n] * dilations[n] - pads[n] for n in range(2))
            if 0 <= i < x.shape[0] and 0 <= j < x.shape[1]:
                result[at] = np.maximum(result[at], x[i, j])
    return result


@pytest.mark.parametrize("backend", ["reference", None])
@pytest.mark.parametrize("seed", range(8))
def test_padding_never_wins_and_nan_is_kept(seed, backend, onnx_file):
    rng = np.random.default_rng(seed)
    kernel, dilations = rng.integers(1, 6, 2), rng.integers(1, 3, 2)
    pads = [int(rng.integers(0, taps)) for taps in kernel]
    x = rng.choice(np.float32([-3e38, -1.5, -np.inf, np.nan, -1.0]), (11, 12))
    made = node(
        "MaxPool",
        "x",
        "y",
        kernel_shape=kernel.tolist(),
        dilations=dilations.tolist(),
        pads=[*pads, *pads],
    )
    model = model_of(onnx_file(graph_model([made], {"x": [1, 1, 11, 12]})), backend=backend)
    found = model.stream().step(x)
    assert np.array_equal(found, by_hand(x, kernel, dilations, pads), equal_nan=True)


REFUSED = {
    "its batch": ("Conv", [3, 4, 6, 9], {"w": (5, 4, 3, 3)}, {}, "a batch of 3"),
    "three axes": ("Conv", [1, 4, 6, 9, 5], {"w": (5, 4, 3, 3, 3)}, {}, "it works on 3 axes"),
    "too small": (
        "Conv",
        SHAPE,
        {"w": (5, 4, 7, 3)},
        {},
        "one result takes 7 values, and its input is too short with 6",
    ),
    "indices": ("MaxPool", SHAPE, {}, {"kernel_shape": [2, 2]}, "where the largest values were"),
    "no kernel": ("MaxPool", SHAPE, {}, {}, "its kernel_shape is None"),
    "another mode": (
        *("MaxPool", SHAPE, {}, {"kernel_shape": [2, 2], "ceil_mode": 2}),
        "its ceil_mode is 2",
    ),
    "a kernel of one axis": ("MaxPool", SHAPE, {}, {"kernel_shape": [2]}, r"kernel_shape is \[2\]"),
    "a pool too small": (
        *("AveragePool", SHAPE, {}, {"kernel_shape": [7, 1]}),
        "a window spans 7 values, its input has 6",
    ),
    "much padding": (
        *("MaxPool", SHAPE, {}, {"kernel_shape": [2, 2], "pads": [2, 0, 0, 0]}),
        "its padding",
    ),
    "means over three axes": (
        *("AveragePool", [1, 1, 3, 3, 3], {}, {"kernel_shape": [2, 2, 2]}),
        "means over 3 axes",
    ),
    "large windows": (
        *("AveragePool", [1, 2**10, 64, 64], {}, {"kernel_shape": [32, 33]}),
        "are too large",
    ),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_what_is_not_computed_is_refused(case, onnx_file):
    operator, shape, weights, attributes, text = REFUSED[case]
    constants = tensors(**{name: floats(*size) for name, size in weights.items()})
    outputs = "y i" if case == "indices" else "y"
    made = node(operator, " ".join(["x", *weights]), outputs, **attributes)
    path = onnx_file(graph_model([made], {"x": shape}, outputs.split(), constants))
    with pytest.raises(FormatError, match=f"y.node.*{text}"):
        model_of(path)


@pytest.mark.parametrize("operator", ["Conv", "MaxPool", "AveragePool"])
def test_none_works_along_a_free_time_axis(operator, onnx_file):
    """Along the others it may."""
    for kernel, is_fine in (([1, 3], True), ([3, 3], False)):
        given = {"pads": [0, 1, 0, 1]} if is_fine else {"pads": [1, 1, 1, 1]}
        given |= {} if operator == "Conv" else {"kernel_shape": kernel}
        made = node(operator, "x w" if operator == "Conv" else "x", "y", **given)
        model = graph_model(
            [made], {"x": [1, 4, "T", 9]}, constants=tensors(w=floats(5, 4, *kernel))
        )
        path = onnx_file(model)
        if is_fine:
            assert model_of(path).inputs["x"].shape[-1] == 9
        else:
            why = "looks 1 frame into the future" if operator == "Conv" else "works along"
            with pytest.raises(FormatError, match=f"{operator} y.node {why}"):
                model_of(path)
