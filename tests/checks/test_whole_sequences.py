"""ONNX files with a free time axis: onnxruntime runs all frames since the reset, ours steps."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper

from lstm_fast import checks, cli, load_model
from lstm_fast.checks import Options, TargetError, adapters
from lstm_fast.checks.adapters import _onnx_sequences

FAST = ["--steps", "100", "--skip", "latency,slow_paths"]
FEW = Options(drift_steps=100, runs=2, threads=2, sessions=2)
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class Graph:
    """Nodes one after the other; the last value is y."""

    def __init__(self, seed=0):
        self.rng, self.nodes, self.values, self.last = np.random.default_rng(seed), [], [], "x"

    def add(self, kind, *others, first=None, outputs=1, **attributes):
        names = [one if isinstance(one, str) else self.constant(one) for one in others]
        made = [f"{kind}{len(self.nodes)}_{n}" for n in range(outputs)]
        given = [self.last if first is None else first, *names]
        self.nodes.append(helper.make_node(kind, given, made, made[0], **attributes))
        self.last = made[0]
        return self

    def constant(self, value):
        name, kind = f"v{len(self.values)}", np.int64 if value.dtype.kind == "i" else np.float32
        self.values.append(numpy_helper.from_array(value.astype(kind), name))
        return name

    def weights(self, *shape):
        return 0.5 * self.rng.standard_normal(shape)

    def conv(self, channels, out, taps=3, dilation=1):
        """Over (batch, channels, time), with zeros in front."""
        before = (taps - 1) * dilation
        self.add("Pad", np.array([0, 0, before, 0, 0, 0]))
        return self.add("Conv", self.weights(out, channels, taps), dilations=[dilation])

    def rnn(self, kind, size, hidden):
        """Over (batch, time, size)."""
        gates = {"LSTM": 4, "GRU": 3}[kind]
        self.add("Transpose", perm=[1, 0, 2])
        w, r = (self.weights(1, gates * hidden, n) for n in (size, hidden))
        self.add(
            kind, w, r, hidden_size=hidden, **{"GRU": {"linear_before_reset": 1}}.get(kind, {})
        )
        return self.add("Squeeze", np.array([1])).add("Transpose", perm=[1, 0, 2])

    def save(self, path, shape, kind=FLOAT, more=()):
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            self.nodes,
            "g",
            [
                helper.make_tensor_value_info("x", kind, shape),
                *(helper.make_tensor_value_info(one, FLOAT, sizes) for one, _, sizes in more),
            ],
            [
                helper.make_tensor_value_info("y", FLOAT, None),
                *(helper.make_tensor_value_info(one, FLOAT, sizes) for _, one, sizes in more),
            ],
            self.values,
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path.write_bytes(made.SerializeToString())
        return path


def crnn(path, seed=0, time="time"):
    """A causal convolution, a GRU, and a probability: (batch, time, 4) to (batch, time, 2)."""
    graph = Graph(seed).add("Transpose", perm=[0, 2, 1]).conv(4, 6).add("Relu")
    graph.add("Transpose", perm=[0, 2, 1]).rnn("GRU", 6, 5)
    graph.add("MatMul", graph.weights(5, 2)).add("Sigmoid")
    return graph.save(path, ["batch", time, 4] if isinstance(time, str) else [1, time, 4])


def crnn_with_a_state(path):
    """The GRU's state is an input and an output; the frames of the convolution are neither."""
    graph = Graph().add("Transpose", perm=[0, 2, 1]).conv(4, 6).add("Transpose", perm=[2, 0, 1])
    w, r = (graph.weights(1, 15, n) for n in (6, 5))
    graph.add("GRU", w, r, "", "", "h", hidden_size=5, linear_before_reset=1, outputs=2)
    graph.nodes[-1].output[1] = "hn"
    graph.add("Squeeze", np.array([1])).add("Transpose", perm=[1, 0, 2]).add("Sigmoid")
    state = [1, "batch", 5]
    return graph.save(path, ["batch", "time", 4], more=[("h", "hn", state)])


def tcn(path, seed=0, *, turned=True):
    """x + relu(conv(relu(conv(x)))), each causal; what goes past it hides what it remembers."""
    graph, x = Graph(seed), "x"
    if turned:
        graph.add("Transpose", perm=[0, 2, 1])
        x = graph.last
    graph.conv(4, 4).add("Relu").conv(4, 4, dilation=2).add("Relu").add("Add", x)
    if turned:
        graph.add("Transpose", perm=[0, 2, 1])
    return graph.save(path, ["batch", "time", 4] if turned else ["batch", 4, "time"])


def untold(path):
    """An LSTM, and then the mean over time."""
    graph = Graph().rnn("LSTM", 4, 5).add("ReduceMean", axes=[1], keepdims=0)
    return graph.save(path, ["batch", "time", 4])


def scalar(path):
    """A probability per frame, (batch, time)."""
    graph = Graph().rnn("LSTM", 4, 5)
    graph.add("MatMul", graph.weights(5, 1)).add("Sigmoid").add("Squeeze", np.array([2]))
    return graph.save(path, ["batch", "time", 4])


