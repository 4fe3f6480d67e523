"""A program on the reference backend: float64 inside a step, float32 between steps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .._weight_types import Types, matrices
from .._weights import LayerWeights
from ..operations import cell_of
from ..program import Op, Program
from ..reference_operations import LSTM_PARTS, compute
from ._program_steps import ProgramModel, narrow
from ._reference_layers import Int8Layer
from ._stepwise import Array


def _wide(value: Array) -> Array:
    return value.astype(np.float64) if value.dtype.kind == "f" else value


class ReferenceProgram(ProgramModel):
    """The program, with its constants in float64. Nothing in it changes.

    types: of each operation's weights. own: what an operation reads in place of constants.
    """

    def __init__(self, program: Program, types: Types) -> None:
        constants = {number: _wide(value) for number, value in program.constants.items()}
        super().__init__(program, constants)
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
        self.nbytes += sum(value.nbytes for own in self.own.values() for value in own.values())
        self.nbytes += sum(layer.nbytes for layer in self.layers.values())

    def _taken(self, value: Array) -> Array:
        return _wide(value)

    def _compute(self, n: int, values: Mapping[int, Array]) -> tuple[Array, ...]:
        op = self.program.ops[n]
        if n in self.layers:
            x, h, c = (narrow(values[number]) for number in op.inputs[:3])
            with np.errstate(all="ignore"):  # what is not finite is allowed
                h_new, c_new = (_wide(narrow(one)) for one in self.layers[n].step(x, h, c))
            return h_new, h_new, c_new
        own = self.own.get(n, {})
        inputs = [None if one == -1 else own.get(one, values[one]) for one in op.inputs]
        return compute(op.code, op.attributes, inputs)


def _int8_layer(op: Op, constants: Mapping[int, Array]) -> Int8Layer:
    """Return the layer of an `lstm` operation; its input is scaled as a frame is."""
    numbers = zip(LSTM_PARTS, op.inputs[3:], strict=False)
    parts = {name: constants[number] for name, number in numbers if number != -1}
    return Int8Layer(LayerWeights(**parts, cell=cell_of(op.attributes)), x_bounded=False)
