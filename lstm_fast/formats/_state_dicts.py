"""LSTMs among named tensors, as PyTorch and safetensors files have them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from .. import _state_dict
from .._arrays import Float32
from .._computed_parameters import FIRST
from .._other_tensors import listed
from .._parameter_names import Group, as_patterns, grouped, is_ignored
from .._weights import Weights
from . import gates
from ._files import FormatError, Found, MissingExtraError, Refused, checked

OTHER_CELLS = {1: "a plain RNN", 2: "a cell of two gates", 3: "a GRU"}  # by rows per unit


# safetensors' names of dtypes. bfloat16, the upper half of a float32, is read as whole numbers.
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def decode(data: bytes, dtype: str) -> Float32:
    """Return the values that these bytes are in one of DTYPES; what is too large is infinite."""
    values = np.frombuffer(data, DTYPES[dtype])
    if dtype == "BF16":
        values = (values.astype("<u4") << 16).view("<f4")
    with np.errstate(over="ignore"):
        result: Float32 = values.astype(np.float32, copy=False)
    return result


@dataclass(frozen=True)
class Tensor:
    """A tensor in a file: its shape, where it is in words, and a function that reads it."""

    shape: tuple[int, ...]
    source: str
    read: Callable[[], Float32]


def without(
    tensors: Mapping[str, Tensor], ignore: str | Iterable[str]
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors whose names fit no pattern of `ignore`, and the names that do.

    Raises:
        TypeError: ignore is not a string and no list of them.
    """
    patterns = as_patterns(ignore)
    kept = {name: one for name, one in tensors.items() if not is_ignored(name, patterns)}
    return kept, [name for name in tensors if name not in kept]


def _other_cell(group: Group, tensors: Mapping[str, Tensor]) -> str | None:
    """Return what it is where it is clearly no LSTM."""
    shapes = {
        parameter.kind: tensors[name].shape
        for parameter, pieces in group.parameters.items()
        for piece, name in pieces.items()
        if piece in FIRST
    }
    shape = shapes.get("weight_hh", ())
    if "weight_hr" in shapes or len(shape) != 2 or not shape[1] or shape[0] % shape[1]:
        return None
    return OTHER_CELLS.get(shape[0] // shape[1])


def find(
    path: object,
    tensors: Mapping[str, Tensor],
    limit: int,
    ignore: str | Iterable[str] = (),
) -> list[Found | Refused]:
    """Return an LSTM for each prefix before PyTorch's names, or why it cannot be computed.

    Only the tensors of LSTMs are read; of those beside them the names and shapes are looked at.

    Args:
        path: for errors.
        tensors: all there are, by name.
        limit: how many bytes those of LSTMs may take as float32.
        ignore: patterns of names that are left out, as of `fnmatch`.

    Raises:
        FormatError: those of LSTMs are larger than the limit; there are only cells of other kinds;
            or no LSTM can be computed, with the reason of the first.
        TypeError: ignore is not a string and no list of them.
    """
    tensors, ignored = without(tensors, ignore)
    groups = grouped(tensors)
    cells = {prefix: _other_cell(group, tensors) for prefix, group in groups.items()}
    others = [f"{cell} under {prefix!r}" for prefix, cell in cells.items() if cell]
    wanted = {prefix: group for prefix, group in groups.items() if not cells[prefix]}
    if others and not wanted:
        raise FormatError(f"{path}: there is no LSTM in it, but {', '.join(others[:5])}")
    parts = {
        name
        for group in wanted.values()
        for pieces in group.parameters.values()
        for name in pieces.values()
    }
    check_size(path, [tensors[name] for name in parts], limit)
    notes = tuple(f"left out: {text}" for text in others)
    found = [_read(path, group, tensors, ignored, notes) for group in wanted.values()]
    if found and all(isinstance(one, Refused) for one in found):
        raise found[0].error or AssertionError
    return found


def check_size(path: object, tensors: Iterable[Tensor], limit: int) -> None:
    """Refuse tensors that claim more than `limit` bytes as float32, before any is read.

    Raises:
        FormatError: they do.
    """
    size = sum(4 * math.prod(tensor.shape) for tensor in tensors)
    if size > limit:
        raise FormatError(f"{path}: its LSTMs claim {size} bytes, more than the file can hold")


def title(prefix: str) -> str:
    """Return what an LSTM of this prefix is called."""
    return prefix.removesuffix(".").removesuffix("/")


def _arrange(value: Float32) -> Float32:
    return gates.to_pytorch(value, "pytorch")


def _read(
    path: object,
    group: Group,
    tensors: Mapping[str, Tensor],
    ignored: list[str],
    notes: tuple[str, ...],
) -> Found | Refused:
    name = title(group.prefix)
    try:
        with checked(path, f"LSTM {name!r}", TypeError):
            stack = _state_dict.read_stack(group, tensors, arrange=_arrange)
    except MissingExtraError:
        raise
    except FormatError as error:
        return Refused(name, error)
    left_out = [name for name in ignored if name.startswith(group.prefix)]
    notes = (*notes, *stack.notes)
    if left_out:
        notes = (*notes, f"left out, as ignore= asks: {listed(left_out)}")
    sources = in_order(stack.weights, stack.sources)
    return Found(name, stack.weights, sources, notes, stack.assumptions)


def in_order(weights: Weights, sources: Mapping[str, str]) -> dict[str, str]:
    """Return sources layer by layer, as `Weights.state_dict` orders its names."""
    names = (
        kind + weights.suffix(index)
        for index, layer in enumerate(weights.layers)
        for kind in layer.parameters()
    )
    return {name: sources[name] for name in names if name in sources}
