"""State belongs to one stream: runs, resets, copies, interleaving and threads, to the bit."""

from __future__ import annotations

import copy
import itertools
import os
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import bits, frames_for, run, seeds, shapes, state_bits, state_for, steps, weights_for
from lstm_fast import LSTM, ConcurrentUseError, LSTMState
from lstm_fast._weights import WEIGHT_DTYPES

SHAPE = (23, 37, 2)
STEPS = 12


def frames(seed=0, steps=STEPS, shape=SHAPE):
    return frames_for(shape, "normal", seed, steps)


@pytest.fixture(scope="module", params=WEIGHT_DTYPES)
def lstm(implementation, request):
    weights = weights_for(SHAPE, "normal", 1)
    return implementation.from_state_dict(weights, weight_dtype=request.param, keep_weights=True)


dtypes = st.sampled_from(WEIGHT_DTYPES)
some_cuts = st.lists(st.integers(0, STEPS), max_size=4)


@given(shape=shapes(max_layers=3), seed=seeds, cuts=some_cuts, dtype=dtypes)
def test_run_equals_steps_however_cut(implementation, shape, seed, cuts, dtype):
    made = implementation.from_state_dict(weights_for(shape, "normal", seed), weight_dtype=dtype)
    xs = frames(seed, shape=shape)
    expected = steps(made.stream(), xs)
    stream = made.stream()
    edges = [0, *sorted(cuts), STEPS]
    ys = [stream.run(xs[a:b]) for a, b in itertools.pairwise(edges)]
    assert bits(np.concatenate(ys)) + state_bits(stream) == expected


ACTIONS = ["step", "run", "prepare", "prepare", "reset", "state", "read", "copy"]
plans = st.lists(st.sampled_from(ACTIONS), min_size=1, max_size=20)


def follow(lstm, xs, plan, *, prepare):
    """All that comes out of a stream that does what the plan says."""
    stream, states, out = lstm.stream(), [state_for(SHAPE, "normal", n) for n in range(3)], b""
    for n, action in enumerate(plan):
        x = xs[n % len(xs)]
        if action == "step":
            out += bits(stream.step(x))
        elif action == "run":
            out += bits(stream.run(xs[: n % 4]))
        elif action == "prepare" and prepare:
            stream.prepare()
        elif action == "reset":
            stream.reset()
        elif action == "state":
            stream.state = states[n % 3]
        elif action == "copy":
            stream, left_behind = stream.copy(), stream
            out += bits(left_behind.step(x))
        out += state_bits(stream)
    return out + steps(stream, xs)


@given(seed=seeds, plan=plans)
def test_prepare_changes_nothing(lstm, seed, plan):
    """Wherever it is called, and whatever comes between it and the next step."""
    xs = frames(seed)
    assert follow(lstm, xs, plan, prepare=True) == follow(lstm, xs, plan, prepare=False)


def test_prepare_does_not_outlive_what_it_was_made_from(lstm):
    """A prepared half of the old state must not reach a stream that was reset or set."""
    xs, state = frames(), state_for(SHAPE, "normal", 4)
    for change in (
        lambda s: s.reset(),
        lambda s: s.reset(state),
        lambda s: setattr(s, "state", state),
    ):
        prepared, plain = lstm.stream(), lstm.stream()
        for stream in (prepared, plain):
            stream.run(xs)
        prepared.prepare()
        for stream in (prepared, plain):
            change(stream)
        assert steps(prepared, xs) == steps(plain, xs)


def test_nan_in_a_prepared_stream(lstm):
    stream = lstm.stream()
    stream.step(np.full(SHAPE[0], np.nan, np.float32))
    stream.prepare()
    assert np.isnan(stream.step(frames()[0])).all()
    stream.prepare()
    stream.reset()
    assert steps(stream, frames()) == steps(lstm.stream(), frames())


