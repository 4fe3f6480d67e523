"""`lstm-fast inspect` and `lstm-fast convert`."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from framework_runs import GOLDEN
from test_safetensors import same

from lstm_fast import LSTM, Cell, formats
from lstm_fast.cli import main
from lstm_fast.formats import nam, safetensors, tf1

SHARDED = str(GOLDEN / "safetensors/sharded/model.safetensors.index.json")
AMP = str(GOLDEN / "nam/two_layers.nam")


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def fails(capsys, *arguments):
    """Return the one line that it fails with."""
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("lstm-fast: ")
    assert err.count("\n") == 1
    return err


def test_inspect(capsys):
    assert main(["inspect", AMP]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert out.splitlines()[1:9] == [
        "",
        "(no name)",
        "  sizes       input 1, hidden 5, 2 layers",
        "  direction   forward",
        "  variant     initial state",
        "  bias        yes",
        "  parameters  420 (1.68 kB as float32)",
        "  from",
    ]
    assert "h_0_l1        layer 1 of weights: the initial hidden state" in out
    assert "note        the head, 5 to 1" in out
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_inspect_as_json(capsys):
    assert main(["inspect", "--json", SHARDED]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["program"] is None
    assert found["obstacle"] is None
    (facts,) = found["lstms"]
    assert facts["name"] == "rnn"
    assert (facts["input_size"], facts["hidden_size"], facts["num_layers"]) == (5, 7, 2)
    assert facts["notes"] == ["left out: a GRU under 'gru.'"]


def test_variants_that_differ_between_layers(capsys, tmp_path):
    one, two = (LSTM.random(3, 3, backend="reference", cell=Cell(clip=n)) for n in (1, 2))
    path = tmp_path / "a.safetensors"
    weights = formats.safetensors.make_weights([one.weights.layers[0], two.weights.layers[0]])
    safetensors.write(path, weights)
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "  variant     l0: clip=1.0\n              l1: clip=2.0\n" in out


def test_convert_is_exact(capsys, tmp_path):
    out = tmp_path / "out.safetensors"
    assert main(["convert", AMP, str(out)]) == 0
    assert "the LSTM, input 1, hidden 5, 2 layers" in capsys.readouterr().out
    (found,) = safetensors.read(out)
    assert same(found.weights, nam.read(AMP)[0].weights)
    variables = str(GOLDEN / "tf1/projected.npz")
    assert main(["convert", variables, str(out), "--force", "--forget-bias", "1"]) == 0
    wanted = tf1.read(variables, forget_bias=1.0)[0].weights
    assert same(safetensors.read(out)[0].weights, wanted)
    assert not same(
        safetensors.read(out)[0].weights, tf1.read(variables, forget_bias=0.0)[0].weights
    )
    loaded = formats.load(out, backend="reference")
    assert same(loaded.weights, wanted)


def test_convert_one_of_several(capsys, tmp_path):
    pytest.importorskip("safetensors")
    from safetensors.numpy import save_file

    path, out = tmp_path / "a.safetensors", tmp_path / "out.safetensors"
    parts = {name: LSTM.random(2, 3, seed=n, backend="reference") for n, name in enumerate("ab")}
    weights = {
        f"{name}.{kind}": value
        for name, lstm in parts.items()
        for kind, value in lstm.state_dict().items()
    }
    save_file(weights, path)
    assert "there are 2 LSTMs in it, say which: --name 'a', 'b'" in fails(
        capsys, "convert", str(path), str(out)
    )
    assert not out.exists()
    assert "no LSTM named 'c'" in fails(capsys, "convert", str(path), str(out), "--name", "c")
    assert main(["convert", str(path), str(out), "--name", "b"]) == 0
    assert same(safetensors.read(out)[0].weights, parts["b"].weights)


def test_errors_are_one_line(capsys, tmp_path):
    path = tmp_path / "a.safetensors"
    assert "No such file" in fails(capsys, "inspect", str(path))
    path.write_bytes(b"\x05" + bytes(30))
    assert str(path) in fails(capsys, "inspect", str(path))
    assert "forget_bias must be given" in fails(capsys, "inspect", str(GOLDEN / "tf1/basic.npz"))
    assert "forget_bias" in fails(capsys, "inspect", AMP, "--forget-bias", "1")
    assert "no format 'x'" in fails(capsys, "inspect", AMP, "--format", "x")
    assert ".safetensors" in fails(capsys, "convert", AMP, str(tmp_path / "a.pt"))
    assert fails(capsys, "convert", AMP, str(tmp_path / "none/a.safetensors"))
    safetensors.write(path, LSTM.random(2, 3, backend="reference").weights)
    before = path.read_bytes()
    assert "that is the file to be read" in fails(capsys, "convert", str(path), str(path))
    assert path.read_bytes() == before
    assert "it is there already; --force" in fails(capsys, "convert", AMP, str(path))
    assert path.read_bytes() == before
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    assert "that is the file to be read" in fails(capsys, "convert", str(path), str(link))


def test_options_of_a_format(capsys, tmp_path):
    weights = str(GOLDEN / "keras/keras2_alone_weights.h5")
    out = tmp_path / "out.safetensors"
    assert main(["convert", weights, str(out), "--name", "own_name"]) == 0
    assert "lstm-fast: assumed: the file does not say what it comp" in capsys.readouterr().err
    told = ["recurrent_activation=hard_sigmoid", "activation=relu", "go_backwards=true"]
    options = [word for one in told for word in ("--option", one)]
    options.append("--force")
    assert main(["convert", weights, str(out), "--name", "own_name", *options]) == 0
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "at their own steps" in err
    weights_read = safetensors.read(out)[0].weights
    cell = weights_read.layers[0].cell
    assert (str(cell.gate), str(cell.input)) == ("hard_sigmoid(alpha=0.2, beta=0.5)", "relu")
    assert weights_read.direction == "reverse"
    variables = str(GOLDEN / "tf1/relu.npz")
    assert main(["inspect", variables, "--option", "forget_bias=0.5"]) == 0
    assert "no cell_clip" in capsys.readouterr().out
    clipped = ["--option", "cell_clip=inf", "--option", "activation=tanh"]
    assert main(["inspect", variables, "--option", "forget_bias=0.5", *clipped]) == 0
    assert "assumed" not in capsys.readouterr().out
    assert "files of format nam have no option x" in fails(
        capsys, "inspect", AMP, "--option", "x=1"
    )
    with pytest.raises(SystemExit):
        main(["inspect", AMP, "--option", "x"])
    assert "'x' is not NAME=VALUE" in capsys.readouterr().err


def test_one_that_is_refused_stands_in_its_place(capsys, tmp_path):
    path = tmp_path / "a.npz"
    arrays = {"a/lstm_cell/kernel": np.ones((5, 12)), "b/lstm_cell/kernel": np.ones((5, 13))}
    np.savez(path, **arrays)
    assert main(["inspect", str(path), "--forget-bias", "1"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].endswith("a.npz: 2 LSTMs, 1 of them refused")
    assert "b/lstm_cell\n  refused     " in out
    assert main(["inspect", str(path), "--forget-bias", "1", "--json"]) == 0
    good, refused = json.loads(capsys.readouterr().out)["lstms"]
    assert (good["name"], refused["name"]) == ("a/lstm_cell", "b/lstm_cell")
    assert "error" in refused
    assert "error" not in good


def test_a_file_without_one(capsys, tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, x=np.ones(3))
    assert "there is no LSTM in it" in fails(capsys, "inspect", str(path))


def test_names_cannot_write_to_the_terminal(capsys, tmp_path):
    """A name in a file may hold anything, such as an escape sequence or half a character."""
    path = shutil.copy(GOLDEN / "safetensors/no_bias.safetensors", tmp_path / "a.safetensors")
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + length].replace(b'"weight_', rb'"\u001b[31m\ud800\n.weight_')
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert r"\x1b[31m\ud800\n" in out
