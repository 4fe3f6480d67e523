"""Errors of ONNX models say what to do, and that works."""

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
    run,
    session,
    tensors,
)

from lstm_fast.errors import FormatError  # noqa: E402
from lstm_fast.formats.onnx._program import program_from_onnx  # noqa: E402

__all__ = ["onnx_file"]  # a fixture


KERNEL = floats(3, 4, 3)


def padded_conv(shape=None, **conv):
    """Return a model that pads two frames in front of a convolution along a free time axis.

    shape: of the results, where the file has it, so that it does not take as many frames as it
    says.
    """
    nodes = [
        node("Transpose", "x", "t", perm=[0, 2, 1]),
        node("Pad", "t pads", "p"),
        node("Conv", "p k", "y" if shape is None else "z", **conv),
    ]
    constants = {"k": KERNEL, "pads": [0, 0, 2, 0, 0, 0]}
    if shape is not None:
        nodes.append(node("Reshape", "z shape", "y"))
        constants["shape"] = shape
    return graph_model(nodes, {"x": ["batch", "time", 4]}, constants=tensors(**constants))


def test_a_causal_convolution_is_cut_behind_its_padding(onnx_file):
    """As the error says, which gives what the file has of the whole sequence."""
    path = onnx_file(padded_conv([1, 3, 1]))
    advice = r'inputs=\["p"\], shapes=\{"p": \(1, 4, 3\)\}, history=\{"p": 2\}'
    with pytest.raises(FormatError, match=advice):
        program_from_onnx(path)
    model = model_of(path, inputs=["p"], shapes={"p": (1, 4, 3)}, history={"p": 2})
    assert "input p: 2 values of its last axis, 2, are kept as history" in model.notes
    xs, stream = floats(6, 4), model.stream()
    whole = run(session(onnx_file(padded_conv(), "whole.onnx")), {"x": xs[None]})["y"][0]
    assert np.allclose([stream.step(x[:, None])[:, 0] for x in xs], whole.T, atol=1e-5)


def test_a_convolution_that_pads_more_is_not_cut_so(onnx_file):
    with pytest.raises(FormatError, match="works along") as error:
        program_from_onnx(onnx_file(padded_conv([1, 3, 3], pads=[1, 1])))
    assert "history" not in str(error.value)


def test_a_size_that_the_file_fixes_is_exported_again(onnx_file):
    path = onnx_file(graph_model([node("Relu", "x", "y")], {"x": [1, 5, 8]}))
    with pytest.raises(FormatError, match=r"export it again with that axis free .*dynamic_shapes"):
        program_from_onnx(path, shapes={"x": (1, 1, 8)})
    with pytest.raises(FormatError, match="shapes says") as error:
        program_from_onnx(path, shapes={"x": (5, 8)})
    assert "export" not in str(error.value)


def test_a_shape_that_nothing_says_is_asked_for_with_all_axes(onnx_file):
    nodes = [node("Relu", "x", "a"), node("Relu", "a", "y")]
    path = onnx_file(graph_model(nodes, {"x": [1, 4]}))
    with pytest.raises(FormatError, match=r'shapes=\{"a": \(\.\.\.\)\}, with all its axes'):
        program_from_onnx(path, inputs=["a"])
    model = model_of(path, inputs=["a"], shapes={"a": (1, 4)})
    assert not any("history" in text for text in model.notes)


def test_tokens_that_no_step_takes_alone_are_told_both_ways(onnx_file):
    """A mean over tokens: one of them a step is refused, and what can be said is named."""
    nodes = [node("Gather", "table x", "e"), node("ReduceMean", "e", "y", axes=[1])]
    given = {"x": (["b", "t"], onnx.TensorProto.INT64)}
    path = onnx_file(graph_model(nodes, given, constants=tensors(table=floats(9, 4))))
    text = (
        r'shapes=\{"x": \(1, \.\.\.\)\}, or, where that is time, time_axis=\{"x": 1\}.*ReduceMean y'
    )
    with pytest.raises(FormatError, match=text):
        model_of(path)
    assert model_of(path, shapes={"x": (1, 3)}).inputs["x"].shape == (3,)
    path = onnx_file(graph_model(nodes[:1], given, ("e",), tensors(table=floats(9, 4))))
    assert model_of(path).stream().step([3]).shape == (4,)  # the control


