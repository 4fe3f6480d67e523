"""The fuzzer sees what it looks for, and a few damaged files of every format stay harmless.

`make fuzz` throws a million.
"""

from __future__ import annotations

import pytest
from fuzz import GOLDEN, damaged, fuzz, sources

FILE = GOLDEN / "nam" / "one_layer.nam"


def found(reader, count):
    return [wrong for _, wrong in fuzz(FILE, range(count), f"bad_readers:{reader}")]


@pytest.mark.parametrize(
    ("reader", "count", "what"),
    [
        ("raises", 3, "KeyError"),
        ("tells_too_much", 1, "its error has 100000 characters"),
        ("crashes", 2, "the process died"),
        ("hangs", 1, "TookTooLongError"),
        ("swallows_memory", 1, "MB for a file of"),
    ],
)
def test_what_no_reader_may_do_is_seen(reader, count, what, monkeypatch):
    """Negative controls."""
    monkeypatch.syspath_prepend(str(GOLDEN.parents[1] / "formats"))
    wrong = found(reader, count)
    assert wrong
    assert all(what in one for one in wrong)


def test_a_good_reader_is_left_in_peace(monkeypatch):
    monkeypatch.syspath_prepend(str(GOLDEN.parents[1] / "formats"))
    assert found("good", 20) == []


def test_the_same_seed_makes_the_same_file():
    assert damaged(FILE, 7) == damaged(FILE, 7)
    assert damaged(FILE, 7) != damaged(FILE, 8)
    assert len({damaged(FILE, seed) for seed in range(50)}) > 40


def test_every_format_has_files_to_begin_with():
    folders = {path.relative_to(GOLDEN).parts[0] for path in sources()}
    assert folders - {"keras_models"} == {
        "equinox",
        "keras",
        "nam",
        "npz",
        "onnx",
        "pytorch",
        "rtneural",
        "safetensors",
        "tf1",
        "tflite",
    }


@pytest.mark.parametrize(
    "folder",
    [
        *("equinox", "keras", "nam", "npz", "onnx", "pytorch", "rtneural", "safetensors", "tf1"),
        "tflite",
    ],
)
def test_a_few_of_each_format(folder):
    path = next(path for path in sources() if path.parent.name == folder)
    assert list(fuzz(path, range(60))) == []


@pytest.mark.parametrize(
    "name",
    [
        "keras_models/speech.keras",
        "nam/two_layers.nam",
        "rtneural/chain.json",
        "rtneural/recnet.json",
    ],
)
def test_a_few_whole_models(name):
    assert list(fuzz(GOLDEN / name, range(60), "lstm_fast:load_model")) == []
