"""Every variant has the bits that the contract's words give, computed one operation at a time."""

from __future__ import annotations

import ctypes
import ctypes.util
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import variant_oracle as oracle
from hypothesis import given
from hypothesis import strategies as st

from cases import bits, seeds
from lstm_fast import LSTM, Activation, Cell
from lstm_fast._weights import WEIGHT_DTYPES, make_weights
from lstm_fast.cell import ACTIVATIONS
from variant_cases import NATIVE, changed, everything, layer_for, make, variants

dtypes = st.sampled_from(WEIGHT_DTYPES)
SPOILERS = [np.nan, -np.nan, np.inf, -np.inf, 3e38, -1e-42, -0.0]


def differing(implementation, variant, dtype, xs, state):
    """What of the implementation's results has other bits than the oracle's."""
    stream = make(implementation, variant.weights, dtype).stream(state)
    ys, (h, c) = oracle.run(variant.weights, dtype, xs, state)
    pairs = {"ys": (stream.run(xs), ys), "h": (stream.state.h, h), "c": (stream.state.c, c)}
    return [name for name, (ours, right) in pairs.items() if bits(ours) != bits(right)]


@given(variant=variants(), dtype=dtypes, from_state=st.booleans())
def test_bits(exact_implementations, variant, dtype, from_state):
    xs, state = variant.frames(4), variant.state() if from_state else None
    for one in exact_implementations:
        assert not differing(one, variant, dtype, xs, state), one


@given(variant=variants(), dtype=dtypes, spoiler=st.sampled_from(SPOILERS), at=seeds)
def test_bits_of_what_is_not_a_number(exact_implementations, variant, dtype, spoiler, at):
    xs, state = variant.frames(4), variant.state()
    xs[at % 3, at % xs.shape[1]] = spoiler
    state[at % 2][-1, 0] = spoiler if at % 5 == 0 else 0.5
    for one in exact_implementations:
        assert not differing(one, variant, dtype, xs, state), one


def every_activation(sizes, weight_seed):
    for name in NATIVE:
        parameters = dict.fromkeys(ACTIVATIONS[name], 0.75)
        for role in ("gate", "input", "output"):
            yield everything(sizes, 1, weight_seed, **{role: Activation(name, **parameters)})


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_every_activation_in_every_role(exact_implementations, dtype):
    xs = 3 * np.random.default_rng(1).standard_normal((3, 5)).astype(np.float32)
    for weights in every_activation((5, 18, 4), 2):
        right = oracle.run(weights, dtype, xs)[0]
        for one in exact_implementations:
            ys = make(one, weights, dtype).stream().run(xs)
            assert bits(ys) == bits(right), (one, weights.layers[0].cell)


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_each_layer_follows_its_own_rule(exact_implementations, dtype):
    """Plain layers, bounded ones and others above each other: int8 scales each h by its own."""
    kinds = {"plain": Cell(), "bounded": Cell(coupled="input"), "free": Cell(output="relu")}
    xs = np.random.default_rng(1).standard_normal((3, 6)).astype(np.float32)
    for names in permutations([*kinds] * 2, 3):
        sizes = ((6, 9, None), (9, 9, None), (9, 9, None))
        layers = [
            layer_for(size, "normal", [7, n], kinds[name], {"bias_ih"})
            for n, (size, name) in enumerate(zip(sizes, names, strict=True))
        ]
        weights = make_weights(layers)
        right = oracle.run(weights, dtype, xs)[0]
        for one in exact_implementations:
            assert bits(make(one, weights, dtype).stream().run(xs)) == bits(right), (one, names)


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("cell", [Cell(), Cell(coupled="input"), Cell(output="relu")], ids=str)
def test_a_layer_cut_off_from_those_below(exact_implementations, dtype, cell):
    """As the parts of a bidirectional stack are: int8 has the scale that the whole stack has."""
    layers = [layer_for((9, 9, None), "normal", [7, n], cell, {"bias_ih"}) for n in range(3)]
    whole = make_weights(layers)
    parts = whole.parts()
    assert [part.x_is_bounded for part in parts] == [False] + 2 * [layers[0].is_bounded]
    xs = np.random.default_rng(1).standard_normal((4, 9)).astype(np.float32)
    right = oracle.run(whole, dtype, xs)[0]
    for one in exact_implementations:
        ys = xs
        for part in parts:
            right_part = oracle.run(part, dtype, ys)[0]
            options = {"backend": one.backend, "isa": one.isa, "weight_dtype": dtype}
            ys = LSTM._build(part, **options, keep=None).stream().run(ys)
            assert bits(ys) == bits(right_part), one
        assert bits(ys) == bits(right), one


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_the_plain_cell(exact_implementations, dtype):
    """The oracle is right about what has long been the same everywhere."""
    weights = LSTM.random(19, 23, 3, seed=4, backend="reference").weights
    xs = np.random.default_rng(2).standard_normal((6, 19)).astype(np.float32)
    right = oracle.run(weights, dtype, xs)[0]
    for one in exact_implementations:
        assert bits(make(one, weights, dtype).stream().run(xs)) == bits(right)


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_prepared_and_cut_anywhere(exact_implementations, dtype):
    weights = everything(num_layers=3)
    xs = np.random.default_rng(3).standard_normal((6, 11)).astype(np.float32)
    right = oracle.run(weights, dtype, xs)[0]
    for one in exact_implementations:
        stream = make(one, weights, dtype).stream()
        ys = [stream.step(xs[0])]
        for x in xs[1:4]:
            stream.prepare()
            stream.prepare()
            ys.append(stream.step(x))
        stream.prepare()
        assert bits(*ys, stream.run(xs[4:])) == bits(right)


