"""How far a float32 step of any variant may be from float64: derived, as in tolerances.py.

A `Near` is a float64 value and how far the float32 one may be from it. Each operation below
returns the value of its result and a bound that holds for every float32 argument within the errors
of its arguments, so that a step's bound is a composition of theirs. Where something may have
overflowed, or may be NaN, the error is infinite: nothing is claimed about it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lstm_fast import Activation, reference
from lstm_fast._weights import MATRICES, LayerWeights
from tolerances import (
    FLUSH,
    PEER_ACTIVATION,
    REFERENCE,
    SIGMOID_ULP,
    TANH_ULP,
    TINY,
    Step,
    U,
    gamma,
)

LARGEST = float(np.finfo(np.float32).max)

# The errors of activations in ULP of their own result. Those of sigmoid and tanh are measured over
# all floats; that of exp(x) - 1, which has the same parts, over every seventh float below 0: 0.98.
# softplus is rounded once, from float64. The others follow from their formulas: leaky_relu rounds
# a product, softsign a sum and a quotient.
EXPM1_ULP = 1.0
SOFTPLUS_ULP = 0.51
ULP = {
    "sigmoid": SIGMOID_ULP,
    "tanh": TANH_ULP,
    "relu": 0.0,
    "leaky_relu": 0.5,
    "thresholded_relu": 0.0,
    "elu": EXPM1_ULP + 0.6,  # and a product
    "softsign": 1.1,
    "softplus": SOFTPLUS_ULP,
}


class Near(NamedTuple):
    """A float64 value, and the largest distance of the float32 one."""

    value: np.ndarray
    error: np.ndarray


def excess(actual, exact, error) -> float:
    """Return the largest distance over its bound; above 1 is wrong, and so is NaN, as infinity.

    Where the bound is infinite nothing is wrong.
    """
    actual, exact, error = np.broadcast_arrays(*(np.float64(a) for a in (actual, exact, error)))
    judged = np.isfinite(error)
    with np.errstate(all="ignore"):
        ratio = np.abs(actual[judged] - exact[judged]) / error[judged]
    return float(np.where(np.isnan(ratio), np.inf, ratio).max(initial=0.0))


def step_excess(exact: Step, h, c) -> float:
    """Return the `excess` of a step's h and c."""
    return max(excess(h, exact.h, exact.h_error), excess(c, exact.c, exact.c_error))


def stored(layer: LayerWeights, weight_dtype: str) -> LayerWeights:
    """Return a layer with its matrices as float16 keeps them; float32 and int8 take it as it is."""
    if weight_dtype != "float16":
        return layer
    matrices = {kind: getattr(layer, kind) for kind in MATRICES}
    return replace(
        layer,
        **{
            kind: w.astype(np.float16).astype(np.float32)
            for kind, w in matrices.items()
            if w is not None
        },
    )


def variant_step(
    x, h, c, layer: LayerWeights, x_error=0.0, h_error=0.0, c_error=0.0, *, peer=False
) -> Step:
    """Return one step of one layer of any variant in float64, with the bound of a float32 one.

    Args:
        x: the frame (I,), or the h of the layer below.
        h: the hidden state before the step (P,).
        c: the cell state before the step (H,).
        layer: the weights; of float16, as it `stored` them.
        x_error, h_error, c_error: what these already carry.
        peer: whether to bound someone else's float32: sums in any order without fma, and
            activations that are off by PEER_ACTIVATION.
    """
    with np.errstate(all="ignore"):
        x, h = _given(x, x_error), _given(h, h_error)
        weights, bias = (layer.weight_ih, layer.weight_hh), _bias(layer)
        start = Near(np.zeros_like(bias.value), 0.0) if layer.layer_norm is not None else bias
        left = _product_of_matrix(weights[0], x, start)
        right = _product_of_matrix(weights[1], h, Near(np.zeros_like(bias.value), 0.0))
        a = _add(left, right)
        if peer:  # each term may have been rounded once for every term there is
            terms = len(x.value) + len(h.value) + 3
            biases = (b for b in (layer.bias_ih, layer.bias_hh) if b is not None)
            sizes = sum(np.abs(np.float64(b)) for b in biases) + sum(
                np.abs(np.float64(w)) @ (np.abs(v.value) + v.error)
                for w, v in zip(weights, (x, h), strict=True)
            )
            a = _near(a.value, a.error + gamma(terms) * sizes)
        r, c = _gates(a, _given(c, c_error), layer, bias, PEER_ACTIVATION if peer else 0.0)
        h = r if layer.weight_hr is None else _project(r, layer, peer)
        return Step(h.value, c.value, h.error, c.error)


