"""How far the output of a float32 LSTM may be from float64 after many steps, to first order.

Where an implementation does not show its state, its errors add up from the first step on. A bound
by magnitudes alone (|W| times the error) doubles at every step or so, and soon says nothing. So the
errors are followed along the directions in which the equations really carry them: each error that
a step may make (`bounds.step`) is a direction of its own, which is then pushed through the cell, as
f(state + error) - f(state) in float64. The bound is the sum of the magnitudes of all of them. Every
BOX steps they are replaced by one direction per value of the state, as large as their sum, so that
there are never more than BOX + 1 times these. (That is a zonotope and its interval hull, as in
A. Girard, "Reachability of uncertain linear systems using zonotopes", HSCC 2005.)

What is beyond first order is of the size of the squares of these errors; a factor of SAFETY covers
it as long as the bound is below LINEAR, and beyond that nothing is claimed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import reference
from .._weights import LayerWeights, Weights
from ._error_arithmetic import FLUSH, Float64
from .bounds import ACTIVATION, Step, initial, step

BOX = 6
SAFETY = 2.0
LINEAR = 0.02
LARGEST_STATE = 640  # values of h and c; beyond, the cost grows too much, and magnitudes must do


def free_run_bounds(weights: Weights, xs: Any, activation: float = ACTIVATION) -> list[Step]:
    """Return h and c (L, .) after each frame in float64, and what a float32 session may be off by.

    xs: frames (T, I). The session starts from the initial state and runs on its own rounding.
    """
    h, c = initial(weights)
    size = h.size + c.size
    if size > LARGEST_STATE:
        return _by_magnitudes(weights, xs, h, c, activation)
    errors = _Errors(h, c)
    result = []
    for t, x in enumerate(np.asarray(xs, np.float64)):
        if t and t % BOX == 0:
            errors.box()
        below, below_errors = x, np.zeros((len(errors.h), len(x)))
        for n, layer in enumerate(weights.layers):
            exact = step(below, h[n], c[n], layer, activation=activation)
            errors.push(n, layer, (below, h[n], c[n]), below_errors, exact)
            h[n], c[n] = exact.h, exact.c
            below, below_errors = h[n], errors.h[:, n]
        result.append(Step(h.copy(), c.copy(), *errors.bounds()))
    return result


class _Errors:
    """Directions of error: h (m, L, P) and c (m, L, H)."""

    def __init__(self, h: Float64, c: Float64) -> None:
        self.h = np.zeros((0, *h.shape))
        self.c = np.zeros((0, *c.shape))

    def push(
        self,
        n: int,
        layer: LayerWeights,
        at: tuple[Float64, Float64, Float64],
        below: Float64,
        exact: Step,
    ) -> None:
        """Carry the errors through layer n, and add those that it makes itself."""
        x, h, c = at
        with np.errstate(all="ignore"):
            moved = _values(layer, x + below, h + self.h[:, n], c + self.c[:, n])
        self.h[:, n], self.c[:, n] = moved[0] - exact.h, moved[1] - exact.c
        rows, width = len(exact.h) + len(exact.c), len(exact.h)
        new_h = np.zeros((rows, *self.h.shape[1:]))
        new_c = np.zeros((rows, *self.c.shape[1:]))
        new_h[:width, n], new_c[width:, n] = np.diag(exact.h_error), np.diag(exact.c_error)
        self.h, self.c = np.concatenate([self.h, new_h]), np.concatenate([self.c, new_c])

    def box(self) -> None:
        """Replace all directions by one for each value of the state."""
        sums = np.concatenate([np.abs(part).sum(0).ravel() for part in (self.h, self.c)])
        whole = np.diag(sums)
        width = self.h[0].size
        self.h = whole[:, :width].reshape(-1, *self.h.shape[1:])
        self.c = whole[:, width:].reshape(-1, *self.c.shape[1:])

    def bounds(self) -> tuple[Float64, Float64]:
        """Return what h (L, P) and c (L, H) may be off by; infinite where it is not small."""
        both = [SAFETY * np.abs(part).sum(axis=0) + FLUSH for part in (self.h, self.c)]
        if not all(bool(np.all(part < LINEAR)) for part in both):
            both = [np.full(part.shape, np.inf) for part in both]
        return both[0], both[1]


def _values(layer: LayerWeights, x: Float64, h: Float64, c: Float64) -> tuple[Float64, Float64]:
    """Return the new h (m, P) and c (m, H) of m states."""
    if not layer.is_plain:
        exact = step(x, h, c, layer)
        return exact.h, exact.c
    w_ih, w_hh = layer.weight_ih.astype(np.float64), layer.weight_hh.astype(np.float64)
    a = x @ w_ih.T + h @ w_hh.T
    for bias in (layer.bias_ih, layer.bias_hh):
        a = a if bias is None else a + bias
    new = reference.gates(a.T, c.T)
    return new[0].T, new[1].T


def _by_magnitudes(
    weights: Weights, xs: Any, h: Float64, c: Float64, activation: float
) -> list[Step]:
    errors, result = [np.zeros_like(h), np.zeros_like(c)], []
    for x in np.asarray(xs, np.float64):
        below: Float64 = x
        below_error: Any = 0.0
        for n, layer in enumerate(weights.layers):
            carried = (below_error, errors[0][n], errors[1][n])
            one = step(below, h[n], c[n], layer, *carried, activation=activation)
            h[n], c[n] = one.h, one.c
            errors[0][n], errors[1][n] = one.h_error, one.c_error
            below, below_error = h[n], errors[0][n]
        result.append(Step(h.copy(), c.copy(), errors[0].copy(), errors[1].copy()))
    return result
