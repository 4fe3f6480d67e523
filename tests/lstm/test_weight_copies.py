"""Weights are copied once on their way in, whatever they come as, and looked at once."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from lstm_fast import LSTM, _state_dict, _weights, formats, load

SIZE = 256
GIVEN = LSTM.random(SIZE, SIZE, backend="reference").state_dict()
FLOATS = sum(value.nbytes for value in GIVEN.values())  # some 2 MiB
CHECKS = 0.2  # of that, what checks take for a while: a bool for each float of one matrix


def copies(make):
    """How many times the weights were held at once in memory that Python knows of, at most.

    The packed weights of the native core are not: it takes their memory itself.
    """
    make()  # what is imported and cached on the way
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        made = make()
        peak = tracemalloc.get_traced_memory()[1] - before
        del made
        return peak / FLOATS
    finally:
        tracemalloc.stop()


def doubles():
    return {name: value.astype(np.float64) for name, value in GIVEN.items()}


def transposed():
    return {name: np.asfortranarray(value) for name, value in GIVEN.items()}


@pytest.fixture(autouse=True)
def native():
    pytest.importorskip("lstm_fast._native")


@pytest.mark.parametrize("mapping", [GIVEN, doubles(), transposed()], ids=["as is", "f8", "F"])
@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_a_state_dict_is_copied_once(mapping, dtype):
    count = copies(lambda: LSTM.from_state_dict(mapping, weight_dtype=dtype, backend="native"))
    assert 0.99 < count < 1 + CHECKS


def test_weights_that_are_kept_are_copied_once():
    weights = LSTM.from_state_dict(GIVEN).weights
    count = copies(lambda: LSTM.from_weights(weights, backend="native"))
    assert 0.99 < count < 1 + CHECKS


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_weights_that_nobody_keeps_are_not_copied(dtype):
    weights = LSTM.from_state_dict(GIVEN).weights
    options = {"weight_dtype": dtype, "keep_weights": False, "backend": "native"}
    assert copies(lambda: LSTM.from_weights(weights, **options)) < CHECKS


def test_a_second_copy_is_noticed(monkeypatch):
    def careless(layers, direction, names, **options):
        return _weights.make_weights(layers, direction, names)

    monkeypatch.setattr(_state_dict, "make_weights", careless)
    assert copies(lambda: LSTM.from_state_dict(GIVEN, backend="native")) > 1.9


def test_each_value_is_looked_at_once(monkeypatch):
    seen = []
    monkeypatch.setattr(np, "isfinite", lambda x, f=np.isfinite: seen.append(np.size(x)) or f(x))
    LSTM.from_state_dict(GIVEN, backend="native")
    matrices = [size for size in seen if size > 4 * SIZE]
    assert matrices == [4 * SIZE * SIZE] * 2


@pytest.mark.parametrize("read", [dict, doubles, transposed])
def test_what_was_given_can_be_changed_and_what_was_made_cannot(read):
    mapping = {name: np.array(value) for name, value in (read() or GIVEN).items()}
    lstm = LSTM.from_state_dict(mapping)
    for value in mapping.values():
        value[...] = np.nan
    for name, value in lstm.weights.named().items():
        assert value.tobytes() == GIVEN[name].tobytes()
        assert value.flags.c_contiguous
        with pytest.raises(ValueError, match="read-only"):
            value[0] = 0


def test_weights_of_one_array_become_arrays_of_their_own():
    one = np.array(GIVEN["weight_hh_l0"])
    twice = {**GIVEN, "weight_ih_l0": one, "weight_hh_l0": one}
    layer = LSTM.from_state_dict(twice).weights.layers[0]
    assert not np.shares_memory(layer.weight_ih, one)
    assert not np.shares_memory(layer.weight_hh, one)


def test_weights_of_a_file_are_read_only(tmp_path):
    path = tmp_path / "model.safetensors"
    formats.safetensors.write(path, LSTM.from_state_dict(GIVEN).weights)
    for value in load(path).weights.named().values():
        assert not value.flags.writeable