def variant_int8_step(x, h, c, layer: LayerWeights, *, x_is_bounded) -> Step:
    """Return one step of one layer with int8 weights, from the float32 state that it really had.

    x_is_bounded says that x is the h of a layer below that lives in [-1, 1].
    """
    with np.errstate(all="ignore"):
        bias = _bias(layer)
        start = Near(np.zeros_like(bias.value), 0.0) if layer.layer_norm is not None else bias
        frame, hidden = reference.quantise_frame, reference.quantise_hidden
        left = _int8_half(layer.weight_ih, (hidden if x_is_bounded else frame)(x), start)
        a = _int8_half(layer.weight_hh, (hidden if is_bounded(layer) else frame)(h), left)
        r, c = _gates(a, _given(c, 0.0), layer, bias, 0.0)
        h = r if layer.weight_hr is None else _int8_project(r, layer)
        return Step(h.value, c.value, h.error, c.error)


def is_bounded(layer: LayerWeights) -> bool:
    """Say whether int8 has a fixed scale for a layer's h, by the contract's words at LF_INT8."""
    within_one = ("sigmoid", "tanh", "hard_sigmoid", "softsign")
    gate, _, output = layer.cell.activations
    return layer.weight_hr is None and gate.name in within_one and output.name in within_one


def batch(weights, xs, state, lengths, *, weight_dtype="float32", peer=False):
    """Return ys, h and c of a whole batch as `Near`, in float64 along its own states.

    Shapes are those of `LSTM.__call__`; weight_dtype is float32 or float16, peer as for a step.
    """
    layers = [stored(layer, weight_dtype) for layer in weights.layers]
    directions, rows = weights.num_directions, len(xs)
    wide = weights.output_size * directions
    ys = Near(np.zeros((*xs.shape[:2], wide)), np.zeros((*xs.shape[:2], wide)))
    ends = [Near(np.zeros(part.shape), np.zeros(part.shape)) for part in state]
    for row, length in zip(range(rows), lengths, strict=True):
        below = [Near(x, np.zeros(len(x))) for x in np.float64(xs[row, :length])]
        for first in range(0, len(layers), directions):
            outputs = []
            for n in range(first, first + directions):
                backwards = weights.direction == "reverse" or n > first
                start = [Near(np.float64(part[n, row]), 0.0) for part in state]
                steps, end = _along(layers[n], below[::-1] if backwards else below, start, peer)
                outputs.append(steps[::-1] if backwards else steps)
                for whole, part in zip(ends, end, strict=True):
                    whole.value[n, row], whole.error[n, row] = part
            below = [
                Near(*map(np.concatenate, zip(*both, strict=True)))
                for both in zip(*outputs, strict=True)
            ]
        for t, y in enumerate(below):
            ys.value[row, t], ys.error[row, t] = y
    # Padding is zeros, exactly, for which a bound of zero would be 0 / 0; and the state of a row
    # without frames is what it was given, made canonical.
    found = (ys, *ends)
    return tuple(near._replace(error=near.error + FLUSH) for near in found)


