"""Whole models in the benchmark: what is timed is right, and what is wrong is not timed."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

import lstm_fast
from lstm_fast import cli, vad
from lstm_fast._program_costs import costs
from lstm_fast.bench import (
    CannotRunError,
    contenders,
    limits,
    model_peers,
    models,
    peers,
    schema,
    shapes,
    suite,
)
from lstm_fast.program import Input, Op, Output, Program, State, Tensor

NEW, HISTORY, HIDDEN, OUT = 4, 2, 8, 3
COUNTS = (1, 5)


def layer_weights(seed=3):
    """Return W, R and B of an ONNX LSTM and the matrix behind it."""
    rng = np.random.default_rng(seed)
    shapes_of = {
        "W": (1, 4 * HIDDEN, NEW + HISTORY),
        "R": (1, 4 * HIDDEN, HIDDEN),
        "B": (1, 8 * HIDDEN),
        "M": (HIDDEN, OUT),
    }
    return {name: rng.standard_normal(s).astype(np.float32) for name, s in shapes_of.items()}


def write_onnx(path, values=None, batch="n", result="y"):
    """Write x, h, c -> LSTM -> matrix -> y, hn, cn, with values for its weights."""
    onnx = pytest.importorskip("onnx")
    helper, f32 = onnx.helper, onnx.TensorProto.FLOAT
    given = [("x", [batch, NEW + HISTORY]), ("h", [1, batch, HIDDEN]), ("c", [1, batch, HIDDEN])]
    nodes = [
        helper.make_node("Unsqueeze", ["x", "first"], ["xs"]),
        helper.make_node(
            "LSTM", ["xs", "W", "R", "B", "", "h", "c"], ["", "hn", "cn"], hidden_size=HIDDEN
        ),
        helper.make_node("Squeeze", ["hn", "first"], ["row"]),
        helper.make_node("MatMul", ["row", "M"], [result]),
    ]
    constants = (values or layer_weights()) | {"first": np.array([0], np.int64)}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, f32, shape) for name, shape in given],
        [helper.make_tensor_value_info(name, f32, None) for name in (result, "hn", "cn")],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", 17)
    path.write_bytes(
        helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()
    )
    return path


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_onnx(tmp_path_factory.mktemp("model") / "small.onnx")


@pytest.fixture(scope="module")
def subject(file):
    return models.load(str(file), {"history": {"x": HISTORY}})


@pytest.fixture(scope="module")
def silero():
    if not models.installed():
        pytest.skip("silero-vad or onnx is not installed")
    return models.silero("silero-8k")


def program_of_tokens():
    """A program of two inputs, one of whole numbers, two outputs, and no layer with int8."""
    table = np.random.default_rng(4).standard_normal((5, 3)).astype(np.float32)
    token, vector = Tensor((), "int64"), Tensor((3,))
    return Program(
        inputs=(Input("token", 0, ()), Input("x", 2, (3,))),
        outputs=(Output("sum", 4), Output("row", 3)),
        states=(State("before", 5, 4, np.zeros(3, np.float32)),),
        tensors=(token, Tensor((5, 3)), *[vector] * 5),
        constants={1: table},
        ops=(
            Op("embedding", (1, 0), (3,)),
            Op("add", (3, 2), (6,)),
            Op("add", (6, 5), (4,)),
        ),
    )


def tokens():
    model = lstm_fast.Model.from_program(program_of_tokens())
    return models.OneModel("tokens", model, model_peers.Origin("tokens.lfm", {}, None))


def all_of(subject, weights, count):
    """Return a stream of each backend for one session, or a pool of each."""
    for backend, isa in contenders.choose("all", None):
        made = (
            subject.ours(backend, isa, weights)
            if count == 1
            else subject.our_pool(backend, isa, weights, count, count + 1)
        )
        if made is not None:
            yield made


@pytest.mark.parametrize("weights", contenders.TOLERANCES)
@pytest.mark.parametrize("count", COUNTS)
def test_ours_are_right(subject, weights, count):
    found = [contenders.check(one, subject) for one in all_of(subject, weights, count)]
    assert len(found) >= 1


@pytest.mark.parametrize("count", COUNTS)
def test_models_of_several_inputs_and_outputs(count):
    subject = tokens()
    assert subject.shape == shapes.Shape("tokens", 4, 6, 0)
    for one in all_of(subject, "float32", count):
        assert contenders.check(one, subject) < 1e-5
    assert {kind.dtype.kind for kind in subject.expected().frames} == {"i", "f"}


@pytest.mark.parametrize("mistake", ["state", "frame", "history", "weights", "nan"])
@pytest.mark.parametrize("weights", contenders.TOLERANCES)
def test_a_wrong_model_is_refused(file, subject, tmp_path, weights, mistake):
    """Negative control of the check, with the tolerance of each type of weights."""
    options = {"history": {"x": HISTORY}}
    if mistake == "weights":
        write_onnx(tmp_path / "other.onnx", layer_weights(seed=5))
        file = tmp_path / "other.onnx"
    stream = lstm_fast.load_model(file, backend="reference", **options).stream()
    x, y = np.zeros((1, NEW), np.float32), np.zeros((1, OUT), np.float32)
    stale = x.copy()

    def step():
        if mistake == "state":
            stream.reset()
        if mistake == "history":
            stream.state = stream.state | {"x.history": np.zeros(HISTORY, np.float32)}
        y[0] = np.nan if mistake == "nan" else stream.step((stale if mistake == "frame" else x)[0])

    wrong = contenders.Contender("wrong", weights, [x], step, lambda: [y])
    with pytest.raises(CannotRunError, match="not timed"):
        contenders.check(wrong, subject)


def test_only_weights_of_a_peers_own_may_be_far_off(subject):
    x, y = np.zeros((1, NEW), np.float32), np.full((1, OUT), 9.0, np.float32)
    far = contenders.Contender("far", "float32", [x], lambda: None, lambda: [y])
    with pytest.raises(CannotRunError, match="is wrong"):
        contenders.check(far, subject)
    far = replace(far, has_own_weights=True)
    assert contenders.check(far, subject) > 1
    y[0, 0] = np.nan
    with pytest.raises(CannotRunError, match="is wrong"):
        contenders.check(far, subject)


@pytest.mark.parametrize("count", COUNTS)
def test_onnxruntime_runs_the_same_file(subject, count):
    pytest.importorskip("onnxruntime")
    made = subject.peers("onnxruntime", count)
    assert [one.name for one in made] == ["onnxruntime", "onnxruntime:run"]
    for one in made:
        assert one.count == count
        assert contenders.check(one, subject) < 1e-5


def test_onnxruntime_with_its_states_swapped_is_refused(file):
    """Negative control: which output becomes which state matters, and is checked."""
    pytest.importorskip("onnxruntime")
    told = {"history": {"x": HISTORY}, "states": {"h": "cn", "c": "hn"}}
    right = models.load(str(file), {"history": {"x": HISTORY}})
    swapped = model_peers.Origin(file, told, None)
    for one in model_peers.make("onnxruntime", right._model, swapped, 1):
        with pytest.raises(CannotRunError, match="is wrong"):
            contenders.check(one, right)


def test_a_file_for_one_session_has_no_batches_in_onnxruntime(tmp_path):
    pytest.importorskip("onnxruntime")
    path = write_onnx(tmp_path / "one.onnx", batch=1)
    subject = models.load(str(path), {"history": {"x": HISTORY}})
    assert len(subject.peers("onnxruntime", 1)) == 2
    assert subject.peers("onnxruntime", 2) == []


def test_peers_that_have_no_way_to_run_a_model_are_left_out(subject, tmp_path):
    path = tmp_path / "small.lfm"
    subject._model.save(path)
    assert subject.peers("torch", 1) == []
    assert subject.peers("akiki", 1) == []  # it is not a Silero VAD
    if find_spec("onnxruntime"):
        assert models.load(str(path), {}).peers("onnxruntime", 1) == []


def test_silero_of_onnxruntime(silero):
    pytest.importorskip("onnxruntime")
    for count in COUNTS:
        for one in silero.peers("onnxruntime", count):
            assert contenders.check(one, silero) < 1e-5


@pytest.mark.parametrize("name", sorted({*model_peers.NAMES} - {*peers.NAMES}))
def test_detectors_return_probabilities(name):
    """They bring models of their own, so what they return is not compared."""
    pytest.importorskip(peers.PACKAGES[name][0])
    if not models.installed():
        pytest.skip("silero-vad or onnx is not installed")
    subject = models.silero("silero-16k")
    (one,) = subject.peers(name, 1)
    assert contenders.check(one, subject) <= 1
    assert 0 < one.outputs()[0][0, 0] < 1
    assert subject.peers(name, 2) == []


def test_silero_is_measured(silero, tmp_path, capsys):
    path = tmp_path / "silero.json"
    arguments = ["bench", "--model", "silero-8k", "--seconds", "0.002", "--json", str(path)]
    assert cli.main([*arguments, "--modes", "hot,cold,prepared,pool2"]) == 0
    value = json.loads(path.read_text())
    schema.check(value)
    text = capsys.readouterr().out
    products = sum(one.multiply_adds for one in costs(vad.silero(sampling_rate=8000).program))
    assert f"{products:,} multiply-adds" in text
    rows = {(row["weights"], row["mode"]) for row in value["rows"]}
    types = contenders.TOLERANCES
    assert rows == {(w, m) for w in types for m in ("hot", "cold", "prepared", "pool2")}
    for row in value["rows"]:
        assert (row["shape"], row["input_size"], row["hidden_size"]) == ("silero-8k", 256, 1)
        assert row["multiply_adds"] == products
        if row["mode"] == "prepared":  # prepare() has its own time, which is not in it
            assert row["streams"] is None
        else:
            assert row["streams"] == pytest.approx(32_000 / row["p50"])
        if row["mode"] == "hot":
            assert row["gflop_per_s"] == pytest.approx(2e-3 * products / row["kernel"])


def test_a_file_is_measured_with_its_options(file, tmp_path, capsys):
    path = tmp_path / "report.json"
    arguments = ["bench", "--model", str(file), "--history", f"x={HISTORY}", "--shapes", "4x8"]
    arguments += ["--seconds", "0.002", "--modes", "hot", "--json", str(path)]
    assert cli.main([*arguments, "--compare", str(_written(path, arguments))]) == 0
    value = json.loads(path.read_text())
    assert {row["shape"] for row in value["rows"]} == {"", file.name}
    assert f"{len(value['rows'])} rows in both" in capsys.readouterr().out
    assert all((row["streams"] is None) == (row["shape"] == file.name) for row in value["rows"])


def _written(path, arguments):
    assert cli.main(arguments) == 0
    return path


def test_weights_that_a_model_does_not_have_are_left_out(capsys):
    assert tokens().ours("reference", None, "int8") is None
    plan = suite.Plan(
        ours=[("reference", None)], shapes=(), models=(tokens(),), weights=("int8",), modes=("hot",)
    )
    with pytest.raises(CannotRunError, match="tokens has no weights in int8 on reference"):
        suite.run(plan)


def test_reports_of_before_are_read(tmp_path):
    path = tmp_path / "report.json"
    arguments = ["--shapes", "4x8", "--seconds", "0.002", "--modes", "hot", "--json", str(path)]
    report = json.loads(_written(path, ["bench", *arguments]).read_text())
    for row in report["rows"]:
        del row["multiply_adds"]
    schema.check(report)
    del report["rows"][0]["p50"]
    with pytest.raises(CannotRunError, match="p50"):
        schema.check(report)


@pytest.mark.parametrize(("cache", "swept"), [(0, 192), (32, 192), (96, 192), (260, 520)])
def test_cold_reads_twice_the_last_level_cache(monkeypatch, cache, swept):
    found = {"L2": 1 << 20, "L3": cache << 20} if cache else {}
    monkeypatch.setattr(limits.machine, "caches", lambda: found)
    assert limits.sweep_bytes() == swept << 20


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--model", "silero-44k"], "choose from silero-16k, silero-8k"),
        (["--model", "silero-8k", "--history", "x=2"], "takes no history"),
        (["--model", "no/such.onnx"], "no/such.onnx"),
        (["--history", "x=2"], "--history is of a whole model"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(capsys, arguments, says):
    assert cli.main(["bench", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert says in err


def test_what_is_no_model_is_refused_in_one_line(tmp_path, capsys):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    assert cli.main(["bench", "--model", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
