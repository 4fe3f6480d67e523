"""Small files that ask for much: each ends within four times its size and 64 MB, and a second.

What is charged is steps and bytes, so that the outcome does not depend on the machine. Memory is
measured in a process of its own; CPU time has to keep to a multiple of the promise.
"""

from __future__ import annotations

import sys
import zipfile
from io import BytesIO

import bombs
import limits
import newer_bombs
import numpy as np
import pytest
from handmade_hdf5 import Hdf5, lstm

import lstm_fast
from lstm_fast import FormatError, formats
from lstm_fast._budget import Budget
from lstm_fast._source import Source
from lstm_fast.formats import _json, _zip

pytestmark = pytest.mark.filterwarnings("ignore::lstm_fast.FormatWarning")
measured = pytest.mark.skipif(sys.platform != "linux", reason="/proc says how much memory it took")

BOMBS = {**bombs.BOMBS, **newer_bombs.BOMBS}
# Those of which nothing but the budget keeps a reader from taking too much, smaller where that is
# enough, at scales that take more than the limit without it.
TOO_MUCH_MEMORY = {
    "one text, packed": 12_000,
    "overlapping names": 60_000,
    "many layers": 300_000,
    "long name of cells": 1500,
    "packed zeros": 200_000,
    "lists": 2_000_000,
    "computed constants": 2000,
    "small integers": 2000,
    "small integers of equinox": 3000,
}
TOO_MUCH_TIME = {"headers of fields": 400, "records of pax": 300, "programs": 900}


@measured
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_time_and_memory(name):
    bomb = BOMBS[name]
    taken = limits.taken(bomb.make(bomb.scale), bomb.name, bomb.action, **bomb.options)
    assert taken.is_within, taken
    assert taken.outcome == "FormatError"


def taken_without_the_budget(name, scale):
    bomb = BOMBS[name]
    return limits.taken(bomb.make(scale), bomb.name, bomb.action, free=True, **bomb.options)


@measured
@pytest.mark.parametrize("name", TOO_MUCH_MEMORY)
def test_without_the_budget_it_takes_too_much_memory(name):
    """The negative control, which a bomb has to pass that says anything."""
    taken = taken_without_the_budget(name, TOO_MUCH_MEMORY[name])
    assert not taken.has_memory, taken


@measured
@pytest.mark.parametrize("name", TOO_MUCH_TIME)
def test_without_the_budget_it_takes_too_much_time(name):
    taken = taken_without_the_budget(name, TOO_MUCH_TIME[name])
    assert taken.seconds > 2 * limits.seconds_for(taken.size), taken


@pytest.mark.parametrize("name", ["one array", "long mask", "many cells", "headers of arrays"])
def test_work_is_what_ends_these(name, monkeypatch):
    bomb = bombs.BOMBS[name]
    data = bomb.make(bomb.scale)
    with pytest.raises(FormatError, match="more work than a file of this size can need"):
        formats.read(data, **bomb.options)
    steps = []
    monkeypatch.setattr(Budget, "work", lambda self, count=1, what="": steps.append(count))
    try:
        formats.read(data, **bomb.options)
    except FormatError as error:
        assert "more work" not in str(error)
    assert sum(steps) > Budget("x", len(data)).work_left


@measured
@pytest.mark.parametrize("action", ["load", "load_model", "no_lstm"])
@pytest.mark.parametrize("name", ["one text, packed", "many layers", "many masks", "lists"])
def test_whatever_is_done_with_it(name, action):
    bomb = bombs.BOMBS[name]
    taken = limits.taken(bomb.make(bomb.scale), bomb.name, action)
    assert taken.is_within, taken


def test_errors_are_short():
    config = bombs.model([bombs.layer("LSTM", units=0, name="n" * 100_000)])
    with pytest.raises(FormatError) as caught:
        formats.read(bombs.keras(config, bombs.empty()))
    assert len(str(caught.value)) <= 2000
    assert "nnn ... nnn" in str(caught.value)
    assert len(str(FormatError("x" * 2000))) == 2000
    assert len(str(FormatError("x" * 2001))) < 2000


def test_a_warning_is_short():
    """Of names that a mask has, which stand in what is assumed."""
    file = Hdf5()
    layers = file.group([("lstm", lstm(file))])
    weights = file.finish(file.group([("layers", layers)]))
    mask = bombs.layer("Masking", name="m" * 5000)
    config = bombs.model([mask, bombs.layer("LSTM", units=1, name="a")])
    with pytest.warns(lstm_fast.FormatWarning) as caught:
        lstm_fast.load(bombs.keras(config, weights))
    (one,) = caught
    assert len(str(one.message)) <= 2000


# ---- what is charged -----------------------------------------------------------------------------


def spent(data, read, **options):
    """Return the steps and bytes that reading a file took from its budget."""
    source = Source(data)
    before = source.budget.work_left, source.budget.memory_left
    read(source, **options)
    return before[0] - source.budget.work_left, before[1] - source.budget.memory_left


def many_lstms(count):
    file = Hdf5()
    names = [f"lstm_{n}" if n else "lstm" for n in range(count)]
    layers = file.group([(name, lstm(file, 3, 4)) for name in names])
    weights = file.finish(file.group([("layers", layers)]))
    config = bombs.model([bombs.layer("LSTM", units=4, name=name) for name in names])
    return bombs.keras(config, weights, method=zipfile.ZIP_STORED)


def test_the_work_grows_with_the_file():
    from lstm_fast.formats import keras

    small, large = (spent(many_lstms(n), keras.read) for n in (20, 200))
    assert 8 < large[0] / small[0] < 12
    assert 8 < large[1] / small[1] < 12


