"""Whole models that Keras saved: every step beside what it computed, files that are damaged."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest
from damage import refused
from framework_runs import GOLDEN
from keras_chains import distance, run_of

from lstm_fast import FormatError, load_model
from lstm_fast.cli import main
from lstm_fast.formats import gates

FOLDER = GOLDEN / "keras_models"
NAMES = ["frame", "nested", "speech", "tokens"]


def recorded(name):
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return arrays["xs"], arrays["ys"]


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_keras_own(name):
    xs, ys = recorded(name)
    assert distance(FOLDER / f"{name}.keras", xs, ys) <= 1
    assert distance(FOLDER / f"{name}.keras", xs, np.roll(ys, 1, axis=0)) > 1  # the control


@pytest.mark.parametrize(
    ("name", "table", "order"),
    [
        ("nested", "ORDERS", "figo"),
        ("speech", "GRU_ORDERS", "rzn"),
        ("tokens", "GRU_ORDERS", "rzn"),
    ],
)
def test_a_wrong_order_of_gates_is_seen(name, table, order, monkeypatch):
    monkeypatch.setitem(getattr(gates, table), "keras", order)
    assert distance(FOLDER / f"{name}.keras", *recorded(name), backends=()) > 1


def test_what_it_says():
    speech, tokens = (load_model(FOLDER / f"{name}.keras") for name in ("speech", "tokens"))
    assert list(speech.outputs) == ["scores"]
    assert {name: one.shape for name, one in speech.states.items()} == {
        "near.history": (2, 6),
        "far.history": (3, 8),
        "gru.h": (5,),
        "lstm.h": (4,),
        "lstm.c": (4,),
    }
    assert speech.notes == (
        "layer 'gru' (GRU) keeps its state from step to step",
        "layer 'lstm' (LSTM) keeps its state from step to step",
    )
    assert "return_sequences is False: each step gives" in tokens.notes[1]
    assert {op.source for op in tokens.program.ops} == {"table", "gru", "scores"}
    assert list(load_model(FOLDER / "nested.keras").states) == [
        f"inner/cells/{n}.{part}" for n in range(2) for part in "hc"
    ]


def test_a_sequence_begins_anew_after_a_reset():
    xs, _ = recorded("speech")
    stream = load_model(FOLDER / "speech.keras").stream()
    first, again = stream.run(xs), stream.run(xs)
    stream.reset()
    assert np.array_equal(stream.run(xs), first)
    assert not np.array_equal(again, first)


def test_options_of_other_formats_are_refused():
    with pytest.raises(
        ValueError, match="a file of format keras is ready as it is, and takes no s"
    ):
        load_model(FOLDER / "speech.keras", shapes={"x": (1, 6)})


# ---- the command line ----------------------------------------------------------------------------


def test_inspect_and_convert(capsys, tmp_path):
    path, out = str(FOLDER / "speech.keras"), tmp_path / "speech.lfm"
    assert main(["inspect", path]) == 0
    text = capsys.readouterr().out
    assert "1 LSTM" in text
    assert "near.history (2, 6)" in text
    assert main(["inspect", "--json", str(FOLDER / "tokens.keras")]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["lstms"], facts["obstacle"]) == ([], None)
    assert facts["program"]["inputs"] == [
        {"name": "tokens", "shape": [], "kind": "int64", "history": 0}
    ]
    assert main(["convert", path, str(out)]) == 0
    xs, _ = recorded("speech")
    assert np.array_equal(run_of(out, xs), run_of(path, xs))
    assert main(["inspect", path, "--history", "x=1"]) == 1
    assert "takes no history" in capsys.readouterr().err


def test_inspect_says_what_is_in_the_way(capsys):
    path = str(GOLDEN / "keras/keras3_wide_stacks.keras")
    assert main(["inspect", path]) == 0
    text = capsys.readouterr().out
    assert "in the way" in text
    assert "(Bidirectional)" in text
    assert "--shape" not in text  # which would not help


# ---- damaged and hostile files -------------------------------------------------------------------


def parts(name):
    with zipfile.ZipFile(FOLDER / f"{name}.keras") as archive:
        return {one: archive.read(one) for one in archive.namelist()}


def zipped(members):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return memory.getvalue()


def changed(name, change):
    """Return a file whose config was changed."""
    members = parts(name)
    config = json.loads(members["config.json"])
    change(config["config"]["layers"])
    return zipped(members | {"config.json": json.dumps(config)})


def layer(name, **options):
    """Return what changes options of a layer."""

    def change(layers):
        (one,) = (one for one in layers if one["config"]["name"] == name)
        one["config"] |= options

    return change


CONFIGS = {
    "more units": (
        layer("scores", units=7),
        "layer 'scores' .*vars/0 have shape .*expected .4, 7.",
    ),
    "no units": (layer("gru", units="x"), "layer 'gru' .*units is x"),
    "units that are true": (layer("gru", units=True), "units is True"),
    "a missing bias": (layer("scores", use_bias=False), "more weights than its options tell of"),
    "a flag": (layer("scores", use_bias=1), "use_bias is 1, expected true or false"),
    "a long memory": (layer("near", dilation_rate=[2**30]), "layer 'near' .*too large for a ses"),
    "no dilation": (layer("near", dilation_rate=[0]), "dilation_rate is 0, expected 1 or more"),
    "groups": (layer("far", groups=5), "8 and 6 channels are not in 5 groups"),
    "padding": (layer("far", padding="past"), "padding is 'past': that is not known here"),
    "a negative variance": (layer("norm", epsilon=-9.0), "layer 'norm' .*negative or too small"),
    "no number": (layer("norm", epsilon=None), "epsilon is None, expected a number"),
    "negative epsilon": (layer("layer_norm", epsilon=-1), "layer 'layer_norm' .*epsilon is -1"),
    "an axis": (layer("norm", axis=5), "axis is 5, of a value with 3 axes"),
    "a policy": (layer("scores", dtype={"class_name": "Quantized"}), "computes in 'Quantized'"),
    "an activation": (layer("scores", activation=[1]), r"activation is '\[1\]', which"),
    "no layers": (lambda layers: layers.clear(), "no input of a known shape"),
    "no input": (lambda layers: layers.pop(0), "no input of a known shape"),
    "a large frame": (
        lambda layers: layers[0]["config"].update(batch_shape=[None, None, 2**40]),
        "too large for one step",
    ),
    "many layers": (
        lambda layers: layers.extend(
            {"module": "keras.layers", "class_name": "ReLU", "config": {"name": "o" * 999}}
            for _ in range(20_001)
        ),
        "for a file of this size",
    ),
    "a layer in layers": (
        lambda layers: (
            layers.insert(1, {"class_name": "Sequential", "config": {"layers": layers[:1]}})
            or layers.insert(1, {"class_name": [9] * 1000, "config": 3})
        ),
        "is of 'None', not of Keras",
    ),
}


@pytest.mark.parametrize("what", CONFIGS)
def test_a_config_that_does_not_fit_is_refused_by_name(what, tmp_path):
    change, text = CONFIGS[what]
    path = tmp_path / "model.keras"
    path.write_bytes(changed("speech", change))
    with pytest.raises(FormatError, match=f"model.keras: .*{text}"):
        load_model(path)


def test_the_control_of_these(tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(changed("speech", lambda layers: None))
    assert load_model(path).fingerprint == load_model(FOLDER / "speech.keras").fingerprint


def test_deep_models_are_refused(tmp_path):
    members, path = parts("frame"), tmp_path / "model.keras"
    one = '{"class_name":"Sequential","config":{"layers":['
    path.write_bytes(zipped(members | {"config.json": one * 3000 + "]}}" * 3000}))
    with pytest.raises(FormatError, match=r"model\.keras: "):
        load_model(path)


@pytest.mark.parametrize("name", ["frame", "speech", "tokens"])
def test_damaged_files_are_refused_or_read(name, tmp_path):
    members, path = parts(name), tmp_path / "model.keras"
    weights = members["model.weights.h5"]
    refusals = refused(load_model, path, (FOLDER / f"{name}.keras").read_bytes(), 60)

    def read_with(own):
        own.write_bytes(zipped(members | {"model.weights.h5": own.read_bytes()}))
        load_model(own)

    assert refused(read_with, path, weights, 120) + refusals > 20
