"""What `diagnose` and `gather` take for the LSTM that it should be: what `checks.run` takes."""

from __future__ import annotations

import pytest
import wrong_targets as wrong
from wrong_targets import ONE_LAYER, Numpy

from lstm_fast import LSTM
from lstm_fast.checks.diagnosis import diagnose, gather
from lstm_fast.checks.target import record
from lstm_fast.formats import safetensors

CARELESS = Numpy(wrong.OrderOfOnnx, ONE_LAYER)


def kinds(tmp_path):
    lstm = LSTM.from_weights(ONE_LAYER)
    path = tmp_path / "reference.safetensors"
    safetensors.write(path, ONE_LAYER)
    return {"weights": ONE_LAYER, "lstm": lstm, "dict": lstm.state_dict(), "file": str(path)}


@pytest.mark.parametrize("kind", ["weights", "lstm", "dict", "file"])
def test_diagnose_takes_what_run_takes(kind, tmp_path):
    wanted = kinds(tmp_path)[kind]
    found = diagnose(gather(CARELESS, wanted), wanted)
    assert [one.mistake for one in found] == ["gate_order:iofg"]
    recording = record(Numpy(weights=ONE_LAYER), gather(CARELESS, wanted).recordings[0].xs)
    assert diagnose(recording, wanted).agrees  # negative control: the right one is not accused


def test_diagnose_takes_a_torch_module():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    module = torch.nn.LSTM(5, 8)
    right = LSTM.from_state_dict(dict(module.state_dict()))
    recording = record(Numpy(weights=right.weights), gather(CARELESS, ONE_LAYER).recordings[0].xs)
    assert diagnose(recording, module).agrees
    assert not diagnose(recording, ONE_LAYER, pairs=False).agrees


def test_the_weight_dtype_is_that_of_the_lstm():
    small = LSTM.random(16, 24).astype("int8")
    xs = gather(Numpy(weights=small.weights), small).recordings[0].xs
    recording = record(small.stream(), xs)
    assert diagnose(recording, small).agrees
    assert not diagnose(recording, small, weight_dtype="float32", pairs=False).agrees
    assert not diagnose(recording, small.weights, pairs=False).agrees


def test_what_is_neither_is_told():
    recording = gather(CARELESS, ONE_LAYER).recordings[0]
    with pytest.raises(TypeError, match=r"a reference is an LSTM, its weights, .* found int"):
        diagnose(recording, 5)
    with pytest.raises(TypeError, match=r"expected recordings, found a target: gather\("):
        diagnose(CARELESS, ONE_LAYER)
