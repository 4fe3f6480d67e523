"""Random programs on the native core: every instruction set against the reference, and sessions."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from operation_bounds import excesses
from program_cases import Builder, cut, lstm_layer, named
from random_programs import ROWS, random_frames, random_program

from conftest import known_isas
from lstm_fast import Model
from lstm_fast.program import Output

ISAS = [isa for isa, missing in known_isas().items() if not missing]
if not ISAS:
    pytest.skip("the native core is not built", allow_module_level=True)
STEPS = 5
programs = st.builds(
    lambda seed, operations: random_program(random.Random(seed), operations),
    st.integers(0, 2**32 - 1),
    st.integers(1, 9),
)


def native(program, isa=ISAS[0], weight_dtype="float32"):
    return Model.from_program(program, backend="native", isa=isa, weight_dtype=weight_dtype)


def bits(values):
    return [(key, value.shape, value.dtype, value.tobytes()) for key, value in values.items()]


def run(stream, frames):
    return named(stream.model, stream.run(frames))


def all_it_does(model, frames):
    """What a session puts out and then keeps, as bits."""
    stream = model.stream()
    return bits(run(stream, frames)) + bits(stream.state)


def has_weights(program):
    return any(op.code in ("dense", "conv", "conv2d", "lstm", "gru") for op in program.ops)


def with_every_output(program):
    """The same program, of which every value that it computes is an output."""
    numbers = [n for n in range(len(program.tensors)) if n not in program.constants]
    return replace(program, outputs=tuple(Output(str(n), n) for n in numbers))


def every_value(program, frames):
    """All values of each step by their numbers."""
    made = run(native(with_every_output(program)).stream(), frames)
    return [{int(name): value[t] for name, value in made.items()} for t in (0, STEPS - 1)]


# ---- values ----


@settings(max_examples=200)
@given(program=programs, seed=st.integers(0, 9))
def test_each_operation_is_within_its_bound(program, seed):
    assert (excesses(program, every_value(program, random_frames(program, STEPS, seed))) <= 1).all()


def test_a_wrong_value_of_a_program_shows():
    """Negative control: of one operation after the other, one that belongs to another step."""
    noticed = total = 0
    for seed in range(10):
        program = random_program(random.Random(seed))
        steps = every_value(program, random_frames(program, STEPS))
        for n, op in enumerate(program.ops):
            values = [step[op.outputs[0]] for step in steps]
            if (values[0] == values[1]).all():
                continue
            total += 1
            wrong = [{**steps[0], op.outputs[0]: values[1]}]
            noticed += excesses(program, wrong)[n] > 1
    assert noticed == total > 20


@settings(max_examples=200)
@given(program=programs)
def test_what_is_computed_along_with_a_product_is_the_same(program):
    """Nothing is fused into an operation whose own result is an output."""
    frames = random_frames(program, STEPS)
    alone, all_values = (
        run(native(p).stream(), frames) for p in (program, with_every_output(program))
    )
    for one in program.outputs:
        expected = program.constants.get(one.tensor)
        if expected is None:
            expected = all_values[str(one.tensor)]
        else:
            expected = np.broadcast_to(expected, alone[one.name].shape)
        assert alone[one.name].tobytes() == expected.tobytes()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("code", ["dense", "conv", "conv2d"])
def test_a_product_that_others_use_stays_beside_its_activation(code, isa):
    """What uses it last is an activation, which could be fused into it."""
    build = Builder()
    shapes = {"dense": ((5,), (4, 5)), "conv": ((2, 5), (4, 2, 3))}
    given, weights = {**shapes, "conv2d": ((2, 4, 5), (4, 2, 3, 3))}[code]
    product = build.op(code, build.input("x", given), build.weights(*weights))
    build.output("minus", build.op("neg", product))
    build.output("relu", build.op("relu", product))
    found = native(build.program(), isa).stream().step(np.ones(given, np.float32))
    assert found["relu"].tobytes() == np.maximum(-found["minus"], 0).tobytes()
    assert (found["minus"] > 0).any()  # the control: an activation that matters


@settings(max_examples=200)
@given(program=programs)
def test_every_instruction_set_and_weight_type_gives_the_same_bits(program):
    """The constants are numbers of float16, so both types store the same weights."""
    frames = random_frames(program, STEPS)
    expected = all_it_does(native(program), frames)
    for isa in ISAS:
        for weight_dtype in ("float32", "float16") if has_weights(program) else ("float32",):
            assert all_it_does(native(program, isa, weight_dtype), frames) == expected
    others = random_frames(program, STEPS, 1)
    if any(len(value.shape) > 2 and value.shape[1] > 1 for value in frames.values()):
        assert bits(frames) != bits(others)


# ---- sessions ----


@settings(max_examples=60)
@given(
    program=programs, ends=st.lists(st.integers(0, STEPS), max_size=3), isa=st.sampled_from(ISAS)
)
def test_cut_anywhere_equals_whole(program, ends, isa):
    model, frames = native(program, isa), random_frames(program, STEPS)
    whole = model.stream()
    expected, state = bits(run(whole, frames)), bits(whole.state)
    stream, ends = model.stream(), [0, *sorted(ends), STEPS]
    pieces = [run(stream, cut(frames, a, b)) for a, b in itertools.pairwise(ends)]
    joined = {name: np.concatenate([one[name] for one in pieces]) for name in model.outputs}
    assert bits(joined) == expected
    assert bits(stream.state) == state
    stream.reset()
    assert bits(stream.state) == bits(model.stream().state)
    steps = [named(model, stream.step(cut(frames, t))) for t in range(STEPS)]
    assert (
        bits({name: np.array([one[name] for one in steps]) for name in model.outputs}) == expected
    )
    assert bits(stream.state) == state


@settings(max_examples=60)
@given(program=programs, count=st.integers(1, 7), seed=st.integers(0, 9), isa=st.sampled_from(ISAS))
def test_a_session_of_a_pool_is_a_stream(program, count, seed, isa):
    model = native(program, isa)
    each = [random_frames(program, STEPS, seed + n) for n in range(count)]
    frames = {name: np.array([one[name] for one in each]) for name in model.inputs}
    pool = model.pool(count)
    handles = [pool.open() for _ in range(count)]
    lengths = [(seed + 3 * n) % (STEPS + 1) for n in range(count)]
    streams = [model.stream() for _ in range(count)]
    for own in ([STEPS] * count, lengths):
        made = named(model, pool.run(handles, frames, own))
        for n, (stream, length) in enumerate(zip(streams, own, strict=True)):
            expected = run(stream, cut(each[n], 0, length))
            assert bits({name: value[n, :length] for name, value in made.items()}) == bits(expected)
            assert bits(pool.state(handles[n])) == bits(stream.state)


def looks_up(seed):
    """A random program with an embedding in it, whose indices are an input."""
    for n in range(seed, seed + 1000):
        program = random_program(random.Random(n), 8)
        tokens = {one.tensor for one in program.inputs if one.name == "token"}
        if program.states and any(op.code == "embedding" for op in program.ops) and tokens:
            return program
    raise AssertionError("there is none")


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), at=st.integers(0, STEPS - 1), isa=st.sampled_from(ISAS))
def test_an_index_beyond_a_table_changes_nothing(seed, at, isa):
    program = looks_up(seed)
    model, frames = native(program, isa), random_frames(program, STEPS)
    bad = {name: value.copy() for name, value in frames.items()}
    bad["token"][at] = ROWS
    stream, pool = model.stream(), model.pool(3)
    handles = [pool.open() for _ in range(3)]
    run(stream, frames)
    pool.run(handles, {name: np.array([value] * 3) for name, value in frames.items()})
    before = bits(stream.state)
    with pytest.raises(ValueError, match="not within the"):
        stream.run(bad)
    assert bits(stream.state) == before
    both = {name: np.array([frames[name], frames[name], bad[name]]) for name in frames}
    with pytest.raises(ValueError, match="not within the"):
        pool.run(handles, both)
    assert all(bits(pool.state(handle)) == before for handle in handles)


def test_a_good_index_changes_the_state():
    """Negative control of the above."""
    changed = 0
    for seed in range(0, 500, 50):
        program = looks_up(seed)
        stream = native(program).stream()
        before = bits(stream.state)
        run(stream, random_frames(program, STEPS))
        changed += bits(stream.state) != before
    assert changed > 5


# ---- states, one case of each kind ----


def registers():
    """Three states that become each other, of which two are swapped, and a count."""
    build = Builder()
    x = build.input("x", (2,))
    a, b, c = (build.state(name, (2,), [n, n + 0.5]) for n, name in enumerate("abc"))
    build.keep("a", b)
    build.keep("b", a)
    build.keep("c", build.op("add", c, x))
    for name, number in (("x", x), ("a", a), ("c", c), ("again", c)):
        build.output(name, number)
    build.output("constant", build.constant(np.float32([7, 8, 9])))
    return build.program()


@pytest.mark.parametrize("isa", ISAS)
def test_states_that_become_each_other(isa):
    """What is put out is the state of before the step."""
    stream = native(registers(), isa).stream()
    for t in range(4):
        made = stream.step({"x": np.float32([1, 2])})
        assert made["a"].tolist() == ([0, 0.5] if t % 2 == 0 else [1, 1.5])
        assert made["c"].tolist() == made["again"].tolist() == [2 + t, 2.5 + 2 * t]
        assert made["x"].tolist() == [1, 2]
        assert made["constant"].tolist() == [7, 8, 9]


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("kind", ["float32", "int64", "bool"])
@pytest.mark.parametrize(("shape", "history"), [((2,), 1), ((2,), 5), ((3, 2), 1), ((3, 2), 5)])
def test_history(isa, kind, shape, history):
    """Shorter and longer than what is new."""
    build = Builder()
    build.output("y", build.input("x", shape, kind, history))
    stream = native(build.program(), isa).stream()
    xs = np.random.default_rng(0).integers(0, 2, (6, *shape)).astype(kind)
    known = np.zeros((*shape[:-1], history), kind)
    for x in xs:
        known = np.concatenate([known, x], axis=-1)
        assert (stream.step({"x": x}) == known[..., -history - shape[-1] :]).all()
    assert known.any()


# ---- what means nothing in a program ----


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(
    "attributes", [{"gate_alpha": np.inf, "input_beta": -np.inf}, {"proj_clip": 2.0}]
)
def test_an_lstm_with_parameters_that_it_does_not_use(isa, attributes):
    def program(**others):
        build = Builder()
        build.output("y", lstm_layer(build, build.input("x", (3,)), "a", 5, **others))
        return build.program()

    frames = {"x": np.random.default_rng(0).standard_normal((STEPS, 3)).astype(np.float32)}
    expected = all_it_does(native(program(), isa), frames)
    assert all_it_does(native(program(**attributes), isa), frames) == expected
    assert all_it_does(native(program(clip=0.01), isa), frames) != expected  # the control


def sharing(operations, size=256):
    """A chain of dense layers that all have the same weights: a small file."""
    build = Builder()
    y = build.input("x", (size,))
    weight = build.weights(size, size)
    for _ in range(operations):
        y = build.op("dense", y, weight)
    build.output("y", y)
    return build.program()


def test_thousands_of_operations_that_share_weights_are_refused():
    """Each has a packed copy: what a file can make of memory must have a bound."""
    with pytest.raises(ValueError, match="no memory could hold"):
        native(sharing(1000))
    native(sharing(10))  # negative control
