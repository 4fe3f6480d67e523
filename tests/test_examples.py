"""The examples around a pool as they run: real time, real threads and real processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from itertools import islice

import numpy as np
import pytest

from cases import bits
from live_cases import EXAMPLES, alone, live
from lstm_fast import LSTM, SnapshotError

drain, live_load = map(import_module, ("drain", "live_load"))


def test_many_sessions_on_real_threads_have_the_bits_of_their_own(implementation):
    """In real time, for once, so in an order of its own each time."""
    lstm = implementation.random(16, 24, 2)
    frames = np.random.default_rng(1).standard_normal((30, 12, 16), dtype=np.float32)

    async def talk(batcher, own):
        async with batcher.session() as session:
            return [bits(await session.step(frame)) for frame in own]

    async def scene(executor):
        async with live.FrameBatcher(
            lstm.pool(8), grow=8, max_delay=1e-4, executor=executor
        ) as batcher:
            return await asyncio.gather(*(talk(batcher, own) for own in frames))

    expected = [alone(own, lstm) for own in frames]
    assert asyncio.run(scene(None)) == expected
    with ThreadPoolExecutor(1) as executor:
        assert asyncio.run(scene(executor)) == expected


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
