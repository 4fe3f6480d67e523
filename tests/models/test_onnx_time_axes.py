"""A free time axis is taken as one frame only where no node works along it."""

from __future__ import annotations

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import helper  # noqa: E402
from program_graphs import (  # noqa: E402
    FLOAT,
    floats,
    graph_model,
    info,
    model_of,
    node,
    onnx_file,
    run,
    session,
    tensors,
)

from lstm_fast.errors import FormatError  # noqa: E402

__all__ = ["onnx_file"]  # a fixture


def sliced(step):
    start, end = (2**31, -(2**31)) if step < 0 else (0, 2**31)
    at = {"start": [start], "end": [end], "axis": [1], "step": [step]}
    return [node("Slice", "x start end axis step", "y")], at


TURNED = node("Transpose", "x", "t", perm=[0, 2, 1])
MIXED = {
    "reversed": (*sliced(-1), 17),
    "every second": (*sliced(2), 17),
    "joined with itself": ([node("Concat", "x x", "y", axis=1)], {}, 17),
    "tiled": ([node("Tile", "x n", "y")], {"n": [1, 2, 1]}, 17),
    "expanded": ([node("Expand", "x n", "y")], {"n": [1, 3, 4]}, 17),
    "gathered twice": ([node("Gather", "x n", "y", axis=1)], {"n": [0, 0]}, 17),
    "softmax over all": ([node("Softmax", "x", "y", axis=1)], {}, 11),
    "normalised": (
        [node("LayerNormalization", "x scale", "y", axis=1)],
        {"scale": np.ones((1, 4), np.float32)},
        17,
    ),
}


@pytest.mark.parametrize("name", MIXED)
def test_what_works_along_it_is_an_error(name, onnx_file):
    nodes, constants, opset = MIXED[name]
    given = {"x": ["batch", "time", 4]}
    path = onnx_file(graph_model(nodes, given, constants=tensors(**constants), opset=opset))
    with pytest.raises(FormatError, match=r"works along (an axis of size 1|time)"):
        model_of(path)
    assert model_of(path, shapes={"x": (1, 1, 4)}).inputs["x"].shape == (4,)


ALONE = {
    "a slice of channels": (
        [node("Slice", "x start end axis", "y")],
        {"start": [1], "end": [3], "axis": [2]},
        17,
    ),
    "channels of a constant": ([node("Concat", "zeros x", "y", axis=2)], {"zeros": [[[0.0]]]}, 17),
    "softmax": ([node("Softmax", "x", "y", axis=2)], {}, 11),
    "normalised": ([node("LayerNormalization", "x scale", "y")], {"scale": floats(4)}, 17),
    "product": ([TURNED, node("Conv", "t k", "y")], {"k": floats(3, 4, 1)}, 17),
}


@pytest.mark.parametrize("name", ALONE)
def test_what_takes_each_frame_alone_loads(name, onnx_file):
    nodes, constants, opset = ALONE[name]
    constants = {
        k: np.asarray(v, np.float32 if k == "zeros" else None) for k, v in constants.items()
    }
    given = {"x": ["batch", "time", 4]}
    path = onnx_file(graph_model(nodes, given, constants=tensors(**constants), opset=opset))
    assert model_of(path).inputs["x"].shape == (4,)


# ---- the length of the sequence, and places in it ------------------------------------------------

