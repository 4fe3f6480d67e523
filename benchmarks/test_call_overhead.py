"""What a call costs beside the kernel: the smallest LSTM, and what its calls are made of."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from lstm_fast import LSTM

pytestmark = pytest.mark.benchmark(group="call overhead")


@pytest.fixture
def native() -> Any:
    """The native backend's module."""
    return pytest.importorskip("lstm_fast._backends.native")


def test_step_with_out(benchmark: Any) -> None:
    """The way that allocates nothing."""
    stream, x, y = LSTM.random(1, 1).stream(), np.zeros(1, np.float32), np.zeros(1, np.float32)
    benchmark(partial(stream.step, out=y), x)


def test_step(benchmark: Any) -> None:
    """With a new array for the result."""
    benchmark(LSTM.random(1, 1).stream().step, np.zeros(1, np.float32))


def test_step_of_a_list(benchmark: Any) -> None:
    """With a conversion."""
    benchmark(LSTM.random(1, 1).stream().step, [0.0])


def test_reset(benchmark: Any) -> None:
    """A new session on an old stream."""
    benchmark(LSTM.random(1, 1).stream().reset)


def test_stream(benchmark: Any) -> None:
    """A new session."""
    benchmark(LSTM.random(128, 128).stream)


def test_nothing(benchmark: Any) -> None:
    """What the benchmark itself takes."""
    benchmark(int)


def test_empty_cffi_call(benchmark: Any, native: Any) -> None:
    """The least that a call into C takes."""
    benchmark(native.lib.lf_isa_count)


def test_from_buffer(benchmark: Any, native: Any) -> None:
    """The address of one array."""
    x = np.zeros(1, np.float32)
    benchmark(native.ffi.from_buffer, native.ffi.typeof("float[]"), x)
