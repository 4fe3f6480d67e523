"""How far any correct float32 LSTM may be from the equations in float64: derived, not tuned.

The bound is neutral: nothing is assumed about who computes. It holds for an implementation that

- keeps weights, state and every intermediate value as float32, rounded to nearest;
- adds the terms of a pre-activation in any order, each product and sum rounded on its own or fused
  (no order of n terms rounds one of them more than n times, Higham 2002, section 4.2);
- has activations within ACTIVATION of their exact value, absolute where that is below 1 and
  relative above. No framework documents this error. 2^-20 is 16 ULP of a value in [0.5, 1), room
  for the rational approximations that frameworks use (PyTorch 2.13 and onnxruntime 1.32 keep the
  bound even with 0 here, as far as our tests go), and far below what a table or a piecewise
  approximation loses (2^-10).
- may flush subnormals to zero.

`step` judges one step from the state that the implementation itself reported, so that errors do not
add up over time, and every step is held to the same narrow bound. Where the state is not seen,
`_error_propagation` carries the error along; see there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from .._weights import LayerWeights, Weights
from ._error_arithmetic import (
    FLUSH,
    LARGEST,
    Float64,
    Near,
    U,
    activate,
    add,
    clip_by,
    exactly,
    flushed,
    gamma,
    matrix_product,
    multiply,
    near,
    negative,
    normalise,
)

__all__ = ["ACTIVATION", "FLUSH", "LARGEST", "Step", "U", "excess", "gamma", "step"]

ACTIVATION = 16 * U


class Step(NamedTuple):
    """Steps in float64, and how far float32 ones may be from them: h (..., P), c (..., H)."""

    h: Float64
    c: Float64
    h_error: Float64
    c_error: Float64


def excess(actual: Any, exact: Any, error: Any) -> Float64:
    """Return each distance over its bound: above 1 is wrong; NaN counts as infinitely wrong.

    Where the bound is infinite nothing is wrong.
    """
    actual, exact, error = np.broadcast_arrays(*(np.float64(a) for a in (actual, exact, error)))
    with np.errstate(all="ignore"):
        ratio = np.abs(actual - exact) / error
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    return np.where(np.isfinite(error), ratio, 0.0)


def step(
    x: Any,
    h: Any,
    c: Any,
    layer: LayerWeights,
    x_error: Any = 0.0,
    h_error: Any = 0.0,
    c_error: Any = 0.0,
    *,
    activation: float = ACTIVATION,
) -> Step:
    """Return steps of one layer of any variant in float64, with the bound of float32 ones.

    Args:
        x: frames (..., I), or the h of the layer below.
        h: the hidden state before each (..., P).
        c: the cell state before each (..., H).
        layer: the weights.
        x_error: what x already carries, absolute.
        h_error: likewise, of h.
        c_error: likewise, of c.
        activation: what activations may be off by, see the module.
    """
    with np.errstate(all="ignore"):
        frame, hidden = _given(x, x_error), _given(h, h_error)
        bias = _bias(layer)
        zeros = exactly(np.zeros(len(layer.weight_ih)))
        start = zeros if layer.layer_norm is not None else bias
        others = layer.weight_hh.shape[1] + 3  # the other half, the biases and joining them
        left = matrix_product(layer.weight_ih, frame, start, others)
        right = matrix_product(layer.weight_hh, hidden, zeros, layer.input_size + 3)
        a = add(left, right)
        r, c_new = _gates(a, _given(c, c_error), layer, bias, activation)
        h_new = r if layer.weight_hr is None else _project(r, layer)
        return Step(h_new.value, c_new.value, h_new.error, c_new.error)


def initial(weights: Weights) -> tuple[Float64, Float64]:
    """Return h (L, P) and c (L, H) that a session starts from: zeros, unless they were trained."""
    h = np.zeros((len(weights.layers), weights.output_size))
    c = np.zeros((len(weights.layers), weights.hidden_size))
    for n, layer in enumerate(weights.layers):
        if layer.h_0 is not None:
            h[n] = layer.h_0
        if layer.c_0 is not None:
            c[n] = layer.c_0
    return h, c


def _given(value: Any, error: Any) -> Near:
    """Return what comes from outside, where a subnormal may be taken for zero."""
    return near(value, np.asarray(error, np.float64) + FLUSH)


def _bias(layer: LayerWeights) -> Near:
    """Return the sum of the two biases; some round it, some add each on its own."""
    zeros = np.zeros(len(layer.weight_ih))
    b_ih, b_hh = (zeros if b is None else np.float64(b) for b in (layer.bias_ih, layer.bias_hh))
    return Near(b_ih + b_hh, gamma(2) * (np.abs(b_ih) + np.abs(b_hh)))


def _split(a: Near, parts: int) -> list[Near]:
    values, errors = (np.split(part, parts, axis=-1) for part in a)
    return [Near(value, error) for value, error in zip(values, errors, strict=True)]


def _gates(a: Near, c: Near, layer: LayerWeights, bias: Near, slack: float) -> tuple[Near, Near]:
    """From pre-activations to r and the new c; the formulas are those in `Cell`."""
    cell = layer.cell
    gate, g_function, output = cell.activations
    peephole = None if layer.peephole is None else np.split(layer.peephole, 3)
    scales = None if layer.layer_norm is None else np.split(layer.layer_norm, 4)
    biases = _split(bias, 4)

    def peep(a: Near, which: int, c: Near) -> Near:
        return a if peephole is None else add(a, multiply(exactly(peephole[which]), c))

    def act(function: Any, a: Near, which: int) -> Near:
        if scales is not None:
            a = normalise(a, cell.layer_norm_eps)
            a = add(multiply(exactly(scales[which]), a), biases[which])
        return activate(function, clip_by(a, cell.clip), slack)

    a_i, a_f, a_g, a_o = _split(a, 4)
    i, f = act(gate, peep(a_i, 0, c), 0), act(gate, peep(a_f, 1, c), 1)
    g = act(g_function, a_g, 2)
    one = exactly(np.ones_like(i.value))
    if cell.coupled == "input":
        f = add(one, negative(i))
    if cell.coupled == "forget":
        i = add(one, negative(f))
    c = flushed(clip_by(add(multiply(f, c), multiply(i, g)), cell.cell_clip))
    o = act(gate, peep(a_o, 2, c), 3)
    return flushed(multiply(o, activate(output, c, slack))), c


def _project(r: Near, layer: LayerWeights) -> Near:
    assert layer.weight_hr is not None
    zeros = np.zeros(len(layer.weight_hr))
    start = exactly(zeros if layer.bias_hr is None else layer.bias_hr)
    h = matrix_product(layer.weight_hr, r, start, 1)
    return flushed(clip_by(h, layer.cell.proj_clip))
