"""TensorFlow 1: variables of its cells, every step of them, and forget_bias added exactly once."""

from __future__ import annotations

import math

import numpy as np
import pytest
from damage import refused
from framework_runs import GOLDEN, excess_of_run, is_each_wrong_order_seen, load_run

from lstm_fast import Activation, FormatError, FormatWarning, formats
from lstm_fast._source import Source
from lstm_fast.formats import tf1
from lstm_fast.formats.tf1 import _cells

FILES = GOLDEN / "tf1"
# What the cells were made with, which is not in the files.
OPTIONS = {
    "basic": {"forget_bias": 1.0},
    "no_forget_bias": {"forget_bias": 0.0},
    "peepholes": {"forget_bias": 1.0, "cell_clip": 0.9},
    "projected": {"forget_bias": 1.0, "cell_clip": 1.5, "proj_clip": 0.7},
    "relu": {"forget_bias": 0.5, "activation": "relu"},
    "bidirectional": {"forget_bias": 1.0},
    "block_fused": {"forget_bias": 1.0, "cell_clip": 0.8},
}
NAMES = {
    "basic": "rnn/multi_rnn_cell/cell_*/basic_lstm_cell",
    "bidirectional": "bidirectional_rnn/*/lstm_cell",
    "block_fused": "rnn/lstm_fused_cell",
}


def read(name, **changes):
    (found,) = tf1.read(FILES / f"{name}.npz", **{**OPTIONS[name], **changes})
    return found


def run_of(name):
    return load_run(FILES / f"{name}_run.npz")


@pytest.mark.parametrize("name", OPTIONS)
def test_every_step_is_tensorflows(name):
    found = read(name)
    assert found.name == NAMES.get(name, found.name)
    assert found.sources.keys() == found.weights.state_dict().keys()
    assert excess_of_run(found.weights, run_of(name)) <= 1


@pytest.mark.parametrize("name", OPTIONS)
def test_every_wrong_order_of_gates_is_seen(monkeypatch, name):
    weights = lambda: read(name).weights  # noqa: E731
    assert is_each_wrong_order_seen(monkeypatch, "tensorflow1", weights, run_of(name))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("basic", {"forget_bias": 0.0}),
        ("basic", {"forget_bias": 2.0}),  # added twice
        ("no_forget_bias", {"forget_bias": 1.0}),
        ("block_fused", {"forget_bias": 0.0}),
        ("peepholes", {"cell_clip": None}),
        ("projected", {"proj_clip": None}),
        ("projected", {"cell_clip": None}),
        ("block_fused", {"cell_clip": None}),
        ("relu", {"activation": "tanh"}),
    ],
)
def test_a_wrong_option_is_seen(name, change):
    assert excess_of_run(read(name, **change).weights, run_of(name), ours=False) > 1


@pytest.mark.parametrize("order", ["fio", "ofi", "iof", "foi", "oif"])
@pytest.mark.parametrize("name", ["peepholes", "block_fused"])
def test_a_wrong_order_of_peepholes_is_seen(monkeypatch, name, order):
    monkeypatch.setattr(_cells, "DIAGONALS", tuple(f"w_{gate}_diag" for gate in order))
    assert excess_of_run(read(name).weights, run_of(name), ours=False) > 1


def test_forget_bias_must_be_given():
    with pytest.raises(FormatError, match=r"forget_bias must be given.*BasicLSTMCell.*1\.0"):
        tf1.read(FILES / "basic.npz")
    with pytest.raises(FormatError, match="forget_bias must be given"):
        formats.load(FILES / "basic.npz")
    kernel = np.ones((5, 12))
    with pytest.raises(TypeError, match="forget_bias must be given"):
        tf1.from_arrays([{"kernel": kernel}], forget_bias=None)
    with pytest.raises(TypeError, match="missing 1 required keyword-only argument"):
        tf1.from_arrays([{"kernel": kernel}])
    for wrong in ("1", True, [1.0]):
        with pytest.raises(TypeError, match="must be a number"):
            tf1.from_arrays([{"kernel": kernel}], forget_bias=wrong)
    with pytest.raises(ValueError, match="must be finite"):
        tf1.read(FILES / "basic.npz", forget_bias=float("inf"))


def test_it_is_added_to_the_forget_gate_once_and_nowhere_else():
    random = np.random.default_rng(0)
    kernel, bias = random.random((5, 12), np.float32), random.random(12, np.float32)
    (layer,) = tf1.from_arrays([{"kernel": kernel, "bias": bias}], forget_bias=1.0).layers
    i, c, f, o = np.split(bias, 4)
    assert np.array_equal(layer.bias, np.concatenate([i, f + np.float32(1), c, o]))
    i, c, f, o = np.split(kernel.T, 4)
    both = np.concatenate([layer.weight_ih, layer.weight_hh], axis=1)
    assert np.array_equal(both, np.concatenate([i, f, c, o]))
    assert layer.input_size == 2