def test_a_lost_step_shows(lstm):
    """Negative control of the above: one frame less, or two swapped, is another result."""
    xs = frames()
    assert run(lstm.stream(), np.delete(xs, 5, axis=0))[-100:] != run(lstm.stream(), xs)[-100:]
    assert run(lstm.stream(), xs[[1, 0, *range(2, STEPS)]]) != run(lstm.stream(), xs)


PRIOR = ["normal", "saturated", "huge", "subnormal", "nan", "inf", "none"]


@given(seed=seeds, prior=st.sampled_from(PRIOR), length=st.integers(1, 20))
def test_reset_equals_fresh(lstm, seed, prior, length):
    past = frames_for(
        SHAPE,
        prior if prior in ("saturated", "huge", "subnormal") else "normal",
        seed,
        length if prior != "none" else 0,
    )
    if prior in ("nan", "inf"):
        past[seed % length, seed % SHAPE[0]] = float(prior)
    xs = frames(seed + 1)
    stream = lstm.stream()
    stream.run(past)
    stream.reset()
    assert not np.any(stream.state.h)
    assert not np.any(stream.state.c)
    assert steps(stream, xs) == steps(lstm.stream(), xs)
    state = state_for(SHAPE, "normal", seed)
    stream.reset(state)
    assert steps(stream, xs) == steps(lstm.stream(state), xs)


def test_without_the_reset_the_output_changes(lstm):
    """Negative control: the state is really stored, so that a reset has something to do."""
    stream = lstm.stream()
    stream.run(frames(5))
    assert steps(stream, frames(6)) != steps(lstm.stream(), frames(6))


def test_nan_stays_in_its_stream_until_reset(lstm):
    xs = frames()
    expected = steps(lstm.stream(), xs)
    spoiled, neighbour = lstm.stream(), lstm.stream()
    spoiled.step(np.full(SHAPE[0], np.nan, np.float32))
    assert np.isnan(spoiled.step(xs[0])).all()  # the control: it did spoil
    assert steps(neighbour, xs) == expected
    assert np.isnan(spoiled.step(xs[0])).all()
    spoiled.reset()
    assert steps(spoiled, xs) == expected


@given(seed=seeds, count=st.integers(2, 8))
def test_interleaved_equals_solo(lstm, seed, count):
    rng = np.random.default_rng(seed)
    sequences = [frames(seed + n, steps=int(rng.integers(1, 9))) for n in range(count)]
    solo = [run(lstm.stream(), xs) for xs in sequences]
    streams = [lstm.stream() for _ in sequences]
    ys = [[] for _ in sequences]
    order = rng.permutation(np.repeat(np.arange(count), [len(xs) for xs in sequences]))
    for n in order:
        ys[n].append(streams[n].step(sequences[n][len(ys[n])]))
    together = [bits(*y) + state_bits(s) for y, s in zip(ys, streams, strict=True)]
    assert together == solo


def test_a_shared_stream_is_noticed(lstm):
    """Negative control: two callers on one stream do change each other's results."""
    a, b = frames(1), frames(2)
    shared = lstm.stream()
    mixed = [(shared.step(x), shared.step(y))[0] for x, y in zip(a, b, strict=True)]
    assert bits(*mixed) != bits(lstm.stream().run(a))


def test_threads_with_a_stream_each_equal_solo(lstm):
    sequences = [frames(n, steps=60) for n in range(16)]
    solo = [run(lstm.stream(), xs) for xs in sequences]
    with ThreadPoolExecutor(8) as pool:
        for method in (steps, run):
            assert list(pool.map(lambda xs, m=method: m(lstm.stream(), xs), sequences)) == solo


