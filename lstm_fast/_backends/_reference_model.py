"""A program on the reference backend: float64 inside a step, float32 between steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._arrays import canonical
from .._program_checks import DTYPES, given_shape
from ..program import Program
from ..reference_operations import compute

Array: TypeAlias = NDArray[Any]
Kept: TypeAlias = tuple[Array, ...]  # states in the program's order, then histories in the inputs'


def _wide(value: Array) -> Array:
    return value.astype(np.float64) if value.dtype.kind == "f" else value


def _narrow(value: Array) -> Array:
    """Return values as they leave a step: float32 and canonical where they are floats."""
    with np.errstate(all="ignore"):
        return canonical(value.astype(np.float32)) if value.dtype.kind == "f" else value


class ReferenceModel:
    """The program, with its constants in float64. Nothing in it changes."""

    isa = None

    def __init__(self, program: Program) -> None:
        self.program = program
        self.constants = {number: _wide(value) for number, value in program.constants.items()}
        self.nbytes = sum(value.nbytes for value in self.constants.values())
        self.initial: Kept = (
            *(state.initial for state in program.states),
            *(
                np.zeros(self._history_shape(n), DTYPES[program.tensors[one.tensor].kind])
                for n, one in enumerate(program.inputs)
                if one.history
            ),
        )

    def _history_shape(self, n: int) -> tuple[int, ...]:
        one = self.program.inputs[n]
        return (*self.program.tensors[one.tensor].shape[:-1], one.history)

    def step(self, kept: Kept, frames: Sequence[Array]) -> tuple[list[Array], Kept]:
        """Take one step; nothing that is given is written to.

        Args:
            kept: what a session keeps.
            frames: a value for each input, of the shape and dtype that the program says, floats
                canonical.

        Returns:
            A value for each output, and what the session keeps from now on.

        Raises:
            ValueError: an index is beyond an embedding's table.
        """
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
        for op in program.ops:
            inputs = [None if number == -1 else values[number] for number in op.inputs]
            values.update(zip(op.outputs, compute(op.code, op.attributes, inputs), strict=True))
        outputs = [_narrow(values[one.tensor]) for one in program.outputs]
        return outputs, (*(_narrow(values[state.next]) for state in program.states), *newest)