def test_a_cell_alone_and_activations():
    kernel = np.ones((5, 12))
    scaled = Activation("scaled_tanh", 1.7159, 2 / 3)
    weights = tf1.from_arrays({"kernel": kernel}, forget_bias=0, activation=scaled)
    cell = weights.layers[0].cell
    assert (cell.input, cell.output, str(cell.gate)) == (scaled, scaled, "sigmoid")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "kernel is missing"),
        ({"bias": np.ones(12)}, "kernel is missing; there is bias"),
        ({"kernel": np.ones((5, 12)), "weights": 1}, "'weights' is not an array of a cell"),
        ({"kernel": np.ones((3, 12))}, "none for the input"),
        ({"kernel": np.ones((5, 13))}, "4 \\* units"),
        ({"kernel": np.ones(12)}, "4 \\* units"),
        ({"kernel": np.ones((5, 0))}, "4 \\* units"),
        ({"kernel": np.ones((5, 12)), "bias": np.ones(3)}, "bias has shape"),
        ({"kernel": np.ones((5, 12)), "w_i_diag": np.ones(3)}, "peepholes are w_i_diag, w_f_diag"),
        (
            {"kernel": np.ones((5, 12)), "projection/kernel": np.ones((2, 3))},
            "projection/kernel has",
        ),
        ({"kernel": np.ones((5, 12)), "projection/bias": np.ones(2)}, "but no projection/kernel"),
        ({"kernel": np.full((5, 12), np.nan)}, "not finite"),
    ],
)
def test_arrays_that_do_not_fit(arrays, message):
    with pytest.raises(ValueError, match=message):
        tf1.from_arrays([arrays], forget_bias=1.0)


def save(path, names, rows=5, columns=12):
    np.savez(path, **{name: np.ones((rows, columns)) for name in names})
    return path


def test_scopes(tmp_path):
    path = tmp_path / "a.npz"
    names = [
        "encoder/lstm_cell/kernel", "dense/kernel", "gru_cell/gates/kernel", "kernel",
        "d/rnn/multi_rnn_cell/cell_0/my_lstm/kernel:0",
        "stack_bidirectional_rnn/cell_0/bidirectional_rnn/fw/lstm_cell/kernel",
        "stack_bidirectional_rnn/cell_0/bidirectional_rnn/bw/lstm_cell/kernel",
        "b/bidirectional_rnn/fw/multi_rnn_cell/cell_0/lstm_cell/kernel",
        "b/bidirectional_rnn/bw/multi_rnn_cell/cell_0/lstm_cell/kernel",
    ]  # fmt: skip
    found = tf1.read(save(path, names), forget_bias=1)
    assert {one.name: one.weights.direction for one in found} == {
        "": "forward",
        "encoder/lstm_cell": "forward",
        "d/rnn/multi_rnn_cell/cell_*/my_lstm": "forward",
        "stack_bidirectional_rnn/cell_*/bidirectional_rnn/*/lstm_cell": "bidirectional",
        "b/bidirectional_rnn/fw/multi_rnn_cell/cell_*/lstm_cell": "forward",
        "b/bidirectional_rnn/bw/multi_rnn_cell/cell_*/lstm_cell": "reverse",
    }
    assert tf1.read(save(path, ["dense/kernel"])) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["rnn/multi_rnn_cell/cell_1/lstm_cell/kernel"], "cells are missing"),
        (["bidirectional_rnn/fw/lstm_cell/kernel"], "cells are missing"),
        (["rnn/lstm_cell/bias"], "kernel is missing"),
        (["rnn/layer_norm_basic_lstm_cell/kernel"], "LayerNormBasicLSTMCell"),
        (["rnn/coupled_input_forget_gate_lstm_cell/kernel"], "has three gates"),
        (["rnn/conv_lstm_cell/kernel"], "convolutional"),
    ],
)
def test_cells_that_are_refused(tmp_path, names, message):
    with pytest.raises(FormatError, match=message):
        formats.read(save(tmp_path / "a.npz", names), forget_bias=1.0)


def test_objects_are_not_unpickled(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, kernel=np.array([{}], object))
    with pytest.raises(FormatError, match="array 'kernel'"):
        formats.read(path, forget_bias=1.0)


def test_claims_are_checked(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, kernel=np.ones((5, 12)))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"'shape': (5, 12), }        ", b"'shape': (5, 120000000), }"))
    assert path.read_bytes() != data
    with pytest.raises(FormatError, match="kernel"):
        formats.read(path, forget_bias=1.0)
    np.savez_compressed(path, kernel=np.zeros((5000, 4000)))
    with pytest.raises(FormatError, match="claim more bytes"):
        tf1.read(path, forget_bias=1.0)


@pytest.mark.parametrize("name", ["no_forget_bias", "block_fused"])
def test_damaged_files_are_refused_or_read(tmp_path, name):
    def reader(path):
        return formats.read(path, "tf1", forget_bias=1.0)

    data = (FILES / f"{name}.npz").read_bytes()
    assert 50 < refused(reader, tmp_path / "a.npz", data, 300) <= 300