@pytest.mark.parametrize("count", [1, 100, 1000])
def test_many_real_layers_are_read(count):
    found = formats.read(many_lstms(count))
    assert len(found) == count
    assert all(isinstance(one, formats.Found) for one in found)


def test_many_arrays_in_an_npz_are_read():
    arrays = {f"x_{n}": np.zeros(1, np.float32) for n in range(3000)}
    for n in range(100):
        arrays[f"{n}/lstm_cell/kernel"] = np.ones((4, 8), np.float32)
    file = BytesIO()
    np.savez(file, **arrays)
    assert len(formats.read(file.getvalue(), format="tf1", forget_bias=1.0)) == 100


def lstms_in_an_npz(count):
    arrays = {
        f"{n}.weight_{k}h_l0": np.zeros((4, 1), np.float32) for n in range(count) for k in "ih"
    }
    file = BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def test_the_list_of_an_npz_is_read_once():
    """And not for each of its arrays."""
    from lstm_fast.formats import npz

    small, large = (spent(lstms_in_an_npz(count), npz.read) for count in (50, 500))
    assert 8 < large[0] / small[0] < 12
    assert len(formats.read(lstms_in_an_npz(1000))) == 1000


@pytest.mark.parametrize("dtype", ["u1", "f2", "f4", "f8"])
def test_weights_that_pack_well_are_read(dtype):
    """A model whose training has only begun, or of few values."""
    columns, file = {"i": 100, "h": 400}, BytesIO()
    arrays = {f"weight_{k}h_l0": np.ones((1600, n), dtype) for k, n in columns.items()}
    np.savez_compressed(file, **arrays)
    (found,) = formats.read(file.getvalue())
    assert (found.weights.layers[0].weight_hh == 1).all()


def test_members_that_share_their_bytes_are_refused():
    file = BytesIO()
    np.savez(file, **{f"weight_{k}h_l0": np.ones((400, 100), np.float32) for k in "ih"})
    data = file.getvalue()
    begin, end = data.find(b"PK\1\2"), data.find(b"PK\5\6")
    assert len(formats.read(data)) == 1
    listed, counts = data[begin:end] * 2, (4).to_bytes(2, "little") * 2
    tail = data[end : end + 8] + counts + len(listed).to_bytes(4, "little") + data[end + 16 :]
    with pytest.raises(FormatError, match="its arrays claim more bytes than the file has"):
        formats.read(data[:begin] + listed + tail)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_large_array_is_read(dtype):
    arrays = {"lstm_cell/kernel": np.ones((2000, 4000), dtype)}
    file = BytesIO()
    np.savez(file, **arrays)
    (found,) = formats.read(file.getvalue(), format="tf1", forget_bias=1.0)
    assert found.weights.input_size == 1000


def test_a_large_amp_is_read():
    size = 200
    count = 4 * size * (1 + size) + 4 * size + 2 * size + size + 1
    rng = np.random.default_rng(0)
    numbers = ", ".join(map(str, rng.uniform(-1, 1, count).astype(np.float32))).encode()
    data = bombs.amp(b"[" + numbers + b"]", hidden_size=size)
    (found,) = formats.read(data)
    assert found.weights.hidden_size == size
    assert lstm_fast.load_model(data).outputs


def test_memory_is_given_back():
    """An archive's list is read several times, and each time it is free again."""
    data = bombs.zipped({f"{n}.npy": b"" for n in range(100)})
    source = Source(data)
    before = source.budget.memory_left
    assert len(_zip.names(source)) == 100
    assert source.budget.memory_left == before
    assert source.budget.work_left < Budget("x", len(data)).work_left


@pytest.mark.parametrize("prefix", [b"", b"#!/bin/sh\n"])
@pytest.mark.parametrize("comment", [b"", b"c" * 65_535])
def test_the_list_of_members_is_found_wherever_it_is(prefix, comment):
    data = BytesIO()
    data.write(prefix)
    with zipfile.ZipFile(data, "a") as archive:
        for n in range(1000):
            archive.writestr(f"{n}", b"")
        archive.comment = comment
    source = Source(data.getvalue())
    with source.open() as file, _zip.opened(source, file):
        used = Budget("x", source.size).memory_left - source.budget.memory_left
    assert used > 1000 * 500


def test_a_list_in_the_larger_form(monkeypatch):
    """Of 64 bits, as archives have it with more than 65,535 members: zipfile believes this one."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for n in range(70_000):
            archive.writestr(f"{n}", b"")
    data = bytearray(made.getvalue())
    assert b"PK\6\6" in data[-200:]
    data[-10:-6] = bytes(4)  # the size in 32 bits

    def used():
        source = Source(data)
        with source.open() as file, _zip.opened(source, file) as archive:
            assert len(archive.namelist()) == 70_000
            return Budget("x", source.size).memory_left - source.budget.memory_left

    assert used() > 70_000 * 500
    monkeypatch.setattr(_zip, "LOCATOR_64", b"none")  # the negative control
    assert used() < 1000


@pytest.mark.parametrize(
    "text", [b'["a"]', b"[1.5, 2.5]", b'{"a": 1}', b"[[], [[]], {}]", '"\u00e9"'.encode()]
)
def test_json_is_charged_what_it_takes(text):
    """Against what Python says its values take."""
    source = Source(text)
    before = source.budget.memory_left
    value = _json.parse(source, "part", text)
    assert before - source.budget.memory_left >= size_of(value) - sys.getsizeof("") - 16


def size_of(value):
    inner = []
    if isinstance(value, dict):
        inner = [*value.keys(), *value.values()]
    elif isinstance(value, list):
        inner = value
    own = 0 if isinstance(value, int) else sys.getsizeof(value)  # small ones are shared
    return own + sum(map(size_of, inner))
