"""Threads that meet on a stream, or on a model's first use: nothing is counted twice or lost."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Barrier

import numpy as np
import pytest

from cases import bits, state_bits
from lstm_fast import ConcurrentUseError, Model, vad
from lstm_fast._made_once import made_once
from lstm_fast._process import bookkeeping
from processes import python

THREADS = 4
TRIES = 100  # of each thread
SIZES = 5, 24
X = np.linspace(-1, 1, SIZES[0], dtype=np.float32)


def together(work):
    """The results of work(number) in each thread, begun at the same moment."""
    start = Barrier(THREADS)

    def begin(number):
        start.wait()
        return work(number)

    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(begin, range(THREADS)))


def take(steps, tries=TRIES):
    """Step one stream in all threads; return the bits of what came, and how many were refused."""

    def work(_):
        rows, refused = [], 0
        for _ in range(tries):
            try:
                rows.extend(steps())
            except ConcurrentUseError:
                refused += 1
        return rows, refused

    results = together(work)
    rows = [bits(row) for rows, _ in results for row in rows]
    return rows, sum(refused for _, refused in results)


def ways_to_step(stream):
    """Each of them in the form of one that returns rows; those of C and those of Python."""
    return {
        "step": lambda: [stream.step(X)],
        "step into": lambda: [stream.step(X, out=np.empty(SIZES[1], np.float32))],
        "step of a list": lambda: [stream.step(X.tolist())],
        "step of a dict": lambda: [stream.step({"x": X})],
        "run": lambda: stream.run(np.array([X, X, X])),
    }


def counts_each_once(lstm, rows, state):
    """Whether rows and state are those of so many steps, each of which was one thread's."""
    stream = lstm.stream()
    expected = [bits(stream.step(X)) for _ in rows]
    return Counter(rows) == Counter(expected) and state == state_bits(stream)


@pytest.mark.parametrize("way", ["step", "step into", "step of a list", "step of a dict", "run"])
def test_a_call_on_a_shared_stream_counts_once_or_is_refused(implementation, way):
    lstm = implementation.random(*SIZES)
    stream = lstm.stream()
    rows, _ = take(ways_to_step(stream)[way])
    assert rows
    assert counts_each_once(lstm, rows, state_bits(stream))


class Careless:
    """A stream that lets everybody in, as one without its mark would, slow enough to show."""

    def __init__(self, lstm):
        self.stream, self.met = lstm.stream(), Barrier(THREADS)
        self.state = self.stream.state

    def step(self):
        with bookkeeping:
            self.stream.state = self.state
            y, state = self.stream.step(X), self.stream.state
        self.met.wait()  # all have read by now, and write
        self.state = state
        return [y]


def test_a_stream_without_a_mark_is_noticed(implementation):
    """Negative control."""
    lstm = implementation.random(*SIZES)
    careless = Careless(lstm)
    rows, refused = take(careless.step, tries=10)
    assert not refused
    assert not counts_each_once(lstm, rows, bits(*careless.state))


def test_steps_beside_all_else_that_a_stream_does(implementation):
    """What comes is always a state that the steps since the last reset have made."""
    lstm = implementation.random(*SIZES)
    stream, fresh = lstm.stream(), lstm.stream()
    states = [state_bits(fresh)]
    for _ in range(THREADS * TRIES):
        fresh.step(X)
        states.append(state_bits(fresh))
    known, begin = set(states), lstm.stream().snapshot()
    calls = (
        lambda: stream.step(X),
        stream.reset,
        lambda: stream.restore(begin),
        stream.prepare,
        lambda: state_bits(stream) in known or pytest.fail("half a step was read"),
    )

    def work(number):
        for n in range(TRIES):
            with suppress(ConcurrentUseError):
                calls[n % 2 and (number + n // 2) % len(calls)]()

    together(work)
    assert state_bits(stream) in known


def test_a_model_that_all_use_for_the_first_time(implementation):
    """What is made when it is first asked for is there for all of them, and the same."""
    expected = implementation.random(*SIZES)
    known = expected.fingerprint, expected.stream().snapshot(), bits(expected.stream().step(X))
    for _ in range(5):
        lstm = implementation.random(*SIZES)
        uses = (
            lambda lstm=lstm: lstm.fingerprint,
            lambda lstm=lstm: lstm.stream().snapshot(),
            lambda lstm=lstm: bits(lstm.stream().step(X)),
        )
        order = together(lambda n, uses=uses: [uses[(n + k) % 3]() for k in range(3)])
        found = [tuple(row[(k - n) % 3] for k in range(3)) for n, row in enumerate(order)]
        assert found == [known] * THREADS


def test_models_of_a_program_that_are_made_at_once(implementation):
    program = implementation.random(*SIZES).program
    expected = Model.from_program(program, backend=implementation.backend, isa=implementation.isa)
    step = bits(expected.stream().step(X))

    def work(_):
        options = {"backend": implementation.backend, "isa": implementation.isa}
        model = Model.from_program(program, **options)
        return model.fingerprint, bits(model.stream().step(X))

    assert together(work) == [(expected.fingerprint, step)] * THREADS


FIRST = """
    import numpy as np
    from threading import Barrier, Thread
    start, found = Barrier(4), []

    def work():
        start.wait()
        from lstm_fast import LSTM, Model, vad
        lstm = LSTM.random(5, 24)
        x = np.ones(5, np.float32)
        model = Model.from_program(lstm.program)
        chunks = vad.Chunks(44100).push(np.zeros(8820, np.float32))
        steps = lstm.stream().step(x), model.stream().step(x), lstm(x[None, None])[0]
        found.append((*(one.tobytes() for one in steps), chunks.tobytes(), lstm.backend))

    threads = [Thread(target=work) for _ in range(4)]
    for one in threads: one.start()
    for one in threads: one.join()
    print(len(found), len(set(found)))
"""


def test_the_first_import_and_use_in_all_threads_at_once():
    process = python(FIRST)
    assert process.stdout.split() == ["4", "1"], process.stderr


def test_what_is_made_once_is_the_same_object_to_all():
    met = Barrier(THREADS)

    @made_once(most=2)
    def make(_):
        met.wait()  # so that each makes one
        return object()

    assert len({id(one) for one in together(lambda _: make("same"))}) == 1


def test_only_the_last_that_were_asked_for_are_kept():
    made = []
    make = made_once(most=2)(lambda name, **_: made.append(name) or object())
    for name in ("a", "b", "a", "c", "a", "b"):
        make(name)
    assert made == ["a", "b", "c", "b"]
    assert make("a") is not make("a", rate=8000)


def test_a_resampler_that_is_asked_for_at_once_is_one():
    rates = 22050, 16000
    assert len({id(one) for one in together(lambda _: vad._resampling.resampler(*rates))}) == 1
