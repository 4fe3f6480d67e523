"""A file is told by its name and its first bytes; of the readers only its own is imported."""

import shutil
import subprocess
import sys

import pytest
from framework_runs import GOLDEN

from lstm_fast import formats
from lstm_fast._source import Source
from lstm_fast.formats._recognise_ours import FORMATS

FILES = {
    "safetensors": "two_layers.safetensors",
    "pytorch": "cell.pt",
    "onnx": "torchscript_stack.onnx",
    "keras": "keras3_alone.weights.h5",
    "tflite": "basic.tflite",
    "nam": "one_layer.nam",
    "tf1": "basic.npz",
    "npz": "linen.npz",
    "rtneural": "stack.json",
    "equinox": "cell.eqx",
}
LIBRARIES = {"onnx": "onnx", "tflite": "tflite"}  # of a reader
PROGRAM = """
import sys
from lstm_fast import formats

reader, named, unnamed = sys.argv[1:]
options = {"forget_bias": 1.0} if reader == "tf1" else {}
assert formats.read(named, **options)
assert formats.read(unnamed, **options)
assert formats.read(unnamed, format=reader, **options)
print(*(one for one in formats.READERS if f"lstm_fast.formats.{one}" in sys.modules))
"""
# What tells files of one format imports its reader, which is asked before that of TensorFlow 1.
ASKS_A_READER = """
from lstm_fast.formats._recognise_ours import FORMATS, Format

def recognise(path, head):
    from lstm_fast.formats import nam
    return False

FORMATS["nam"] = Format((".nam",), recognise)
"""


def imported(reader, folder, before=""):
    """Return the readers that are imported when files of one of them are read."""
    if reader in LIBRARIES:
        pytest.importorskip(LIBRARIES[reader])
    named = GOLDEN / reader / FILES[reader]
    unnamed = shutil.copy(named, folder / "unnamed")
    command = [sys.executable, "-c", before + PROGRAM, reader, named, unnamed]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("reader", formats.READERS)
def test_only_the_reader_of_a_file_is_imported(reader, tmp_path):
    assert imported(reader, tmp_path) == [reader]


def test_another_reader_would_be_seen(tmp_path):
    assert imported("tf1", tmp_path, ASKS_A_READER) == ["nam", "tf1"]


@pytest.mark.parametrize("reader", formats.READERS)
def test_a_reader_says_what_its_files_are(reader):
    module = getattr(formats, reader)
    assert FORMATS[reader] == (module.SUFFIXES, module.recognise)
    path = GOLDEN / reader / FILES[reader]
    with path.open("rb") as file:
        head = file.read(4096)
    told = [name for name, one in FORMATS.items() if one.recognise(Source(path), head)]
    assert told == [reader]
