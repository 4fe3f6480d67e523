"""What callers give a model and get from it: values by name, checked before anything else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._arguments import is_mapping, shape_text, to_float32
from ._arrays import StateLike
from ._foreign_arrays import as_array
from ._program_checks import DTYPES
from .program import Tensor

if TYPE_CHECKING:
    from .model import Model

Array: TypeAlias = NDArray[Any]
Values: TypeAlias = "Array | dict[str, Array]"
Steps: TypeAlias = "tuple[int | None, ...]"  # (): one step. (None,): any number. (3,): that many
Tensors: TypeAlias = Mapping[str, Tensor]
State: TypeAlias = "dict[str, Array] | Any"  # what a session keeps; of an LSTM an `LSTMState`
StateGiven: TypeAlias = "Mapping[str, Any] | StateLike"  # a pair is for an LSTM alone


def to_value(value: Any, name: str, tensor: Tensor, steps: Steps = ()) -> Array:
    """Return a value in its tensor's dtype and shape, C-contiguous: itself, where it is all that.

    Raises:
        TypeError: its values are not of the tensor's kind.
        ValueError: its shape is another.
    """
    shape = (*steps, *tensor.shape)
    dtype = DTYPES[tensor.kind]
    if type(value) is np.ndarray and value.shape == shape and value.dtype == dtype:
        return np.ascontiguousarray(value) if shape else value
    what = "this model takes %s per step" if not steps else "this model takes %s"
    if tensor.kind == "float32":
        frame = to_float32(value, name, shape, what)
        return frame if shape else frame.reshape(())  # NumPy's contiguous arrays have an axis
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
        raise ValueError(f"{name} has a value of {array.max()}, which is not an int64")
    return np.ascontiguousarray(array, dtype).reshape(array.shape)


def by_name(given: Any, names: Sequence[str], what: str) -> list[Any]:
    """Return values in the order of names: of a mapping, or the only one there is.

    Raises:
        TypeError: there are several names, and what was given is not a mapping.
        ValueError: a name is missing, or unknown.
    """
    if not is_mapping(given):
        if len(names) == 1:
            return [given]
        known = ", ".join(map(repr, names))
        raise TypeError(f"{what} must be a mapping of {known}, found {type(given).__name__}")
    wrong = [f"{name!r} is missing" for name in names if name not in given]
    wrong += [f"{name!r} is unknown" for name in given if name not in names]
    if wrong:
        known = ", ".join(map(repr, names)) or "no names"
        raise ValueError(f"{what}: {', '.join(wrong)}; expected {known}")
    return [given[name] for name in names]


def to_steps(given: Any, model: Model, steps: Steps) -> list[Array]:
    """Return a value for each input, with these axes in front; what is None is the same in all.

    Raises:
        TypeError, ValueError: as `to_value` and `by_name`; or inputs have different numbers of
            steps, or are integers where the model is of samples.
    """
    inputs = model.inputs
    frames: list[Array] = []
    values = by_name(given, [*inputs], "xs" if steps else "x")
    for value, (name, tensor) in zip(values, inputs.items(), strict=True):
        called = f"input {name!r}"
        taken = _scaled(value, called) if model._of_samples else value
        frames.append(to_value(taken, called, tensor, steps))
        steps = frames[0].shape[: len(steps)]
    return frames


def _scaled(samples: Any, name: str) -> Array:
    """Return samples as an array of what may have been scaled to -1...1.

    Raises:
        TypeError: they are integers; or as `as_array`.
    """
    array = as_array(samples, name)
    if array.dtype.kind in "iu":
        raise TypeError(
            f"{name} has dtype {array.dtype}, this model takes samples in -1...1: of int16 "
            "x.astype(np.float32) / 32768 makes them"
        )
    return array


def to_state(state: Any, states: Tensors) -> list[Array]:
    """Return the values of a state in the order of states.

    Raises:
        TypeError: state is not a mapping, or a value of another kind.
        ValueError: a name is missing or unknown, or a shape does not fit.
    """
    if not is_mapping(state):
        raise TypeError(
            f"state must be a mapping such as stream.state, found {type(state).__name__}"
        )
    values = by_name(state, [*states], "state")
    return [
        to_value(value, f"state {name!r}", tensor)
        for value, (name, tensor) in zip(values, states.items(), strict=True)
    ]


def empty(tensors: Tensors, steps: tuple[int, ...] = ()) -> list[Array]:
    """Return an array to be filled for each tensor, with these axes in front."""
    return [np.empty((*steps, *one.shape), DTYPES[one.kind]) for one in tensors.values()]


def is_finite(values: Iterable[Array]) -> bool:
    """Return whether no value is NaN or infinite."""
    return all(bool(np.isfinite(value).all()) for value in values)


def returned(out: Any, outputs: Tensors, results: list[Array]) -> Values:
    """Return what a call returns: out where it was given, the only result, or all by name."""
    if out is not None:
        values: Values = out
        return values
    return results[0] if len(results) == 1 else dict(zip(outputs, results, strict=True))


def check_outs(
    out: Any, outputs: Tensors, steps: tuple[int, ...], given: Any, converted: Sequence[Array]
) -> list[Array]:
    """Return an array for each output: what `out` has, fit to be written, or new ones.

    given: what the caller passes in, which they must share no memory with; nor with what was
    converted of it.

    Raises:
        TypeError: one is not an ndarray of its dtype, or out is not a mapping where there are
            several.
        ValueError: one has another shape, is strided or read-only, shares memory with what is
            given or with another; or a name is missing or unknown.
    """
    if out is None:
        return empty(outputs, steps)
    arrays = by_name(out, [*outputs], "out")
    values = [*given.values()] if is_mapping(given) else [given]
    others = [value for value in values if isinstance(value, np.ndarray)]
    others += [one for one in converted if not any(one is other for other in others)]
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
