"""The LSTM's equations in NumPy float64: the oracle that everything else is judged by.

It is written to be read against the equations, shares no code with the backends, and is never
optimised. Gates are in PyTorch's order i, f, g, o; the equations are those of `torch.nn.LSTM`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "activation",
    "cell",
    "cell_int8",
    "gates",
    "quantise_frame",
    "quantise_hidden",
    "quantise_rows",
    "sigmoid",
    "stack",
    "variant_cell",
    "variant_cell_int8",
    "variant_gates",
]

Float64 = NDArray[np.float64]
TINY = np.float32(2.0**-100)  # what int8 takes for nothing


def _float64(value: ArrayLike) -> Float64:
    return np.asarray(value, dtype=np.float64)


def sigmoid(x: ArrayLike) -> Float64:
    """Return 1 / (1 + exp(-x)) for any shape, with full relative accuracy in both tails.

    Example:
        >>> float(sigmoid(0)), float(sigmoid(-1000))
        (0.5, 0.0)
    """
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

    Example:
        >>> h, c = cell([1.0], [0.0], [0.0], [[0], [0], [1], [0]], [[0], [0], [0], [0]])
        >>> round(float(c[0]), 6)  # sigmoid(0) tanh(1)
        0.380797
    """
    x, h, c = _float64(x), _float64(h), _float64(c)
    a = _float64(w_ih) @ x + _float64(w_hh) @ h
    if b_ih is not None:
        a = a + _float64(b_ih)
    if b_hh is not None:
        a = a + _float64(b_hh)
    return gates(a, c)


def gates(a: ArrayLike, c: ArrayLike) -> tuple[Float64, Float64]:
    """Return the new (h, c) from pre-activations a, shape (4H,), and the old c, shape (H,).

    Example:
        >>> h, c = gates([0.0, 0.0, 100.0, 0.0], [1.0])  # i = f = o = 1/2, g = 1
        >>> c
        array([1.])
    """
    a_i, a_f, a_g, a_o = np.split(_float64(a), 4)
    i, f, g, o = sigmoid(a_i), sigmoid(a_f), np.tanh(a_g), sigmoid(a_o)
    c = f * _float64(c) + i * g
    h = o * np.tanh(c)
    return h, c


def activation(x: ArrayLike, name: str, alpha: float = 0.0, beta: float = 0.0) -> Float64:
    """Return an activation of `lstm_fast.Activation` for any shape; see there for the formulas.

    Example:
        >>> activation([-1.0, 0.5, 2.0], "relu")
        array([0. , 0.5, 2. ])
    """
    x = _float64(x)
    with np.errstate(over="ignore", invalid="ignore"):
        if name == "sigmoid":
            return sigmoid(x)
        values: dict[str, Float64] = {
            "tanh": np.tanh(x),
            "hard_sigmoid": np.clip(alpha * x + beta, 0, 1),
            "relu": np.where(x < 0, 0, x),
            "affine": alpha * x + beta,
            "leaky_relu": np.where(x < 0, alpha * x, x),
            "thresholded_relu": np.where(x < alpha, 0, x),
            "scaled_tanh": alpha * np.tanh(beta * x),
            "elu": np.where(x < 0, alpha * np.expm1(x), x),
            "softsign": np.where(np.isinf(x), np.sign(x), x / (1 + np.abs(x))),
            "softplus": np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
        }
        return values[name]


def variant_gates(
    a: ArrayLike, c: ArrayLike, options: Mapping[str, Any], parts: Mapping[str, ArrayLike]
) -> tuple[Float64, Float64]:
    """Return (r, the new c) of a cell that is not the plain one; r is h where nothing projects.

    Args:
        a: pre-activations, shape (4H,); without the biases where there is layer normalisation.
        c: the old c, shape (H,).
        options: the fields of `lstm_fast.Cell` by name; its activations as tuples (name, alpha,
            beta). What is missing is as in the plain cell.
        parts: of peephole (3H,), layer_norm (4H,) and bias (4H,) what there is; the bias is used
            with layer normalisation only.

    Example:
        >>> h, c = variant_gates([0, 0, 100, 0], [1.0], {"cell_clip": 0.5}, {})  # without it c is 1
        >>> c
        array([0.5])
    """
    c = _float64(c)
    a_i, a_f, a_g, a_o = np.split(_float64(a), 4)
    epsilon = options.get("layer_norm_eps", 1e-8)

    def peep(a: Float64, which: int, c: Float64) -> Float64:
        if "peephole" not in parts:  # no product with zeros: an infinite c would make NaN of it
            return a
        return _float64(a + np.split(_float64(parts["peephole"]), 3)[which] * c)

    def normalise(a: Float64, gate: int) -> Float64:
        if "layer_norm" not in parts:
            return a
        scale = np.split(_float64(parts["layer_norm"]), 4)[gate]
        bias = np.split(_float64(parts["bias"]), 4)[gate]
        return _float64((a - a.mean()) / np.sqrt(a.var() + epsilon) * scale + bias)

    def ready(a: Float64, gate: int) -> Float64:
        return clipped(normalise(a, gate), "clip")

    def clipped(value: Float64, name: str) -> Float64:
        bound = options.get(name)
        return value if bound is None else _float64(np.clip(value, -bound, bound))

    def act(role: str, default: str, value: Float64) -> Float64:
        return activation(value, *options.get(role, (default,)))

    i = act("gate", "sigmoid", ready(peep(a_i, 0, c), 0))
    f = act("gate", "sigmoid", ready(peep(a_f, 1, c), 1))
    g = act("input", "tanh", ready(a_g, 2))
    if options.get("coupled") == "input":
        f = 1 - i
    if options.get("coupled") == "forget":
        i = 1 - f
    c = clipped(f * c + i * g, "cell_clip")
    o = act("gate", "sigmoid", ready(peep(a_o, 2, c), 3))
    return o * act("output", "tanh", c), c


