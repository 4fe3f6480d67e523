"""Keras's files: what Keras computes with them is what we compute, step by step."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from keras_cases import FILES, FOLDER, excess_along, excess_of_batch, recorded

from lstm_fast import Activation, FormatError, formats
from lstm_fast.formats import gates
from lstm_fast.formats.keras import _stacks

PLAIN = "keras3_variants.keras"
GUESS = "does not say what it computes"


def pairs(file_name):
    """Return each LSTM in a file with what Keras computes."""
    arrays = recorded(file_name)
    found = formats.read(FOLDER / file_name)
    assert len(found) == len(arrays)
    for one in found:
        if one.name in arrays:
            yield one, arrays[one.name]
        else:  # Keras 2's .weights.h5 has no names of layers
            assert GUESS in one.assumptions[0]
            yield one, arrays["own_name" if one.weights.num_directions == 1 else "wide"]


@pytest.mark.parametrize("file_name", FILES)
def test_every_step_is_keras_own(file_name):
    for found, arrays in pairs(file_name):
        assert excess_along(found.weights, **arrays) <= 1, found.name


@pytest.mark.parametrize("file_name", FILES)
def test_our_run_is_keras_own(file_name):
    for found, arrays in pairs(file_name):
        h, c, wide = arrays["h"], arrays["c"], found.weights.num_directions
        ys = np.concatenate(list(h[-wide:]), -1)
        last = [
            0 if found.weights.direction == "reverse" or n % wide else -1 for n in range(len(h))
        ]
        state = [np.stack([part[n, :, t] for n, t in enumerate(last)]) for part in (h, c)]
        assert excess_of_batch(found.weights, arrays["xs"], ys, state) <= 1, found.name


def test_all_that_was_promised_is_there():
    assert {name.partition("_")[0] for name in FILES} == {"keras2", "keras3"}
    assert {name.partition(".")[2] for name in FILES} == {"keras", "h5", "weights.h5"}
    assert len(FILES) == 24


# ---- negative controls ---------------------------------------------------------------------------


@pytest.mark.parametrize("file_name", [PLAIN, "keras2_variants.h5", "keras2_cudnn.h5"])
def test_every_wrong_gate_order_is_seen(file_name, monkeypatch):
    orders = ["".join(order) for order in permutations(gates.OURS)]
    orders.remove(gates.ORDERS["keras"])
    assert len(orders) == 23
    for order in orders:
        monkeypatch.setitem(gates.ORDERS, "keras", order)
        for found, arrays in pairs(file_name):
            assert excess_along(found.weights, **arrays) > 1, (found.name, order)


def test_a_forget_bias_that_is_added_twice_is_seen(monkeypatch):
    original = _stacks.to_pytorch

    def added(values, order):
        values = original(values, order)
        if values.ndim == 1:
            values = values.copy()
            values[len(values) // 4 : len(values) // 2] += 0.5  # of both biases
        return values

    monkeypatch.setattr(_stacks, "to_pytorch", added)
    for found, arrays in pairs(PLAIN):
        assert (excess_along(found.weights, **arrays) > 1) == (found.name != "no_bias"), found.name


@pytest.mark.parametrize(("mine", "other"), [(2, 3), (3, 2)])
def test_the_other_versions_hard_sigmoid_is_seen(mine, other, monkeypatch):
    hard = formats.keras._model.HARD_SIGMOID
    monkeypatch.setitem(hard, mine, hard[other])
    for part in ("activations", "more_activations"):
        for found, arrays in pairs(f"keras{mine}_{part}.keras"):
            seen = excess_along(found.weights, **arrays) > 1
            assert seen == ("hard_sigmoid" in found.name), found.name


# ---- what is said about them ---------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["keras", "h5"])
@pytest.mark.parametrize("major", [2, 3])
def test_what_is_found(major, suffix):
    found = {one.name: one for one in formats.read(FOLDER / f"keras{major}_variants.{suffix}")}
    assert list(found) == ["plain", "no_bias", "backwards", "one_cell", "cells"]
    weights = {name: one.weights for name, one in found.items()}
    assert weights["plain"].is_plain
    assert weights["no_bias"].layers[0].bias_ih is None
    assert weights["backwards"].direction == "reverse"
    assert "at their own steps" in found["backwards"].assumptions[0]
    assert weights["cells"].num_layers == 2
    assert [str(layer.cell.output) for layer in weights["cells"].layers] == ["relu", "tanh"]
    assert found["plain"].notes == ()
    assert (
        "kernel" in found["plain"].sources["weight_ih_l0"]
        or "vars/0" in (found["plain"].sources["weight_ih_l0"])
    )


def test_weights_alone_are_what_the_options_say():
    path = FOLDER / "keras3_alone.weights.h5"
    for one in formats.read(path):
        assert GUESS in one.assumptions[0]
        assert one.weights.is_plain
    options = {"activation": "relu", "recurrent_activation": Activation("hard_sigmoid")}
    narrow = {one.name: one for one in formats.read(path, go_backwards=True, **options)}
    cell = narrow["own_name"].weights.layers[0].cell
    assert (str(cell.gate), str(cell.input)) == ("hard_sigmoid(alpha=0.2, beta=0.5)", "relu")
    assert narrow["own_name"].weights.direction == "reverse"
    assert narrow["wide"].weights.direction == "bidirectional"
    with pytest.raises(ValueError, match="activation is 'gelu'"):
        formats.read(path, activation="gelu")


def test_load_by_name():
    path = FOLDER / "keras3_stacks.keras"
    assert formats.load(path, backend="reference").num_layers == 2
    with pytest.raises(FormatError, match=r"5 LSTMs.*'plain', 'no_bias'"):
        formats.load(FOLDER / PLAIN)
    assert formats.load(FOLDER / PLAIN, name="plain", backend="reference").hidden_size == 4
