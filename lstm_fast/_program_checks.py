"""Whether a program is one: `checked` returns it in one canonical form, or says what is wrong."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._arguments import MAX_SIZE, is_integer
from ._arrays import canonical
from ._program_attributes import complete
from ._program_shapes import check_shape, infer
from .errors import FormatError
from .operations import OPERATIONS
from .program import VERSION, Input, Op, Output, Program, ReadOnly, Shape, State, Tensor

DTYPES: Mapping[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "int64": np.dtype(np.int64),
    "bool": np.dtype(np.bool_),
}
MAX_TENSORS = 2**16  # and operations, inputs and so on
MAX_TEXT = 2**12  # characters of a name
MAX_NOTE = 2**16  # and of a note
FINITE = frozenset(
    {"weight", "weight_ih", "weight_hh", "weight_hr", "bias", "bias_ih", "bias_hh", "bias_hr"}
    | {"peephole", "layer_norm"}
)


def history_name(name: str) -> str:
    """Return what the history of an input is called among the states of a session."""
    return f"{name}.history"


def given_shape(one: Input, tensor: Tensor) -> Shape:
    """Return the shape of the new part of an input's tensor, without its history."""
    if not one.history:
        return tensor.shape
    return (*tensor.shape[:-1], tensor.shape[-1] - one.history)


def given_tensors(program: Program) -> dict[str, Tensor]:
    """Return what a step takes: the inputs as a caller gives them."""
    tensors = program.tensors
    return {one.name: Tensor(one.shape, tensors[one.tensor].kind) for one in program.inputs}


def returned_tensors(program: Program) -> dict[str, Tensor]:
    """Return what a step returns."""
    return {one.name: program.tensors[one.tensor] for one in program.outputs}


def kept_tensors(program: Program) -> dict[str, Tensor]:
    """Return what a session keeps: the states, then the histories of the inputs that have one."""
    tensors = program.tensors
    kept = {one.name: tensors[one.tensor] for one in program.states}
    for one in program.inputs:
        if one.history:
            whole = tensors[one.tensor]
            shape = (*whole.shape[:-1], one.history)
            kept[history_name(one.name)] = Tensor(shape, whole.kind)
    return kept


def checked(program: Program, where: object = "program") -> Program:
    """Return the program with all attributes, its arrays as their tensors want them, all read-only.

    Args:
        program: what is to be checked.
        where: the file, or whatever errors are to begin with.

    Raises:
        FormatError: an index is out of range; something is used before it is computed, or computed
            twice; shapes, kinds or attributes don't fit; or there is too much of it.
    """
    try:
        return _Check(program).result()
    except FormatError:
        raise
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise FormatError(f"{where}: {error}") from error