CALLS = {
    "step": lambda stream, x: stream.step(x),
    "step out": lambda stream, x: stream.step(x, out=np.empty(stream.lstm.hidden_size, np.float32)),
    "step list": lambda stream, x: stream.step(list(x)),
    "run": lambda stream, x: stream.run(x[None]),
    "reset": lambda stream, x: stream.reset(),
    "reset to": lambda stream, x: stream.reset(LSTMState(np.ones((1, 300)), np.ones((1, 300)))),
    "state": lambda stream, x: stream.state,
    "copy": lambda stream, x: stream.copy(),
    "prepare": lambda stream, x: stream.prepare(),
}


@pytest.mark.parametrize("call", CALLS)
def test_one_stream_in_two_threads_raises_and_harms_nobody(implementation, call):
    lstm = implementation.random(300, 300)
    for attempt in range(50):  # until the second caller comes while the first is inside
        length = 300 * (1 + attempt)  # ever longer, since a busy machine may let it end first
        xs = frames_for((300, 300, 1), "normal", 0, length)
        stream, message = lstm.stream(), ""

        def run_when_let_in(stream=stream, xs=xs):
            while True:
                with suppress(ConcurrentUseError):  # it came while the other one read the state
                    return stream.run(xs)

        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(run_when_let_in)
            while not future.done() and not message:
                try:
                    _ = stream.state  # harmless, and tells that the run has begun
                except ConcurrentUseError:
                    try:
                        CALLS[call](stream, xs[0])
                    except ConcurrentUseError as error:
                        message = str(error)
                    break
        if message:
            assert "stream of its own" in message
            assert bits(future.result()) + state_bits(stream) == run(lstm.stream(), xs)
            return
    pytest.fail("no second caller was ever noticed")


def test_two_streams_in_two_threads_do_not_raise(lstm):
    """Negative control of the above: it is the sharing that raises."""
    xs = frames(0, steps=2000)
    with ThreadPoolExecutor(2) as pool:
        a, b = pool.map(lambda _: run(lstm.stream(), xs), range(2))
    assert a == b


class InterruptError(Exception):
    """What a signal handler raises, as Ctrl-C or a service's time-out does."""


def raise_interrupt(*_):
    raise InterruptError


@pytest.mark.thread_unsafe(reason="a process has one alarm, its main thread the handlers")
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timer")
def test_a_stream_survives_being_interrupted(lstm):
    """An exception out of nowhere, at any point of a call, must not leave it marked as in use."""
    stream, xs, out = lstm.stream(), frames(), np.empty(SHAPE[1], np.float32)
    previous = signal.signal(signal.SIGALRM, raise_interrupt)
    interrupts = 0
    try:
        for n in range(300):
            try:
                signal.setitimer(signal.ITIMER_REAL, 2e-5 + 1e-6 * (n % 150))
                while True:
                    stream.step(xs[0], out=out)
                    stream.prepare()
            except InterruptError:
                interrupts += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert interrupts == 300  # the control: it was interrupted
    stream.reset()
    assert steps(stream, xs) == steps(lstm.stream(), xs)


@given(seed=seeds, special=st.sampled_from([0.5, -0.0, np.nan, np.inf, -np.inf, 2.0**-126]))
def test_state_out_and_in_is_exact(lstm, seed, special):
    h, c = state_for(SHAPE, "normal", seed)
    c[0, seed % SHAPE[1]] = special
    stream = lstm.stream((h, c))
    assert state_bits(stream) == bits(h, c)
    stream.run(frames(seed))
    saved = stream.state
    saved_bits = bits(*saved)
    xs = frames(seed + 1)
    expected = steps(stream, xs)
    assert steps(lstm.stream(saved), xs) == expected
    stream.state = saved
    assert steps(stream, xs) == expected
    assert bits(*saved) == saved_bits  # a copy: what followed has not touched it


