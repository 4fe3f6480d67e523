"""Threads on one pool: apart they get the bits of a serial run, on one session they are told."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

import numpy as np
import pytest

from cases import bits, state_bits, weights_for
from lstm_fast import ConcurrentUseError, PoolFullError, StaleHandleError
from pool_cases import Beside, all_bits, mixed_frames, plain_frames

SHAPE = (13, 21, 2)
I, H, L = SHAPE  # noqa: E741
THREADS = 4
REFUSALS = (ConcurrentUseError, PoolFullError, StaleHandleError)


@pytest.fixture(scope="module")
def lstm(implementation):
    return implementation.from_state_dict(weights_for(SHAPE, "normal", 1))


@pytest.fixture(scope="module")
def counting(implementation):
    """An LSTM whose cell state is the number of its steps: all gates open, 1 comes in each time."""
    weights = {"weight_ih_l0": np.zeros((64, 4)), "weight_hh_l0": np.zeros((64, 16))}
    biases = {"bias_ih_l0": np.full(64, 60.0), "bias_hh_l0": np.zeros(64)}
    return implementation.from_state_dict(weights | biases)


def steps_of(pool, handle):
    counts = set(pool.state(handle).c.ravel().tolist())
    assert len(counts) == 1, "a step reached some of a session's units only"
    return counts.pop()


@pytest.fixture(autouse=True)
def hasty():
    """Let Python switch threads as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


def together(count, work):
    """Let each of count threads do work(number), from the same moment; return the results."""
    start = Barrier(count)

    def begin(number):
        start.wait()
        return work(number)

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(begin, range(count)))


def once_or_not_at_all(call, *arguments):
    """Call until it is let in; what was refused must have changed nothing."""
    while True:
        try:
            return call(*arguments)
        except ConcurrentUseError:
            pass


def test_the_counting_lstm_counts(counting):
    """Negative control for what relies on it."""
    pool = counting.pool(1)
    handle = pool.open()
    for n in range(200):
        assert steps_of(pool, handle) == n
        pool.step([handle], np.ones((1, 4), np.float32))


@pytest.mark.parametrize("workspaces", [1, 2, None])
def test_disjoint_steps_equal_serial_ones(lstm, workspaces):
    """Also with more threads than can compute at the same time."""
    each, ticks = 7, 15
    pool = lstm.pool(THREADS * each, threads=workspaces)
    handles = np.array([pool.open() for _ in range(THREADS * each)], np.uint64)
    rng = np.random.default_rng(0)
    frames = [[mixed_frames(rng, each, I) for _ in range(ticks)] for _ in range(THREADS)]

    def work(thread):
        mine, rows = handles[thread::THREADS], []
        for n, xs in enumerate(frames[thread]):
            if n % 3 == 2:
                pool.prepare(mine[: n % 5])
            rows.append(pool.step(mine, xs) if n % 2 else pool.run(mine, xs[:, None])[:, 0])
        return rows

    results = together(THREADS, work)
    for thread, rows in enumerate(results):
        for n, handle in enumerate(handles[thread::THREADS]):
            stream = lstm.stream()
            for xs, ys in zip(frames[thread], rows, strict=True):
                assert bits(ys[n]) == bits(stream.step(xs[n]))
            assert bits(*pool.state(handle)) == state_bits(stream)


def test_on_one_session_each_call_counts_once_or_is_refused(counting):
    pool, x = counting.pool(3), np.ones((2, 4), np.float32)
    shared, own = pool.open(), pool.open()

    def work(_):
        done, refused, rows = 0, 0, []
        for n in range(150):
            try:
                if n % 5 == 4:
                    pool.prepare([shared])
                else:
                    rows.append(pool.step([own, shared][:: 1 - n % 2 * 2], x)[1 - n % 2])
                    done += 1
            except ConcurrentUseError:
                refused += 1
        return done, refused, rows

    done, refused, rows = zip(*together(THREADS, work), strict=True)
    assert sum(done) + sum(refused) <= 150 * THREADS
    assert steps_of(pool, shared) == steps_of(pool, own) == sum(done)
    expected = counting.stream().run(np.ones((sum(done), 4), np.float32))
    assert Counter(bits(y) for ys in rows for y in ys) == Counter(bits(y) for y in expected)