@contextmanager
def _part(text: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ValueError(f"{text}: {error}") from error


class _Check:
    """The program, and which of its tensors there are so far: by what each was made.

    An operation stands there by its number: thousands of names may have one long text in them.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.origin: dict[int, str | int] = {}
        self.finite: set[int] = set()  # constants that are, so that each is looked at once

    def result(self) -> Program:
        program = self.program
        if program.version != VERSION:
            raise ValueError(f"it has version {program.version!r}, this lstm_fast knows {VERSION}")
        for what in ("tensors", "inputs", "outputs", "states", "constants", "ops", "notes"):
            if (many := len(getattr(program, what))) > MAX_TENSORS:
                raise ValueError(f"it has {many} {what}, at most {MAX_TENSORS} are possible")
        if not program.inputs or not program.outputs:
            raise ValueError("it has no input, or no output")
        for number, tensor in enumerate(program.tensors):
            with _part(f"tensor {number}"):
                _check_tensor(tensor)
        names = [one.name for one in program.states]
        names += [history_name(one.name) for one in program.inputs if one.history]
        for what, texts in (
            ("inputs", [one.name for one in program.inputs]),
            ("outputs", [one.name for one in program.outputs]),
            ("states", names),
        ):
            _check_names(what, texts)
        for note in dict.fromkeys(program.notes):  # many may be one long text
            _check_text(note, MAX_NOTE)
        with _part("the source of an operation"):
            for source in dict.fromkeys(op.source for op in program.ops):
                _check_text(source, MAX_TEXT)
        constants = ReadOnly(dict(sorted(self._constants())))
        inputs = tuple(self._input(one) for one in program.inputs)
        for state in program.states:
            self._make(state.tensor, f"state {state.name!r}")
        ops = tuple(self._op(number, op, constants) for number, op in enumerate(program.ops))
        outputs = tuple(self._output(one) for one in program.outputs)
        states = tuple(self._state(one) for one in program.states)
        sizes = (
            math.prod(tensor.shape)
            for number, tensor in enumerate(program.tensors)
            if number not in constants
        )
        if (total := sum(sizes)) > MAX_SIZE:
            raise ValueError(f"a step computes {total} values, at most {MAX_SIZE} are possible")
        tensors = tuple(
            Tensor(tuple(map(int, tensor.shape)), tensor.kind) for tensor in program.tensors
        )
        notes = tuple(program.notes)
        return Program(inputs, outputs, states, tensors, constants, ops, notes)

    def _tensor(self, number: Any) -> Tensor:
        if not is_integer(number) or not 0 <= number < len(self.program.tensors):
            raise ValueError(
                f"there is no tensor {number!r}, there are {len(self.program.tensors)}"
            )
        tensor: Tensor = self.program.tensors[number]
        return tensor

    def _name(self, origin: str | int) -> str:
        """Return what made a tensor, as errors call it."""
        if isinstance(origin, str):
            return origin
        op = self.program.ops[origin]
        return f"operation {origin} ({op.code}" + (f", {op.source})" if op.source else ")")

    def _make(self, number: int, origin: str | int) -> Tensor:
        """Return a tensor that is there from now on."""
        with _part(self._name(origin)):
            tensor = self._tensor(number)
        if number in self.origin:
            before = self._name(self.origin[number])
            raise ValueError(f"{self._name(origin)} makes tensor {number}, as does {before}")
        self.origin[number] = origin
        return tensor

    def _there(self, number: int) -> Tensor:
        """Return a tensor that must be there by now."""
        tensor = self._tensor(number)
        if number not in self.origin:
            raise ValueError(f"nothing has computed tensor {number} before it is used")
        return tensor

    def _constants(self) -> Iterator[tuple[int, NDArray[Any]]]:
        for number, value in self.program.constants.items():
            name = f"constant {number}"
            tensor = self._make(number, name)
            with _part(name):
                yield int(number), _array(value, tensor)

    def _input(self, one: Input) -> Input:
        name = f"input {one.name!r}"
        tensor = self._make(one.tensor, name)
        with _part(name):
            check_shape(one.shape)
            if not is_integer(one.history) or one.history < 0:
                raise ValueError(f"its history is {one.history!r}, expected 0 or more")
            if one.history and (not tensor.shape or one.history >= tensor.shape[-1]):
                raise ValueError(f"its history is {one.history}, its tensor {tensor.shape}")
            given = given_shape(one, tensor)
            if math.prod(one.shape) != math.prod(given):
                raise ValueError(f"its shape is {one.shape}, its tensor takes {given}")
        shape = tuple(map(int, one.shape))
        return Input(one.name, int(one.tensor), shape, int(one.history))

    def _op(self, number: int, op: Op, constants: Mapping[int, NDArray[Any]]) -> Op:
        name = self._name(number)
        with _part(name):
            if op.code not in OPERATIONS:
                raise ValueError(f"there is no operation {op.code!r}")
            operation = OPERATIONS[op.code]
            attributes = ReadOnly(complete(op.code, op.attributes))
            ids = [*op.inputs]
            while ids and ids[-1] == -1:
                ids.pop()
            inputs = [None if i == -1 else self._there(i) for i in ids]
            for input_name, i in zip(operation.inputs, ids, strict=False):
                if i != -1 and input_name.startswith("="):
                    self._check_constant(input_name.strip("=?"), i, constants)
            outputs = infer(op.code, attributes, inputs)
            if op.code == "gather":
                _check_indices(constants[ids[1]], inputs[0], attributes["axis"])
            if len(op.outputs) != len(outputs):
                raise ValueError(f"it has {len(outputs)} outputs, found {len(op.outputs)}")
        for i, expected in zip(op.outputs, outputs, strict=True):
            tensor = self._make(i, number)
            if (tuple(tensor.shape), tensor.kind) != (expected.shape, expected.kind):
                raise ValueError(
                    f"{name}: tensor {i} is {tensor.shape} {tensor.kind}, but it computes "
                    f"{expected.shape} {expected.kind}"
                )
        return Op(op.code, tuple(map(int, ids)), tuple(map(int, op.outputs)), attributes, op.source)

    def _check_constant(self, name: str, number: int, constants: Mapping[int, Any]) -> None:
        if number not in constants:
            raise ValueError(f"{name} is {self._name(self.origin[number])}, expected a constant")
        if name in FINITE and number not in self.finite:
            if not np.isfinite(constants[number]).all():
                raise ValueError(f"{name} has values that are not finite")
            self.finite.add(number)

    def _output(self, one: Output) -> Output:
        with _part(f"output {one.name!r}"):
            self._there(one.tensor)
        return replace(one, tensor=int(one.tensor))

    def _state(self, one: State) -> State:
        with _part(f"state {one.name!r}"):
            before, after = self._tensor(one.tensor), self._there(one.next)
            if before.kind != "float32" or before != after:
                raise ValueError(
                    f"it is {before.shape} {before.kind}, and becomes {after.shape} {after.kind}; "
                    "expected float32 of one shape"
                )
            initial = canonical(_array(one.initial, before))
            initial.flags.writeable = False
        return State(one.name, int(one.tensor), int(one.next), initial)


def _check_tensor(tensor: Tensor) -> None:
    if tensor.kind not in DTYPES:
        raise ValueError(f"its kind is {tensor.kind!r}, expected one of {', '.join(DTYPES)}")
    check_shape(tensor.shape)


def _check_text(text: Any, limit: int) -> None:
    if not isinstance(text, str):
        raise TypeError(f"expected text, found {type(text).__name__}")
    text.encode()  # raises UnicodeEncodeError, a ValueError, for half a surrogate pair
    if len(text) > limit or "\0" in text:
        raise ValueError(f"a text of {len(text)} characters, or with a NUL, is not a name")


def _check_names(what: str, names: Iterable[Any]) -> None:
    seen = set()
    for name in names:
        _check_text(name, MAX_TEXT)
        if not name or name in seen:
            raise ValueError(f"two {what} are called {name!r}, or one has no name")
        seen.add(name)


def _array(value: Any, tensor: Tensor) -> NDArray[Any]:
    """Return an array of a tensor's shape and dtype, read-only; a copy where it could change."""
    array, dtype = np.asarray(value), DTYPES[tensor.kind]
    if array.shape != tuple(tensor.shape):
        raise ValueError(f"it has shape {array.shape}, its tensor {tensor.shape}")
    if not (array.dtype == dtype or (array.dtype.kind == dtype.kind and dtype.kind != "b")):
        raise ValueError(f"it has dtype {array.dtype}, its tensor is {tensor.kind}")
    with np.errstate(all="ignore"):
        array = array.astype(dtype, order="C", copy=not _never_changes(array))
    array.flags.writeable = False
    return array


def _never_changes(array: NDArray[Any]) -> bool:
    """Say whether an array is a view of bytes, as those of a file are."""
    base = array
    while isinstance(base, np.ndarray) and base.base is not None:
        base = base.base
    return isinstance(base, bytes)


def _check_indices(indices: NDArray[Any], x: Tensor | None, axis: int) -> None:
    size = x.shape[axis] if x is not None else 0
    wrong = indices[(indices < -size) | (indices >= size)]
    if wrong.size:
        raise ValueError(f"the index {wrong[0]} is not within the {size} of axis {axis}")
