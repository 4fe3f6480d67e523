"""What is already known of a name in an ONNX model: constants, and what is computed from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .._files import FormatError
from ._file import BYTES_A_STEP, Array, File, Proto
from ._graph import Scope
from ._operators import OPERATORS

DEEPEST = 60  # steps from an initialiser to a weight; real files have about 5
# What one value takes that is computed, beside what it holds; and a step of its search.
VALUE_BYTES, VALUE_STEPS, VISIT_STEPS = 500, 20, 2
DOMAINS = ("", "ai.onnx", "com.microsoft")

# What leaves zeros alone.
MOVES = {"Identity", "Cast", "Transpose", "Unsqueeze", "Squeeze", "Reshape", "Slice", "Gather"}
MOVES |= {"Split", "Expand", "Tile", "Concat"}
WIDENS = ("DequantizeLinear", "Cast")
LARGE = 1 << 16  # bytes of a tensor that is read again rather than kept

# What NumPy raises for sizes, axes, indices and ranks that do not fit, Python for wrong attributes.
NUMPY_ERRORS = (ValueError, TypeError, LookupError, OverflowError, AttributeError, RuntimeError)


@dataclass(frozen=True)
class Unknown:
    """A value that the file does not hold, and why not, for errors and notes."""

    why: str
    zeros: bool = False  # it is all zeros, whatever its shape


Value = Array | Unknown
ShapeOf = Callable[[Scope, str], "Array | None"]


class Folder:
    """Computes names from constants, each once.

    Args:
        file: where tensors come from, and whose memory is counted.
        batch: whether an axis that is repeated as often as there are sequences may stay as it is:
            for initial states, whose rows are then all equal.
        shape_of: what is known of the shapes of values that are not; None is nothing.
    """

    def __init__(self, file: File, *, batch: bool = False, shape_of: ShapeOf | None = None) -> None:
        self._file, self._batch, self._shape_of = file, batch, shape_of
        self._known: dict[tuple[int, str], Value] = {}
        self._keep: list[Scope] = []  # so that an id stays that of its scope

    def value(self, scope: Scope, name: str, depth: int = 0) -> Value:
        """Return what a name stands for.

        Raises:
            FormatError: an initialiser or an operator on the way is damaged.
        """
        owned = scope.owner(name)
        if owned is None:
            return Unknown(f"{name!r}, which nothing in the file computes")
        owner, name = owned
        key = (id(owner), name)
        if key not in self._known:
            self._known[key] = Unknown(f"{name!r}, which is computed from itself")
            self._keep.append(owner)
            self._file.budget.charge(VALUE_STEPS, VALUE_BYTES, "what it computes from constants")
            self._known[key] = self._compute(owner, name, depth)
        return self._known[key]

    def source(self, scope: Scope, name: str) -> str:
        """Return the name of the initialiser that a value is made from, the first of several."""
        for _ in range(DEEPEST):
            self._file.work(VISIT_STEPS)
            owned = scope.owner(name)
            if owned is None:
                break
            scope, name = owned
            if name not in scope.producers or name in scope.tensors:
                break
            node = scope.nodes[scope.producers[name][0]]
            if not node.input:
                break
            name = node.input[0]
        return name

    def depends(self, scope: Scope, name: str) -> str:
        """Return what a name's value depends on: "constants", "shapes", "an input" or "data".

        "an input": what the caller gives, handed on as it is; "data": computed from what is given.
        """
        found, moved, seen = "constants", True, set[tuple[int, str]]()
        waiting = [(scope, name)]
        while waiting:
            self._file.work(VISIT_STEPS)
            owned = waiting[-1][0].owner(waiting.pop()[1])
            if owned is None or (id(owned[0]), owned[1]) in seen:
                continue
            place, name = owned
            seen.add((id(place), name))
            if name in place.tensors:
                continue
            if name not in place.producers:
                found = "an input" if moved and place.parent is None else "data"
                if found == "data":
                    return found
                continue
            index, output = place.producers[name]
            node = place.nodes[index]
            if node.op_type in ("Shape", "Size"):
                found = "shapes" if found == "constants" else found
            elif node.op_type == "If":  # which hands on what one of its branches does
                inside = (place.children.get((index, f"{one}_branch")) for one in ("then", "else"))
                waiting += [(one, one.outputs[output]) for one in inside if one is not None]
            else:
                moved = moved and node.op_type in MOVES and node.domain in DOMAINS
                used = node.input[:1] if moved else node.input
                waiting += [(place, one) for one in used if one]
        return found

    def _compute(self, scope: Scope, name: str, depth: int) -> Value:
        if name in scope.tensors:
            try:
                return self._file.array(scope.tensors[name])
            except (ValueError, OverflowError) as error:
                raise FormatError(f"{self._file.source}: tensor {name!r}: {error}") from error
        if name not in scope.producers:
            return Unknown(f"{name!r}, which is given when the model runs")
        if depth >= DEEPEST:
            return Unknown(f"{name!r}, which takes more than {DEEPEST} steps to compute")
        return self._produced(scope, name, depth)

    def _produced(self, scope: Scope, name: str, depth: int) -> Value:
        index, output = scope.producers[name]
        node = scope.nodes[index]
        inside = self._inside(scope, index, depth)
        if inside is not None:
            if output >= len(inside.outputs):
                return Unknown(f"{name!r}, which is missing inside of {node.op_type}")
            return self.value(inside, inside.outputs[output], depth + 1)
        if node.op_type not in OPERATORS or node.domain not in DOMAINS:
            return Unknown(f"{name!r}, which {node.op_type} computes when the model runs")
        return self._operate(scope, node, output, depth)

    def _inside(self, scope: Scope, index: int, depth: int) -> Scope | None:
        """Return a function's body, or the branch of an If whose condition is known."""
        node = scope.nodes[index]
        if (index, "") in scope.children:
            return scope.children[index, ""]
        if node.op_type != "If" or not node.input:
            return None
        condition = self.value(scope, node.input[0], depth + 1)
        if isinstance(condition, Unknown) or condition.size != 1:
            return None
        return scope.children.get((index, "then_branch" if condition.item() else "else_branch"))

    def _operate(self, scope: Scope, node: Proto, output: int, depth: int) -> Value:
        if node.op_type == "Shape" and self._shape_of is not None and node.input:
            shape = self._shape_of(scope, node.input[0])
            if shape is not None:
                attributes = scope.attributes_of(node)
                return shape[attributes.get("start", 0) : attributes.get("end")]
        self._file.work(VISIT_STEPS * (len(node.input) + len(node.output)))
        inputs = [self.value(scope, name, depth + 1) if name else None for name in node.input]
        unknown = [value for value in inputs if isinstance(value, Unknown)]
        known = [value for value in inputs if not isinstance(value, Unknown)]
        try:
            if unknown:
                return self._partly(scope, node, inputs, unknown[0])
            attributes = scope.attributes_of(node) | {"outputs of the node": len(node.output)}
            with np.errstate(all="ignore"):  # what is not finite in the end is an error anyway
                results = OPERATORS[node.op_type](known, attributes, self._file)
            if len(results) > 1:
                for name, result in zip(node.output, results, strict=False):
                    self._known[id(scope), name] = result
            if node.op_type in WIDENS:
                self._forget(scope, node)
            return results[output]
        except FormatError:
            raise
        except (
            ValueError,
            TypeError,
            IndexError,
            KeyError,
            OverflowError,
            AttributeError,
        ) as error:
            text = f"node {node.name or node.output[output]!r} ({node.op_type}): {error}"
            raise FormatError(f"{self._file.source}: {text}") from error

    def _forget(self, scope: Scope, node: Proto) -> None:
        """Let go of the integers that a node has made floats of: these take four times as much."""
        owned = scope.owner(node.input[0])
        if owned is None or owned[1] not in owned[0].tensors:
            return
        key = (id(owned[0]), owned[1])
        value = self._known.get(key)
        if isinstance(value, np.ndarray) and value.nbytes > LARGE:
            del self._known[key]
            self._file.budget.give_back(value.nbytes)

    def _is_zeros(self, value: Value | None) -> bool:
        if isinstance(value, Unknown) or value is None:
            return value is not None and value.zeros
        self._file.work(value.size / BYTES_A_STEP)
        return not np.any(value)

    def _partly(
        self, scope: Scope, node: Proto, inputs: list[Value | None], unknown: Unknown
    ) -> Value:
        """Return what is known although one input is not: zeros, and rows that are all equal."""
        first = inputs[0] if inputs else None
        if node.op_type == "ConstantOfShape":
            tensor = scope.attributes_of(node).get("value")
            zeros = tensor is None or self._is_zeros(self._file.array(tensor))
            return Unknown(unknown.why, zeros=zeros)
        if node.op_type not in MOVES:
            return unknown
        values = inputs if node.op_type == "Concat" else [first]
        if all(self._is_zeros(value) for value in values):
            return Unknown(unknown.why, zeros=True)
        if self._batch and node.op_type in ("Expand", "Tile") and first is not None:
            return first
        return unknown
