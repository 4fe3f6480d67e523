"""From frame to answer, when prepare() has been called before."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import BEST, SIZES, WEIGHTS, checked

ROUNDS = 3000


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("sizes", ["80->64x2", "128->128", "256->256", "640->640x2"])
def test_prepared(benchmark: Any, sizes: str, weights: str) -> None:
    """prepare() is not timed; compare with test_step."""
    benchmark.group = f"prepared {sizes}"
    contender = checked(BEST, SIZES[sizes], weights)
    if contender.prepare is None:
        pytest.skip(f"{BEST} has nothing to prepare")
    benchmark.pedantic(contender.step, setup=contender.prepare, rounds=ROUNDS)


def test_prepare(benchmark: Any) -> None:
    """What it costs when there is nothing left to do: a second call in a row."""
    contender = checked(BEST, SIZES["128->128"])
    if contender.prepare is None:
        pytest.skip(f"{BEST} has nothing to prepare")
    benchmark.group = "call overhead"
    benchmark(contender.prepare)
