"""How far any float32 step of a program may be from float64: derived, operation by operation.

Each operation's bound is that of `bounds` and `_error_arithmetic`, which assume nothing about who
computes. A step is judged from the state that the target itself had before it, so errors do not add
up over time. Where an operation has no rule here, or a bound becomes so wide that it would tell
nothing, the caller has another measure, see `_moved`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .._backends._reference_model import ReferenceProgram
from .._program_checks import given_shape
from .._weights import LayerWeights
from ..cell import Activation
from ..model import Model
from ..operations import cell_of
from ..program import Op
from ..reference_operations import LSTM_PARTS, compute
from ._error_arithmetic import (
    FLUSH,
    Near,
    U,
    activate,
    add,
    clip,
    exactly,
    flushed,
    gamma,
    matrix_product,
    multiply,
    near,
    negative,
)
from .bounds import ACTIVATION
from .bounds import step as lstm_step

__all__ = ["StepBounds"]

MOVES = ("reshape", "transpose", "concat", "slice", "gather", "expand")
Rule = Callable[..., tuple[Near, ...]]


class StepBounds:
    """A program whose steps have bounds.

    fits: whether each operation has a rule, and is in the file as it is here. start: the state of
    a new session, by name.
    """

    def __init__(self, model: Model) -> None:
        self._program, self._types = model.program, model._types
        self._own = ReferenceProgram(model.program, model._types).own
        self.start = model.stream().state
        known = all(_has_rule(op) for op in model.program.ops)
        self.fits = known and "int8" not in model._types

    def __call__(
        self, frames: Mapping[str, Any], state: Mapping[str, Any]
    ) -> tuple[dict[str, Near], dict[str, Near]]:
        """Return outputs and the next state by name, after a step of frames from a state."""
        program = self._program
        values = {n: _given(value) for n, value in program.constants.items()}
        values |= {one.tensor: _given(state[one.name]) for one in program.states}
        after = {}
        for one in program.inputs:
            value = np.reshape(frames[one.name], given_shape(one, program.tensors[one.tensor]))
            if one.history:
                name = f"{one.name}.history"
                value = np.concatenate([state[name], value], axis=-1)
                after[name] = _given(value[..., -one.history :])
            values[one.tensor] = _given(value)
        with np.errstate(all="ignore"):
            for n, op in enumerate(program.ops):
                own = self._own.get(n, {})
                inputs = [
                    None if i < 0 else exactly(own[i]) if i in own else values[i] for i in op.inputs
                ]
                made = (
                    _moved(op.code, op.attributes, inputs)
                    if op.code in MOVES
                    else RULES[op.code](op.attributes, *inputs)
                )
                values.update(zip(op.outputs, made, strict=True))
        outputs = {one.name: flushed(values[one.tensor]) for one in program.outputs}
        after |= {one.name: flushed(values[one.next]) for one in program.states}
        return outputs, after


def _has_rule(op: Op) -> bool:
    if "BatchNormalization" in op.source:  # whose factors a reader has rounded, and others have not
        return False
    if op.code == "reduce":
        return str(op.attributes["kind"]) != "l2"
    return op.code in RULES or op.code in MOVES


def _given(value: Any) -> Near:
    """Return what is given: exactly, but that a subnormal may be taken for zero."""
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return Near(array, np.zeros(array.shape))
    return Near(array.astype(np.float64), np.full(array.shape, FLUSH))


def _moved(code: str, attributes: Mapping[str, Any], inputs: Any) -> tuple[Near, ...]:
    errors = [one.error if one.value.dtype.kind == "f" else one.value for one in inputs]
    value, error = (
        compute(code, attributes, parts)[0] for parts in ([one.value for one in inputs], errors)
    )
    return (Near(value, error),)


def _dense(_: Any, x: Near, weight: Near, bias: Near | None = None) -> tuple[Near, ...]:
    y = matrix_product(weight.value, x, exactly(np.zeros(len(weight.value))), 1)
    return (y if bias is None else add(y, exactly(bias.value)),)


def _conv(attributes: Any, x: Near, weight: Near, bias: Near | None = None) -> tuple[Near, ...]:
    """As many rows of windows as there are positions, each a product of its own."""
    rows, _, taps = weight.value.shape
    groups, stride, dilation = (attributes[name] for name in ("groups", "stride", "dilation"))
    ends = ((0, 0), (attributes["pad_begin"], attributes["pad_end"]))

    def windows(part: Any) -> Any:
        padded = np.pad(part, ends)
        made = np.lib.stride_tricks.sliding_window_view(padded, dilation * (taps - 1) + 1, axis=1)
        made = made[:, ::stride, ::dilation]
        count = made.shape[1]
        made = made.reshape(groups, -1, count, taps).transpose(0, 2, 1, 3)
        return made.reshape(groups, count, -1)

    pieces = zip(
        *(windows(part) for part in x),
        weight.value.reshape(groups, rows // groups, -1),
        strict=True,
    )
    made = [
        matrix_product(w, Near(value, error), exactly(np.zeros(len(w))), 1)
        for value, error, w in pieces
    ]
    y = Near(*(np.concatenate(part, axis=-1).T for part in zip(*made, strict=True)))
    return (y if bias is None else add(y, exactly(bias.value[:, None])),)


def _lstm(attributes: Any, x: Near, h: Near, c: Near, *weights: Near | None) -> tuple[Near, ...]:
    parts: dict[str, Any] = {
        name: one.value for name, one in zip(LSTM_PARTS, weights, strict=False) if one is not None
    }
    layer = LayerWeights(**parts, cell=cell_of(attributes))
    one = lstm_step(x.value, h.value, c.value, layer, x.error, h.error, c.error)
    y = Near(one.h, one.h_error)
    return y, y, Near(one.c, one.c_error)


def _activation(name: str) -> Rule:
    def rule(attributes: Any, x: Near) -> tuple[Near, ...]:
        values = [attributes[key] for key in ("alpha", "beta") if key in attributes]
        return (activate(Activation(name, *values), x, ACTIVATION),)

    return rule


def _softmax(attributes: Any, x: Near) -> tuple[Near, ...]:
    """Differences to the greatest are off by two errors and a rounding, and the sum by n."""
    axis = attributes["axis"]
    sizes = np.abs(x.value).max(axis=axis, keepdims=True)
    off = 2 * x.error.max(axis=axis, keepdims=True) + 2 * U * sizes
    e = np.exp(x.value - x.value.max(axis=axis, keepdims=True))
    p = e / e.sum(axis=axis, keepdims=True)
    relative = np.expm1(2 * off) + gamma(x.value.shape[axis] + 4) + 4 * ACTIVATION
    return (near(p, p * relative + FLUSH),)


def _reduce(attributes: Any, x: Near) -> tuple[Near, ...]:
    """A sum in any order, and a quotient for a mean; the greatest is off by the largest error."""
    kind, how = attributes["kind"], {"axis": attributes["axes"], "keepdims": attributes["keepdims"]}
    if kind in ("max", "min"):
        return (Near(getattr(x.value, kind)(**how), x.error.max(**how)),)
    total, sizes = x.value.sum(**how), (np.abs(x.value) + x.error).sum(**how)
    terms = x.value.size // max(total.size, 1)
    y = near(total, x.error.sum(**how) + gamma(terms) * sizes)
    return (multiply(y, Near(np.array(1 / terms), np.array(U / terms))) if kind == "mean" else y,)


RULES: dict[str, Rule] = {
    "dense": _dense,
    "conv": _conv,
    "lstm": _lstm,
    "softmax": _softmax,
    **{
        name: _activation(name)
        for name in ("sigmoid", "tanh", "hard_sigmoid", "leaky_relu", "elu", "softsign", "softplus")
    },
    "relu": lambda _, x: (clip(x, 0, np.inf),),
    "clip": lambda attributes, x: (clip(x, attributes["min"], attributes["max"]),),
    "neg": lambda _, x: (negative(x),),
    "add": lambda _, a, b: (add(a, b),),
    "sub": lambda _, a, b: (add(a, negative(b)),),
    "mul": lambda _, a, b: (multiply(a, b),),
    "reduce": _reduce,
    "embedding": lambda _, table, index: (exactly(table.value[index.value]),),
}
