"""What the tests of the Keras reader share: the files, and how far Keras may be from float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lstm_fast import LSTM
from lstm_fast._weights import Weights
from variant_tolerances import batch, excess, step_excess, variant_step

FOLDER = Path(__file__).parent.parent / "golden" / "formats" / "keras"
FILES = sorted(path.name for path in FOLDER.glob("keras*") if path.suffix != ".npz")


def recorded(file_name: str) -> dict[str, dict[str, np.ndarray]]:
    """Return what Keras computes with a file: xs, h and c of each LSTM by its name."""
    stem = file_name.partition(".")[0].replace("alone_weights", "alone")
    arrays: dict[str, dict[str, np.ndarray]] = {}
    with np.load(FOLDER / f"{stem}.npz") as file:
        for key in file:
            name, _, kind = key.rpartition("/")
            arrays.setdefault(name, {})[kind] = file[key]
    return arrays


def excess_along(weights: Weights, xs, h, c) -> float:
    """Return Keras's largest error over its bound, each step judged from the state it really had.

    Shapes: xs (N, T, I); h and c (L*D, N, T, H), each step's at its own place.
    """
    worst, wide = 0.0, weights.num_directions
    for n, layer in enumerate(weights.layers):
        level, direction = divmod(n, wide)
        steps = list(range(xs.shape[1]))
        if direction or weights.direction == "reverse":
            steps.reverse()
        below = np.concatenate(list(h[wide * (level - 1) :][:wide]), -1) if level else xs
        for row in range(len(xs)):
            state = np.zeros((2, weights.hidden_size), np.float32)
            for t in steps:
                exact = variant_step(below[row, t], *state, layer, peer=True)
                state = np.stack([h[n, row, t], c[n, row, t]])
                worst = max(worst, step_excess(exact, *state))
    return worst


def excess_of_batch(weights: Weights, xs, ys, state, lengths=None) -> float:
    """Return the largest error over its bound of Keras's whole run, and of ours.

    Args:
        xs: (N, T, I).
        ys: Keras's outputs (N, T, D*H), at their own steps; None where it gives none.
        state: Keras's (h, c) at the end, each (L*D, N, H) or None.
        lengths: of the rows.
    """
    lengths = np.full(len(xs), xs.shape[1]) if lengths is None else lengths
    start = np.zeros((2, len(weights.layers), len(xs), weights.hidden_size), np.float32)
    peers = batch(weights, xs, tuple(start), lengths, peer=True)
    ours = batch(weights, xs, tuple(start), lengths)
    # What the backends make of one variant is for test_variants.py to compare.
    our_ys, our_state = LSTM.from_weights(weights, backend="reference")(xs, lengths=lengths)
    worst = 0.0
    for peer, own, theirs, mine in zip(
        peers, ours, (ys, *state), (our_ys, *our_state), strict=True
    ):
        worst = max(worst, excess(mine, *own))
        if theirs is not None:
            worst = max(worst, excess(theirs, *peer))
    return worst
