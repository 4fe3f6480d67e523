"""safetensors: names of PyTorch, MLX and Flax, one file or shards; and our canonical form.

A safetensors file is a length, a JSON header and raw arrays. It is read and written here, without
the library of that name: the canonical form must work with NumPy alone, NumPy has no bfloat16, and
what a header claims is to be compared with the file before anything is believed.

The canonical form, which `write` makes and `lstm-fast convert` with it, has the tensors of
`LSTM.state_dict()` in float32, and under "lstm_fast" in the metadata a JSON text:

    {"version": 1, "direction": "forward", "cells": [{"clip": 3.0}, {}]}

with `Cell.to_json()` for each layer, and for each direction of it where there are two.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .._arrays import Float32
from .._other_tensors import advice
from .._shown import shown
from .._source import Readable, Source
from .._weights import KINDS, LayerWeights, Weights, make_weights
from ..cell import Cell
from . import _index, _json, _other_names, _state_dicts
from ._files import FormatError, Found, Refused, checked
from ._inventory import listed
from ._recognise_ours import FORMATS
from ._state_dicts import DTYPES, Tensor, decode, reading

SUFFIXES, recognise = FORMATS["safetensors"]
KEY = "lstm_fast"
VERSION = 1
MAX_DIMENSIONS = 64  # of a NumPy array
ENTRY_BYTES, ENTRY_STEPS = 600, 8  # of a tensor in the header, beside its JSON
SHOWN = 20  # characters of a dtype
TENSOR_STEPS = 60  # to open the file where a tensor is
ITEM_BYTES = {
    **{"F64": 8, "I64": 8, "U64": 8, "C64": 8, "F32": 4, "I32": 4, "U32": 4},
    **{"F16": 2, "BF16": 2, "I16": 2, "U16": 2, "I8": 1, "U8": 1, "BOOL": 1},
}


def read(path: Readable, *, ignore: str | Iterable[str] = ()) -> list[Found | Refused]:
    """Return every LSTM under the names of PyTorch, MLX or Flax, or the one in our canonical form.

    Args:
        path: the file, or the index (model.safetensors.index.json) beside its shards, by its
            path; a file also as bytes, or open, see `Source`.
        ignore: patterns of names, as of `fnmatch`, of tensors that are left out.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, a shard is missing, or no LSTM in it can be computed.
    """
    source = Source.of(path)
    if source.name.endswith(".json"):
        return _read_shards(source, ignore)
    tensors, metadata = _read_header(source)
    if KEY in metadata:
        kept, _ = _state_dicts.without(tensors, ignore)
        return [_read_canonical(source, kept, metadata[KEY])]
    if metadata.get("format") == "pt":  # which PyTorch's writers say
        return _state_dicts.find(source, tensors, source.budget, ignore)
    return _other_names.find(source, tensors, ignore)


def _read_header(source: Source) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return all tensors, and the metadata."""
    size = source.size
    with source.open() as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= size - 8:
            raise FormatError(
                f"{source}: header: it claims {length} bytes, the file has {max(0, size - 8)} left"
            )
        source.budget.memory(length, "its header")
        text = file.read(length)
    header = _json.parse(source, "header", text)
    if not isinstance(header, dict):
        raise FormatError(f"{source}: header: expected a JSON object")
    metadata = header.pop("__metadata__", None) or {}  # null where MLX has none
    if not isinstance(metadata, dict):
        raise FormatError(f"{source}: header: __metadata__ is not a JSON object")
    source.budget.give_back(length)
    source.budget.memory(ENTRY_BYTES * len(header), "what its header says")
    source.budget.work(ENTRY_STEPS * len(header), "reading its header")
    data = range(8 + length, size)
    tensors = {name: _tensor(source, name, entry, data) for name, entry in header.items()}
    _check_apart(source, header)
    return tensors, metadata


def _check_apart(source: Source, header: dict[str, Any]) -> None:
    """Refuse tensors that share bytes, as the format does: many could be of the same few."""
    last, before = 0, ""
    for begin, end, name in sorted((*one["data_offsets"], name) for name, one in header.items()):
        if begin < last and begin < end:
            raise FormatError(
                f"{source}: the tensors {shown(before)} and {shown(name)} are of the same bytes"
            )
        if end > last:
            last, before = end, name


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 2**63


