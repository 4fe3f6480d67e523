"""A file that is cut short while it is read is an error, in every format; never a signal.

A reader that maps files would be ended by SIGBUS there.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from framework_runs import GOLDEN

HERE = Path(__file__).parent
TIMES = 50
FILES = {  # and what is cut, where it is another file beside it
    "safetensors/two_layers.safetensors": "",
    "safetensors/sharded/model.safetensors.index.json": "",
    "safetensors/sharded/model.safetensors.index.json model-00001-of-*": "model-00001-of-*",
    "pytorch/checkpoint.ckpt": "",
    "pytorch/legacy.pth": "",
    "pytorch/scripted.jit": "",
    "pytorch/code.pt": "",
    "onnx/dynamo_stack.onnx": "",
    "onnx/dynamo_external_data.onnx": "",
    "onnx/dynamo_external_data.onnx data": "*.data",
    "keras/keras3_stacks.keras": "",
    "keras/keras3_alone.weights.h5": "",
    "keras/keras2_stacks.h5": "",
    "tflite/keras_stack.tflite": "",
    "nam/one_layer.nam": "",
    "tf1/basic.npz": "",
    "rtneural/stack.json": "",
    "rtneural/proteus.json": "",
    "npz/linen.npz": "",
    "safetensors/nnx.safetensors": "",
    "equinox/cell.eqx": "",
}
NEEDS = {"onnx": ["onnx"], "tflite": ["tflite", "flatbuffers"]}


def run(way, reader, path, victim, options):
    arguments = [way, reader, path, victim, json.dumps(options), *map(str, range(TIMES))]
    return subprocess.run(
        [sys.executable, HERE / "truncation.py", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture(params=FILES)
def files(request, tmp_path):
    """Return a file in a folder of its own, what is to be cut, and the options of its reader."""
    source = GOLDEN / request.param.partition(" ")[0]
    folder = request.param.partition("/")[0]
    for library in NEEDS.get(folder, []):
        pytest.importorskip(library)
    shutil.copytree(source.parent, tmp_path / "files")
    path = tmp_path / "files" / source.name
    beside = FILES[request.param]
    victim = next((tmp_path / "files").glob(beside)) if beside else path
    return path, victim, {"forget_bias": 1.0} if folder == "tf1" else {}


def test_a_file_that_is_cut_before_a_read_is_an_error_each_time(files):
    done = run("cut", "lstm_fast.formats:read", *files)
    assert done.returncode == 0, (done.returncode, done.stderr[-500:])
    outcomes = done.stdout.split()
    assert len(outcomes) == TIMES
    assert set(outcomes) <= {"FormatError", "OSError"}


def test_a_file_that_is_cut_at_any_time_is_no_signal(files):
    done = run("race", "lstm_fast.formats:read", *files)
    assert done.returncode == 0, (done.returncode, done.stderr[-500:])
    outcomes = done.stdout.split()
    assert len(outcomes) == TIMES
    assert set(outcomes) <= {"FormatError", "OSError", "read"}


def test_a_mapped_file_would_be_a_signal(tmp_path):
    """The negative control."""
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(1 << 20))
    done = run("cut", "truncation:maps", path, path, {})
    assert done.returncode == -signal.SIGBUS
