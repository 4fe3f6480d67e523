"""Who computes a name in an ONNX model: graphs, the graphs inside their nodes, functions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ..._budget import Budget
from ._file import Proto

DEEPEST = 24  # calls in calls: more is a function that calls itself
MOST_SCOPES = 20_000
# What takes a node, and what else has a name, in a scope: bytes and steps.
NODE_BYTES, NODE_STEPS = 600, 6
NAME_BYTES, NAME_STEPS = 300, 2
VALUE_BYTES = 48  # of a number in a list, and a place in another one

# AttributeProto.AttributeType: where the value is
SEVERAL = {6, 7, 8}
VALUES = {1: "f", 2: "i", 3: "s", 4: "t", 5: "g", 6: "floats", 7: "ints", 8: "strings"}


@dataclass(eq=False)
class Scope:
    """A graph, or the body of a function for one call: the names that it gives a meaning.

    outputs: its own. tensors: initialisers, by name. producers: the index of the node that
    computes a name, and which of its outputs that is. inputs: what is given at run time.
    bound: what the caller gives a function's inputs. attributes: what it gives its attributes.
    children: the scopes inside, by the node's index and its attribute, "" for a function.
    shapes: what the file says of values, None where a size is known at run time. budget: is charged
    for what is looked at; None is for a graph of the caller's own.
    """

    parent: Scope | None = None
    outputs: tuple[str, ...] = ()
    nodes: list[Proto] = field(default_factory=list)
    tensors: dict[str, Proto] = field(default_factory=dict)
    producers: dict[str, tuple[int, int]] = field(default_factory=dict)
    inputs: set[str] = field(default_factory=set)
    bound: dict[str, tuple[Scope, str]] = field(default_factory=dict)
    attributes: dict[str, Proto] = field(default_factory=dict)
    children: dict[tuple[int, str], Scope] = field(default_factory=dict)
    shapes: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    budget: Budget | None = None

    def owner(self, name: str) -> tuple[Scope, str] | None:
        """Return the scope that gives a name its meaning here, and its name there."""
        scope: Scope | None = self
        while scope is not None:
            if name in scope.bound:
                scope, name = scope.bound[name]
            elif name in scope.tensors or name in scope.producers or name in scope.inputs:
                return scope, name
            else:
                scope = scope.parent
        return None

    def attributes_of(self, node: Proto) -> dict[str, Any]:
        """Return a node's attributes by name; strings as str, tensors and graphs as they are."""
        found: dict[str, Any] = {}
        if self.budget is not None:
            self.budget.work(len(node.attribute))
        for one in node.attribute:
            attribute = one
            if one.ref_attr_name:
                if one.ref_attr_name not in self.attributes:
                    continue  # the caller leaves it out, so the operator's default holds
                attribute = self.attributes[one.ref_attr_name]
            kept = VALUES.get(attribute.type)
            value: Any = None if kept is None else getattr(attribute, kept)
            if self.budget is not None and attribute.type in SEVERAL:
                self.budget.work(0.2 * len(value))
                self.budget.memory(VALUE_BYTES * len(value), "the attributes of its nodes")
            found[one.name] = _plain(value)
        return found


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if (
        value is None or isinstance(value, (int, float)) or hasattr(value, "DESCRIPTOR")
    ):  # a tensor or a graph
        return value
    return [_plain(one) for one in value]


def scope_of(graph: Proto, parent: Scope | None, budget: Budget | None = None) -> Scope:
    """Return the scope of a GraphProto.

    Raises:
        FormatError: it is more than a file of its size can need.
    """
    if budget is not None:
        names = len(graph.output) + len(graph.input) + len(graph.value_info)
        _charge(budget, len(graph.node), names + len(graph.initializer))
    scope = Scope(parent, tuple(output.name for output in graph.output), list(graph.node))
    scope.budget = budget
    scope.tensors = {tensor.name: tensor for tensor in graph.initializer}
    scope.inputs = {value.name for value in graph.input}
    scope.inputs.update(tensor.values.name for tensor in graph.sparse_initializer)
    count = 0
    for value in [*graph.input, *graph.value_info]:
        shape = value.type.tensor_type.shape
        count += len(shape.dim)
        scope.shapes[value.name] = tuple(
            dim.dim_value if dim.HasField("dim_value") else None for dim in shape.dim
        )
    if budget is not None:
        budget.work(0.5 * count)
        budget.memory(40 * count, "its graphs")
    _produced(scope)
    return scope


def _charge(budget: Budget, nodes: int, names: int) -> None:
    budget.memory(NODE_BYTES * nodes + NAME_BYTES * (names + 5), "its graphs")
    budget.work(NODE_STEPS * nodes + NAME_STEPS * (names + 5))


def _produced(scope: Scope) -> None:
    for at, node in enumerate(scope.nodes):
        for index, name in enumerate(node.output):
            if name:
                scope.producers[name] = (at, index)
    if scope.budget is not None:
        _charge(scope.budget, 0, max(0, len(scope.producers) - len(scope.nodes)))


def _call(function: Proto, node: Proto, caller: Scope) -> Scope:
    """Return the scope of a function's body for one call."""
    if (budget := caller.budget) is not None:
        names = len(function.input) + len(function.output) + len(function.attribute_proto)
        _charge(budget, len(function.node), names + len(node.input) + len(node.attribute))
    scope = Scope(None, tuple(function.output), list(function.node), budget=budget)
    scope.inputs = set(function.input)
    given = zip(function.input, node.input, strict=False)
    scope.bound = {inner: (caller, outer) for inner, outer in given if outer}
    scope.attributes = {one.name: one for one in function.attribute_proto}
    for one in node.attribute:
        reference = one.ref_attr_name
        scope.attributes[one.name] = caller.attributes.get(reference, one) if reference else one
    _produced(scope)
    return scope


def scopes(model: Proto, budget: Budget) -> list[Scope]:
    """Return the scope of the model's graph, and of everything inside it, outer ones first.

    Raises:
        ValueError: they are nested without end.
        FormatError: they are more than a file of this size can need.
    """
    functions = {(f.domain, f.name): f for f in model.functions}
    found = [scope_of(model.graph, None, budget)]
    depths = [0]
    for at, scope in enumerate(found):  # grows while it is walked
        for index, node in enumerate(scope.nodes):
            for key, child in _inside(scope, node, functions):
                if depths[at] >= DEEPEST or len(found) >= MOST_SCOPES:
                    raise ValueError("its functions and graphs are nested without end")
                scope.children[index, key] = child
                found.append(child)
                depths.append(depths[at] + 1)
    return found


def _inside(
    scope: Scope, node: Proto, functions: dict[tuple[str, str], Proto]
) -> Iterator[tuple[str, Scope]]:
    function = functions.get((node.domain, node.op_type))
    if function is not None:
        yield "", _call(function, node, scope)
    for attribute in node.attribute:
        if attribute.type == 5:
            yield attribute.name, scope_of(attribute.g, scope, scope.budget)
        for graph in attribute.graphs:
            yield attribute.name, scope_of(graph, scope, scope.budget)


def label(node: Proto) -> str:
    """Return a node's name, or that of an output where it has none."""
    return str(node.name or next(filter(None, node.output), node.op_type))
