"""Programs of single operations, what the text says of them, and what a backend computes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from program_cases import Builder, named

from lstm_fast import Model
from lstm_fast._program_attributes import complete
from lstm_fast._program_checks import checked
from lstm_fast.program import Program
from oracle.exact import bits, canonical

EDGES = [
    *(0.0, 1.0, 2.0**-149, 2.0**-127, 2.0**-126, 1e-38, 2.0**-100, 2.0**-60, 2.0**-30, 0.25, 0.5),
    *(1 / 3, 0.75, 2.0, 3.0, 7.0, 150.0, 2.0**22 + 0.5, 2.0**23 + 1, 2.0**24 - 1, 2.0**24, 2.0**60),
    *(18.0, 20.0, 64.0, 87.33654, 87.33655, 88.72283, 88.72284, 89.0, 103.0, 104.0, 2.0**64),
    *(3.4028234663852886e38, np.inf, np.nan),
]


def floats(seed: int, *shape: int) -> np.ndarray:
    """Random bits, numbers as models have them, and edges, of which few are not finite."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 2**32, shape, dtype=np.uint64).astype(np.uint32).view(np.float32)
    usual = 3 * rng.standard_normal(shape)
    edges = rng.choice(EDGES[:-2], shape) * rng.choice([1, -1], shape)
    kind = rng.random(shape)
    chosen = np.where(kind < 0.6, usual, np.where(kind < 0.9, edges, np.nan_to_num(values)))
    return chosen.astype(np.float32)


def taken(values: np.ndarray) -> Any:
    """Return what comes from a caller, or constants that are read so, as lists."""
    flat = [canonical(float(one)) for one in np.asarray(values, np.float32).ravel()]
    return np.array(flat, np.float64).reshape(np.shape(values)).tolist()


def given_out(values: Any) -> list[int]:
    """Return the bits of what an operation gives, from nested lists."""
    return [bits(canonical(float(one))) for one in np.asarray(values, np.float64).ravel()]


def computed(
    program: Program, frame: Mapping[str, np.ndarray], implementation: Any, **options: Any
) -> dict[str, list[int]]:
    """Return the bits of all outputs of a single step."""
    model = Model.from_program(
        program, backend=implementation.backend, isa=implementation.isa, **options
    )
    made = named(model, model.stream().step(dict(frame)))
    return {name: np.asarray(one).view(np.uint32).ravel().tolist() for name, one in made.items()}


def one_operation(
    code: str, inputs: list[Any], seed: int = 0, **attributes: Any
) -> tuple[Program, dict[str, np.ndarray], list[np.ndarray | None]]:
    """Return a program with one operation, its frame, and all its operands.

    inputs: a shape for each; of a constant in a list, as ["constant", shape]; None is left out.
    """
    build, frame, operands, numbers = Builder(seed), {}, [], []
    for n, one in enumerate(inputs):
        if one is None:
            operands.append(None)
            numbers.append(-1)
            continue
        is_constant = isinstance(one, list)
        shape = one[1] if is_constant else one
        if is_constant:
            # as weights and biases may be: finite, with zeros and subnormals
            value = np.where(
                build.rng.random(shape) < 0.2,
                build.rng.choice([0.0, -0.0, 2.0**-149, -(2.0**-130), 2.0**-20], shape),
                build.rng.standard_normal(shape),
            ).astype(np.float32)
            numbers.append(build.constant(value))
        else:
            value = floats(seed + n, *shape)
            numbers.append(build.input(f"x{n}", shape))
            frame[f"x{n}"] = value
        operands.append(value)
    made = build.op(code, *numbers, **attributes)
    build.output("y", made[0] if isinstance(made, tuple) else made)
    if code == "lstm":
        build.output("c", made[2])
    return checked(build.program()), frame, operands


def rows_along(x: np.ndarray, axes: tuple[int, ...]) -> Iterator[tuple[Any, list[float]]]:
    """Return where each row is, and its elements in C's order over these axes."""
    others = [
        range(size) if axis not in axes else [slice(None)] for axis, size in enumerate(x.shape)
    ]
    for at in itertools.product(*others):
        yield at, x[at].ravel().tolist()


def along(
    x: np.ndarray, axes: tuple[int, ...], function: Callable[[list[float]], Any]
) -> np.ndarray:
    """Return a function of each row: in its place, or one number where it gives one."""
    values = np.array(taken(x), np.float64)
    result = np.zeros(values.shape)
    for at, row in rows_along(values, axes):
        made = function(row)
        shape = result[at].shape
        result[at] = np.reshape(made, shape) if isinstance(made, list) else made
    return result


def attributes_of(code: str, **attributes: Any) -> dict[str, Any]:
    return complete(code, attributes)
