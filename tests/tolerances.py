"""Every float tolerance of the tests, each derived from what the arithmetic can lose.

u = 2^-24 is the unit roundoff of float32: one operation that is rounded to nearest loses at most
u |result|, plus 2^-150 where the result is subnormal. The symbols are those of csrc/lstm_fast.h.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lstm_fast import reference

U = 2.0**-24
FLUSH = 2.0**-126  # what making a value canonical can take away
TINY = 2.0**-149  # a bound for the absolute error of an operation whose result is subnormal

# Largest errors over all floats in ULP, measured by test_activations.py, which also checks that
# they are the figures in csrc/generic/activations.h.
SIGMOID_ULP = 2.7
TANH_ULP = 2.0

# The float64 reference has errors of its own: libm's, a few 2^-53 relative, and the order of its
# sums; with K terms at most K 2^-53 relative to the sum of magnitudes.
REFERENCE = 2.0**-50

# What the activations of PyTorch and onnxruntime may add to a value of at most 1, absolute. Neither
# documents it; with onnxruntime 1.32 and PyTorch 2.13 on AVX-512 the bound of `step` holds even
# with 0 here, and 1e-6 leaves other versions and CPUs the room of a rational approximation.
PEER_ACTIVATION = 16 * U

# Silero against onnxruntime 1.32. The worst case of an error analysis allows any probability, so
# these bounds are promised to users and measured: u is amplified more the quieter the signal is.
# Speech as loud as it was recorded or louder, noisy, clipped, an octave up: the float64 reference
# is at most 2.1e-6 and 2.1e-5 away from onnxruntime, the native core at most 2.7e-6 and 1.8e-5.
SILERO_PROBABILITY = 1e-5
SILERO_STATE = 1e-4

# The same down to a thousandth as loud, and signals that were searched for, since onnxruntime's
# rounding moves them most. Another float32 has roundings of its own, so that two distances to
# float64 add up: in probability 1.6e-5 of onnxruntime and 2.2e-5 of the native core, which is
# 3.8e-5 (measured 3.5e-5); in state twice onnxruntime's 1.2e-4, as both are alike (2.1e-4).
SILERO_QUIET_PROBABILITY = 5e-5
SILERO_QUIET_STATE = 2 * 1.2e-4

# Over all these signals together the largest and the mean distance in probability to float64 may be
# so many times onnxruntime's: both round as often, in other orders (measured: 1.4 and 1.7).
SILERO_DISTANCE = 2

# What small weights may change of a probability on the demo recording: rounded rightly they are
# like random errors of at most half a step in each weight, and these are the largest changes of
# twenty draws of such errors (measured: 0.0013 and 0.020). test_silero.py draws others.
SILERO_FLOAT16 = 0.0019
SILERO_INT8 = 0.062


class Step(NamedTuple):
    """One step in float64 and how far a float32 one may be from it."""

    h: np.ndarray
    c: np.ndarray
    h_error: np.ndarray
    c_error: np.ndarray


def gamma(n: int) -> float:
    """n roundings in a row lose at most this, relative (Higham 2002, lemma 3.1)."""
    return n * U / (1 - n * U)


def _activation(function, a, a_error, ulp):
    """The value at a, and the largest distance for an argument within a_error, monotonically."""
    value = function(a)
    spread = np.maximum(function(a + a_error) - value, value - function(a - a_error))
    return value, spread + (ulp * 2 * U + REFERENCE) * np.abs(value) + FLUSH


def _product(a, a_error, b, b_error):
    """The error of a rounded product of two values with errors."""
    error = np.abs(a) * b_error + np.abs(b) * a_error + a_error * b_error
    return error + U * (np.abs(a * b) + error) + TINY


def step(x, h, c, layer, x_error=0.0, h_error=0.0, c_error=0.0, *, x_is_hidden=False) -> Step:
    """Return one step of one layer in float64, with the derived bound of a float32 one.

    layer is (w_ih, w_hh, b_ih, b_hh); the errors are those the inputs already carry.
    """
    w_ih, w_hh, b_ih, b_hh = (np.float64(0) if p is None else p.astype(np.float64) for p in layer)
    x, h = np.asarray(x, np.float64), np.asarray(h, np.float64)
    x_error, h_error = np.zeros_like(x) + x_error + FLUSH, np.zeros_like(h) + h_error + FLUSH
    inputs, units = len(x), len(h)

    # a: the bias is one rounded sum; the first chain is I fmas on top of it, the second is H; one
    # rounded sum joins them. TINY for each of these roundings.
    left = np.abs(b_ih) + np.abs(b_hh) + np.abs(w_ih) @ (np.abs(x) + x_error)
    right = np.abs(w_hh) @ (np.abs(h) + h_error)
    a = (w_ih @ x + b_ih + b_hh) + w_hh @ h
    a_error = gamma(inputs + 2) * left + gamma(units + 1) * right
    a_error += np.abs(w_ih) @ x_error + np.abs(w_hh) @ h_error
    a_error += (inputs + units + 2) * (TINY + 2.0**-53 * (left + right))
    return _gates(a, a_error, c, c_error)


def int8_step(x, h, c, layer, *, x_is_hidden) -> Step:
    """Return one step of one layer with int8 weights, from the float32 state that it really had.

    layer is (quantise_rows of w_ih, and of w_hh, b_ih, b_hh). The whole numbers are exact, so what
    is left to lose is in the formula around them.
    """
    (q_ih, s_ih), (q_hh, s_hh), *biases = layer
    b_ih, b_hh = (np.float64(0) if b is None else b.astype(np.float64) for b in biases)
    quantise = reference.quantise_hidden if x_is_hidden else reference.quantise_frame
    (x_values, x_scale), (h_values, h_scale) = quantise(x), reference.quantise_hidden(h)
    left = (q_ih @ x_values) * s_ih * x_scale
    right = (q_hh @ h_values) * s_hh * h_scale
    a = left + right + b_ih + b_hh
    # Of each half: the sum as a float, 1/127 and two products of scales, the fma; the second also
    # rounds what the first has made; and the bias is a rounded sum.
    sizes = np.abs(left) + np.abs(right) + np.abs(b_ih) + np.abs(b_hh)
    a_error = gamma(6) * sizes + 8 * TINY * np.maximum(1, np.abs(q_ih @ x_values))
    # A scale that is subnormal has lost more than u; it is there because the row and x are tiny.
    a_error = a_error + np.abs(q_ih @ x_values) * FLUSH * U
    return _gates(a, a_error + 2.0**-50 * sizes, c, 0.0)


def _gates(a, a_error, c, c_error) -> Step:
    """From pre-activations to the new state, with the errors of both."""
    c = np.asarray(c, np.float64)
    c_error = np.zeros_like(c) + c_error + FLUSH
    a_i, a_f, a_g, a_o = np.split(a, 4)
    e_i, e_f, e_g, e_o = np.split(a_error, 4)
    i, i_error = _activation(reference.sigmoid, a_i, e_i, SIGMOID_ULP)
    f, f_error = _activation(reference.sigmoid, a_f, e_f, SIGMOID_ULP)
    g, g_error = _activation(np.tanh, a_g, e_g, TANH_ULP)
    o, o_error = _activation(reference.sigmoid, a_o, e_o, SIGMOID_ULP)
    c_new = f * c + i * g
    c_new_error = _product(f, f_error, c, c_error) + _product(i, i_error, g, g_error)
    c_new_error += U * (np.abs(c_new) + c_new_error) + FLUSH
    t, t_error = _activation(np.tanh, c_new, c_new_error, TANH_ULP)
    h_new = o * t
    return Step(h_new, c_new, _product(o, o_error, t, t_error) + FLUSH, c_new_error)
