"""Whole models under threads, signals and forks, as tests/streams and tests/pools have LSTMs."""

from __future__ import annotations

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
from program_cases import BACKENDS, PROGRAMS, Models, cut, frames, named

from lstm_fast import ConcurrentUseError, ForkedError
from outside import in_child, interrupted, raise_interrupt

UNTOUCHED = 77
names = pytest.mark.parametrize("name", PROGRAMS)
alarms = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="this system has no interval timer"
)
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")


@pytest.fixture(scope="module", params=BACKENDS)
def models(request):
    return Models(request.param)


def bits(values):
    return [(key, value.shape, value.dtype, value.tobytes()) for key, value in values.items()]


def run_bits(session, xs):
    return bits(named(session.model, session.run(xs)))


def long_frames(models, name, pieces=6):
    """Frames for so many pieces of a run."""
    steps = pieces * models[name]._core.piece if models.backend == "native" else 150
    few = frames(name, 1000)
    return {key: np.resize(value, (steps, *value.shape[1:])) for key, value in few.items()}


def results_for(model, *steps):
    return {
        key: np.full((*steps, *one.shape), UNTOUCHED, one.kind)
        for key, one in model.outputs.items()
    }


def is_untouched(results):
    """Whether none of them was written to its end; of bools nobody knows."""
    numbers = [value for value in results.values() if value.dtype != bool]
    return all((value.reshape(-1)[-1] == UNTOUCHED).all() for value in numbers)


def alone(values):
    return next(iter(values.values())) if len(values) == 1 else values


def both(xs):
    """The frames of two sessions."""
    return {key: np.stack([value, value]) for key, value in xs.items()}


# ---- threads ----


@pytest.fixture
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


@names
def test_sessions_in_threads_have_their_own_bits(models, hasty, name):
    """Streams, and sessions of one pool; nothing is refused."""
    model, threads, steps = models[name], 3, 60
    sequences = [frames(name, steps, seed) for seed in range(threads)]
    expected = [run_bits(model.stream(), xs) for xs in sequences]
    assert len({repr(one) for one in expected}) == threads  # the control
    pool = model.pool(threads, threads=2)
    handles = np.array([pool.open() for _ in range(threads)], np.uint64)

    def stack(rows):
        return bits({key: np.stack([row[key] for row in rows]) for key in rows[0]})

    def work(thread):
        xs, stream = sequences[thread], model.stream()
        of_stream = [named(model, stream.step(cut(xs, t))) for t in range(steps)]
        of_pool = []
        for t in range(steps):
            ys = named(model, pool.step(handles[thread : thread + 1], cut(xs, t, t + 1)))
            of_pool.append(cut(ys, 0))
        return stack(of_stream), stack(of_pool)

    assert together(threads, work) == [(one, one) for one in expected]


def refused_in_the_middle(run, probe, call):
    """What is said of a call while another thread runs, or "" where none came in time."""
    message = ""
    with ThreadPoolExecutor(1) as threads:
        future = threads.submit(run)
        while not future.done() and not message:
            try:
                probe()  # harmless, and tells that the run has begun
            except ConcurrentUseError:
                try:
                    call()
                except ConcurrentUseError as error:
                    message = str(error)
                break
    try:
        return message, future.result()
    except ConcurrentUseError:  # the probe was there first
        return "", None


def until_refused(attempt):
    for _ in range(50):
        message, result = attempt()
        if message:
            return message, result
    pytest.fail("no second caller was ever noticed")


@pytest.mark.parametrize("call", ["step", "run", "prepare", "state", "set", "reset", "snapshot"])
def test_a_stream_in_use_raises_and_goes_on(models, call):
    model, xs = models["rich"], long_frames(models, "rich", 2)
    expected = run_bits(model.stream(), xs)
    x = {key: np.array(value) for key, value in cut(xs, 0).items()}

    def attempt():
        stream = model.stream()
        state = stream.state
        calls = {
            "step": lambda: stream.step(x),
            "run": lambda: stream.run(cut(xs, 0, 2)),
            "prepare": stream.prepare,
            "state": lambda: stream.state,
            "set": lambda: setattr(stream, "state", state),
            "reset": stream.reset,
            "snapshot": stream.snapshot,
        }
        return refused_in_the_middle(
            lambda: run_bits(stream, xs), lambda: stream.state, calls[call]
        )

    message, result = until_refused(attempt)
    assert "another thread is using this stream" in message
    assert result == expected