COUNTED = [  # the number of frames, as exporters have it
    node("Shape", "x", "s"),
    node("Gather", "s one", "frames", axis=0),
]
SCALAR = {"one": np.array(1), "zero": np.array(0)}
SIZE = [*COUNTED, node("Cast", "frames", "size", to=FLOAT)]
LAST = [node("Gather", "x at", "y", axis=1)]
PLACED = {
    "a table of places": (
        [
            *COUNTED,
            node("Unsqueeze", "frames axes", "end"),
            node("Slice", "table start end at", "rows"),
            node("Add", "x rows", "y"),
        ],
        {**SCALAR, "axes": [0], "start": [0], "at": [1], "table": floats(1, 50, 4)},
        "Add y.node computes with numbers that follow from how many frames",
    ),
    "a count": (
        [
            *COUNTED,
            node("Range", "zero frames one", "r"),
            node("Cast", "r", "f", to=FLOAT),
            node("Unsqueeze", "f axes", "g"),
            node("Mul", "x g", "y"),
        ],
        {**SCALAR, "axes": [0, 2]},
        "Mul y.node computes with numbers that follow from how many frames",
    ),
    "the length": (
        [*SIZE, node("Div", "x size", "y")],
        SCALAR,
        "Div y.node computes with numbers that follow from how many frames",
    ),
    "the first frame": (LAST, {"at": np.array(0)}, "Gather y.node takes frames by their place"),
    "the middle frame": (
        [*COUNTED, node("Div", "frames two", "at"), *LAST],
        {**SCALAR, "two": np.array(2)},
        "Gather y.node takes frames by their place",
    ),
    "less the first": (
        [node("Slice", "x zero_ one_ one_", "f"), node("Sub", "x f", "y")],
        {"zero_": [0], "one_": [1]},
        "Slice f.node takes frames by their place",
    ),
    "the last, of no more than five": (
        [node("Slice", "x last five one_", "y")],
        {"last": [-1], "five": [5], "one_": [1]},
        "Slice y.node takes frames by their place",
    ),
    "no more than so many": (
        [node("Slice", "x zero_ many one_", "y")],
        {"zero_": [0], "one_": [1], "many": [100]},
        "Slice y.node takes frames by their place",
    ),
    "all frames as one": (
        [node("Reshape", "x flat", "f"), node("ReduceMean", "f", "y", axes=[1])],
        {"flat": [1, -1]},
        "ReduceMean y.node works along",
    ),
    "frames and values turned": (
        [node("Reshape", "x turned", "y")],
        {"turned": [1, 4, -1]},
        "Reshape y.node puts frames in another order",
    ),
    "constant in front": (
        [node("Concat", "zeros x", "p", axis=1), node("Relu", "p", "y")],
        {"zeros": floats(1, 2, 4)},
        "of output y has 3 values along time for one frame",
    ),
    "strided product": (
        [TURNED, node("Conv", "t k", "y", strides=[2])],
        {"k": floats(3, 4, 1)},
        "Conv y.node takes a stride of 2 along time",
    ),
    "one half behind the other": (
        [node("Neg", "x", "n"), node("Concat", "x n", "y", axis=1)],
        {},
        "Concat y.node puts frames in another order",
    ),
    "repeated as often as there are frames": (
        [
            *COUNTED,
            node("Unsqueeze", "frames axes", "often"),
            node("Concat", "axes_ often axes_", "n", axis=0),
            node("Tile", "x n", "y"),
        ],
        {**SCALAR, "axes": [0], "axes_": [1]},
        "Tile y.node works along",
    ),
}


@pytest.mark.parametrize("name", PLACED)
def test_what_takes_places_or_the_length_is_an_error(name, onnx_file):
    nodes, constants, text = PLACED[name]
    path = onnx_file(graph_model(nodes, {"x": ["b", "t", 4]}, constants=tensors(**constants)))
    with pytest.raises(FormatError, match=text):
        model_of(path)
    assert model_of(path, shapes={"x": (1, 1, 4)}).inputs["x"].shape == (4,)


