"""The examples around a pool as they run: real time, real threads and real processes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from importlib import import_module
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from lstm_fast import LSTM, SnapshotError

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.append(str(EXAMPLES))
drain, live_load = map(import_module, ("drain", "live_load"))


LOAD = ["--sessions", "3", "30", "--seconds", "0.2", "--shape", "4x8"]


@pytest.mark.parametrize("options", [[], ["--threaded", "--prepare"]])
def test_load_is_answered(capsys, options):
    assert live_load.main([*LOAD, *options]) == 0
    output = capsys.readouterr().out
    assert [line.split()[0] for line in output.splitlines()[3:5]] == ["3", "30"]
    assert "18 of 18 sessions" in output


def test_load_in_two_processes(capsys, monkeypatch):
    monkeypatch.setattr(live_load, "READY", 0)
    assert live_load.main([*LOAD, "--sessions", "9", "--processes", "2"]) == 0
    assert "9 of 9 sessions" in capsys.readouterr().out


def test_load_notices_a_wrong_answer(capsys, monkeypatch):
    """Negative control: two frames are swapped."""
    plain = live_load.Caller.frame
    swapped = {3: 4, 4: 3}

    def frame(self, number):
        answered = self.outputs is not None and len(self.outputs) > 5
        return plain(self, number if answered else swapped.get(number, number))

    monkeypatch.setattr(live_load.Caller, "frame", frame)
    assert live_load.main([*LOAD, "--sessions", "3"]) == 1
    assert "0 of 3 sessions" in capsys.readouterr().out


def test_a_service_that_is_killed_goes_on_elsewhere():
    process = subprocess.run(
        [sys.executable, str(EXAMPLES / "drain.py")], capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stdout + process.stderr
    assert "exit status -9" in process.stdout
    assert "1667 of 1667 answers" in process.stdout


def test_a_service_does_not_go_on_from_a_damaged_checkpoint(tmp_path):
    path, lstm = tmp_path / "checkpoint.json", drain.make_lstm()
    answers = list(islice(drain.serve(path, lstm), 40))
    checkpoint = drain.read_checkpoint(path)
    assert checkpoint.tick == 38  # the one before the last answer
    assert [a.tick for a in next(drain.serve(path, lstm))] == [39] * len(answers[-1])
    call, snapshot = next(iter(checkpoint.snapshots.items()))
    damaged = {**checkpoint.snapshots, call: snapshot[:-1] + bytes([snapshot[-1] ^ 128])}
    drain.write_checkpoint(path, checkpoint._replace(snapshots=damaged))
    with pytest.raises(SnapshotError, match="damaged"):
        next(drain.serve(path, lstm))
    with pytest.raises(SnapshotError, match="other weights"):
        drain.restore(LSTM.random(*drain.SIZES, seed=1).pool(9), checkpoint)


def checkpoint_bytes(content):
    """A file whose checksum fits, whatever it holds."""
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return hashlib.sha256(text).hexdigest().encode() + b"\n" + text


WRONG_CONTENTS = [
    b"",
    b"{",
    b"\xff\xfe",
    b"[" * 100_000,
    b"9" * 10_000,
    [],
    None,
    "text",
    {},
    {"tick": 3},
    {"snapshots": {}},
    {"tick": "3", "snapshots": {}},
    {"tick": 3.0, "snapshots": {}},
    {"tick": True, "snapshots": {}},
    {"tick": -1, "snapshots": {}},
    {"tick": 10**9, "snapshots": {}},
    {"tick": 3, "snapshots": []},
    {"tick": 3, "snapshots": None},
    {"tick": 3, "snapshots": {"call-1": 7}},
    {"tick": 3, "snapshots": {"call-1": "xyz"}},
    {"tick": 3, "snapshots": {"call-1": ["00"]}},
    {"tick": 3, "snapshots": {"call-1": ""}},
    {"tick": 3, "snapshots": {"call-1": "00"}},
]


@pytest.mark.parametrize("content", WRONG_CONTENTS, ids=lambda content: repr(content)[:30])
def test_a_checkpoint_of_something_else_is_one_error(tmp_path, content):
    path = tmp_path / "checkpoint.json"
    path.write_bytes(checkpoint_bytes(content))
    with pytest.raises(drain.CheckpointError, match=r"is not a checkpoint|is not restored"):
        next(drain.serve(path, drain.make_lstm()))


def test_any_damage_to_a_checkpoint_is_one_error(tmp_path, capsys):
    path, lstm = tmp_path / "checkpoint.json", drain.make_lstm()
    for _ in islice(drain.serve(path, lstm), 8):
        pass
    whole = path.read_bytes()
    drain.read_checkpoint(path)  # the control
    rng = np.random.default_rng(0)
    damaged = [whole[:length] for length in rng.integers(0, len(whole), 60)]
    for at in [*range(80), *rng.integers(0, len(whole), 100)]:
        damaged.append(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
    damaged += [b"", whole + b" ", whole.replace(b"call-", b"call_", 1), whole[65:]]
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(drain.CheckpointError, match="damaged or cut short"):
            next(drain.serve(path, lstm))
    assert drain.main(["--serve", str(path)]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_of_a_checkpoint_all_sessions_are_restored_or_none():
    pool, lstm = drain.make_lstm().pool(9), drain.make_lstm()
    good = lstm.stream().snapshot()
    snapshots = {f"call-{n}": good for n in range(5)}
    with pytest.raises(drain.CheckpointError, match=r"'call-3'.*damaged"):
        drain.restore(pool, drain.Checkpoint(0, {**snapshots, "call-3": good[:-1]}))
    assert len(pool) == 0
    with pytest.raises(drain.CheckpointError, match="grow"):
        drain.restore(lstm.pool(3), drain.Checkpoint(0, snapshots))
    assert len(drain.restore(pool, drain.Checkpoint(0, snapshots))) == len(pool) == 5
