"""What callers give a model and get from it: values by name, checked before anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._arguments import shape_text, to_float32
from ._arrays import canonical
from ._foreign_arrays import as_array
from ._program_checks import DTYPES
from .program import Tensor

Array: TypeAlias = NDArray[Any]
Values: TypeAlias = "Array | dict[str, Array]"
Steps: TypeAlias = "tuple[int | None, ...]"  # (): one step. (None,): any number. (3,): that many


def to_value(value: Any, name: str, tensor: Tensor, steps: Steps = ()) -> Array:
    """Return a copy of a value in its tensor's dtype and shape, C-contiguous, floats canonical.

    Raises:
        TypeError: its values are not of the tensor's kind.
        ValueError: its shape is another.
    """
    shape = (*steps, *tensor.shape)
    what = "this model takes %s per step" if not steps else "this model takes %s"
    if tensor.kind == "float32":
        return canonical(to_float32(value, name, shape, what))
    array = as_array(value, name)
    integers, wanted = "iu", "integers"
    if tensor.kind == "bool":
        integers, wanted = "b", "bools"
    if array.dtype.kind not in integers:
        raise TypeError(f"{name} has dtype {array.dtype}, expected {wanted}")
    fits = len(array.shape) == len(shape) and all(
        want in (None, have) for have, want in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} has shape {array.shape}, {what % shape_text(shape)}")
    if array.dtype == np.uint64 and array.size and array.max() >= 2**63:
        raise ValueError(f"{name} has a value of {array.max()}, which is no int64")
    return np.array(array, DTYPES[tensor.kind], order="C")


def by_name(given: Any, names: Sequence[str], what: str) -> list[Any]:
    """Return values in the order of names: of a mapping, or the only one there is.

    Raises:
        TypeError: there are several names, and what was given is no mapping.
        ValueError: a name is missing, or unknown.
    """
    known = ", ".join(map(repr, names))
    if not isinstance(given, Mapping):
        if len(names) == 1:
            return [given]
        raise TypeError(f"{what} must be a mapping of {known}, found {type(given).__name__}")
    wrong = [repr(name) for name in names if name not in given]
    wrong += [repr(name) for name in given if name not in names]
    if wrong:
        raise ValueError(f"{what}: {', '.join(wrong)} is missing or unknown, expected {known}")
    return [given[name] for name in names]


def to_steps(given: Any, inputs: Mapping[str, Tensor], *, many: bool) -> list[Array]:
    """Return a value for each input, with an axis of T steps in front where there are many.

    Raises:
        TypeError, ValueError: as `to_value` and `by_name`; or inputs have different numbers of
            steps.
    """
    frames: list[Array] = []
    steps: Steps = (None,) if many else ()
    values = by_name(given, [*inputs], "xs" if many else "x")
    for value, (name, tensor) in zip(values, inputs.items(), strict=True):
        frames.append(to_value(value, f"input {name!r}", tensor, steps))
        steps = (len(frames[0]),) if many else ()
    return frames


def check_outs(
    out: Any, outputs: Mapping[str, Tensor], steps: tuple[int, ...], given: Any
) -> list[Array]:
    """Return an array for each output: what `out` has, fit to be written, or new ones.

    given: what the caller passes in, which they must share no memory with.

    Raises:
        TypeError: one is no ndarray of its dtype, or out is no mapping where there are several.
        ValueError: one has another shape, is strided or read-only, shares memory with what is
            given or with another; or a name is missing or unknown.
    """
    if out is None:
        return [np.empty((*steps, *one.shape), DTYPES[one.kind]) for one in outputs.values()]
    arrays = by_name(out, [*outputs], "out")
    values = [*given.values()] if isinstance(given, Mapping) else [given]
    others = [value for value in values if isinstance(value, np.ndarray)]
    for array, (name, tensor) in zip(arrays, outputs.items(), strict=True):
        _check_out(array, f"out {name!r}", (*steps, *tensor.shape), DTYPES[tensor.kind], others)
        others.append(array)
    return arrays


def _check_out(
    out: Any, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], others: list[Array]
) -> None:
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        found = f"dtype {out.dtype}" if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"{name} must be an ndarray of {dtype}, found {found}")
    if out.shape != shape:
        raise ValueError(f"{name} has shape {out.shape}, expected {shape_text(shape)}")
    if not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(f"{name} must be C-contiguous and writable: pass an array of its own")
    if any(np.shares_memory(out, other) for other in others):
        raise ValueError(f"{name} shares memory with another value: pass an array of its own")
