"""A program in float64, and again with every result moved as float32 may move it.

What an error analysis allows in the worst case is of no use for a whole model: of Silero VAD it is
any probability. So the reference is run several more times, with what each operation reads or puts
out moved at random by what float32 would lose there (Monte Carlo arithmetic: Parker 1997). How far
apart the outputs then are is what roundings come to in this model, on these frames.

Roundings that all go one way come to sqrt(n) times what n of them do by chance; `FACTOR` is that of
a thousand, and what implementations differ in beside it, such as approximations of tanh.
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

__all__ = ["Expected", "Simulation", "expected", "plain"]

U = 2.0**-24
DRAWS = 3
FACTOR = 32.0
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
            return super()._compute(n, values)
        terms = self._terms(n)
        moved = dict(values)
        if terms > 1:
            for number in op.inputs:
                if number >= 0 and number not in self.constants:
                    moved[number] = self._off(values[number], U * math.sqrt(terms))
        results = super()._compute(n, moved)
        once = {id(one): self._off(one, OWN) for one in results}  # y and h are one and the same
        return tuple(once[id(one)] for one in results)

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
    exact = values.astype(np.float64)
    apart = np.max([np.abs(one - exact) for one in draws], axis=0).reshape(len(values), -1)
    largest = np.maximum.accumulate(apart.max(axis=1)).reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray(FACTOR * largest + LEAST * np.maximum(1, np.abs(exact)))
