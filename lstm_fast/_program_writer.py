"""A program as it grows, for readers of models that are chains: one input, one output."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._program_attributes import complete
from ._program_shapes import infer
from .program import Input, Kind, Op, Output, Program, Shape, State, Tensor

MOST_OPS = 20_000
MOST_ELEMENTS = 1 << 24  # of one value
MOST_IN_ALL = 1 << 28  # of all values that are not constants
MOST_KEPT = 1 << 22  # of all states, which a file need not hold


class Writer:
    """The tensors, constants, operations and states so far.

    source: what the operations that come next are in the file.
    """

    def __init__(self) -> None:
        self.source = ""
        self._tensors: list[Tensor] = []
        self._constants: dict[int, NDArray[Any]] = {}
        self._ops: list[Op] = []
        self._states: dict[str, tuple[int, NDArray[np.float32]]] = {}
        self._next: dict[int, int] = {}
        self._notes: dict[str, None] = {}
        self._elements = 0
        self._kept = 0

    def value(self, shape: Shape, kind: Kind = "float32") -> int:
        """Add a tensor that is known when the model runs.

        Raises:
            ValueError: it is larger than any step needs.
        """
        elements = math.prod(shape)
        self._elements += elements
        if elements > MOST_ELEMENTS or self._elements > MOST_IN_ALL:
            raise ValueError(f"a value of shape {shape} is too large for one step of a session")
        self._tensors.append(Tensor(shape, kind))
        return len(self._tensors) - 1

    def constant(self, values: NDArray[np.float32]) -> int:
        """Add float32 values that never change."""
        self._tensors.append(Tensor(values.shape))
        whole = np.ascontiguousarray(values).reshape(values.shape)  # which is (1,) of () otherwise
        self._constants[len(self._tensors) - 1] = whole
        return len(self._tensors) - 1

    def emit(self, code: str, *inputs: int, **attributes: Any) -> int:
        """Add an operation with one output, and return that; see `emit_all`."""
        return self.emit_all(code, *inputs, **attributes)[0]

    def emit_all(self, code: str, *inputs: int, **attributes: Any) -> tuple[int, ...]:
        """Add an operation, and return its outputs.

        Raises:
            ValueError: inputs and attributes don't fit, or there are too many operations.
        """
        if len(self._ops) >= MOST_OPS:
            raise ValueError(f"the model takes more than {MOST_OPS} operations")
        given = [None if number < 0 else self._tensors[number] for number in inputs]
        made = infer(code, complete(code, attributes), given)
        outputs = tuple(self.value(one.shape, one.kind) for one in made)
        self._ops.append(Op(code, inputs, outputs, attributes, self.source))
        return outputs

    def state(self, name: str, shape: Shape, initial: NDArray[np.float32] | None = None) -> int:
        """Add a state under this name, or one like it that is free; `keep` says what becomes it.

        Args:
            name: what callers know it by.
            shape: of it.
            initial: where sessions start; None: at zeros.

        Raises:
            ValueError: all of them together are larger than those of any model.
        """
        self._kept += math.prod(shape)
        if self._kept > MOST_KEPT:
            raise ValueError(f"a state of shape {shape} is too large for a session")
        if initial is None:
            initial = np.zeros(shape, np.float32)
        unique, count = name, 2
        while unique in self._states:
            unique, count = f"{name}#{count}", count + 1
        self._states[unique] = (self.value(shape), initial)
        return self._states[unique][0]

    def keep(self, state: int, value: int) -> None:
        """Say what a state is at the end of a step."""
        self._next[state] = value

    def note(self, text: str) -> None:
        self._notes[text] = None

    def tensor(self, number: int) -> Tensor:
        return self._tensors[number]

    def program(self, given: tuple[str, int], result: tuple[str, int]) -> Program:
        """Return the program, from its one input to its one output, each a name and a tensor."""
        (name, tensor), (end, last) = given, result
        return Program(
            inputs=(Input(name, tensor, self._tensors[tensor].shape),),
            outputs=(Output(end, last),),
            states=tuple(
                State(name, number, self._next[number], initial)
                for name, (number, initial) in self._states.items()
            ),
            tensors=tuple(self._tensors),
            constants=self._constants,
            ops=tuple(self._ops),
            notes=tuple(self._notes),
        )
