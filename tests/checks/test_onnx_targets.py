"""Models in onnxruntime as targets: with the state as inputs and outputs, or whole sequences."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from passing import passes
from silero_path import silero_file

from lstm_fast import LSTM, checks
from lstm_fast.bench import peers
from lstm_fast.bench.shapes import Shape
from lstm_fast.checks import TargetError, adapters
from lstm_fast.checks.target import record

GOLDEN = Path(__file__).parent.parent / "golden" / "formats"


def stepping_model(lstm, rows=1):
    """A model of one step with the state as inputs and outputs, as bytes."""
    pytest.importorskip("onnx")
    shape = Shape("test", lstm.input_size, lstm.hidden_size, lstm.num_layers)
    return peers._onnx_model(shape, lstm.state_dict(), rows)


@pytest.fixture
def ort():
    return pytest.importorskip("onnxruntime")


def test_onnx_with_states(ort):
    lstm = LSTM.random(6, 9)
    target = adapters.from_onnx(stepping_model(lstm))
    passes(target, lstm, skipped=["chunks"])
    assert target.signature.states == {"h0_in": "h0", "c0_in": "c0"}
    assert checks.agreement(target, LSTM.random(6, 9, seed=1)).failed


def test_onnx_with_several_layers_is_judged_by_its_output(ort):
    lstm = LSTM.random(6, 9, 2)
    target = adapters.from_onnx(stepping_model(lstm), y="h1")
    passes(target, lstm, skipped=["chunks"])


@pytest.mark.parametrize("name", ["dynamo_stack", "torchscript_stack", "torchscript_trained_state"])
def test_onnx_of_whole_sequences(ort, name):
    path = GOLDEN / "onnx" / f"{name}.onnx"
    target = adapters.from_onnx(path)
    only = ["agreement", "reset", "isolation", "chunks", "nan"]
    passes(target, path, only)
    expected = np.load(path.with_suffix(".npz"))
    found = record(target, expected["x"][0])
    np.testing.assert_allclose(found.ys, expected["y"][0], atol=1e-6)
    np.testing.assert_allclose(found.cs, expected["c"][:, :, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("dynamo_fixed_sizes", "2 rows or steps fixed"),
        ("dynamo_external_data", "6 rows or steps fixed"),
        ("torchscript_both", "is it bidirectional"),
    ],
)
def test_onnx_that_cannot_be_stepped_is_told(ort, name, says):
    with pytest.raises(TargetError, match=says):
        adapters.from_onnx(GOLDEN / "onnx" / f"{name}.onnx")


def test_onnx_names_that_are_wrong_are_told(ort):
    model = stepping_model(LSTM.random(6, 9))
    with pytest.raises(TargetError, match=r"x: there is no 'input' in the model: 'X' \[1, 1, 6\]"):
        adapters.from_onnx(model, x="input")
    with pytest.raises(TargetError, match="can't load"):
        adapters.from_onnx(b"nonsense")


def test_quantisation_over_a_batch_is_caught(ort, tmp_path):
    """onnxruntime's dynamic quantisation takes one scale for all rows of a batch."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    source = GOLDEN / "onnx" / "torchscript_stack.onnx"
    path = tmp_path / "quantised.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantization.quantize_dynamic(source, path, op_types_to_quantize=["LSTM"])
    target = adapters.from_onnx(path, origin=None)
    batch = target.batch(2)
    xs = np.ones((2, 5), np.float32)
    rows = []
    for scale in (1, 50):
        batch.reset()
        rows.append(np.array(batch.step(xs * np.float32([[1], [scale]])))[0])
    if rows[0].tobytes() == rows[1].tobytes():
        pytest.skip(f"onnxruntime {ort.__version__} no longer scales over the batch")
    result = checks.isolation(target)
    assert result.failed
    assert "in a batch of 2, a row depends on what the others hold" in result.text
    with pytest.raises(AssertionError):
        exec(result.reproduction, {"target": target})
    exec(result.reproduction, {"target": adapters.from_onnx(source)})  # in float32 it passes


def test_silero(ort):
    path = silero_file()
    target = adapters.from_onnx(path, constants={"sr": np.array(16000)}, frame_shape=(576,))
    passes(target, None, ["reset", "determinism", "isolation", "nan"])
    assert target.signature.h_and_c == ("stateN",)
    recording = record(target, np.zeros((2, 576)))
    assert recording.hs.shape == recording.cs.shape == (2, 1, 128)
    with pytest.raises(TargetError, match="constants"):
        adapters.from_onnx(path, frame_shape=(576,))
