"""What reading hostile files of PyTorch and safetensors takes: memory, steps, words.

A file of S bytes may take 4 S + 64 MB. Times are no matter of tests: what bounds them are the steps
of the budget, which are counted.
"""

from __future__ import annotations

import sys
import warnings

import limits
import numpy as np
import pytest
from handmade import storage, strides, tensor, write_zip
from torch_bombs import BOMBS

import lstm_fast
from lstm_fast import FormatError, formats
from lstm_fast._budget import STEPS, STEPS_A_BYTE, Budget
from lstm_fast._source import Source
from lstm_fast.formats._packing import charge_packing

LONGEST = 2000  # characters of an error
linux = pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc")


@linux
@pytest.mark.parametrize("name", BOMBS)
def test_memory_and_words(name, tmp_path):
    taken = limits.taken_by(BOMBS[name](tmp_path), "load")
    assert taken.is_within, taken
    assert taken.outcome == "FormatError"
    assert 0 < len(taken.text) < LONGEST
    assert "\n" not in taken.text


@linux
@pytest.mark.parametrize("name", ["windows", "layers"])
def test_without_charges_they_take_more(name, tmp_path):
    """The negative control."""
    assert not limits.taken_by(BOMBS[name](tmp_path), "load", free=True).has_memory


PACKED = {"windows": 19, "stretched": 43, "one unit": 1_000_000}  # at which they can be read


@linux
@pytest.mark.parametrize("weight_dtype", ["float32", "float16", "int8"])
@pytest.mark.parametrize("name", PACKED)
def test_packing_is_charged(name, weight_dtype, tmp_path):
    path = BOMBS[name](tmp_path, PACKED[name])
    taken = limits.taken_by(path, "load", weight_dtype=weight_dtype)
    assert taken.is_within, taken


@linux
@pytest.mark.parametrize("name", PACKED)
def test_packing_takes_more_than_reading(name, tmp_path):
    """The negative control: it is read, and packing it is too much."""
    path = BOMBS[name](tmp_path, PACKED[name])
    assert limits.taken_by(path, "read").outcome == "result"
    assert not limits.taken_by(path, "load", free=True).has_memory


@pytest.mark.parametrize("weight_dtype", ["float32", "float16", "int8"])
def test_packing_weights_of_8_bits_takes_no_more_than_the_file_is_worth(weight_dtype):
    weights = lstm_fast.LSTM.random(64, 64).weights
    budget = Budget("a.tflite", sum(one.size for one in weights.state_dict().values()))
    before = budget.memory_left
    charge_packing(budget, weights, weight_dtype)
    assert budget.memory_left == before


@pytest.mark.parametrize("name", BOMBS)
def test_steps(name, tmp_path):
    """Whatever it is, what it took of its budget is no more than there was."""
    path = BOMBS[name](tmp_path)
    source = Source(path)
    reader = formats.safetensors if "safetensors" in path.name else formats.pytorch
    try:
        reader.read(source)
    except FormatError as error:
        assert len(str(error)) < LONGEST
    total = STEPS + STEPS_A_BYTE * sum(file.stat().st_size for file in tmp_path.iterdir())
    assert total - source.budget.work_left > 0  # it was charged
    assert source.budget.memory_left > 0


def test_far_values_are_work(tmp_path, monkeypatch):
    """Few values that lie far apart take a pass over all between them."""
    path = BOMBS["far strides"](tmp_path)
    found = formats.pytorch.read(path)
    assert 0 < sum(one.error is None for one in found) < 1500
    monkeypatch.setattr(Budget, "work", lambda *_: None)
    monkeypatch.setattr(Budget, "memory", lambda *_: None)
    assert sum(one.error is None for one in formats.pytorch.read(path)) == 2000


def test_pieces_above_many_lstms_are_no_square():
    from lstm_fast._parameter_names import _prefixes

    names = [f"weight_ih_l{n}_raw" for n in range(300)]
    names += [f"{n:x}.weight_hh_l0" for n in range(300)]
    found, above = _prefixes(names)
    assert len(found) == 300
    assert len(above) == 300
    assert len({id(owners) for owners in above.values()}) == 1


def test_names_of_one_tensor_share_its_memory(tmp_path):
    """A model under twenty names is one: in memory, too."""
    units = 20
    held = storage("0", 4 * units * units)
    values = {
        f"{n}.weight_{k}h_l0": tensor(held, (4 * units, units), strides((4 * units, units)))
        for n in range(20)
        for k in "ih"
    }
    data = np.arange(4 * units * units, dtype=np.float32)
    path = write_zip(tmp_path / "a.pt", values, {"0": data.tobytes()})
    found = formats.pytorch.read(path)
    assert len(found) == 20
    arrays = [one.weights.layers[0].weight_ih for one in found]
    assert all(np.shares_memory(arrays[0], other) for other in arrays)
    assert all(np.array_equal(data.reshape(80, 20), other) for other in arrays)
    assert not any(other.flags.writeable for other in arrays)


def test_one_shard_of_many_names_counts_once(tmp_path):
    path = BOMBS["aliases"](tmp_path)
    source = Source(path)
    before = source.budget.memory_left
    first, second = source.beside("b.safetensors"), source.beside("./././b.safetensors")
    assert first is second
    assert source.budget.memory_left == before + 4 * first.size


def test_what_is_said_of_many_is_short(tmp_path):
    """A warning, and names that are asked for, too."""
    path = BOMBS["far strides"](tmp_path)
    with pytest.raises(FormatError) as caught:
        lstm_fast.load(path, name="no such")
    assert len(str(caught.value)) < LONGEST
    held = storage("0", 64)
    values = {
        f"{n}.weight_{k}h_l0": tensor(held, (16, 4 if n == 10 else 3), (4, 1))
        for n in range(500)
        for k in "ih"
    }
    path = write_zip(tmp_path / "b.pt", values, {"0": bytes(4 * 64)})
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        lstm_fast.load(path)
    assert told
    assert all(len(str(one.message)) < LONGEST for one in told)
