"""How far a float32 run of a program may be from float64: one operation's bound after another.

The pieces are those of variant_tolerances.py; the errors in units of the last place are those that
csrc/lstm_fast.h promises. What a reader has rounded once, such as the scale of a batch
normalisation, is within the rounding of the product that follows; for sums see `_operand`.
"""

from __future__ import annotations

import math

import numpy as np

from lstm_fast import reference, reference_operations
from lstm_fast._weights import LayerWeights
from lstm_fast.operations import cell_of
from tolerances import FLUSH, PEER_ACTIVATION, REFERENCE, SIGMOID_ULP, TANH_ULP, TINY, U, gamma
from variant_tolerances import (
    Near,
    _add,
    _canonical,
    _clip,
    _multiply,
    _normalise,
    _product_of_matrix,
    _split,
    _spread,
    variant_step,
)

MOVES = {"reshape", "transpose", "concat", "slice", "embedding"}
MONOTONE = {  # error in ULP, and where it has a kink
    "relu": (0.0, ()),
    "sigmoid": (SIGMOID_ULP, ()),
    "tanh": (TANH_ULP, ()),
    "exp": (1.1, ()),
    "sqrt": (0.5, ()),
    "softplus": (2.2, ()),
    "softsign": (1.1, ()),
    "leaky_relu": (0.5, (0.0,)),
    "elu": (1.6, (0.0,)),
}
ERF_ULP = 1.1
ROOT_HALF = math.sqrt(0.5)


# What a float32 library that is not ours may round more than we do: a bias first, and each weight
# and the bias a few times where it folds a normalisation into a product. The bias of such a one is
# made of terms that are below 8 in the tests, in four operations.
PEER_ROUNDINGS = 5
PEER_SHIFT = 4 * 8 * U


def run(program, xs, *, peer=False):
    """Return the outputs of each step as `Near`, for the one input and output of a program.

    peer: whether to bound someone else's float32, see `variant_step`.
    """
    (given,), (end,) = program.inputs, program.outputs
    kept = {one.tensor: exactly(one.initial) for one in program.states}
    constants = {number: exactly(value) for number, value in program.constants.items()}
    result = []
    for x in xs:
        values = {**constants, **kept, given.tensor: exactly(x)}
        for op in program.ops:
            inputs = [None if n < 0 else values[n] for n in op.inputs]
            made = compute(op.code, op.attributes, inputs, peer=peer)
            values.update(zip(op.outputs, map(_canonical, made), strict=True))
        kept = {one.tensor: values[one.next] for one in program.states}
        result.append(_canonical(values[end.tensor]))
    return result


def exactly(value):
    value = np.asarray(value)
    value = value if value.dtype.kind == "i" else value.astype(np.float64)
    return Near(value, np.zeros(value.shape))


def compute(code, attributes, inputs, *, peer=False):
    """Return each output of an operation as a `Near`, for inputs that are such; peer: see `run`."""
    attributes = {**attributes, "peer": peer}
    if code in MOVES:
        return [_moved(code, attributes, inputs)]
    if code in MONOTONE:
        return [_monotone(code, attributes, *inputs)]
    return RULES[code](attributes, *inputs)


def _moved(code, attributes, inputs):
    if code == "embedding":
        return exactly(inputs[0].value[inputs[1].value])
    pieces = zip(*inputs, strict=True)
    return Near(*(reference_operations.compute(code, attributes, list(one))[0] for one in pieces))


def _monotone(code, attributes, x):
    ulp, kinks = MONOTONE[code]
    y = _spread(lambda v: reference_operations.compute(code, attributes, [v])[0], x, kinks, ulp)
    return _as_peer(y, attributes) if code in ("sigmoid", "tanh") else y


def _as_peer(y, attributes):
    """Return an activation of at most 1 as someone else may compute it."""
    return Near(y.value, y.error + PEER_ACTIVATION * attributes["peer"])


def _rows(x):
    """Return values with their last axis first, and one other."""
    return Near(*(part.reshape(-1, part.shape[-1]).T for part in x))


