"""Other libraries beside ours. `lstm-fast bench --peers ...` takes turns, which is fairer."""

from __future__ import annotations

from typing import Any

import pytest

from conftest import BEST, SIZES, checked
from lstm_fast.bench import peers


@pytest.mark.parametrize("name", [BEST, *peers.NAMES])
@pytest.mark.parametrize("sizes", ["40->64", "80->64x2", "128->128", "256->256", "512->512"])
def test_peer(benchmark: Any, sizes: str, name: str) -> None:
    """float32, one thread."""
    benchmark.group = f"peers {sizes}"
    contender = checked(name, SIZES[sizes])
    with contender.context():
        benchmark(contender.step)
