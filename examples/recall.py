"""How long does an LSTM remember? An evaluation by cohort of a task that needs nothing but memory.

Three symbols come, then others that are to be forgotten, then a question: which was the first, the
second or the third? A small LSTM was trained on gaps of at most 20 symbols (data/train_recall.py);
here it is asked after gaps of up to 1000. By length and by question, the report says how often
it is right, how fast and how sure it is, and names the lengths at which it fails.

    python examples/recall.py                # needs pip install '.[evaluate]'

It writes out/recall.png, and out/recall.csv with a row for each sequence. Then the LSTM is compared
with itself seeing the last 20 steps alone, as a model with a short context window would.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lstm_fast
from lstm_fast import evaluate

DATA = Path(__file__).parent / "data"
SYMBOLS = "ABCDEF"
KEPT = 3  # symbols that come first, one of which is asked for
FRAME_SIZE = len(SYMBOLS) + KEPT  # one place for each symbol, and one for each question
LONGEST_GAP = 1000
EDGES = (25, 50, 100, 200, 400)  # what was trained has at most 24 steps: 3 + 20 + the question
WINDOW = 20

QUESTIONS = ("first", "second", "third")


def make_frames(symbols: NDArray[np.int64], question: int) -> NDArray[np.float32]:
    """Return a sequence: the symbols one by one, and last the question.

    Args:
        symbols: numbers into SYMBOLS, shape (KEPT + gap,).
        question: which of the first KEPT is asked for.

    Returns:
        The frames, shape (KEPT + gap + 1, FRAME_SIZE).
    """
    frames = np.zeros((len(symbols) + 1, FRAME_SIZE), np.float32)
    frames[np.arange(len(symbols)), symbols] = 1
    frames[-1, len(SYMBOLS) + question] = 1
    return frames


def sequences(count: int, seed: int) -> Iterator[evaluate.Labelled]:
    """Make that many sequences, one by one; short gaps are as frequent as long ones."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        gap = int(np.exp(rng.uniform(0, np.log(LONGEST_GAP + 1)))) - 1
        symbols = rng.integers(0, len(SYMBOLS), KEPT + gap)
        question = int(rng.integers(0, KEPT))
        yield evaluate.Labelled(
            make_frames(symbols, question),
            gold=SYMBOLS[symbols[question]],
            keys={"question": QUESTIONS[question]},
            id=number,
        )


def make_predictor() -> evaluate.Classifier:
    """Return the trained LSTM with its head."""
    lstm = lstm_fast.load(DATA / "recall.safetensors")
    with np.load(DATA / "recall_head.npz") as head:
        return evaluate.classifier(lstm, (head["weight"], head["bias"]), SYMBOLS)


def main(argv: list[str] | None = None) -> int:
    """Evaluate, report, draw; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=3000, help="sequences (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the sequences (%(default)s)")
    parser.add_argument(
        "--out", type=Path, default=Path("out"), help="where to write (%(default)s)"
    )
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    predictor = make_predictor()
    buckets = [evaluate.by_steps(EDGES), evaluate.by("question", order=QUESTIONS)]
    try:
        result = evaluate.run(
            predictor, sequences(options.count, options.seed), buckets, name="recall"
        )
        print(result.report())
    except ImportError as error:
        print(f"This example needs more: {error}", file=sys.stderr)
        return 2
    result.draw(options.out / "recall.png")
    result.write_rows(options.out / "recall.csv")
    print(f"\nwrote {options.out / 'recall.png'} and {options.out / 'recall.csv'}\n")

    def all_steps(xs: NDArray[Any]) -> evaluate.Prediction:
        return predictor(xs)

    comparison = evaluate.compare(
        all_steps,
        evaluate.windowed(predictor, WINDOW),
        sequences(options.count // 3, options.seed),
        evaluate.by_steps(EDGES),
        names=("all steps", f"last {WINDOW}"),
        different_windows=True,  # that is the question here
    )
    print(comparison.report())
    return 0


if __name__ == "__main__":
    sys.exit(main())