def test_subnormal_state_and_frames_are_zero(lstm):
    below, smallest = np.float32(2.0**-127), np.float32(2.0**-126)
    zeros = np.zeros((2, SHAPE[1]), np.float32)
    stream = lstm.stream((zeros + below, zeros - below))
    assert state_bits(stream) == bits(zeros, -zeros)
    stream.state = (zeros + smallest, zeros - smallest)
    assert state_bits(stream) == bits(zeros + smallest, zeros - smallest)
    frame = np.full(SHAPE[0], below, np.float32)
    assert bits(lstm.stream().step(frame)) == bits(lstm.stream().step(0 * frame))


subnormal = st.floats(0, 2.0**-126, exclude_min=True, exclude_max=True, width=32)


@given(small=subnormal, sign=st.sampled_from([1, -1]), units=st.sampled_from([1, 19, 40]))
def test_a_subnormal_frame_is_zero_whatever_multiplies_it(implementation, small, sign, units):
    """Also where a weight would make a number of use of it."""
    weights = {
        "weight_ih": np.full((4 * units, 3), 2.0**120),
        "weight_hh": np.zeros((4 * units, units)),
    }
    lstm = implementation.from_state_dict(weights)
    zeros, smallest = np.zeros(3, np.float32), np.full(3, 2.0**-126, np.float32)
    frame = np.full(3, sign * small, np.float32)
    expected = bits(lstm.stream().step(sign * zeros))
    assert bits(lstm.stream().step(frame)) == expected
    pool = lstm.pool(3)
    alone, *others = pool.open(), pool.open(), pool.open()
    assert bits(pool.step([alone], frame[None])) == expected
    assert {bits(y) for y in pool.step(others, np.array([frame, frame]))} == {expected}
    assert bits(lstm.stream().step(smallest)) != expected  # negative control


@pytest.mark.parametrize("units", [1, 19, 40])
def test_a_decaying_state_ends_in_zero(implementation, units):
    """With the forget gate at a half and nothing coming in, c halves each step, down to zero."""
    lstm = implementation.from_state_dict(
        {"weight_ih": np.zeros((4 * units, 1)), "weight_hh": np.zeros((4 * units, units))}
    )
    state = np.zeros((1, units)), np.ones((1, units))
    stream, pool = lstm.stream(state), lstm.pool(3)
    alone, *others = (pool.open(state) for _ in range(3))
    cells = []
    for _ in range(130):
        stream.step([0])
        pool.step([alone], [[0]])
        pool.step(others, [[0], [0]])
        cells.append(stream.state.c)
        assert all(bits(pool.state(one).c) == bits(cells[-1]) for one in (alone, *others))
    assert all(np.all(c == 2.0**-n) for n, c in enumerate(cells[:126], 1))
    assert not np.any(cells[126:])


@pytest.mark.parametrize(
    "duplicate",
    [lambda s: s.copy(), copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))],
)
def test_a_copy_continues_on_its_own(lstm, duplicate):
    stream = lstm.stream()
    stream.run(frames(1))
    twin = duplicate(stream)
    xs = frames(2)
    assert twin is not stream
    assert state_bits(twin) == state_bits(stream)
    expected = steps(stream, xs)
    assert steps(twin, xs) == expected
    twin.reset()
    assert state_bits(twin) != state_bits(stream)


def test_an_lstm_pickles_as_its_weights(lstm):
    data = pickle.dumps(lstm)
    twin = pickle.loads(data)
    weights = lstm.state_dict()
    assert len(data) < sum(w.nbytes for w in weights.values()) + 2000
    assert (twin.backend, twin.weight_dtype) == (lstm.backend, lstm.weight_dtype)
    assert {n: bits(w) for n, w in twin.state_dict().items()} == {
        n: bits(w) for n, w in weights.items()
    }
    assert run(twin.stream(), frames()) == run(lstm.stream(), frames())
    assert run(twin.astype("float32").stream(), frames()) == run(
        lstm.astype("float32").stream(), frames()
    )
    assert copy.deepcopy(lstm) is copy.copy(lstm) is lstm


