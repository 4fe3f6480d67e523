"""RTNeural's JSON: what its exporters wrote, every step of it, GuitarML's nets, hostile texts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import rtneural_runs
from damage import refused
from framework_runs import GOLDEN

import lstm_fast
import program_bounds
from lstm_fast import FormatError, formats, load_model
from lstm_fast.cli import main
from lstm_fast.formats import gates, rtneural
from variant_tolerances import excess

FILES = GOLDEN / "rtneural"
NAMES = [
    "chain.json",
    "stack.json",
    "amp_lstm.aidax",
    "amp_gru.aidax",
    "proteus.json",
    "knob_gru.json",
    "elman.json",
    "recnet.json",
]


def recorded(name):
    with np.load((FILES / name).with_suffix(".npz")) as arrays:
        return arrays["x"], arrays["y"]


def distance(given, x, y, backends=(None, "reference")):
    """Return how far a float32 run of theirs, and ours, are from float64, over the bound."""
    steps = program_bounds.run(load_model(given).program, x, peer=True)
    exact = np.stack([one.value for one in steps])
    error = np.stack([one.error for one in steps])
    assert np.isfinite(error).all()
    found = [y]
    for backend in backends:
        stream = load_model(given, backend=backend).stream()
        found.append(np.stack([stream.step(one) for one in x]))
    assert {one.shape for one in found} == {exact.shape}
    return max(excess(one, exact, error) for one in found)


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_what_the_framework_computed(name):
    x, y = recorded(name)
    assert distance(FILES / name, x, y) <= 1
    assert distance(FILES / name, x, np.roll(y, 1, axis=0), ()) > 1
    assert distance(FILES / name, x, y * (1 + 2.0**-10), ()) > 1


@pytest.mark.parametrize(
    ("name", "table", "kind", "order"),
    [
        ("stack.json", "ORDERS", "keras", "figo"),
        ("stack.json", "ORDERS", "keras", "iogf"),
        ("chain.json", "GRU_ORDERS", "keras", "rzn"),
        ("amp_gru.aidax", "GRU_ORDERS", "keras", "znr"),
    ],
)
def test_a_wrong_order_of_gates_is_seen(monkeypatch, name, table, kind, order):
    monkeypatch.setitem(getattr(gates, table), kind, order)
    assert distance(FILES / name, *recorded(name), ()) > 1


def changed(name, change):
    content = json.loads((FILES / name).read_text())
    change(content)
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("amp_lstm.aidax", lambda c: c.pop("in_gain")),
        ("amp_lstm.aidax", lambda c: c.pop("out_gain")),
        ("amp_lstm.aidax", lambda c: c.pop("in_skip")),
        ("amp_lstm.aidax", lambda c: c.update(out_gain=-90.0)),
        ("proteus.json", lambda c: c["model_data"].update(skip=0)),
        ("recnet.json", lambda c: c["model_data"].update(skip=0)),
        ("recnet.json", lambda c: c["blocks"]["0"].update(skip=1)),
        ("recnet.json", lambda c: c["blocks"]["1"].pop("skip")),  # 1 where it is left out
        ("elman.json", lambda c: c["model_data"].update(skip=1)),
    ],
)
def test_what_stands_around_the_layers_counts(name, change):
    """Each can be seen in the run: the negative control of the first test."""
    assert distance(changed(name, change), *recorded(name), ()) > 1


def test_the_lstms_alone():
    stack, above = formats.read(FILES / "stack.json")
    assert (stack.name, stack.parts) == ("layer 0", ("layer 0", "layer 1"))
    assert (above.name, above.parts) == ("layer 2", ())  # of another size
    assert stack.sources.keys() == stack.weights.state_dict().keys()
    assert "layers 0 to 1 of 4" in stack.notes[0]
    (amp,) = formats.read(FILES / "amp_lstm.aidax")
    assert amp.weights.hidden_size == 4
    (proteus,) = formats.read(FILES / "proteus.json")
    assert proteus.name == "rec"
    (block,) = formats.read(FILES / "recnet.json")
    assert block.name == "layers.block_1.rec"
    assert block.notes == ("left out: a GRU under 'layers.block_2.rec.'",)
    assert lstm_fast.load(FILES / "stack.json", name="layer 0").num_layers == 2


def test_a_bare_state_dict_is_read_as_lstms():
    state = json.loads((FILES / "proteus.json").read_text())["state_dict"]
    text = json.dumps({name: state[name] for name in sorted(state, reverse=True)}).encode()
    (found,) = formats.read(text)
    (expected,) = formats.read(FILES / "proteus.json")
    assert all(map(np.array_equal, *(one.weights.named().values() for one in (found, expected))))
    with pytest.raises(FormatError, match="no model_data in it, which says what is around"):
        load_model(text)


def test_an_lstm_after_another_layer_gets_its_width():
    content = json.loads((FILES / "stack.json").read_text())
    between = {"type": "activation", "activation": "tanh", "shape": [None, 3], "weights": []}
    content["layers"].insert(1, between)
    found = formats.read(json.dumps(content).encode())
    assert [one.name for one in found] == ["layer 0", "layer 2", "layer 3"]
    content["layers"][1]["shape"] = [5]
    first, second, _ = formats.read(json.dumps(content).encode())
    assert first.error is None
    assert "expected (5, 12)" in str(second.error)


def test_what_it_says():
    notes = load_model(FILES / "amp_lstm.aidax").notes
    assert notes[0] == "its sample rate is 48000 Hz"
    assert "as in_skip has it in AIDA-X" in notes[1]
    assert notes[-1] == rtneural.WARM_UP
    assert (
        "the first input is the sample, the others are"
        in load_model(FILES / "recnet.json").notes[0]
    )
    states = {name: one.shape for name, one in load_model(FILES / "chain.json").states.items()}
    assert states == {"history_l0": (4, 4), "history_l1": (1, 6), "h_l0": (3,)}


@pytest.mark.parametrize("text", ["amp_gru.aidax", "chain.json", "knob_gru.json", "elman.json"])
def test_without_an_lstm_load_says_what_there_is(text):
    with pytest.raises(FormatError, match=r"there is no LSTM in it.*(layers|GRU|RNN)"):
        lstm_fast.load(FILES / text)


def test_layers_that_load_model_refuses_are_not_said_to_be_read():
    given = changed("chain.json", layer(1, type="conv2d"))
    with pytest.raises(FormatError, match=r"conv2d \(1\).*: its type is 'conv2d', which is not"):
        lstm_fast.load(given)
    with pytest.raises(
        FormatError, match=r"no LSTM in it.*: lstm_fast\.load_model reads layers of"
    ):
        lstm_fast.load(changed("chain.json", lambda content: None))


def test_a_number_of_frames_that_stays():
    def whole(content):
        content["in_shape"][1] = 100
        for one in content["layers"]:
            one["shape"][1] = 100

    assert (
        load_model(changed("chain.json", whole)).fingerprint
        == load_model(changed("chain.json", lambda content: None)).fingerprint
    )


# ---- what is refused -----------------------------------------------------------------------------


def layer(n, **options):
    return lambda content: content["layers"][n].update(options)


def weight(n, k, change):
    def run(content):
        weights = content["layers"][n]["weights"]
        weights[k] = change(weights[k])

    return run


def shrunk(content):
    """Say that there is no padding: three taps make 98 frames of 100."""
    content["in_shape"][1] = content["layers"][0]["shape"][1] = 100
    content["layers"][1]["shape"][1] = 98


LAYERS = [
    (layer(0, type="conv2d"), r"layer 0 \('conv2d'\): its type is 'conv2d', which is not computed"),
    (layer(0, type="unknown"), "RTNeural passes over it"),
    (layer(0, type=None), r"layer 0 \(None\): its type is None"),
    (layer(0, type=[[]] * 9), r"its type is a list of 9"),
    (layer(0, shape=3), "shape is 3, expected a list"),
    (layer(0, shape=[]), "shape is a list of 0"),
    (layer(0, shape=[None, 2**40]), "shape is 1099511627776, expected 1 or more"),
    (layer(0, shape=[True]), "shape is True"),
    (layer(0, shape=[5]), r"kernel has shape \(2, 4\), expected \(2, 5\)"),
    (layer(0, weights={}), "its weights are 0 arrays, expected 1 or 2"),
    (layer(0, weights=[[]]), "found an empty list"),
    (layer(0, weights=["x"]), "expected a list of numbers, found 'x'"),
    (
        layer(0, activation="gelu"),
        "activation is 'gelu', which RTNeural has not; it has tanh, relu",
    ),
    (layer(0, activation={}), "activation is a JSON object of 0"),
    (layer(1, groups=5), "4 and 6 channels are not in 5 groups"),
    (layer(1, kernel_size=[2**30]), "kernel has shape"),
    (layer(1, dilation=2**30), "its state would take .* bytes of memory"),
    (layer(1, dilation=2**30 // 512), "its state would take .* bytes of memory"),
    (layer(1, dilation=0), "dilation is 0, expected 1 or more"),
    (layer(2, epsilon=-1), "epsilon is missing or negative"),
    (weight(2, 3, lambda w: [-9.0] * len(w)), "its variance is negative"),
    (weight(2, 0, lambda w: w[1:]), r"has shape \(5,\), expected \(6,\)"),
    (lambda c: c["layers"][2]["weights"].pop(), "its weights are 3 arrays, expected 2 or 4"),
    (weight(4, 0, lambda w: [w[0], w[0]]), r"alpha has shape \(2, 4\), expected \(1, 4\) or"),
    (weight(5, 2, lambda w: w[0]), "train it with reset_after=True"),
    (layer(5, activation="relu"), "activation is 'relu', but RTNeural computes tanh"),
    (weight(0, 0, lambda w: [w[0], w[0][1:]]), "is not as long as the first"),
    (weight(0, 0, lambda w: [w[0], 3]), "is not as long as the first"),
    (weight(0, 1, lambda w: [*w[1:], True]), "expected numbers, found True"),
    (weight(0, 1, lambda w: [*w[1:], None]), "expected numbers, found None"),
    (weight(0, 1, lambda w: [*w[1:], 10**400]), "not finite in float32"),
    (weight(0, 1, lambda w: [*w[1:], 1e39]), "not finite in float32"),
    (weight(0, 1, lambda w: [*w[1:], float("nan")]), "not finite in float32"),
    (weight(0, 0, lambda w: [[[[w]]]]), "more than 3 lists in a list"),
    (shrunk, r"layer 1 \('conv1d'\): its shape says that it makes 98 frames of 100, as with"),
    (lambda c: c.update(in_shape=None), "in_shape is None"),
    (lambda c: c.update(in_shape=[3]), "expected .3, 4."),
    (lambda c: c.update(layers=[]), "layers: there is none"),
    (lambda c: c.update(layers={"a": 1}), "they are not a list of JSON objects"),
    (lambda c: c.update(layers=[3]), "they are not a list of JSON objects"),
    (lambda c: c.update(layers=[{}] * 201), "there are 201, more than 200"),
    (lambda c: c.update(in_skip=2), "in_skip is 2, expected 0 or 1"),
    (lambda c: c.update(in_skip=True), "in_skip is True, expected 0 or 1"),
    (lambda c: c.update(in_skip=1), "in_skip is 1, and there are 3 outputs"),
    (lambda c: c.update(in_shape=[2**24], in_gain=3.0), "as many gains as values would take"),
    (lambda c: c.update(in_shape=[2**30]), "too large for one step"),
    (lambda c: c.update(in_gain="loud"), "in_gain is 'loud', expected a number"),
    (lambda c: c.update(out_gain=10**30), "out_gain is a number of more than 18 digits"),
    (lambda c: c.update(out_gain=2000), "gain is not finite"),
]


@pytest.mark.parametrize(("change", "message"), LAYERS)
def test_what_is_refused_of_layers(change, message):
    with pytest.raises(FormatError, match=message) as caught:
        load_model(changed("chain.json", change))
    assert len(str(caught.value)) < 400


def facts(**options):
    return lambda content: content["model_data"].update(options)


NETS = [
    (facts(model="GatedConvNet"), "its model is 'GatedConvNet', which is not computed here"),
    (facts(unit_type="QRNN"), "its recurrent layer is 'QRNN'; LSTM, GRU, RNN are computed"),
    (facts(unit_type=["LSTM"]), "its recurrent layer is a list of 1"),
    (facts(hidden_size=6), r"rec\.weight_ih_l0 has shape \(20, 1\), expected \(24, 1\)"),
    (facts(hidden_size=0), "hidden_size is 0, expected 1 or more"),
    (facts(hidden_size=2**30), "expected"),
    (facts(num_layers=2), r"rec\.weight_ih_l1 is missing in its state_dict"),
    (facts(num_layers=2**30), "it has 1073741824 recurrent layers, more than 200"),
    (facts(skip=-1), "skip is -1, expected how many inputs are added"),
    (facts(skip="all"), "skip is 'all'"),
    (facts(input_size=True), "input_size is True"),
    (facts(input_size=2**30), "too large for one step"),
    (facts(model="RecNet"), "a RecNet has blocks, and there are none"),
    (lambda c: c.update(model_data=[]), "there is no model_data in it"),
    (lambda c: c["state_dict"].update({"x": [1.0]}), "'x' is not part of such a model"),
    (lambda c: c["state_dict"].update({"lin.weight": [[1.0]]}), r"lin\.weight has shape \(1, 1\)"),
    (lambda c: c["state_dict"].update({"lin.bias": [None]}), "'lin.bias': expected numbers, found"),
    (lambda c: c["state_dict"].update({"lin.bias": []}), "'lin.bias': expected numbers, found an"),
    (lambda c: c["state_dict"].pop("lin.weight"), r"lin\.weight is missing"),
]


@pytest.mark.parametrize(("change", "message"), NETS)
def test_what_is_refused_of_nets(change, message):
    with pytest.raises(FormatError, match=message) as caught:
        load_model(changed("proteus.json", change))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["blocks"].update({"1": 3}), "block 1 is 3, expected a JSON object"),
        (lambda c: c["blocks"]["1"].update(input_size=3), "its input_size is 3, but it gets 2"),
        (lambda c: c["blocks"]["0"].update(skip=-1), "skip is -1"),
        (lambda c: c["blocks"]["0"].pop("block_type"), "its recurrent layer is None"),
        (lambda c: c.update(blocks=[1]), "a RecNet has blocks"),
    ],
)
def test_what_is_refused_of_chains_of_blocks(change, message):
    with pytest.raises(FormatError, match=message):
        load_model(changed("recnet.json", change))


@pytest.mark.parametrize(
    "text",
    [b"{}", b'{"in_shape"', b'{"layers": 3}', b'{"state_dict": [1]}', b'{"state_dict": {}}',
     b'{"in_shape": ' + b"[" * 100_000, b'{"weight_ih_l0": [[1]]}',
     b'{"model_data": ' + b'{"a":' * 900 + b"1" + b"}" * 901],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".json", ".aidax"])
def test_what_is_none(tmp_path, text, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(text)
    for read in (formats.read, load_model, lstm_fast.load):
        with pytest.raises(FormatError):
            read(path)


@pytest.mark.parametrize("read", [formats.read, load_model])
@pytest.mark.parametrize("name", ["stack.json", "recnet.json"])
def test_damaged_files_are_refused_or_read(tmp_path, name, read):
    data = (FILES / name).read_bytes()
    assert 20 < refused(read, tmp_path / name, data, 100) <= 100


def test_many_tensors_take_no_long_time():
    state = {f"{n}.weight_ih_l0": [[1]] for n in range(40_000)}
    with pytest.raises(FormatError, match=r"too many values|takes more work than a file of"):
        formats.read(json.dumps(state).encode())


def test_inspect_and_convert(capsys, tmp_path):
    out = tmp_path / "amp.lfm"
    assert main(["convert", str(FILES / "amp_gru.aidax"), str(out)]) == 0
    x, y = recorded("amp_gru.aidax")
    assert distance(out, x, y, ()) <= 1
    capsys.readouterr()
    assert main(["inspect", str(FILES / "amp_lstm.aidax")]) == 0
    text = capsys.readouterr().out
    assert "1 LSTM" in text
    assert "the whole model" in text
    index = GOLDEN / "safetensors/sharded/model.safetensors.index.json"
    assert main(["inspect", str(index)]) == 0
    assert "the whole model" not in capsys.readouterr().out


# ---- live ----------------------------------------------------------------------------------------


@pytest.mark.skipif(
    "LSTM_FAST_RTNEURAL" not in os.environ,
    reason="LSTM_FAST_RTNEURAL names no checkout of RTNeural, which is compiled",
)
def test_live(tmp_path):
    """All that its own repository has, and the files here, by the RTNeural that is there."""
    folder = Path(os.environ["LSTM_FAST_RTNEURAL"])
    program = rtneural_runs.compiled(folder, tmp_path)
    rng, seen = np.random.default_rng(5), 0
    for path in [*sorted((folder / "models").glob("*.json")), FILES / "chain.json"]:
        try:
            model = load_model(path)
        except FormatError:
            continue
        (given,) = model.inputs.values()
        x = rng.normal(0, 1, (40, *given.shape)).astype(np.float32)
        assert distance(path, x, rtneural_runs.run(program, path, x)) <= 1
        seen += 1
    assert seen
