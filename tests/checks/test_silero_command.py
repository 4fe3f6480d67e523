"""`lstm-fast check` of Silero VAD: a wrong frame is never green, and what works is said."""

from __future__ import annotations

import shlex

import pytest
from silero_path import silero_file, silero_files

from lstm_fast import cli

FAST = ["--steps", "300", "--skip", "latency,slow_paths"]
RIGHT = "--set sr=16000 --history input=64 --frame 512"


def check(*arguments):
    return cli.main(["check", *arguments])


def test_silero_from_the_shell(capsys):
    pytest.importorskip("onnxruntime")
    right = [str(silero_file()), "--set", "sr=16000", "--frame", "576", *FAST]
    assert check(*right) == 0  # as a whole, beside ours
    out = " ".join(capsys.readouterr().out.split())
    assert "6 passed, 1 skipped" in out
    assert "every output and the state within" in out
    assert check(*right, "--no-reference") == 0
    said = " ".join(capsys.readouterr().out.split())  # wherever lines are wrapped
    assert "passed; agreement and drift were left out" in said


@pytest.mark.parametrize("more", [[], ["--no-reference"]])
def test_silero_without_its_context_is_not_green(more, capsys):
    pytest.importorskip("onnxruntime")
    for frame in ("512", "1,512", "100"):
        assert check(str(silero_file()), "--set", "sr=16000", "--frame", frame, *more, *FAST) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert "takes 576 values per frame (--frame) at 16000 Hz (64 of context" in captured.err
        assert f"found {frame.split(',')[-1]}" in captured.err
    # Whoever says that it is another model is warned, in the verdict.
    says = ["--set", "sr=16000", "--frame", "512", "--state", "state:stateN"]
    assert check(str(silero_file()), *says, *more, *FAST) == (0 if more else 1)
    out = " ".join(capsys.readouterr().out.split())
    assert "with 1 warning: Silero VAD (version 5 or newer) takes 576 values" in out


@pytest.mark.parametrize("path", silero_files(), ids=lambda path: path.name)
def test_the_command_line_that_is_proposed_for_a_silero_works(path, capsys):
    pytest.importorskip("onnxruntime")
    assert check(str(path), "--frame", "100", *FAST) == 2  # as is any number that is wrong
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    line = told.split("This works: lstm-fast check ")[1].partition(" (or, if")[0]
    assert check(*shlex.split(line), *FAST) == 0
    out = capsys.readouterr().out
    assert " failed" not in out
    assert "passed, " in out
    assert ("every output and the state within" in " ".join(out.split())) is ("--history" in line)


def test_silero_for_16000_hz_alone_is_not_checked_at_8000(capsys):
    pytest.importorskip("onnxruntime")
    says = ["--set", "sr=8000", "--frame", "288", "--no-reference", *FAST]
    assert check(str(silero_file()), *says) == 2
    err = capsys.readouterr().err
    assert "is for 16000 Hz alone" in err
    assert "--set sr=16000 --history input=64 --frame 512 (or" in err
    assert check(str(silero_file("silero_vad.onnx")), *says) == 0  # control: this one has both


def test_torchscript_that_keeps_its_state_is_told(capsys):
    pytest.importorskip("torch")
    path = silero_file("silero_vad.jit")
    assert check(str(path), "--input-size", "512") == 2
    err = capsys.readouterr().err
    assert "keeps its state in itself (reset_states)" in err
    assert f"lstm-fast check {path.with_suffix('.onnx')} {RIGHT}" in err
