"""Files of TensorFlow 2.15.1, with what its interpreter computed.

The keras_* ones are from its converter, the others are built with its schema; all numbers are its
own. See golden/formats/make_tflite.py.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from lstm_fast import LSTM, formats, reference
from lstm_fast.formats import FormatError, gates
from lstm_fast.formats.tflite import _operators
from tolerances import U
from variant_tolerances import batch, excess, step_excess, variant_step

pytest.importorskip("tflite", reason="the library tflite is not installed")

FOLDER = Path(__file__).parents[1] / "golden" / "formats" / "tflite"
FILES = sorted(path.stem for path in FOLDER.glob("*.npz"))
FLOAT_FILES = [name for name in FILES if "hybrid" not in name]


def load(name):
    (found,) = formats.read(FOLDER / f"{name}.tflite")
    return found, dict(np.load(FOLDER / f"{name}.npz"))


def rounding(layer, x, hybrid):
    """What a hybrid kernel loses of a frame: half a step of its 127, and its float32 scale.

    Our dequantised weights are rounded once, which is another U of each product.
    """
    size = np.abs(np.float64(x))
    return (size.max() / 254 * (1 + 8 * U) + 2 * U * size) if hybrid else 0.0


def worst_step(found, run):
    """Return the largest distance over its bound, of steps from the state that TFLite had."""
    worst = 0.0
    weights = found.weights
    hybrid = any("dequantised" in text for text in found.assumptions)
    for n, layer in enumerate(weights.layers):
        if f"h_{n}" not in run:
            continue
        backward = weights.direction == "bidirectional" and n % 2
        turn = slice(None, None, -1 if backward else 1)
        below = n - weights.num_directions
        frames = (run["xs"] if below < 0 else run[f"h_{below}"])[turn]
        hs, cs = run[f"h_{n}"][turn], run[f"c_{n}"][turn]
        h, c = np.zeros_like(hs[0]), np.zeros_like(cs[0])
        for x, new_h, new_c in zip(frames, hs, cs, strict=True):
            errors = rounding(layer, x, hybrid), rounding(layer, h, hybrid)
            step = variant_step(x, h, c, layer, *errors, peer=True)
            worst = max(worst, step_excess(step, new_h, new_c))
            h, c = new_h, new_c
    return worst


def zeros(weights, rows=1):
    depth = len(weights.layers)
    return [np.zeros((depth, rows, n)) for n in (weights.output_size, weights.hidden_size)]


@pytest.mark.parametrize("name", FILES)
def test_every_step_is_tflites(name):
    found, run = load(name)
    assert worst_step(found, run) <= 1


@pytest.mark.parametrize("name", FILES)
def test_most_files_say_what_every_layer_did(name):
    found, run = load(name)
    states = sum(key.startswith("h_") for key in run)
    assert states == (2 if name == "keras_bidirectional" else len(found.weights.layers))


@pytest.mark.parametrize("name", FLOAT_FILES)
def test_a_whole_sequence_is_tflites(name):
    """Both are within the bound of float64, ours with its own bound and TFLite's with a peer's."""
    found, run = load(name)
    xs = run["xs"][None]
    lstm = LSTM.from_weights(found.weights, backend="reference")
    ours, _ = lstm(xs)
    near = batch(found.weights, xs, zeros(found.weights), [len(run["xs"])], peer=True)[0]
    assert excess(run["ys"], near.value[0], near.error[0]) <= 1
    assert excess(ours[0], near.value[0], near.error[0]) <= 1


@pytest.mark.parametrize("name", FLOAT_FILES)
def test_load_makes_an_lstm_that_steps(name):
    path = FOLDER / f"{name}.tflite"
    found, run = load(name)
    lstm = formats.load(path, name=found.name, backend="reference")
    if found.weights.direction != "forward":
        return
    stream = lstm.stream()
    ys = np.stack([stream.step(x) for x in run["xs"]])
    near = batch(found.weights, run["xs"][None], zeros(found.weights), [len(ys)], peer=True)[0]
    assert excess(ys, near.value[0], near.error[0]) <= 1


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("order", list(itertools.permutations(_operators.GATES))[1:])
def test_every_other_order_of_gates_is_seen(name, order, monkeypatch):
    """The negative control of the tests above."""
    names = _operators.GATES
    letters = "".join("igfo"[("input", "cell", "forget", "output").index(g)] for g in order)
    if name == "basic":
        right = gates.ORDERS["tensorflow1"]
        swapped = right.translate(str.maketrans("ifgo", letters))
        monkeypatch.setitem(gates.ORDERS, "tensorflow1", swapped)
    else:
        monkeypatch.setattr(_operators, "GATES", order)
    assert order != names
    try:
        found, run = load(name)
    except FormatError as error:
        assert "cifg" in name, "only where a gate is missing may that be an error"
        assert "missing" in str(error) or "is there" in str(error)
        return
    assert worst_step(found, run) > 1


@pytest.mark.parametrize("name", FLOAT_FILES)
def test_what_a_part_does_is_seen(name):
    """Without any one of its parts, or with another cell, a file's results are others."""
    found, run = load(name)
    layers = found.weights.layers
    assert worst_step(found, run) <= 1
    for kind in ("bias_ih", "peephole", "layer_norm", "bias_hr"):
        if getattr(layers[0], kind) is None:
            continue
        less = [replace(layers[0], **{kind: getattr(layers[0], kind) * 0.5}), *layers[1:]]
        weights = replace(found.weights, layers=tuple(less))
        assert worst_step(replace(found, weights=weights), run) > 1, kind
    plain = {"cell_clip": None, "proj_clip": None, "coupled": None, "output": "tanh"}
    for option, value in plain.items():
        cell = layers[0].cell
        given = getattr(cell, option)
        if given is None or str(given) == "tanh":
            continue
        if option == "cell_clip" and given == 10:  # the converter's own; no state gets there
            assert np.abs(run["c_0"]).max() < 10
            continue
        other = [replace(layers[0], cell=replace(cell, **{option: value})), *layers[1:]]
        weights = replace(found.weights, layers=tuple(other))
        assert worst_step(replace(found, weights=weights), run) > 1, option


