"""Which LSTM nodes are the layers of one stack: one's Y is the next one's X, and nothing else's."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from .._files import FormatError
from ._constants import Folder, Unknown
from ._file import Array, File, Proto
from ._graph import Scope
from ._lstm import Options

LONGEST = 12  # nodes between two layers; exporters write up to about 4
USE_BYTES, USE_STEPS = 200, 2  # of one use of a value
ONLY_SHAPES = ("Shape", "Size")
Axes = tuple[object, ...]


@dataclass(frozen=True, eq=False)
class Node:
    """An LSTM node, where it stands, and its sizes."""

    name: str
    scope: Scope
    proto: Proto
    options: Options
    hidden_size: int
    input_size: int


@dataclass(frozen=True)
class Symbol:
    """A size that is known when the model runs; equal to itself only."""

    name: str


class Chains:
    """Finds the layer below each LSTM node.

    Args:
        file: whose memory is counted.
        scopes: all of the model.
        nodes: the LSTM nodes in it.
    """

    def __init__(self, file: File, scopes: list[Scope], nodes: list[Node]) -> None:
        self._nodes = {(id(node.scope), node.proto.output[0]): node for node in nodes}
        self._file = file
        self._users: dict[tuple[int, str], int] = defaultdict(int)
        for scope in scopes:
            used = [
                n for node in scope.nodes if node.op_type not in ONLY_SHAPES for n in node.input
            ]
            file.budget.memory(USE_BYTES * len(used), "its graphs")
            file.work(USE_STEPS * (len(used) + len(scope.nodes) + len(scope.outputs)))
            for name in (*used, *scope.outputs):
                owned = scope.owner(name) if name else None
                if owned is not None:
                    self._users[id(owned[0]), owned[1]] += 1

    def below(self, node: Node) -> Node | None:
        """Return the node whose Y is this one's X, if both are layers of one stack."""
        self._file.work(10)
        scope, name = node.scope, node.proto.input[0]
        path: list[tuple[Proto, str]] = []
        for _ in range(LONGEST):
            if (
                name in scope.tensors
                or name not in scope.producers
                or self._users[id(scope), name] != 1
            ):
                return None
            lower = self._nodes.get((id(scope), name))
            if lower is not None:
                return lower if self._fits(lower, node, path[::-1]) else None
            proto = scope.nodes[scope.producers[name][0]]
            if not proto.input:
                return None
            path.append((proto, name))
            name = proto.input[0]
        return None

    def _fits(self, lower: Node, upper: Node, path: list[tuple[Proto, str]]) -> bool:
        """Tell whether the nodes between hand on what the lower one gives, as it is."""
        same = (
            lower.options.direction == upper.options.direction
            and lower.hidden_size == upper.hidden_size
            and upper.input_size == lower.hidden_size * lower.options.num_directions
            and _input(lower.proto, 4) == _input(upper.proto, 4)
        )
        if not same:
            return False
        directions, hidden_size = lower.options.num_directions, lower.hidden_size
        steps, batch = _steps_and_batch(lower)
        axes: Axes = (steps, directions, batch, hidden_size)
        if lower.options.layout:
            axes = (batch, steps, directions, hidden_size)
        wanted: Axes = (steps, batch) if upper.options.layout == 0 else (batch, steps)
        wanted = (*wanted, directions * hidden_size)
        known: dict[str, Axes] = {lower.proto.output[0]: axes}
        for proto, name in path:
            moved = self._moved(lower.scope, proto, known)
            if moved is None:
                return False
            known[name] = moved
        return list(known.values())[-1] == wanted

    def _moved(self, scope: Scope, proto: Proto, known: dict[str, Axes]) -> Axes | None:
        """Return the axes after a node; None if it does more than to move them."""
        axes, attributes = known[proto.input[0]], scope.attributes_of(proto)
        if proto.op_type in ("Identity", "Dropout"):
            return axes
        if proto.op_type == "Transpose":
            order = attributes.get("perm") or range(len(axes))[::-1]
            whole = sorted(order) == list(range(len(axes)))
            return tuple(axes[n] for n in order) if whole else None
        if proto.op_type not in ("Squeeze", "Unsqueeze", "Reshape"):
            return None
        key = "shape" if proto.op_type == "Reshape" else "axes"
        numbers = attributes.get(key) or self._numbers(scope, _input(proto, 1), known)
        if numbers is None:
            return None
        if proto.op_type == "Reshape":
            return _reshaped(axes, numbers, bool(attributes.get("allowzero")))
        return (
            _squeezed(axes, numbers) if proto.op_type == "Squeeze" else _unsqueezed(axes, numbers)
        )

    def _numbers(self, scope: Scope, name: str, known: dict[str, Axes]) -> list[object] | None:
        """Return what a shape or a list of axes is, sizes known at run time as symbols."""

        def shape_of(where: Scope, of: str) -> Array | None:
            if where is not scope or of not in known:
                return None
            shape = np.empty(len(known[of]), object)
            shape[:] = known[of]
            return shape

        try:
            value = (
                Folder(self._file, shape_of=shape_of).value(scope, name) if name else Unknown("")
            )
        except FormatError:  # symbols do not multiply, say; then it is not a plain stack
            return None
        if isinstance(value, Unknown) or value.ndim != 1:
            return None
        return list(value.tolist())


def _input(proto: Proto, index: int) -> str:
    return str(proto.input[index]) if index < len(proto.input) else ""


def _steps_and_batch(node: Node) -> tuple[object, object]:
    """Return T and N: numbers where the file says so, else symbols."""
    for name, positions in (
        (node.proto.output[0], (1, 0) if node.options.layout else (0, 2)),
        (node.proto.input[0], (1, 0) if node.options.layout else (0, 1)),
    ):
        shape = node.scope.shapes.get(name, ())
        if len(shape) >= 3:
            steps, batch = (shape[n] for n in positions)
            return steps or Symbol("T"), batch or Symbol("N")
    return Symbol("T"), Symbol("N")


def _reshaped(axes: Axes, target: list[object], allow_zero: bool) -> Axes | None:
    """Return the axes if a Reshape does nothing but to join the last two."""
    joined = (*axes[:-2], _product(axes[-2], axes[-1]))
    for expected in (joined, axes):
        if len(target) != len(expected) or sum(size == -1 for size in target) > 1:
            continue
        pairs = zip(target, expected, range(len(target)), strict=True)
        if all(_is_size(size, want, axes[n], allow_zero) for size, want, n in pairs):
            return expected
    return None


def _is_size(size: object, wanted: object, copied: object, allow_zero: bool) -> bool:
    if size == 0 and not allow_zero:
        return wanted == copied
    return size in (-1, wanted)


def _product(left: object, right: object) -> object:
    return left * right if isinstance(left, int) and isinstance(right, int) else None


def _squeezed(axes: Axes, numbers: list[object]) -> Axes | None:
    gone = {number % len(axes) for number in numbers if isinstance(number, int)}
    if any(axes[n] != 1 for n in gone):
        return None
    return tuple(size for n, size in enumerate(axes) if n not in gone)


def _unsqueezed(axes: Axes, numbers: list[object]) -> Axes | None:
    rank = len(axes) + len(numbers)
    new = {number % rank for number in numbers if isinstance(number, int)}
    if len(new) != len(numbers):
        return None
    rest = iter(axes)
    return tuple(1 if n in new else next(rest) for n in range(rank))
