"""Whole models on the Numba backend against the float64 reference, within derived bounds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_operation_cases import CASES, IDS, frames_of, program_of
from operation_bounds import excesses, run_whole
from program_cases import PROGRAMS, Builder, cut, frames, named

from lstm_fast import Model, load_model
from lstm_fast._program_checks import checked
from lstm_fast.operations import OPERATIONS
from tolerances import SILERO_PROBABILITY, SILERO_STATE

pytest.importorskip("numba")
BACKENDS = ["numba"]
backends = pytest.mark.parametrize("backend", BACKENDS)
names = pytest.mark.parametrize("name", PROGRAMS)
STEPS = 9


# ---- operations ----


def test_every_operation_has_a_case():
    assert {code for code, *_ in CASES} == set(OPERATIONS)


@backends
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_an_operation_is_within_its_bound(case, backend):
    program = program_of(case)
    steps = run_whole(program, frames_of(case, 4), backend)
    assert excesses(program, steps) <= 1
    for number in program.ops[0].outputs:
        tensor = program.tensors[number]
        assert (steps[0][number].dtype, steps[0][number].shape) == (tensor.kind, tensor.shape)


@backends
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_a_small_error_of_an_operation_shows(case, backend):
    """Negative control of the above: of 1 in 1000, or of one bool or integer."""
    program = program_of(case)
    (step,) = run_whole(program, frames_of(case, 1), backend)
    for number in program.ops[0].outputs:
        wrong = step[number].copy()
        at = np.unravel_index(np.abs(wrong).argmax(), wrong.shape)
        change = {"b": np.logical_not, "i": lambda v: v + 1, "f": lambda v: v * 1.001}
        wrong[at] = change[wrong.dtype.kind](wrong[at])
        assert excesses(program, [{**step, number: wrong}]) > 1


@backends
@names
def test_each_operation_of_a_model_is_within_its_bound(name, backend):
    program = checked(PROGRAMS[name]())
    steps = run_whole(program, frames(name, STEPS), backend)
    assert (excesses(program, steps) <= 1).all()
    steps[-1] = {**steps[-1], program.ops[-1].outputs[0]: steps[0][program.ops[-1].outputs[0]]}
    assert excesses(program, steps)[-1] > 1  # the control: of another step it is not


# ---- values at the edges ----

EDGES = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 2.0**-126, 1e-40, -1e-40, 3e38, -3e38], "f4")
OF_FLOATS = [code for code, one in OPERATIONS.items() if 10 <= one.number <= 47]


def edge_values(code, backend):
    """What one operation makes of the edges, or of all pairs of them."""
    build = Builder()
    names = OPERATIONS[code].inputs
    numbers = [build.input(name, (len(EDGES) ** len(names),)) for name in names]
    build.output("y", build.op(code, *numbers))
    grid = np.meshgrid(*([EDGES] * len(names)))
    given = {name: one.ravel() for name, one in zip(names, grid, strict=True)}
    return given, Model.from_program(build.program(), backend=backend).stream().step(given)


@backends
@pytest.mark.parametrize("code", OF_FLOATS)
def test_edges_are_those_of_the_reference(code, backend):
    given, found = edge_values(code, backend)
    _, expected = edge_values(code, "reference")
    open_ = np.zeros(len(found), bool)
    if code in ("gelu", "hard_swish"):  # at -infinity both are 0 times infinity, or its limit
        open_ = given["x"] == -np.inf
    if code in ("log", "sqrt", "pow"):  # a subnormal is 0, and NaN may have been -0
        open_ |= np.isnan(expected) & (found == 0)
    finite = np.isfinite(expected) & ~open_
    assert np.array_equal(found[~finite & ~open_], expected[~finite & ~open_], equal_nan=True)
    np.testing.assert_allclose(found[finite], expected[finite], rtol=2.0**-20, atol=2.0**-126)
    assert np.isfinite(found).any()


@backends
@pytest.mark.parametrize("code", OF_FLOATS)
def test_what_is_computed_is_canonical(code, backend):
    words = edge_values(code, backend)[1].view(np.uint32)
    sizes = words & 0x7FFFFFFF
    assert ((sizes == 0) | (sizes >= 0x00800000)).all()
    assert (words[sizes > 0x7F800000] == 0x7FC00000).all()


def test_the_edges_can_be_told_from_canonical_ones():
    """Negative control of the above."""
    sizes = EDGES.view(np.uint32) & 0x7FFFFFFF
    assert not ((sizes == 0) | (sizes >= 0x00800000)).all()


@backends
def test_no_padding_is_multiplied_with_what_is_not_there(backend):
    """A tap in padding is left out, whatever its weight; the sign of nothing is +."""
    build = Builder()
    x = build.input("x", (1, 2))
    build.output("y", build.op("conv", x, build.constant(-np.ones((1, 1, 2))), pad_begin=1))
    plane = build.op("reshape", x, shape=(1, 2, 1))
    minus = build.constant(-np.ones((1, 1, 2, 2)))
    both = build.op("conv2d", plane, minus, pad_begin=(1, 1), pad_end=(0, 1))
    build.output("z", both)
    made = Model.from_program(build.program(), backend=backend).stream().step(np.zeros((1, 2)))
    assert made["y"].tolist() == [[0, 0]]
    assert made["z"].tolist() == [[[0, 0], [0, 0]]]
    assert not any(np.signbit(one).any() for one in made.values())


# ---- weights of other types ----


PACKED = [case for case in CASES if case[0] in ("dense", "conv", "conv2d", "gru")]


def one_step(case, weight_dtype, program=None):
    options = {"backend": "numba", "weight_dtype": weight_dtype}
    model = Model.from_program(program or program_of(case), **options)
    return named(model, model.stream().step(cut(frames_of(case, 1), 0)))["y0"]


@pytest.mark.parametrize("case", PACKED, ids=str)
def test_float16_weights_are_rounded_float32_ones(case):
    program = program_of(case)
    weights = [2, 3] if case[0] == "gru" else [1]
    rounded = dict(program.constants)
    for number in (program.ops[0].inputs[n] for n in weights):
        rounded[number] = rounded[number].astype(np.float16).astype(np.float32)
    found = one_step(case, "float16")
    assert (found == one_step(case, "float32", replace(program, constants=rounded))).all()
    assert (found != one_step(case, "float32")).any()  # the control


# ---- Silero ----


@backends
def test_silero_is_near_the_reference(backend):
    """Within what users of Silero were promised; each operation is within its derived bound."""
    pytest.importorskip("onnx")
    from program_graphs import silero

    options = {"constants": {"sr": np.array(16000)}, "shapes": {"input": (1, 576)}}
    path = silero("silero_vad_16k_op15")
    models = [
        load_model(path, history={"input": 64}, backend=name, **options)
        for name in (backend, "reference")
    ]
    rng = np.random.default_rng(5)
    sound = (0.2 * rng.uniform(0, 1, (30, 1)) * rng.standard_normal((30, 512))).astype(np.float32)
    streams = [model.stream() for model in models]
    ours, theirs = (stream.run(sound) for stream in streams)
    assert np.abs(ours - theirs).max() <= SILERO_PROBABILITY
    for key, value in streams[0].state.items():
        assert np.abs(value - streams[1].state[key]).max() <= SILERO_STATE
    assert np.abs(ours[1:] - theirs[:-1]).max() > SILERO_PROBABILITY  # the control
    program = models[1].program
    assert (excesses(program, run_whole(program, {"input": sound[:2]}, backend)) <= 1).all()
