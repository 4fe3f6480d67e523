"""What float16 and int8 weights cost in accuracy, by layer size and on speech.

    python benchmarks/weight_error.py

Compares h with that of float32 weights, for random weights as PyTorch initialises them and noise as
input; then the probabilities of Silero VAD on the demo recording (needs the demo's packages).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lstm_fast import LSTM, vad

SIZES = (16, 32, 64, 128, 256, 512, 1024)
STEPS = 200
DTYPES = ("float16", "int8")
EXAMPLES = Path(__file__).parents[1] / "examples"


def by_size() -> None:
    """Print the error of h, whose size is about 0.1 to 1, for K inputs and K hidden units."""
    print(f"largest / root-mean-square error of h over {STEPS} steps, K -> K")
    print(f"{'K':>6} " + " ".join(f"{dtype:>22}" for dtype in DTYPES))
    for size in SIZES:
        xs = np.random.default_rng(0).standard_normal((STEPS, size)).astype(np.float32)
        lstm = LSTM.random(size, size)
        exact = lstm.stream().run(xs).astype(np.float64)
        cells = []
        for dtype in DTYPES:
            error = lstm.astype(dtype).stream().run(xs) - exact
            cells.append(f"{np.abs(error).max():10.1e} / {np.sqrt(np.mean(error**2)):.1e}")
        print(f"{size:>6} " + " ".join(f"{cell:>22}" for cell in cells))


def on_speech() -> None:
    """Print how far the probabilities of Silero VAD move on the demo recording."""
    sys.path.insert(0, str(EXAMPLES))
    import soundfile  # noqa: PLC0415

    from silero_report import CHUNK, RATE, speech_segments  # noqa: PLC0415

    audio, _ = soundfile.read(EXAMPLES / "data/speech.wav", dtype="float32")
    chunks = audio[: len(audio) // CHUNK * CHUNK].reshape(-1, CHUNK)
    probabilities = {
        dtype: vad.silero(weight_dtype=dtype).stream().run(chunks)[:, 0].astype(np.float64)
        for dtype in ("float32", *DTYPES)
    }
    print("Silero VAD on the demo recording: largest change of a probability")
    for dtype in DTYPES:
        change = np.abs(probabilities[dtype] - probabilities["float32"]).max()
        counts = [
            len(speech_segments(probabilities[d], 0.5, len(audio) / RATE))
            for d in ("float32", dtype)
        ]
        print(f"{dtype:>8} {change:.5f}, segments {counts[0]} -> {counts[1]}")


if __name__ == "__main__":
    by_size()
    on_speech()
