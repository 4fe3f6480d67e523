"""Which sessions a frame that is not finite has spoiled can be asked, of streams and of pools."""

from __future__ import annotations

import threading
from contextlib import suppress

import numpy as np
import pytest

from cases import bits
from lstm_fast import Activation, Cell, ConcurrentUseError, StaleHandleError, StreamPool

I, H = 6, 20  # noqa: E741
LAST = 2.0**127
VARIANTS = {
    "plain": {},
    "two layers": {"num_layers": 2},
    "projected": {"num_layers": 2, "proj_size": 5},
    "coupled, clipped": {"cell": Cell(coupled="input", clip=3.0, cell_clip=2.0)},
    "hard": {"cell": Cell(gate=Activation("hard_sigmoid", 0.2, 0.5), output="softsign")},
    "unbounded": {"cell": Cell(input="relu", output="relu")},
}


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request):
    return VARIANTS[request.param]


@pytest.fixture(scope="module", params=["float32", "float16", "int8"])
def lstm(implementation, variant, request):
    return implementation.random(I, H, weight_dtype=request.param, **variant)


def frame(value=None):
    x = np.random.default_rng(0).standard_normal(I).astype(np.float32)
    if value is not None:
        x[2] = value
    return x


def test_a_stream_says_whether_it_is_spoiled(lstm):
    stream = lstm.stream()
    assert stream.is_finite is True
    stream.step(frame())
    stream.prepare()
    assert stream.is_finite
    stream.step(frame(np.nan))
    assert stream.is_finite is False
    stream.step(frame())  # it stays so
    stream.prepare()
    assert not stream.is_finite
    assert not stream.copy().is_finite
    stream.reset()
    assert stream.is_finite
    stream.run(np.stack([frame(), frame(np.nan), frame()]))
    assert not stream.is_finite


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_it_is_the_state_that_is_asked(lstm, value):
    """An infinity may leave a finite state, where all it does is to open and close gates."""
    stream = lstm.stream()
    stream.step(frame(value))
    finite = all(np.isfinite(part).all() for part in stream.state)
    assert stream.is_finite == finite
    assert not (finite and np.isnan(value))


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_of_the_state_is_enough(lstm, part, value):
    for at in (0, -1):
        state = lstm.initial_state
        state[part].flat[at] = value
        stream, pool = lstm.stream(state), lstm.pool(2)
        handles = [pool.open(), pool.open(state)]
        assert not stream.is_finite
        assert pool.spoiled().tolist() == handles[1:]
    large = lstm.initial_state
    large[part].flat[0] = LAST
    assert lstm.stream(large).is_finite


def test_a_pool_says_which_are_spoiled(lstm):
    pool = lstm.pool(9)
    handles = [pool.open() for _ in range(8)]
    xs = np.stack([frame(np.nan if n in (2, 5) else None) for n in range(8)])
    assert pool.spoiled().size == 0
    assert pool.spoiled().dtype == np.uint64
    pool.step(handles, xs)
    before = [bits(*pool.state(handle)) for handle in handles]
    assert set(pool.spoiled().tolist()) == {handles[2], handles[5]}
    assert pool.spoiled(handles[:4]).tolist() == [handles[2]]
    assert pool.spoiled(np.array(handles[::-1], np.uint64)).tolist() == [handles[5], handles[2]]
    assert pool.spoiled([]).size == 0
    assert [bits(*pool.state(handle)) for handle in handles] == before
    pool.reset(handles[2])
    pool.close(handles[5])
    assert pool.spoiled().size == 0
    with pytest.raises(StaleHandleError, match=r"number 1 of this call"):
        pool.spoiled([handles[2], handles[5]])
    with pytest.raises(TypeError, match="handles must be a sequence of ints"):
        pool.spoiled(["x"])


def test_sessions_that_come_and_go_meanwhile(lstm):
    """All that are open: those that were closed since it began are none of them."""
    pool = lstm.pool(4)
    handles = [pool.open() for _ in range(3)]
    pool.step(handles[:1], frame(np.nan)[None])
    gone = pool.handles()

    pool.close(handles[1])
    assert StreamPool.spoiled(_With(pool, gone)).tolist() == handles[:1]


class _With:
    """A pool whose `handles()` are those of a moment ago."""

    def __init__(self, pool, handles):
        self._pool, self._handles = pool, handles

    def handles(self):
        return self._handles

    def __getattr__(self, name):
        return getattr(self._pool, name)


def test_traced_sessions_say_it_too(lstm):
    tracing = pytest.importorskip("lstm_fast.tracing", exc_type=ImportError)
    stream = tracing.trace(lstm.stream(), model_name="spoiled")
    pool = tracing.trace_pool(lstm.pool(3), model_name="spoiled")
    sessions = [pool.open(), pool.open()]
    untraced = pool.pool.open()
    assert stream.is_finite
    assert sessions[0].is_finite
    stream.step(frame(np.nan))
    pool.step([*sessions, untraced], np.stack([frame(), frame(np.nan), frame(np.nan)]))
    assert not stream.is_finite
    assert sessions[0].is_finite
    assert not sessions[1].is_finite
    assert set(pool.spoiled().tolist()) == {int(sessions[1]), untraced}
    assert pool.spoiled(sessions).tolist() == [int(sessions[1])]


def test_a_session_in_use_is_refused_as_reading_its_state_is(implementation):
    lstm = implementation.random(150, 150)
    pool, stream = lstm.pool(2), lstm.stream()
    handle, over = pool.open(), threading.Event()
    xs = np.zeros((50, 150), np.float32)

    def work():
        while not over.is_set():
            with suppress(ConcurrentUseError):  # where it is asked at that moment
                stream.run(xs)
                pool.run([handle], xs[None])

    thread, refused = threading.Thread(target=work), set()
    thread.start()
    try:
        while refused != {"stream", "pool", "all"}:  # each comes in time, mostly at once
            for name, ask in (
                ("stream", lambda: stream.is_finite),
                ("pool", lambda: pool.spoiled([handle])),
                ("all", pool.spoiled),
            ):
                try:
                    ask()
                except ConcurrentUseError:
                    refused.add(name)
    finally:
        over.set()
        thread.join()
