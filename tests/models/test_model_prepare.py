"""What whole models do ahead of a step: the bits of a step without, on every instruction set.

That it is used at all, and dropped with its state, is shown where it can be seen: in C, by
tests/c/test_model_prepare.c.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
from program_cases import BACKENDS, PROGRAMS, Builder, frames, halves, named
from random_programs import random_frames, random_program

from lstm_fast import LSTM, Model, available

STEPS, N, ROOM = 8, 6, 4
EVERYWHERE = [name for name in available() if name.partition(":")[0] in BACKENDS]
MAKERS = {**PROGRAMS, "halves": halves}
LSTMS, GRUS = ("float32", "float16", "int8"), ("float32", "float16")
NATIVE = [name for name in EVERYWHERE if name.startswith("native")]
native = pytest.mark.parametrize("where", NATIVE)  # no other backend does anything ahead


def made(program, where, weight_dtype="float32"):
    backend, _, isa = where.partition(":")
    return Model.from_program(program, backend=backend, isa=isa or None, weight_dtype=weight_dtype)


def typed(program, lstm, gru):
    """The types of the layers that there are."""
    types = {"lstm": lstm, "gru": gru}
    return {code: types[code] for code in types if any(op.code == code for op in program.ops)}


def frames_of(program, name, count):
    """Frames of so many sessions, (count, STEPS, ...)."""
    own = (lambda n: frames(name, STEPS, n)) if name in PROGRAMS else None
    each = [own(n) if own else random_frames(program, STEPS, n) for n in range(count)]
    return {key: np.array([one[key] for one in each]) for key in each[0]}


def bits(values):
    return [(key, value.dtype, value.shape, value.tobytes()) for key, value in values.items()]


def at(values, *index):
    return {key: value[index] for key, value in values.items()}


def alone(model, xs, n):
    """Every step of the nth session's own stream, and its state after each, never prepared."""
    stream, seen = model.stream(), []
    for t in range(STEPS):
        y = named(model, stream.step(at(xs, n, t)))
        seen.append((bits({key: np.array(value) for key, value in y.items()}), bits(stream.state)))
    return seen


def check(model, xs, seed=0):
    """Streams, and sessions of a pool, are prepared now and then, and nobody notices."""
    rng = random.Random(seed)
    expected = [alone(model, xs, n) for n in range(N)]
    streams = [model.stream() for _ in range(N)]
    pool = model.pool(N, prepared=ROOM, threads=1)
    handles = np.array([pool.open() for _ in range(N)], np.uint64)
    for t in range(STEPS):
        chosen = rng.sample(range(N), rng.randint(0, N))
        assert 0 <= pool.prepare(handles[chosen]) <= min(len(chosen), ROOM)
        y = named(model, pool.step(handles, at(xs, slice(None), t)))
        for n, stream in enumerate(streams):
            for _ in range(rng.randint(0, 2)):
                stream.prepare()
            own = named(model, stream.step(at(xs, n, t)))
            own = bits({key: np.array(value) for key, value in own.items()})
            assert (own, bits(stream.state)) == expected[n][t]
            assert bits(at(y, n)) == expected[n][t][0]
            assert bits(pool.state(int(handles[n]))) == expected[n][t][1]
    return expected


@pytest.mark.parametrize(
    ("name", "where"),
    [*((name, where) for name in MAKERS for where in NATIVE)]
    + [("chain", where) for where in EVERYWHERE if where not in NATIVE],
)
def test_a_prepared_step_has_the_same_bits(name, where):
    program = MAKERS[name]()
    expected = check(made(program, where), frames_of(program, name, N))
    assert expected[0][0] != expected[1][0]  # the control: frames matter


@native
@pytest.mark.parametrize(("lstm", "gru"), [("float16", "float16"), ("int8", "float32")])
def test_types_of_weights(lstm, gru, where):
    program = halves()
    model = made(program, where, typed(program, lstm, gru))
    check(model, frames_of(program, "halves", N))


@pytest.mark.parametrize("seed", range(20))
def test_random_programs(seed):
    program = random_program(random.Random(seed), 8)
    if not NATIVE:
        pytest.skip("no native core here")
    check(made(program, NATIVE[seed % len(NATIVE)]), frames_of(program, "", N), seed)


@native
def test_what_is_not_finite_in_h_is_seen(where):
    """int8 looks at h again in the step, since what is not finite has no 8 bits."""
    program = halves()
    model = made(program, where, typed(program, "int8", "float32"))
    xs = frames_of(program, "halves", N)
    for bad in (np.nan, np.inf):
        results = []
        for prepares in (False, True):
            stream = model.stream()
            state = stream.state
            state["a.h"][3] = bad
            stream.state = state
            if prepares:
                stream.prepare()
            results.append((stream.step(at(xs, 0, 0)).tobytes(), bits(stream.state)))
        assert results[0] == results[1]
        assert not stream.is_finite


@native
def test_the_bits_are_those_of_an_lstm_that_is_prepared(where):
    """Of one layer, the plain path's and a model's."""
    backend, _, isa = where.partition(":")
    lstm = LSTM.random(5, 18, seed=4, backend=backend, isa=isa or None, keep_weights=True)
    build = Builder()
    layer = lstm.weights.layers[0]
    h, c = build.state("h", (18,)), build.state("c", (18,))
    weights = [build.constant(value) for value in (layer.weight_ih, layer.weight_hh, layer.bias)]
    y, h_new, c_new = build.op("lstm", build.input("x", (5,)), h, c, *weights)
    build.keep("h", h_new)
    build.keep("c", c_new)
    build.output("y", y)
    one, other = lstm.stream(), made(build.program(), where).stream()
    for x in np.random.default_rng(1).standard_normal((STEPS, 5)).astype(np.float32):
        one.prepare()
        other.prepare()
        assert one.step(x).tobytes() == other.step(x).tobytes()


def test_room_for_halves_is_bounded():
    """As many sessions as the pool has room for, each of as many bytes as the header says."""
    if "native" not in BACKENDS:
        pytest.skip("no native core here")
    program = halves()
    model = made(program, "native:scalar")
    sizes = {room: model.pool(N, prepared=room, threads=1).nbytes for room in (0, 1, 2)}
    lanes = [4 * hidden for hidden in (18, 6, 17, 17)] + [3 * 7, 2 * 3, 3 * 5]
    each = 4 + sum(-(-4 * floats // 64) * 64 for floats in lanes)
    assert sizes[2] - sizes[1] == sizes[1] - sizes[0] == each
    pool = model.pool(N, prepared=2, threads=1)
    handles = np.array([pool.open() for _ in range(N)], np.uint64)
    assert pool.prepare(handles) == 2
    assert pool.prepare(handles[2:]) == 0
    pool.reset(int(handles[0]))
    assert pool.prepare(handles[4:]) == 1


def test_a_model_without_recurrent_layers_has_nothing_to_prepare():
    build = Builder()
    x = build.input("x", (5,), history=2)
    build.output("y", build.op("dense", x, build.weights(3, 7)))
    model = Model.from_program(build.program(), backend=BACKENDS[0])
    with_room, without = (model.pool(3, prepared=room, threads=1) for room in (3, 0))
    assert with_room.nbytes == without.nbytes
    handles = np.array([with_room.open() for _ in range(3)], np.uint64)
    if model.backend == "native":
        assert with_room.prepare(handles) == 0
    stream = model.stream()
    before = stream.state
    stream.prepare()
    assert bits(stream.state) == bits(before)