def _product(weight, x, bias, attributes):
    """Return W x + b for x (K, N): a chain from zero, the bias last."""
    y = _product_of_matrix(weight, x, exactly(np.zeros((len(weight), 1))))
    added = 0.0 if bias is None else bias.value[:, None]
    y = y if bias is None else _add(y, exactly(added))
    if not attributes["peer"]:
        return y
    sizes = np.abs(weight) @ (np.abs(x.value) + x.error) + np.abs(added)
    more = gamma(weight.shape[1] + PEER_ROUNDINGS) * sizes
    return Near(y.value, y.error + more + (0.0 if bias is None else PEER_SHIFT))


def _dense(attributes, x, weight, bias=None):
    y = _product(weight.value, _rows(x), bias, attributes)
    return [Near(*(part.T.reshape(*x.value.shape[:-1], -1) for part in y))]


def _convolution(code):
    def bound(attributes, x, weight, bias=None):
        """The reference's value; a chain of as many terms as a window has."""

        def made(values, weights):
            return reference_operations.compute(code, attributes, [values, weights])[0]

        sizes, terms = np.abs(weight.value), math.prod(weight.value.shape[1:])
        whole = made(np.abs(x.value) + x.error, sizes)
        rounded = (gamma(terms) + terms * REFERENCE) * whole
        y = Near(made(x.value, weight.value), made(x.error, sizes) + rounded + terms * TINY)
        added = None if bias is None else bias.value.reshape(-1, *[1] * (x.value.ndim - 1))
        y = y if added is None else _add(y, exactly(added))
        if not attributes["peer"]:
            return [y]
        more = gamma(terms + PEER_ROUNDINGS) * (whole if added is None else whole + np.abs(added))
        return [Near(y.value, y.error + more + (0.0 if added is None else PEER_SHIFT))]

    return bound


def _maximum(_, a, b):
    return [Near(np.maximum(a.value, b.value), np.maximum(a.error, b.error))]


def _pad(attributes, x):
    value = reference_operations.compute("pad", attributes, [x.value])[0]
    exact = {**attributes, "value": 0.0}
    return [Near(value, reference_operations.compute("pad", exact, [x.error])[0])]


def _div(_, a, b):
    """Return a rounded quotient; b is not near zero."""
    value, least = a.value / b.value, np.abs(b.value) - b.error
    error = (a.error + np.abs(value) * b.error) / least
    assert np.all(least > 0)
    return [Near(value, error + U * (np.abs(value) + error) + TINY)]


def _reduce(attributes, x):
    """A mean of n values, which are added in any order."""
    assert attributes["kind"] == "mean"
    over = {"axis": attributes["axes"], "keepdims": attributes["keepdims"]}
    count = math.prod(x.value.shape[axis] for axis in attributes["axes"])
    sizes = (np.abs(x.value) + x.error).mean(**over)
    error = x.error.mean(**over) + (gamma(count + 1) + count * REFERENCE) * sizes + TINY
    return [Near(x.value.mean(**over), error)]


def _lstm(attributes, x, h, c, *weights):
    w_ih, w_hh, bias = (one.value for one in (*weights, exactly(np.zeros(4 * len(c.value))))[:3])
    layer = LayerWeights(w_ih, w_hh, bias, cell=cell_of(attributes))
    errors, peer = (x.error, h.error, c.error), attributes["peer"]
    step = variant_step(x.value, h.value, c.value, layer, *errors, peer=peer)
    h_new, c_new = Near(step.h, step.h_error), Near(step.c, step.c_error)
    return h_new, h_new, c_new