def _along(layer, frames, start, peer):
    """Return h after each of these frames, and h and c after the last."""
    (h, c), steps = start, []
    for x in frames:
        step = variant_step(x.value, h.value, c.value, layer, x.error, h.error, c.error, peer=peer)
        h, c = Near(step.h, step.h_error), Near(step.c, step.c_error)
        steps.append(h)
    return steps, (h, c)


# ---- operations ----------------------------------------------------------------------------------


def _near(value, error) -> Near:
    """Return that, with an infinite error where it may have overflowed or is not a number."""
    error = error + np.zeros_like(value)
    fine = np.abs(value) + error < LARGEST
    if np.all(fine):
        return Near(value, error)
    return Near(np.where(np.isfinite(value), value, 0.0), np.where(fine, error, np.inf))


def _given(value, error) -> Near:
    """Return what comes from outside and is made canonical."""
    return _near(value, np.float64(error) + FLUSH)


def _canonical(a: Near) -> Near:
    return Near(a.value, a.error + FLUSH)


def _add(a: Near, b: Near) -> Near:
    """Return a rounded sum; a subnormal one is exact."""
    value, error = a.value + b.value, a.error + b.error
    sizes = np.abs(a.value) + np.abs(b.value)
    return _near(value, error + U * (np.abs(value) + error) + REFERENCE * sizes)


def _multiply(a: Near, b: Near) -> Near:
    """Return a rounded product."""
    value = a.value * b.value
    error = np.abs(a.value) * b.error + np.abs(b.value) * a.error + a.error * b.error
    return _near(value, error + (U + REFERENCE) * (np.abs(value) + error) + TINY)


def _exactly(value) -> Near:
    return Near(np.float64(value), np.float64(0.0))


def _clip(a: Near, low, high) -> Near:
    """Return a within bounds that are floats: exact, and never further apart than before."""
    value = np.clip(a.value, low, high)
    error = np.maximum(
        np.clip(a.value + a.error, low, high) - value, value - np.clip(a.value - a.error, low, high)
    )
    return Near(value, np.where(np.isfinite(a.error), error, np.inf))


def _clip_by(a: Near, bound) -> Near:
    return a if bound is None else _clip(a, -bound, bound)


def _spread(function, a: Near, kinks, ulp) -> Near:
    """Return a function that is monotone between its kinks, with an error of its own in ULP.

    The extremes over an interval are at its ends and at the kinks inside; clipping moves those
    outside to an end.
    """
    value, (low, high) = function(a.value), (a.value - a.error, a.value + a.error)
    points = [low, high, *(np.clip(kink, low, high) for kink in kinks)]
    spread = np.max([np.abs(function(point) - value) for point in points], axis=0)
    error = spread + (ulp * 2 * U + REFERENCE) * (np.abs(value) + spread) + FLUSH
    return _near(value, np.where(np.isfinite(a.error), error, np.inf))


def _activate(function: Activation, a: Near, slack: float) -> Near:
    name, alpha, beta = function.name, function.alpha, function.beta
    if name in ("hard_sigmoid", "affine"):
        result = _add(_multiply(_exactly(alpha), a), _exactly(beta))
        result = _clip(result, 0, 1) if name == "hard_sigmoid" else result
    elif name == "scaled_tanh":
        inner = _spread(np.tanh, _multiply(_exactly(beta), a), (), TANH_ULP)
        result = _multiply(_exactly(alpha), inner)
    else:
        kinks = (0.0,) if name in ("leaky_relu", "elu") else ()
        if name == "thresholded_relu":  # jumps: within the error of its threshold, either is right
            kinks = (alpha, np.nextafter(alpha, -np.inf))
        parameters = alpha or 0.0, beta or 0.0
        result = _spread(lambda v: reference.activation(v, name, *parameters), a, kinks, ULP[name])
    return _near(result.value, result.error + slack * np.maximum(1, np.abs(result.value)))


