"""How the products and recurrent layers of a program store their weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._arguments import is_integer
from ._weights import FLOAT16_OVERFLOW, INT8_COLUMNS, WEIGHT_DTYPES
from .operations import OPERATIONS
from .program import Op, Program, ReadOnly

Types: TypeAlias = tuple[str, ...]  # of each operation, "float32" where it has no weights
WeightDtype: TypeAlias = "str | Mapping[int | str, str]"
HAVE_INT8 = frozenset({"lstm"})
PLAIN = WEIGHT_DTYPES[0]


def matrices(op: Op) -> dict[str, int]:
    """Return the tensors that hold an operation's weight matrices, by the names of its inputs."""
    names = [name.strip("=?") for name in OPERATIONS[op.code].inputs]
    named = zip(names, op.inputs, strict=False)
    return {name: number for name, number in named if name.startswith("weight") and number != -1}


def weight_types(program: Program, weight_dtype: Any) -> Types:
    """Return the type of each operation's weights, for a name or a mapping from operations.

    Raises:
        TypeError: weight_dtype is neither, or there is something else in it.
        ValueError: a type or an operation is unknown, or that operation has no such weights; or a
            weight is too large for the type.
    """
    if isinstance(weight_dtype, Mapping):
        types = _mapped(program, weight_dtype)
    else:
        types = _named(program, _checked(weight_dtype, "weight_dtype"))
    for n, type_ in enumerate(types):
        _check_range(program, n, type_)
    return types


def as_given(program: Program, types: Types) -> str | Mapping[int, str]:
    """Return the name that stands for these types, or else those that are not float32."""
    for name in WEIGHT_DTYPES:
        if name == "int8" and _without_int8(program):
            continue  # it is refused as a name for all of them
        if types == tuple(_type_under(name, op) for op in program.ops):
            return name
    return ReadOnly({n: type_ for n, type_ in enumerate(types) if type_ != PLAIN})


def _type_under(name: str, op: Op) -> str:
    """Return what a name for the whole model means for one operation."""
    has_it = op.code in HAVE_INT8 if name == "int8" else bool(matrices(op))
    return name if has_it else PLAIN


def _named(program: Program, name: str) -> Types:
    types = tuple(_type_under(name, op) for op in program.ops)
    if name == "int8":
        without = _without_int8(program)
        if without:
            raise ValueError(
                f"{_called(program, without[0])} has no int8 weights; weight_dtype takes a mapping "
                f"from operations to names, too: {_listed(program)}"
            )
    if name != PLAIN and name not in types:
        raise ValueError(f"no operation of this model has {name} weights: {_listed(program)}")
    return types


def _without_int8(program: Program) -> list[int]:
    """Return the recurrent operations that have no such weights."""
    return [n for n, op in enumerate(program.ops) if op.code == "gru"]


def _mapped(program: Program, mapping: Mapping[Any, Any]) -> Types:
    types = [PLAIN] * len(program.ops)
    for key, name in mapping.items():
        type_ = _checked(name, f"weight_dtype of operation {key!r}")
        for n in _numbers(program, key):
            if type_ == "int8" and program.ops[n].code not in HAVE_INT8:
                raise ValueError(
                    f"{_called(program, n)} has no int8 weights, only {' and '.join(HAVE_INT8)} "
                    f"has: {_listed(program)}"
                )
            types[n] = type_
    return tuple(types)


def _checked(name: Any, what: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a string, found {type(name).__name__}")
    if name not in WEIGHT_DTYPES:
        raise ValueError(f"there is no {what} {name!r}; choose one of {', '.join(WEIGHT_DTYPES)}")
    return name


def _numbers(program: Program, key: Any) -> list[int]:
    """Return the operations with weights that a key of a mapping means: one number, or a name."""
    ops = {n: op for n, op in enumerate(program.ops) if matrices(op)}
    if isinstance(key, str):
        found = _with_name(ops, key)
    elif is_integer(key):
        found = [int(key)] if key in ops else []
    else:
        raise TypeError(
            "weight_dtype names operations by number, by their name in the file, or by their kind, "
            f"found {type(key).__name__}"
        )
    if not found:
        raise ValueError(f"there is no operation {key!r} that has weights: {_listed(program)}")
    return found


def _with_name(ops: Mapping[int, Op], name: str) -> list[int]:
    """Return the operations of a source; or else those of a node of that name; or of a kind."""
    # A name in the file comes first: Keras calls a layer "lstm", and the next one "lstm_1".
    sources = {n: [op.source] for n, op in ops.items()}
    nodes = {n: _nodes(op.source) for n, op in ops.items()}
    kinds = {n: [op.code] for n, op in ops.items()}
    for names in (sources, nodes, kinds):
        if found := [n for n, some in names.items() if name in some]:
            return found
    return []


def _nodes(source: str) -> list[str]:
    """Return the names in a source such as "Conv /a" or "Conv /a, BatchNormalization /b"."""
    return [node.partition(" ")[2] for node in source.split(", ") if " " in node]


def _called(program: Program, n: int) -> str:
    op = program.ops[n]
    return f"operation {n} ({op.code}" + (f", {op.source!r})" if op.source else ")")


def _listed(program: Program) -> str:
    """Write which operations have weights, and of which types those may be."""

    def lines() -> Iterator[str]:
        for n, op in enumerate(program.ops):
            if matrices(op):
                types = [name for name in WEIGHT_DTYPES if _type_under(name, op) == name]
                yield f"{_called(program, n)}: {', '.join(types)}"

    return "; ".join(lines()) or "it has no weights"


def _check_range(program: Program, n: int, type_: str) -> None:
    for name, number in matrices(program.ops[n]).items():
        value: NDArray[Any] = program.constants[number]
        if type_ == "float16" and value.size:
            largest = float(np.max(np.abs(value)))
            if largest >= FLOAT16_OVERFLOW:
                raise ValueError(
                    f"{_called(program, n)}: {name} reaches {largest:g}, float16 only 65504"
                )
        if type_ == "int8" and value.shape[1] > INT8_COLUMNS:
            raise ValueError(
                f"{_called(program, n)}: {name} has {value.shape[1]} columns, int8 can sum "
                f"{INT8_COLUMNS} exactly"
            )
