"""The oracle's arithmetic in exact integers gives what float32 hardware and fractions give."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from oracle import exact
from oracle.exact import add, bits, div, fma, from_bits, from_integer, mul, sqrt, sub, to_float16
from oracle.oracle_programs import EDGES

COUNT = 4000
OPERATIONS = {"add": add, "sub": sub, "mul": mul, "div": div}
NUMPY = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide}


def patterns(seed: int) -> np.ndarray:
    """Random bits, of which a share is near one in magnitude, and edges."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2**32, COUNT, dtype=np.uint64).astype(np.uint32)
    near = (values & 0x80FFFFFF) | 0x3F000000
    edges = rng.choice(np.array(EDGES, np.float32), COUNT) * rng.choice([1, -1], COUNT)
    kind = rng.integers(0, 3, COUNT)
    edges = edges.astype(np.float32).view(np.uint32)
    chosen = np.where(kind == 0, values, np.where(kind == 1, near, edges))
    return chosen.astype(np.uint32).view(np.float32)


def as_bits(values: np.ndarray) -> list[int]:
    return [bits(float(one)) for one in values]


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations_are_those_of_float32(name):
    a, b = patterns(1), patterns(2)
    with np.errstate(all="ignore"):
        expected = as_bits(NUMPY[name](a, b))
    found = [bits(OPERATIONS[name](*one)) for one in zip(a.tolist(), b.tolist(), strict=True)]
    assert found == expected


def test_square_roots_are_those_of_float32():
    a = np.concatenate([patterns(3), np.abs(patterns(4))])
    with np.errstate(all="ignore"):
        expected = as_bits(np.sqrt(a))
    assert [bits(sqrt(one)) for one in a.tolist()] == expected


def nearest(value: Fraction) -> float:
    """The float32 nearest to a fraction that is not zero, found by its neighbours' distances."""
    largest = float(np.finfo(np.float32).max)
    if abs(value) >= Fraction(largest) + Fraction(2) ** 103:
        return math.copysign(math.inf, value)
    guess = np.float32(max(-largest, min(largest, float(value))))
    near = [float(guess), *(float(np.nextafter(guess, np.float32(to))) for to in (-9e38, 9e38))]
    near = [one for one in near if math.isfinite(one)]
    # ties: the one whose last bit is 0
    return min(near, key=lambda one: (abs(Fraction(one) - value), bits(one) & 1))


def test_fma_is_rounded_once():
    with np.errstate(over="ignore"):
        products = zip(*(patterns(seed).tolist() for seed in (5, 6, 7)), strict=True)
        finite = [one for one in products if all(map(math.isfinite, one))]
        ties = [
            (1 + 2.0**-12, 1 + 2.0**-12, sign * 2.0**-e) for sign in (1, -1) for e in range(149)
        ]
        for a, b, c in finite[:2500] + ties:
            value = Fraction(a) * Fraction(b) + Fraction(c)
            expected = nearest(value) if value else a * b + c
            assert bits(fma(a, b, c)) == bits(math.copysign(expected, value or expected)), (a, b, c)


def test_fma_of_what_is_not_finite():
    inf, nan = math.inf, 0x7FC00000
    assert (
        bits(fma(inf, 0.0, 1.0))
        == bits(fma(inf, 1.0, -inf))
        == bits(fma(1.0, 2.0, math.nan))
        == nan
    )
    assert fma(3e38, 3e38, -inf) == -inf
    assert fma(-inf, 2.0, 3e38) == -inf
    assert [bits(fma(0.0, -1.0, zero)) for zero in (-0.0, 0.0)] == [0x80000000, 0]


def test_two_roundings_are_noticed():
    """Negative control: a product that is rounded before the addition."""
    a, c = 1 + 2.0**-12, -(1 + 2.0**-11)
    assert fma(a, a, c) == 2.0**-24
    assert add(mul(a, a), c) == 0


def test_float16_is_that_of_numpy():
    a = patterns(8)
    edges = np.array([65519.0, -65519.996, 2.0**-25, 3 * 2.0**-25], np.float32)
    a = np.concatenate([a[np.abs(a) < 65520], np.float32(2.0**-16) * a[np.abs(a) < 4], edges])
    expected = as_bits(a.astype(np.float16).astype(np.float32))
    assert [bits(to_float16(one)) for one in a.tolist()] == expected
    assert len(set(expected)) > 1000


def test_integers_become_the_nearest_float():
    whole = np.concatenate(
        [np.arange(-40, 40), 2**24 + np.arange(64), 2**30 + np.arange(0, 999, 7)]
    )
    expected = as_bits(whole.astype(np.float32))
    assert [bits(from_integer(one)) for one in whole.tolist()] == expected


def test_the_canonical_form():
    pairs = [(2**23 - 1, 0), (2**23, 2**23), (0x80000001, 0x80000000), (0x7F800001, 0x7FC00000)]
    pairs += [(0xFFFFFFFF, 0x7FC00000), (0xFF800000, 0xFF800000)]
    for pattern, expected in pairs:
        assert bits(exact.canonical(from_bits(pattern))) == expected