def _product_of_matrix(matrix, x: Near, start: Near) -> Near:
    """Return start + matrix @ x: a chain of K fmas from start."""
    w = np.float64(matrix)
    terms, value = w.shape[1], w @ x.value + start.value
    sizes = np.abs(start.value) + start.error + np.abs(w) @ (np.abs(x.value) + x.error)
    error = np.abs(w) @ x.error + start.error
    error = error + (gamma(terms) + terms * 2.0**-53 + REFERENCE) * sizes + terms * TINY
    return _near(value, np.where(sizes < LARGEST, error, np.inf))  # no partial sum overflows, too


def _bias(layer: LayerWeights) -> Near:
    """Return the sum of the two biases, rounded once."""
    parts = (layer.bias_ih, layer.bias_hh)
    zeros = np.zeros(len(layer.weight_ih))
    b_ih, b_hh = (zeros if b is None else np.float64(b) for b in parts)
    return _add(_exactly(b_ih), _exactly(b_hh))


# ---- the cell ------------------------------------------------------------------------------------


def _split(a: Near, parts: int) -> list[Near]:
    return [
        Near(value, error)
        for value, error in zip(np.split(a.value, parts), np.split(a.error, parts), strict=True)
    ]


def _gates(a: Near, c: Near, layer: LayerWeights, bias: Near, slack: float) -> tuple[Near, Near]:
    """From pre-activations to r and the new c."""
    cell = layer.cell
    gate, g_function, output = cell.activations
    peephole = None if layer.peephole is None else np.split(layer.peephole, 3)
    scales = None if layer.layer_norm is None else np.split(layer.layer_norm, 4)
    biases = _split(bias, 4)

    def peep(a: Near, which: int, c: Near) -> Near:
        return a if peephole is None else _add(a, _multiply(_exactly(peephole[which]), c))

    def act(function: Activation, a: Near, which: int) -> Near:
        if scales is not None:
            a = _normalise(a, cell.layer_norm_eps)
            a = _add(_multiply(_exactly(scales[which]), a), biases[which])
        return _activate(function, _clip_by(a, cell.clip), slack)

    a_i, a_f, a_g, a_o = _split(a, 4)
    i, f = act(gate, peep(a_i, 0, c), 0), act(gate, peep(a_f, 1, c), 1)
    g = act(g_function, a_g, 2)
    if cell.coupled == "input":
        f = _add(_exactly(1), Near(-i.value, i.error))
    if cell.coupled == "forget":
        i = _add(_exactly(1), Near(-f.value, f.error))
    c = _canonical(_clip_by(_add(_multiply(f, c), _multiply(i, g)), cell.cell_clip))
    o = act(gate, peep(a_o, 2, c), 3)
    return _canonical(_multiply(o, _activate(output, c, slack))), c


def _normalise(a: Near, epsilon: float) -> Near:
    """Return (a - mean) / sqrt(variance + epsilon), over all units of a gate.

    A sum of n terms in any order rounds each term at most n - 1 times (adding to +0 is exact).
    Close to no variance the interval of the root decides; and however small the variance, no
    float32 deviation is above sqrt(n) times the root of the float32 variance that it is part of, so
    that the error never exceeds what that leaves.
    """
    n, sizes = len(a.value), np.abs(a.value) + a.error
    m = _near(a.value.mean(), a.error.mean() + (gamma(n) + REFERENCE * n) * sizes.mean() + TINY)
    m = m if sizes.sum() < LARGEST else _near(m.value, np.inf)
    d = _add(a, Near(-m.value, m.error))
    square = np.square(np.abs(d.value) + d.error)
    error = (d.error * (2 * np.abs(d.value) + d.error)).mean() + n * TINY
    variance = (d.value**2).mean() + epsilon
    error = error + (gamma(n + 2) + REFERENCE * n) * (square.mean() + epsilon)
    # A float32 variance is a sum of what is not negative, and may be infinite.
    low, high = np.maximum(variance - error, epsilon), variance + error
    high = high if square.sum() < LARGEST else np.inf
    root = 1 / np.sqrt(variance)
    root_error = np.maximum(1 / np.sqrt(low) - root, root - 1 / np.sqrt(high))
    root_error = root_error + gamma(3) * (root + root_error)
    result = _multiply(d, Near(root, root_error))
    if epsilon > n * 2.0**-100:  # beside it the squares that underflowed, 2^-149 each, are nothing
        most = np.sqrt(n) * (1 + gamma(2 * n + 16))
        result = Near(result.value, np.minimum(result.error, most + np.abs(result.value)))
    return Near(result.value, np.where(np.isfinite(d.error).all(), result.error, np.inf))