def variant_cell(
    x: ArrayLike,
    h: ArrayLike,
    c: ArrayLike,
    weights: Mapping[str, ArrayLike],
    options: Mapping[str, Any],
) -> tuple[Float64, Float64]:
    """Take one step of one layer of any variant, with float weights.

    Args:
        x: the frame, shape (I,).
        h: the hidden state before the step, shape (P,); P is H without a projection.
        c: the cell state before the step, shape (H,).
        weights: weight_ih (4H, I), weight_hh (4H, P) and, where they are there, bias_ih and
            bias_hh (4H,), weight_hr (P, H), bias_hr (P,), peephole (3H,), layer_norm (4H,).
        options: as for `variant_gates`.

    Returns:
        The new (h, c), of shapes (P,) and (H,), float64.

    Example:
        >>> weights = {"weight_ih": [[0], [0], [1], [0]], "weight_hh": [[0]] * 4}
        >>> h, c = variant_cell([2.0], [0.0], [0.0], weights, {"input": ("relu",)})
        >>> c  # sigmoid(0) relu(2)
        array([1.])
    """
    zeros = np.zeros(len(np.asarray(weights["weight_ih"])))
    bias = _float64(weights.get("bias_ih", zeros)) + _float64(weights.get("bias_hh", zeros))
    a = _float64(weights["weight_ih"]) @ _float64(x) + _float64(weights["weight_hh"]) @ _float64(h)
    if "layer_norm" not in weights:
        a = a + bias
    r, c = variant_gates(a, c, options, {**weights, "bias": bias})
    if "weight_hr" not in weights:
        return r, c
    h = _float64(weights["weight_hr"]) @ r + _float64(weights.get("bias_hr", 0.0))
    bound = options.get("proj_clip")
    return (h if bound is None else np.clip(h, -bound, bound)), c


def quantise_rows(w: ArrayLike) -> tuple[Float64, Float64]:
    """Return int8 weights as the contract rounds them, as (whole numbers, scale of each row).

    The scale of a row is max(abs(w)) / 127 in float32, and 0 where that maximum is
    below 2**-100; see LF_INT8 in csrc/lstm_fast.h. Shapes (4H, K) and (4H,).

    Example:
        >>> quantise_rows([[1.27, -0.64]])[0]
        array([[127., -64.]], dtype=float32)
    """
    w = np.asarray(w, np.float32)
    largest = np.abs(w).max(axis=1)
    scale = np.where(largest < TINY, 0, largest / np.float32(127)).astype(np.float32)
    divisor = np.where(scale == 0, np.float32(1), scale)[:, None]
    return np.where(scale[:, None] == 0, 0.0, np.rint(w / divisor)), _float64(scale)


def quantise_frame(x: ArrayLike) -> tuple[Float64, float]:
    """Return a frame's int8 values and their scale t: x is about values * t. Shape (I,).

    Example:
        >>> values, scale = quantise_frame([2.54, -1.0])
        >>> values, round(scale, 6)
        (array([127., -50.]), 0.02)
    """
    x = np.asarray(x, np.float32)
    largest = np.abs(x).max()
    if not np.isfinite(largest):
        return np.zeros(x.shape), float("nan")
    if largest < TINY:
        return np.zeros(x.shape), 0.0
    return np.rint(x * (np.float32(127) / largest)).clip(-127, 127).astype(np.float64), float(
        largest / np.float32(127)
    )


def quantise_hidden(h: ArrayLike) -> tuple[Float64, float]:
    """Return a hidden state's int8 values and their scale: fixed, for h lives in [-1, 1].

    Example:
        >>> values, scale = quantise_hidden([1.0, -0.25])
        >>> values, scale == 1 / 127
        (array([127., -32.]), True)
    """
    h = np.asarray(h, np.float32)
    if not np.isfinite(h).all():
        return np.zeros(h.shape), float("nan")
    return np.rint(h * np.float32(127)).clip(-127, 127).astype(np.float64), 1 / 127


