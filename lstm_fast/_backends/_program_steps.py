"""What every backend in Python does to take a step of a program; the operations are its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._arrays import FLOAT32, canonical
from .._program_checks import DTYPES, given_shape, kept_tensors
from ..program import Program
from ._pool_of_streams import PoolOfStreams
from ._stepwise import Array, Kept, StepwiseStream

if TYPE_CHECKING:
    from ..model import Model


def narrow(value: Array) -> Array:
    """Return values as they leave a step: float32 and canonical where they are floats."""
    with np.errstate(all="ignore"):
        return canonical(value.astype(FLOAT32)) if value.dtype.kind == "f" else value


class ProgramModel(ABC):
    """A program, with its constants as its operations take them. Nothing in it changes."""

    isa = None

    def __init__(self, program: Program, constants: Mapping[int, Array]) -> None:
        self.program = program
        self.constants = constants
        self.nbytes = sum(value.nbytes for value in constants.values())
        histories = [*kept_tensors(program).values()][len(program.states) :]
        self.initial: Kept = (
            *(state.initial for state in program.states),
            *(np.zeros(one.shape, DTYPES[one.kind]) for one in histories),
        )

    def stream(self, whole: Model) -> StepwiseStream:
        return StepwiseStream(whole, self)

    def pool(self, whole: Model, capacity: int, prepared: int, threads: int) -> PoolOfStreams:
        return PoolOfStreams(whole, capacity, prepared)

    @abstractmethod
    def _taken(self, value: Array) -> Array:
        """Return a value of an input or a state as operations take it."""

    @abstractmethod
    def _compute(self, number: int, values: Mapping[int, Array]) -> tuple[Array, ...]:
        """Return the outputs of the operation of that number; values: what there is by now."""

    def step(self, kept: Kept, frames: Sequence[Array]) -> tuple[list[Array], Kept]:
        """See `StepwiseCore.step`."""
        program = self.program
        values = dict(self.constants)
        values.update(
            {
                state.tensor: self._taken(old)
                for state, old in zip(program.states, kept, strict=False)
            }
        )
        histories = iter(kept[len(program.states) :])
        newest = []
        for one, frame in zip(program.inputs, frames, strict=True):
            value = frame.reshape(given_shape(one, program.tensors[one.tensor]))
            if one.history:
                value = np.concatenate([next(histories), value], axis=-1)
                newest.append(value[..., -one.history :].copy())
            values[one.tensor] = self._taken(value)
        for number, op in enumerate(program.ops):
            values.update(zip(op.outputs, self._compute(number, values), strict=True))
        outputs = [narrow(values[one.tensor]) for one in program.outputs]
        return outputs, (*(narrow(values[state.next]) for state in program.states), *newest)
