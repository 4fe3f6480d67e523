"""The corpus of golden bits: every kernel gives them, in whatever way it is called."""

from __future__ import annotations

import numpy as np
import pytest

from golden import corpus
from lstm_fast._weights import WEIGHT_DTYPES
from variant_cases import changed, make

CASES = corpus.cases()


@pytest.fixture(scope="module")
def golden():
    return corpus.read()


def test_the_file_holds_the_corpus(golden):
    assert list(golden) == [str(case) for case in CASES]
    assert len(set(golden.values())) == len(golden)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_bits(exact_implementations, golden, case):
    """In each implementation, by streams and in a pool."""
    weights = corpus.weights_of(case)
    for one in exact_implementations:
        lstm = make(one, weights, case.weight_dtype)
        found = {name: corpus.of_stream(case, lstm, way) for name, way in corpus.WAYS.items()}
        found["pool"] = corpus.of_pool(case, lstm)
        assert found == dict.fromkeys(found, golden[str(case)]), one


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_one_bit_of_one_weight_shows(exact_implementations, golden, dtype):
    """Negative control: the last weight that is read, larger by what its type can tell."""
    case = corpus.Case((5, 19, 2), "", dtype)
    weights = corpus.weights_of(case)
    matrix = weights.layers[1].weight_hh.copy()
    matrix[-1, -1] += np.float32({"float32": 2.0**-22, "float16": 2.0**-8, "int8": 2.0**-5}[dtype])
    weights = changed(weights, 1, weight_hh=matrix)
    lstm = make(exact_implementations[0], weights, dtype)
    assert corpus.of_stream(case, lstm) != golden[str(case)]
