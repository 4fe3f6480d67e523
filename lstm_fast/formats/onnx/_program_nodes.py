"""What the functions that turn nodes into operations get, and where they are registered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...program import Kind
from ._file import Array
from ._operators import MOST_NUMBERS
from ._program_builder import Builder, Sym, UnsupportedError, Value

Lowering = Callable[["Node"], "list[Value]"]

# By operator. Each adds the operations of a node and returns the values of its outputs.
LOWERINGS: dict[str, Lowering] = {}


@dataclass(frozen=True)
class Node:
    """One node, with its inputs known: constants, or values of the step.

    opset: the version of its operators. outputs: how many it has. name: for registers of its own.
    past: the axis of its input that is time, where it pads that with frames of the steps before.
    cuts: what it takes of axes, where that is not what the file says.
    """

    op_type: str
    name: str
    inputs: tuple[Value | None, ...]
    attributes: Mapping[str, Any]
    opset: int
    outputs: int
    builder: Builder
    registers: Registers
    past: int | None = None
    cuts: Mapping[int, slice] = field(default_factory=dict)

    def need(self, index: int) -> Value:
        """Return an input.

        Raises:
            ValueError: it is left out.
        """
        value = self.given(index)
        if value is None:
            raise ValueError(f"input {index} is missing")
        return value

    def given(self, index: int) -> Value | None:
        """Return an input, None where it is left out."""
        return self.inputs[index] if index < len(self.inputs) else None

    def known(self, index: int, what: str) -> Array | None:
        """Return an input that must be in the file, None where it is left out.

        Raises:
            UnsupportedError: it is computed when the model runs.
        """
        value = self.given(index)
        if isinstance(value, Sym):
            raise UnsupportedError(f"its {what} is computed when the model runs")
        return value

    def needed(self, index: int, what: str) -> Array:
        """Return an input that must be there, and in the file."""
        value = self.known(index, what)
        if value is None:
            raise ValueError(f"its {what} is missing")
        return value

    def whole_numbers(self, index: int, name: str) -> list[int] | None:
        """Return what older versions have as an attribute and newer ones as an input."""
        value = self.known(index, name)
        if value is not None and value.size > MOST_NUMBERS:
            raise ValueError(f"its {name} has {value.size} numbers, more than {MOST_NUMBERS}")
        if value is not None:
            return [int(one) for one in np.ravel(value)]
        found = self.attributes.get(name)
        return None if found is None else [int(one) for one in found]

    def of_kind(self, value: Value, kind: Kind = "float32") -> Value:
        """Return a value after a check of what its elements are.

        Raises:
            UnsupportedError: they are something else.
        """
        found = self.builder.kind(value)
        if found != kind:
            raise UnsupportedError(f"it takes {kind} here, found {found}")
        return value


@dataclass(frozen=True)
class Start:
    """Where a recurrent node's h or c starts: a register of its own, "" for none; its tensor.

    weights: tensors that are the same for all steps of nodes that are one.
    """

    kind: str
    own: str
    tensor: int
    weights: tuple[int, ...]


class Registers:
    """States that a graph has no names for: of recurrent nodes that start from constants."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self.found: dict[str, tuple[int, Array]] = {}
        self.next: dict[str, int] = {}
        self._next: dict[str, int] = {}  # numbers that make names unique
        self.starts: dict[str, list[Start]] = {}  # by node

    def new(self, name: str, initial: Array) -> tuple[str, int]:
        """Add one, and return its name and its tensor."""
        unique, count = name, self._next.get(name, 2)
        while unique in self.found:
            self._builder.spend()
            unique, count = f"{name}#{count}", count + 1
        self._next[name] = count
        self._builder.take(initial.nbytes + len(name))
        self.found[unique] = (self._builder.tensor(initial.shape), initial)
        return unique, self.found[unique][0]


def lowering(*names: str) -> Callable[[Lowering], Lowering]:
    """Register a function for operators."""

    def register(function: Lowering) -> Lowering:
        LOWERINGS.update(dict.fromkeys(names, function))
        return function

    return register


def axis_in(axis: int, rank: int) -> int:
    """Return an axis counted from 0.

    Raises:
        ValueError: there is no such axis.
    """
    if not -rank <= axis < rank:
        raise ValueError(f"there is no axis {axis} in {rank} axes")
    return axis % rank