TURNED = node("Transpose", "x", "t", perm=[0, 2, 1])
ALONG = {  # what takes several frames, and what a model of one frame says of it
    "max pool": ([TURNED, node("MaxPool", "t", "y", kernel_shape=[2])], {}, "a window spans 2"),
    "mean pool": ([TURNED, node("AveragePool", "t", "y", kernel_shape=[2])], {}, "a window spans"),
    "reflected": (
        [node("Pad", "x pads", "y", mode="reflect")],
        {"pads": [0, 2, 0, 0, 0, 0]},
        "too small to be reflected",
    ),
    "heads": ([node("Reshape", "x heads", "y")], {"heads": [8, 2, 2]}, "does not fit into"),
}


@pytest.mark.parametrize(
    ("name", "length"),
    [(name, length) for name in ALONG for length in ("t", 8) if (name, length) != ("heads", 8)],
)  # heads of 8 frames are those of each one
def test_what_needs_several_frames_is_not_called_damaged(name, length, onnx_file):
    nodes, constants, text = ALONG[name]
    shape = ["b" if length == "t" else 1, length, 4]
    path = onnx_file(graph_model(nodes, {"x": shape}, constants=tensors(**constants)))
    session(path)
    with pytest.raises(FormatError) as error:
        model_of(path, **({} if length == "t" else {"time_axis": 1}))
    assert "damaged" not in str(error.value)
    assert text in str(error.value)
    assert "it needs several frames, as what works along time does" in str(error.value)
    if length == 8:
        assert "look whether that axis is time, or export it again" in str(error.value)
        return
    with pytest.raises(FormatError, match="damaged"):  # the control: the sizes are the caller's
        model_of(path, shapes={"x": (1, 1, 4)})


def test_a_delay_is_told_how(onnx_file):
    """Joined behind zeros; padded and cut it is a stream, as the error says."""
    front = tensors(pads=[0, 1, 0, 0, 0, 0], zero=[0], end=[-1], one=[1])
    cut, given = node("Slice", "x zero end one", "c"), {"x": ["b", "t", 4]}
    path = onnx_file(graph_model([cut, node("Pad", "c pads", "y")], given, constants=front))
    with pytest.raises(FormatError, match=r"as one frame has none before it. .*F\.pad\(x"):
        model_of(path)
    nodes = [node("Pad", "x pads", "p"), node("Slice", "p zero end one", "y")]
    path, xs = onnx_file(graph_model(nodes, given, constants=front)), floats(5, 4)
    stream = model_of(path).stream()
    expected = run(session(path), {"x": xs[None]})["y"][0]
    assert np.array_equal([stream.step(x) for x in xs], expected)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("behind", [False, True])
def test_only_parts_that_compute_something_are_proposed(before, behind, onnx_file):
    nodes = [node("Relu", "x", "a")] if before else []
    nodes.append(node("CumSum", f"{'a' if before else 'x'} axis", "s" if behind else "y"))
    nodes += [node("Relu", "s", "y")] if behind else []
    path = onnx_file(graph_model(nodes, {"x": [1, 4]}, constants=tensors(axis=np.array(1))))
    with pytest.raises(FormatError, match="there is no operation for it") as error:
        model_of(path)
    assert ("outputs=['a']" in str(error.value)) == before
    assert ("inputs=['s']" in str(error.value)) == behind
    assert ("puts=[" in str(error.value)) == (before or behind)
    if before:
        assert model_of(path, outputs=["a"]).program.ops
    if behind:
        assert model_of(path, inputs=["s"], shapes={"s": (1, 4)}).program.ops
