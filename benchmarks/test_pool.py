"""Many streams in one call: time per call; divide by the number of streams to compare."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import BEST, SIZES, WEIGHTS, checked, checked_pool
from lstm_fast.bench import peers
from lstm_fast.bench.shapes import Shape

SHAPES = {"64->64": Shape("", 64, 64), "128->128": SIZES["128->128"], "256->256": SIZES["256->256"]}
COUNTS = (1, 4, 8, 16, 64, 256, 1024)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("sizes", SHAPES)
def test_pool(benchmark: Any, sizes: str, count: int, weights: str) -> None:
    """A pool whose streams all take a step."""
    benchmark.group = f"pool {sizes} {count}"
    benchmark(checked_pool(SHAPES[sizes], weights, count, count).step)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("sizes", SHAPES)
def test_random_half(benchmark: Any, sizes: str, weights: str) -> None:
    """A random half of 2048; beside test_pool with 1024 streams, half the time of 2048."""
    benchmark.group = f"pool {sizes} 1024"
    benchmark(checked_pool(SHAPES[sizes], weights, 1024, 2048).step)


@pytest.mark.parametrize("name", [BEST, "onnxruntime", "torch"])
@pytest.mark.parametrize("count", [8, 64, 256])
@pytest.mark.parametrize("sizes", SHAPES)
def test_peer(benchmark: Any, sizes: str, count: int, name: str) -> None:
    """float32 against a batch of as many; `lstm-fast bench --modes pools` takes turns."""
    benchmark.group = f"pool and peers {sizes} {count}"
    shape = SHAPES[sizes]
    contender = (
        checked(name, shape, count=count)
        if name in peers.NAMES
        else checked_pool(shape, "float32", count, count)
    )
    with contender.context():
        benchmark(contender.step)