def test_hybrid_weights_are_dequantised():
    found, _ = load("keras_hybrid")
    layer = found.weights.layers[0]
    assert any("int8 weights, dequantised" in text for text in found.assumptions)
    for matrix in (layer.weight_ih, layer.weight_hh):
        for gate in np.split(matrix, 4):  # whole multiples, up to 127, of one scale for each tensor
            steps = np.float64(gate) / np.abs(gate).max() * 127
            assert np.abs(steps - np.rint(steps)).max() < 127 * 4 * U


def test_a_hybrid_file_is_not_a_float_one():
    """The negative control of its wider bound: without it, TFLite's own rounding is seen."""
    found, run = load("keras_hybrid")
    assert worst_step(replace(found, assumptions=()), run) > 1


def test_reference_equals_variant_step():
    """The bound's value is that of the public reference: one step of the largest variant."""
    found, run = load("layer_norm")
    layer = found.weights.layers[0]
    options = asdict(layer.cell)
    options |= {
        role: (value.name, value.alpha or 0.0, value.beta or 0.0)
        for role, value in zip(("gate", "input", "output"), layer.cell.activations, strict=True)
    }
    x, h, c = run["xs"][3], run["h_0"][2], run["c_0"][2]
    new_h, new_c = reference.variant_cell(x, h, c, layer.parameters(), options)
    step = variant_step(x, h, c, layer, peer=True)
    assert step_excess(step, new_h, new_c) < 1


def test_names_sources_and_notes():
    found, _ = load("keras_stack")
    assert found.name == "StatefulPartitionedCall:0"
    assert (found.weights.num_layers, found.weights.direction) == (3, "forward")
    for layer in range(3):
        assert f"operator {layer} UNI" in found.sources[f"weight_hh_l{layer}"]
        assert found.sources[f"weight_ih_l{layer}"].count("tensor ") == 4
    assert "starts from zeros" in found.notes[0]
    found, _ = load("cifg_layer_norm")
    assert "in the file time is the first axis, then the batch" in found.notes
    assert "input_to_input" not in found.sources["weight_ih_l0"]
    found, _ = load("keras_bidirectional")
    assert (found.weights.num_layers, found.weights.direction) == (2, "bidirectional")
    assert {"weight_ih_l0", "weight_ih_l0_reverse", "weight_ih_l1_reverse"} <= set(found.sources)


def test_what_was_not_fused_says_so():
    with pytest.raises(FormatError, match=r"keras_relu_while.tflite: .*no LSTM operator .* WHILE"):
        formats.load(FOLDER / "keras_relu_while.tflite")
