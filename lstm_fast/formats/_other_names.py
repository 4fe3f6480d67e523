"""LSTMs under the names of MLX and Flax, as if they had PyTorch's.

    MLX          Wx (4H, I), Wh (4H, H), bias (4H,)                            gates i, f, g, o
    Flax         {ii, if, ig, io}/kernel (I, H), {hi, hf, hg, ho}/kernel (H, H) and /bias (H,)
    Flax (nnx)   the same with if_; or dense_i/kernel (I, 4H), dense_h/kernel (H, 4H), dense_h/bias

Facts are from mlx's nn/layers/recurrent.py and Flax's linen/recurrent.py and nnx/nn/recurrent.py.
Names are separated by full stops or slashes. A GRU has other gates, and is left to the reader of
PyTorch's names to be told by its sizes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from .._arrays import Float32
from .._parameter_names import LONGEST_NAME
from .._source import Source
from . import _state_dicts, gates
from ._files import FormatError, Found, Refused
from ._state_dicts import Tensor

MLX = re.compile(r"(?s)(.*[./]|)(Wx|Wh|bias)")
MLX_KINDS = {"Wx": "weight_ih", "Wh": "weight_hh", "bias": "bias"}
# The name of a variable may have its field after it.
FLAX = re.compile(r"(?s)(.*[./]|)(i|h)([ifgorzn])_?[./](kernel|bias)(?:[./](?:raw_)?value)?")
DENSE = re.compile(r"(?s)(.*[./]|)dense_(i|h)()[./](kernel|bias)(?:[./](?:raw_)?value)?")
RANDOM = re.compile(r"(?s)(.*[./]|)rngs[./].*")
GATES = ("ifgo", "rzn")  # in the order in which Flax joins them; of an LSTM and of a GRU
DEFAULTS = (
    "its names are Flax's, whose files do not say what gate_fn and activation_fn are, nor whether "
    "it runs from the last step to the first; taken are sigmoid, tanh, and from the first"
)
RANDOM_STATE = "left out: the state of Flax's random numbers"

# What stands under a prefix: by side and what is there ("i", "f", "kernel"), the name of it.
Cell = dict[tuple[str, str, str], str]


def is_known(names: Iterable[str]) -> bool:
    """Return whether there is an LSTM, or a GRU, under names of MLX or Flax."""
    names = list(names)
    return bool(_mlx(names) or _flax(names))


def parts(names: Iterable[str]) -> set[str]:
    """Return the names of what such cells are made of."""
    names = list(names)
    cells: list[Iterable[str]] = [cell.values() for cell in _flax(names).values()]
    return {name for cell in [*cells, *_mlx(names).values()] for name in cell}


def find(
    source: Source, tensors: Mapping[str, Tensor], ignore: str | Iterable[str] = ()
) -> list[Found | Refused]:
    """Do as `_state_dicts.find`, and take names of MLX and Flax as well.

    Raises:
        FormatError, TypeError: likewise.
    """
    kept, _ = _state_dicts.without(tensors, ignore)
    flax, mlx = _flax(kept), _mlx(kept)
    everything = dict(tensors)  # also what is ignored, of which there is a note
    for prefix, names in mlx.items():
        for name in names:
            tensor = everything.pop(name)
            kind = MLX_KINDS[name[len(prefix) :]]
            everything[prefix + kind] = replace(tensor, read=partial(_mlx_read, source, tensor))
    for prefix, cell in flax.items():
        made = _flax_tensors(source, prefix, cell, kept)
        for name in cell.values():
            everything.pop(name, None)
        everything.update(made)
    has_random = bool(flax) and any(RANDOM.fullmatch(name) for name in everything)
    if has_random:
        everything = {n: one for n, one in everything.items() if not RANDOM.fullmatch(n)}
    found = _state_dicts.find(source, everything, source.budget, ignore)
    titles = {_state_dicts.title(prefix) for prefix in flax}
    notes = (RANDOM_STATE,) if has_random else ()
    return [
        replace(one, notes=(*one.notes, *notes), assumptions=(*one.assumptions, DEFAULTS))
        if isinstance(one, Found) and one.name in titles
        else one
        for one in found
    ]


# ---- MLX -----------------------------------------------------------------------------------------


def _mlx(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the names of each cell, by the prefix."""
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        match = MLX.fullmatch(name) if len(name) <= LONGEST_NAME else None
        if match is not None:
            groups.setdefault(match[1], {})[match[2]] = name
    there = set(names)
    return {
        prefix: list(group.values())
        for prefix, group in groups.items()
        if {"Wx", "Wh"} <= group.keys() and f"{prefix}weight_ih" not in there
    }


