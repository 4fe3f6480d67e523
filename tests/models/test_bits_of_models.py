"""Whole models give the same bits on every instruction set of this CPU and on Numba.

What decides is csrc/lstm_fast.h. Values are of all magnitudes, with zeros, subnormals, what
overflows, and what is not finite; constants and weights likewise, as far as they may.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_operation_cases import CASES, CODES_OF_ONE, IDS, program_of
from program_cases import PROGRAMS, Builder, named

from lstm_fast import Model, available
from lstm_fast._program_checks import checked
from lstm_fast.operations import OPERATIONS

PLAINEST = "native:scalar"
OTHERS = [name for name in available() if name not in (PLAINEST, "reference")]
pytestmark = pytest.mark.skipif(
    PLAINEST not in available(), reason="no native core here, whose bits are the contract's"
)
others = pytest.mark.parametrize("other", OTHERS)

SMALL = np.array([0.0, -0.0, 2.0**-126, -(2.0**-126), 1e-40, -1e-40, 1e-6, -1e-6], np.float32)
HUGE = np.array([3e38, -3e38, 2.0**64, -(2.0**64)], np.float32)
NANS = np.array([0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFFFFFFF], np.uint32).view(np.float32)
NOT_FINITE = np.concatenate([NANS, np.array([np.inf, -np.inf], np.float32)])
EDGES = np.concatenate([SMALL, HUGE, NOT_FINITE])
FIRST_NOT_FINITE = 5  # step; what is not finite spoils all later ones
STEPS = 7


# ---- values ----


def mixed(rng, values, share, others):
    """Values of which a share is chosen from others."""
    return np.where(rng.random(values.shape) < share, rng.choice(others, values.shape), values)


def of_all_magnitudes(rng, shape):
    sizes = np.exp2(rng.uniform(-149, 128, shape)).astype(np.float32)
    return np.copysign(sizes, rng.standard_normal(shape)).astype(np.float32)


def floats(rng, shape):
    """[STEPS, *shape], each step with other kinds of values."""
    normal = rng.standard_normal((STEPS, *shape)).astype(np.float32)
    wide = of_all_magnitudes(rng, shape)
    finite = np.concatenate([SMALL, HUGE])
    steps = [
        normal[0],
        mixed(rng, normal[1], 0.25, SMALL),
        wide,
        mixed(rng, normal[3], 0.5, wide.ravel()),
        mixed(rng, normal[4], 0.75, finite),
        mixed(rng, normal[5], 0.1, NOT_FINITE),
        mixed(rng, normal[6], 0.9, EDGES),
    ]
    return np.array(steps, np.float32)


def integers(rng, shape):
    whole = rng.integers(-(2**63), 2**63, (STEPS, *shape))
    return whole >> rng.integers(0, 63, whole.shape)


def rows_of(program, tensor):
    """How many rows the embedding has that takes a tensor as its indices; 0: there is none."""
    tables = [op.inputs[0] for op in program.ops if op.code == "embedding"]
    indexed = [op.inputs[1] for op in program.ops if op.code == "embedding"]
    return program.tensors[tables[indexed.index(tensor)]].shape[0] if tensor in indexed else 0


def frames(program, seed):
    """Values for all inputs of a program."""
    rng, result = np.random.default_rng(seed), {}
    for one in program.inputs:
        kind, rows = program.tensors[one.tensor].kind, rows_of(program, one.tensor)
        if kind == "float32":
            result[one.name] = floats(rng, one.shape)
        elif kind == "bool":
            result[one.name] = rng.random((STEPS, *one.shape)) < 0.5
        elif rows:
            result[one.name] = rng.integers(-rows, rows, (STEPS, *one.shape))
        else:
            result[one.name] = integers(rng, one.shape)
    return result


def with_edges(program, seed):
    """The program with constants that have zeros, subnormals and large values in them."""
    rng = np.random.default_rng(seed)
    edges = np.append(SMALL, np.array([3e4, -3e4], np.float32))  # which float16 has, too
    changed = {
        number: mixed(rng, value, 0.25, edges) if value.dtype.kind == "f" else value
        for number, value in program.constants.items()
    }
    return checked(replace(program, constants=changed))


def bits(program, implementation, seed=0, weight_dtype="float32", given=None):
    """The bits of all outputs of a run of a program over `given` or `frames`, and of its states."""
    backend, _, isa = implementation.partition(":")
    options = {"backend": backend, "isa": isa or None, "weight_dtype": weight_dtype}
    stream = Model.from_program(program, **options).stream()
    made = {**named(stream.model, stream.run(given or frames(program, seed))), **stream.state}
    return {key: (value.shape, value.dtype, value.tobytes()) for key, value in made.items()}


def test_values_are_of_every_kind():
    values = floats(np.random.default_rng(0), (3, 37))
    for edge in EDGES:
        assert (values.view(np.uint32) == edge.view(np.uint32)).any()
    assert np.isfinite(values[:FIRST_NOT_FINITE]).all()


# ---- operations ----


@others
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_an_operation_has_the_same_bits(case, other):
    for seed in range(2):
        program = with_edges(program_of(case, seed), seed)
        assert bits(program, other, seed) == bits(program, PLAINEST, seed)


WEIGHTED = [case for case in CASES if case[0] in ("dense", "conv", "conv2d", "gru", "lstm")]
TYPES = [("float16", case) for case in WEIGHTED]
TYPES += [("int8", case) for case in WEIGHTED if case[0] == "lstm"]


@others
@pytest.mark.parametrize(("weight_dtype", "case"), TYPES, ids=str)
def test_weights_of_other_types_have_the_same_bits(weight_dtype, case, other):
    program = with_edges(program_of(case), 0)
    found = bits(program, other, weight_dtype=weight_dtype)
    assert found == bits(program, PLAINEST, weight_dtype=weight_dtype)
    assert found != bits(program, PLAINEST)  # the control


OF_PRODUCTS = ["dense", "conv", "conv2d", "gru"]


@pytest.mark.parametrize("code", [*OF_PRODUCTS, "tanh", "pow", "softmax", "reduce"])
def test_other_arithmetic_has_other_bits(code):
    """Negative control: float64 within a step is noticed."""
    program = with_edges(program_of(next(case for case in CASES if case[0] == code)), 0)
    assert bits(program, "reference") != bits(program, PLAINEST)


# ---- programs ----


def fused():
    """Activations behind products, which the core computes together."""
    build = Builder()
    x, image = build.input("x", (19,)), build.input("image", (4, 23))
    plane = build.op("reshape", build.op("concat", image, image, axis=1), shape=(4, 2, 23))
    for code in CODES_OF_ONE:
        y = build.op("dense", x, build.weights(21, 19), build.weights(21))
        build.output(f"dense {code}", build.op(code, y))
        y = build.op("conv", image, build.weights(6, 2 if code < "h" else 4, 3), **grouped(code))
        build.output(f"conv {code}", build.op(code, y))
        y = build.op("conv2d", plane, build.weights(6, 2 if code < "h" else 4, 3, 2), **two(code))
        build.output(f"conv2d {code}", build.op(code, y))
    return build.program()


def grouped(code):
    """Attributes of a convolution: of two groups for some activations."""
    return {"groups": 1} if code >= "h" else {"groups": 2, "pad_begin": 1}


def two(code):
    """The same along two axes."""
    return {"groups": 2 - (code >= "h"), "pad_begin": (1, 1), "pad_end": (0, 1 + (code < "e"))}


def views():
    """What stands in another order, or apart, or is repeated, without having been copied."""
    build = Builder()
    x, row = build.input("x", (5, 37)), build.input("row", (37, 1))
    turned = build.op("transpose", x, order=(1, 0))
    apart = build.op("slice", turned, starts=(36, 1), ends=(-1, 5), steps=(-3, 2))
    wide = build.op("expand", row, shape=(37, 5))
    build.output("unary", build.op("exp", apart))
    build.output("binary", build.op("div", turned, wide))
    build.output("along", build.op("softmax", apart, axis=0))
    build.output("norm", build.op("layer_norm", turned))
    build.output("total", build.op("reduce", turned, kind="sum", axes=(0, 1), keepdims=False))
    build.output("l2", build.op("reduce", apart, kind="l2", axes=(1,)))
    build.output("product", build.op("dense", turned, build.weights(17, 5)))
    build.output("conv", build.op("conv", turned, build.weights(4, 37, 2)))
    plane = build.op("reshape", x, shape=(5, 1, 37))
    aside = build.op("transpose", plane, order=(2, 0, 1))
    build.output("conv2d", build.op("conv2d", aside, build.weights(3, 37, 2, 1)))
    deep = build.op("conv2d", aside, build.weights(37, 1, 2, 1), groups=37, pad_end=(1, 0))
    build.output("deep", build.op("conv2d", deep, build.weights(5, 37, 1, 1)))
    return build.program()


EXPONENTS = (0.0, -0.0, 1.0, 2.0, 3.0, 0.5, -1.0, -0.5, -2.0, 2.5, -3.0, 5.0, np.inf, np.nan)


def powers():
    """By one exponent throughout, which the core looks at first; and results about the largest."""
    build = Builder()
    x, part = build.input("x", (37,)), build.input("part", (37,), "bool")
    for n, exponent in enumerate(EXPONENTS):
        build.output(str(n), build.op("pow", x, build.constant(np.float32(exponent))))
    base = np.exp2(build.rng.uniform(-8, 8, 37)).astype(np.float32)
    edge = build.rng.choice([-149.5, -126.0, 127.5, 128.0, 128.25, 129.0, 150.0], 37)
    near = build.constant((edge + 0.1 * build.rng.standard_normal(37)) / np.log2(base))
    chosen = build.op("where", part, build.constant(base), x)
    build.output("near", build.op("pow", chosen, near))
    return build.program()


def constants():
    """Constants that are not weights, and what is padded with: operations see them canonical."""
    build = Builder()
    x, at = build.input("x", (len(EDGES),)), build.input("at", (3,), "int64")
    table, zero = build.constant(EDGES), build.constant(np.float32(0))
    build.output("constant", table)
    build.output("compared", build.op("greater", table, zero))
    build.output("cast", build.op("cast", build.op("embedding", table, at), kind="bool"))
    build.output("divided", build.op("div", x, table))
    small = build.constant(np.resize(SMALL, len(EDGES)))
    build.output("scaled", build.op("layer_norm", x, table, small))
    padded = build.op("pad", x, before=(1,), after=(2,), value=-(2.0**-127))
    build.output("padded", build.op("cast", padded, kind="bool"))
    build.output("beneath padding", build.op("reciprocal", padded))
    return build.program()


def quiet():
    """GRUs whose sums are subnormal, so that they are zeros before they are added."""
    build = Builder()
    x, h = build.input("x", (3,)), build.input("h", (1,))
    nothing = build.constant(np.zeros((3, 3))), build.constant(np.zeros((3, 1)))
    bias = build.constant(np.array([40.0, -100.0, 0.75 * 2.0**-126]))  # r is 1, z is 0
    for linear in (True, False):
        y, _ = build.op("gru", x, h, *nothing, bias, bias, linear_before_reset=linear)
        build.output(f"linear {linear}", y)
    return build.program()


MORE = {"fused": fused, "views": views, "powers": powers, "constants": constants, "quiet": quiet}


@others
@pytest.mark.parametrize("name", [*PROGRAMS, *MORE])
def test_a_program_has_the_same_bits(name, other):
    for seed in range(2):
        program = checked((PROGRAMS | MORE)[name]())
        program = with_edges(program, seed) if name in PROGRAMS else program
        assert bits(program, other, seed) == bits(program, PLAINEST, seed)


def test_a_constant_that_is_not_canonical_would_show(monkeypatch):
    """Negative control: for Numba's constants, and for what is padded with."""
    pytest.importorskip("numba")
    from lstm_fast import reference_operations
    from lstm_fast._backends import _numba_model, _numba_operations

    def wrong():
        found, expected = (bits(checked(constants()), name) for name in ("numba", PLAINEST))
        return {key for key in found if found[key] != expected[key]}

    assert not wrong()
    with monkeypatch.context() as patch:
        patch.setattr(_numba_model, "owned", np.copy)
        assert wrong() == {"compared", "cast", "divided", "scaled"}
    pad = reference_operations.FUNCTIONS["pad"]
    monkeypatch.setitem(_numba_operations.FUNCTIONS, "pad", pad)
    assert wrong() == {"padded", "beneath padding"}


# ---- all pairs of values at the edges ----

OF_FLOATS = [code for code, one in OPERATIONS.items() if 10 <= one.number <= 51]


@others
@pytest.mark.parametrize("code", OF_FLOATS)
def test_edges_have_the_same_bits(code, other):
    build, names = Builder(), OPERATIONS[code].inputs
    edges = np.append(EDGES, np.float32([1, -1, 0.5, -0.5, 2, -2, 3, -3, 7, -8.5, 100]))
    grid = np.meshgrid(*([edges] * len(names)))
    given = {name: one.reshape(1, -1) for name, one in zip(names, grid, strict=True)}
    numbers = [build.input(name, one.shape[1:]) for name, one in given.items()]
    build.output("y", build.op(code, *numbers))
    program = checked(build.program())
    assert bits(program, other, given=given) == bits(program, PLAINEST, given=given)