def _gru(attributes, x, h, w_ih, w_hh, bias_ih=None, bias_hh=None):
    def column(one):
        return Near(*(part.reshape(-1, 1) for part in one))

    def flat(one):
        return Near(*(part.reshape(-1) for part in one))

    def product(weight, one, bias):
        return flat(_product(weight, column(one), bias, attributes))

    def activation(function, a, ulp):
        return _as_peer(_spread(function, a, (), ulp), attributes)

    size = len(h.value)
    a_r, a_z, a_n = _split(product(w_ih.value, x, bias_ih), 3)
    u_r, u_z, u_n = _split(product(w_hh.value, h, bias_hh), 3)
    r = activation(reference.sigmoid, _add(a_r, u_r), SIGMOID_ULP)
    z = activation(reference.sigmoid, _add(a_z, u_z), SIGMOID_ULP)
    if attributes["linear_before_reset"]:
        inner = _multiply(r, u_n)
    else:
        own = None if bias_hh is None else exactly(bias_hh.value[2 * size :])
        inner = product(w_hh.value[2 * size :], _multiply(r, h), own)
    n = activation(np.tanh, _add(a_n, inner), TANH_ULP)
    rest = _add(exactly(np.ones(size)), Near(-z.value, z.error))
    h_new = _canonical(_add(_multiply(rest, n), _multiply(z, h)))
    return h_new, h_new


def _gelu(_, x):
    half = Near(x.value * 0.5, x.error * 0.5)
    inner = _spread(np.vectorize(math.erf), _multiply(exactly(ROOT_HALF), x), (), ERF_ULP)
    return [_add(_multiply(half, inner), half)]


def _hard_sigmoid(attributes, x):
    y = _add(_multiply(exactly(attributes["alpha"]), x), exactly(attributes["beta"]))
    return [_clip(y, 0, 1)]


def _hard_swish(_, x):
    (gate,) = _hard_sigmoid({"alpha": 1 / 6, "beta": 0.5}, x)
    return [_multiply(x, gate)]


def _prelu(_, x, slope):
    error = x.error * np.maximum(1, np.abs(slope.value))
    value = np.where(x.value < 0, x.value * slope.value, x.value)
    return [Near(value, error + U * (np.abs(value) + error))]


def _softmax(attributes, x):
    """Each difference to the greatest is off by twice the error, a total of n by n roundings."""
    e = np.exp(x.value - x.value.max(axis=-1, keepdims=True))
    p = e / e.sum(axis=-1, keepdims=True)
    off = 2 * x.error.max(axis=-1, keepdims=True) + 2 * U * np.abs(x.value).max() * 2
    return [_as_peer(Near(p, p * (np.expm1(2 * off) + gamma(e.shape[-1] + 8)) + FLUSH), attributes)]


def _log_softmax(attributes, x):
    value = reference_operations.compute("log_softmax", attributes, [x.value])[0]
    size = x.value.shape[-1]
    off = 2 * x.error.max() + gamma(size + 8) * (2 * np.abs(x.value).max() + np.log(size) + 1)
    return [Near(value, np.zeros_like(value) + off + U * np.abs(value))]


def _layer_norm(attributes, x, scale=None, bias=None):
    values, errors = (part.reshape(-1, part.shape[-1]) for part in x)
    rows = [
        _normalise(Near(*row), attributes["epsilon"]) for row in zip(values, errors, strict=True)
    ]
    y = Near(*(np.reshape(part, x.value.shape) for part in zip(*rows, strict=True)))
    y = y if scale is None else _multiply(y, scale)
    return [y if bias is None else _add(y, bias)]


def _operand(one):
    """Return what a reader may have rounded once: beta - mean scale, the terms below 2^8."""
    return Near(one.value, one.error + U * np.abs(one.value) + 2.0**-44)


RULES = {
    "dense": _dense,
    "conv": _convolution("conv"),
    "conv2d": _convolution("conv2d"),
    "maximum": _maximum,
    "pad": _pad,
    "div": _div,
    "sub": lambda _, a, b: [_add(a, Near(-b.value, b.error))],
    "square": lambda _, x: [_multiply(x, x)],
    "reduce": _reduce,
    "lstm": _lstm,
    "gru": _gru,
    "gelu": _gelu,
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": _hard_swish,
    "prelu": _prelu,
    "clip": lambda attributes, x: [_clip(x, attributes["min"], attributes["max"])],
    "softmax": _softmax,
    "log_softmax": _log_softmax,
    "layer_norm": _layer_norm,
    "mul": lambda _, a, b: [_multiply(a, b)],
    "add": lambda _, a, b: [_add(a, _operand(b))],
}