def _project(r: Near, layer: LayerWeights, peer: bool) -> Near:
    rows = len(layer.weight_hr)
    start = _exactly(np.zeros(rows) if layer.bias_hr is None else layer.bias_hr)
    h = _product_of_matrix(layer.weight_hr, r, start)
    if peer:
        sizes = np.abs(np.float64(layer.weight_hr)) @ (np.abs(r.value) + r.error)
        h = _near(h.value, h.error + gamma(len(r.value) + 2) * (sizes + np.abs(start.value)))
    return _canonical(_clip_by(h, layer.cell.proj_clip))


# ---- int8 ----------------------------------------------------------------------------------------


def _int8_half(matrix, operand, start: Near, operand_error=0.0, scale_error=0.0) -> Near:
    """Return fma(sum of whole numbers, s t, start).

    operand is (whole numbers, t). Exact are the sum, s, and t unless there are errors: of each
    whole number, absolute; of t, relative. Rounded are 1/127 as a t, s t, the sum as a float, and
    the fma.
    """
    (rows, s), (values, t) = reference.quantise_rows(matrix), operand
    total, scale = rows @ np.float64(values), s * t
    product = total * scale
    total_error = np.abs(rows) @ (np.zeros(rows.shape[1]) + operand_error)
    most = np.abs(total) + total_error
    error = total_error * scale + most * scale * (scale_error * (1 + gamma(3)) + gamma(3))
    error = error + 2 * TINY * np.maximum(1, most)
    whole = _add(_near(product, error), start)
    return _near(whole.value, np.where(scale * (1 + scale_error) < LARGEST, whole.error, np.inf))


def _int8_project(r: Near, layer: LayerWeights) -> Near:
    """Return h = W_hr r: r is scaled as a frame is, from float32 values that only r's errors bound.

    So a whole number is open where r's interval holds a tie, and the scale is within the errors.
    """
    size = np.abs(r.value)
    low, high, most = (size - r.error).max(), (size + r.error).max(), size.max()
    tiny = float(reference.TINY)
    start = _exactly(np.zeros(len(layer.weight_hr)) if layer.bias_hr is None else layer.bias_hr)
    if not np.isfinite(high):
        return _near(start.value, np.full(len(layer.weight_hr), np.inf))
    if low < tiny:  # it may be taken for nothing, or each whole number may be anything
        value = start.value
        rows, s = reference.quantise_rows(layer.weight_hr)
        h = _near(value, (1 + gamma(8)) * np.abs(rows).sum(1) * s * high + U * np.abs(value) + TINY)
    else:
        bounds = [
            edge * (127 / scale) * (1 + sign * gamma(3))
            for edge in (r.value - r.error, r.value + r.error)
            for scale in (low, high)
            for sign in (-1, 1)
        ]
        first, last = (np.rint(f(bounds, axis=0)).clip(-127, 127) for f in (np.min, np.max))
        values = np.rint(r.value * (127 / most)).clip(-127, 127)
        open_by = np.maximum(last - values, values - first)
        scale_error = max(high - most, most - low) / most + gamma(2)
        h = _int8_half(layer.weight_hr, (values, most / 127), start, open_by, scale_error)
    return _canonical(_clip_by(h, layer.cell.proj_clip))
