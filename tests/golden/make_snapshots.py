"""Golden snapshots: of the states at the end of the sequences that make.py keeps.

    python tests/golden/make_snapshots.py

writes the files anew. That breaks every snapshot that a service has stored: it needs a new VERSION
in lstm_fast/snapshots.py, a reader for the old one, and a line in CHANGELOG.md.
"""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def file(weight_dtype):
    return HERE / f"stack_5x19x2_{weight_dtype}.snapshot"


def write():
    from make import read

    from lstm_fast import LSTM
    from lstm_fast._weights import WEIGHT_DTYPES

    golden = read()
    for dtype in WEIGHT_DTYPES:
        lstm = LSTM.from_state_dict(golden["weights"], weight_dtype=dtype, backend="reference")
        stream = lstm.stream((golden[f"h_{dtype}"], golden[f"c_{dtype}"]))
        file(dtype).write_bytes(stream.snapshot())


if __name__ == "__main__":
    write()
