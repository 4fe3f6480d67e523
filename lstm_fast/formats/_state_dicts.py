"""LSTMs among named tensors, as PyTorch and safetensors files have them."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from .. import _state_dict
from .._arrays import Float32
from .._budget import Budget
from .._computed_parameters import FIRST, form_of
from .._other_tensors import listed
from .._parameter_names import Group, as_patterns, grouped, is_ignored
from .._shown import shown
from .._weights import Weights, frozen
from . import gates
from ._files import FormatError, Found, MissingExtraError, Refused, checked

Patterns: TypeAlias = "str | Iterable[str]"  # of `ignore`
MOST_NOTES = 8  # on cells of other kinds, each
OTHER_CELLS = {1: "a plain RNN", 2: "a cell of two gates", 3: "a GRU"}  # by rows per unit


# safetensors' names of dtypes. bfloat16, the upper half of a float32, is read as whole numbers.
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


ITEM_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
STEPS_A_BYTE = 0.001  # that is copied
# What a tensor's name takes until its LSTM is read, in bytes and in steps; and an LSTM.
NAME_BYTES, NAME_STEPS, NAME_STEPS_A_CHARACTER = 700, 15, 0.1
GROUP_BYTES, GROUP_STEPS = 3000, 40
PARAMETER_STEPS = 40  # beside its values
COMPUTED_BYTES = 20  # for each value that is computed from others, in float64


def decode(data: bytes, dtype: str) -> Float32:
    """Return the values that these bytes are in one of DTYPES; what is too large is infinite.

    They are of memory that nobody can change, and which therefore need not be copied.
    """
    values = np.frombuffer(data, DTYPES[dtype])
    if dtype == "F32" and values.dtype == np.float32:
        return values
    del data  # `values` has it
    if dtype == "BF16":
        wide = values.astype("<u4")
        values = np.left_shift(wide, 16, out=wide).view("<f4")
    with np.errstate(over="ignore"):
        values = values.astype(np.float32, copy=False)
    return frozen(values)


@contextmanager
def reading(
    budget: Budget,
    count: int,
    reach: int,
    dtype: str,
    *,
    swaps: bool = False,
    moves: bool = False,
) -> Iterator[None]:
    """Charge what it takes to read values; of the memory, what is not theirs is given back.

    Args:
        budget: of the file.
        count: of the values.
        reach: of those that are read for them, which may be more where they lie far apart.
        dtype: one of DTYPES.
        swaps: whether their bytes are reversed.
        moves: whether they lie in another order, or apart.

    Raises:
        FormatError: it is more than a file of this size is worth.
    """
    raw = reach * ITEM_BYTES[dtype]
    if dtype == "F32":
        peak = 4 * count + (raw if moves else 0)
    else:
        peak = max(raw + 4 * reach, 4 * reach + (4 * count if moves else 0))
    peak += raw if swaps else 0
    budget.memory(peak, "reading a tensor")
    kept = 0
    try:
        budget.work(STEPS_A_BYTE * (raw + 4 * count), "reading a tensor")
        yield
        kept = 4 * count
    finally:
        budget.give_back(peak - kept)


@dataclass(frozen=True, slots=True)
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
    budget: Budget,
    ignore: str | Iterable[str] = (),
) -> list[Found | Refused]:
    """Return an LSTM for each prefix before PyTorch's names, or why it cannot be computed.

    Only the tensors of LSTMs are read; of those beside them the names and shapes are looked at.

    Args:
        path: for errors.
        tensors: all there are, by name.
        budget: of the file; what reads a tensor charges it, too.
        ignore: patterns of names that are left out, as of `fnmatch`.

    Raises:
        FormatError: there are only cells of other kinds; no LSTM can be computed, with the reason
            of the first; or the budget is used up.
        TypeError: ignore is not a string and no list of them.
    """
    charge_names(budget, tensors)
    tensors, ignored = without(tensors, ignore)
    groups = grouped(tensors)
    budget.memory(GROUP_BYTES * len(groups), "its LSTMs")
    budget.work((GROUP_STEPS + 0.1 * len(ignored)) * len(groups), "its LSTMs")
    cells = {prefix: _other_cell(group, tensors) for prefix, group in groups.items()}
    others = [f"{cell} under {shown(prefix)}" for prefix, cell in cells.items() if cell]
    wanted = {prefix: group for prefix, group in groups.items() if not cells[prefix]}
    if others and not wanted:
        raise FormatError(f"{path}: there is no LSTM in it, but {', '.join(others[:5])}")
    notes = tuple(f"left out: {text}" for text in others[:MOST_NOTES])
    if len(others) > MOST_NOTES:
        notes = (*notes, f"left out: {len(others) - MOST_NOTES} more that are not LSTMs")
    found = [_read(path, group, tensors, ignored, notes, budget) for group in wanted.values()]
    if found and all(isinstance(one, Refused) for one in found):
        raise found[0].error or AssertionError
    return found


def charge_names(budget: Budget, names: Collection[str]) -> None:
    """Charge what it takes to find LSTMs among tensors of these names.

    Raises:
        FormatError: it is more than a file of this size is worth.
    """
    budget.memory(NAME_BYTES * len(names), "the names of its tensors")
    characters = sum(map(len, names))
    steps = NAME_STEPS * len(names) + NAME_STEPS_A_CHARACTER * characters
    budget.work(steps, "finding LSTMs by the names of its tensors")


@contextmanager
def _computing(group: Group, tensors: Mapping[str, Tensor], budget: Budget) -> Iterator[None]:
    """Charge the parameters that are computed from others, and what computing one takes."""
    counts = [0]
    for pieces in group.parameters.values():
        form = form_of(pieces)
        if form is not None and form.compute is not None:
            counts.append(math.prod(tensors[pieces[form.pieces[0]]].shape))
    what = "computing a parameter from its pieces"
    budget.memory(8 * sum(counts) + COMPUTED_BYTES * max(counts), what)
    try:
        budget.work(0.02 * sum(counts), what)
        yield
    finally:
        budget.give_back(COMPUTED_BYTES * max(counts))


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
    budget: Budget,
) -> Found | Refused:
    name = title(group.prefix)
    part = f"LSTM {shown(name)}"
    try:
        budget.work(PARAMETER_STEPS * len(group.parameters), "reading its parameters")
        with checked(path, part, TypeError), _computing(group, tensors, budget):
            stack = _state_dict.read_stack(group, tensors, arrange=_arrange)
    except MissingExtraError:
        raise
    except FormatError as error:
        for one in (error, error.__cause__):  # whose frames hold all that was read so far
            if one is not None:
                one.__traceback__ = None
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
