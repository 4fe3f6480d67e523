"""Exceptions of signal handlers, such as Ctrl-C's: a call counts wholly or not at all, and soon."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from itertools import pairwise

import numpy as np
import pytest

from cases import bits, state_bits
from lstm_fast import LSTM, ConcurrentUseError, available
from lstm_fast._process import bookkeeping
from outside import InterruptError, interrupted, raise_interrupt

if not hasattr(signal, "setitimer"):
    pytest.skip("this system has no interval timer", allow_module_level=True)

pytestmark = pytest.mark.thread_unsafe(
    reason="a process has one alarm, its main thread the handlers"
)

UNTOUCHED = np.float32(77)


def is_stepwise(implementation):
    """Whether a run is Python between any two steps."""
    return implementation.backend == "reference"


def long_frames(lstm, pieces=30):
    """Frames for so many pieces of a run."""
    count = 600 if lstm.backend == "reference" else pieces * lstm._core.piece
    rng = np.random.default_rng(0)
    return rng.standard_normal((count, lstm.input_size)).astype(np.float32)


@pytest.fixture(scope="module", params=["float32", "int8", "projected"])
def lstm(implementation, request):
    if request.param == "projected":
        return implementation.random(3, 40, 2, proj_size=7)
    return implementation.random(3, 24, 2, weight_dtype=request.param)


def cut_at(lstm, xs):
    """What a run gives that is cut where no piece ends."""
    stream, cuts = lstm.stream(), np.linspace(0, len(xs), 7).astype(int)
    ys = [stream.run(xs[a:b]) for a, b in pairwise(cuts)]
    return bits(*ys), state_bits(stream)


def test_pieces_change_no_bits(lstm):
    xs = long_frames(lstm, 2)[:-5]
    streams = [lstm.stream(), lstm.stream()]
    streams[1].prepare()
    expected, state = cut_at(lstm, xs)
    for stream in streams:
        assert bits(stream.run(xs)) == expected
        assert state_bits(stream) == state


@pytest.mark.parametrize("kind", ["stream", "pool"])
def test_looks_for_signals_wait_little_for_a_busy_thread(kind):
    """Each is a wait for Python's lock there, so they must be few."""
    resource = pytest.importorskip("resource")
    if not hasattr(resource, "RUSAGE_THREAD") or LSTM.random(1, 1).backend != "native":
        pytest.skip("no native core, or nothing counts the waits of a thread here")
    lstm, over, interval = LSTM.random(128, 128), threading.Event(), sys.getswitchinterval()
    pieces, stream, pool = 100, lstm.stream(), lstm.pool(1)
    handle, xs = pool.open(), np.zeros((pieces * lstm._core.piece, 128), np.float32)
    run = {"stream": lambda: stream.run(xs), "pool": lambda: pool.run([handle], xs[None])}[kind]

    def work():
        while not over.is_set():
            pass

    def waits():
        return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw

    busy = threading.Thread(target=work)
    try:
        sys.setswitchinterval(0.05)  # a look takes that long, or more
        busy.start()
        before = waits()
        run()
        assert waits() - before < pieces // 2
    finally:
        sys.setswitchinterval(interval)
        over.set()
        busy.join()


