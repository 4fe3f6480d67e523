"""A program on the reference backend: float64 inside a step, float32 between steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._arrays import FLOAT32, canonical
from .._program_checks import DTYPES, given_shape, kept_tensors
from .._weight_types import Types, matrices
from .._weights import LayerWeights
from ..operations import cell_of
from ..program import Op, Program
from ..reference_operations import LSTM_PARTS, compute
from ._reference_layers import Int8Layer
from ._stepwise import Array, Kept, StepwisePool, StepwiseStream

if TYPE_CHECKING:
    from ..model import Model


def _wide(value: Array) -> Array:
    return value.astype(np.float64) if value.dtype.kind == "f" else value


def _narrow(value: Array) -> Array:
    """Return values as they leave a step: float32 and canonical where they are floats."""
    with np.errstate(all="ignore"):
        return canonical(value.astype(FLOAT32)) if value.dtype.kind == "f" else value


class ReferenceProgram:
    """The program, with its constants in float64. Nothing in it changes.

    types: of each operation's weights. own: what an operation reads in place of constants.
    """

    isa = None

    def __init__(self, program: Program, types: Types) -> None:
        self.program = program
        self.constants = {number: _wide(value) for number, value in program.constants.items()}
        self.own: dict[int, Mapping[int, Array]] = {}
        self.layers: dict[int, Int8Layer] = {}
        for n, (op, type_) in enumerate(zip(program.ops, types, strict=True)):
            if type_ == "int8":
                self.layers[n] = _int8_layer(op, program.constants)
            elif type_ == "float16":
                self.own[n] = {
                    number: _wide(program.constants[number].astype(np.float16))
                    for number in matrices(op).values()
                }
        histories = [*kept_tensors(program).values()][len(program.states) :]
        self.initial: Kept = (
            *(state.initial for state in program.states),
            *(np.zeros(one.shape, DTYPES[one.kind]) for one in histories),
        )

    @property
    def nbytes(self) -> int:
        sizes = [value.nbytes for value in self.constants.values()]
        sizes += [value.nbytes for own in self.own.values() for value in own.values()]
        return sum(sizes) + sum(layer.nbytes for layer in self.layers.values())

    def stream(self, whole: Model) -> StepwiseStream:
        return StepwiseStream(whole, self)

    def pool(self, whole: Model, capacity: int, prepared: int, threads: int) -> StepwisePool:
        return StepwisePool(whole, self, capacity, prepared)

    def step(self, kept: Kept, frames: Sequence[Array]) -> tuple[list[Array], Kept]:
        """See `StepwiseCore.step`."""
        program = self.program
        values = dict(self.constants)
        values.update(
            {state.tensor: _wide(old) for state, old in zip(program.states, kept, strict=False)}
        )
        histories = iter(kept[len(program.states) :])
        newest = []
        for one, frame in zip(program.inputs, frames, strict=True):
            value = frame.reshape(given_shape(one, program.tensors[one.tensor]))
            if one.history:
                value = np.concatenate([next(histories), value], axis=-1)
                newest.append(value[..., -one.history :].copy())
            values[one.tensor] = _wide(value)
        for n, op in enumerate(program.ops):
            values.update(zip(op.outputs, self._compute(n, op, values), strict=True))
        outputs = [_narrow(values[one.tensor]) for one in program.outputs]
        return outputs, (*(_narrow(values[state.next]) for state in program.states), *newest)

    def _compute(self, n: int, op: Op, values: Mapping[int, Array]) -> Sequence[Array]:
        if n in self.layers:
            x, h, c = (_narrow(values[number]) for number in op.inputs[:3])
            with np.errstate(all="ignore"):  # what is not finite is allowed
                h_new, c_new = (_wide(_narrow(one)) for one in self.layers[n].step(x, h, c))
            return h_new, h_new, c_new
        own = self.own.get(n, {})
        inputs = [None if one == -1 else own.get(one, values[one]) for one in op.inputs]
        return compute(op.code, op.attributes, inputs)


def _int8_layer(op: Op, constants: Mapping[int, Array]) -> Int8Layer:
    """Return the layer of an `lstm` operation; its input is scaled as a frame is."""
    numbers = zip(LSTM_PARTS, op.inputs[3:], strict=False)
    parts = {name: constants[number] for name, number in numbers if number != -1}
    return Int8Layer(LayerWeights(**parts, cell=cell_of(op.attributes)), x_bounded=False)
