"""Every operation of a program in NumPy float64: what the other backends are judged by.

    y, = reference_operations.compute("conv", {"stride": 2, ...}, [x, weight, bias])

It is written to be read against `operations.py`, and never optimised. Values that are float32 in a
program are float64 here, int64 and bool are themselves. What a recurrent operation puts out is
rounded to float32 and made canonical at once, since it is what a session keeps.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import reference
from ._arrays import canonical
from .operations import OPERATIONS, cell_of
from .reference import Float64

__all__ = ["compute"]

Array: TypeAlias = NDArray[Any]
Attributes: TypeAlias = Mapping[str, Any]
Function: TypeAlias = Callable[..., Any]
NO_INTEGER = -(2**63)  # what a float becomes that no int64 is


def compute(code: str, attributes: Attributes, inputs: Sequence[Array | None]) -> tuple[Array, ...]:
    """Return the outputs of one operation.

    Args:
        code: one of `operations.OPERATIONS`.
        attributes: all of them, defaults too.
        inputs: its inputs in order, float64, int64 or bool; None for one that is left out. What
            shapes and kinds there may be, `operations.py` says; they are not checked here.

    Returns:
        Its outputs, float64, int64 or bool.

    Raises:
        ValueError: `embedding` is given an index beyond its table.

    Example:
        >>> import numpy as np
        >>> compute("relu", {}, [np.array([-1.0, 2.0])])
        (array([0., 2.]),)
    """
    with np.errstate(all="ignore"):  # what is not finite is allowed
        result = FUNCTIONS[code](attributes, *inputs)
    return result if OPERATIONS[code].outputs > 1 else (np.asarray(result),)


def _kept(value: Array) -> Float64:
    """Return values as a session keeps them: float32, canonical."""
    return canonical(value.astype(np.float32)).astype(np.float64)


# ---- products ----


def _dense(attributes: Attributes, x: Array, weight: Array, bias: Array | None = None) -> Array:
    y = x @ weight.T
    return np.asarray(y if bias is None else y + bias)


ATTRIBUTES_OF_AN_AXIS = ("strides", "dilations", "pad_begin", "pad_end")


def _taps(size: int, taps: int, stride: int, dilation: int, begin: int, end: int) -> list[Array]:
    """Return for each tap which values of an axis it meets; -1 where that is padding."""
    span = dilation * (taps - 1) + 1
    starts = np.arange((size + begin + end - span) // stride + 1) * stride - begin
    met = [starts + tap * dilation for tap in range(taps)]
    return [np.where((at >= 0) & (at < size), at, -1) for at in met]


def _conv2d(attributes: Attributes, x: Array, weight: Array, bias: Array | None = None) -> Array:
    rows, _, *kernel = weight.shape
    groups, sizes = attributes["groups"], x.shape[1:]
    xs, ws = x.reshape(groups, -1, *sizes), weight.reshape(groups, rows // groups, -1, *kernel)
    axes = [
        _taps(size, taps, *(attributes[name][n] for name in ATTRIBUTES_OF_AN_AXIS))
        for n, (size, taps) in enumerate(zip(sizes, kernel, strict=True))
    ]
    y = np.zeros((groups, rows // groups, *(len(axis[0]) for axis in axes)))
    for (i, down), (j, along) in itertools.product(*map(enumerate, axes)):
        # taps in padding are skipped
        (lines,), (steps,) = ((at >= 0).nonzero() for at in (down, along))
        met = xs[:, :, down[lines]][:, :, :, along[steps]]
        made = ws[:, :, :, i, j] @ met.reshape(*met.shape[:2], lines.size * steps.size)
        y[:, :, lines[:, None], steps] += made.reshape(*made.shape[:2], lines.size, steps.size)
    y = y.reshape(rows, *y.shape[2:])
    return y if bias is None else y + bias[:, None, None]


def _conv(attributes: Attributes, x: Array, weight: Array, bias: Array | None = None) -> Array:
    """Return the same with a single line."""
    both = {
        "strides": (1, attributes["stride"]),
        "dilations": (1, attributes["dilation"]),
        "groups": attributes["groups"],
        "pad_begin": (0, attributes["pad_begin"]),
        "pad_end": (0, attributes["pad_end"]),
    }
    return _conv2d(both, x[:, None], weight[:, :, None], bias)[:, 0]


LSTM_PARTS = ("weight_ih", "weight_hh", "bias_ih", "weight_hr", "peephole", "layer_norm", "bias_hr")


def _lstm(
    attributes: Attributes, x: Array, h: Array, c: Array, *weights: Array | None
) -> tuple[Array, ...]:
    parts = {
        name: value for name, value in zip(LSTM_PARTS, weights, strict=False) if value is not None
    }
    cell = cell_of(attributes)
    options: dict[str, Any] = {name: getattr(cell, name) for name in cell.__match_args__}
    for role, one in zip(("gate", "input", "output"), cell.activations, strict=True):
        options[role] = (one.name, one.alpha or 0.0, one.beta or 0.0)
    h_new, c_new = reference.variant_cell(x, h, c, parts, options)
    h_new, c_new = _kept(h_new), _kept(c_new)
    return h_new, h_new, c_new


def _gru(
    attributes: Attributes,
    x: Array,
    h: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias_ih: Array | None = None,
    bias_hh: Array | None = None,
) -> tuple[Array, ...]:
    zeros = np.zeros(len(weight_ih))
    b_r, b_z, b_n = np.split(zeros if bias_ih is None else bias_ih, 3)
    v_r, v_z, v_n = np.split(zeros if bias_hh is None else bias_hh, 3)
    w_r, w_z, w_n = np.split(weight_ih, 3)
    u_r, u_z, u_n = np.split(weight_hh, 3)
    r = reference.sigmoid(w_r @ x + b_r + u_r @ h + v_r)
    z = reference.sigmoid(w_z @ x + b_z + u_z @ h + v_z)
    if attributes["linear_before_reset"]:
        n = np.tanh(w_n @ x + b_n + r * (u_n @ h + v_n))
    else:
        n = np.tanh(w_n @ x + b_n + u_n @ (r * h) + v_n)
    h_new = _kept((1 - z) * n + z * h)
    return h_new, h_new


# ---- element by element ----


def _activation(name: str) -> Function:
    """Return one that an LSTM's cell has, too."""

    def function(attributes: Attributes, x: Array) -> Array:
        alpha, beta = attributes.get("alpha", 0.0), attributes.get("beta", 0.0)
        return reference.activation(x, name, alpha, beta)

    return function


