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
    (facts,) = json.loads(capsys.readouterr().out)
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
    assert main(["convert", variables, str(out), "--forget-bias", "1"]) == 0
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
    assert "there are 2 LSTMs in it, say which: name= 'a', 'b'" in fails(
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
    link = tmp_path / "link.safetensors"
    link.symlink_to(path)
    assert "that is the file to be read" in fails(capsys, "convert", str(path), str(link))


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