@pytest.mark.parametrize("call", ["step", "long step", "run", "state", "set", "reset", "close"])
def test_a_session_in_use_raises_and_goes_on(models, call):
    model, xs = models["rich"], long_frames(models, "rich", 2)
    expected = run_bits(model.stream(), xs)

    def attempt():
        pool = model.pool(2)
        handle, other = pool.open(), pool.open()
        state = pool.state(other)
        keys, two = np.array([other, handle], np.uint64), both(cut(xs, 0, 2))
        calls = {
            "step": lambda: pool.step(keys, cut(xs, 0, 2)),
            "long step": lambda: pool.step(keys.tolist(), cut(xs, 0, 2)),
            "run": lambda: pool.run(keys, two),
            "state": lambda: pool.state(handle),
            "set": lambda: pool.set_state(handle, state),
            "reset": lambda: pool.reset(handle),
            "close": lambda: pool.close(handle),
        }
        message, result = refused_in_the_middle(
            lambda: pool.run([handle], {key: value[None] for key, value in xs.items()}),
            lambda: pool.state(handle),
            calls[call],
        )
        if message:
            place = " (number 1 of this call)" if call in ("step", "long step", "run") else ""
            assert f"the session of handle {handle}{place}, or" in message
            assert bits(pool.state(other)) == bits(state)
        return message, result

    _, result = until_refused(attempt)
    assert bits(cut(named(model, result), 0)) == expected


# ---- signals ----


