"""A pool under any sequence of calls, good and bad, against one stream of its own per session.

The slow test takes LSTM_FAST_POOL_EXAMPLES sequences, 10,000 unless it is set, over the instruction
sets of this CPU and the weight types together; Numba and the reference, which share one kind of
pool, take a quarter of what an instruction set takes, on top.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from careless_pools import MISTAKES
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cases import bits, seeds, state_bits, state_for
from conftest import Implementation, known_isas
from lstm_fast import LSTM, PoolFullError, SnapshotError, StaleHandleError
from lstm_fast._weights import WEIGHT_DTYPES
from pool_cases import all_bits, mixed_frames

SHAPES = [(1, 1, 1), (3, 5, 2), (9, 16, 1), (17, 33, 1), (4, 13, 3)]
EXAMPLES = int(os.environ.get("LSTM_FAST_POOL_EXAMPLES", "10000"))
ISAS_HERE = sum(not missing for missing in known_isas().values()) or 1
SHARE = -(-EXAMPLES // (ISAS_HERE * len(WEIGHT_DTYPES)))


class Model:
    """What a pool should hold: a stream per handle, and who of them is prepared."""

    def __init__(self, pool, room):
        self.pool, self.room = pool, room
        self.streams, self.capacity = {}, pool.capacity
        self.prepared, self.closed = set(), []

    def check(self):
        pool = self.pool
        assert len(pool) == len(self.streams)
        assert pool.capacity == self.capacity
        assert sorted(pool.handles().tolist()) == sorted(self.streams)
        for handle, stream in self.streams.items():
            assert handle in pool
            assert bits(*pool.state(handle)) == state_bits(stream)
        assert not any(handle in pool for handle in self.closed)
        if len(self.prepared) == self.room:  # the others stay as they are
            assert pool.prepare([h for h in self.streams if h not in self.prepared]) == 0
        assert pool.prepare(list(self.prepared)) == len(self.prepared)


def has_sessions(machine):
    return any(model.streams for model in machine.models)


class PoolMachine(RuleBasedStateMachine):
    """Two pools of one LSTM, so that sessions can move and handles can be foreign.

    Who is chosen, in which order, with what frames, all follow from the seed that a rule draws.
    """

    def __init__(self, make_lstm, wrap=lambda pool: pool):
        super().__init__()
        self.make_lstm, self.wrap = make_lstm, wrap
        self.models, self.snapshots, self.given_out = [], [], set()

    @initialize(shape=st.sampled_from(SHAPES), capacity=st.integers(1, 9), room=st.integers(0, 3))
    def begin(self, shape, capacity, room):
        self.shape, self.lstm = shape, self.make_lstm(shape)
        for size, halves in ((capacity, room), (3, 1)):
            pool = self.lstm.pool(size, prepared=halves, threads=1)
            self.models.append(Model(self.wrap(pool), halves))
        self.open(0, capacity // 2 + 1)

    # What the rules choose from.

    def state(self, seed):
        """Zeros as a user would ask for them, or one of a few kinds."""
        regime = [None, None, "normal", "saturated", "subnormal", "huge"][seed % 6]
        return regime and state_for(self.shape, regime, seed)

    def frames(self, rng, n, steps=None):
        return mixed_frames(rng, n, self.shape[0], steps)

    def a_pool(self, seed):
        """Mostly the first: a crowd is more of a test than the other, which strangers come from."""
        rng = np.random.default_rng(seed)
        return rng, self.models[int(rng.random() < 0.2)]

    def any_session(self, seed):
        rng, model = self.a_pool(seed)
        model = model if model.streams else next(m for m in self.models if m.streams)
        return rng, model, list(model.streams)[rng.integers(len(model.streams))]

    def some_sessions(self, seed):
        """Often all or one, never none where there are some: as a list, and as they are passed."""
        rng, model = self.a_pool(seed)
        handles = np.array(list(model.streams), np.uint64)
        count = rng.choice([len(handles), 1, rng.integers(len(handles) + 1)])
        chosen = rng.permutation(handles)[: max(count, 1)]
        return rng, model, chosen.tolist(), chosen if rng.random() < 0.7 else chosen.tolist()

    def opened(self, model, handle, stream):
        assert handle not in self.given_out, "a handle came twice"
        self.given_out.add(handle)
        model.streams[handle] = stream

    def open_in(self, model, call, argument, stream):
        """Open a session in one way or another; of a full pool it must be refused."""
        if len(model.streams) == model.capacity:
            self.refused(PoolFullError, call, argument)
        else:
            self.opened(model, call(argument), stream)

    # What a user may do.

    @rule(seed=seeds, count=st.integers(1, 3))
    def open(self, seed, count):
        _, model = self.a_pool(seed)
        for n in range(count):
            state = self.state(seed + n)
            self.open_in(model, model.pool.open, state, self.lstm.stream(state))

    @rule(seed=seeds, out_given=st.booleans(), ahead=st.booleans())
    def step(self, seed, out_given, ahead):
        if ahead:
            self.prepare(seed + 1)
        rng, model, chosen, handles = self.some_sessions(seed)
        xs = self.frames(rng, len(chosen))
        out = np.empty((len(chosen), self.shape[1]), np.float32) if out_given else None
        ys = model.pool.step(handles, xs, out)
        assert (ys is out) == out_given
        for handle, x, y in zip(chosen, xs, ys, strict=True):
            assert bits(y) == bits(model.streams[handle].step(x))
        model.prepared.difference_update(chosen)

    @rule(seed=seeds, steps=st.integers(0, 4), whole=st.booleans(), ahead=st.booleans())
    def run(self, seed, steps, whole, ahead):
        if ahead:
            self.prepare(seed + 1)
        rng, model, chosen, handles = self.some_sessions(seed)
        xs, lengths = self.frames(rng, len(chosen), steps), [steps] * len(chosen)
        if not whole:
            lengths = rng.choice([0, *range(steps + 1)], len(chosen)).tolist()
        ys = model.pool.run(handles, xs, None if whole else lengths)
        for handle, x, y, length in zip(chosen, xs, ys, lengths, strict=True):
            assert bits(y[:length]) == bits(model.streams[handle].run(x[:length]))
            assert bits(y[length:]) == bits(np.zeros_like(y[length:]))
            if length:
                model.prepared.discard(handle)

    @rule(seed=seeds)
    def prepare(self, seed):
        _, model, chosen, handles = self.some_sessions(seed)
        for handle in chosen:
            if len(model.prepared) < model.room:
                model.prepared.add(handle)
        assert model.pool.prepare(handles) == len(model.prepared.intersection(chosen))

    @precondition(has_sessions)
    @rule(seed=seeds, method=st.sampled_from(["reset", "set_state"]))
    def set(self, seed, method):
        _, model, handle = self.any_session(seed)
        state = self.state(seed)
        if state is None:
            model.pool.reset(handle)
        else:
            getattr(model.pool, method)(handle, state)
        model.streams[handle] = self.lstm.stream(state)
        model.prepared.discard(handle)

    @precondition(has_sessions)
    @rule(seed=seeds)
    def close(self, seed):
        _, model, handle = self.any_session(seed)
        model.pool.close(handle)
        del model.streams[handle]
        model.prepared.discard(handle)
        model.closed.append(handle)

    @rule(seed=seeds, more=st.integers(0, 3))
    def grow(self, seed, more):
        _, model = self.a_pool(seed)
        model.pool.grow(more)
        model.capacity += more

    @precondition(has_sessions)
    @rule(seed=seeds, way=st.sampled_from(["now", "later", "copy", "stream"]))
    def move(self, seed, way):
        """Continue a session as another one, here or in the other pool."""
        rng, source, handle = self.any_session(seed)
        stream, model = source.streams[handle].copy(), self.models[seed % 2]
        if way == "copy":
            self.open_in(model, model.pool.open, source.pool.state(handle), stream)
            return
        taken = source.pool.snapshot(handle)
        assert taken == stream.snapshot()
        if way == "later":  # as often as one likes, also when the session is long over
            self.snapshots.append((taken, stream))
            taken, stream = self.snapshots[seed % len(self.snapshots)]
            stream = stream.copy()
        elif way == "stream":  # out of the pool, a step on its own, and back into it
            alone, x = self.lstm.stream(), self.frames(rng, 1)[0]
            alone.restore(taken)
            assert bits(alone.step(x)) == bits(stream.step(x))
            taken = alone.snapshot()
        self.open_in(model, model.pool.restore, taken, stream)

    # What a user may get wrong.

    def wrong_handle(self, rng, model):
        """One that is stale, foreign or forged, or what can be none."""
        other = self.models[1 - self.models.index(model)]
        forged = [handle ^ 1 << bit for handle in list(model.streams)[:2] for bit in (0, 24, 63)]
        foreign = [*other.streams, *other.closed[-1:]]
        kinds = [kind for kind in (model.closed[-4:], foreign, forged, [0, -1, 2**64]) if kind]
        kind = kinds[rng.integers(len(kinds))]
        return kind[rng.integers(len(kind))]

    def refused(self, error, call, *arguments):
        """It raises that error, and not one bit of any session has changed."""
        before = [all_bits(model.pool) for model in self.models]
        with pytest.raises(error):
            call(*arguments)
        assert [all_bits(model.pool) for model in self.models] == before

    @rule(seed=seeds)
    def name_a_wrong_handle(self, seed):
        """Among good ones, at any place; or one of those again."""
        rng, model, chosen, _ = self.some_sessions(seed)
        pool = model.pool
        wrong, error = self.wrong_handle(rng, model), StaleHandleError
        if chosen and rng.random() < 0.3:
            wrong, error = chosen[rng.integers(len(chosen))], ValueError
        chosen.insert(rng.integers(len(chosen) + 1), wrong)
        handles = np.array(chosen, np.uint64) if 0 <= wrong < 2**64 and seed % 2 else chosen
        xs = self.frames(rng, len(chosen), 2)
        out = np.full((2, len(chosen), self.shape[1]), 7, np.float32)
        self.refused(error, pool.step, handles, xs[:, 0], out[0])
        self.refused(error, pool.run, handles, xs, None, out.reshape(len(chosen), 2, -1))
        self.refused(error, pool.prepare, handles)
        assert np.all(out == 7)

    @rule(seed=seeds)
    def use_a_wrong_handle(self, seed):
        rng, model = self.a_pool(seed)
        pool, wrong = model.pool, self.wrong_handle(rng, model)
        for method in (pool.close, pool.state, pool.reset, pool.snapshot):
            self.refused(StaleHandleError, method, wrong)
        self.refused(StaleHandleError, pool.set_state, wrong, self.state(2))

    @rule(seed=seeds)
    def pass_what_does_not_fit(self, seed):
        rng, model, chosen, handles = self.some_sessions(seed)
        n, pool, (inputs, units, layers) = len(chosen), model.pool, self.shape
        xs, state = self.frames(rng, n), np.zeros((2, layers, units + 1))
        one = chosen[0] if chosen else 1
        calls = [
            lambda: pool.step(handles, np.zeros((n, inputs + 1), np.float32)),
            lambda: pool.step(handles, np.zeros((n + 1, inputs), np.float32)),
            lambda: pool.step(handles, xs, np.empty((n, units + 1), np.float32)),
            lambda: pool.run(handles, xs),
            lambda: pool.run(handles, xs[:, None], [1] * n + [0]),
            lambda: pool.run([one], np.zeros((1, 2, inputs)), [3]),
            lambda: pool.open(state),
            lambda: pool.set_state(one, state),
            lambda: pool.reset(one, state),
            lambda: pool.grow(-1),
        ]
        self.refused(ValueError, calls[rng.integers(len(calls))])
        for taken, _ in self.snapshots[-1:]:
            damaged, place = bytearray(taken), int(rng.integers(len(taken)))
            damaged[place] ^= 1 << int(rng.integers(8))
            self.refused(SnapshotError, pool.restore, bytes(damaged))
            self.refused(SnapshotError, pool.restore, taken[:place])

    @invariant()
    def every_session_is_as_its_stream(self):
        for model in self.models:
            model.check()


def lstms(implementation, dtype):
    """Make LSTMs by shape, each once: they are immutable."""
    made = {}

    def make(shape):
        if shape not in made:
            made[shape] = implementation.random(*shape, seed=3, weight_dtype=dtype)
        return made[shape]

    return make


def explore(make_lstm, examples, steps, wrap=lambda pool: pool, **options):
    run_state_machine_as_test(
        lambda: PoolMachine(make_lstm, wrap),
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            **options,
        ),
    )


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_any_sequence_of_calls_equals_streams(implementation, dtype):
    explore(lstms(implementation, dtype), 12, 25)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_ten_thousand_sequences_of_calls(implementation, dtype):
    explore(lstms(implementation, dtype), SHARE if implementation.isa else SHARE // 4 + 1, 30)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_machine_finds_mistakes(mistake):
    """Negative control: each of these is found, by the assertions above and nothing else."""
    one = Implementation(LSTM.random(1, 1).backend)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        explore(
            lstms(one, "float32"),
            1000,
            25,
            mistake,
            phases=[Phase.generate],
            database=None,
            derandomize=True,
            print_blob=False,
        )