def test_a_call_that_is_refused_shows_in_the_count(counting):
    """Negative control: one step more or less than were made is another state."""
    pool = counting.pool(1)
    handle = pool.open()
    pool.run([handle], np.ones((1, 9, 4), np.float32))
    assert steps_of(pool, handle) not in (8, 10)
    assert len({bits(y) for y in counting.stream().run(np.ones((9, 4), np.float32))}) == 9


K = 150  # large enough for a second caller to come in time

CALLS = {
    "step": lambda pool, handle, x: pool.step([handle], x[None]),
    "step array": lambda pool, handle, x: pool.step(np.array([handle], np.uint64), x[None]),
    "run": lambda pool, handle, x: pool.run([handle], x[None, None]),
    "prepare": lambda pool, handle, x: pool.prepare([handle]),
    "close": lambda pool, handle, x: pool.close(handle),
    "state": lambda pool, handle, x: pool.state(handle),
    "snapshot": lambda pool, handle, x: pool.snapshot(handle),
    "reset": lambda pool, handle, x: pool.reset(handle),
    "reset to": lambda pool, handle, x: pool.reset(handle, np.ones((2, 1, K))),
    "set_state": lambda pool, handle, x: pool.set_state(handle, np.ones((2, 1, K))),
    "grow": lambda pool, handle, x: pool.grow(1),
}
WITH_PLACE = {"step", "step array", "run", "prepare"}


@pytest.mark.parametrize("call", [*CALLS, "step of two"])
def test_a_session_in_use_raises_and_harms_nobody(implementation, call):
    lstm = implementation.random(K, K)
    length = 3000 if implementation.backend == "native" else 300
    for attempt in range(50):  # until the second caller comes while the first is inside
        # ever longer, since a busy machine may let it end first
        xs = plain_frames(0, length * (1 + attempt), K)
        pool, message = lstm.pool(2), ""
        handle, other = pool.open(), pool.open()
        untouched = all_bits(pool)[other]

        def run_when_let_in(pool=pool, handle=handle, xs=xs):
            while True:
                with suppress(ConcurrentUseError):  # it came while the other one read the state
                    return pool.run([handle], xs[None])

        with ThreadPoolExecutor(1) as threads:
            future = threads.submit(run_when_let_in)
            while not future.done() and not message:
                try:
                    pool.state(handle)  # harmless, and tells that the run has begun
                except ConcurrentUseError:
                    try:
                        if call == "step of two":
                            pool.step([other, handle], xs[:2])
                        else:
                            CALLS[call](pool, handle, xs[0])
                    except ConcurrentUseError as error:
                        message = str(error)
                    break
        if message:
            break
    else:
        pytest.fail("no second caller was ever noticed")
    what = f"the session of handle {handle}" if call != "grow" else "this pool"
    what += " (number 0 of this call)" if call in WITH_PLACE else ""
    what += " (number 1 of this call)" if call == "step of two" else ""
    assert message == f"another thread is using {what}, or the pool is growing"
    assert bits(future.result()) == bits(lstm.stream().run(xs))
    assert all_bits(pool)[other] == untouched
    assert (len(pool), pool.capacity) == (2, 2)


def test_two_sessions_in_two_threads_do_not_raise(lstm):
    """Negative control of the above: it is the sharing that raises."""
    pool, xs = lstm.pool(2), plain_frames(0, 400, I)
    handles = [pool.open(), pool.open()]
    a, b = together(2, lambda n: bits(pool.run([handles[n]], xs[None])))
    assert a == b == bits(lstm.stream().run(xs))


def test_opening_and_closing_in_many_threads(lstm):
    """Each with sessions of its own, in memory that others have just left; nothing is refused."""
    pool, xs = lstm.pool(2 * THREADS), plain_frames(0, 5, I)
    expected = bits(lstm.stream().run(xs))

    def work(_):
        seen = []
        for n in range(25):
            handles = [pool.open(), pool.open()]
            pool.prepare(handles[: n % 3])
            assert bits(pool.run(handles, xs[None].repeat(2, 0))) == 2 * expected
            pool.prepare(handles)
            for handle in handles:
                pool.close(handle)
                assert handle not in pool
            seen += handles
        return seen

    handles = [handle for seen in together(THREADS, work) for handle in seen]
    assert len(set(handles)) == len(handles)
    assert len(pool) == 0