def _plain(function: Function) -> Function:
    """Return a function of arrays as one that has no attributes."""
    return lambda attributes, *inputs: function(*inputs)


def _erf(x: Array) -> Array:
    return np.array([math.erf(value) for value in x.ravel()], np.float64).reshape(x.shape)


def _gelu(attributes: Attributes, x: Array) -> Array:
    if attributes["approximate"] == "tanh":
        inner = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))
    else:
        inner = _erf(x / math.sqrt(2))
    return np.asarray(x * (1 + inner) / 2)


def _clip(attributes: Attributes, x: Array) -> Array:
    return np.asarray(np.clip(x, attributes["min"], attributes["max"]))


# ---- along axes ----


def _log_softmax(attributes: Attributes, x: Array) -> Array:
    shifted = x - x.max(axis=attributes["axis"], keepdims=True)
    total = np.exp(shifted).sum(axis=attributes["axis"], keepdims=True)
    return np.asarray(shifted - np.log(total))


def _softmax(attributes: Attributes, x: Array) -> Array:
    e = np.exp(x - x.max(axis=attributes["axis"], keepdims=True))
    return np.asarray(e / e.sum(axis=attributes["axis"], keepdims=True))


def _layer_norm(
    attributes: Attributes, x: Array, scale: Array | None = None, bias: Array | None = None
) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    y = centred / np.sqrt(variance + attributes["epsilon"])
    y = y if scale is None else y * scale
    return np.asarray(y if bias is None else y + bias)


def _reduce(attributes: Attributes, x: Array) -> Array:
    over = {"axis": attributes["axes"], "keepdims": attributes["keepdims"]}
    kind = attributes["kind"]
    if kind == "l2":
        return np.asarray(np.sqrt((x * x).sum(**over)))
    return np.asarray(getattr(x, kind)(**over))


