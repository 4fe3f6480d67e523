"""A program on the Numba backend: float32 throughout, with the bits of the C core."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeAlias

from .._weight_types import Types
from ..operations import OPERATIONS
from ..program import Op, Program
from ._numba_operations import compute
from ._numba_weighted import WEIGHTED
from ._program_steps import ProgramModel
from ._stepwise import Array, owned

Function: TypeAlias = Callable[..., tuple[Array, ...]]


def _taken_by(op: Op) -> tuple[int, ...]:
    """Return the inputs that an operation takes in a step: all but weights, which are packed."""
    if op.code not in WEIGHTED:
        return op.inputs
    names = zip(OPERATIONS[op.code].inputs, op.inputs, strict=False)
    return tuple(number for name, number in names if not name.startswith("="))


def _read(program: Program) -> Iterator[int]:
    """Yield the tensors that a step reads."""
    for op in program.ops:
        yield from _taken_by(op)
    yield from (one.tensor for one in program.outputs)
    yield from (one.next for one in program.states)


class NumbaProgram(ProgramModel):
    """The program, with the weights of its operations packed."""

    def __init__(self, program: Program, types: Types) -> None:
        read = set(_read(program))
        constants = {n: owned(value) for n, value in program.constants.items() if n in read}
        super().__init__(program, constants)
        self.functions = [
            self._function(op, type_) for op, type_ in zip(program.ops, types, strict=True)
        ]

    def _function(self, op: Op, type_: str) -> Function:
        if op.code not in WEIGHTED:
            return partial(compute, op.code, op.attributes)
        numbers = op.inputs[len(_taken_by(op)) :]
        weights = [None if i == -1 else self.program.constants[i] for i in numbers]
        packed = WEIGHTED[op.code](op.attributes, weights, type_)
        self.nbytes += packed.nbytes
        return packed

    def _taken(self, value: Array) -> Array:
        return value

    def _compute(self, number: int, values: Mapping[int, Array]) -> tuple[Array, ...]:
        inputs = _taken_by(self.program.ops[number])
        return self.functions[number](*(None if i == -1 else values[i] for i in inputs))
