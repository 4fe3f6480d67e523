"""Leaves a session for `restore.cpp` to take up: weights, a snapshot, and what should come next."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import lstm_fast

INPUTS, UNITS = 5, 19  # as in restore.cpp


def main(folder: Path) -> None:
    """Write the files into that folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lstm = lstm_fast.LSTM.random(INPUTS, UNITS, seed=3)
    for name, value in lstm.state_dict().items():
        (folder / f"{name}.f32").write_bytes(value.tobytes())
    (folder / "fingerprint.bin").write_bytes(bytes.fromhex(lstm.fingerprint))
    xs = np.random.default_rng(0).standard_normal((40, INPUTS)).astype(np.float32)
    stream = lstm.stream()
    stream.run(xs[:20])
    (folder / "session.snapshot").write_bytes(stream.snapshot())
    (folder / "xs.f32").write_bytes(xs[20:].tobytes())
    (folder / "ys.f32").write_bytes(stream.run(xs[20:]).tobytes())
    (folder / "after.snapshot").write_bytes(stream.snapshot())


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out"))
