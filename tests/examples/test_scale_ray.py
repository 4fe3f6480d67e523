"""The examples of examples/scale on a real Ray: `make scale` runs these; they take a minute or two.

Ray runs in processes of its own, so that nothing of it is left in the one of the tests.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scale_cases import SCALE, local

import lstm_fast

if importlib.util.find_spec("ray") is None:
    pytest.skip("ray is not installed: pip install '.[ray]'", allow_module_level=True)

SECONDS = 600  # after which it hangs
LSTM_HERE = lstm_fast.LSTM.random(3, 5)


def run(program, *arguments):
    command = [sys.executable, str(program), *map(str, arguments)]
    # The processes that Ray starts look there for the modules of the examples.
    path = os.pathsep.join([str(SCALE), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.lfm"
    lstm_fast.Model.from_program(LSTM_HERE.program).save(path)
    return path


def test_the_same_bits_whatever_the_partitioning(tmp_path):
    """Also that actors and the reading of the table find room beside each other."""
    status, output, errors = run(Path(__file__).with_name("scale_partitions.py"), tmp_path)
    assert status == 0, errors
    found = json.loads(output.splitlines()[-1])
    assert found == {"size": 3, "right": [True] * 3, "control": True}


def test_a_table_is_scored_with_a_reason_for_each_row_that_cannot_be(model, tmp_path):
    table, result = tmp_path / "table.csv", tmp_path / "scores.csv"
    good = [[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]
    with table.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerows([["name", "x"], ["good", json.dumps(good)], ["bad", "[[1, 2]]"]])
    status, output, errors = run(SCALE / "offline.py", table, result, "--model", model)
    assert status == 0, errors
    assert "rows: 2, with an error: 1" in output
    with result.open(newline="") as file:
        first, second = csv.DictReader(file)
    y = np.array(json.loads(first["y"]), np.float32)
    assert (first["name"], first["error"], first["steps"]) == ("good", "", "2")
    assert y.tobytes() == LSTM_HERE.stream().run(good).tobytes()
    assert second["name"] == "bad"
    assert "expected (T, 3)" in second["error"]


def kill(model, *arguments):
    options = ["--model", model, "--sessions", 8, "--frames", 150, *arguments]
    status, output, errors = run(SCALE / "live.py", *options)
    assert status == 0, output + errors
    return output


def test_killed_replicas_cost_no_bit_with_redis(model):
    """Two rounds; `make scale` has twenty of sixteen sessions."""
    if not local.has_redis():
        pytest.skip("redis-server is not installed")
    output = kill(model, "--rounds", 2)
    assert "2 of 2 rounds lost no bit" in output
    assert "in redis" in output
    assert "Control, snapshots forgotten" in output


def test_killed_replicas_cost_no_bit_with_a_named_actor(model):
    output = kill(model, "--rounds", 1, "--store", "actor:test")
    assert "1 of 1 rounds lost no bit" in output
    assert "in actor" in output


# ---- what the user can put right is said in one line, before Ray starts ----


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nothing", "out.txt"], "results are .parquet or .csv files"),
        (["t.txt", "out.csv", "--model", "m.lfm"], "a table is one of .parquet .csv .npz"),
        (["none.d", "out.csv"], "there are no recordings in it"),
        (["nothing", "out.csv"], "there is no such file or folder"),
        (["none.d", "out.csv", "--model", "m.lfm"], "there are no .parquet files in it"),
        (["t.csv", "out.csv", "--model", "missing.lfm"], "missing.lfm"),
        (["a.wav", "out.csv", "--actors", "2"], "2 actors on 2 CPUs leave none to read with"),
    ],
)
def test_what_is_wrong_with_the_arguments_is_said(arguments, reason, tmp_path):
    paths = [str(tmp_path / one) if "." in one or one == "nothing" else one for one in arguments]
    (tmp_path / "none.d").mkdir()
    for name in ("t.csv", "t.txt", "a.wav"):
        (tmp_path / name).write_text("name,x\n")
    status, output, errors = run(SCALE / "offline.py", *paths)
    assert status == 2, output + errors
    assert reason in errors
    assert "Traceback" not in errors
