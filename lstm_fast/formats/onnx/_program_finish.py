"""The end of reading a graph: what nothing needs goes, and the rest becomes a program."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...program import Input, Op, Output, Program, Shape, State, Tensor
from .._files import FormatError
from ._program_builder import Builder, Sym, Value, shape_of, stripped
from ._program_nodes import Registers


@dataclass(frozen=True)
class Kept:
    """A state between an input and an output: its name, the input, what that becomes."""

    name: str
    given: Sym
    next: Value


def finished(
    path: object,
    builder: Builder,
    registers: Registers,
    inputs: Mapping[str, Sym],
    outputs: Mapping[str, Value],
    times: Mapping[str, Sequence[int]],
    kept: Sequence[Kept],
    history: Mapping[str, int],
) -> Program:
    """Return the program.

    times: the axes of outputs that are time, which they are returned without.

    Raises:
        FormatError: history does not fit the inputs.
    """
    builder.source = ""
    ends = [
        Output(name, builder.shaped(value, _frame(shape_of(value), times.get(name, ()))))
        for name, value in outputs.items()
    ]
    states = [
        State(name, tensor, registers.next[name], initial)
        for name, (tensor, initial) in registers.found.items()
        if name in registers.next
    ]
    first: list[Op] = []
    for one in kept:
        tensor, shape = one.given.tensor, one.given.shape
        if builder.shape(tensor) != shape:
            flat = builder.shape(tensor)
            builder.tensors.append(Tensor(shape))
            whole = len(builder.tensors) - 1
            first.append(Op("reshape", (whole,), (tensor,), {"shape": flat}, f"state {one.name}"))
            tensor = whole
        after = builder.shaped(one.next, shape)
        states.append(State(one.name, tensor, after, np.zeros(shape, np.float32)))
    ops, states = _needed([*first, *builder.ops], ends, states)
    used = {tensor for op in ops for tensor in op.inputs} | {end.tensor for end in ends}
    used |= {state.next for state in states}
    starts = []
    for name, given in inputs.items():
        if given.tensor in used:
            starts.append(_input(path, builder, name, given, history.get(name, 0)))
        else:
            builder.note(f"input {name} is left out: nothing takes it")
    if unknown := sorted(set(history) - {one.name for one in starts}):
        known = ", ".join(one.name for one in starts) or "none"
        raise FormatError(f"{path}: history names {', '.join(unknown)}: the inputs are {known}")
    return _numbered(builder, starts, ends, states, ops)


def _frame(shape: Shape, times: Sequence[int]) -> Shape:
    """Return what a step returns of a shape: without axes of time, and leading ones of size 1."""
    frame = [size for n, size in enumerate(shape) if size != 1 or n not in times]
    return stripped(frame) if shape else ()


def _input(path: object, builder: Builder, name: str, given: Sym, history: Any) -> Input:
    """Return an input, of whose last axis so many values come from the steps before."""
    shape = builder.shape(given.tensor)
    try:
        count = -1 if isinstance(history, (bool, np.bool_)) else operator.index(history)
    except TypeError:
        count = -1
    if count < 0:
        raise FormatError(f"{path}: history gives {name!r} as {history!r}, expected 0 or more")
    if count and (kind := builder.kind(given)) != "float32":
        raise FormatError(
            f"{path}: a history is for float32 inputs alone, and input {name!r} is {kind}: keep "
            f"its last {count} values yourself, and give all {shape[-1]} in each step"
        )
    if count >= shape[-1]:
        raise FormatError(
            f"{path}: a history of {count} values does not fit into input {name!r}, which has "
            f"{shape[-1]}, history and all"
        )
    if count:
        axis = len(given.shape) - 1
        builder.note(f"input {name}: {count} values of its last axis, {axis}, are kept as history")
    return Input(name, given.tensor, (*shape[:-1], shape[-1] - count), count)


def _needed(ops: list[Op], ends: list[Output], states: list[State]) -> tuple[list[Op], list[State]]:
    """Return the operations and states that outputs depend on, in this step or a later one."""
    made = {tensor: op for op in ops for tensor in op.outputs}
    registers = {state.tensor: state for state in states}
    waiting = [end.tensor for end in ends]
    seen: set[int] = set()
    while waiting:
        tensor = waiting.pop()
        if tensor in seen:
            continue
        seen.add(tensor)
        if tensor in made:
            waiting += [one for one in made[tensor].inputs if one >= 0]
        elif tensor in registers:
            waiting.append(registers[tensor].next)
    kept = [op for op in ops if seen.intersection(op.outputs)]
    return kept, [state for state in states if state.tensor in seen]


def _numbered(
    builder: Builder,
    starts: Sequence[Input],
    ends: Sequence[Output],
    states: Sequence[State],
    ops: Sequence[Op],
) -> Program:
    """Return the program with tensors numbered in the order in which they are first needed."""
    numbers: dict[int, int] = {-1: -1}
    order = [one.tensor for one in starts] + [one.tensor for one in states]
    order += [tensor for op in ops for tensor in (*op.inputs, *op.outputs)]
    order += [one.tensor for one in ends] + [one.next for one in states]
    for tensor in order:
        numbers.setdefault(tensor, len(numbers) - 1)
    tensors = [old for old in numbers if old >= 0]
    return Program(
        inputs=tuple(replace(one, tensor=numbers[one.tensor]) for one in starts),
        outputs=tuple(replace(one, tensor=numbers[one.tensor]) for one in ends),
        states=tuple(
            replace(one, tensor=numbers[one.tensor], next=numbers[one.next]) for one in states
        ),
        tensors=tuple(builder.tensors[old] for old in tensors),
        constants={
            numbers[old]: builder.constants[old] for old in tensors if old in builder.constants
        },
        ops=tuple(
            replace(
                op,
                inputs=tuple(numbers[one] for one in op.inputs),
                outputs=tuple(numbers[one] for one in op.outputs),
            )
            for op in ops
        ),
        notes=tuple(builder.notes),
    )
