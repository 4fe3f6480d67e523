"""Neural Amp Modeler: files of its exporter, every step, and the head."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from damage import refused
from framework_runs import GOLDEN, excess_of_run, is_each_wrong_order_seen, load_run

from lstm_fast import LSTM, FormatError, load_model
from lstm_fast._weights import make_weights
from lstm_fast.formats import nam
from tolerances import gamma
from variant_tolerances import excess, variant_step

FILES = GOLDEN / "nam"
NAMES = ["one_layer", "two_layers"]


def read(name):
    (found,) = nam.read(FILES / f"{name}.nam")
    return found.weights


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_pytorchs_from_the_trained_state(name):
    weights, run = read(name), load_run(FILES / f"{name}.npz")
    assert all(np.any(layer.h_0) and np.any(layer.c_0) for layer in weights.layers)
    assert excess_of_run(weights, run) <= 1
    # From zeros, the trained state left out, the first step is another.
    zeros = make_weights([replace(layer, h_0=None, c_0=None) for layer in weights.layers])
    assert excess_of_run(zeros, run) > 1


@pytest.mark.parametrize("name", NAMES)
def test_every_wrong_order_of_gates_is_seen(monkeypatch, name):
    run = load_run(FILES / f"{name}.npz")
    assert is_each_wrong_order_seen(monkeypatch, "pytorch", lambda: read(name), run)


@pytest.mark.parametrize("name", NAMES)
def test_the_head_makes_what_the_plugin_plays(name):
    weight, bias = nam.head(FILES / f"{name}.nam")
    run = load_run(FILES / f"{name}.npz")
    h = run["h"][:, -1].astype(np.float64)
    assert weight.shape == (1, h.shape[1])
    assert bias.shape == (1,)
    error = gamma(h.shape[1] + 1) * (np.abs(h) @ np.abs(weight[0]) + np.abs(bias[0]))
    assert (np.abs(h @ weight[0].astype(np.float64) + bias[0] - run["y"]) <= error).all()
    assert (np.abs(h @ weight[0, ::-1].astype(np.float64) + bias[0] - run["y"]) > error).any()


def test_a_session_begins_and_resets_to_the_trained_state():
    weights = read("two_layers")
    stream = LSTM.from_weights(weights, backend="reference").stream()
    start = np.array([layer.h_0 for layer in weights.layers])
    assert np.array_equal(stream.state.h, start)
    first = stream.step([0.5])
    assert not np.array_equal(stream.state.h, start)
    stream.reset()
    assert np.array_equal(stream.state.h, start)
    assert np.array_equal(stream.step([0.5]), first)


def test_what_it_says():
    (found,) = nam.read(FILES / "one_layer.nam")
    assert found.name == ""
    assert "the head, 7 to 1" in found.notes[0]
    assert found.sources.keys() == found.weights.state_dict().keys()
    head = (FILES / "one_layer.nam").read_bytes()[:4096]
    assert nam.recognise(FILES / "one_layer.nam", head)
    assert not nam.recognise(FILES / "one_layer.nam", b'{"weight_map": {}}')


def test_more_outputs(tmp_path):
    content = json.loads((FILES / "one_layer.nam").read_text())
    content["config"]["out_channels"] = 2
    bias = content["weights"].pop()
    content["weights"] += [1.0, 2, 3, 4, 5, 6, 7, bias, 8]
    path = tmp_path / "a.nam"
    path.write_text(json.dumps(content))
    weight, biases = nam.head(path)
    assert weight[1].tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert biases.tolist() == [np.float32(bias), 8]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(architecture="WaveNet"), "architecture is 'WaveNet'"),
        (lambda c: c.pop("architecture"), "no architecture"),
        (lambda c: c.update(architecture=[[3] * 9000]), "architecture is"),
        (lambda c: c.update(config=3), "config"),
        (lambda c: c["config"].update(hidden_size=8), "weights: there are 274, an LSTM .* take"),
        (lambda c: c["config"].update(hidden_size=2**31), "hidden_size is 2147483648"),
        (lambda c: c["config"].update(num_layers=10**9), "weights: there are"),
        (lambda c: c["config"].update(num_layers=0), "num_layers is 0"),
        (lambda c: c["config"].update(input_size=1.0), "input_size is 1.0"),
        (lambda c: c["config"].update(input_size=True), "input_size is True"),
        (lambda c: c["config"].pop("input_size"), "input_size is None"),
        (lambda c: c["weights"].pop(), "weights: there are 273"),
        (lambda c: c.update(weights="1"), "not a list of numbers"),
        (lambda c: c["weights"].__setitem__(5, "1"), "not a list of numbers"),
        (lambda c: c["weights"].__setitem__(5, True), "not a list of numbers"),
        (lambda c: c["weights"].__setitem__(5, float("nan")), "not finite"),
        (lambda c: c["weights"].__setitem__(5, 1e39), "not finite"),
        (lambda c: c["weights"].__setitem__(5, 10**400), "weights"),
    ],
)
def test_what_is_refused(tmp_path, change, message):
    content = json.loads((FILES / "one_layer.nam").read_text())
    change(content)
    path = tmp_path / "a.nam"
    path.write_text(json.dumps(content))
    with pytest.raises(FormatError, match=message):
        nam.read(path)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff", b"[" * 100_000, b"[" + b"[]," * 10**6])
def test_what_is_no_json(tmp_path, text):
    path = tmp_path / "a.nam"
    path.write_bytes(text)
    with pytest.raises(FormatError, match=r"a\.nam"):
        nam.read(path)


@pytest.mark.parametrize("reader", [nam.read, nam.head])
def test_damaged_files_are_refused_or_read(tmp_path, reader):
    data = (FILES / "one_layer.nam").read_bytes()
    assert 50 < refused(reader, tmp_path / "a.nam", data, 300) < 300


def test_live(tmp_path):
    recurrent = pytest.importorskip("nam.models.recurrent")
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    model = recurrent.LSTM(hidden_size=4, num_layers=3)
    model._get_initial_state_burn_in = 20
    model.export(tmp_path)
    (found,) = nam.read(tmp_path / "model.nam")
    x = torch.randn(1, 30, 1)
    with torch.no_grad():
        state, states = model._get_initial_state(), []
        for t in range(x.shape[1]):
            _, state = model._core(x[:, t : t + 1], state)
            states.append([part[:, 0].numpy().copy() for part in state])
    h, c = (np.array(part) for part in zip(*states, strict=True))
    assert excess_of_run(found.weights, {"x": x[0].numpy(), "h": h, "c": c}) <= 1


# ---- amp and head --------------------------------------------------------------------------------


def whole_excess(name, run, **options):
    """Return how far the float64 backend is from what the plugin plays, over the bound of a step.

    Each step begins at the state that the plugin had, so that nothing but one step is judged.
    """
    path = FILES / f"{name}.nam"
    weights, (head, bias) = read(name), nam.head(path)
    model = load_model(path, **options)
    assert list(model.states) == [f"{k}_l{n}" for n in range(weights.num_layers) for k in "hc"]
    stream, worst = model.stream(), 0.0
    for t, x in enumerate(run["x"]):
        if t:
            state = {f"{k}_l{n}": run[k][t - 1, n] for k in "hc" for n in range(len(run[k][0]))}
            stream.state = state
        before, below, error = stream.state, np.array([x]), 0.0
        for n, layer in enumerate(weights.layers):
            h, c = before[f"h_l{n}"], before[f"c_l{n}"]
            step = variant_step(below, h, c, layer, x_error=error, peer=True)
            below, error = step.h, step.h_error
        exact, sizes = head @ below + bias, np.abs(head) @ (np.abs(below) + error) + np.abs(bias)
        bound = np.abs(head) @ error + gamma(len(below) + 1) * sizes
        worst = max(worst, excess(run["y"][t : t + 1], exact, bound))
        worst = max(worst, excess(stream.step([x]), exact, bound))
    return worst


@pytest.mark.parametrize("backend", [None, "reference"])
@pytest.mark.parametrize("name", NAMES)
def test_a_whole_model_plays_what_the_plugin_plays(name, backend):
    run = load_run(FILES / f"{name}.npz")
    assert whole_excess(name, run, backend=backend) <= 1
    assert whole_excess(name, run | {"y": run["y"] * (1 + 2.0**-12)}, backend=backend) > 1


def test_a_whole_model_begins_where_the_file_says():
    model, weights = load_model(FILES / "two_layers.nam"), read("two_layers")
    assert {name: one.shape for name, one in model.inputs.items()} == {"input": (1,)}
    assert {name: one.shape for name, one in model.outputs.items()} == {"output": (1,)}
    for n, layer in enumerate(weights.layers):
        assert np.array_equal(model.stream().state[f"h_l{n}"], layer.h_0)
        assert np.array_equal(model.stream().state[f"c_l{n}"], layer.c_0)


def test_what_a_whole_model_says_of_itself(tmp_path):
    content = json.loads((FILES / "one_layer.nam").read_text())
    notes = load_model(FILES / "one_layer.nam").notes
    assert notes[0] == "a file of version 0.7.0"
    assert "does not say its sample rate" in notes[1]
    assert notes[2].startswith("its loudness is -24.1087 dB")
    assert notes[-1] == nam.WARM_UP
    content |= {"sample_rate": 44100, "metadata": {"gain": [1], "input_level_dbu": 12.5}}
    path = tmp_path / "amp.nam"
    path.write_text(json.dumps(content))
    found = load_model(path).notes
    assert "its sample rate is 44100 Hz" in found
    assert not any("gain" in note for note in found)
    assert any("its input was 12.5 dBu" in note for note in found)


def test_whole_models_of_other_architectures_and_options_are_refused(tmp_path):
    content = json.loads((FILES / "one_layer.nam").read_text())
    path = tmp_path / "amp.nam"
    path.write_text(json.dumps(content | {"architecture": "WaveNet"}))
    with pytest.raises(FormatError, match="is 'WaveNet'; only 'LSTM' is read: get the amp as an L"):
        load_model(path)
    with pytest.raises(ValueError, match="a file of format nam is ready as it is, and takes no hi"):
        load_model(FILES / "one_layer.nam", history={"input": 1})


def test_damaged_whole_models_are_refused_or_read(tmp_path):
    data = (FILES / "one_layer.nam").read_bytes()
    assert refused(load_model, tmp_path / "amp.nam", data, 100) > 30
