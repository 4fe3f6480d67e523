"""One step after the other: every shape on the best ISA, every ISA at one shape."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import BEST, OURS, SIZES, WEIGHTS, checked


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("sizes", SIZES)
def test_shapes(benchmark: Any, sizes: str, weights: str) -> None:
    """The table of models."""
    benchmark.group = f"step {sizes}"
    benchmark(checked(BEST, SIZES[sizes], weights).step)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("name", OURS)
def test_isas(benchmark: Any, name: str, weights: str) -> None:
    """Every ISA of this CPU, and Numba, at Silero's sizes."""
    benchmark.group = f"step 128->128 {weights}"
    benchmark(checked(name, SIZES["128->128"], weights).step)
