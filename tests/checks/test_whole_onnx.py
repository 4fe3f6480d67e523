"""Whole ONNX models in onnxruntime, step by step beside our Model of the same file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper
from silero_path import silero_file

from lstm_fast import checks, cli
from lstm_fast.checks import Options, TargetError, adapters

GOLDEN = Path(__file__).parent.parent / "golden" / "formats"
FAST = ["--steps", "100", "--skip", "latency,slow_paths"]
FEW = Options(drift_steps=200, runs=2, threads=2, sessions=2)
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


def file(path, *, rows="batch"):
    """x (N, 6) and a token to a probability and a mean; state h and c of an LSTM of 5."""
    rng = np.random.default_rng(0)
    weights = {
        "table": rng.standard_normal((4, 3)),
        "w": rng.standard_normal((9, 5)),
        "W": 0.5 * rng.standard_normal((1, 20, 5)),
        "R": 0.5 * rng.standard_normal((1, 20, 5)),
        "v": 2 * rng.standard_normal((5, 1)),
    }
    constants = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()]
    constants.append(numpy_helper.from_array(np.array([0], np.int64), "zero"))
    nodes = [
        helper.make_node("Gather", ["table", "token"], ["row"]),
        helper.make_node("Concat", ["x", "row"], ["both"], axis=1),
        helper.make_node("MatMul", ["both", "w"], ["z"]),
        helper.make_node("Relu", ["z"], ["r"]),
        helper.make_node("Unsqueeze", ["r", "zero"], ["one"]),
        helper.make_node(
            "LSTM", ["one", "W", "R", "", "", "h", "c"], ["", "hn", "cn"], "cell", hidden_size=5
        ),
        helper.make_node("Squeeze", ["hn", "zero"], ["last"]),
        helper.make_node("MatMul", ["last", "v"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
        helper.make_node("Identity", ["r"], ["features"]),
    ]
    state = [1, rows, 5]
    inputs = [
        helper.make_tensor_value_info("x", FLOAT, [rows, 6]),
        helper.make_tensor_value_info("token", INT64, [rows]),
        *(helper.make_tensor_value_info(name, FLOAT, state) for name in "hc"),
    ]
    outputs = [helper.make_tensor_value_info("p", FLOAT, [rows, 1])]
    outputs += [helper.make_tensor_value_info("features", FLOAT, [rows, 5])]
    outputs += [helper.make_tensor_value_info(name, FLOAT, state) for name in ("hn", "cn")]
    graph = helper.make_graph(nodes, "whole", inputs, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    path.write_bytes(made.SerializeToString())
    return path


def check(*arguments):
    return cli.main(["check", *map(str, arguments)])


@pytest.mark.parametrize("rows", ["batch", 1])
def test_a_file_of_several_inputs_and_outputs(rows, tmp_path):
    target = adapters.from_onnx_model(file(tmp_path / "whole.onnx", rows=rows))
    assert list(target.layout.inputs) == ["x", "token"]
    assert target.layout.integers == {"token": (-4, 4)}
    found = checks.run(target, target.oracle, FEW, skip=["latency", "slow_paths"])
    assert found.passed, str(found)
    assert "every output and the state" in found["agreement"].text
    assert ("rows of a batch" in found["isolation"].text) is (rows == "batch")


def test_from_the_shell(tmp_path, capsys):
    path = file(tmp_path / "whole.onnx")
    report = tmp_path / "report.json"
    assert check(path, *FAST, "--json", report) == 0
    assert "passed" in capsys.readouterr().out
    results = {one["name"]: one for one in json.loads(report.read_text())["results"]}
    assert results["agreement"]["status"] == "passed"
    assert "every output" in results["agreement"]["text"]


def test_swapped_states_are_named(tmp_path, capsys):
    path = file(tmp_path / "whole.onnx")
    report = tmp_path / "report.json"
    states = ["--state", "h:cn", "--state", "c:hn"]
    assert check(path, *states, *FAST, "--json", report) == 1
    results = {one["name"]: one for one in json.loads(report.read_text())["results"]}
    agreement = results["agreement"]
    assert (
        "they part at step 1" in agreement["text"]
        or "they part at step 0, in state" in (agreement["text"])
    )
    assert agreement["diagnosis"][0]["mistake"] == "states_swapped:h,c"
    out = " ".join(capsys.readouterr().out.split())  # wherever lines are wrapped
    assert "swapped as they are carried" in out


def test_a_whole_reference_from_a_file(tmp_path):
    path = file(tmp_path / "whole.onnx")
    adapters.from_onnx_model(path).model.save(tmp_path / "same.lfm")
    assert check(path, "--reference", tmp_path / "same.lfm", *FAST) == 0
    assert check(tmp_path / "same.lfm", *FAST) == 0


def test_what_cannot_be_stepped_so_is_told(tmp_path):
    with pytest.raises(TargetError, match="is of whole models, x= of an LSTM's frames"):
        checks.command.load_target(
            str(file(tmp_path / "a.onnx")), onnx={"history": {"x": 2}, "x": "x"}
        )


# ---- Silero VAD ----------------------------------------------------------------------------------

RIGHT = ["--set", "sr=16000", "--history", "input=64", "--frame", "512"]


def silero(*arguments, tmp_path):
    """Return the exit status and the agreement of the report."""
    report = tmp_path / "report.json"
    only = ["--only", "agreement,reset,nan", "--json", report]
    status = check(silero_file("silero_vad.onnx"), *arguments, *only)
    results = {one["name"]: one for one in json.loads(report.read_text())["results"]}
    return status, results["agreement"]


def test_silero_with_its_context_passes(tmp_path):
    status, agreement = silero(*RIGHT, tmp_path=tmp_path)
    assert (status, agreement["status"]) == (0, "passed")
    assert "every output and the state" in agreement["text"]


def test_silero_at_the_other_rate_passes(tmp_path):
    says = ["--set", "sr=8000", "--history", "input=32", "--frame", "256"]
    assert silero(*says, tmp_path=tmp_path)[0] == 0


WRONG = {
    "history:input=0": [*RIGHT[:2], "--history", "input=0", "--frame", "512"],
    "history:input=32": [*RIGHT[:2], "--history", "input=32", "--frame", "512"],
}


@pytest.mark.parametrize("cause", WRONG)
def test_silero_with_wrong_options_fails_with_its_cause(cause, tmp_path):
    status, agreement = silero(*WRONG[cause], tmp_path=tmp_path)
    assert (status, agreement["status"]) == (1, "failed")
    assert agreement["diagnosis"][0]["mistake"] == cause
    assert "they part at step" in agreement["text"]


def test_silero_at_the_wrong_rate_is_told(capsys):
    says = ["--set", "sr=8000", *RIGHT[2:]]
    assert check(silero_file("silero_vad.onnx"), *says, *FAST) == 2
    err = capsys.readouterr().err
    assert "takes 288 values per frame (--frame) at 8000 Hz (32 of context" in err
    assert "found 576" in err


def test_silero_whose_halves_are_swapped_is_named():
    target = adapters.from_onnx_model(
        silero_file("silero_vad.onnx"),
        shapes={"input": (1, 576)},
        constants={"sr": 16000},
        history={"input": 64},
    )
    opened = target.open

    def swapped():
        session = opened()
        right = session.step

        def step(x):
            y = right(x)
            session._kept = {name: value[::-1] for name, value in session._kept.items()}
            return y

        session.step = step
        return session

    target.open = swapped
    result = checks.run(target, target.oracle, FEW, only=["agreement"])["agreement"]
    assert result.diagnosis[0]["mistake"] == "halves_swapped:state"


# ---- other files ---------------------------------------------------------------------------------


def sequences(path):
    """x (batch, time, 6) to probabilities: an LSTM of its own start, as PyTorch exports one."""
    rng = np.random.default_rng(1)
    weights = {
        "W": 0.5 * rng.standard_normal((1, 20, 6)),
        "R": 0.5 * rng.standard_normal((1, 20, 5)),
        "v": rng.standard_normal((5, 2)),
    }
    constants = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()]
    constants.append(numpy_helper.from_array(np.array([1], np.int64), "one"))
    nodes = [
        helper.make_node("Transpose", ["x"], ["turned"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["turned", "W", "R"], ["ys"], "cell", hidden_size=5),
        helper.make_node("Squeeze", ["ys", "one"], ["flat"]),
        helper.make_node("Transpose", ["flat"], ["back"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["back", "v"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["p"], axis=-1),
    ]
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["batch", "time", 6])]
    outputs = [helper.make_tensor_value_info("p", FLOAT, ["batch", "time", 2])]
    graph = helper.make_graph(nodes, "sequences", inputs, outputs, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    path.write_bytes(made.SerializeToString())
    return path


def test_a_file_of_whole_sequences(tmp_path):
    """Onnxruntime runs it over all frames since the reset, and ours steps."""
    path, report = sequences(tmp_path / "sequences.onnx"), tmp_path / "report.json"
    assert check(path, *FAST, "--json", report) == 0
    results = {one["name"]: one for one in json.loads(report.read_text())["results"]}
    assert results["agreement"]["text"].startswith("every output within")
    with pytest.raises(TargetError, match="kept from step to step by the model itself"):
        adapters.from_onnx_model(path, shapes={"x": (1, 1, 6)})


UNUSED = {
    "set": ["--set", "sr=8000", "--frame", "7"],
    "history": ["--history", "input=64"],
    "shape": ["--shape", "x=1,7"],
    "time-axis": ["--time-axis", "0"],
    "weight-dtype": ["--weight-dtype", "int8"],
    "name": ["--name", "cell"],
    "head": ["--head"],
}


@pytest.mark.parametrize("flag", UNUSED)
@pytest.mark.parametrize("name", ["whole.lfm", "keras_models/tokens.keras"])
def test_options_that_such_files_do_not_take_are_refused(flag, name, tmp_path, capsys):
    path = GOLDEN / name
    if name == "whole.lfm":
        path = tmp_path / name
        adapters.from_onnx_model(file(tmp_path / "whole.onnx")).model.save(path)
    assert check(path, *UNUSED[flag], *FAST) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
    assert f"takes no --{flag}" in captured.err
    assert check(path, "--only", "determinism") == 0  # control: without them it can be checked


def test_weights_of_a_whole_onnx_file_have_no_other_type(tmp_path, capsys):
    says = ["--shape", "x=1,6", "--weight-dtype", "int8"]
    assert check(file(tmp_path / "whole.onnx"), *says, *FAST) == 2
    assert "a whole model takes no --weight-dtype" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["nam/one_layer.nam", "keras_models/tokens.keras"])
def test_files_that_we_alone_run_here(name, capsys):
    assert check(GOLDEN / name, *FAST) == 0
    assert f"{name.partition('/')[2]} in lstm_fast: passed" in capsys.readouterr().out


def test_an_lstm_alone_is_checked_as_before(tmp_path):
    target = checks.command.load_target(str(sequences(tmp_path / "a.onnx")), whole=False)
    assert getattr(target, "oracle", None) is None
