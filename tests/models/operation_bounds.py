"""How far each operation of a float32 backend may be from float64: derived, as in tolerances.py.

A program is judged operation by operation, from the float32 values that its inputs really had, so
that no error of one is carried into the next: `excesses` runs it with every tensor an output.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from program_cases import cut, named

from lstm_fast import Model, reference_operations
from lstm_fast._weights import LayerWeights
from lstm_fast.operations import cell_of
from lstm_fast.program import Output
from tolerances import FLUSH, REFERENCE, SIGMOID_ULP, TANH_ULP, TINY, U, gamma
from variant_tolerances import (
    EXPM1_ULP,
    Near,
    _add,
    _canonical,
    _clip,
    _multiply,
    _near,
    _normalise,
    _product_of_matrix,
    _split,
    _spread,
    excess,
    variant_step,
)

# In ULP of their own result over all floats, as csrc/lstm_fast.h says; what is not here is exact.
ROUNDED = 0.5  # one IEEE operation
EXP_ULP, LOG_ULP, ERF_ULP = 1.1, 1.6, 1.1
ULP = {
    "sigmoid": SIGMOID_ULP,
    "tanh": TANH_ULP,
    "exp": EXP_ULP,
    "log": LOG_ULP,
    "erf": ERF_ULP,
    "softplus": 2.2,
    "pow": 6.0,
    "elu": EXPM1_ULP + 0.6,  # and a product
    "softsign": 1.1,
    **dict.fromkeys(("sqrt", "reciprocal", "square", "leaky_relu"), ROUNDED),
    **dict.fromkeys(("add", "sub", "mul", "div", "prelu"), ROUNDED),
    "cast": ROUNDED,  # of an integer to a float
}


def _exactly(value):
    return Near(np.float64(value), np.zeros(np.shape(value)))


def _zeros(size):
    return _exactly(np.zeros(size))


def _dense(attributes, x, weight, bias=None):
    rows = x.reshape(-1, x.shape[-1])
    made = [_product_of_matrix(weight, _exactly(row), _zeros(len(weight))) for row in rows]
    value, error = (np.stack(part).reshape(*x.shape[:-1], -1) for part in zip(*made, strict=True))
    y = Near(value, error) if bias is None else _add(Near(value, error), _exactly(bias))
    return [_canonical(y)]


def _convolution(code):
    def bound(attributes, x, weight, bias=None):
        """The reference's value; a chain of as many terms as a window has."""
        value, sizes = (
            reference_operations.compute(code, attributes, [function(x), function(weight)])[0]
            for function in (np.asarray, np.abs)
        )
        terms = math.prod(weight.shape[1:])
        y = Near(value, (gamma(terms) + terms * REFERENCE) * sizes + terms * TINY)
        if bias is not None:
            y = _add(y, _exactly(bias.reshape(-1, *[1] * (x.ndim - 1))))
        return [_canonical(y)]

    return bound


def _lstm(attributes, x, h, c, *weights):
    names = ("weight_ih", "weight_hh", "bias_ih", "weight_hr", "peephole", "layer_norm", "bias_hr")
    layer = LayerWeights(**dict(zip(names, weights, strict=False)), cell=cell_of(attributes))
    step = variant_step(x, h, c, layer)
    y = Near(step.h, step.h_error)
    return [y, y, Near(step.c, step.c_error)]


def _gru(attributes, x, h, weight_ih, weight_hh, bias_ih=None, bias_hh=None):
    rows, old = len(weight_ih), _exactly(h)
    biases = [np.zeros(rows) if bias is None else bias for bias in (bias_ih, bias_hh)]

    def half(weight, value, bias):
        return _add(_product_of_matrix(weight, value, _zeros(len(weight))), _exactly(bias))

    def gate(a):
        return _spread(lambda v: 1 / (1 + np.exp(-v)), a, (), SIGMOID_ULP)

    a_r, a_z, a_n = _split(half(weight_ih, _exactly(x), biases[0]), 3)
    u_r, u_z, u_n = _split(half(weight_hh, old, biases[1]), 3)
    r, z = gate(_add(a_r, u_r)), gate(_add(a_z, u_z))
    if attributes["linear_before_reset"]:
        right = _multiply(r, u_n)
    else:
        last = np.split(weight_hh, 3)[2], np.split(biases[1], 3)[2]
        right = half(last[0], _canonical(_multiply(r, old)), last[1])
    n = _spread(np.tanh, _add(a_n, right), (), TANH_ULP)
    rest = _add(_exactly(1.0), Near(-z.value, z.error))
    y = _canonical(_add(_multiply(rest, n), _multiply(z, old)))
    return [y, y]


def _hard_sigmoid(attributes, x):
    inner = _add(
        _multiply(_exactly(attributes["alpha"]), _exactly(x)), _exactly(attributes["beta"])
    )
    return [_canonical(_clip(inner, 0, 1))]


def _hard_swish(attributes, x):
    sixth = Near(np.float64(1 / 6), np.float64(U / 6))
    inner = _clip(_add(_multiply(sixth, _exactly(x)), _exactly(0.5)), 0, 1)
    return [_canonical(_multiply(_exactly(x), inner))]


def _gelu(attributes, x):
    given_, half = _exactly(x), x / 2
    if attributes["approximate"] == "tanh":
        scale = math.sqrt(2 / math.pi)
        constants = [Near(np.float64(c), U * c) for c in (0.044715 * scale, scale)]
        slope = _add(_multiply(_multiply(given_, given_), constants[0]), constants[1])
        inner = _spread(np.tanh, _multiply(given_, slope), (), TANH_ULP)
    else:
        root = Near(np.float64(math.sqrt(0.5)), U)
        inner = _spread(np.vectorize(math.erf), _multiply(given_, root), (), ERF_ULP)
    product = Near(half * inner.value, np.abs(half) * inner.error)
    return [_canonical(_add(product, _exactly(half)))]


