"""A program in float64, and again with every result moved as float32 may move it.

What an error analysis allows in the worst case is of no use for a whole model: of Silero VAD it is
any probability. So the reference is run several more times, with what each operation reads or puts
out moved at random by what float32 would lose there (Monte Carlo arithmetic: Parker 1997). How far
apart the outputs then are is what roundings come to in this model, on these frames.

Roundings that all go one way come to sqrt(n) times what n of them do by chance; `FACTOR` is that of
256. (onnxruntime 1.32 reaches 0.08 of what is then allowed, over all files of Silero VAD.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._arrays import Float32
from .._backends._reference_model import ReferenceProgram
from .._backends._stepwise import StepwiseStream
from ..model import Model
from .layout import Layout

__all__ = ["Expected", "Moved", "Simulation", "distance", "expected", "part_of", "plain"]

U = 2.0**-24
DRAWS = 3
FACTOR = 16.0
LEAST = 16 * U  # of max(1, |value|): what libraries lose of an activation, see `bounds.ACTIVATION`
MOVES = {"reshape", "transpose", "concat", "slice", "gather", "expand", "pad", "embedding"}
CHOICES = {"relu", "clip", "minimum", "maximum", "where", "abs", "neg"}
ANSWERS = {"less", "greater", "equal", "logical_and", "logical_or", "logical_not"}
EXACT = MOVES | CHOICES | ANSWERS
OWN = 8 * U  # relative, of a result that is rounded or approximated
PRODUCTS = {"dense": (1,), "conv": (1,), "lstm": (3, 4), "gru": (2, 3)}  # operands: weights
ALONG = frozenset(("softmax", "log_softmax", "layer_norm", "reduce"))

Float64 = NDArray[np.float64]


class Moved(ReferenceProgram):
    """The program with results moved at random; rng None: exactly the reference."""

    def __init__(self, model: Model, rng: np.random.Generator | None) -> None:
        super().__init__(model.program, model._types)
        self._rng = rng

    def _compute(self, n: int, values: Mapping[int, Any]) -> tuple[Any, ...]:
        op = self.program.ops[n]
        if self._rng is None or op.code in EXACT:
            return self._plain(n, values)
        terms = self._terms(n)
        moved = dict(values)
        if terms > 1:
            for number in op.inputs:
                if number >= 0 and number not in self.constants:
                    moved[number] = self._off(values[number], U * math.sqrt(terms))
        results = self._plain(n, moved)
        once = {id(one): self._off(one, OWN) for one in results}  # y and h are one and the same
        return tuple(once[id(one)] for one in results)

    def _plain(self, n: int, values: Mapping[int, Any]) -> tuple[Any, ...]:
        op = self.program.ops[n]
        if op.code != "conv" or self.own.get(n):
            return super()._compute(n, values)
        x, weight, *bias = (values[number] for number in op.inputs if number >= 0)
        return (_convolution(op.attributes, x, weight, *bias),)

    def _terms(self, n: int) -> int:
        """Return how many terms the sums of an operation have."""
        op, tensors = self.program.ops[n], self.program.tensors
        if op.code in PRODUCTS:
            weights = (op.inputs[at] for at in PRODUCTS[op.code])
            return sum(math.prod(tensors[number].shape[1:]) for number in weights)
        return math.prod(tensors[op.inputs[0]].shape) if op.code in ALONG else 1

    def _off(self, value: Any, size: float) -> Any:
        assert self._rng is not None
        if value.dtype.kind != "f":
            return value
        return value * (1 + size * self._rng.uniform(-1, 1, value.shape))


def _convolution(attributes: Mapping[str, Any], x: Any, weight: Any, bias: Any = 0.0) -> Any:
    """Return a `conv` as one product of all its windows, where the reference goes tap by tap."""
    rows, _, taps = weight.shape
    groups, stride, dilation = (attributes[name] for name in ("groups", "stride", "dilation"))
    padded = np.pad(x, ((0, 0), (attributes["pad_begin"], attributes["pad_end"])))
    windows = np.lib.stride_tricks.sliding_window_view(padded, dilation * (taps - 1) + 1, axis=1)
    windows = windows[:, ::stride, ::dilation]
    count = windows.shape[1]
    columns = windows.reshape(groups, -1, count, taps).transpose(0, 1, 3, 2)
    columns = columns.reshape(groups, -1, count)
    y = weight.reshape(groups, rows // groups, -1) @ columns
    return y.reshape(rows, -1) + np.reshape(bias, (-1, 1))


Simulation = Callable[[Any, Layout, Float32], tuple[Float32, dict[str, Float32]]]
"""Steps a new stream over flat frames (T, I); returns outputs (T, P), states by name (T, ...)."""


class Expected(NamedTuple):
    """What is expected of some frames, and how far a float32 implementation may be from it.

    ys (T, P) and states, (T, ...) by name, in float64's result; allowed, likewise.
    """

    ys: Float32
    states: Mapping[str, Float32]
    allowed: Float64
    allowed_states: Mapping[str, Float64]


def plain(stream: Any, layout: Layout, xs: Float32) -> tuple[Float32, dict[str, Float32]]:
    """Step a stream as it should be stepped."""
    ys, states = [], []
    for x in xs:
        ys.append(layout.flat(stream.step(layout.values(x))))
        states.append(stream.state)
    return stacked(ys, states)


def stacked(ys: list[Float32], states: list[dict[str, Any]]) -> tuple[Float32, dict[str, Float32]]:
    """Return outputs (T, P) and states (T, ...) of those after each step."""
    return np.stack(ys), {name: np.stack([one[name] for one in states]) for name in states[0]}


def expected(
    model: Model, xs: Float32, simulate: Simulation = plain, layout: Layout | None = None
) -> Expected:
    """Return what a model should give for flat frames (T, I) from its start on.

    simulate: how it is stepped. layout: of the frames; None is the model's own.
    """
    layout = layout or Layout.of(model)
    with np.errstate(all="ignore"):
        ys, states = simulate(StepwiseStream(model, Moved(model, None)), layout, xs)
        draws = [
            simulate(StepwiseStream(model, Moved(model, np.random.default_rng(seed))), layout, xs)
            for seed in range(DRAWS)
        ]
    allowed = np.concatenate(
        [
            _allowed(ys[:, part], [one[0][:, part] for one in draws])
            for part in layout.parts().values()
        ],
        axis=1,
    )
    of_states = {
        name: _allowed(value, [one[1][name] for one in draws]) for name, value in states.items()
    }
    return Expected(ys, states, allowed, of_states)


def _allowed(values: Float32, draws: list[Float32]) -> Float64:
    """Return how far values (T, ...) may be off, by the largest move of any so far."""
    apart = np.max([distance(one, values) for one in draws], axis=0).reshape(len(values), -1)
    largest = np.maximum.accumulate(apart.max(axis=1)).reshape(-1, *[1] * (values.ndim - 1))
    sizes = np.nan_to_num(np.abs(values.astype(np.float64)), nan=0.0, posinf=0.0)
    return np.asarray(FACTOR * largest + LEAST * np.maximum(1, sizes))


def distance(found: Any, exact: Any) -> Float64:
    """Return how far values are apart; two NaN or infinities alike are not, and else are wholly."""
    a, b = np.asarray(found, np.float64), np.asarray(exact, np.float64)
    with np.errstate(all="ignore"):
        apart = np.abs(a - b)
    apart = np.where(np.isnan(apart), np.inf, apart)
    return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, apart)


def part_of(found: Any, exact: Any, allowed: Any) -> Float64:
    """Return the distances as parts of what is allowed; where all is allowed, 0."""
    apart, most = np.broadcast_arrays(distance(found, exact), allowed)
    with np.errstate(all="ignore"):
        return np.where(np.isfinite(most), apart / most, 0.0)