def _tensor(source: Source, name: str, entry: Any, data: range) -> Tensor:
    """Check what a header says of a tensor against where the file's data is."""
    title = shown(name)
    part = f"{source}: tensor {title}"
    if not isinstance(entry, dict):
        raise FormatError(f"{part}: expected a JSON object")
    dtype, shape, offsets = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(map(_is_size, shape)):
        raise FormatError(f"{part}: its shape is not a list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise FormatError(f"{part}: its data_offsets are not a pair of offsets")
    begin, end = offsets
    if not begin <= end <= len(data):
        raise FormatError(
            f"{part}: its bytes {begin} to {end} are not within the {len(data)} of the file's data"
        )
    if not isinstance(dtype, str):
        raise FormatError(f"{part}: its dtype is not a string")
    count = math.prod(shape)
    if dtype in ITEM_BYTES and count * ITEM_BYTES[dtype] != end - begin:
        raise FormatError(f"{part}: {end - begin} bytes are not {shape} of {dtype}")
    read = partial(_read_tensor, source, title, dtype, tuple(shape), data.start + begin)
    return Tensor(tuple(shape), f"tensor {title}, {dtype[:SHOWN]}", read)


def _read_tensor(
    source: Source, title: str, dtype: str, shape: tuple[int, ...], start: int
) -> Float32:
    if dtype not in DTYPES:
        raise FormatError(
            f"{source}: tensor {title}: its dtype is {dtype[:SHOWN]}; {', '.join(DTYPES)} can be "
            "read"
        )
    count = math.prod(shape)
    length = count * ITEM_BYTES[dtype]
    source.budget.work(TENSOR_STEPS, "reading its tensors")
    with reading(source.budget, count, count, dtype):
        return decode(_bytes_at(source, title, start, length), dtype).reshape(shape)


def _bytes_at(source: Source, title: str, start: int, length: int) -> bytes:
    with source.open() as file:
        file.seek(start)
        data = file.read(length)
    if len(data) != length:
        raise FormatError(f"{source}: tensor {title}: the file ends within it")
    return data


def _read_shards(source: Source, ignore: str | Iterable[str]) -> list[Found | Refused]:
    """Return what the index's tensors make; only shards with parts of an LSTM are opened."""
    tensors: dict[str, Tensor] = {}
    headers: dict[int, dict[str, Tensor]] = {}  # one file may have several names
    for shard, wanted in _index.shards(source, _other_names.parts).items():
        with checked(source, f"shard {shown(shard)}"):
            file = source.beside(shard)
        if id(file) not in headers:
            _index.check(source, shard, file)
            headers[id(file)], _ = _read_header(file)
        held = headers[id(file)]
        for name in wanted:
            if name not in held:
                raise _index.missing(source, name, shard)
            tensors[name] = replace(held[name], source=f"{held[name].source} in {shard}")
    return _other_names.find(source, tensors, ignore)


def _read_canonical(source: Source, tensors: dict[str, Tensor], text: Any) -> Found:
    """Return what `write` wrote."""
    part = f"metadata {KEY}"
    if not isinstance(text, str):
        raise FormatError(f"{source}: {part}: it is not a string")
    options = _json.parse(source, part, text.encode("ascii", "replace"))
    if not isinstance(options, dict) or options.get("version") != VERSION:
        found = options.get("version") if isinstance(options, dict) else None
        raise FormatError(f"{source}: {part}: its version is {found}, this release reads {VERSION}")
    direction, cells = options.get("direction"), options.get("cells")
    if not isinstance(cells, list) or not cells or not isinstance(direction, str):
        raise FormatError(f"{source}: {part}: direction or cells are missing")
    _state_dicts.charge_names(source.budget, tensors)
    source.budget.work(_state_dicts.GROUP_STEPS * len(cells), part)
    with checked(source, part, TypeError, OverflowError):
        stack = Weights(tuple(map(_only_cell, cells)), direction)  # type: ignore[arg-type]
    with checked(source, "weights", TypeError):
        weights = make_weights(_canonical_layers(source, stack, tensors), stack.direction)
    sources = {name: tensor.source for name, tensor in tensors.items()}
    return Found("", weights, _state_dicts.in_order(weights, sources))


def _canonical_layers(
    source: Source, stack: Weights, tensors: Mapping[str, Tensor]
) -> list[LayerWeights]:
    """Return the layers of a stack that has only their cells so far."""
    layers: list[LayerWeights] = []
    used: set[str] = set()
    for index, layer in enumerate(stack.layers):
        names = {kind: kind + stack.suffix(index) for kind in KINDS}
        there = {kind: name for kind, name in names.items() if name in tensors}
        used.update(there.values())
        for kind in ("weight_ih", "weight_hh"):
            if kind not in there:
                raise FormatError(f"{source}: {names[kind]} is missing")
        values: dict[str, Any] = {kind: tensors[name].read() for kind, name in there.items()}
        layers.append(replace(layer, **values))
    if unknown := sorted(set(tensors) - used):
        raise FormatError(
            f"{source}: tensor {shown(unknown[0])} is not part of the LSTM; leave out what is not: "
            f"{advice(unknown, '')}"
        )
    return layers


EMPTY = np.zeros((0, 0), np.float32)


def _only_cell(options: Any) -> LayerWeights:
    return LayerWeights(EMPTY, EMPTY, cell=Cell.from_json(options))


def write(path: str | os.PathLike[str], weights: Weights) -> None:
    """Write weights in our canonical form; the same weights always give the same bytes.

    Raises:
        OSError: the file cannot be written.
    """
    cells = [layer.cell.to_json() for layer in weights.layers]
    text = {"version": VERSION, "direction": weights.direction, "cells": cells}
    header: dict[str, Any] = {"__metadata__": {KEY: json.dumps(text)}}
    arrays = _arrays(weights)
    end = 0
    for name, value in arrays.items():
        begin, end = end, end + 4 * value.size
        header[name] = {"dtype": "F32", "shape": value.shape, "data_offsets": (begin, end)}
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)  # so that the arrays are aligned
    with Path(path).open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        for value in arrays.values():
            file.write(value.astype("<f4", copy=False).tobytes())


def _arrays(weights: Weights) -> Mapping[str, Float32]:
    """Return what there is under the names of `Weights.state_dict`, not copied."""
    return {
        kind + weights.suffix(index): value
        for index, layer in enumerate(weights.layers)
        for kind, value in layer.parameters().items()
    }


def inventory(source: Source) -> str:
    """Return in words what there is in a file without an LSTM."""
    if source.name.endswith(".json"):
        index = _json.parse(source, "index", _json.text_of(source))
        names = index.get("weight_map") if isinstance(index, dict) else None
    else:
        with source.open() as file:
            text = file.read(min(int.from_bytes(file.read(8), "little"), source.size))
        names = _json.parse(source, "header", text)
    names = [name for name in names or () if name != "__metadata__"]
    return f"there are tensors {listed(names)}" if names else "there is no tensor"
