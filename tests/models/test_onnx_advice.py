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
