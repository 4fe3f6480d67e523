"""What the suites here share. `make bench` runs them; `lstm-fast bench` gives the full picture.

Everything is what `lstm_fast.bench` times too, checked against the reference first; the facts about
the machine are stored beside the figures (`--benchmark-json`, `--benchmark-autosave`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import lstm_fast
from lstm_fast.bench import contenders, limits, machine, peers
from lstm_fast.bench.contenders import Contender
from lstm_fast.bench.lstms import OneLSTM
from lstm_fast.bench.shapes import TABLE, Shape
from lstm_fast.bench.timing import Call, pinned

OURS = [name for name in lstm_fast.available() if name != "reference"]
BEST = OURS[0] if OURS else "reference"
WEIGHTS = tuple(contenders.TOLERANCES)
SIZES = {shape.sizes.replace(" ", ""): shape for shape in TABLE}


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Store what `lstm-fast info` tells."""
    packages = tuple(name for names in peers.PACKAGES.values() for name in names)
    machine_info["lstm_fast"] = machine.facts(("numba", *packages))


def checked(name: str, shape: Shape, weights: str = "float32", count: int = 1) -> Contender:
    """Return a contender that computes the right thing, or skip it where it isn't installed.

    count: the batch of a peer.
    """
    subject = OneLSTM(shape)
    if name in peers.NAMES:
        for package in peers.PACKAGES[name]:
            pytest.importorskip(package)
        (contender,) = subject.peers(name, count)
    else:
        backend, _, isa = name.partition(":")
        contender = subject.ours(backend, isa or None, weights)
    contenders.check(contender, subject)
    return contender


def checked_pool(shape: Shape, weights: str, count: int, capacity: int) -> Contender:
    """Return a pool of capacity streams of which a call steps count, on the best backend here."""
    backend, _, isa = BEST.partition(":")
    contender = contenders.our_pool(shape, backend, isa or None, weights, count, capacity)
    contenders.check(contender, OneLSTM(shape))
    return contender


@pytest.fixture(autouse=True, scope="session")
def one_cpu() -> Iterator[int | None]:
    """Stay on one CPU."""
    with pinned() as cpu:
        yield cpu


@pytest.fixture(scope="session")
def sweep() -> Call:
    """Empty the caches of what is to be measured."""
    return limits.sweeper()
