"""LSTMs among named tensors, as PyTorch and safetensors files have them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import _state_dict
from .._arrays import Float32
from .._weights import KINDS, Weights
from . import gates
from ._files import FormatError, Found, checked

NAME = re.compile(rf"(?s)(.*?){_state_dict.PARAMETER.pattern}")
LONGEST_NAME = 4096
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


class Part(NamedTuple):
    """What a name says: which parameter of which layer, and what stands before it."""

    prefix: str
    kind: str
    layer: int
    reverse: bool

    @property
    def called(self) -> str:
        """PyTorch's name without the prefix."""
        return f"{self.kind}_l{self.layer}{'_reverse' if self.reverse else ''}"


def part(name: str) -> Part | None:
    """Return what a name says, or None where it names no parameter of an LSTM."""
    match = NAME.fullmatch(name) if len(name) <= LONGEST_NAME else None
    if match is None:
        return None
    prefix, kind, layer, reverse = match.groups()
    return Part(prefix, kind, int(layer or 0), bool(reverse))


class _Values(Mapping[str, Any]):
    """Tensors as arrays in our gate order, read whenever asked for and not kept."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> Float32:
        value, what = self._tensors[name].read(), part(name)
        in_gates = what is not None and KINDS[what.kind][0] == "4H" and value.ndim > 0
        return gates.to_pytorch(value, "pytorch") if in_gates else value

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _grouped(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Return the parameters of each prefix under which there is an LSTM, or something like one."""
    groups: dict[str, dict[str, Tensor]] = {prefix: {} for prefix in _state_dict.prefixes(tensors)}
    for name, tensor in tensors.items():
        what = part(name)
        if what is not None and what.prefix in groups:
            groups[what.prefix][name] = tensor
    return groups


def _other_cell(names: Mapping[str, Tensor]) -> str | None:
    """Return what it is where it is clearly no LSTM."""
    shapes = {what.kind: tensor.shape for name, tensor in names.items() if (what := part(name))}
    shape = shapes.get("weight_hh", ())
    if "weight_hr" in shapes or len(shape) != 2 or not shape[1] or shape[0] % shape[1]:
        return None
    return OTHER_CELLS.get(shape[0] // shape[1])


def find(path: object, tensors: Mapping[str, Tensor], limit: int) -> list[Found]:
    """Return an LSTM for each prefix before PyTorch's names.

    Args:
        path: for errors.
        tensors: all there are, by name.
        limit: how many bytes those of LSTMs may take as float32.

    Raises:
        FormatError: an LSTM is damaged; they are larger than the limit; or there are only cells of
            other kinds.
    """
    groups = _grouped(tensors)
    cells = {prefix: _other_cell(names) for prefix, names in groups.items()}
    others = [f"{cell} under {prefix!r}" for prefix, cell in cells.items() if cell]
    wanted = {prefix: names for prefix, names in groups.items() if not cells[prefix]}
    if others and not wanted:
        raise FormatError(f"{path}: there is no LSTM in it, but {', '.join(others[:5])}")
    check_size(path, [tensor for names in wanted.values() for tensor in names.values()], limit)
    notes = tuple(f"left out: {text}" for text in others)
    return [_read(path, prefix, names, notes) for prefix, names in wanted.items()]


def check_size(path: object, tensors: Iterable[Tensor], limit: int) -> None:
    """Refuse tensors that claim more than `limit` bytes as float32, before any is read.

    Raises:
        FormatError: they do.
    """
    size = sum(4 * math.prod(tensor.shape) for tensor in tensors)
    if size > limit:
        raise FormatError(f"{path}: its LSTMs claim {size} bytes, more than the file can hold")


def _read(path: object, prefix: str, names: dict[str, Tensor], notes: tuple[str, ...]) -> Found:
    title = prefix.removesuffix(".")
    with checked(path, f"LSTM {title!r}", TypeError):
        weights = _state_dict.read_weights(_Values(names), prefix)
    sources = {what.called: tensor.source for name, tensor in names.items() if (what := part(name))}
    return Found(title, weights, in_order(weights, sources), notes)


def in_order(weights: Weights, sources: Mapping[str, str]) -> dict[str, str]:
    """Return sources layer by layer, as `Weights.state_dict` orders its names."""
    names = (
        kind + weights.suffix(index)
        for index, layer in enumerate(weights.layers)
        for kind in layer.parameters()
    )
    return {name: sources[name] for name in names if name in sources}
