"""Every implementation computes every variant: within a bound of float64, to the same bits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import bits
from lstm_fast import Activation, Cell, reference
from lstm_fast._arrays import canonical
from lstm_fast._weights import WEIGHT_DTYPES, make_weights
from lstm_fast.cell import ACTIVATIONS
from variant_cases import Variant, changed, everything, layer_for, make, variants, with_cell
from variant_tolerances import is_bounded, step_excess, stored, variant_int8_step, variant_step

dtypes = st.sampled_from(WEIGHT_DTYPES)
SIZES = (11, 19, 7)


def excess_per_step(lstm, weights, xs, state):
    """Largest error over its bound, each step and layer judged from the state it really had."""
    worst, stream = 0.0, lstm.stream(state)
    layers = [stored(layer, lstm.weight_dtype) for layer in weights.layers]
    for x in xs:
        before = stream.state
        stream.step(x)
        after = stream.state
        below, x_is_bounded = x, False
        for n, layer in enumerate(layers):
            if lstm.weight_dtype == "int8":
                known = {"x_is_bounded": x_is_bounded}
                exact = variant_int8_step(below, before.h[n], before.c[n], layer, **known)
            else:
                exact = variant_step(below, before.h[n], before.c[n], layer)
            worst = max(worst, step_excess(exact, after.h[n], after.c[n]))
            below, x_is_bounded = after.h[n], is_bounded(layer)
    return worst


def excess_along(lstm, weights, xs, state):
    """The same along the whole sequence: float64 runs on its own state, the bound adds up."""
    worst, stream = 0.0, lstm.stream(state)
    layers = [stored(layer, lstm.weight_dtype) for layer in weights.layers]
    (h, c), errors = (list(part) for part in state), [(0.0, 0.0)] * len(layers)
    for x in xs:
        stream.step(x)
        after = stream.state
        below, below_error = x, 0.0
        for n, layer in enumerate(layers):
            exact = variant_step(below, h[n], c[n], layer, below_error, *errors[n])
            h[n], c[n], *errors[n : n + 1] = exact.h, exact.c, (exact.h_error, exact.c_error)
            below, below_error = exact.h, exact.h_error
            worst = max(worst, step_excess(exact, after.h[n], after.c[n]))
    return worst


# ---- agreement with float64 ----------------------------------------------------------------------


@settings(max_examples=40)
@given(variant=variants(), dtype=dtypes)
def test_each_step_is_within_the_bound(implementation, variant, dtype):
    lstm = make(implementation, variant.weights, dtype)
    xs, state = variant.frames(3), variant.state()
    assert excess_per_step(lstm, variant.weights, xs, state) <= 1


@settings(max_examples=15)
@given(variant=variants(max_layers=2), dtype=st.sampled_from(["float32", "float16"]))
def test_whole_sequences_are_within_the_bound(implementation, variant, dtype):
    lstm = make(implementation, variant.weights, dtype)
    assert excess_along(lstm, variant.weights, variant.frames(8), variant.state()) <= 1


@settings(max_examples=30)
@given(variant=variants([*ACTIVATIONS, *["softplus"] * 10], max_layers=2), dtype=dtypes)
def test_softplus_is_within_the_bound(implementation, variant, dtype):
    if implementation.backend == "native":
        pytest.skip("the native core has no softplus")
    lstm = make(implementation, variant.weights, dtype)
    assert excess_per_step(lstm, variant.weights, variant.frames(3), variant.state()) <= 1


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("role", ["gate", "input", "output"])
def test_each_activation_in_each_role(implementation, name, role):
    """One at a time, over arguments from far below to far above, and around each kink."""
    if name == "softplus" and implementation.backend == "native":
        pytest.skip("the native core has no softplus")
    for alpha, beta in ((None, None), (0.7, -0.2), (-0.6, 0.4)):
        values = dict(zip(("alpha", "beta"), (alpha, beta), strict=True))
        values = {k: v for k, v in values.items() if k in ACTIVATIONS[name]}
        layer = layer_for((1, 64, None), "normal", 3, Cell(**{role: Activation(name, **values)}))
        slopes = np.concatenate([np.linspace(-30, 30, 44), np.linspace(-2, 2, 20)])
        weights = make_weights(
            [replace(layer, weight_ih=np.tile(slopes, 4)[:, None].astype(np.float32))]
        )
        lstm = make(implementation, weights)
        state = np.zeros((1, 64), np.float32), slopes[None, ::-1].astype(np.float32)
        xs = np.array([[1.0], [0.01], [-4.0]], np.float32)
        assert excess_per_step(lstm, weights, xs, state) <= 1


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_over_many_floats(implementation, name):
    """With every gate 1 and nothing coming in, h is the output's activation of c, for any c."""
    if name == "softplus" and implementation.backend == "native":
        pytest.skip("the native core has no softplus")
    one, nothing = Activation("affine", 0.0, 1.0), Activation("affine", 0.0, 0.0)
    layer = layer_for((1, 128, None), "silent", 1, Cell(one, nothing, name), ())
    weights = make_weights([layer])
    stream = make(implementation, weights).stream()
    every = np.arange(0, 2**32, 2**32 // (128 * 30), dtype=np.uint64).astype(np.uint32)
    values = every.view(np.float32)
    values = values[np.abs(values) < 1e37]
    usual = np.random.default_rng(0).uniform(-20, 20, 128 * 10)
    kinks = np.add.outer([-2.5, -1, 0, 1, 2.5], np.geomspace(1e-8, 0.1, 64))
    kinks = np.concatenate([kinks.ravel(), -kinks.ravel()])  # near each kink, on both sides
    values = np.concatenate([values[: len(values) // 128 * 128], usual, kinks]).astype(np.float32)
    for c in values.reshape(-1, 1, 128):
        stream.state = np.zeros((1, 128)), c
        stream.step([0.0])
        h, kept = stream.state
        assert np.array_equal(kept, canonical(c))  # the control: that is what it gets
        assert step_excess(variant_step([0.0], np.zeros(128), c[0], layer), h[0], kept[0]) <= 1


@settings(max_examples=100)
@given(variant=variants(list(ACTIVATIONS), max_layers=1))
def test_the_oracle_and_the_bound_are_two_writings_of_one_cell(variant):
    """`reference.variant_cell` in float64 is far closer to `variant_step` than any float32."""
    (layer,), (h, c) = variant.weights.layers, variant.state()
    options = {name: getattr(layer.cell, name) for name in Cell.__match_args__}
    for role, one in zip(("gate", "input", "output"), layer.cell.activations, strict=True):
        options[role] = (one.name, one.alpha or 0.0, one.beta or 0.0)
    x = variant.frames()
    found = reference.variant_cell(x, h[0], c[0], layer.parameters(), options)
    assert step_excess(variant_step(x, h[0], c[0], layer), *found) <= 1e-3


def test_the_bound_is_small_where_values_are_ordinary():
    """Negative control: it is a bound to fail, not infinite and not large."""
    largest = []
    for seed in range(100):
        variant = Variant(everything(seed=seed), "normal", seed)
        (h, c), (layer, _) = variant.state(), variant.weights.layers
        exact = variant_step(variant.frames(), h[0], c[0], layer)
        largest.append(max(exact.h_error.max(), exact.c_error.max()))
    assert np.median(largest) < 1e-5
    assert max(largest) < 1e-3


# ---- one formula wrong ---------------------------------------------------------------------------


class Mistaken:
    """A cell as a stranger may write it, float64 and each part on one line, with one mistake."""

    def __init__(self, layer, mistake):
        self.layer, self.mistake = layer, mistake

    def step(self, x, h, c):
        layer, is_ = self.layer, self.mistake.__eq__
        cell, bias = layer.cell, np.split(layer.bias.astype(np.float64), 4)
        gate, g_function, output = cell.activations
        if is_("activations of g and c' swapped"):
            g_function, output = output, g_function
        if is_("gates' activation for g"):
            g_function = gate
        p_i, p_f, p_o = np.split(layer.peephole.astype(np.float64), 3)
        if is_("peepholes in the order i, o, f"):
            p_f, p_o = p_o, p_f
        a = layer.weight_ih.astype(np.float64) @ x + layer.weight_hh.astype(np.float64) @ h
        a = np.split(a, 4)
        if is_("bias in the sums"):
            a = [part + b for part, b in zip(a, bias, strict=True)]
        scales = np.split(layer.layer_norm.astype(np.float64), 4)

        def act(function, a, k, peep=0.0):
            a = a if is_("peephole after the normalisation") else a + peep
            variance = a.var(ddof=1) if is_("variance over n - 1") else a.var()
            epsilon = 0.0 if is_("no epsilon") else cell.layer_norm_eps
            a = (a - a.mean()) / np.sqrt(variance + epsilon) * scales[k] + bias[k]
            a = a + peep if is_("peephole after the normalisation") else a
            values = reference.activation(a.clip(-cell.clip, cell.clip), *parameters(function))
            if is_("clip after the activation"):
                values = reference.activation(a, *parameters(function)).clip(-cell.clip, cell.clip)
            return values

        i, f = act(gate, a[0], 0, p_i * c), act(gate, a[1], 1, p_f * c)
        g = act(g_function, a[2], 2)
        new = f * c + i * g
        bounded = new.clip(-cell.cell_clip, cell.cell_clip)
        o = act(gate, a[3], 3, p_o * (c if is_("peephole of o sees the old c") else bounded))
        seen = new if is_("cell clip after the output") else bounded
        seen = seen.clip(-cell.clip, cell.clip) if is_("c' clipped for the output") else seen
        r = o * reference.activation(seen, *parameters(output))
        if is_("proj_clip before the projection"):
            r = r.clip(-cell.proj_clip, cell.proj_clip)
        y = layer.weight_hr.astype(np.float64) @ r + layer.bias_hr
        if is_("no bias after the projection"):
            y = y - layer.bias_hr
        if not is_("proj_clip before the projection"):
            y = y.clip(-cell.proj_clip, cell.proj_clip)
        return y, bounded


def parameters(function):
    return function.name, function.alpha or 0.0, function.beta or 0.0


MISTAKES = [
    "activations of g and c' swapped",
    "gates' activation for g",
    "peepholes in the order i, o, f",
    "bias in the sums",
    "peephole after the normalisation",
    "variance over n - 1",
    "no epsilon",
    "clip after the activation",
    "peephole of o sees the old c",
    "cell clip after the output",
    "c' clipped for the output",
    "proj_clip before the projection",
    "no bias after the projection",
]


@pytest.mark.parametrize("mistake", ["", *MISTAKES])
def test_the_bound_notices_a_wrong_formula(mistake):
    """Negative control, and with no mistake: yet another writing of the cell agrees."""
    (layer,) = everything(num_layers=1, clip=0.8, proj_clip=0.2, layer_norm_eps=1e-3).layers
    rng = np.random.default_rng(1)
    h, c = 0.1 * rng.standard_normal(SIZES[2]), 2 * rng.standard_normal(SIZES[1])
    x, h, c = (np.float32(v) for v in (rng.standard_normal(SIZES[0]), h, c))
    found = Mistaken(layer, mistake).step(*(v.astype(np.float64) for v in (x, h, c)))
    worst = step_excess(variant_step(x, h, c, layer), *found)
    assert worst > 30 if mistake else worst < 0.01


def without(kind):
    return lambda weights: changed(weights, **{kind: None})


def option(**values):
    return lambda weights: with_cell(weights, **values)


def permuted(weights):
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "layer_norm")
    layers = []
    for layer in weights.layers:
        parts = {
            kind: np.split(value, 4) for kind, value in layer.parameters().items() if kind in kinds
        }
        rolled = {kind: np.concatenate([*part[1:], part[0]]) for kind, part in parts.items()}
        layers.append(replace(layer, **rolled))
    return make_weights(layers)


CHANGES = {
    "no peepholes": without("peephole"),
    "no normalisation": without("layer_norm"),
    "no bias after the projection": without("bias_hr"),
    "gates permuted": permuted,
    "another gate": option(gate="sigmoid"),
    "another hard sigmoid": option(gate=Activation("hard_sigmoid", 1 / 6, 0.5)),
    "another input": option(input="tanh"),
    "another output": option(output="tanh"),
    "another alpha": option(output=Activation("scaled_tanh", 1.45, 0.8)),
    "no clip": option(clip=None),
    "no cell clip": option(cell_clip=None),
    "no proj clip": option(proj_clip=None),
    "coupled to the input gate": option(coupled="input"),
    "coupled to the forget gate": option(coupled="forget"),
    "another epsilon": option(layer_norm_eps=1e-2),
}


@pytest.mark.parametrize("dtype", WEIGHT_DTYPES)
def test_each_option_counts(implementation, dtype):
    """Negative control: an implementation that leaves it out, or mixes it up, is found out."""
    weights = everything(clip=1.0, cell_clip=0.8, proj_clip=0.2)
    variant = Variant(weights, "normal", 1)
    xs, state = 2 * variant.frames(3), variant.state()
    right = make(implementation, weights, dtype)
    assert excess_per_step(right, weights, xs, state) <= 1
    for name, change in CHANGES.items():
        wrong = make(implementation, change(weights), dtype)
        assert excess_per_step(wrong, weights, xs, state) > 3, name
        assert bits(right.stream(state).run(xs)) != bits(wrong.stream(state).run(xs)), name


def test_a_projection_counts(implementation):
    """Negative control: with no projection at all, or that of the other layer."""
    weights = everything(proj_clip=5.0, sizes=(11, 7, 7))
    variant = Variant(weights, "normal", 1)
    xs, state = variant.frames(3), variant.state()
    swapped = [layer.weight_hr for layer in weights.layers[::-1]]
    layers = [replace(a, weight_hr=w) for a, w in zip(weights.layers, swapped, strict=True)]
    none = [
        replace(a, weight_hr=None, bias_hr=None, cell=replace(a.cell, proj_clip=None))
        for a in weights.layers
    ]
    for wrong in (layers, none):
        lstm = make(implementation, make_weights(wrong))
        assert excess_per_step(lstm, weights, xs, state) > 3
