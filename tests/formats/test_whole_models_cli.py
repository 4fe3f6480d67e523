"""`lstm-fast inspect` and `lstm-fast convert` of whole models."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from framework_runs import GOLDEN

pytest.importorskip("onnx")
import onnx
from onnx import TensorProto, helper, numpy_helper

from cases import bits
from lstm_fast import FormatError, load_model
from lstm_fast.cli import main
from lstm_fast.formats import _whole_options

STACK = str(GOLDEN / "onnx/torchscript_stack.onnx")
TOLD = ["--shape", "x=1,12", "--constant", "rate=16000", "--history", "x=4"]
SAID = {"shapes": {"x": (1, 12)}, "constants": {"rate": 16000}, "history": {"x": 4}}


def frame_model(*, with_obstacle=False):
    """A product whose input has context and whose weights depend on a constant; no LSTM."""
    info = helper.make_tensor_value_info
    rng = np.random.default_rng(0)
    constants = [
        numpy_helper.from_array(rng.standard_normal((12, 3)).astype(np.float32), "w"),
        numpy_helper.from_array(np.array(16000, np.int64), "wide"),
    ]

    def branch(kind):
        found = info("found", TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(kind, ["x"], ["found"])], kind, [], [found])

    nodes = [
        helper.make_node("Equal", ["rate", "wide"], ["is_wide"]),
        helper.make_node(
            "If",
            ["is_wide"],
            ["r"],
            name="if",
            then_branch=branch("Relu"),
            else_branch=branch("Abs"),
        ),
        helper.make_node("MatMul", ["r", "w"], ["m"], name="product"),
        helper.make_node("Det" if with_obstacle else "Tanh", ["m"], ["y"], name="last"),
    ]
    inputs = [info("x", TensorProto.FLOAT, ["batch", "size"]), info("rate", TensorProto.INT64, [])]
    graph = helper.make_graph(nodes, "g", inputs, [info("y", TensorProto.FLOAT, None)], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture
def frame_file(tmp_path):
    path = tmp_path / "frame.onnx"
    path.write_bytes(frame_model().SerializeToString())
    return str(path)


def inspected(capsys, *arguments):
    assert main(["inspect", *arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def fails(capsys, *arguments):
    """Return the one line that it fails with."""
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


@pytest.mark.parametrize("columns", [80, 120])
def test_a_table_of_every_operation_fits_the_terminal(columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(columns))
    out = inspected(capsys, STACK)
    head, table = out.split("\n\n #  operation")
    assert "1 LSTM" in head.splitlines()[0]
    assert "  sizes       input" in head
    model = load_model(STACK)
    rows = table.splitlines()[1:]
    assert len(rows) == len(model.program.ops) + 1
    for number, (row, op) in enumerate(zip(rows[:-1], model.program.ops, strict=True)):
        assert row.split()[:2] == [str(number), op.code]
        assert row.split()[-1].endswith(op.source.split()[-1][-8:] if op.source else "")
    assert rows[-1].split()[0] == "all"
    assert max(map(len, out.splitlines()[1:])) <= columns
    assert (" -> " in table) == (columns == 120)
    assert f"fingerprint {model.fingerprint}" in re.sub(r"\s+", " ", head)


def test_the_same_as_json(capsys):
    facts = json.loads(inspected(capsys, "--json", STACK))
    program = load_model(STACK).program
    assert len(facts["lstms"]) == 1
    assert facts["obstacle"] is None
    found = facts["program"]
    assert [one["operation"] for one in found["operations"]] == [op.code for op in program.ops]
    assert found["multiply_adds"] == sum(one["multiply_adds"] for one in found["operations"])
    assert found["weight_bytes"] == sum(one.nbytes for one in program.constants.values())
    reads = {name for one in found["operations"] for name in one["reads"]}
    writes = {name for one in found["operations"] for name in one["writes"]}
    assert reads == writes == {one.name for one in program.states}


def test_options_say_what_the_file_leaves_open(capsys, frame_file):
    out = inspected(capsys, frame_file, *TOLD)
    assert out.splitlines()[0].endswith("frame.onnx: no LSTMs")
    assert "x (8,) behind the last 4" in out
    assert "36 multiply-adds" in out
    assert "relu" in out
    other = inspected(capsys, frame_file, "--shape", "x=1,12", "--constant", "rate=8000")
    assert "abs" in other
    assert "x (12,)\n" in other
    cut = inspected(capsys, frame_file, "--shape", "r=1,12", "--inputs", "r", "--outputs", "m")
    assert "outputs     m (3,)" in cut
    assert "tanh" not in cut


def test_states_can_be_named(capsys, tmp_path):
    info, size = helper.make_tensor_value_info, ["batch", 3]
    nodes = [
        helper.make_node("Add", ["a", "x"], ["p"]),
        helper.make_node("Mul", ["b", "p"], ["q"]),
    ]
    inputs = [info(name, TensorProto.FLOAT, size) for name in "xab"]
    outputs = [info(name, TensorProto.FLOAT, size) for name in "pq"]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    one = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "states.onnx"
    path.write_bytes(one.SerializeToString())

    def states(*words):
        facts = json.loads(inspected(capsys, "--json", str(path), *words))["program"]
        return [one["name"] for one in facts["states"]]

    assert states("--state", "a=p", "--state", "b=q", "--outputs", "p") == ["a"]
    assert states("--state", "b=q", "--outputs", "q") == ["b"]
    assert states("--no-states") == []
    assert "from a" in inspected(capsys, str(path), "--state", "a=p")


def test_what_is_in_the_way_is_shown_beside_the_lstm(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    model = onnx.load(STACK)
    output = model.graph.output[0].name
    model.graph.node.append(helper.make_node("Det", [output], ["far"], name="last"))
    model.graph.output[0].name = "far"
    path = tmp_path / "behind.onnx"
    path.write_bytes(model.SerializeToString())
    text = re.sub(r"\s+", " ", inspected(capsys, str(path)))
    assert "behind.onnx: 1 LSTM (no name)" in text or "sizes input" in text
    assert "in the way " in text
    assert "node 'last' (Det): there is no operation for it" in text
    assert f"say --outputs {output}" in text
    assert "--outputs NAMES" in text
    facts = json.loads(inspected(capsys, "--json", str(path)))
    assert facts["program"] is None
    assert "node 'last' (Det)" in facts["obstacle"]
    assert f"say --outputs {output}" in facts["obstacle"]
    assert "in the way" not in inspected(capsys, str(path), "--outputs", output)  # the control


def test_a_file_with_neither_is_one_line(capsys, tmp_path):
    path = tmp_path / "neither.onnx"
    path.write_bytes(frame_model(with_obstacle=True).SerializeToString())
    text = fails(capsys, "inspect", str(path), *TOLD)
    assert "node 'last' (Det)" in text
    path.write_bytes(b"damaged")
    assert "damaged" in fails(capsys, "inspect", str(path))


def test_convert_to_lfm_is_exact(capsys, tmp_path, frame_file):
    out = tmp_path / "model.lfm"
    assert main(["convert", frame_file, str(out), *TOLD]) == 0
    wanted, found = load_model(frame_file, **SAID), load_model(out)
    text = capsys.readouterr().out
    assert f"model.lfm: {len(wanted.program.ops)} operations, {out.stat().st_size:,} bytes" in text
    assert f"fingerprint {wanted.fingerprint}\n" in text
    assert found.fingerprint == wanted.fingerprint
    xs = np.random.default_rng(1).standard_normal((5, 8)).astype(np.float32)
    assert bits(found.stream().run(xs)) == bits(wanted.stream().run(xs))
    shown = inspected(capsys, str(out))
    assert shown.splitlines()[0].endswith("model.lfm: a whole model")
    assert wanted.fingerprint in shown


def test_convert_overwrites_only_when_told(capsys, tmp_path, frame_file):
    out = tmp_path / "model.lfm"
    out.write_bytes(b"something of mine")
    text = fails(capsys, "convert", frame_file, str(out), *TOLD)
    assert "model.lfm: it is there already; --force writes over it" in text
    assert out.read_bytes() == b"something of mine"
    assert main(["convert", frame_file, str(out), "--force", *TOLD]) == 0
    before = out.read_bytes()
    assert before != b"something of mine"
    capsys.readouterr()
    assert "there is no such" not in fails(capsys, "convert", frame_file, str(out), "--force")
    assert out.read_bytes() == before  # what cannot be read writes nothing


def test_options_of_the_other_kind_are_refused(capsys, tmp_path, frame_file):
    lfm, one = str(tmp_path / "a.lfm"), str(tmp_path / "a.safetensors")
    assert "--shape is of a whole model" in fails(capsys, "convert", STACK, one, *TOLD)
    assert "--name is of a single LSTM" in fails(capsys, "convert", STACK, lfm, "--name", "x")
    assert main(["convert", frame_file, lfm, *TOLD]) == 0
    capsys.readouterr()
    assert "takes no shapes" in fails(capsys, "inspect", lfm, *TOLD)
    assert "--format is of a single LSTM" in fails(capsys, "inspect", lfm, "--format", "onnx")
    amp, torch = str(GOLDEN / "nam/two_layers.nam"), str(GOLDEN / "pytorch/cell.pt")
    assert "takes no history" in fails(capsys, "inspect", amp, "--history", "x=1")
    assert "--history is of a whole model" in fails(capsys, "inspect", torch, "--history", "x=1")
    assert "whole models are read from .onnx, .keras, .nam, .aidax, .json and .lfm" in fails(
        capsys, "convert", torch, one[:-11] + "lfm", "--force"
    )


def test_messages_speak_of_flags(capsys, tmp_path, frame_file):
    constant = ["--constant", "rate=16000"]
    for words in (["inspect", frame_file], ["convert", frame_file, str(tmp_path / "a.lfm")]):
        assert "give it: --constant rate=<value>\n" in fails(capsys, *words)
        assert "say --shape x=1,<size>\n" in fails(capsys, *words, *constant)
    with pytest.raises(FormatError, match=r'say shapes=\{"x": \(1, \.\.\.\)\}$'):  # the control
        load_model(frame_file, constants={"rate": 16000})


@pytest.mark.parametrize(
    ("python", "flags"),
    [
        ('shapes={"x": (1,)}', "--shape x=1"),
        ('shapes={"a=b": (..., 1)}', "--shape a=b=<size>,1"),
        (
            'states={"h": "hn", "c": "cn"}, or states={}',
            "--state h=hn --state c=cn, or --no-states",
        ),
        ("inputs=['a', 'b'] and outputs=['c']", "--inputs a,b and --outputs c"),
        ("constants={...}", "--constant <name>=<value>"),
        ('constants={"e": <value>, "f": 1}', "--constant e=<value> --constant f=1"),
        ('inputs=[..., "/a_0"]', "--inputs <others>,/a_0"),
        ('shapes={"/a_0": (...)}', "--shape /a_0=<sizes>"),
        ('time_axis={"<input>": <axis>}', "--time-axis <input>=<axis>"),
        ("shapes= and history=, or outputs=", "--shape and --history, or --outputs"),
        ('history={"x": 64}', "--history x=64"),
        ('time_axis={"x": 1}, or time_axis=-1', "--time-axis x=1, or --time-axis -1"),
        (
            "name= or format=, ignore= and forget_bias=",
            "--name or --format, --ignore and --forget-bias",
        ),
        ("filename= and name=x", "filename= and name=x"),
        ("shapes={a: b}, myshapes={}, inputs=3", "shapes={a: b}, myshapes={}, inputs=3"),
    ],
)
def test_each_argument_has_its_flag(python, flags):
    assert _whole_options.as_flags(f"x: say {python}.") == f"x: say {flags}."


def test_no_message_has_python_in_its_flags(capsys, tmp_path):
    """What starts from an embedding names values inside of the graph, for which nothing is said."""
    nodes = [
        helper.make_node("Tanh", ["e"], ["h"]),
        helper.make_node("LSTM", ["x", "w", "r", "", "", "h", "h"], ["y"], hidden_size=2),
    ]
    shapes = {"x": [1, 1, 3], "e": [1, 1, 2]}
    given = [helper.make_tensor_value_info(name, 1, one) for name, one in shapes.items()]
    weights = [
        numpy_helper.from_array(np.ones((1, 8, size), np.float32), name)
        for name, size in (("w", 3), ("r", 2))
    ]
    results = [helper.make_tensor_value_info("y", 1, None)]
    model = helper.make_model(helper.make_graph(nodes, "g", given, results, weights))
    path = tmp_path / "start.onnx"
    path.write_bytes(model.SerializeToString())
    text = fails(capsys, "convert", str(path), str(tmp_path / "a.lfm"))
    assert "--inputs x,h, --constant h=<value>\n" in text
    text = fails(capsys, "convert", str(path), str(tmp_path / "a.lfm"), "--inputs", "h,x")
    assert "Ellipsis" not in text
    assert "--shape h=<sizes>" in text


@pytest.mark.parametrize("words", [["--time-axis", "1"], ["--time-axis", "x=1"]])
def test_a_time_axis_may_have_no_name(words, capsys, tmp_path):
    """Where there is one input. The file is made for six frames, and then takes one."""
    shown, path = str(GOLDEN / "onnx/dynamo_trained_state.onnx"), str(tmp_path / "a.lfm")
    for command in (["inspect", shown], ["convert", shown, path]):
        assert main([*command, *words, "--outputs", "getitem"]) in (None, 0)
    assert "a step takes one of the 6 frames of the file" in " ".join(
        capsys.readouterr().out.split()
    )
    assert load_model(path).inputs["x"].shape == (5,)


def test_a_whole_model_without_an_lstm_is_sent_to_lfm(capsys, tmp_path, frame_file):
    out, damaged = str(tmp_path / "a.safetensors"), tmp_path / "damaged.onnx"
    text = fails(capsys, "convert", frame_file, out)
    assert "there is no LSTM node in it" in text
    assert "as a whole model, to a .lfm file: " in text
    assert "--constant rate=<value>" in text
    ready = tmp_path / "ready.onnx"
    model = frame_model()
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 12
    model.graph.initializer.append(numpy_helper.from_array(np.array(16000, np.int64), "rate"))
    ready.write_bytes(model.SerializeToString())
    text = fails(capsys, "convert", str(ready), out)
    assert "its whole model can be read: convert it to a .lfm file" in text
    damaged.write_bytes(ready.read_bytes()[:-9])  # the control: nothing can be read of it
    assert ".lfm" not in fails(capsys, "convert", str(damaged), out)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("--shape x=1x1", "'1x1' in 'x=1x1' is not sizes with commas between them, such as 1,576"),
        ("--history x=1.5", "'1.5' in 'x=1.5' is not a whole number"),
        ("--time-axis x=a", "'a' in 'x=a' is not a whole number"),
        ("--time-axis =1", "'=1' is not NAME=VALUE"),
        ("--constant x=a", "'a' in 'x=a' is not a number, true, false or a list in brackets"),
        ("--state h=", "'' in 'h=' is not the name of an output"),
        ("--shape x", "'x' is not NAME=VALUE"),
        ("--state h=hn --no-states", "--no-states: not allowed with argument --state"),
        ("--no-states --state h=hn", "--state: not allowed with argument --no-states"),
    ],
)
def test_what_is_wrong_with_an_option_is_told(words, text, capsys):
    with pytest.raises(SystemExit):
        main(["inspect", STACK, *words.split()])
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    ["--shape x", "--shape x=a", "--history x=1.5", "--constant =1", "--state h=", "--inputs a,,b"],
)
def test_what_is_no_pair_is_refused(words, capsys):
    with pytest.raises(SystemExit):
        main(["inspect", STACK, *words.split()])
    assert words.split()[0] in capsys.readouterr().err