def test_pieces_of_plain_c_are_shorter():
    """Its steps are slow where it calls fma, and Ctrl-C waits for a piece."""
    isas = [name.removeprefix("native:") for name in available() if name.startswith("native:")]
    if len(isas) < 2 or "scalar" not in isas:
        pytest.skip("there is nothing to compare")
    pieces = {isa: LSTM.random(128, 128, isa=isa)._core.piece for isa in isas}
    assert all(pieces["scalar"] <= pieces[isa] // 8 for isa in isas if isa != "scalar")


def test_pieces_of_a_pool_change_no_bits(lstm):
    """Also where sessions end in different pieces, one without a frame, and some are prepared."""
    longest = 100 if lstm.backend == "reference" else lstm._core.piece
    lengths = [longest, 0, 1, longest // 2, longest - 1, longest // 4]
    xs = np.random.default_rng(1).standard_normal((6, longest, 3)).astype(np.float32)
    pool = lstm.pool(7, prepared=4)
    handles = [pool.open() for _ in range(7)]
    pool.prepare(handles[:4])
    ys = pool.run(handles[:6], xs, lengths)
    for handle, x, y, length in zip(handles, xs, ys, lengths, strict=False):
        stream = lstm.stream()
        assert bits(y[:length]) == bits(stream.run(x[:length]))
        assert not y[length:].any()
        assert bits(*pool.state(handle)) == state_bits(stream)
    assert bits(*pool.state(handles[6])) == state_bits(lstm.stream())
    assert pool.prepare([handles[1]]) == 1


def test_a_run_that_is_interrupted_has_not_been(lstm, handler):
    """It ends soon: most of the output is untouched. And it can be done again."""
    handler(raise_interrupt)
    xs, stream = long_frames(lstm), lstm.stream()
    stream.step(xs[0])
    before, expected = state_bits(stream), bits(stream.copy().run(xs))
    out = np.full((len(xs), lstm.output_size), UNTOUCHED)
    assert interrupted(lambda: stream.run(xs, out), 0.003)
    assert (out[-1] == UNTOUCHED).all()
    assert state_bits(stream) == before
    assert bits(stream.run(xs, out)) == expected


def test_a_run_of_a_pool_that_is_interrupted_has_not_been(lstm, handler):
    handler(raise_interrupt)
    pool, xs = lstm.pool(4, prepared=1), long_frames(lstm)
    handles = [pool.open() for _ in range(4)]
    pool.step(handles[1:], xs[:3])
    pool.prepare(handles)
    before = [bits(*pool.state(handle)) for handle in handles]
    xs = np.stack([xs[: len(xs) // 3]] * 3)
    out = np.full((3, xs.shape[1], lstm.output_size), UNTOUCHED)
    assert interrupted(lambda: pool.run(handles[:3], xs, out=out), 0.003)
    assert (out[-1, -1] == UNTOUCHED).all()
    assert [bits(*pool.state(handle)) for handle in handles] == before
    stream = lstm.stream(pool.state(handles[2]))
    assert bits(pool.run(handles, np.stack([*xs, xs[0]]))[2]) == bits(stream.run(xs[2]))


def test_a_batch_that_is_interrupted(lstm, handler):
    handler(raise_interrupt)
    xs = np.stack([long_frames(lstm)] * 2)
    assert interrupted(lambda: lstm(xs), 0.003)


def test_without_an_alarm_a_run_is_not_interrupted(lstm, handler):
    """Negative control."""
    handler(raise_interrupt)
    xs, stream = long_frames(lstm, 2), lstm.stream()
    before = state_bits(stream)
    assert not interrupted(lambda: stream.run(xs), 600)
    assert state_bits(stream) != before


def test_nobody_comes_between_two_pieces(lstm):
    """Another thread that keeps trying is refused, and the run has its own bits."""
    xs, stream = long_frames(lstm, 10), lstm.stream()
    expected, over, refused, steps = bits(stream.copy().run(xs)), threading.Event(), [0], [0]

    def intrude():
        while not over.is_set():
            try:
                stream.prepare()
                stream.state  # noqa: B018
            except ConcurrentUseError:
                refused[0] += 1
                try:
                    stream.step(xs[0])
                    steps[0] += 1
                except ConcurrentUseError:
                    pass

    for _ in range(20):
        thread = threading.Thread(target=intrude)
        over.clear()
        stream.reset()
        thread.start()
        try:
            result = bits(stream.run(xs))
        except ConcurrentUseError:
            result = ""  # the other was there first
        finally:
            over.set()
            thread.join()
        if result and not steps[0]:
            assert result == expected
        if result and refused[0]:
            break
        steps[0] = 0
    assert refused[0]


def test_a_handler_that_uses_the_stream_in_its_run(implementation, handler):
    """It is refused, as another thread is; and the run that it came into has not been."""
    lstm = implementation.random(3, 24)
    xs, stream = long_frames(lstm), lstm.stream()
    before = state_bits(stream)
    handler(lambda *_: stream.step(xs[0]))
    for _ in range(50):  # until it comes in the run, and not before
        stream.reset()
        signal.setitimer(signal.ITIMER_REAL, 0.003)
        try:
            stream.run(xs)
        except ConcurrentUseError:
            break
    else:
        pytest.fail("the handler was never refused")
    if is_stepwise(implementation):  # there the handler has the stream, and the run is refused
        assert state_bits(stream) == state_bits(stepped(lstm, xs[0]))
    else:
        assert state_bits(stream) == before
    stream.run(xs[:2])


def stepped(lstm, x):
    stream = lstm.stream()
    stream.step(x)
    return stream


def test_a_handler_that_uses_other_sessions_of_the_pool(implementation, handler):
    """It may, in the middle of a call: both count."""
    lstm = implementation.random(3, 24)
    pool, xs = lstm.pool(3), long_frames(lstm)
    handles = [pool.open() for _ in range(3)]
    done = []
    handler(lambda *_: done.append(pool.step(handles[2:], xs[:1])))
    signal.setitimer(signal.ITIMER_REAL, 0.003)
    half = np.stack([xs[: len(xs) // 2]] * 2)
    ys = pool.run(handles[:2], half)
    assert done
    assert bits(ys[1]) == bits(lstm.stream().run(half[1]))
    assert bits(*pool.state(handles[2])) == state_bits(stepped(lstm, xs[0]))


# ---- all sessions of a call, or none ----


@pytest.fixture(scope="module")
def counting(implementation):
    """An LSTM whose cell state is the number of its steps: all gates open, 1 comes in each time."""
    weights = {"weight_ih_l0": np.zeros((64, 4)), "weight_hh_l0": np.zeros((64, 16))}
    biases = {"bias_ih_l0": np.full(64, 60.0), "bias_hh_l0": np.zeros(64)}
    return implementation.from_state_dict(weights | biases)


@pytest.mark.parametrize("frames", [1, 7])
def test_a_call_counts_for_all_of_its_sessions_or_for_none(counting, handler, frames):
    handler(raise_interrupt)
    pool = counting.pool(5, prepared=2)
    handles, xs = [pool.open() for _ in range(5)], np.ones((5, frames, 4), np.float32)
    last, some = 0.0, 0
    for n in range(300):
        some += interrupted(lambda: [pool.run(handles, xs) for _ in range(1000)], 1e-4 + 2e-6 * n)
        counts = {value for key in handles for value in pool.state(key).c.ravel().tolist()}
        assert len(counts) == 1
        count = counts.pop()
        assert count % frames == 0
        assert count >= last
        last = count
    assert some == 300


# ---- sessions that nobody knows of ----


def lost_sessions(open_one, close, pool, handler):
    """How many sessions stay open of which the caller has never heard, after 400 interrupts."""
    handler(raise_interrupt)
    interrupts = 0
    for n in range(400):
        opened = []

        def open_many(opened=opened):
            while True:
                opened.append(open_one())

        interrupts += interrupted(open_many, 3e-5 + 1e-6 * (n % 97))
        for one in opened:
            close(one)
    assert interrupts == 400
    return len(pool)


ways_to_open = pytest.mark.parametrize("way", ["open", "open a state", "restore"])
returns_at_once = pytest.mark.skipif(
    sys.version_info < (3, 11),
    reason="Python 3.10 runs handlers between a call's end and the assignment of its result: "
    "docs/forks.md",
)


@returns_at_once
@ways_to_open
def test_no_session_is_lost(implementation, handler, way):
    lstm = implementation.random(3, 8)
    pool, stream = lstm.pool(1000), lstm.stream()
    state, snapshot = stream.state, stream.snapshot()
    open_one = {
        "open": pool.open,
        "open a state": lambda: pool.open(state),
        "restore": lambda: pool.restore(snapshot),
    }[way]
    assert lost_sessions(open_one, pool.close, pool, handler) == 0


@returns_at_once
@ways_to_open
def test_no_traced_session_is_lost(implementation, handler, way):
    tracing = pytest.importorskip("lstm_fast.tracing", exc_type=ImportError)
    lstm = implementation.random(3, 8)
    pool, stream = lstm.pool(1000), lstm.stream()
    state, snapshot = stream.state, stream.snapshot()
    traced = tracing.trace_pool(pool, model_name="interrupted")
    open_one = {
        "open": traced.open,
        "open a state": lambda: traced.open(state, session_id="x"),
        "restore": lambda: traced.restore(snapshot, age_steps=3),
    }[way]
    assert lost_sessions(open_one, lambda session: session.close(), pool, handler) == 0
    assert len(traced) == 0


def test_a_lost_session_is_noticed(implementation, handler):
    """Negative control: an opening of two steps that does not look after the first."""
    lstm = implementation.random(3, 8)
    pool, state = lstm.pool(1000), lstm.initial_state

    def open_carelessly():
        handle = pool.open()
        pool.set_state(handle, state)
        return handle

    assert lost_sessions(open_carelessly, pool.close, pool, handler) > 0


def test_another_thread_may_use_what_an_interrupted_call_has_left(implementation, handler):
    """Also while the exception, and with it all that the call was in, is kept."""
    lstm = implementation.random(2, 3)
    stream, pool = lstm.stream(), lstm.pool(3)
    handles, kept, refused = [pool.open() for _ in range(3)], [], []
    x, random = np.ones((3, 2), np.float32), np.random.default_rng(0)
    handler(raise_interrupt)

    def use():
        stream.state  # noqa: B018
        stream.step(x[0])
        pool.step(handles, x)
        pool.prepare(handles)
        pool.reset(handles[0])

    def use_for_ever():
        while True:
            use()

    def use_in_a_thread():
        try:
            use()
        except ConcurrentUseError as error:
            refused.append(error)

    for _ in range(200):
        try:
            signal.setitimer(signal.ITIMER_REAL, 1e-5 + random.random() * 3e-4)
            use_for_ever()
        except InterruptError as error:
            kept.append(error)
        thread = threading.Thread(target=use_in_a_thread)
        thread.start()
        thread.join()
    assert not refused


def test_no_interrupt_leaves_the_bookkeeping_taken(handler):
    """From Python 3.14 on a handler has a turn between the `__enter__` of a lock and its `with`."""
    handler(raise_interrupt)

    def take_and_give_back():
        while True:
            with bookkeeping:
                pass

    for n in range(1000):
        assert interrupted(take_and_give_back, 2e-5 + 1e-6 * (n % 150))
        assert not bookkeeping._is_owned(), n


def test_a_server_that_forks_in_c_and_tells_python_only_in_the_child():
    """Nothing of the parent's is locked there, and nothing is printed."""
    program = """
import ctypes, os, threading, numpy
from lstm_fast import LSTM
from lstm_fast._process import bookkeeping

def hold():
    with bookkeeping:
        held.set()
        end.wait()

held, end = threading.Event(), threading.Event()
thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = ctypes.PyDLL(None).fork()
if not child:
    ctypes.pythonapi.PyOS_AfterFork_Child()
    pool = LSTM.random(2, 2, backend="reference").pool(1)
    pool.step([pool.open()], numpy.ones((1, 2)))
    os._exit(0)
end.set()
assert os.waitpid(child, 0)[1] == 0
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
