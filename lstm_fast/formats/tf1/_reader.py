"""From the arrays in an .npz file to LSTMs: which cells make a stack, its weights and sources."""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from ..._arrays import Float32
from ..._source import Readable, Source
from ..._weights import Direction, Weights
from ...cell import ActivationLike, Cell
from .. import _zip
from .._files import FormatError, Found, Refused, checked
from .._inventory import listed
from ._cells import FORGET_BIAS, from_arrays, to_forget_bias
from ._file import ARRAYS, DIAGONALS, NAME, Value, read_arrays


class _Place(NamedTuple):
    """Where a cell stands: its stack, its layer, and its direction where there are two."""

    stack: str
    layer: int
    backward: bool | None
    stacked_directions: bool  # each layer has both directions, instead of each direction its layers


def _place(scope: str) -> _Place:
    """Read a scope such as "rnn/multi_rnn_cell/cell_0/lstm_cell"."""
    parts = scope.split("/")
    way = next((n for n, part in enumerate(parts) if part in ("fw", "bw")), None)
    level = next((n for n, part in enumerate(parts) if re.fullmatch("cell_[0-9]{1,6}", part)), None)
    backward = None if way is None else parts[way] == "bw"
    layer = 0 if level is None else int(parts[level].removeprefix("cell_"))
    within = way is not None and (level is None or level < way)
    if level is not None:
        parts[level] = "cell_*"
    if way is not None and within:
        parts[way] = "*"
    return _Place("/".join(parts), layer, backward, within)


class _Made(NamedTuple):
    """How the cells were made, as far as the options of `read` say it."""

    activation: ActivationLike | None
    cell_clip: float | None
    proj_clip: float | None

    @property
    def options(self) -> dict[str, Any]:
        """What `from_arrays` takes."""
        cell_clip, proj_clip = (
            None if clip == math.inf else clip for clip in (self.cell_clip, self.proj_clip)
        )
        activation = "tanh" if self.activation is None else self.activation
        return {"activation": activation, "cell_clip": cell_clip, "proj_clip": proj_clip}

    def check(self) -> None:
        """Raise what makes no sense, whatever is in the file."""
        options = self.options
        activation = options.pop("activation")
        Cell(input=activation, output=activation, **options)

    def assumptions(self, stack: str, weights: Weights) -> tuple[str, ...]:
        """Return what was assumed of the cells of a stack: how they are made unless told."""
        texts = ["activation tanh"] if self.activation is None else []
        if self.cell_clip is None and "basic_lstm_cell" not in stack:  # which has none
            texts.append("no cell_clip")
        projects = any(layer.weight_hr is not None for layer in weights.layers)
        if self.proj_clip is None and projects:
            texts.append("no proj_clip")
        if not texts:
            return ()
        clips = "; a clip of infinity says that there is none" if "clip" in texts[-1] else ""
        return (
            f"the arrays do not say how the cells were made: taken are {', '.join(texts)}; load "
            f"and read have options of these names{clips}",
        )


def read(
    path: Readable,
    *,
    forget_bias: float | None = None,
    cell_clip: float | None = None,
    proj_clip: float | None = None,
    activation: ActivationLike | None = None,
) -> list[Found | Refused]:
    """Return every LSTM among the variables in an .npz file, under TensorFlow's names.

    A cell is known by its scope: the last part of it has "lstm" in it, or there is none. Cells
    cell_0, cell_1 of one scope are one stack; fw and bw are bidirectional where each layer has
    both; stacks that run apart from each other in each direction are two.

    Args:
        path: the file, such as `np.savez(path, **{v.name: value, ...})` writes it: its path, its
            bytes, or open; see `Source`.
        forget_bias: what the cells add to the forget gate at run time; it must be given.
        cell_clip: as the cells were made with it; infinity says that there is none, None assumes
            it.
        proj_clip: likewise.
        activation: likewise; None assumes tanh.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, or forget_bias is missing.
        TypeError, ValueError: an option has the wrong type or makes no sense.

    Example:
        >>> import io
        >>> import numpy as np
        >>> file = io.BytesIO()
        >>> np.savez(file, **{"rnn/lstm_cell/kernel:0": np.zeros((3 + 4, 16))})
        >>> [(one.name, one.weights.hidden_size) for one in read(file.getvalue(), forget_bias=1.0)]
        [('rnn/lstm_cell', 4)]
    """
    source = Source.of(path)
    if forget_bias is not None:
        to_forget_bias(forget_bias)
    made = _Made(activation, cell_clip, proj_clip)
    made.check()
    arrays, refused = read_arrays(source)
    stacks: dict[str, dict[_Place, dict[str, tuple[str, Value]]]] = {}
    for name, value in arrays.items():
        match = NAME.fullmatch(name)
        scope, kind = (match[1] or "", match[2]) if match else ("", "")
        place = _place(scope)
        stacks.setdefault(place.stack, {}).setdefault(place, {})[kind] = (name, value)
    if stacks and forget_bias is None:
        raise FormatError(f"{source}: {FORGET_BIAS}")
    found: list[Found | Refused] = [Refused(name, error) for name, error in refused.items()]
    for stack, places in stacks.items():
        try:
            found.append(_found(source, stack, places, forget_bias, made))
        except FormatError as error:
            found.append(Refused(stack, FormatError(str(error))))  # without a traceback's values
    return sorted(found, key=lambda one: one.name)