# ---- movement ----


def _concat(attributes: Attributes, *inputs: Array) -> Array:
    return np.concatenate(inputs, axis=attributes["axis"])


def _slice(attributes: Attributes, x: Array) -> Array:
    limits = zip(*(attributes[name] for name in ("starts", "ends", "steps")), strict=True)
    # an end of -1, beyond the first, is None to Python
    slices = tuple(slice(start, None if end < 0 else end, step) for start, end, step in limits)
    return np.asarray(x[slices])


def _gather(attributes: Attributes, x: Array, indices: Array) -> Array:
    return np.take(x, indices, axis=attributes["axis"])


def _embedding(attributes: Attributes, table: Array, indices: Array) -> Array:
    rows = len(table)
    wrong = indices[(indices < -rows) | (indices >= rows)]
    if wrong.size:
        text = f"the index {wrong.flat[0]} is not within the {rows} rows of an embedding"
        if wrong.flat[0] == NO_INTEGER:
            text += ": it was computed from a value that is not a number, or beyond 64 bits"
        raise ValueError(text)
    return np.asarray(table[indices])


def _pad(attributes: Attributes, x: Array) -> Array:
    if not x.ndim:  # np.pad takes no array without an axis
        return x
    widths = list(zip(attributes["before"], attributes["after"], strict=True))
    if attributes["mode"] == "reflect":
        return np.pad(x, widths, "reflect")
    return np.pad(x, widths, constant_values=attributes["value"])


def _cast(attributes: Attributes, x: Array) -> Array:
    kind = attributes["kind"]
    if kind == "bool":
        return np.asarray(x != 0)
    if kind == "int64" and x.dtype.kind == "f":
        fits = (x >= -(2.0**63)) & (x < 2.0**63)
        cut = np.trunc(np.where(fits, x, 0)).astype(np.int64)
        return np.where(fits, cut, np.int64(NO_INTEGER))
    # an integer becomes the nearest float32, as everywhere
    return x.astype(np.float32).astype(np.float64) if kind == "float32" else x.astype(np.int64)


FUNCTIONS: dict[str, Function] = {
    "dense": _dense,
    "conv": _conv,
    "lstm": _lstm,
    "gru": _gru,
    "conv2d": _conv2d,
    **{name: _activation(name) for name in ("relu", "sigmoid", "tanh", "softplus", "softsign")},
    **{name: _activation(name) for name in ("hard_sigmoid", "elu", "leaky_relu")},
    "exp": _plain(np.exp),
    "log": _plain(np.log),
    "abs": _plain(np.abs),
    "neg": _plain(np.negative),
    "sqrt": _plain(np.sqrt),
    "reciprocal": _plain(lambda x: 1 / x),
    "erf": _plain(_erf),
    "hard_swish": _plain(lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "square": _plain(lambda x: x * x),
    "gelu": _gelu,
    "clip": _clip,
    "add": _plain(np.add),
    "sub": _plain(np.subtract),
    "mul": _plain(np.multiply),
    "div": _plain(np.divide),
    "minimum": _plain(np.minimum),
    "maximum": _plain(np.maximum),
    "pow": _plain(np.power),
    "prelu": _plain(lambda a, b: np.where(a < 0, b * a, a)),
    "less": _plain(np.less),
    "greater": _plain(np.greater),
    "equal": _plain(np.equal),
    "logical_and": _plain(np.logical_and),
    "logical_or": _plain(np.logical_or),
    "logical_not": _plain(np.logical_not),
    "where": _plain(np.where),
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "layer_norm": _layer_norm,
    "reduce": _reduce,
    "concat": _concat,
    "slice": _slice,
    "gather": _gather,
    "embedding": _embedding,
    "transpose": lambda attributes, x: np.transpose(x, attributes["order"]),
    "reshape": lambda attributes, x: np.reshape(x, attributes["shape"]),
    "expand": lambda attributes, x: np.broadcast_to(x, attributes["shape"]),
    "pad": _pad,
    "cast": _cast,
}
