"""One step after the caches have been swept, as a service meets it that wakes every 16 ms."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import BEST, SIZES, WEIGHTS, checked
from lstm_fast.bench.timing import Call

ROUNDS = 300  # of a sweep of some milliseconds each


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("sizes", ["80->64x2", "128->128", "256->256"])
def test_cold(benchmark: Any, sweep: Call, sizes: str, weights: str) -> None:
    """The sweep is not timed."""
    benchmark.group = f"cold {sizes}"
    contender = checked(BEST, SIZES[sizes], weights)
    benchmark.pedantic(contender.step, setup=_untimed(sweep), rounds=ROUNDS)


def _untimed(call: Call) -> Call:
    def setup() -> None:  # what a setup returns would become arguments
        call()

    return setup