def _found(
    source: Source,
    stack: str,
    places: dict[_Place, dict[str, tuple[str, Value]]],
    forget_bias: float | None,
    made: _Made,
) -> Found:
    """Make one LSTM of the cells of a stack."""
    ordered = sorted(places, key=lambda place: (place.layer, bool(place.backward)))
    both = ordered[0].stacked_directions
    direction: Direction = (
        "bidirectional" if both else "reverse" if ordered[0].backward else "forward"
    )
    ways = (False, True) if both else (ordered[0].backward,)
    layers_count = ordered[-1].layer + 1
    is_whole = len(ordered) == layers_count * len(ways)
    wanted = [(n, way) for n in range(layers_count if is_whole else 0) for way in ways]
    if [(place.layer, place.backward) for place in ordered] != wanted:
        raise FormatError(f"{source}: {stack}: cells are missing, or there are some twice")
    layers: list[dict[str, Float32]] = []
    for place in ordered:
        layer: dict[str, Float32] = {}
        for kind, (_, value) in places[place].items():
            if isinstance(value, FormatError):
                raise value
            layer[kind] = value
        layers.append(layer)
    with checked(source, stack or "cell", TypeError):
        weights = from_arrays(layers, forget_bias=forget_bias, direction=direction, **made.options)
    sources = {}
    for index, place in enumerate(ordered):
        suffix = weights.suffix(index)
        names = {kind: name for kind, (name, _) in places[place].items()}
        sources.update(_sources(names, suffix, forget_bias))
    scopes = [_scope(places[place]) for place in ordered]
    parts = tuple(scopes) if len(scopes) > 1 else ()
    return Found(stack, weights, sources, (), made.assumptions(stack, weights), parts)


def _scope(cell: dict[str, tuple[str, Value]]) -> str:
    """Return the scope of a cell, from the name of one of its arrays."""
    match = NAME.fullmatch(next(iter(cell.values()))[0])
    return (match[1] or "") if match else ""


def _sources(names: dict[str, str], suffix: str, forget_bias: float | None) -> dict[str, str]:
    texts = {
        "weight_ih": f"{names['kernel']}, the first rows, gates icfo",
        "weight_hh": f"{names['kernel']}, the last rows, gates icfo",
        "bias_ih": f"{names['bias']}, gates icfo" if "bias" in names else "zeros",
        "bias_hh": f"forget_bias {forget_bias:g} for the forget gate, zeros elsewhere",
    }
    if DIAGONALS[0] in names:
        texts["peephole"] = ", ".join(names[kind] for kind in DIAGONALS)
    for kind, name in (("weight_hr", "projection/kernel"), ("bias_hr", "projection/bias")):
        if name in names:
            texts[kind] = names[name]
    return {kind + suffix: text for kind, text in texts.items()}


def inventory(source: Source) -> str:
    """Return in words what there is in a file without an LSTM."""
    names = [name.removesuffix(".npy") for name in _zip.names(source)]
    return (
        f"there are arrays {listed(names)}; those of a cell are called {', '.join(ARRAYS[:2])} "
        "under a scope with lstm in its last part, as in rnn/lstm_cell/kernel"
    )
