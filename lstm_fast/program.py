"""A model as a list of operations: what files are read into, and what every backend runs.

A program is one step of one session. Its values are tensors without a batch axis, numbered from 0;
each is an input, a state, a constant, or what one operation computes. Operations are in an order
in which each finds its inputs computed. State is a register: at the end of a step the tensor that a
`State` names as `next` becomes the one that it names as `tensor`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

Kind = Literal["float32", "int64", "bool"]
Shape = tuple[int, ...]
VERSION = 1
Key = TypeVar("Key")
Item = TypeVar("Item")


class ReadOnly(Mapping[Key, Item]):
    """A mapping that does not change, as a model's program has them; it can be pickled."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[Key, Item]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: Key) -> Item:
        return self._items[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return repr(self._items)


@dataclass(frozen=True)
class Tensor:
    """A value of a step: its shape, and what its elements are."""

    shape: Shape
    kind: Kind = "float32"


@dataclass(frozen=True)
class Input:
    """What a caller gives in each step.

    history: so many values of the last axis come in front of those that a caller gives: the last
        ones of the steps before, zeros at first. `tensor` has both.
    shape: of what a caller gives, as the caller gives it.
    """

    name: str
    tensor: int
    shape: Shape
    history: int = 0


@dataclass(frozen=True)
class Output:
    """What a step returns."""

    name: str
    tensor: int


@dataclass(frozen=True, eq=False)
class State:
    """What a session keeps from one step to the next.

    tensor: what operations read. next: what becomes it at the end of a step. initial: where a
        session starts, of the tensor's shape.
    """

    name: str
    tensor: int
    next: int
    initial: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Op:
    """One operation; `operations.py` says what each code computes, and of what attributes.

    inputs: tensors, -1 for one that is left out. source: what it was in the file.
    """

    code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True, eq=False)
class Program:
    """One step of a model; see above.

    constants: the tensors that never change, by number. notes: what a reader assumed. Of a model's
    program all mappings and arrays are read-only.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[Output, ...]
    states: tuple[State, ...]
    tensors: tuple[Tensor, ...]
    constants: Mapping[int, NDArray[Any]]
    ops: tuple[Op, ...]
    notes: tuple[str, ...] = ()
    version: int = VERSION