def test_a_pickle_gives_the_same_bits_in_another_process(implementation, lstm):
    if implementation.backend == "reference":
        pytest.skip("the reference computes in float64: other bits than the default backend")
    code = (
        "import pickle, sys\n"
        "lstm, xs = pickle.load(sys.stdin.buffer)\n"
        "sys.stdout.buffer.write(lstm.stream().run(xs).tobytes())"
    )
    xs = frames()
    stored = pickle.dumps(
        (
            LSTM.from_state_dict(
                lstm.state_dict(), weight_dtype=lstm.weight_dtype, keep_weights=True
            ),
            xs,
        )
    )
    environment = os.environ | {"LSTM_FAST_BACKEND": implementation.backend}
    if implementation.isa:
        environment["LSTM_FAST_ISA"] = implementation.isa
    result = subprocess.run(
        [sys.executable, "-c", code], input=stored, env=environment, capture_output=True, check=True
    )
    assert result.stdout == bits(lstm.stream().run(xs))


def test_the_weights_are_a_copy(implementation):
    weights = weights_for(SHAPE, "normal", 1)
    made = implementation.from_state_dict(weights)
    expected = run(made.stream(), frames())
    made.state_dict()["weight_ih_l0"][:] = 0
    for value in weights.values():
        value[:] = 0
    assert run(made.stream(), frames()) == expected
    assert np.any(made.state_dict()["weight_ih_l0"])
    with pytest.raises(AttributeError, match="immutable"):
        made.backend = "other"


@pytest.mark.parametrize("out_given", [False, True])
def test_output_belongs_to_the_caller(lstm, out_given):
    stream, xs = lstm.stream(), frames()
    out = np.empty(SHAPE[1], np.float32) if out_given else None
    first = stream.step(xs[0], out=out)
    assert (first is out) == out_given
    kept = first.copy()
    first[:] = 7  # scribbling on a result must not reach the stream
    second = stream.step(xs[1])
    assert bits(kept, second) == bits(lstm.stream().run(xs[:2]))


def test_arguments_by_name_or_place(lstm):
    """In every mixture, and whatever was called before: the core remembers one ("out",)."""
    x, out = frames()[0], np.empty(SHAPE[1], np.float32)
    expected = bits(lstm.stream().step(x))
    ways = {
        "out": lambda s: s.step(x, out=out),
        "both": lambda s: s.step(x=x, out=out),
        "turned": lambda s: s.step(out=out, x=x),
        "neither": lambda s: s.step(x, out),
        "x": lambda s: s.step(x=x),
        "a name made up": lambda s: s.step(x, **{"".join(["o", "u", "t"]): out}),
        "another out": lambda s: s.step(x, out=out),
    }
    for first, second, third in itertools.product(ways, repeat=3):
        for name in (first, second, third):
            out[:] = 7
            assert bits(ways[name](lstm.stream())) == expected, (first, second, third)
            assert name == "x" or bits(out) == expected
    wrong = [  # after a good call with the same names, which in one function are one tuple
        lambda s: (s.step(x), s.step(x, oui=out)),
        lambda s: (s.step(x, out=out), s.step(out=out)),
        lambda s: (s.step(x=x), s.step(x, x=out)),
        lambda s: (s.step(x, out=out), s.step(x, out, out=out)),
        lambda s: (s.step(x, out=out), s.step(x, out=out, other=out)),
    ]
    for call, before in itertools.product(wrong, ways.values()):
        before(lstm.stream())
        with pytest.raises(TypeError, match=r"argument"):
            call(lstm.stream())


def test_names_of_arguments_are_let_go(lstm):
    """Each call of this comes with a tuple of names of its own."""
    stream, x, out = lstm.stream(), frames()[0], np.empty(SHAPE[1], np.float32)
    name = "".join(["o", "u", "t"])
    stream.step(x, **{name: out})
    before = sys.getrefcount(name)
    for _ in range(100):
        stream.step(x, **{name: out})
    assert sys.getrefcount(name) <= before + 1