def tokens(path, time="time", rows=7):
    graph = Graph()
    graph.add("Gather", "x", first="table")
    graph.values.append(numpy_helper.from_array(graph.weights(rows, 4).astype(np.float32), "table"))
    graph.rnn("LSTM", 4, 5).add("MatMul", graph.weights(5, 3))
    return graph.save(path, ["batch", time] if isinstance(time, str) else [1, time], INT64)


def check(tmp_path, *arguments):
    """Return the exit status, and the results by name."""
    report = tmp_path / "report.json"
    status = cli.main(["check", *map(str, arguments), *FAST, "--json", str(report)])
    if not report.exists():
        return status, {}
    return status, {one["name"]: one for one in json.loads(report.read_text())["results"]}


KINDS = {"crnn": crnn, "tcn": tcn, "scalar": scalar}
KINDS["a state"] = crnn_with_a_state
KINDS["channels first"] = lambda path: tcn(path, turned=False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_causal_model_is_compared_along_its_sequence(kind, tmp_path):
    path = KINDS[kind](tmp_path / "model.onnx")
    status, results = check(tmp_path, path)
    assert status == 0
    assert results["agreement"]["text"].startswith("every output within")
    assert results["reset"]["status"] == "passed"  # it keeps something
    assert "rows of a batch" in results["isolation"]["text"]
    target = adapters.from_onnx_model(path)
    assert target.model.states.keys() == load_model(path).states.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_frames_that_are_lost_are_seen(kind, tmp_path, monkeypatch):
    """Control: a target that runs the last frame alone is none of these models."""
    right = _onnx_sequences._Session._made

    def forgetful(self, x, steps):
        self.reset()
        return right(self, x, steps)

    monkeypatch.setattr(_onnx_sequences._Session, "_made", forgetful)
    status, results = check(tmp_path, KINDS[kind](tmp_path / "model.onnx"))
    assert status == 1
    assert results["agreement"]["status"] == "failed"


@pytest.mark.parametrize("make", [crnn, tcn])
def test_references_of_whole_models(make, tmp_path):
    path, other = make(tmp_path / "one.onnx"), make(tmp_path / "other.onnx", 1)
    for one, status in ((path, 0), (other, 1)):
        load_model(one).save(tmp_path / "reference.lfm")
        assert check(tmp_path, path, "--reference", tmp_path / "reference.lfm")[0] == status
        assert check(tmp_path, path, "--reference", one)[0] == status


def test_single_frames_beside_a_reference_with_history_fail_and_break_nothing(tmp_path):
    path = tcn(tmp_path / "one.onnx")
    load_model(path).save(tmp_path / "reference.lfm")
    says = ["--shape", "x=1,1,4", "--reference", tmp_path / "reference.lfm"]
    assert check(tmp_path, path, *says)[0] == 1


def test_what_load_model_refuses_is_not_blamed_on_the_target(tmp_path, capsys):
    status, results = check(tmp_path, untold(tmp_path / "mean.onnx"))
    assert status == 3
    text = results["agreement"]["text"]
    assert results["agreement"]["status"] == "skipped"
    assert "ReduceMean" in text
    assert "works along time" in text
    assert "--shape x=1,1,4" in text
    assert "failed" not in {one["status"] for one in results.values()}
    capsys.readouterr()
    assert check(tmp_path, tmp_path / "mean.onnx", "--shape", "x=1,1,4")[0] == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "Check it without shapes= (--shape)" in err
    assert check(tmp_path, crnn(tmp_path / "crnn.onnx"), "--history", "x=2")[0] == 2
    assert "Check it without history= (--history)" in capsys.readouterr().err


@pytest.mark.parametrize("make", [tcn, scalar])
def test_without_a_reference(make, tmp_path):
    status, results = check(tmp_path, make(tmp_path / "model.onnx"), "--no-reference")
    assert status == 0
    assert results["reset"]["status"] == "passed"
    assert results["chunks"]["status"] == "passed"


def test_a_layer_without_memory_whose_time_comes_last(tmp_path):
    graph = Graph()
    graph.add("Conv", graph.weights(3, 4, 1)).add("Relu")
    status, results = check(tmp_path, graph.save(tmp_path / "a.onnx", ["batch", 4, "time"]))
    assert status == 0
    assert "keeps nothing" in results["reset"]["text"]


@pytest.mark.parametrize("options", [(), ("--time-axis", "1")])
def test_integers_along_time(options, tmp_path):
    path = tokens(tmp_path / "tokens.onnx")
    status, results = check(tmp_path, path, *options)
    assert status == 0
    assert results["agreement"]["text"].startswith("every output within")
    assert adapters.from_onnx_model(path, time_axis=1).layout.integers == {"x": (-7, 7)}


@pytest.mark.parametrize("make", [crnn, tokens])
def test_a_fixed_number_of_frames_is_told(make, tmp_path, capsys):
    path = make(tmp_path / "fixed.onnx", time=50)
    assert check(tmp_path, path, "--time-axis", "1")[0] == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "dynamic axes" in err
    assert "Expected: 50" not in err
    with pytest.raises(TargetError, match="always holds 50 frames"):
        adapters.from_onnx_model(path, time_axis=1)


def test_a_session_of_whole_sequences_has_no_state_to_show(tmp_path):
    target = adapters.from_onnx_model(crnn(tmp_path / "crnn.onnx"))
    found = checks.run(target, target.oracle, FEW, only=["agreement"])
    assert found.passed
    assert "every output within" in found["agreement"].text
