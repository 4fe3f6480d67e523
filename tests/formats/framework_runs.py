"""What frameworks computed with files of theirs, against what we read from the same files.

A run is an .npz that tests/golden/formats/make_<format>.py wrote: x (T, I); and h, c (T, L, ...) of
every layer after each step, or, of two directions, y (T, ...) and the states at the ends.
"""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import numpy as np

from lstm_fast import LSTM
from lstm_fast.formats import gates
from variant_tolerances import batch, excess, variant_step

GOLDEN = Path(__file__).resolve().parents[1] / "golden/formats"
WRONG_ORDERS = ["".join(order) for order in permutations("ifgo")][1:]
assert len(WRONG_ORDERS) == 23
assert gates.OURS not in WRONG_ORDERS


def load_run(path) -> dict[str, np.ndarray]:
    with np.load(path) as arrays:
        return dict(arrays)


def excess_of_run(weights, run, *, ours=True) -> float:
    """Return how far a framework's run, and ours, are from float64; 1 is the derived bound."""
    return (
        _excess_of_steps(weights, run, ours)
        if "y" not in run or run["y"].ndim == 1
        else (_excess_of_sequence(weights, run, ours))
    )


def _start(weights):
    zeros = [np.zeros(layer.output_size) for layer in weights.layers]
    h = [
        z if layer.h_0 is None else layer.h_0
        for z, layer in zip(zeros, weights.layers, strict=True)
    ]
    c = [
        np.zeros(layer.hidden_size) if layer.c_0 is None else layer.c_0 for layer in weights.layers
    ]
    return h, c


def _excess_of_steps(weights, run, ours) -> float:
    """Each step from the state that the framework really had, layer on layer."""
    xs = run["x"].reshape(len(run["x"]), -1)
    stream = LSTM.from_weights(weights, backend="reference").stream() if ours else None
    (h, c), worst = _start(weights), 0.0
    for t, x in enumerate(xs):
        value, error = x, 0.0
        if stream is not None:
            if t:  # at first it starts where a new session does
                stream.state = np.array(h, np.float32), np.array(c, np.float32)
            stream.step(x)
        for n, layer in enumerate(weights.layers):
            step = variant_step(value, h[n], c[n], layer, error, peer=True)
            value, error = step.h, step.h_error
            pairs = [(run["h"][t, n], run["c"][t, n])]
            if stream is not None:
                pairs.append((stream.state.h[n], stream.state.c[n]))
            for own_h, own_c in pairs:
                worst = max(worst, excess(own_h, step.h, step.h_error))
                worst = max(worst, excess(own_c, step.c, step.c_error))
        h, c = run["h"][t], run["c"][t]
    return worst


def _excess_of_sequence(weights, run, ours) -> float:
    """The whole sequence, with the bound that it accumulates."""
    xs = run["x"][None]
    sizes = (len(weights.layers), 1)
    state = np.zeros((*sizes, weights.output_size)), np.zeros((*sizes, weights.hidden_size))
    near = batch(weights, xs, state, [xs.shape[1]], peer=True)
    results = [(run["y"][None], run["h"][:, None], run["c"][:, None])]
    if ours:
        ys, (h, c) = LSTM.from_weights(weights, backend="reference")(xs)
        results.append((ys, h, c))
    return max(
        excess(own, part.value, part.error)
        for result in results
        for own, part in zip(result, near, strict=True)
    )


def is_each_wrong_order_seen(monkeypatch, name, read, run) -> bool:
    """Whether the run tells each wrong order of gates in the importer from the right one."""
    right = gates.ORDERS[name]
    for order in WRONG_ORDERS:
        wrong = "".join(right["ifgo".index(gate)] for gate in order)
        monkeypatch.setitem(gates.ORDERS, name, wrong)
        if excess_of_run(read(), run, ours=False) <= 1:
            return False
    monkeypatch.setitem(gates.ORDERS, name, right)
    return excess_of_run(read(), run, ours=False) <= 1
