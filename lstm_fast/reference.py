"""The LSTM's equations in NumPy float64: the oracle that everything else is judged by.

It is written to be read against the equations, shares no code with the backends, and is never
optimised. Gates are in PyTorch's order i, f, g, o; the equations are those of `torch.nn.LSTM`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["cell", "sigmoid", "stack"]

Float64 = NDArray[np.float64]


def _float64(value: ArrayLike) -> Float64:
    return np.asarray(value, dtype=np.float64)


def sigmoid(x: ArrayLike) -> Float64:
    """Return 1 / (1 + exp(-x)) for any shape, with full relative accuracy in both tails."""
    x = _float64(x)
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, e, np.float64(1)) / (1 + e))


def cell(
    x: ArrayLike,
    h: ArrayLike,
    c: ArrayLike,
    w_ih: ArrayLike,
    w_hh: ArrayLike,
    b_ih: ArrayLike | None = None,
    b_hh: ArrayLike | None = None,
) -> tuple[Float64, Float64]:
    """Take one step of one layer.

    Args:
        x: the frame, shape (I,).
        h: the hidden state before the step, shape (H,).
        c: the cell state before the step, shape (H,).
        w_ih: input weights, shape (4H, I), gates i, f, g, o.
        w_hh: recurrent weights, shape (4H, H).
        b_ih: input bias, shape (4H,); None is zeros.
        b_hh: recurrent bias, shape (4H,); None is zeros.

    Returns:
        The new (h, c), each of shape (H,), float64.
    """
    x, h, c = _float64(x), _float64(h), _float64(c)
    a = _float64(w_ih) @ x + _float64(w_hh) @ h
    if b_ih is not None:
        a = a + _float64(b_ih)
    if b_hh is not None:
        a = a + _float64(b_hh)
    a_i, a_f, a_g, a_o = np.split(a, 4)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c = f * c + i * g
    h = o * np.tanh(c)
    return h, c


def stack(
    xs: ArrayLike, weights: Mapping[str, Any], state: tuple[ArrayLike, ArrayLike] | None = None
) -> tuple[Float64, tuple[Float64, Float64]]:
    """Run a stack of layers over a sequence; each layer's h is the next one's input.

    Args:
        xs: the frames, shape (T, I).
        weights: as `LSTM.state_dict()` gives them: weight_ih_l0, weight_hh_l0, and bias_ih_l0,
            bias_hh_l0 where there are biases; then l1 and so on.
        state: (h, c) before the first step, each of shape (L, H); None is zeros.

    Returns:
        ys of shape (T, H), the last layer's h after each step, and the final (h, c).
    """
    xs = _float64(xs)
    num_layers = sum(name.startswith("weight_hh_l") for name in weights)
    hidden_size = np.shape(weights["weight_hh_l0"])[1]
    zeros = np.zeros((num_layers, hidden_size))
    h, c = (zeros, zeros) if state is None else (_float64(state[0]), _float64(state[1]))
    h, c = h.copy(), c.copy()
    ys = np.empty((len(xs), hidden_size))
    for t, x in enumerate(xs):
        for n in range(num_layers):
            h[n], c[n] = cell(
                x if n == 0 else h[n - 1],
                h[n],
                c[n],
                weights[f"weight_ih_l{n}"],
                weights[f"weight_hh_l{n}"],
                weights.get(f"bias_ih_l{n}"),
                weights.get(f"bias_hh_l{n}"),
            )
        ys[t] = h[-1]
    return ys, (h, c)