@names
def test_pieces_change_no_bits(models, name):
    model, xs = models[name], long_frames(models, name, 2)
    steps = len(next(iter(xs.values()))) - 5
    xs = cut(xs, 0, steps)
    one, other = model.stream(), model.stream()
    whole = named(model, one.run(xs))
    parts = [
        named(model, other.run(cut(xs, steps * n // 3, steps * (n + 1) // 3))) for n in range(3)
    ]
    assert bits(whole) == bits(
        {key: np.concatenate([part[key] for part in parts]) for key in whole}
    )
    assert bits(one.state) == bits(other.state) != bits(model.stream().state)


@alarms
@names
def test_a_run_that_is_interrupted_has_not_been(models, handler, name):
    """It ends soon: the end of the output is untouched. And it can be done again."""
    handler(raise_interrupt)
    model, xs = models[name], long_frames(models, name)
    stream = model.stream()
    stream.run(cut(xs, 0, 3))
    before, expected = bits(stream.state), run_bits(stream.copy(), xs)
    out = results_for(model, len(next(iter(xs.values()))))
    assert interrupted(lambda: stream.run(xs, alone(out)), 0.003)
    assert is_untouched(out)
    assert bits(stream.state) == before
    assert run_bits(stream, xs) == expected
    assert bits(stream.state) != before  # the control


@alarms
@names
def test_a_run_of_a_pool_that_is_interrupted_has_not_been(models, handler, name):
    handler(raise_interrupt)
    model, xs = models[name], long_frames(models, name)
    pool = model.pool(3)
    handles = [pool.open() for _ in range(3)]
    pool.run(handles[:2], both(cut(xs, 0, 3)))
    before = [bits(pool.state(handle)) for handle in handles]
    out = results_for(model, 2, len(next(iter(xs.values()))))
    expected = run_bits(model.stream(pool.state(handles[1])), xs)
    assert interrupted(lambda: pool.run(handles[:2], both(xs), out=alone(out)), 0.003)
    assert is_untouched(out)
    assert [bits(pool.state(handle)) for handle in handles] == before
    pool.run(handles[:2], both(xs), out=alone(out))
    assert bits(cut(out, 1)) == expected
    assert bits(pool.state(handles[1])) != before[1]  # the control
    assert bits(pool.state(handles[2])) == before[2]


@alarms
def test_without_an_alarm_a_run_is_not_interrupted(models, handler):
    """Negative control."""
    handler(raise_interrupt)
    xs, stream = long_frames(models, "rich", 2), models["rich"].stream()
    before = bits(stream.state)
    assert not interrupted(lambda: stream.run(xs), 600)
    assert bits(stream.state) != before


@alarms
def test_a_handler_that_uses_other_sessions_of_the_pool(models, handler):
    """It may, in the middle of a call: both count."""
    model, xs = models["rich"], long_frames(models, "rich")
    pool, x, done = model.pool(2), cut(xs, 0, 1), []
    handle, other = pool.open(), np.array([pool.open()], np.uint64)
    handler(lambda *_: done.append(pool.step(other, x)))
    signal.setitimer(signal.ITIMER_REAL, 0.003)
    ys = pool.run([handle], {key: value[None] for key, value in xs.items()})
    assert done
    assert bits(cut(ys, 0)) == run_bits(model.stream(), xs)
    stream = model.stream()
    stream.run(x)
    assert bits(pool.state(int(other[0]))) == bits(stream.state)


@alarms
def test_a_handler_that_uses_the_stream_in_its_run(models, handler):
    """One of the two is refused and has changed nothing."""
    model, xs = models["rich"], long_frames(models, "rich")
    x, stream = {key: np.array(value) for key, value in cut(xs, 0).items()}, model.stream()
    handler(lambda *_: stream.step(x))
    for _ in range(50):  # until it comes in the run, and not before
        stream.reset()
        signal.setitimer(signal.ITIMER_REAL, 0.003)
        try:
            stream.run(xs)
        except ConcurrentUseError:
            break
    else:
        pytest.fail("neither was ever refused")
    expected = model.stream()
    if models.backend != "native":  # in Python the handler has the stream, and the run is refused
        expected.step(x)
    assert bits(stream.state) == bits(expected.state)
    stream.run(cut(xs, 0, 2))
    assert bits(stream.state) != bits(expected.state)  # the control


# ---- forks ----


@forks
@names
def test_both_sides_of_a_fork_go_on_to_the_bit(models, name):
    """And neither sees what the other does."""
    model, xs = models[name], frames(name, 6)
    begun, rest = cut(xs, 0, 3), {key: value[None, 3:] for key, value in xs.items()}
    stream, pool, expected = model.stream(), model.pool(2), model.stream()
    handle = pool.open()
    for one in (stream, expected):
        one.run(begun)
    pool.run([handle], {key: value[None] for key, value in begun.items()})

    def go_on():
        streamed = run_bits(stream, cut(rest, 0))
        pooled = bits(cut(named(model, pool.run([handle], rest)), 0))
        pool.close(handle)
        return streamed, pooled, len(pool)

    here_and_there = in_child(go_on), str(go_on())
    right = run_bits(expected, cut(rest, 0))
    assert here_and_there == (str((right, right, 0)),) * 2
    assert bits(stream.state) == bits(expected.state)


@forks
@pytest.mark.skipif("native" not in BACKENDS, reason="no native core here")
def test_half_of_a_step_says_what_to_do_until_that_is_done():
    """In the child of a fork that came while another thread was in a call."""
    models = Models("native")
    model, xs = models["rich"], frames("rich", 50_000)  # a run that is longer than a fork
    stream, over = model.stream(), threading.Event()
    other, x = model.stream(), {key: np.array(value) for key, value in cut(xs, 0).items()}
    state, snapshot = other.state, other.snapshot()

    def work():
        while not over.is_set():
            stream.run(xs)

    calls = [
        lambda: stream.step(x),
        lambda: stream.run(cut(xs, 0, 2)),
        lambda: stream.state,
        stream.prepare,
        stream.copy,
    ]
    cures = [
        stream.reset,
        lambda: stream.reset(state),
        lambda: setattr(stream, "state", state),
        lambda: stream.restore(snapshot),
    ]

    def use(cure):
        try:
            stream.state  # noqa: B018
            return "whole"
        except ForkedError:
            pass
        for n, call in enumerate(calls):
            try:
                call()
                return f"call {n} went on from half of a step"
            except ForkedError as error:
                if "reset it, or give it a state or a snapshot" not in str(error):
                    return str(error)
        cure()
        return "works" if bits(stream.state) == bits(state) else "another state"

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for cure in cures:
            found = set()
            for _ in range(200):  # until the other thread is inside; mostly soon
                found.add(in_child(lambda cure=cure: use(cure)))
                if "works" in found:
                    break
            assert "works" in found
            assert found <= {"whole", "works"}
    finally:
        over.set()
        thread.join()
    assert bits(stream.state) != bits(state)  # the parent has noticed nothing
