"""The example: what it was trained on it recalls, and the report names the lengths it does not."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from lstm_fast import evaluate

pytest.importorskip("scipy")

EXAMPLES = Path(__file__).parents[2] / "examples"
sys.path.append(str(EXAMPLES))

recall = importlib.import_module("recall")

TRAINED_STEPS = 24


@pytest.fixture(scope="module")
def result():
    return evaluate.run(
        recall.make_predictor(), recall.sequences(1200, seed=9), evaluate.by_steps(recall.EDGES)
    )


def test_the_gold_label_is_the_symbol_that_is_asked_for():
    for item in list(recall.sequences(50, seed=3)):
        asked = int(item.xs[-1, len(recall.SYMBOLS) :].argmax())
        assert recall.SYMBOLS[int(item.xs[asked, : len(recall.SYMBOLS)].argmax())] == item.gold
        assert item.keys["question"] == recall.QUESTIONS[asked]
        assert item.xs.sum() == item.steps


def test_what_was_trained_is_recalled(result):
    trained = result.buckets["steps"][0]
    assert recall.EDGES[0] == TRAINED_STEPS + 1
    assert trained.accuracy.low > 0.98


def test_the_length_at_which_it_fails_is_named(result):
    named = {s.cohort.name for s in result.stand_outs if s.worse}
    assert "400+" in named
    assert not named & {"<25", "25-49"}
    assert result.cohort("steps", "400+").accuracy.high < 0.8
    assert "FAILS at steps 400+" in str(result)


def test_without_the_memory_it_fails_at_the_lengths_that_need_it():
    """Negative control: with the last 5 steps alone nothing but short sequences can be known."""
    cut = evaluate.run(
        recall.make_predictor(),
        recall.sequences(400, seed=9),
        evaluate.by_steps([6, 25]),
        window=5,
    )
    short, *longer = cut.buckets["steps"]
    assert short.accuracy.low > 0.6
    assert all(cohort.accuracy.high < 0.5 for cohort in longer)


def test_the_example_runs(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    assert recall.main(["--count", "300", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "FAILS at steps 400+" in said
    assert "DIFFERENT windows" in said
    assert (tmp_path / "recall.png").stat().st_size > 10_000
    assert len((tmp_path / "recall.csv").read_text("utf-8").splitlines()) == 301


@pytest.mark.filterwarnings("default")  # PyTorch's own
def test_the_training_script_writes_what_the_example_reads(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    path = EXAMPLES / "data" / "train_recall.py"
    spec = importlib.util.spec_from_file_location("train_recall", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.main(["--steps", "3", "--out", str(tmp_path)]) == 0
    shipped = recall.make_predictor()
    monkeypatch.setattr(recall, "DATA", tmp_path)
    untrained = recall.make_predictor()
    xs = recall.make_frames(np.arange(6), 1)
    assert untrained(xs).confidence < 0.5 < shipped(xs).confidence
    again = tmp_path / "again"
    assert script.main(["--steps", "3", "--out", str(again)]) == 0
    for name in ("recall.safetensors", "recall_head.npz"):
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()
