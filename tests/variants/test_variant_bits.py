"""Every variant has the same bits everywhere, also where an option comes to nothing."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_variants import dtypes

import lstm_fast
from cases import bits, state_bits
from lstm_fast import LSTM, Activation, Cell
from lstm_fast._weights import WEIGHT_DTYPES, LayerWeights, make_weights
from lstm_fast.cell import ACTIVATIONS
from variant_cases import Variant, changed, everything, layer_for, make, variants, with_cell

# ---- the same bits -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def several(exact_implementations):
    if len(exact_implementations) < 2:
        pytest.skip(f"nothing to compare {exact_implementations[0]} with")
    return exact_implementations


def run_bits(lstm, xs, state):
    stream = lstm.stream(state)
    return bits(stream.run(xs)), state_bits(stream)


@given(variant=variants(), dtype=dtypes)
def test_all_give_the_same_bits(several, variant, dtype):
    xs, state = variant.frames(4), variant.state()
    first, *others = (run_bits(make(one, variant.weights, dtype), xs, state) for one in several)
    assert all(other == first for other in others)


SPOILERS = [np.nan, -np.nan, np.inf, -np.inf, 3e38, -3e38, -1e-42, -0.0]


@given(variant=variants(max_layers=2), spoiler=st.sampled_from(SPOILERS), dtype=dtypes)
def test_also_of_what_is_not_a_number(several, variant, spoiler, dtype):
    """In a frame, and in c: through every clip, comparison and normalisation."""
    xs, state = variant.frames(4), variant.state()
    xs[variant.seed % 4, variant.seed % xs.shape[1]] = spoiler
    if variant.seed % 3 == 0:
        state[1][0, variant.seed % state[1].shape[1]] = spoiler
    first, *others = (run_bits(make(one, variant.weights, dtype), xs, state) for one in several)
    assert all(other == first for other in others)


@pytest.mark.parametrize("role", ["gate", "input", "output"])
def test_infinities_go_where_the_equations_send_them(implementation, role):
    """Where the bound is silent: infinite and NaN in the same places as in the reference."""
    for name in ACTIVATIONS:
        if name == "softplus" and implementation.backend == "native":
            continue
        for part, clip in (({"bias_ih"}, 2.0), ({"peephole", "layer_norm"}, None)):
            layer = layer_for((1, 8, None), "normal", 3, Cell(**{role: name}, clip=clip), part)
            lstm = make(implementation, make_weights([layer]))
            right = LSTM.from_weights(lstm.weights, backend="reference")
            for spoiler, in_c in itertools.product((np.inf, -np.inf, np.nan), (False, True)):
                found = []
                for stream in (lstm.stream(), right.stream()):
                    stream.state = np.zeros((1, 8)), np.full((1, 8), spoiler if in_c else 0.5)
                    stream.step([0.5 if in_c else spoiler])
                    found.append(np.concatenate(stream.state))
                ours, theirs = found
                assert np.array_equal(np.isnan(ours), np.isnan(theirs)), (name, spoiler)
                assert np.array_equal(np.isinf(ours), np.isinf(theirs)), (name, spoiler)


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_five_hundred_steps_with_everything(several, dtype):
    weights = everything(sizes=(33, 51, 20), num_layers=3)
    variant, results = Variant(weights, "normal", 3), set()
    for one in several:
        results.add(run_bits(make(one, weights, dtype), variant.frames(500), None))
    assert len(results) == 1


# ---- what changes nothing ------------------------------------------------------------------------

PLAIN = make_weights(
    [layer_for((11 if n == 0 else 19, 19, None), "normal", n, Cell(), {"bias_ih"}) for n in (0, 1)]
)
zeros = np.zeros(3 * 19, np.float32)
NO_CHANGE = {
    "the plain options by name": with_cell(
        PLAIN, gate=Activation("sigmoid"), input=Activation("tanh"), output="tanh"
    ),
    "another epsilon for no normalisation": with_cell(PLAIN, layer_norm_eps=1e-3),
    "clips that nothing reaches": with_cell(PLAIN, clip=3e38, cell_clip=3e38),
    "peepholes of zero": changed(PLAIN, peephole=zeros),
    "scaled_tanh that scales by 1": with_cell(PLAIN, input=Activation("scaled_tanh", 1, 1)),
    "an initial state of zeros": changed(PLAIN, h_0=zeros[:19], c_0=zeros[:19]),
    "one layer of these": changed(PLAIN, index=1, cell=Cell(clip=3e38), peephole=zeros),
}


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
@pytest.mark.parametrize("option", NO_CHANGE)
def test_a_variant_that_is_none_has_the_plain_bits(implementation, option, dtype):
    """The variants' path is the plain one but for what they add."""
    plain = make(implementation, PLAIN, dtype)
    same = make(implementation, NO_CHANGE[option], dtype)
    for regime in ("normal", "saturated", "subnormal", "silent"):
        variant = Variant(PLAIN, regime, 4)
        xs = variant.frames(20)
        for state in (None, variant.state()):
            assert run_bits(same, xs, state) == run_bits(plain, xs, state)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_projection_by_the_identity_has_the_plain_values(implementation, dtype):
    """Not the bits: the chain from +0 makes +0 of a -0."""
    plain = make(implementation, PLAIN, dtype)
    same = make(implementation, changed(PLAIN, weight_hr=np.eye(19, dtype=np.float32)), dtype)
    variant = Variant(PLAIN, "normal", 4)
    ys = [lstm.stream(variant.state()).run(variant.frames(20)) for lstm in (plain, same)]
    np.testing.assert_array_equal(*ys)