def test_recognise(tmp_path):
    head = (FILES / "relu.npz").read_bytes()[:4096]
    assert tf1.recognise(Source(FILES / "relu.npz"), head)
    assert not tf1.recognise(Source(GOLDEN / "pytorch/cell.pt"), head)
    (tmp_path / "a").write_bytes(head[:100])
    assert not tf1.recognise(Source(tmp_path / "a"), head)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("peepholes", [False, True])
@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("forget_bias", [0.0, 1.0, -0.5])
def test_live_grid(monkeypatch, tmp_path, peepholes, projected, forget_bias):
    pytest.importorskip("tensorflow")
    monkeypatch.syspath_prepend(str(GOLDEN))
    import make_tf1

    monkeypatch.setattr(make_tf1, "HERE", tmp_path)
    clips = {"cell_clip": 1.1, **({"proj_clip": 0.6} if projected else {})}
    size = {"num_proj": 3} if projected else {}
    make_tf1.stacked(
        "a", 0, make_tf1.cells.LSTMCell, layers=3, use_peepholes=peepholes,
        forget_bias=forget_bias, **clips, **size,
    )  # fmt: skip
    (found,) = tf1.read(tmp_path / "a.npz", forget_bias=forget_bias, **clips)
    assert excess_of_run(found.weights, load_run(tmp_path / "a_run.npz")) <= 1


# ---- what is assumed, and errors of one LSTM -----------------------------------------------------


def cells(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_what_the_arrays_do_not_say_is_an_assumption(tmp_path):
    path = save(tmp_path / "a.npz", ["rnn/lstm_cell/kernel"])
    (found,) = tf1.read(path, forget_bias=1.0)
    assert "taken are activation tanh, no cell_clip;" in found.assumptions[0]
    with pytest.warns(FormatWarning, match="the arrays do not say how the cells were made"):
        formats.load(path, forget_bias=1.0, backend="reference")
    (found,) = tf1.read(path, forget_bias=1.0, cell_clip=1.0)
    assert "taken are activation tanh;" in found.assumptions[0]
    told = {"activation": "tanh", "cell_clip": math.inf}
    (found,) = tf1.read(path, forget_bias=1.0, **told)
    assert found.assumptions == ()
    assert found.weights.layers[0].cell.cell_clip is None
    formats.load(path, forget_bias=1.0, backend="reference", **told)  # without a warning


def test_only_cells_that_have_a_clip_are_asked_for_it(tmp_path):
    path = save(tmp_path / "a.npz", ["rnn/basic_lstm_cell/kernel"])
    (found,) = tf1.read(path, forget_bias=1.0)
    assert "clip" not in found.assumptions[0]
    kernel, projection = np.ones((5, 12)), np.ones((3, 2))
    arrays = {"rnn/lstm_cell/kernel": kernel, "rnn/lstm_cell/projection/kernel": projection}
    (found,) = tf1.read(cells(path, **arrays), forget_bias=1.0, activation="tanh")
    assert "taken are no cell_clip, no proj_clip;" in found.assumptions[0]
    (found,) = tf1.read(path, forget_bias=1.0, activation="tanh", cell_clip=2, proj_clip=3)
    assert found.assumptions == ()


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ({"b/lstm_cell/kernel": np.full((5, 12), np.nan)}, "not finite"),
        ({"b/lstm_cell/kernel": np.ones((5, 13))}, "4 \\* units"),
        ({"b/lstm_cell/kernel": np.array([{}], object)}, "array 'b/lstm_cell/kernel'"),
        ({"b/layer_norm_basic_lstm_cell/kernel": np.ones((5, 12))}, "LayerNormBasicLSTMCell"),
        ({"b/multi_rnn_cell/cell_1/lstm_cell/kernel": np.ones((5, 12))}, "cells are missing"),
    ],
)
def test_a_bad_lstm_stands_in_its_place(bad, match, tmp_path):
    path = cells(tmp_path / "a.npz", **{"a/lstm_cell/kernel": np.ones((5, 12))}, **bad)
    good, refused_one = tf1.read(path, forget_bias=1.0)
    assert good.name == "a/lstm_cell"
    assert isinstance(refused_one, formats.Refused)
    with pytest.raises(FormatError, match=match):
        formats.load(path, name=refused_one.name, forget_bias=1.0)
    with pytest.warns(FormatWarning, match="left out, since it cannot be computed"):
        assert formats.load(path, forget_bias=1.0, backend="reference").hidden_size == 3


def test_the_cells_of_a_stack_are_named():
    (found,) = tf1.read(FILES / "bidirectional.npz", forget_bias=1.0)
    assert found.parts == ("bidirectional_rnn/fw/lstm_cell", "bidirectional_rnn/bw/lstm_cell")
    name = "rnn/multi_rnn_cell/cell_1/basic_lstm_cell"
    with pytest.raises(FormatError, match=r"cell_1.*' is layer 1 \(counted from 0\) of the stack"):
        formats.load(FILES / "basic.npz", name=name, forget_bias=1.0)


def test_what_there_is_instead_is_said(tmp_path):
    path = save(tmp_path / "a.npz", ["dense/kernel", "x"])
    with pytest.raises(FormatError, match=r"no LSTM in it; there are arrays dense/kernel, x; "):
        formats.load(path, forget_bias=1.0)
