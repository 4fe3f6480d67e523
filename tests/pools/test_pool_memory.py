"""What a session takes: `nbytes` grows as docs/pools.md and csrc/lstm_fast.h say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[2] / "csrc"
SLOT = 56  # bytes of a session beyond its state, on average: each second one is followed by 64
LINE = 64
SHAPES = [(64, 64, 1, 0), (13, 21, 2, 0), (8, 40, 3, 7), (5, 100, 1, 96)]


def lanes(isa):
    """How many floats a vector of that ISA has, as the sources say."""
    listed = (CSRC / "cpu/isa_list.inc").read_text()
    header = re.search(rf'LF_ISA_{isa}_VECTORS "(.*)"', listed).group(1)
    return int(re.search(r"LF_LANES (\d+)", (CSRC / "isa" / header).read_text()).group(1))


def up(value, multiple):
    return -(-value // multiple) * multiple


def state_bytes(shape, vector):
    _, units, layers, projected = shape
    widths = up(projected or units, vector) + up(units, vector)
    return up(4 * layers * widths, LINE)


@pytest.fixture(params=SHAPES, ids=str)
def shape(request):
    return request.param


def test_a_session_takes_its_state_and_56_bytes(implementation, shape):
    if implementation.backend != "native":
        pytest.skip("the native pool's formula")
    *sizes, projected = shape
    lstm = implementation.random(*sizes, proj_size=projected)
    expected = state_bytes(shape, lanes(implementation.isa)) + SLOT
    sizes = {n: lstm.pool(n, prepared=0, threads=1).nbytes for n in (2, 4, 1000)}
    assert sizes[4] - sizes[2] == 2 * expected
    assert sizes[1000] - sizes[2] == 998 * expected
    grown = lstm.pool(2, prepared=0, threads=1)
    grown.grow(998)
    assert grown.nbytes == sizes[1000]


def test_a_prepared_half_takes_its_sums(implementation, shape):
    if implementation.backend != "native":
        pytest.skip("the native pool's formula")
    *sizes, projected = shape
    lstm = implementation.random(*sizes, proj_size=projected)
    _, units, layers, _ = shape
    expected = up(4 * 4 * layers * up(units, lanes(implementation.isa)), LINE) + 4
    without, with_some = (lstm.pool(8, prepared=n, threads=1).nbytes for n in (0, 8))
    assert with_some - without == 8 * expected


def test_other_backends_count_states_alone(implementation, shape):
    if implementation.backend == "native":
        pytest.skip("see above")
    *sizes, projected = shape
    lstm = implementation.random(*sizes, proj_size=projected)
    expected = 4 * lstm.num_layers * (lstm.output_size + lstm.hidden_size)
    assert lstm.pool(5).nbytes - lstm.pool(3).nbytes == 2 * expected