# ---- along axes ----


def _total(x):
    """The sum of a row, in any order."""
    sizes, n = (np.abs(x.value) + x.error).sum(), len(x.value)
    return _near(x.value.sum(), x.error.sum() + (gamma(n) + n * REFERENCE) * sizes)


def _quotient(a, b):
    """Return a rounded quotient of which b is positive, also in its error."""
    value, least = a.value / b.value, b.value - b.error
    error = (a.error + np.abs(value) * b.error) / least
    return _near(value, error + U * (np.abs(value) + error) + TINY)


def _shifted_and_total(x):
    shifted = _add(_exactly(x), _exactly(-x.max()))
    e = _spread(np.exp, shifted, (), EXP_ULP)
    return shifted, e, _total(e)


def _softmax_row(attributes, x):
    _, e, total = _shifted_and_total(x)
    return _canonical(_quotient(e, total))


def _log_softmax_row(attributes, x):
    shifted, _, total = _shifted_and_total(x)
    log = _spread(np.log, total, (), LOG_ULP)
    return _canonical(_add(shifted, Near(-log.value, log.error)))


def _layer_norm_row(attributes, x, scale=None, bias=None):
    y = _normalise(_exactly(x), attributes["epsilon"])
    y = y if scale is None else _multiply(y, _exactly(scale))
    return _canonical(y if bias is None else _add(y, _exactly(bias)))


def _reduce_row(attributes, x):
    kind, row = attributes["kind"], _exactly(x)
    if kind in ("max", "min"):
        return _canonical(_exactly(getattr(x, kind)()))
    if kind == "l2":
        total = _total(_multiply(row, row))
        return _canonical(_spread(np.sqrt, total, (), ROUNDED))
    total = _total(row)
    return _canonical(_quotient(total, _exactly(len(x))) if kind == "mean" else total)


def _rows(function, axes_of):
    """Return the bound of all rows of x over some axes, from that of one."""

    def bound(attributes, x, *others):
        axes = axes_of(attributes, x)
        stay = [axis for axis in range(x.ndim) if axis not in axes]
        rows = x.transpose(*stay, *axes).reshape(-1, math.prod(x.shape[axis] for axis in axes))
        made = [function(attributes, row, *others) for row in rows]
        value, error = (np.stack(part) for part in zip(*made, strict=True))
        if value.ndim == 1:  # one value of each row
            kept = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
            shape = kept if attributes["keepdims"] else [x.shape[axis] for axis in stay]
            return [Near(value.reshape(shape), error.reshape(shape))]
        shape, order = [x.shape[axis] for axis in (*stay, *axes)], np.argsort([*stay, *axes])
        return [Near(*(part.reshape(shape).transpose(order) for part in (value, error)))]

    return bound


def _last(attributes, x):
    return (x.ndim - 1,)


def _one(attributes, x):
    return (attributes["axis"],)


BOUNDS = {
    "dense": _dense,
    "conv": _convolution("conv"),
    "conv2d": _convolution("conv2d"),
    "lstm": _lstm,
    "gru": _gru,
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": _hard_swish,
    "gelu": _gelu,
    "softmax": _rows(_softmax_row, _one),
    "log_softmax": _rows(_log_softmax_row, _one),
    "layer_norm": _rows(_layer_norm_row, _last),
    "reduce": _rows(_reduce_row, lambda attributes, x: attributes["axes"]),
}


def bounds(op, inputs):
    """Return a `Near` for each output of an operation.

    inputs: float64 of the float32 values that they were, int64 or bool.
    """
    with np.errstate(all="ignore"):
        if op.code in BOUNDS:
            return BOUNDS[op.code](op.attributes, *inputs)
        values = reference_operations.compute(op.code, op.attributes, inputs)
        relative = 2 * U * ULP.get(op.code, 0.0)
        return [Near(value, relative * np.abs(value) + FLUSH) for value in values]


def run_whole(program, frames, backend, state=None):
    """Run a program step by step and return for each step all its tensors, by number."""
    numbers = [n for n in range(len(program.tensors)) if n not in program.constants]
    states = {one.tensor: one.name for one in program.states}
    outputs = tuple(Output(str(n), n) for n in numbers)
    model = Model.from_program(replace(program, outputs=outputs), backend=backend)
    stream, steps = model.stream(state), []
    for t in range(len(next(iter(frames.values())))):
        made = named(model, stream.step(cut(frames, t)))
        steps.append({int(name): value for name, value in made.items()})
    assert set(states) <= set(numbers)
    return steps


def excesses(program, steps):
    """Return the `excess` of each operation over all steps, by its number; what is not a float must
    be equal, or it is infinite.
    """
    worst = np.zeros(len(program.ops))
    for made in steps:
        values = {**program.constants, **made}
        wide = {n: v.astype(np.float64) if v.dtype.kind == "f" else v for n, v in values.items()}
        for number, op in enumerate(program.ops):
            expected = bounds(op, [None if i == -1 else wide[i] for i in op.inputs])
            for i, near in zip(op.outputs, expected, strict=True):
                if near.value.dtype.kind == "f":
                    off = excess(made[i], near.value, near.error)
                else:
                    off = 0.0 if np.array_equal(made[i], near.value) else math.inf
                worst[number] = max(worst[number], off)
    return worst