def _mlx_read(source: Source, tensor: Tensor) -> Float32:
    value = tensor.read()
    if value.ndim == 0 or value.shape[0] % 4:  # of a GRU, or wrong
        return value
    source.budget.memory(value.nbytes)
    return gates.to_pytorch(value, "mlx")


# ---- Flax ----------------------------------------------------------------------------------------


def _flax(names: Iterable[str]) -> dict[str, Cell]:
    """Return what there is of each cell, by the prefix."""
    groups: dict[str, Cell] = {}
    for name in names:
        if len(name) <= LONGEST_NAME and (match := FLAX.fullmatch(name) or DENSE.fullmatch(name)):
            prefix, side, gate, kind = match.groups()
            groups.setdefault(prefix, {})[side, gate, kind] = name
    there = set(names)
    return {
        prefix: cell
        for prefix, cell in groups.items()
        if f"{prefix}weight_ih" not in there and _gates(cell) is not None
    }


def _gates(cell: Cell) -> str | None:
    """Return which gates a cell has, if it is one; "" where each array holds all of them."""
    if ("i", "", "kernel") in cell and ("h", "", "kernel") in cell:
        return ""
    for letters in GATES:
        for side in "ih":
            if all((side, gate, "kernel") in cell for gate in letters):
                return letters
    return None


def _flax_tensors(
    source: Source, prefix: str, cell: Cell, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return a cell's tensors under PyTorch's names; reading one says what is wrong with it."""
    letters = _gates(cell) or ""
    made = {}
    sides = [side for side in "ih" if any((side, g, "bias") in cell for g in letters or ("",))]
    biases = [(f"bias_{side}h" if len(sides) > 1 else "bias", side, "bias") for side in sides]
    for kind, side, part in (
        ("weight_ih", "i", "kernel"),
        ("weight_hh", "h", "kernel"),
        *biases,
    ):
        wanted = [(side, gate, part) for gate in (letters or ("",))]
        names = [cell[one] for one in wanted if one in cell]
        if not names:
            continue
        pieces = [tensors[name] for name in names]
        text = _problem(prefix, wanted, cell, pieces)
        shape = pieces[0].shape
        whole = (*shape[:-1], len(wanted) * shape[-1])[::-1] if shape else ()
        title = f"{', '.join(names)}{', transposed' if part == 'kernel' else ''}, gates ifgo"
        read: Callable[[], Float32] = partial(_joined, source, pieces, text)
        made[prefix + kind] = Tensor(whole, title, read)
    return made


def _problem(
    prefix: str, wanted: list[tuple[str, str, str]], cell: Cell, pieces: list[Tensor]
) -> str:
    """Return why the arrays of the gates cannot be joined; "" if they can."""
    for side, gate, part in wanted:
        if (side, gate, part) not in cell:
            return f"{prefix}{side}{gate}/{part} is missing"
    shapes = {one.shape for one in pieces}
    if len(shapes) > 1 or any(len(shape) > 2 for shape in shapes):
        some = " and ".join(map(str, sorted(shapes)[:3]))
        return f"{pieces[0].source}: its gates have shapes {some}"
    return ""


def _joined(source: Source, pieces: list[Tensor], problem: str) -> Float32:
    """Return the arrays of the gates below each other, each transposed, in PyTorch's order."""
    if problem:
        raise FormatError(f"{source}: {problem}")
    values = [piece.read() for piece in pieces]
    source.budget.memory(2 * sum(value.nbytes for value in values))
    rows = np.concatenate([value.T for value in values])
    return gates.to_pytorch(np.ascontiguousarray(rows), "flax") if len(rows) % 4 == 0 else rows
