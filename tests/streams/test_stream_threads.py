"""Python's lock: long steps give it up, short ones keep it; and streams in threads, to the bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cases import frames_for, steps
from lstm_fast import LSTM, available
from lstm_fast._process import IS_FREE_THREADED
from outside import others_ran

QUICK, LONG = (24, 64), (64, 300)  # 90 KiB of weights and 1.7 MiB
native = pytest.mark.skipif(
    not any(name.startswith("native") for name in available()), reason="no native core here"
)


@pytest.mark.parametrize("shape", [QUICK, LONG], ids=str)
def test_steps_in_threads_equal_solo(implementation, shape):
    lstm = implementation.random(*shape, seed=1)
    sequences = [frames_for((*shape, 1), "normal", n, 40) for n in range(6)]
    solo = [steps(lstm.stream(), xs) for xs in sequences]
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda xs: steps(lstm.stream(), xs), sequences)) == solo


def step_of(shape):
    lstm = LSTM.random(*shape, backend="native")
    stream, x, y = lstm.stream(), np.ones(shape[0], np.float32), np.empty(shape[1], np.float32)
    return lambda: stream.step(x, y)


@native
def test_a_long_step_lets_others_run():
    assert others_ran(step_of(LONG), 100_000)


@native
@pytest.mark.skipif(IS_FREE_THREADED, reason="this Python has no lock that a step could keep")
def test_a_quick_step_is_over_before_the_lock_could_change_hands():
    assert not others_ran(step_of(QUICK), 2000)


@native
def test_a_stream_that_was_never_made_refuses():
    kind = type(LSTM.random(2, 3, backend="native").stream())
    with pytest.raises(AttributeError):
        kind.__new__(kind).step(np.zeros(2, np.float32))
