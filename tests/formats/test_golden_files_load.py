"""Each LSTM that is read from a golden file is one that `load` can pack, too."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

import lstm_fast
from cases import bits
from lstm_fast import FormatError, formats
from lstm_fast._weights import make_weights

GOLDEN = Path(__file__).parents[1] / "golden/formats"


def lstms(path):
    try:
        return [one for one in formats.read(path) if one.error is None]
    except FormatError:
        return []


@pytest.mark.parametrize("kind", sorted(path.name for path in GOLDEN.iterdir() if path.is_dir()))
def test_load_gives_what_read_gives(kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(path for path in (GOLDEN / kind).rglob("*") if path.is_file()):
            for one in lstms(path):
                lstm = lstm_fast.load(path, name=one.name)
                ours = lstm.weights.state_dict()
                for name, value in one.weights.state_dict().items():
                    assert bits(ours[name]) == bits(value), (path.name, one.name, name)


def test_arrays_in_another_order_are_packed():
    """As the kernels of CuDNNLSTM are: read-only, and transposed."""
    (layer,) = lstm_fast.LSTM.random(3, 4).weights.layers
    parameters = {kind: np.asfortranarray(value) for kind, value in layer.parameters().items()}
    for value in parameters.values():
        value.flags.writeable = False
    (made,) = make_weights([type(layer)(**parameters)], copy=False).layers
    for kind, value in made.parameters().items():
        assert value.flags.c_contiguous
        assert not value.flags.writeable
        assert bits(value) == bits(parameters[kind])