def cell_int8(
    x: tuple[ArrayLike, float],
    h: tuple[ArrayLike, float],
    c: ArrayLike,
    w_ih: tuple[ArrayLike, ArrayLike],
    w_hh: tuple[ArrayLike, ArrayLike],
    bias: ArrayLike,
) -> tuple[Float64, Float64]:
    """Take one step of one layer with int8 weights.

    Args:
        x: `quantise_frame` of the frame, or `quantise_hidden` of the layer below.
        h: `quantise_hidden` of the hidden state before the step.
        c: the cell state before the step, shape (H,).
        w_ih: `quantise_rows` of the input weights.
        w_hh: `quantise_rows` of the recurrent weights.
        bias: b_ih + b_hh, shape (4H,).

    Returns:
        The new (h, c), each of shape (H,), float64.

    Example:
        >>> rows = quantise_rows([[0], [0], [1.27], [0]]), quantise_rows([[0]] * 4)
        >>> x, h = quantise_frame([1.0]), quantise_hidden([0.0])
        >>> h, c = cell_int8(x, h, [0.0], *rows, bias=[0, 0, 0, 0])
        >>> round(float(c[0]), 6)  # sigmoid(0) tanh(1.27)
        0.426899
    """
    (x_values, x_scale), (h_values, h_scale) = x, h
    (q_ih, s_ih), (q_hh, s_hh) = w_ih, w_hh
    # The contract rounds each product of scales to float32 (beyond which it is infinite).
    scale_ih = np.asarray(s_ih, np.float32) * np.float32(x_scale)
    scale_hh = np.asarray(s_hh, np.float32) * np.float32(h_scale)
    left = (_float64(q_ih) @ _float64(x_values)) * _float64(scale_ih)
    right = (_float64(q_hh) @ _float64(h_values)) * _float64(scale_hh)
    return gates(left + right + _float64(bias), c)


def variant_cell_int8(
    x: tuple[ArrayLike, float],
    h: tuple[ArrayLike, float],
    c: ArrayLike,
    rows: Mapping[str, tuple[ArrayLike, ArrayLike]],
    parts: Mapping[str, ArrayLike],
    options: Mapping[str, Any],
) -> tuple[Float64, Float64]:
    """Take one step of one layer of any variant, with int8 weights.

    Args:
        x: the frame as `quantise_frame` or, from a bounded layer below, `quantise_hidden` gives it.
        h: the hidden state before the step: `quantise_hidden` of it where it lives in [-1, 1], else
            `quantise_frame`.
        c: the cell state before the step, shape (H,).
        rows: `quantise_rows` of weight_ih, weight_hh and, where it is there, weight_hr.
        parts: bias (4H,) or one zero, and peephole, layer_norm and bias_hr where they are there.
        options: as for `variant_gates`.

    Returns:
        The new (h, c), of shapes (P,) and (H,), float64.

    Example:
        >>> rows = {"weight_ih": quantise_rows([[0], [0], [1.27], [0]])}
        >>> rows["weight_hh"] = quantise_rows([[0]] * 4)
        >>> x, h = quantise_frame([1.0]), quantise_hidden([0.0])
        >>> h, c = variant_cell_int8(x, h, [0.0], rows, {"bias": [0.0]}, {"input": ("relu",)})
        >>> round(float(c[0]), 6)  # sigmoid(0) relu(1.27)
        0.635
    """

    def product(kind: str, operand: tuple[ArrayLike, float]) -> Float64:
        whole, scales = rows[kind]
        values, scale = operand
        # The contract rounds each product of scales to float32 (beyond which it is infinite).
        both = np.asarray(scales, np.float32) * np.float32(scale)
        return (_float64(whole) @ _float64(values)) * _float64(both)

    a = product("weight_ih", x) + product("weight_hh", h)
    bias = np.zeros(len(a)) + _float64(parts["bias"])
    if "layer_norm" not in parts:
        a = a + bias
    r, c = variant_gates(a, c, options, {**parts, "bias": bias})
    if "weight_hr" not in rows:
        return r, c
    h_new = product("weight_hr", quantise_frame(r)) + _float64(parts.get("bias_hr", 0.0))
    bound = options.get("proj_clip")
    return (h_new if bound is None else np.clip(h_new, -bound, bound)), c


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

    Example:
        >>> from lstm_fast import LSTM
        >>> ys, (h, c) = stack([[0.5, 1.0, 0.0]] * 4, LSTM.random(3, 2).state_dict())
        >>> ys.shape, ys.dtype.name
        ((4, 2), 'float64')
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
