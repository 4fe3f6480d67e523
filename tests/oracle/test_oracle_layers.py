"""Every LSTM has the bits that csrc/lstm_fast.h says, on each instruction set and on Numba."""

from __future__ import annotations

import pytest

from lstm_fast._weights import WEIGHT_DTYPES
from oracle.oracle_cases import CASES, LONG, computed, said
from variant_cases import make

LONG_DTYPES = [(case, dtype) for case in LONG for dtype in ("float16", "int8")]
PAIRS = [(case, dtype) for case in CASES for dtype in WEIGHT_DTYPES] + LONG_DTYPES


@pytest.mark.parametrize(("case", "dtype"), PAIRS, ids=str)
def test_the_text_says_every_bit(exact_implementations, case, dtype):
    expected, weights = said(case, dtype), case.weights()
    for one in exact_implementations:
        assert computed(case, make(one, weights, dtype)) == expected, one
