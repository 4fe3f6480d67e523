"""ONNX's own node tests of the operators that programs know."""

from __future__ import annotations

import importlib
import warnings

import numpy as np
import pytest

pytest.importorskip("onnx")
from onnx import numpy_helper
from program_graphs import model_of

from lstm_fast.errors import FormatError

MODULES = """
    relu sigmoid tanh exp log abs neg sqrt reciprocal erf softplus softsign hardswish hardsigmoid
    elu leakyrelu selu gelu mish clip add sub mul div pow prelu min max sum mean less greater
    equal less_or_equal greater_or_equal where identity softmax logsoftmax reducemean reducesum
    reducemax reducemin reducel1 reducel2 reducesumsquare globalaveragepool layernormalization
    batch_normalization matmul gemm reshape flatten squeeze unsqueeze transpose concat slice
    split gather expand tile pad dropout conv maxpool averagepool globalmaxpool
"""

# Both what is given and what is expected are rounded to four digits.
FOUR_DIGITS = {"test_averagepool_2d_ceil_last_window_starts_on_pad"}
NOT_COMPUTED = ("argmax", "uint8", "averagepool_3d")


def official_cases():
    names = MODULES.split()
    with warnings.catch_warnings():  # of what the modules compute themselves
        warnings.simplefilter("ignore")
        for name in names:
            importlib.import_module(f"onnx.backend.test.case.node.{name}")
    found = {}
    for case in importlib.import_module("onnx.backend.test.case.node")._NodeTestCases:
        nodes = {one.op_type.lower() for one in case.model.graph.node} if case.model else set()
        if len(nodes) == 1 and nodes & {name.replace("_", "") for name in names}:
            found[case.name] = case
    return found


def arrays(values):
    return [numpy_helper.to_array(one) if hasattr(one, "DESCRIPTOR") else one for one in values]


def check_official(case, path):
    """Return whether a case can be computed; all of its inputs are given, or only the first."""
    path.write_bytes(case.model.SerializeToString())
    given, expected = (arrays(one) for one in case.data_sets[0])
    names = [one.name for one in case.model.graph.input]
    if any(isinstance(one, list) for one in (*given, *expected)):
        return False  # sequences of tensors
    outputs = list(case.model.graph.output)
    if case.model.graph.node[0].op_type in ("LayerNormalization", "Dropout"):
        outputs = outputs[:1]  # the others are of use in training alone
    for free in (names, names[:1]):
        feed = dict(zip(names, given, strict=True))
        try:
            model = model_of(
                path,
                states={},
                outputs=[one.name for one in outputs],
                shapes={name: feed[name].shape for name in free},
                constants={name: value for name, value in feed.items() if name not in free},
            )
        except FormatError:
            continue
        frames = {
            name: feed[name].reshape(one.shape).astype(one.kind)
            for name, one in model.inputs.items()
        }
        ours = model.stream().step(frames)
        ours = ours if isinstance(ours, dict) else dict.fromkeys(model.outputs, ours)
        for one, theirs in zip(outputs, expected, strict=False):
            wanted = np.asarray(theirs, np.float64).ravel()
            off = 1e-4 if case.name in FOUR_DIGITS else 1e-6
            assert np.allclose(np.ravel(ours[one.name]), wanted, rtol=1e-5, atol=off)
        return True
    return False


def test_onnx_node_tests(tmp_path):
    cases = official_cases()
    passed = {name for name, case in cases.items() if check_official(case, tmp_path / "case.onnx")}
    refused = set(cases) - passed
    assert len(passed) > 330, sorted(refused)
    pools = {name for name in refused if "pool" in name or "conv" in name}
    assert all(any(part in name for part in NOT_COMPUTED) for name in pools), sorted(pools)
