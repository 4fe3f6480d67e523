"""Models in onnxruntime as targets: with the state as inputs and outputs, or whole sequences."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from onnx_target_models import recurrent, sequence, ten_vad
from passing import passes
from silero_path import silero_files

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


@pytest.mark.parametrize("path", silero_files(), ids=lambda path: path.name)
def test_silero(ort, path):
    has_rate = "sr" in {one.name for one in ort.InferenceSession(path).get_inputs()}
    constants = {"sr": 16000} if has_rate else {}
    target = adapters.from_onnx(path, constants=constants, frame_shape=(1, 576))
    skipped = [] if "sequence" in path.name else ["chunks"]
    passes(target, None, ["reset", "determinism", "isolation", "nan", "chunks"], skipped)
    pairs = {"h": "hn", "c": "cn"} if "sequence" in path.name else {"state": "stateN"}
    assert target.signature.states == pairs
    assert target.signature.h_and_c == tuple(pairs.values())
    assert target.remarks == ()
    recording = record(target, np.zeros((2, 576)))
    assert recording.hs.shape == recording.cs.shape == (2, 1, 128)
    with pytest.raises(TargetError, match=r"64 of context, which are the last ones .* found 512"):
        adapters.from_onnx(path, constants=constants, frame_shape=(512,))
    if has_rate:
        with pytest.raises(TargetError, match="constants"):
            adapters.from_onnx(path, frame_shape=(576,))
        with pytest.raises(TargetError, match="takes 16000 or 8000 Hz, found sr=44100"):
            adapters.from_onnx(path, constants={"sr": 44100}, frame_shape=(576,))


STATE = {"state": ("stateN", [2, "rows", 128])}


def test_a_silero_is_known_by_its_inputs_and_outputs(ort):
    """Made here, so that it is tested where the package is not installed."""
    likeness = recurrent((512,), STATE)
    with pytest.raises(TargetError, match=r"found 512.* lstm-fast check FILE .*--no-reference"):
        adapters.from_onnx(likeness, frame_shape=(512,))
    said = adapters.from_onnx(likeness, frame_shape=(512,), states={"state": "stateN"})
    assert "takes 576 values per frame" in said.remarks[0]
    for other in (
        recurrent((512,), {"state": ("stateN", [2, "rows", 64])}),
        recurrent((512,), {"state": ("next", [2, "rows", 128])}),
        recurrent((512,), STATE, x="frames"),
    ):
        assert adapters.from_onnx(other).remarks == ()  # control: others are taken as they are
    old = {name: (f"{name}n", [2, "rows", 64]) for name in "hc"}
    assert adapters.from_onnx(recurrent((512,), old)).remarks == ()
    with pytest.raises(TargetError, match=r"version 4\) takes 512 or 1024 or 1536 values"):
        adapters.from_onnx(recurrent((576,), old), frame_shape=(576,))


@pytest.mark.parametrize("frame", [None, (3, 41), (1, 3, 41), (123,)])
def test_ten_vad(ort, frame):
    """Its frames have two axes, and each of its free axes has a name of its own."""
    target = adapters.from_onnx(ten_vad(), frame_shape=frame)
    passes(target, None, ["reset", "determinism", "isolation", "nan"])
    signature = target.signature
    assert (target.input_size, signature.batch_axis, signature.time_axis) == (123, 0, None)
    assert signature.states == {f"input_{n}": f"output_{n}" for n in (2, 3, 6, 7)}
    assert signature.has_batches
    with pytest.raises(TargetError, match=r"--frame 3,41"):
        adapters.from_onnx(ten_vad(), frame_shape=(41,))


PAIRS = {
    "h and hn": {"h": ("hn", [1, "rows", 8]), "c": ("cn", [1, "rows", 8])},
    "h_0 and h_n": {"h_0": ("h_n", ["rows", 8]), "c_0": ("c_n", ["rows", 8])},
    "in and out": {"c_in": ("c_out", ["n", 8]), "h_in": ("h_out", ["n", 8])},
    "new": {"cache_0": ("new_cache_0", ["a", 8]), "cache_1": ("new_cache_1", ["b", 8])},
    "next": {"state": ("next_state", [1, "n", 8])},
    "by order": {"a": ("p", ["m", 8]), "b": ("q", ["n", 8])},
    "by shape": {"a": ("q", ["m", 8]), "b": ("p", ["n", 9])},
    "fixed": {"h": ("hn", [1, 8]), "c": ("cn", [1, 8])},
}


@pytest.mark.parametrize("states", PAIRS.values(), ids=PAIRS)
@pytest.mark.parametrize("size", [6, 8], ids=["unlike", "as_wide_as_the_state"])
def test_states_are_paired(ort, states, size):
    rows = 1 if states is PAIRS["fixed"] else "rows"
    target = adapters.from_onnx(recurrent((size,), states, rows=rows))
    assert target.signature.x == "input"
    assert target.signature.states == {name: output for name, (output, _) in states.items()}
    passes(target, None, ["reset", "isolation"])


def test_states_are_paired_where_the_frames_come_last(ort):
    states = {"h_in": ("h_out", ["rows", 8]), "c_in": ("c_out", ["rows", 8])}
    model = recurrent((8,), states, shape=["rows", 8], last=True)
    target = adapters.from_onnx(model)
    assert target.signature.x == "input"
    assert target.signature.states == {"h_in": "h_out", "c_in": "c_out"}


def test_states_are_paired_where_the_model_does_not_say_their_shapes(ort):
    states = {"h_in": ("h_out", ["rows", 8]), "c_in": ("c_out", ["rows", 8])}
    target = adapters.from_onnx(recurrent((5,), states, wrong=("h_in", "c_in")))
    assert target.signature.states == {"h_in": "h_out", "c_in": "c_out"}


def test_a_number_is_given_as_the_model_wants_it(ort):
    states = {"h": ("hn", ["rows", 8])}
    model = recurrent((5,), states, gain=[1])
    target = adapters.from_onnx(model, constants={"gain": 2})  # an int, for float32 [1]
    passes(target, None, ["reset"])
    with pytest.raises(TargetError, match=r"'gain' has shape \(2, 2\), the model takes \[1\]"):
        adapters.from_onnx(model, constants={"gain": np.ones((2, 2))})


@pytest.mark.parametrize(
    ("rows", "frame", "batch_axis"),
    [("rows", (1, 1, 5), 0), (1, (1, 1, 5), None), (1, (1, "rows", 5), 2), (1, (3, 5), 0)],
)
def test_axes_of_one_size_belong_to_the_frame(ort, rows, frame, batch_axis):
    states = {"h": ("hn", ["rows", 8])}
    size = 15 if 3 in frame else 5
    model = recurrent(frame, states, rows=rows, size=size, shape=["rows", 1])
    target = adapters.from_onnx(model)
    assert (target.input_size, target.signature.batch_axis) == (size, batch_axis)
    passes(target, None, ["reset", "isolation"])


def test_a_model_of_one_row_whose_axis_is_free(ort):
    """It only runs with one row, as its state has, though its frames could have several."""
    states = {"h": ("hn", [1, 8])}
    target = adapters.from_onnx(recurrent((5,), states, shape=["rows", 1]))
    passes(target, None, ["reset", "isolation"])


def test_sizes_of_a_state_that_are_not_known_are_told(ort):
    states = {"h": ("hn", ["rows", "units"])}
    with pytest.raises(TargetError, match=r"free axes of 'h' \['rows', 'units'\] are taken as 1"):
        adapters.from_onnx(recurrent((5,), states, units=8))


def test_frames_that_do_not_fit_are_told(ort):
    states = {"h": ("hn", ["rows", 8])}
    with pytest.raises(TargetError, match=r"a frame of shape \(1, 7\) does not fit"):
        adapters.from_onnx(recurrent((5,), states), frame_shape=(1, 7))
    with pytest.raises(TargetError, match=r"its last axis is free: say frame_shape="):
        adapters.from_onnx(recurrent(("any",), states, size=5))
    with pytest.raises(TargetError, match=r"can't run it with \{'input': \(3, 7\)|can't run it"):
        adapters.from_onnx(recurrent(("any",), states, size=5), frame_shape=(7,))
    with pytest.raises(TargetError, match=r"there is no such axis in \(7, None\)"):
        adapters.from_onnx(recurrent((5,), states), time_axis=7)


def test_a_sequence_with_one_axis_for_time(ort):
    """As of Silero's model for whole sequences: x is (T, I), and the states have no rows."""
    pytest.importorskip("onnx")
    lstm = LSTM.random(6, 9)
    for with_states in (True, False):
        model = sequence(lstm, with_states)
        target = adapters.from_onnx(model)
        assert (target.signature.time_axis, target.signature.batch_axis) == (0, None)
        passes(target, lstm, ["agreement", "reset", "chunks", "isolation"])
