"""An index of shards (pytorch_model.bin.index.json), each of which torch.save wrote beside it."""

from __future__ import annotations

from contextlib import ExitStack

from ..._source import Source
from .. import _index, _state_dicts
from .._files import Found, Refused, checked
from .._state_dicts import Tensor
from ._opened import opened, state_dicts, stored


def read(source: Source, ignore: _state_dicts.Patterns) -> list[Found | Refused]:
    """Return what the index's tensors make; only shards with parts of an LSTM are opened.

    Raises:
        OSError: a file cannot be opened.
        FormatError: one is damaged or missing, or no LSTM can be computed.
    """
    tensors: dict[str, Tensor] = {}
    held: dict[int, dict[str, Tensor]] = {}  # one file may have several names
    with ExitStack() as stack:
        for shard, wanted in _index.shards(source).items():
            with checked(source, f"shard {shard[:80]!r}"):
                file = source.beside(shard)
            if id(file) not in held:
                _index.check(source, shard, file)
                top, _ = opened(file, stack.enter_context(file.open()))
                held[id(file)] = {
                    one.place + name: stored(file, one.place + name, values)
                    for one in state_dicts(file, top)
                    for name, values in one.tensors.items()
                }
            for name in wanted:
                if name not in held[id(file)]:
                    raise _index.missing(source, name, shard)
                tensors[name] = held[id(file)][name]
        return _state_dicts.find(source, tensors, source.budget, ignore)
