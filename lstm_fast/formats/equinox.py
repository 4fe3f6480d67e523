"""Equinox's .eqx: arrays one after the other, without names, as tree_serialise_leaves writes them.

An LSTMCell is told by its shapes: weight_ih (4H, I), weight_hh (4H, H), and bias (4H,) where there
is one (equinox's nn/_rnn.py), gates i, f, g, o. A line of JSON with hyperparameters may come
first, as its documentation has it; it is not needed. `arrays=[0, 1, 2]` says which arrays they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from .._arrays import Float32
from .._source import Readable, Source
from .._weights import LayerWeights, make_weights
from . import _npy, gates
from ._files import FormatError, Found, Refused, checked
from ._inventory import listed
from ._recognise_ours import FORMATS

SUFFIXES, recognise = FORMATS["equinox"]
STEPS_AN_ARRAY = 60
TOLD_BY_SHAPE = (
    "the file has no names: arrays {} are taken for an LSTMCell's {} by their shapes; arrays=[{}] "
    "says that they are"
)
KINDS = ("weight_ih", "weight_hh", "bias")


class _Array(NamedTuple):
    """One array: what it is and where its values begin."""

    header: _npy.Header
    start: int


def read(path: Readable, *, arrays: Sequence[int] | None = None) -> list[Found | Refused]:
    """Return every LSTMCell, by the shapes of arrays that follow each other.

    Args:
        path: the file, see `Source`.
        arrays: which arrays, counted from 0 in the order of the file, are weight_ih, weight_hh and,
            if there is one, bias of the one cell that is wanted.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, or those arrays are not LSTMCell's.
        TypeError, ValueError: arrays is not a list of two or three numbers.
    """
    if arrays is not None and (
        not isinstance(arrays, Sequence)
        or len(arrays) not in (2, 3)
        or not all(type(n) is int and n >= 0 for n in arrays)
    ):
        raise ValueError(f"arrays is a list of two or three numbers, found {str(arrays)[:80]}")
    source = Source.of(path)
    listed_arrays = _listed(source)
    if arrays is not None:
        for n in arrays:
            if n >= len(listed_arrays):
                raise FormatError(f"{source}: there are {len(listed_arrays)} arrays, no {n}")
        return [_found(source, listed_arrays, list(arrays), "", ())]
    cells = _cells(listed_arrays)
    found: list[Found | Refused] = []
    for numbers in cells:
        name = "" if len(cells) == 1 else f"array {numbers[0]}"
        text = ", ".join(map(str, numbers))
        told = TOLD_BY_SHAPE.format(text, ", ".join(KINDS[: len(numbers)]), text)
        try:
            found.append(_found(source, listed_arrays, numbers, name, (told,)))
        except FormatError as error:
            found.append(Refused(name, error))
    return found


def _cells(arrays: list[_Array]) -> list[list[int]]:
    """Return the numbers of the arrays of each LSTMCell."""
    cells, n = [], 0
    while n + 1 < len(arrays):
        ih, hh = (one.header.shape for one in arrays[n : n + 2])
        if len(ih) == len(hh) == 2 and ih[0] == hh[0] == 4 * hh[1] > 0:
            has_bias = n + 2 < len(arrays) and arrays[n + 2].header.shape == (ih[0],)
            cells.append(list(range(n, n + 2 + has_bias)))
            n += len(cells[-1])
        else:
            n += 1
    return cells


def _found(
    source: Source, arrays: list[_Array], numbers: list[int], name: str, told: tuple[str, ...]
) -> Found:
    with checked(source, f"arrays {', '.join(map(str, numbers))}"):
        rows = [_rows(source, arrays[n], n) for n in numbers]
        bias = rows[2] if len(rows) > 2 else None
        zeros = None if bias is None else np.zeros_like(bias)
        weights = make_weights([LayerWeights(rows[0], rows[1], bias, zeros)])
    kinds = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0")[: len(rows)]
    sources = {kind: f"array {n}" for kind, n in zip(kinds, numbers, strict=True)}
    if bias is not None:
        sources["bias_hh_l0"] = "zeros"
    return Found(name, weights, sources, (), told)


def _rows(source: Source, array: _Array, n: int) -> Float32:
    """Return an array's values, their gates in PyTorch's order."""
    size, kept = array.header.size_bytes, array.header.kept_bytes
    free_again = array.header.raw_bytes + kept  # the second in the file's order
    source.budget.memory(free_again + kept, f"array {n}")
    with source.open() as file:
        file.seek(array.start)
        data = file.read(size)
    with checked(source, f"array {n}", TypeError):
        if len(data) != size:
            raise ValueError("the file ends within it")
        values = array.header.values(data, f"array {n}")
    rows = gates.to_pytorch(values, "equinox")
    source.budget.give_back(free_again)
    return rows


def _listed(source: Source) -> list[_Array]:
    """Return all arrays; only the headers are read."""
    arrays: list[_Array] = []
    with source.open() as file:
        if file.read(1) == b"{":
            file.readline(source.size)
        else:
            file.seek(0)
        while file.tell() < source.size:
            source.budget.work(STEPS_AN_ARRAY, "reading its arrays")
            with checked(source, f"array {len(arrays)}"):
                header = _npy.read_header(file, source.budget)
                start = file.tell()
                if header.size_bytes > source.size - start:
                    raise ValueError(
                        f"{header.shape} of {header.dtype} are {_short(header.size_bytes)} bytes, "
                        f"the file has {source.size - start} left"
                    )
            arrays.append(_Array(header, start))
            file.seek(start + header.size_bytes)
    return arrays


def _short(count: int) -> Any:
    return count if count < 10**18 else "more than 10**18"


def inventory(source: Source) -> str:
    """Return in words what there is in a file without an LSTM."""
    shapes = (str(one.header.shape) for one in _listed(source))
    return f"there are arrays of shapes {listed(shapes)}"