@settings(max_examples=20)
@given(variant=variants(max_layers=2), dtype=dtypes, coupled=st.sampled_from(["input", "forget"]))
def test_the_rows_of_a_coupled_gate_are_not_used(implementation, variant, dtype, coupled):
    weights = with_cell(variant.weights, coupled=coupled)
    layers = []
    for layer in weights.layers:
        gate = {"input": 1, "forget": 0}[coupled]
        other = {}
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "layer_norm", "peephole"):
            if (value := getattr(layer, kind)) is not None:
                parts = np.split(value.copy(), 3 if kind == "peephole" else 4)
                parts[gate] = -7 * parts[gate] - np.float32(3)
                other[kind] = np.concatenate(parts)
        layers.append(replace(layer, **other))
    xs, state = variant.frames(3), variant.state()
    there, elsewhere = (make(implementation, w, dtype) for w in (weights, make_weights(layers)))
    assert run_bits(there, xs, state) == run_bits(elsewhere, xs, state)


def test_the_rows_of_the_other_gate_are_used(implementation):
    """Negative control of the above."""
    variant = Variant(everything(coupled="input"), "normal", 2)
    weight = variant.weights.layers[0].weight_ih.copy()
    weight[:19] *= 2
    other = changed(variant.weights, index=0, weight_ih=weight)
    xs, state = variant.frames(3), variant.state()
    there, elsewhere = (make(implementation, w) for w in (variant.weights, other))
    assert run_bits(there, xs, state) != run_bits(elsewhere, xs, state)


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_a_plain_layer_below_a_variant_stays_plain(implementation, dtype):
    """Its state has the bits of a stack that is plain all the way."""
    plain = make(implementation, PLAIN, dtype)
    above = changed(PLAIN, index=1, cell=Cell(gate="hard_sigmoid", clip=0.3, coupled="input"))
    variant = Variant(PLAIN, "normal", 6)
    streams = [lstm.stream(variant.state()) for lstm in (plain, make(implementation, above, dtype))]
    for stream in streams:
        stream.run(variant.frames(10))
    one, other = (stream.state for stream in streams)
    assert bits(one.h[0], one.c[0]) == bits(other.h[0], other.c[0])
    assert bits(one.h[1]) != bits(other.h[1])


# ---- what is where -------------------------------------------------------------------------------


def test_softplus_is_named_where_it_cannot_be():
    weights = everything(gate="softplus", clip=None)
    if lstm_fast.available()[0].startswith("native"):
        with pytest.raises(ValueError, match="native' backend has no softplus"):
            LSTM.from_weights(weights, backend="native")
    lstm = LSTM.from_weights(weights)
    assert lstm.backend in ("numba", "reference")
    assert lstm.weights.layers[0].cell.gate == Activation("softplus")


@given(variant=variants(directions=["forward", "reverse", "bidirectional"]))
def test_the_weights_come_back_to_the_bit(variant):
    """Through state_dict, where all layers have one cell, and through weights, where not."""
    weights = with_cell(variant.weights, **{"clip": 2.0})
    cell = weights.layers[0].cell
    weights = make_weights([replace(one, cell=cell) for one in weights.layers], weights.direction)
    if len({layer.bias_ih is None for layer in weights.layers}) > 1:
        weights = changed(weights, bias_ih=None, bias_hh=None)
    first = LSTM.from_weights(weights, backend="reference")
    again = LSTM.from_state_dict(first.state_dict(), cell=cell, backend="reference")
    other = LSTM.from_weights(again.weights, backend="reference")
    for lstm in (again, other):
        assert lstm.direction == weights.direction
        assert lstm.fingerprint == first.fingerprint
        for mine, theirs in zip(lstm.weights.layers, weights.layers, strict=True):
            assert same_layer(mine, theirs)


def same_layer(one: LayerWeights, other: LayerWeights) -> bool:
    mine, theirs = one.parameters(), other.parameters()
    return (
        one.cell == other.cell
        and mine.keys() == theirs.keys()
        and all(bits(mine[kind]) == bits(theirs[kind]) for kind in mine)
    )
