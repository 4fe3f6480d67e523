"""Programs of torch.export (.pt2): weights as raw files with a JSON index.

Since PyTorch 2.8 data/weights/MODEL_weights_config.json says for each name of the state dict in
which file it is, its dtype as a number of the schema, its sizes, strides and where it begins; files
hold storages, which names may share. Before that, a file of torch.save is within the archive. The
layout: torch/export/pt2_archive and torch/_export/serde/schema.py of PyTorch.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from ..._arrays import Float32
from ..._parameter_names import grouped
from ..._shown import shown
from ..._source import Source
from .. import _json
from .._files import FormatError, checked
from .._state_dicts import Tensor, charge_names
from ._checkpoints import TENSOR_BYTES
from ._members import Members
from ._opened import opened, stored
from ._storages import Storage
from ._tensors import Tensors, Values

WEIGHTS, WEIGHTS_END = "data/weights/", "_weights_config.json"
CONSTANTS, CONSTANTS_END = "data/constants/", "_constants_config.json"
# What torch.save wrote before there were raw files, the newest first.
SAVED = ("data/weights/model.pt", "serialized_state_dict.pt", "serialized_state_dict.json")
DTYPES = {  # of the schema, which counts from UINT8 = 1
    **{1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32"},
    **{8: "float64", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16"},
}
PROGRAM_STEPS = 25  # of a name, for each program that has constants
STRIDED = 7  # a layout of the schema


def saved(members: Members, root: str) -> Source | None:
    """Return the state dict that torch.save wrote; None where weights are raw files.

    Raises:
        OSError: of the file.
        FormatError: it is damaged, or there are no weights.
    """
    source = members.source
    if any(
        name.startswith(root + WEIGHTS) and name.endswith(WEIGHTS_END) for name in members.members
    ):
        return None
    name = next((root + one for one in SAVED if root + one in members.members), None)
    if name is None:
        raise FormatError(
            f"{source}: there are no weights in it: give what torch.export.save wrote, before it "
            "was compiled (AOTInductor), or torch.save(program.state_dict, 'model.pt')"
        )
    with checked(source, name):
        source.budget.memory(members.size(name), name)
        return source.part(name, members.read(name))


def tensors(members: Members, root: str) -> dict[str, Tensor]:
    """Return the tensors of the state dict; those of all programs where there are several.

    A constant is one of them where its name is of a parameter of an LSTM.

    Raises:
        OSError: of the file.
        FormatError: it is damaged.
    """
    source = members.source
    begin, end = root + WEIGHTS, WEIGHTS_END
    models = sorted(
        name[len(begin) : -len(end)]
        for name in members.members
        if name.startswith(begin) and name.endswith(end)
    )
    reader = _Reader(members, root)
    found: dict[str, Tensor] = {}
    for model in models:
        prefix = f"{model}." if len(models) > 1 else ""
        for name, tensor in reader.tensors(model, WEIGHTS, WEIGHTS_END).items():
            found[prefix + name] = tensor
    for model in models:
        prefix = f"{model}." if len(models) > 1 else ""
        constants = {
            prefix + name: tensor
            for name, tensor in reader.tensors(model, CONSTANTS, CONSTANTS_END).items()
            if prefix + name not in found
        }
        if not constants:
            continue
        names = [*found, *constants]
        charge_names(source.budget, names)
        source.budget.work(PROGRAM_STEPS * len(names), "the constants of its programs")
        parts = {
            name
            for group in grouped(names).values()
            for pieces in group.parameters.values()
            for name in pieces.values()
        }
        found.update((name, one) for name, one in constants.items() if name in parts)
    if not models:
        raise FormatError(f"{source}: there are no weights in it")
    return found


class _Reader:
    def __init__(self, members: Members, root: str) -> None:
        self._members, self._root = members, root
        self._source = members.source
        self._tensors = Tensors(members.source.budget)

    def tensors(self, model: str, folder: str, end: str) -> dict[str, Tensor]:
        """Return what one index says; nothing where it is missing."""
        path, source = f"{self._root}{folder}{model}{end}", self._source
        if path not in self._members.members:
            return {}
        with checked(source, shown(path)):
            size = self._members.size(path)
            source.budget.memory(size, path)
            content = _json.parse(source, path, self._members.read(path))
            source.budget.give_back(size)
            entries = content.get("config") if isinstance(content, dict) else None
            if not isinstance(entries, dict):
                raise ValueError("there is no config in it")
        source.budget.memory(TENSOR_BYTES * len(entries), path)
        source.budget.work(10 * len(entries), path)
        found = {}
        for name, entry in entries.items():
            if not isinstance(entry, dict):
                raise FormatError(f"{source}: {shown(name)}: expected a JSON object")
            if entry.get("tensor_meta") is not None:  # another object, such as a tokenizer
                with checked(source, shown(name)):
                    found[name] = stored(source, name, self._values(entry, folder))
        return found

    def _values(self, entry: dict[str, Any], folder: str) -> Values:
        file, meta = entry.get("path_name"), entry["tensor_meta"]
        if not isinstance(file, str) or not isinstance(meta, dict):
            raise ValueError("damaged: what it says of a tensor makes no sense")
        path = f"{self._root}{folder}{file}"
        sizes, strides = _whole(meta.get("sizes")), _whole(meta.get("strides"))
        offset = _whole([meta.get("storage_offset")])
        number = meta.get("dtype")
        dtype = DTYPES.get(number, "") if type(number) is int else ""
        if entry.get("use_pickle"):
            read = partial(self._pickled, path, tuple(sizes or ()))
            return Values(tuple(sizes or ()), dtype or "unknown", read)
        if meta.get("layout") != STRIDED or not dtype or offset is None:
            dtype = dtype if offset is not None and meta.get("layout") == STRIDED else "unknown"
            offset = offset or [0]
        member = self._members.members.get(path)
        size = 0 if member is None else member.file_size
        storage = Storage(path, dtype or f"dtype {number}", size, partial(self._members.read, path))
        return self._tensors.strided(storage, offset[0], sizes, strides)

    def _pickled(self, path: str, shape: tuple[int, ...]) -> Float32:
        """Return a tensor that torch.save wrote, as it does for subclasses."""
        source = self._source
        source.budget.memory(self._members.size(path), path)
        part = source.part(path, self._members.read(path))
        with part.open() as file:
            top, _ = opened(part, file)
            values = Tensors(source.budget).find(top)
            if values is None or values.shape != shape:
                raise ValueError("it is kept in a way that only PyTorch reads: save the state dict")
            return values.read()


def _whole(values: Any) -> list[int] | None:
    """Return whole numbers; None where one is an expression."""
    if not isinstance(values, list):
        return None
    found = [one.get("as_int") if isinstance(one, dict) else one for one in values]
    whole = [one for one in found if type(one) is int]
    return whole if len(whole) == len(found) else None
