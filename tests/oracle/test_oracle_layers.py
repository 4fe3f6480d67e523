"""Every LSTM has the bits that csrc/lstm_fast.h says, on each instruction set and on Numba."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lstm_fast._weights import WEIGHT_DTYPES
from oracle.oracle_cases import CASES, LONG, LONGEST, Case, computed, said
from variant_cases import make

LONG_DTYPES = [(case, dtype) for case in LONG for dtype in ("float16", "int8")]
PAIRS = [(case, dtype) for case in CASES for dtype in WEIGHT_DTYPES] + LONG_DTYPES


@pytest.mark.parametrize(("case", "dtype"), PAIRS, ids=str)
def test_the_text_says_every_bit(exact_implementations, case, dtype):
    expected, weights = said(case, dtype), case.weights()
    for one in exact_implementations:
        assert computed(case, make(one, weights, dtype)) == expected, one


@pytest.mark.slow
def test_the_longest_rows_of_int8(exact_implementations):
    """Whose sums almost fill 32 bits."""
    expected, weights = said(LONGEST, "int8"), LONGEST.weights()
    for one in exact_implementations:
        assert computed(LONGEST, make(one, weights, "int8")) == expected, one


@pytest.mark.slow
@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("seed", range(1, 5))
def test_the_text_says_every_bit_of_more(exact_implementations, seed, dtype):
    """Other values of the same cases, and larger shapes."""
    larger = [Case(f"larger {sizes}", sizes) for sizes in [(40, 64, 0, 2), (9, 35, 21, 2)]]
    for case in [replace(one, seed=seed) for one in [*CASES, *LONG, *larger]]:
        expected, weights = said(case, dtype), case.weights()
        for one in exact_implementations:
            assert computed(case, make(one, weights, dtype)) == expected, (case, one)
