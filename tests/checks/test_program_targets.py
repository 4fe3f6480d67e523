"""Programs as targets, in whatever language: tests/checks/port.py speaks the protocol."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import numpy as np
import pytest
from passing import QUICK, passes
from wrong_targets import WEIGHTS

from lstm_fast import checks
from lstm_fast.checks import TargetError, adapters
from lstm_fast.checks.target import record

HERE = Path(__file__).parent


def port(mode, **options):
    return adapters.from_command([sys.executable, str(HERE / "port.py"), mode], **options)


def test_command():
    report = passes(port("many"), WEIGHTS)
    assert "threads" in report["isolation"].text


def test_no_program_outlives_its_target():
    target = port("one")
    session = target.session()
    processes = [program._process for program in target._programs]
    assert processes[0].poll() is None
    del target, session
    gc.collect()
    assert processes[0].poll() is not None


def test_a_command_of_one_session_is_started_for_each():
    with port("one") as target:
        first, second = target.session(), target.session()
        x = np.ones(5, np.float32)
        once = first.step(x)
        assert first.step(x).tobytes() != once.tobytes()
        assert second.step(x).tobytes() == once.tobytes()
        second.close()
        assert target.session().step(x).tobytes() == once.tobytes()  # reset, in the same program
        assert len(target._programs) == 2


def test_a_command_with_a_wrong_reset_is_caught():
    with port("forgets_c") as target:
        report = checks.run(target, WEIGHTS, QUICK, only=["reset", "agreement"])
        assert report["agreement"].failed
        with pytest.raises(AssertionError):
            exec(report["agreement"].reproduction, {})  # starts the program by itself


def test_what_a_reset_forgets_in_a_program_spoils_the_reset_alone():
    """A session's number is used again only where that is as good as new."""
    with port("leaks_c") as target:
        report = checks.run(target, WEIGHTS, QUICK, skip=["latency", "slow_paths"])
        assert [one.name for one in report.failures] == ["reset", "nan"], str(report)
        assert [one["mistake"] for one in report["reset"].diagnosis] == ["carried_over_reset:c"]
        alive = [program for program in target._programs if program.is_alive]
        assert len(alive) <= 3  # those whose numbers are spent have ended
    for failure in report.failures:
        with pytest.raises(AssertionError):
            exec(failure.reproduction, {})


def test_long_runs_are_asked_for_in_lines_of_256_frames(monkeypatch):
    """So that a long chunk is no reason for a timeout."""
    asked = []
    with port("many") as target:
        session = target.session()
        ask = session._program.ask
        monkeypatch.setattr(
            session._program, "ask", lambda m, *a: asked.append(len(m.get("xs", ""))) or ask(m, *a)
        )
        xs = np.random.default_rng(0).random((600, 5), np.float32)
        ys = session.run(xs)
        assert asked == [256, 256, 88]
        monkeypatch.undo()
        assert ys.tobytes() == record(target, xs).ys.tobytes()


def test_a_mistake_of_a_program_that_shows_its_state_is_named():
    """Its state can't be set, and the diagnosis must not believe that it was."""
    with port("iofg") as target:
        session = target.session()
        with pytest.raises(AttributeError):
            session.state = (np.zeros((2, 8)), np.zeros((2, 8)))
        report = checks.run(target, WEIGHTS, QUICK, only=["agreement"])
    assert [one["mistake"] for one in report["agreement"].diagnosis] == ["gate_order:iofg"]


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("dies", "exit status 3 instead of answering 'step'; it said: assertion failed: n > 0"),
        ("silent", "did not answer 'step' within 0.5 s"),
        ("nonsense", "answered 'step' with 'loading model...', expected a JSON object"),
        ("list", "expected a JSON object"),
        ("error", "answered 'step' with an error: out of memory"),
        ("short", r"shape \(3,\), expected \(8\)"),
        ("words", "holds 'many', expected numbers"),
        ("no_y", "y is missing in the answer, which has h, c"),
    ],
)
def test_a_command_that_misbehaves_is_told(mode, says):
    with port(mode, timeout=0.5 if mode == "silent" else 10) as target:
        with pytest.raises(TargetError, match=says):
            record(target, np.zeros((20, 5)))
        processes = [program._process for program in target._programs]
    assert all(process.poll() is not None for process in processes)  # none is left


def test_a_command_that_cannot_start_is_told():
    with pytest.raises(TargetError, match="can't start /does/not/exist: No such file"):
        adapters.from_command("/does/not/exist --fast")
    with pytest.raises(TargetError, match="input_size None, expected a whole number"):
        port("no_info")
    with pytest.raises(TargetError, match="ended with exit status 0 instead of answering 'info'"):
        adapters.from_command([sys.executable, "-c", ""])
    with pytest.raises(TargetError, match="empty"):
        adapters.from_command("")
