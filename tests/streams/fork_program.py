"""A process whose eight threads are busy, and which forks meanwhile; test_forks.py runs it.

    python tests/streams/fork_program.py BACKEND KIND FORKS

Each child uses all that its parent has: what was in the middle of a step in another thread may say
so, and works once it is reset; everything else goes on to the bit. The last line is a dict in JSON.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from contextlib import suppress

import numpy as np

from lstm_fast import LSTM, ConcurrentUseError, ForkedError, LSTMState, Model, PoolFullError
from lstm_fast.program import Input, Op, Output, Program, State, Tensor

BACKEND, KIND, FORKS = sys.argv[1], sys.argv[2], int(sys.argv[3])
THREADS, EACH, INPUTS, UNITS = 8, 3, 4, 32
STEPS = 64 if BACKEND == "native" else 4  # in a run; a child must find some in the middle
PATIENCE = 60  # seconds: a guard against a child that waits for ever
X = np.ones((EACH, INPUTS), np.float32)
XS = np.ones((EACH, STEPS, INPUTS), np.float32)


def counting_lstm():
    """An LSTM whose c is the number of its steps: all gates open, 1 comes in each time."""
    weights = {
        "weight_ih_l0": np.zeros((4 * UNITS, INPUTS)),
        "weight_hh_l0": np.zeros((4 * UNITS, UNITS)),
        "bias_ih_l0": np.full(4 * UNITS, 60.0),
        "bias_hh_l0": np.zeros(4 * UNITS),
    }
    return LSTM.from_state_dict(weights, backend=BACKEND)


def counting_model():
    """The same as a whole model, whose only operation it is."""
    sizes = {"x": INPUTS, "h": UNITS, "c": UNITS, "y": UNITS, "h_new": UNITS, "c_new": UNITS}
    tensors = [Tensor((size,)) for size in sizes.values()]
    constants = {}
    for shape, value in [((4 * UNITS, INPUTS), 0), ((4 * UNITS, UNITS), 0), ((4 * UNITS,), 60)]:
        constants[len(tensors)] = np.full(shape, value, np.float32)
        tensors.append(Tensor(shape))
    start = np.zeros(UNITS, np.float32)
    program = Program(
        inputs=(Input("x", 0, (INPUTS,)),),
        outputs=(Output("y", 3),),
        states=(State("h", 1, 4, start), State("c", 2, 5, start)),
        tensors=tuple(tensors),
        constants=constants,
        ops=(Op("lstm", (0, 1, 2, *constants), (3, 4, 5), {}),),
    )
    return Model.from_program(program, backend=BACKEND)


LSTM_ = counting_model() if KIND == "models" else counting_lstm()
EXPECTED = LSTM_.stream().run(np.ones((3, INPUTS), np.float32))


def steps_in(state):
    """The number of steps that made this state, which all of its units must agree on."""
    if isinstance(state, dict):
        state = LSTMState(state["h"], state["c"])
    counts, outputs = set(state.c.ravel().tolist()), set(state.h.ravel().tolist())
    assert len(counts) == len(outputs) == 1, "half of a step"
    assert (counts == {0.0}) == (outputs == {0.0}), "half of a step"
    return counts.pop()


def once_let_in(call, *arguments, **options):
    """Call it again while the pool grows, which refuses everybody."""
    while True:
        try:
            return call(*arguments, **options)
        except ConcurrentUseError:
            pass


class Pool:
    """Sessions of a pool, EACH for each thread; four that no thread uses; and others that come."""

    def __init__(self):
        self.pool = self.inner = LSTM_.pool(THREADS * (EACH + 2), prepared=6, threads=3)
        self.idle = [self.pool.open() for _ in range(4)]
        self.pool.step(self.idle, X[:1].repeat(4, 0))
        self.own = [[self.pool.open() for _ in range(EACH)] for _ in range(THREADS)]

    def work(self, thread):
        mine, pool = self.own[thread], self.pool
        out = np.empty((EACH, STEPS, UNITS), np.float32)
        keys = np.array([int(session) for session in mine], np.uint64)
        y = np.empty((EACH, UNITS), np.float32)
        while True:
            once_let_in(pool.run, mine, XS, out=out)
            once_let_in(pool.prepare, mine)
            once_let_in(pool.step, keys, X, out=y)
            once_let_in(self.inner.state, mine[0])
            once_let_in(self.inner.snapshot, mine[1])
            with suppress(PoolFullError):
                once_let_in(self.close, once_let_in(pool.open))
            if random.random() < 0.01:
                with suppress(ConcurrentUseError):
                    self.inner.grow(1)
            yield

    def close(self, session):
        self.pool.close(session)

    def check(self):
        """Use all of it; return how many sessions were half of a step."""
        for session in self.idle:
            assert steps_in(self.inner.state(session)) == 1
        self.pool.prepare(self.idle)
        assert (self.pool.step(self.idle, X[:1].repeat(4, 0)) == EXPECTED[1]).all()
        torn = sum(self.check_session(session) for mine in self.own for session in mine)
        sessions = [session for mine in self.own for session in mine]
        xs = np.ones((len(sessions), 2, INPUTS), np.float32)
        together(lambda n: self.pool.run(self.own[n], xs[:EACH]), THREADS)
        self.pool.run(sessions, xs)
        assert self.pool.prepare(sessions) > 0 or KIND == "models"  # nothing is done ahead there
        assert not len(self.pool.spoiled())
        opened = [self.pool.open() for _ in range(self.inner.capacity - len(self.inner))]
        assert all(steps_in(self.inner.state(session)) == 0 for session in opened)
        try:
            self.pool.open()
        except PoolFullError:
            self.inner.grow(1)
            opened.append(self.pool.open())
        assert len(self.inner.handles()) == len(self.inner) == self.inner.capacity
        for session in [*opened, *sessions]:
            self.close(session)
        assert len(self.inner) == self.inner.capacity - len(opened) - len(sessions)
        return torn

    def check_session(self, session):
        try:
            count, was_torn = steps_in(self.inner.state(session)), 0
        except ForkedError:
            for call in (self.pool.step, self.pool.run):
                try:
                    call([session], XS[:1] if call == self.pool.run else X[:1])
                    raise AssertionError("a session went on from half of a step")
                except ForkedError as error:
                    assert "reset or close it" in str(error) or "reset it" in str(error)
            self.reset(session)
            count, was_torn = 0, 1
        self.pool.step([session], X[:1])
        assert steps_in(self.inner.state(session)) == count + 1
        return was_torn

    def reset(self, session):
        self.inner.reset(session)


class Streams:
    """A stream for each thread, and one that no thread uses."""

    def __init__(self):
        self.idle, self.own = LSTM_.stream(), [LSTM_.stream() for _ in range(THREADS)]
        self.idle.step(X[0])

    def work(self, thread):
        mine = self.own[thread]
        while True:
            mine.run(XS.reshape(-1, INPUTS))
            mine.prepare()
            mine.step(X[0])
            mine.snapshot()
            yield

    def check(self):
        assert self.idle.is_finite
        assert (self.idle.step(X[0]) == EXPECTED[1]).all()
        return sum(self.check_stream(stream) for stream in self.own)

    def check_stream(self, stream):
        try:
            count, was_torn = steps_in(stream.state), 0
        except ForkedError as error:
            assert "reset it" in str(error)
            try:
                stream.step(X[0])
                raise AssertionError("a stream went on from half of a step")
            except ForkedError:
                stream.reset()
            count, was_torn = 0, 1
        stream.prepare()
        stream.step(X[0])
        assert steps_in(stream.state) == count + 1
        return was_torn


class Traced(Pool):
    """Sessions of a pool that are traced."""

    def __init__(self):
        from lstm_fast import tracing

        super().__init__()
        for mine in self.own:
            for session in mine:
                self.inner.close(session)
        self.pool = tracing.trace_pool(self.inner, model_name="forks")
        self.own = [[self.pool.open() for _ in range(EACH)] for _ in range(THREADS)]
        self.traced = tracing.trace(LSTM_.stream(), model_name="forks")

    def work(self, thread):
        mine = self.own[thread]
        for _ in super().work(thread):
            for session in mine:
                with session.segment():
                    once_let_in(self.pool.step, [session], X[:1])
            yield

    def close(self, session):
        session.close()

    def reset(self, session):
        session.reset(reason="forked")

    def check(self):
        for mine in self.own:
            for session in mine:
                assert session.age_steps >= 0
        self.traced.step(X[0])
        with self.traced.segment():
            self.traced.step(X[0])
        assert self.traced.age_steps == 2
        return super().check()


def together(work, count):
    """Let each of count threads do work(number)."""
    failures = []

    def begin(number):
        try:
            work(number)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=begin, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures


def begin_work(subjects):
    """Start the threads, which stand still between two calls while `may_work` is not set."""
    may_work = threading.Event()
    may_work.set()

    def work(thread):
        turns = [subject.work(thread) for subject in subjects]
        while True:
            for turn in turns:
                next(turn)
                may_work.wait()

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    return may_work, threads


def child(subjects, pipe):
    signal.alarm(PATIENCE)  # which kills it
    begin, failure, torn = time.perf_counter(), "", 0
    try:
        torn = sum(subject.check() for subject in subjects)
    except BaseException:
        failure = traceback.format_exc()
    report = {"torn": torn, "failure": failure, "seconds": time.perf_counter() - begin}
    os.write(pipe, json.dumps(report).encode())
    os._exit(0)


def fork(subjects):
    """Return what a child reports, or how it ended."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        child(subjects, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as file:
        text = file.read()
    _, status = os.waitpid(process, 0)
    if text:
        return json.loads(text)
    return {"torn": 0, "seconds": PATIENCE, "failure": f"ended with status {status}"}


def main():
    warnings.simplefilter(
        "ignore", DeprecationWarning
    )  # of Python 3.12: this has threads, and forks
    sys.setswitchinterval(1e-4)
    kinds = {
        "pools": [Pool, Pool],
        "streams": [Streams],
        "traced": [Traced],
        "models": [Pool, Streams],
    }
    subjects = [kind() for kind in kinds[KIND]]
    may_work, threads = begin_work(subjects)
    reports = []
    for _ in range(FORKS):
        time.sleep(random.random() * 0.01)
        may_work.clear()  # after the calls that they are in, they let the child have the CPUs
        reports.append(fork(subjects))
        may_work.set()
        if reports[-1]["failure"]:
            break
    summary = {
        "forks": len(reports),
        "failures": [report["failure"] for report in reports if report["failure"]],
        "torn": sum(report["torn"] for report in reports),
        "busy": sum(thread.is_alive() for thread in threads),
        "slowest": max(report["seconds"] for report in reports),
    }
    print(json.dumps(summary), flush=True)
    os._exit(0)  # the threads go on for ever


main()
