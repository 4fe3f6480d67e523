"""Golden bits: a stack small enough to keep, over values of every kind.

    python tests/golden/make.py

writes the file anew from the native scalar kernels. That is a change of the contract: it needs a
major version and a line in CHANGELOG.md.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("stack_5x19x2.npz")


def read():
    with np.load(FILE) as file:
        data = dict(file)
    weights = {name: data.pop(name) for name in list(data) if name.startswith(("weight", "bias"))}
    return {"weights": weights, "state": (data.pop("h0"), data.pop("c0")), **data}


def write():
    from lstm_fast import LSTM
    from lstm_fast._weights import WEIGHT_DTYPES

    lstm = LSTM.random(5, 19, 2, seed=1, backend="native", isa="scalar")
    rng = np.random.default_rng(2)
    xs = rng.standard_normal((24, 5)).astype(np.float32)
    for row, scale in enumerate([0, 1e-45, 1e-39, 1e-30, 1e-8, 30, 1e4, 1e30]):
        xs[2 * row] *= np.float32(scale)
    h0, c0 = rng.uniform(-1, 1, (2, 2, 19)).astype(np.float32)
    results = {}
    for dtype in WEIGHT_DTYPES:
        stream = lstm.astype(dtype).stream((h0, c0))
        results[f"ys_{dtype}"] = stream.run(xs)
        results[f"h_{dtype}"], results[f"c_{dtype}"] = stream.state
    np.savez_compressed(FILE, xs=xs, h0=h0, c0=c0, **results, **lstm.state_dict())


if __name__ == "__main__":
    write()
