"""Negative controls: who reads the text of csrc/lstm_fast.h in another way gets other bits."""

from __future__ import annotations

import pytest

from oracle import misreadings
from oracle.lstm_layers import Layer
from oracle.misreadings import FOUND_BY
from oracle.oracle_cases import CASES, LONG, computed, said
from variant_cases import make

CASE = {case.name: case for case in [*CASES, *LONG]}


@pytest.mark.parametrize(
    ("reading", "name", "dtype"), FOUND_BY, ids=lambda one: str(getattr(one, "__name__", one))
)
def test_a_misreading_has_other_bits(exact_implementations, reading, name, dtype):
    case = CASE[name]
    found = computed(case, make(exact_implementations[0], case.weights(), dtype))
    assert said(case, dtype, reading) != found


def test_all_misreadings_are_tried():
    there = {one for one in vars(misreadings).values() if isinstance(one, type)}
    readings = {one for one in there if issubclass(one, Layer) and one is not Layer}
    assert readings == {reading for reading, _, _ in FOUND_BY}
