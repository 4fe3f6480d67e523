"""Layers in both directions have the bits that docs/contract.md says."""

from __future__ import annotations

import numpy as np
import pytest

from lstm_fast import LSTM, Cell
from lstm_fast._weights import WEIGHT_DTYPES, make_weights
from oracle.exact import bits, canonical
from oracle.lstm_layers import Layer, Row
from variant_cases import layer_for

INPUTS, UNITS, STEPS = 5, 4, 6
UNBOUNDED = Cell(output="relu")


def walked(layer: Layer, xs: list[Row]) -> list[Row]:
    h, c, result = [0.0] * UNITS, [0.0] * UNITS, []
    for x in xs:
        h, c = layer.step(x, h, c)
        result.append(h)
    return result


def said(layers, dtype, xs, both_must_be_bounded=True):
    """What the page says; the forward layer of each pair comes first."""
    is_bounded = False
    for at in range(0, len(layers), 2):
        forward, reverse = (Layer(one, dtype, is_bounded) for one in layers[at : at + 2])
        ahead, back = walked(forward, xs), walked(reverse, xs[::-1])[::-1]
        xs = [one + other for one, other in zip(ahead, back, strict=True)]
        bounded = forward.h_is_bounded, reverse.h_is_bounded
        is_bounded = all(bounded) if both_must_be_bounded else any(bounded)
    return [bits(value) for row in xs for value in row]


def layers_of(cells):
    below = (INPUTS, INPUTS, 2 * UNITS, 2 * UNITS)
    rows = zip(below, cells, strict=True)
    return [
        layer_for((one, UNITS, None), "normal", [3, n], c, {"bias_ih"})
        for n, (one, c) in enumerate(rows)
    ]


CELLS = {
    "bounded": [Cell()] * 4,
    "one that is not": [Cell(), UNBOUNDED, Cell(), Cell()],
    "none": [UNBOUNDED] * 4,
}


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("cells", CELLS)
def test_both_directions(exact_implementations, cells, dtype):
    layers = layers_of(CELLS[cells])
    xs = np.random.default_rng(8).standard_normal((STEPS, INPUTS)).astype(np.float32)
    taken = [[canonical(x) for x in row] for row in xs.tolist()]
    expected = said(layers, dtype, taken)
    for one in exact_implementations:
        weights = make_weights(layers, "bidirectional")
        options = {"backend": one.backend, "isa": one.isa}
        ys, _ = LSTM.from_weights(weights, weight_dtype=dtype, **options)(xs[None])
        assert ys.view(np.uint32).ravel().tolist() == expected, one
    if dtype == "int8" and cells == "one that is not":  # the control
        assert said(layers, dtype, taken, both_must_be_bounded=False) != expected
