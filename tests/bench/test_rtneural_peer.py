"""RTNeural as a peer of the bench: compiled where a checkout is, refused in words where none is."""

from __future__ import annotations

import os
import shutil

import pytest

from lstm_fast.bench import CannotRunError, contenders, lstms, peers, rtneural, shapes

SHAPE = shapes.Shape("", 3, 5, 3)
needs_compiler = pytest.mark.skipif(shutil.which("c++") is None, reason="there is no C++ compiler")


def subject(shape=SHAPE):
    return lstms.OneLSTM(shape)


@pytest.mark.parametrize("folder", ["", "/nowhere"])
def test_without_a_checkout_it_says_what_to_do(monkeypatch, folder):
    monkeypatch.setenv(rtneural.VARIABLE, folder)
    with pytest.raises(CannotRunError, match=r"set LSTM_FAST_RTNEURAL to its folder"):
        peers.load("rtneural")


def test_without_a_compiler_it_says_what_to_do(monkeypatch, tmp_path):
    header(tmp_path, "")
    monkeypatch.setenv(rtneural.VARIABLE, str(tmp_path))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(CannotRunError, match=r"needs a C\+\+ compiler"):
        peers.load("rtneural")


def header(folder, text):
    (folder / "RTNeural").mkdir()
    (folder / "RTNeural/RTNeural.h").write_text(text)


@needs_compiler
def test_what_does_not_compile_is_told(monkeypatch, tmp_path):
    header(tmp_path, "#error from another time\n")
    monkeypatch.setenv(rtneural.VARIABLE, str(tmp_path))
    with pytest.raises(CannotRunError, match=r"(?s)does not compile: c\+\+ .*from another time"):
        subject().peers("rtneural", 1)


def test_it_has_no_batches():
    assert subject().peers("rtneural", 2) == []


@needs_compiler
@pytest.mark.skipif(
    rtneural.VARIABLE not in os.environ, reason="LSTM_FAST_RTNEURAL names no checkout of RTNeural"
)
def test_live():
    """Every backend of it computes the same; with two gates exchanged it would not be timed."""
    right = subject()
    for one in right.peers("rtneural", 1):
        assert contenders.check(one, right) < 1e-5
    wrong = {name: peers.reordered(value, "iofg") for name, value in right._weights.items()}
    for one in rtneural.make(SHAPE, wrong):
        with pytest.raises(CannotRunError, match="is wrong, so it is not timed"):
            contenders.check(one, right)
