"""Arrays of other libraries, and lists of what they hold, as NumPy has them.

Nothing is imported: who passes a tensor has the library loaded.
"""

from __future__ import annotations

import sys
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

REAL_KINDS = "fiub"  # float, int, unsigned, bool
DEEPEST = 64  # lists within lists, the most dimensions of a NumPy array


def as_array(value: Any, name: str) -> NDArray[Any]:
    """Return value as an array of any dtype that NumPy has for it.

    Args:
        value: anything `np.asarray` takes; or tensors of PyTorch, on any device, of any dtype and
            with a gradient or without, or lists of them.
        name: what to call it in an error.

    Raises:
        TypeError: it has no values to be taken, such as a sparse tensor.
        ValueError: lists of different lengths.
    """
    masked = _type_in("numpy.ma", "MaskedArray")
    if masked is not None and isinstance(value, masked):
        raise TypeError(f"{name} is a masked array: fill in or drop what is masked first")
    try:
        array = np.asarray(_without_tensors(value, name))
    except ValueError as error:
        raise ValueError(f"{name} is not a rectangular array of numbers: {error}") from None
    except (_NoValuesError, MemoryError, RecursionError):
        raise
    except Exception as error:  # another library's __array__ can raise anything
        kind, text = type(value).__name__, " ".join(str(error).split())[:200]
        raise TypeError(
            f"{name}: a {kind} gives no array: {text or type(error).__name__}"
        ) from None
    if array.dtype.kind == "V" and array.dtype.type is not np.void:
        return _of_registered(array, name)
    return _of_objects(array) if array.dtype == object else array


class _NoValuesError(TypeError):
    """A tensor without values that could be taken; the text is ours and complete."""


def _type_in(module: str, name: str) -> type | None:
    """Return a type of a module if that is imported: else nobody has a value of that type."""
    kind = getattr(sys.modules.get(module), name, None)
    return kind if isinstance(kind, type) else None


def _without_tensors(value: Any, name: str, depth: int = 0) -> Any:
    """Return value with every tensor in it as an array."""
    kind = _type_in("torch", "Tensor")
    if kind is None:
        return value
    if isinstance(value, kind):
        return _of_tensor(value, name)
    if not isinstance(value, (list, tuple)) or depth == DEEPEST:
        return value
    if any(issubclass(one, (kind, list, tuple)) for one in set(map(type, value))):
        return [_without_tensors(one, name, depth + 1) for one in value]
    return value


def _of_tensor(tensor: Any, name: str) -> NDArray[Any]:
    """Return a copy of a tensor's values, or the memory that it has on this machine."""
    torch = sys.modules["torch"]
    if tensor.is_meta or tensor.is_quantized or tensor.layout != torch.strided:
        raise _without_values(tensor, name)
    try:
        plain = tensor.detach().cpu()
        if plain.is_conj() or plain.is_neg():
            plain = plain.resolve_conj().resolve_neg()
        if plain.element_size() < 4 and plain.dtype.is_floating_point:
            plain = plain.to(torch.float32)  # NumPy has no bfloat16
        array: NDArray[Any] = plain.numpy()
    except Exception as error:  # subclasses of Tensor and broken devices can raise anything
        text = " ".join(str(error).split())[:200]
        raise _NoValuesError(
            f"{_tensor_in_words(tensor, name)}: its values cannot be taken: {text}"
        ) from None
    return array


def _tensor_in_words(tensor: Any, name: str) -> str:
    return f"{name} is a tensor of {tensor.dtype} on {tensor.device}"


def _without_values(tensor: Any, name: str) -> _NoValuesError:
    text = _tensor_in_words(tensor, name)
    if tensor.is_meta:
        return _NoValuesError(f"{text}: it has no values")
    if tensor.is_quantized:
        return _NoValuesError(f"{text}, which is quantized: pass tensor.dequantize()")
    return _NoValuesError(f"{text}, laid out as {tensor.layout}: pass tensor.to_dense()")


def _of_registered(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Return values of a dtype that a library adds to NumPy, such as bfloat16, as float32."""
    try:
        return array.astype(np.float32)
    except (TypeError, ValueError):
        raise TypeError(f"{name} has dtype {array.dtype}, expected real numbers") from None


def what_is_no_number(array: NDArray[Any]) -> str:
    """Return what an array of objects holds that is not a real number, in words."""
    for value in array.flat:
        if isinstance(value, int) and not _is_number(value):
            return "a whole number beyond 64 bits"
        if not _is_number(value):
            return type(value).__name__
    return "numbers"


def _is_number(value: Any) -> bool:
    if isinstance(value, (np.generic, np.ndarray)):
        return value.ndim == 0 and value.dtype.kind in REAL_KINDS
    if isinstance(value, int):
        return -(2**63) <= value < 2**64
    return isinstance(value, (float, Decimal, Real))


def _of_objects(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array of Python's numbers as float64; one with anything else as it is."""
    values = [_of_scalar(value) for value in array.flat]
    if not all(map(_is_number, values)):
        return array
    numbers = np.fromiter(map(_to_float, values), np.float64, len(values))
    return numbers.reshape(array.shape)


def _of_scalar(value: Any) -> Any:
    """Return a tensor within an array of objects as an array."""
    kind = _type_in("torch", "Tensor")
    return _of_tensor(value, "a value") if kind and isinstance(value, kind) else value


def _to_float(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:  # of a Fraction: infinite, as any number that is too large
        return float("inf") if value > 0 else float("-inf")
    except ValueError:  # a signalling NaN of decimal
        return float("nan")
