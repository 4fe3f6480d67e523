"""Where the state dicts are in what a file of PyTorch's holds.

A checkpoint may be anything: dicts, lists and objects around a state dict, several of them, or a
module pickled whole. Whatever holds tensors is looked through, each container by identity, so that
one that holds itself ends.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ..._budget import Budget
from ..._shown import plain
from ._pickle_values import CONTAINERS, Dict, Object, PickleError, lists, parts
from ._tensors import Tensors, Values

DEEPEST = 64  # containers within each other
MOST_AGAIN = 25_000  # containers that are met once more, under another name, and parts of them
# Steps for a container, for its depth, for an entry of a dict or a part of a list, for an object.
CONTAINER, DEPTH, ENTRY, PART, OBJECT = 3, 0.05, 1, 0.1, 30
# Bytes for a container that is to be looked into, an entry of a dict while it is, and a tensor.
NODE_BYTES, ENTRY_BYTES, TENSOR_BYTES = 250, 180, 800
STEPS_A_BYTE = 0.001  # of names that are put together
WHAT, NAMES = "looking for tensors in it", "the names of its tensors"
IS_LSTM = re.compile(r"weight_[ih]h")

# A module keeps its tensors and the modules in it under these names; a scripted one has no such.
PARAMETERS, BUFFERS, MODULES = "_parameters", "_buffers", "_modules"
NOT_SAVED = "_non_persistent_buffers_set"
METADATA = "_metadata"  # of a state dict: the versions of its modules
SCRIPTED = "__torch__."
QUANTIZED_LSTM = re.compile(r".*\.(?:quantized|quantizable)\.(?:.*\.)?(?:LSTM|LSTMCell)")
# What the state dict of a quantized module has, and where in it the name of an LSTM ends.
PACKED = ("_all_weight_values", "_packed_weight_ih", "_packed_weight_hh", "_packed_params")
QUANTIZED_NAME = re.compile(
    r"(?s)(.*?)(?:_all_weight_values\.|_packed_weight_[ih]h|layers\.\d+\.layer_[fb]w\.)"
)


@dataclass
class StateDict:
    """Tensors that stand side by side.

    place: what leads to them, such as "checkpoint.model."; "" at the top.
    tensors: by name.
    quantized: the prefixes of LSTMs whose weights are packed, each with what says so.
    packed: a name that says so of any module.
    """

    place: str
    tensors: dict[str, Values] = field(default_factory=dict)
    quantized: dict[str, str] = field(default_factory=dict)
    packed: str | None = None

    @property
    def has_lstm(self) -> bool:
        return bool(self.quantized) or any(IS_LSTM.search(name) for name in self.tensors)


class _Node(NamedTuple):
    """A container, and what led to it."""

    value: Any
    key: str = ""
    depth: int = 0
    above: _Node | None = None
    inside: StateDict | None = None  # that of the module which this one is a part of

    def path(self, *, in_module: bool = False) -> str:
        """Return what leads here, from the top or from the outermost module."""
        keys: list[str] = []
        node = self
        while node.above is not None and not (in_module and node.inside is None):
            keys.append(f"{node.key}.")
            node = node.above
        return "".join(reversed(keys))

    def is_below(self, value: Any) -> bool:
        """Return whether this container is one of those that led here."""
        node = self.above
        while node is not None:
            if node.value is value:
                return True
            node = node.above
        return False


class Search:
    """Finds all state dicts in a value, in the order of the file, the outer ones first."""

    def __init__(self, tensors: Tensors, budget: Budget) -> None:
        self._tensors = tensors
        self._budget = budget
        self._seen: set[int] = set()
        self._again = MOST_AGAIN
        self._found: dict[str, StateDict] = {}

    def run(self, top: Any) -> list[StateDict]:
        """Return what there is.

        Raises:
            PickleError: a tensor is damaged beyond its values.
            FormatError: it takes more than a file of this size is worth.
        """
        waiting = deque([_Node(top)])
        while waiting:
            node = waiting.popleft()
            if isinstance(node.value, CONTAINERS) and self._is_wanted(node):
                for part in self._visit(node):
                    self._budget.memory(NODE_BYTES, WHAT)
                    waiting.append(part)
        return list(self._found.values())

    def _is_wanted(self, node: _Node) -> bool:
        """Return whether to look into a container: once, or a few times under other names."""
        self._budget.work(CONTAINER + DEPTH * node.depth, WHAT)
        if node.depth > DEEPEST or node.is_below(node.value):
            return False
        if isinstance(node.value, Object):
            again = id(node.value) in self._seen
            self._seen.add(id(node.value))
            return self._may_walk(lists(node.value), int(again))
        return self._may_walk([node.value])

    def _may_walk(self, walked: Iterable[Any], again: int = 0) -> bool:
        """Return whether to go through these: each is free once, and counted where it is met again.

        Many objects, each met once, may share what they hold.
        """
        for one in walked:
            again += 1 + len(one) if id(one) in self._seen and one else 0
            self._seen.add(id(one))
        self._again -= again
        return not again or self._again >= 0

    def _visit(self, node: _Node) -> Iterator[_Node]:
        """Note the tensors in a container, and yield the containers in it."""
        held = lists(node.value)
        self._budget.work(PART * sum(map(len, held)), WHAT)
        is_list = type(node.value) in (list, tuple)
        if is_list and not any(isinstance(part, CONTAINERS) for part in node.value):
            return
        entries = sum(len(one) for one in held if isinstance(one, Dict)) // 2
        self._budget.work(ENTRY * entries, WHAT)
        self._budget.memory(ENTRY_BYTES * entries, WHAT)
        yield from self._look_into(node)
        self._budget.give_back(ENTRY_BYTES * entries)

    def _look_into(self, node: _Node) -> Iterator[_Node]:
        attributes = _attributes(node.value)
        name = node.value.name if isinstance(node.value, Object) else ""
        if attributes and (name.startswith(SCRIPTED) or {PARAMETERS, MODULES} <= attributes.keys()):
            yield from self._visit_module(node, name, attributes)
            return
        found: StateDict | None = None
        for key, part in parts(node.value):
            if key == METADATA:
                continue
            values = self._values(node, key, part)
            if values is not None or _is_packed(key):
                is_new = found is None or key in found.tensors  # two lists of pairs in one
                found = self._state_dict(node) if found is None or is_new else found
                self._note(found, key, values)
            if values is None and isinstance(part, CONTAINERS):
                yield _Node(part, key, node.depth + 1, node)

    def _visit_module(self, node: _Node, name: str, attributes: dict[str, Any]) -> Iterator[_Node]:
        """Do so for a module, with the names that its `state_dict` would have."""
        found = self._state_dict(node) if node.inside is None else node.inside
        prefix = node.path(in_module=True)
        self._charge(2 * sys.getsizeof(prefix))
        if QUANTIZED_LSTM.fullmatch(name):
            found.quantized[prefix] = name
            return
        is_script = name.startswith(SCRIPTED)
        inside = [attributes.get(key) for key in (PARAMETERS, BUFFERS, MODULES, NOT_SAVED)]
        if not is_script and not self._may_walk(one for part in inside for one in lists(part)):
            return
        held = attributes if is_script else _in_module(attributes)
        for key, part in held.items():
            values = self._values(node, key, part)
            if values is not None:
                self._note(found, prefix + key, values)
            elif isinstance(part, CONTAINERS):
                yield _Node(part, key, node.depth + 1, node, found)

    def _values(self, node: _Node, key: str, part: Any) -> Values | None:
        if not isinstance(part, Object):
            return None
        self._budget.work(OBJECT, WHAT)
        try:
            return self._tensors.find(part)
        except ValueError as error:
            raise PickleError(f"{plain(node.path() + key)}: {error}") from error

    def _state_dict(self, node: _Node) -> StateDict:
        """Return a new one for the tensors of a container."""
        place = node.path()
        self._charge(2 * sys.getsizeof(place))
        while place in self._found:  # a key that is there twice, or 0 beside "0"
            place += "again."
        self._found[place] = StateDict(place)
        return self._found[place]

    def _note(self, found: StateDict, name: str, values: Values | None) -> None:
        self._charge(TENSOR_BYTES + 2 * (sys.getsizeof(found.place) + sys.getsizeof(name)))
        if values is not None:
            found.tensors[name] = values
        if _is_packed(name):
            found.packed = found.packed or name
            match = QUANTIZED_NAME.match(name)
            if match is not None:
                found.quantized.setdefault(match[1], name)

    def _charge(self, count_bytes: int) -> None:
        self._budget.memory(count_bytes, NAMES)
        self._budget.work(STEPS_A_BYTE * count_bytes, NAMES)


def _is_packed(name: str) -> bool:
    return any(word in name for word in PACKED)


def _attributes(value: Any) -> dict[str, Any]:
    """Return what may be the `__dict__` of a module; a module of torch.fx is built from one."""
    if isinstance(value, Object) and value.name.startswith(SCRIPTED):
        return value.attributes()
    held = value.state if isinstance(value, Object) else value
    return held.entries() if isinstance(held, Dict) and PARAMETERS in held else {}


def _in_module(attributes: dict[str, Any]) -> dict[str, Any]:
    """Return the tensors that a module's `state_dict` has, and the modules in it."""
    left_out = {name for _, name in parts(attributes.get(NOT_SAVED)) if isinstance(name, str)}
    buffers = {
        name: value for name, value in parts(attributes.get(BUFFERS)) if name not in left_out
    }
    return {**dict(parts(attributes[PARAMETERS])), **buffers, **dict(parts(attributes[MODULES]))}
