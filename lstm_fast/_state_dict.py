"""Weights by PyTorch's names: of `torch.nn.LSTM` and `torch.nn.LSTMCell`, and ours beyond them.

This is the one place that reads them, for state dicts and for files: under the prefix of an LSTM
every tensor is used, or is harmless and noted, or the LSTM is refused by the name of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arguments import to_float32
from ._arrays import Float32
from ._computed_parameters import Form, Tensor, compute, form_of
from ._foreign_arrays import as_array
from ._other_tensors import Sizes, advice, harmless, listed, refusal
from ._parameter_names import ONE_BIAS, Group, Parameter, as_patterns, grouped, is_ignored, prefixes
from ._weights import KINDS, Direction, LayerWeights, Weights, make_weights, own
from .cell import PLAIN, Cell

__all__ = ["Stack", "prefixes", "read_mapping", "read_stack", "read_weights"]

# Names that are not of `torch.nn.LSTM`, so that another module may mean something else by them.
OURS = frozenset({ONE_BIAS, "bias_hr", "peephole", "layer_norm", "h_0", "c_0"})
# What they are taken for where even the number of the layer, which we write, is missing.
MEANINGS = {
    "bias_hr": "the bias of the projection",
    "peephole": "peepholes of the gates i, f, o",
    "layer_norm": "the scale of a layer normalisation of the gates i, f, g, o",
    "h_0": "the initial state",
    "c_0": "the initial state",
}


@dataclass(frozen=True)
class Stack:
    """What was read under one prefix.

    sources: where each parameter comes from, by PyTorch's names.
    notes, assumptions: as of `formats.Found`.
    """

    weights: Weights
    sources: dict[str, str]
    notes: tuple[str, ...]
    assumptions: tuple[str, ...]


class _Kept:
    """One parameter as it is kept: its name, shape and value; nothing is read until it is asked."""

    def __init__(
        self, parameter: Parameter, pieces: Mapping[str, str], tensors: Mapping[str, Tensor]
    ) -> None:
        form = form_of(pieces)
        if form is None:
            raise ValueError(_not_computable(parameter, pieces))
        self.form: Form = form
        self._tensors = {pieces[piece]: tensors[pieces[piece]] for piece in form.pieces}
        self.unused = sorted(name for name in pieces.values() if name not in self._tensors)

    @property
    def names(self) -> list[str]:
        return list(self._tensors)

    @property
    def name(self) -> str:
        return self.names[0]

    @property
    def shape(self) -> tuple[int, ...]:
        return self._tensors[self.name].shape

    @property
    def source(self) -> str:
        sources = ", ".join(tensor.source for tensor in self._tensors.values())
        return f"{self.form.says} of {sources}" if self.form.says else sources

    def read(self) -> Any:
        return compute(self.form, self._tensors)


def _not_computable(parameter: Parameter, pieces: Mapping[str, str]) -> str:
    """Return the error on pieces that make no form."""
    names = [name for piece, name in sorted(pieces.items()) if piece]
    if "" in pieces:
        return (
            f"{listed(names)} beside {pieces['']}, which may be computed from them; if it "
            f"is not, leave them out: {advice(names, pieces[''])}"
        )
    if parameter.kind in OURS:
        return refusal(names, names[0])
    return (
        f"{listed(names)}: a weight in a form from which it cannot be computed; save the "
        "model without it (torch.nn.utils.parametrize.remove_parametrizations or prune.remove), or "
        "take lstm_fast.formats.pytorch.from_module(model)"
    )


def _missing(name: str, prefix: str, others: list[str], names: list[Any]) -> ValueError:
    text = f"{name} is missing"
    others = [other for other in others if other != prefix]
    if others:
        text += "; there are LSTM weights under " + ", ".join(f"prefix={o!r}" for o in others[:5])
    elif names:
        text += "; the mapping has " + ", ".join(map(repr, names[:5]))
        text += ", ..." if len(names) > 5 else ""
    return ValueError(text)


def _hidden_size(shape: tuple[int, ...], name: str, projected: bool) -> int:
    """Read it off weight_hh, which has four times as many rows."""
    if len(shape) == 2 and shape[0] and shape[0] % 4 == 0 and projected:
        return int(shape[0]) // 4
    if len(shape) != 2 or shape[1] == 0 or shape[0] != 4 * shape[1]:
        hint = " (it looks transposed)" if len(shape) == 2 and shape[1] == 4 * shape[0] else ""
        raise ValueError(f"{name} has shape {shape}, expected (4 * hidden_size, hidden_size){hint}")
    return int(shape[1])


def _take(kept: _Kept, kind: str, hidden_size: int, projected: bool) -> tuple[Float32, Any]:
    """Return a parameter as float32, and the array as it was given, whose memory it may be."""
    rows = "H" if kind == "h_0" and not projected else KINDS[kind][0]
    length = {"4H": 4 * hidden_size, "3H": 3 * hidden_size, "H": hidden_size}.get(rows)
    shape = (length, *[None] * (len(KINDS[kind]) - 1))
    what = "expected %s"
    if rows == "4H":
        what += ": 4 * hidden_size rows, gates i, f, g, o"
    free = "input_size" if kind == "weight_ih" else "proj_size" if rows == "P" else "hidden_size"
    given = kept.read()
    given = given if type(given) is np.ndarray else as_array(given, kept.name)
    value = to_float32(given, kept.name, shape, what, free=free)
    if not np.isfinite(value).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
        found = as_array(given, kept.name)[where]
        says = f" (by {kept.form.says})" if kept.form.says else ""
        raise ValueError(f"{kept.name} is not finite in float32: {found} at {list(where)}{says}")
    if value.size == 0:
        raise ValueError(
            f"{kept.name} has shape {value.shape}, expected an input_size of 1 or more"
        )
    return value, given


def _direction(parameters: Iterable[Parameter]) -> Direction:
    directions = {parameter.reverse for parameter in parameters}
    return (
        "bidirectional" if len(directions) == 2 else "reverse" if True in directions else "forward"
    )


class _Reader:
    """Reads one group; `missing` makes the error on a parameter that is not there."""

    def __init__(
        self,
        group: Group,
        tensors: Mapping[str, Tensor],
        missing: Callable[[str], ValueError],
        arrange: Callable[[Float32], Float32],
    ) -> None:
        if group.twice:
            raise ValueError(
                "both {} and {} are given; they mean the same layer".format(*group.twice)
            )
        self.group, self.missing, self.arrange = group, missing, arrange
        self.kept = {key: _Kept(key, pieces, tensors) for key, pieces in group.parameters.items()}
        self.direction = _direction(self.kept)
        self.kinds = {parameter.kind for parameter in self.kept}
        first = self._first("weight_hh")
        names = group.parameters.get(first, {}).values()
        self.is_bare = any("weight_hh_l0" not in name for name in names)
        if first not in self.kept:
            raise missing(self.called(first))
        kept = self.kept[first]
        self.hidden_size = _hidden_size(kept.shape, kept.name, "weight_hr" in self.kinds)

    def _first(self, kind: str) -> Parameter:
        return Parameter(kind, 0, self.direction == "reverse")

    def called(self, parameter: Parameter) -> str:
        """Return the name that it has, or would have."""
        if parameter in self.kept:
            return self.kept[parameter].name
        bare = parameter.kind + ("_reverse" if parameter.reverse else "")
        is_bare = self.is_bare and parameter.layer == 0
        return self.group.prefix + (bare if is_bare else parameter.called)

    def layer(self, layer: int, reverse: bool, cell: Cell) -> LayerWeights:
        def one(kind: str) -> Parameter:
            return Parameter(kind, layer, reverse)

        self._check_one_bias(one)
        wanted = ["weight_ih", "weight_hh"]
        has_bias = not self.kinds.isdisjoint({"bias_ih", "bias_hh", ONE_BIAS})
        if has_bias and one(ONE_BIAS) not in self.kept:
            wanted += ["bias_ih", "bias_hh"]
        wanted += ["weight_hr"] if "weight_hr" in self.kinds else []
        for kind in wanted:
            if one(kind) not in self.kept:
                raise self.missing(self.called(one(kind)))
        values = {kind: self.value(one(kind), kind) for kind in KINDS if one(kind) in self.kept}
        if one(ONE_BIAS) in self.kept:
            values["bias_ih"] = self.value(one(ONE_BIAS), "bias_ih")
            values["bias_hh"] = np.zeros_like(values["bias_ih"])
            values["bias_hh"].flags.writeable = False
        return LayerWeights(**values, cell=cell)

    def _check_one_bias(self, one: Callable[[str], Parameter]) -> None:
        others = [self.kept[one(k)].name for k in ("bias_ih", "bias_hh") if one(k) in self.kept]
        if one(ONE_BIAS) in self.kept and others:
            name = self.kept[one(ONE_BIAS)].name
            raise ValueError(refusal([name], self.group.prefix))

    def value(self, parameter: Parameter, kind: str) -> Float32:
        kept = self.kept[parameter]
        try:
            value, given = _take(kept, kind, self.hidden_size, "weight_hr" in self.kinds)
        except ValueError as error:
            if parameter.kind not in OURS:
                raise
            how = advice([kept.name], self.group.prefix)
            raise ValueError(f"{error}; if it is not a part of the LSTM: {how}") from None
        return own(self.arrange(value) if KINDS[kind][0] == "4H" else value, given)

    def sources(self) -> dict[str, str]:
        found = {}
        for parameter, kept in self.kept.items():
            if parameter.kind != ONE_BIAS:
                found[parameter.called] = kept.source
                continue
            found[parameter._replace(kind="bias_ih").called] = kept.source
            found[parameter._replace(kind="bias_hh").called] = "zeros, since there is one bias"
        return found

    def notes(self) -> list[str]:
        notes = []
        for parameter, kept in self.kept.items():
            if parameter.kind == ONE_BIAS:
                notes.append(f"{kept.name} is the sum of both biases: it is added once")
            if kept.form.compute is not None:
                pieces = " and ".join(kept.names)
                notes.append(f"{parameter.called} is computed by {kept.form.says} from {pieces}")
        return notes

    def assumptions(self) -> list[str]:
        found = []
        for parameter, kept in self.kept.items():
            if kept.form.is_assumed:
                text = (
                    f"{parameter.called} is {kept.name}, as {kept.form.says} has it in evaluation"
                )
                unused = f", and {', '.join(kept.unused)} is not used" if kept.unused else ""
                found.append(text + unused)
            if kept.name == self.group.prefix + parameter.kind and parameter.kind in MEANINGS:
                found.append(f"{kept.name} is taken for {MEANINGS[parameter.kind]}")
        return found


def _is_missing(name: str) -> ValueError:
    return ValueError(f"{name} is missing")


def _as_it_is(value: Float32) -> Float32:
    return value


def read_stack(
    group: Group,
    tensors: Mapping[str, Tensor],
    cell: Cell = PLAIN,
    missing: Callable[[str], ValueError] = _is_missing,
    arrange: Callable[[Float32], Float32] = _as_it_is,
) -> Stack:
    """Read the LSTM of one prefix.

    Args:
        group: its names.
        tensors: all of them.
        cell: the options of every layer's cell.
        missing: makes the error on a parameter of that name that is missing.
        arrange: brings the rows of what has four gates into our order.

    Raises:
        ValueError: a weight is missing, misshapen, not finite or not to be computed; things do not
            go together; or something beside them is not understood. And what reading raises.
    """
    reader = _Reader(group, tensors, missing, arrange)
    layers: list[LayerWeights] = []
    display: dict[str, str] = {}
    for n in range(1 + max(parameter.layer for parameter in reader.kept)):
        for reverse in {"forward": [False], "reverse": [True]}.get(reader.direction, [False, True]):
            layers.append(reader.layer(n, reverse, cell))
            for kind in KINDS:
                parameter = Parameter(kind, n, reverse)
                display[parameter.called] = reader.called(parameter)
    weights = make_weights(layers, reader.direction, display, copy=False, finite=True)
    sizes = Sizes(weights.input_size, weights.hidden_size, weights.output_size)
    shapes = {name: tensors[name].shape for name in group.beside}
    known, taken = harmless(group.prefix, group.beside, shapes, sizes)
    notes, assumptions = reader.notes(), reader.assumptions()
    if known:
        notes.append(f"left out, as no part of the LSTM: {listed(known)}")
    if taken:
        assumptions.append(
            f"taken by name for no part of the LSTM: {listed(taken)} "
            "(ignore= says that they are none)"
        )
    return Stack(weights, reader.sources(), tuple(notes), tuple(assumptions))


class _Given:
    """A value of a mapping that a caller gave."""

    def __init__(self, name: str, value: Any) -> None:
        self.source, self._value = name, value

    @property
    def shape(self) -> tuple[int, ...]:
        shape = getattr(self._value, "shape", None)
        if isinstance(shape, tuple) and all(isinstance(size, int) for size in shape):
            return tuple(map(int, shape))
        return to_float32(self._value, self.source, None, "").shape

    def read(self) -> Any:
        return self._value


class _Other(_Given):
    """One that is not a parameter, of which only the shape may matter; it may be anything."""

    @property
    def shape(self) -> tuple[int, ...]:
        try:
            return super().shape
        except (TypeError, ValueError, RuntimeError):  # a lazy tensor of PyTorch has none yet
            return ()


def read_mapping(
    mapping: Mapping[str, Any],
    prefix: str = "",
    cell: Cell = PLAIN,
    ignore: str | Iterable[str] = (),
) -> Stack:
    """Read a stack from a state dict of `torch.nn.LSTM` or `torch.nn.LSTMCell`.

    Args:
        mapping: names to values, each anything that `_foreign_arrays.as_array` takes.
        prefix: what comes before the names, such as "model.decoder.rnn.".
        cell: the options of every layer's cell.
        ignore: patterns of names that are left out, as of `fnmatch`.

    Raises:
        TypeError: mapping is not a mapping, or values are not real numbers.
        ValueError: as of `read_stack`.
    """
    if not isinstance(mapping, Mapping):
        hint = ": pass its state_dict()" if hasattr(mapping, "state_dict") else ""
        found = type(mapping).__name__
        raise TypeError(f"expected a mapping of names to arrays, found {found}{hint}")
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a string, found {type(prefix).__name__}")
    patterns = as_patterns(ignore)
    names = [name for name in mapping if not is_ignored(name, patterns)]
    group = grouped(names, prefix)[prefix]
    group.beside = [name for name in group.beside if _is_tensor(mapping[name])]
    tensors: dict[str, Tensor] = {name: _Given(name, mapping[name]) for name in group.names()}
    tensors.update({name: _Other(name, mapping[name]) for name in group.beside})

    def missing(name: str) -> ValueError:
        return _missing(name, prefix, prefixes(names), names)

    return read_stack(group, tensors, cell, missing)


def read_weights(mapping: Mapping[str, Any], prefix: str = "", cell: Cell = PLAIN) -> Weights:
    """Return the weights alone of `read_mapping`."""
    return read_mapping(mapping, prefix, cell).weights


def _is_tensor(value: Any) -> bool:
    """Whether a value that is not a parameter is one that a module could compute with.

    Numbers and words that people keep beside weights, such as a hidden_size, are not.
    """
    if isinstance(value, np.generic):
        return False
    if not isinstance(value, (list, tuple)):
        return hasattr(type(value), "shape")
    try:
        return to_float32(value, "a list", None, "").size > 0
    except (TypeError, ValueError, RuntimeError):
        return False