WIDE = [
    node("ReduceL2", "x", "l", axes=[2], keepdims=1),
    node("Shape", "x", "s"),
    node("Expand", "l s", "e"),
    node("Div", "x e", "y"),
]
SAME = {
    "the last frame": (LAST, {"at": np.array(-1)}),
    "less the last": (
        [node("Slice", "x last end one", "l"), node("Sub", "x l", "y")],
        {"last": [-1], "end": [2**62], "one": [1]},
    ),
    "divided by a length of its own": (WIDE, {}),
    "repeated along another axis": (
        [node("ReduceMax", "x", "m", axes=[2], keepdims=1), node("Tile", "m n", "y")],
        {"n": [1, 1, 16]},
    ),
    "values in groups and back": (
        [
            node("Reshape", "x groups", "g"),
            node("Softmax", "g", "h"),
            node("Shape", "x", "s"),
            node("Reshape", "h s", "y"),
        ],
        {"groups": [-1, 2]},
    ),
    "divided by how many values there are": (
        [
            node("Shape", "x", "s"),
            node("Gather", "s two", "n", axis=0),
            node("Cast", "n", "f", to=FLOAT),
            node("Div", "x f", "y"),
        ],
        {"two": np.array(2)},
    ),
    "zeros of its shape": (
        [node("Shape", "x", "s"), node("ConstantOfShape", "s", "z"), node("Max", "x z", "y")],
        {},
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_what_only_looks_so_loads(name, onnx_file):
    """Each step gives what the file has for the last frame of the sequence so far."""
    nodes, constants = SAME[name]
    path = onnx_file(graph_model(nodes, {"x": ["b", "t", 4]}, constants=tensors(**constants)))
    stream, theirs, xs = model_of(path).stream(), session(path), floats(5, 4)
    for n, x in enumerate(xs):
        found = run(theirs, {"x": xs[None, : n + 1]})["y"]
        expected = found[0, -1] if found.ndim == 3 else found[0]
        assert np.allclose(stream.step(x), expected, atol=1e-6)


def test_a_branch_for_one_frame_is_an_error(onnx_file):
    """The file takes another where there are several."""
    branches = [
        helper.make_graph([node(kind, "x", kind)], kind, [], [info(kind)])
        for kind in ("Relu", "Neg")
    ]
    nodes = [*COUNTED, node("Equal", "frames one", "alone")]
    nodes.append(node("If", "alone", "y", then_branch=branches[0], else_branch=branches[1]))
    path = onnx_file(graph_model(nodes, {"x": ["b", "t", 4]}, constants=tensors(**SCALAR)))
    with pytest.raises(FormatError, match=r"If y\.node takes another branch"):
        model_of(path)
    assert model_of(path, shapes={"x": (1, 1, 4)}).inputs["x"].shape == (4,)


def test_an_output_of_the_length_is_an_error(onnx_file):
    nodes = [node("Relu", "x", "y"), *SIZE]
    path = onnx_file(graph_model(nodes, {"x": ["b", "t", 4]}, ("y", "size"), tensors(**SCALAR)))
    with pytest.raises(FormatError, match="of output size computes with numbers"):
        model_of(path)
    assert list(model_of(path, outputs=["y"]).outputs) == ["y"]


# ---- graphs that do not take several frames ------------------------------------------------------


def test_a_graph_of_one_frame_loads(onnx_file):
    """Although the file calls its size free; then what works along an axis of one is an error."""
    only = [node("Reshape", "x shape", "f"), node("Relu", "f", "y")]
    constants = tensors(shape=[1, 4])
    path = onnx_file(graph_model(only, {"x": ["b", "t", 4]}, constants=constants))
    assert model_of(path).inputs["x"].shape == (4,)
    mean = [node("Reshape", "x shape", "f"), node("ReduceMean", "f", "y", axes=[0])]
    path = onnx_file(graph_model(mean, {"x": ["b", "t", 4]}, constants=constants))
    with pytest.raises(FormatError, match=r"ReduceMean y\.node works along"):
        model_of(path)


def test_free_axes_that_do_not_grow_together_grow_alone(onnx_file):
    """The second is a width that has to be 1, as its weights say."""
    nodes = [node("Transpose", "x", "t", perm=[0, 1, 3, 2]), node("MatMul", "t w", "z")]
    given = {"x": ["b", "t", "width", 4]}
    fit = [node("MatMul", "t w", "z"), node("Relu", "z", "y")]
    path = onnx_file(graph_model([nodes[0], *fit], given, constants=tensors(w=floats(1, 3))))
    assert model_of(path).inputs["x"].shape == (4,)
    first = [*nodes, node("Gather", "z at", "y", axis=1)]
    constants = tensors(w=floats(1, 3), at=np.array(0))
    path = onnx_file(graph_model(first, given, constants=constants))
    with pytest.raises(FormatError, match=r"Gather y\.node takes frames by their place"):
        model_of(path)


# ---- states --------------------------------------------------------------------------------------


def test_a_state_may_be_joined_with_a_frame(onnx_file):
    """The last frame, which a convolution takes with the next."""
    nodes = [
        node("Concat", "cache x", "both", axis=1),
        node("Slice", "both one end one", "cache_out"),
        node("Transpose", "both", "t", perm=[0, 2, 1]),
        node("Conv", "t k", "y"),
    ]
    constants = tensors(one=[1], end=[2**31], k=floats(3, 4, 2))
    given = {"x": ["batch", "time", 4], "cache": [1, 1, 4]}
    model = model_of(onnx_file(graph_model(nodes, given, ("y", "cache_out"), constants)))
    assert list(model.states) == ["cache"]


# ---- a Squeeze without axes, which takes the axis of time with it where there is one frame -------

BEHIND = {
    "mean": (node("ReduceMean", "s", "y", axes=[0]), {}),
    "softmax": (node("Softmax", "s", "y", axis=0), {}),
    "last frame": (node("Gather", "s at", "y", axis=0), {"at": np.array(-1)}),
    "all but one": (node("Slice", "s from to", "y"), {"from": [0], "to": [-1]}),
    "joined": (node("Concat", "s s", "y", axis=0), {}),
    "product": (node("MatMul", "s w", "y"), {"w": floats(6, 3)}),
    "sum": (node("Add", "s w", "y"), {"w": floats(6)}),
}


@pytest.mark.parametrize("width", [6, 7])  # the numbers of frames that are traced are 8 and 13
@pytest.mark.parametrize("name", BEHIND)
def test_what_a_squeeze_leaves_of_one_frame_is_no_sequence(name, width, onnx_file):
    behind, constants = BEHIND[name]
    if name in ("product", "sum"):
        constants = {"w": floats(width, 3) if name == "product" else floats(width)}
    nodes = [node("Squeeze", "x", "s"), behind]
    path = onnx_file(graph_model(nodes, {"x": [1, "t", width]}, constants=tensors(**constants)))
    with pytest.raises(FormatError, match=r"y\.node gets a value that has no axis of time"):
        model_of(path)


@pytest.mark.parametrize("width", [8, 13])
def test_also_where_a_frame_is_as_long_as_the_sequence_that_is_traced(width, onnx_file):
    nodes = [node("Squeeze", "x", "s"), node("ReduceMean", "s", "y", axes=[0])]
    with pytest.raises(FormatError, match=r"y\.node gets a value that has no axis of time"):
        model_of(onnx_file(graph_model(nodes, {"x": [1, "t", width]})))


def test_a_squeeze_of_what_is_computed_loads(onnx_file):
    """What takes each value alone may come behind it."""
    nodes = [node("MatMul", "x w", "l"), node("Squeeze", "l", "s"), node("Sigmoid", "s", "y")]
    path = onnx_file(graph_model(nodes, {"x": [1, "t", 4]}, constants=tensors(w=floats(4, 1))))
    stream, xs = model_of(path).stream(), floats(5, 4)
    expected = run(session(path), {"x": xs[None]})["y"]
    assert np.allclose([stream.step(x) for x in xs], expected, atol=1e-6)


def test_what_depends_on_frames_stands_in_front_of_none(onnx_file):
    """In the file the last frame stands before the first; here it would before each."""
    nodes = [
        node("Slice", "x last end axis", "l"),
        node("Tanh", "l", "h"),
        node("Concat", "h x", "j", axis=2),
        node("Conv", "j w", "y"),
    ]
    constants = tensors(last=[-1], end=[2**62], axis=[2], w=floats(3, 4, 2))
    path = onnx_file(graph_model(nodes, {"x": [1, 4, "t"]}, constants=constants))
    with pytest.raises(FormatError, match=r"Concat j\.node puts frames in another order"):
        model_of(path)


def test_padding_in_front_of_what_is_still_to_come_is_refused(onnx_file):
    """A convolution that looks ahead, and then a delay by as much: the first value is not final."""
    nodes = [
        node("Conv", "x w", "c", pads=[2, 2]),
        node("Slice", "c two end axis", "s"),
        node("Pad", "s pads", "p"),
        node("Slice", "p zero cut axis", "y"),
    ]
    values = {"two": [2], "end": [2**62], "axis": [2], "zero": [0], "cut": [-2]}
    constants = tensors(w=floats(4, 3, 3), pads=[0, 0, 2, 0, 0, 0], **values)
    path = onnx_file(graph_model(nodes, {"x": [1, 3, "t"]}, constants=constants))
    with pytest.raises(FormatError, match=r"node Conv c\.node looks 2 frames into the future"):
        model_of(path)
