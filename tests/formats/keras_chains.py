"""Keras's models as `load_model` reads them, compared with what Keras computes of a sequence."""

from __future__ import annotations

import numpy as np

import program_bounds
from lstm_fast import load_model
from variant_tolerances import excess

BACKENDS = (None, "reference")  # the best there is, and the one to compare with


def run_of(path, xs, backend=None, **options):
    """Return what each step puts out."""
    model = load_model(path, backend=backend, **options)
    stream = model.stream()
    return np.stack([stream.step(x) for x in xs])


def distance(path, xs, ys, backends=BACKENDS):
    """Return the largest distance over its bound, of Keras's results in float64 and of ours.

    Args:
        path: a file.
        xs: frames, one a step.
        ys: what Keras puts out for each, in float64.
        backends: what computes ours.
    """
    steps = program_bounds.run(load_model(path).program, xs)
    exact = np.stack([one.value for one in steps])
    error = np.stack([one.error for one in steps])
    assert np.isfinite(error).all()
    found = [np.asarray(ys), *(run_of(path, xs, backend) for backend in backends)]
    assert {one.shape for one in found} == {exact.shape}
    return max(excess(one, exact, error) for one in found)
