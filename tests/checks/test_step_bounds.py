"""Right ONNX files are not blamed for what a reader has rounded, or for how values are chosen."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
from program_graphs import graph_model, node, onnx_file, tensors

from lstm_fast import load_model
from lstm_fast.checks._program_bounds import StepBounds
from lstm_fast.cli import main

__all__ = ["onnx_file"]  # a fixture


def normalised(seed, width=8):
    rng = np.random.default_rng(seed)
    values = {
        "scale": rng.uniform(0.8, 1.2, width),
        "bias": rng.normal(0, 0.1, width),
        "mean": rng.normal(0, 0.3, width),
        "var": rng.uniform(0.5, 1.5, width),
    }
    constants = {name: value.astype(np.float32) for name, value in values.items()}
    made = node("BatchNormalization", "x scale bias mean var", "y")
    return graph_model([made], {"x": [1, width]}, constants=tensors(**constants))


@pytest.mark.parametrize("seed", range(4))
def test_batch_normalisation_is_no_fault(seed, onnx_file, capsys):
    """Its factors are folded and rounded here, and nowhere else: no rule holds for it."""
    path = onnx_file(normalised(seed))
    assert not StepBounds(load_model(path)).fits
    assert main(["check", str(path), "--only", "agreement"]) == 0, capsys.readouterr().out


def test_values_that_are_chosen_have_a_bound(onnx_file, capsys):
    nodes = [node("Gather", "x at", "g", axis=1), node("Tanh", "g", "y")]
    path = onnx_file(graph_model(nodes, {"x": [1, 4]}, constants=tensors(at=[2, 0, 3])))
    assert StepBounds(load_model(path)).fits
    assert main(["check", str(path), "--only", "agreement"]) == 0, capsys.readouterr().out