def test_a_storm_of_everything(counting):
    """Threads share all handles: each call counts or is refused, and the books add up after it."""
    pool, x = counting.pool(6, prepared=2, threads=2), np.ones((6, 4), np.float32)
    shared = [pool.open() for _ in range(4)]

    def work(thread):
        rng, log = np.random.default_rng(thread), Counter()
        for _ in range(120):
            known = shared[-8:]
            count = rng.integers(1, 4)
            chosen = [known[n] for n in rng.permutation(len(known))[:count]]
            action = rng.choice(["open", "close", "step", "step", "run", "prepare", "look", "grow"])
            try:
                if action == "open":
                    shared.append(pool.open())
                elif action == "close":
                    pool.close(chosen[0])
                elif action == "step":
                    pool.step(chosen, x[: len(chosen)])
                    log.update(chosen)
                elif action == "run":
                    pool.run(chosen, x[: len(chosen), None].repeat(2, 1), [2] * len(chosen))
                    log.update(chosen * 2)
                elif action == "prepare":
                    pool.prepare(chosen)
                elif action == "grow" and rng.random() < 0.1:
                    pool.grow(1)
                elif action == "look":
                    assert len(pool.handles()) <= pool.capacity
                    steps_of(pool, chosen[0])
                else:
                    continue
                log[action] += 1
            except REFUSALS as error:
                log[type(error).__name__] += 1
        return log

    log = sum(together(THREADS, work), Counter())
    assert all(log[action] for action in ("open", "close", "step", "run", "prepare"))
    assert len(set(shared)) == len(shared) == 4 + log["open"]
    assert len(pool) == len(shared) - log["close"]
    assert pool.capacity == 6 + log["grow"]
    assert set(pool.handles().tolist()) <= set(shared)
    for handle in pool.handles().tolist():
        assert steps_of(pool, handle) == log[handle]
        pool.close(handle)
    fresh = [pool.open() for _ in range(pool.capacity)]
    assert not any(steps_of(pool, handle) for handle in fresh)
    assert pool.prepare(fresh) == 2
    with pytest.raises(PoolFullError):
        pool.open()


def test_growing_while_others_step(lstm):
    """It happens between their calls or is refused; no state is lost on the way."""
    pool, xs = lstm.pool(THREADS), plain_frames(0, 60, I)
    handles = [pool.open() for _ in range(THREADS)]

    def work(thread):
        if thread == THREADS:
            for _ in range(12):
                once_or_not_at_all(pool.grow, 2)
            return None
        return [once_or_not_at_all(pool.step, [handles[thread]], x[None])[0] for x in xs]

    *results, _ = together(THREADS + 1, work)
    stream = lstm.stream()
    expected = bits(stream.run(xs))
    assert all(bits(*rows) == expected for rows in results)
    assert set(all_bits(pool).values()) == {state_bits(stream)}
    assert pool.capacity == THREADS + 24
    assert len({pool.open() for _ in range(24)}) == 24


class InterruptError(Exception):
    """What a signal handler raises, as Ctrl-C or a service's time-out does."""


def raise_interrupt(*_):
    raise InterruptError


@pytest.mark.thread_unsafe(reason="a process has one alarm, its main thread the handlers")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timer")
def test_a_pool_survives_being_interrupted(lstm):
    """An exception out of nowhere, at any point of a call, must not leave anything in use."""
    both, out = Beside(lstm, 3, prepared=2), np.empty((2, H), np.float32)
    handles, xs = both.open_many(2), plain_frames(0, 2, I)
    previous = signal.signal(signal.SIGALRM, raise_interrupt)
    interrupts = 0
    try:
        for n in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, 5e-5 + 1e-6 * (n % 150))
                while True:
                    both.pool.step(handles, xs, out)
                    both.pool.prepare(handles)
            except InterruptError:
                interrupts += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert interrupts == 300  # the control: it was interrupted
    both.pool.grow(1)
    for handle in handles:
        both.pool.reset(handle)
        both.streams[int(handle)].reset()
    assert both.pool.prepare(handles) == 2
    both.step(handles, xs)
    both.check()
