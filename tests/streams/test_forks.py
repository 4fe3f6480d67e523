"""A process forks while its threads are in calls: the child goes on, or is told what to do."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

from cases import bits, state_bits
from lstm_fast import LSTM, ForkedError, SnapshotError, available
from lstm_fast._process import IS_FREE_THREADED
from outside import PATIENCE, in_child

if not hasattr(os, "fork"):
    pytest.skip("nothing forks here", allow_module_level=True)

pytestmark = pytest.mark.thread_unsafe(reason="a child has only the thread that forks")

PROGRAM = Path(__file__).with_name("fork_program.py")
BACKENDS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            not any(one.startswith(name) for one in available()), reason=f"{name} is not here"
        ),
    )
    for name in ("native", "numba", "reference")
]
FORKS = {"native": 100, "numba": 10, "reference": 4}


@pytest.mark.skipif(
    IS_FREE_THREADED,
    reason="CPython without its lock may leave locks of its own taken in a child: docs/forks.md",
)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["pools", "streams", "traced", "models"])
def test_forks_of_a_busy_process(backend, kind):
    """With `pools` and `streams` that is 200 of the native core."""
    if kind == "traced":
        pytest.importorskip("opentelemetry.trace")
    forks = FORKS[backend] // (5 if kind in ("traced", "models") else 1) or 1
    done = subprocess.run(
        [sys.executable, str(PROGRAM), backend, kind, str(forks)],
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert report["failures"] == []
    assert report["forks"] == forks
    assert report["busy"] == 8  # no thread had come to its end before
    if backend == "native" and kind != "traced":
        assert report["torn"] > 0  # the control: some children did find half of a step


@pytest.fixture(scope="module")
def lstm(implementation):
    return implementation.random(5, 9, 2, seed=3)


def frames(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 5), dtype=np.float32)


def test_both_sides_go_on_to_the_bit(lstm):
    """And neither sees what the other does."""
    stream, pool, xs = lstm.stream(), lstm.pool(3), frames(6)
    handle, expected = pool.open(), lstm.stream()
    for one in (stream, expected):
        one.run(xs[:3])
    pool.run([handle], xs[None, :3])
    pool.prepare([handle])
    stream.prepare()

    def go_on():
        streamed, pooled = stream.run(xs[3:]), pool.run([handle], xs[None, 3:])
        pool.close(handle)
        return (bits(streamed).hex(), bits(pooled).hex(), len(pool))

    here_and_there = in_child(go_on), str(go_on())
    right = bits(expected.run(xs[3:])).hex()
    assert here_and_there == (str((right, right, 0)),) * 2
    assert state_bits(stream) == state_bits(expected)


def busy_stream(backend):
    """A stream in the middle of a run of another thread, and a function that ends that."""
    lstm = LSTM.random(64, 400, backend=backend)
    stream = lstm.stream()
    over = threading.Event()
    xs = np.zeros((1000, 64), np.float32)  # longer than it takes to fork a large process

    def work():
        while not over.is_set():
            stream.run(xs)

    thread = threading.Thread(target=work)
    thread.start()

    def end():
        over.set()
        thread.join()

    return stream, end


@pytest.mark.parametrize("backend", BACKENDS[:2])
def test_half_of_a_step_says_what_to_do_until_that_is_done(backend):
    stream, end = busy_stream(backend)
    other = stream.lstm.stream()
    snapshot, state = other.snapshot(), other.state
    calls = {
        "step": lambda: stream.step(np.zeros(64, np.float32)),
        "step into": lambda: stream.step(np.zeros(64, np.float32), np.zeros(400, np.float32)),
        "run": lambda: stream.run(np.zeros((2, 64), np.float32)),
        "prepare": stream.prepare,
        "state": lambda: stream.state,
        "snapshot": stream.snapshot,
        "copy": stream.copy,
        "is_finite": lambda: stream.is_finite,
    }
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
        for name, call in calls.items():
            for _ in range(2):
                try:
                    call()
                    return f"{name} went on from half of a step"
                except ForkedError as error:
                    if "reset it, or give it a state or a snapshot" not in str(error):
                        return str(error)
        try:
            stream.restore(b"LSTMFAST")
            return "a damaged snapshot was taken"
        except SnapshotError:
            pass
        cure()
        return "works" if state_bits(stream) == state_bits(other) else "another state"

    try:
        for cure in cures:
            found = {in_child(lambda cure=cure: use(cure)) for _ in range(15)}
            for _ in range(500):  # the other thread may be between two calls
                if "works" in found:
                    break
                found.add(in_child(lambda cure=cure: use(cure)))
            assert "works" in found
            assert found <= {"whole", "works"}
    finally:
        end()
    assert isinstance(stream.state.h, np.ndarray)  # the parent has noticed nothing


def says_of(call):
    try:
        call()
    except ForkedError:
        return "says so"
    return "works"


@pytest.mark.parametrize("kind", ["stream", "pool"])
def test_a_run_that_a_signal_handler_forks_in(implementation, kind):
    """The child's run stops, and its session says so; the parent's goes on."""
    if implementation.backend == "reference":
        pytest.skip("it is Python all the way: the run goes on on both sides")
    lstm = implementation.random(1, 1)
    stream, pool = lstm.stream(), lstm.pool(1)
    handle, xs = pool.open(), np.ones((100 * lstm._core.piece, 1), np.float32)
    expected = bits(lstm.stream().run(xs))
    run, again = {
        "stream": (lambda: stream.run(xs), lambda: stream.step(xs[0])),
        "pool": (lambda: pool.run([handle], xs[None]), lambda: pool.step([handle], xs[:1])),
    }[kind]
    parent, pipe, is_running, forks = os.getpid(), os.pipe(), False, []

    def fork_in_the_run(*_):
        if is_running:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                forks.append(os.fork())
            if not forks[-1]:
                signal.alarm(PATIENCE)

    previous = signal.signal(signal.SIGUSR1, fork_in_the_run)
    try:
        for _ in range(
            100
        ):  # until the signal comes neither too early nor too late; mostly at once
            timer = threading.Timer(0.002, os.kill, (parent, signal.SIGUSR1))
            timer.start()
            is_running = True
            try:
                result = bits(run())
            except ForkedError:
                result = "stopped"
            is_running = False
            if os.getpid() != parent:
                says = f"{result}, {says_of(again)}" if result == "stopped" else "too late"
                os.write(pipe[1], says.encode())
                break
            timer.join()
            assert result == expected
            found = "too early"
            if forks:
                os.waitpid(forks.pop(), 0)
                found = os.read(pipe[0], 100).decode()
            if not found.startswith("too"):
                break
            stream.reset()
            pool.reset(handle)
        if os.getpid() == parent:
            # the sessions of other pools than the native one are put back to where they were
            goes_on = kind == "pool" and implementation.backend != "native"
            assert found == ("stopped, works" if goes_on else "stopped, says so")
    finally:
        if os.getpid() != parent:
            os._exit(0)
        signal.signal(signal.SIGUSR1, previous)
        for end in pipe:
            os.close(end)
