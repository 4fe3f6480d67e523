"""Indices of shards: JSON that says in which file beside it each tensor is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .._parameter_names import grouped
from .._shown import shown
from .._source import Source
from . import _json, _state_dicts
from ._files import FormatError


def shards(
    source: Source, others: Callable[[Iterable[str]], set[str]] = lambda _: set()
) -> dict[str, list[str]]:
    """Return the names of the tensors of LSTMs, and of what is beside them, by shard, sorted.

    Args:
        source: the index.
        others: returns which names are of LSTMs that have other names than PyTorch's.

    Raises:
        OSError: the file cannot be read.
        FormatError: it is not such an index.
    """
    index: Any = _json.parse(source, "index", _json.text_of(source))
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict):
        raise FormatError(f"{source}: index: there is no weight_map in it")
    _state_dicts.charge_names(source.budget, names)
    parts = {name for group in grouped(names).values() for name in group.names()}
    parts |= others(names)
    found: dict[str, list[str]] = {}
    for name, shard in names.items():
        if not isinstance(shard, str):
            raise FormatError(f"{source}: tensor {shown(name)}: its shard is not a name of a file")
        if name in parts:
            found.setdefault(shard, []).append(name)
    return dict(sorted(found.items()))


def check(source: Source, name: str, shard: Source) -> None:
    """Refuse a shard in place of which something else came, such as a Git LFS pointer.

    Raises:
        OSError: it cannot be read.
        FormatError: it is empty, or no file of weights.
    """
    from . import _recognise_others

    kinds = (_recognise_others.EMPTY, *_recognise_others.INSTEAD)
    if text := _recognise_others.instead(shard, kinds):
        raise FormatError(f"{source}: shard {shown(name)}: {text}")


def missing(source: Source, name: str, shard: str) -> FormatError:
    """Return the error for a tensor that is not where the index says."""
    return FormatError(f"{source}: tensor {shown(name)}: it is not in {shown(shard)}")