# Negative controls: the oracle's bits change with each thing that it is there for.

CHANGES = {
    "peephole": lambda layer: {"peephole": np.roll(layer.peephole, 1)},
    "layer_norm": lambda layer: {"layer_norm": np.roll(layer.layer_norm, 1)},
    "bias_hr": lambda layer: {"bias_hr": np.roll(layer.bias_hr, 1)},
    "weight_hr": lambda layer: {"weight_hr": layer.weight_hr[::-1]},
    "h_0": lambda layer: {"h_0": None},
    "c_0": lambda layer: {"c_0": None},
    "coupled": lambda layer: {"cell": replace(layer.cell, coupled="forget")},
    "clip": lambda layer: {"cell": replace(layer.cell, clip=0.1)},
    "cell_clip": lambda layer: {"cell": replace(layer.cell, cell_clip=0.1)},
    "proj_clip": lambda layer: {"cell": replace(layer.cell, proj_clip=0.1)},
    "gate": lambda layer: {"cell": replace(layer.cell, gate="sigmoid")},
    "input": lambda layer: {"cell": replace(layer.cell, input="tanh")},
    "output": lambda layer: {"cell": replace(layer.cell, output="tanh")},
    "epsilon": lambda layer: {"cell": replace(layer.cell, layer_norm_eps=0.1)},
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_part_shows_in_the_bits(name):
    weights = everything(num_layers=1)
    xs = np.random.default_rng(3).standard_normal((3, 11)).astype(np.float32)
    other = changed(weights, **CHANGES[name](weights.layers[0]))
    assert bits(oracle.run(weights, "float32", xs)[0]) != bits(oracle.run(other, "float32", xs)[0])


def test_one_rounding_more_shows_in_the_bits(monkeypatch, exact_implementations):
    """Were a fused multiply-add two operations, the comparison would see it."""
    weights = everything(num_layers=1)
    xs = np.random.default_rng(3).standard_normal((3, 11)).astype(np.float32)
    with np.errstate(all="ignore"):
        monkeypatch.setattr(oracle, "fma", lambda a, b, c: np.float32(a * b) + np.float32(c))
        wrong = oracle.run(weights, "float32", xs)[0]
    ys = make(exact_implementations[0], weights).stream().run(xs)
    assert bits(ys) != bits(wrong)


def test_one_order_more_shows_in_the_bits(exact_implementations):
    """A normalisation that adds from the last unit to the first has other bits."""
    cell = Cell(layer_norm_eps=1e-5)
    layer = replace(everything((5, 40, None), 1).layers[0], cell=cell)
    parts = {k: v for k, v in layer.parameters().items() if k not in ("h_0", "c_0", "peephole")}
    backwards = {k: flipped(v) for k, v in parts.items()}
    backwards["weight_hh"] = backwards["weight_hh"][:, ::-1]
    there = make_weights([replace(layer, **dict.fromkeys(("h_0", "c_0", "peephole")))])
    back = changed(there, **backwards)
    xs = np.random.default_rng(3).standard_normal((1, 5)).astype(np.float32)
    ys, reversed_ys = (
        make(exact_implementations[0], weights).stream().run(xs)[0] for weights in (there, back)
    )
    assert bits(ys) != bits(reversed_ys[::-1])
    np.testing.assert_allclose(ys, reversed_ys[::-1], atol=1e-4)


def flipped(rows):
    """The units of every gate the other way round."""
    return rows.reshape(4, -1, *rows.shape[1:])[:, ::-1].reshape(rows.shape)


def test_fma_is_that_of_the_c_library():
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    library.fmaf.restype, library.fmaf.argtypes = ctypes.c_float, [ctypes.c_float] * 3
    rng = np.random.default_rng(0)
    a, b, c = rng.integers(0, 2**32, (3, 50_000), np.uint32).view(np.float32)
    near, odd = rng.standard_normal((2, 20_000)).astype(np.float32)
    cancelling = -(near * odd) * np.float32(1 + 2.0**-23)  # so that few digits are left
    small = np.float32(2.0**-70)  # and products around the subnormals
    a, b, c = (
        np.concatenate(parts)
        for parts in ((a, near, near * small), (b, odd, odd * small), (c, cancelling, c[:20_000]))
    )
    with np.errstate(all="ignore"):
        ours = oracle.fma(a, b, c)
        split = np.float32(a * b) + c
    theirs = np.array([library.fmaf(*map(float, abc)) for abc in zip(a, b, c, strict=True)], "f4")
    numbers = ~np.isnan(theirs)
    assert (np.isnan(ours) == ~numbers).all()
    assert bits(ours[numbers]) == bits(theirs[numbers])
    assert bits(split[numbers]) != bits(theirs[numbers])  # two roundings are not one
