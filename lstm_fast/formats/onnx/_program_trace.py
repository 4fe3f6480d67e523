"""One step of a graph, from the values that are wanted back to inputs and constants."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .._files import FormatError
from . import (  # noqa: F401  register operators
    _program_axes,
    _program_pools,
    _program_products,
    _program_recurrent,
)
from ._constants import NUMPY_ERRORS
from ._file import File, Proto
from ._graph import Scope, label
from ._program_advice import VALUE, paired
from ._program_builder import Builder, Sym, UnsupportedError, Value, Work
from ._program_folding import FOLDED, widened
from ._program_inputs import Inputs
from ._program_nodes import LOWERINGS, Node, Registers

DOMAINS = ("", "ai.onnx")
MICROSOFT = ("Gelu",)  # of com.microsoft, the same as ONNX's
# What one node takes, and one name in it, beside the operations that it becomes.
NODE_STEPS, NODE_BYTES, USE_STEPS, USE_BYTES = 42, 600, 2, 200
SEVERAL = "it needs several frames, as what works along time does, or is made for so many"
Key = tuple[int, str]


class Tracer:
    """Adds the operations that compute wanted values, each once.

    Args:
        file: where constants come from, and whose memory is counted.
        opset: the version of ONNX's operators.
        inputs: the values that are given.
        cuts: names of inputs by where they are found, `(id(scope), name)`.
        builder, registers: take what is found.
        past: of nodes that pad time with frames of the steps before, by `place`, which axis it is.
    """

    def __init__(
        self,
        file: File,
        opset: int,
        inputs: Inputs,
        cuts: Mapping[Key, str],
        builder: Builder,
        registers: Registers,
        past: Mapping[Key, int] | None = None,
    ) -> None:
        self.file, self.opset, self.inputs, self.cuts = file, opset, inputs, cuts
        self.builder, self.registers, self._past = builder, registers, past or {}
        self.known: dict[Key, Value] = {}
        self.fixed: set[Key] = set()  # what is the same for inputs of any shape
        self.works: dict[Key, Work] = {}  # by the place of a node
        self._cuts: Mapping[int, slice] = {}  # what the next node takes of axes instead
        self._open: set[Key] = set()

    def value(self, scope: Scope, name: str) -> Value:
        """Return what a name stands for.

        Raises:
            FormatError: an operator on the way cannot be computed, or the file is damaged.
        """
        waiting = [self._owned(scope, name)]
        self._open.clear()
        while waiting:
            owner, inner = waiting[-1]
            key = (id(owner), inner)
            if key in self.known:
                waiting.pop()
                continue
            missing = [
                one for one in self._needs(owner, inner) if (id(one[0]), one[1]) not in self.known
            ]
            if not missing:
                self._compute(owner, inner)
                self._open.discard(key)
                waiting.pop()
                continue
            self._open.add(key)
            if any((id(one[0]), one[1]) in self._open for one in missing):
                raise FormatError(f"{self.file.source}: value {inner!r} is computed from itself")
            waiting += missing
        owner, inner = self._owned(scope, name)
        return self.known[id(owner), inner]

    def _owned(self, scope: Scope, name: str) -> tuple[Scope, str]:
        owned = scope.owner(name)
        if owned is None:
            raise FormatError(f"{self.file.source}: nothing in the file computes {name!r}")
        return owned

    def _needs(self, scope: Scope, name: str) -> list[tuple[Scope, str]]:
        """Return the values that a value is made from, as far as that is known yet."""
        if (id(scope), name) in self.cuts or name in scope.tensors or name not in scope.producers:
            return []
        index, output = scope.producers[name]
        node = scope.nodes[index]
        if (index, "") in scope.children:
            return [self._inside(scope.children[index, ""], node, output)]
        needed = [self._owned(scope, one) for one in node.input if one]
        if node.op_type != "If":
            return needed
        if len(needed) != 1:
            raise self._error(node, "its condition is missing")
        owner, inner = needed[0]
        if (id(owner), inner) not in self.known:
            return needed
        return [*needed, self._inside(self._branch(scope, index), node, output)]

    def _inside(self, scope: Scope, node: Proto, output: int) -> tuple[Scope, str]:
        if output >= len(scope.outputs):
            raise self._error(node, f"output {output} is missing inside of it")
        return self._owned(scope, scope.outputs[output])

    def _branch(self, scope: Scope, index: int) -> Scope:
        """Return the branch of an If that is taken; its condition is known or it is an error."""
        node = scope.nodes[index]
        owner, name = self._owned(scope, node.input[0])
        condition = self.known[id(owner), name]
        if isinstance(condition, Sym):
            names = self._roots(condition)
            given = ", ".join(map(_called, names)) or "what the model computes"
            raise self._error(
                node, f"which branch it takes depends on {given}{_as_constants(names)}"
            )
        if condition.size != 1:
            raise self._error(node, f"its condition has shape {condition.shape}")
        branch = scope.children.get((index, "then_branch" if condition.item() else "else_branch"))
        if branch is None:
            raise self._error(node, "a branch is missing")
        return branch

    def _roots(self, value: Sym) -> list[str]:
        """Return the inputs that a value is computed from."""
        names = {given.tensor: name for name, given in self.inputs.made.items()}
        found, seen, waiting = [], set[int](), [value.tensor]
        while waiting:
            tensor = waiting.pop()
            if tensor in seen:
                continue
            seen.add(tensor)
            self.file.work()
            if tensor in names:
                found.append(names[tensor])
            op = self.builder.made.get(tensor)
            waiting += [one for one in op.inputs if one >= 0] if op is not None else []
        return sorted(found)

    def _compute(self, scope: Scope, name: str) -> None:
        key = (id(scope), name)
        if key in self.cuts:
            self.known[key] = self.inputs.value(self.cuts[key])
        elif name in scope.tensors:
            try:
                self.known[key] = widened(self.file.array(scope.tensors[name]), self.file)
                self.fixed.add(key)
            except (ValueError, OverflowError) as error:
                raise FormatError(f"{self.file.source}: tensor {name!r}: {error}") from error
        elif name not in scope.producers:
            raise FormatError(
                f"{self.file.source}: {name!r} is an input of the graph that inputs= leaves out: "
                "name it there, or give it in constants="
            )
        else:
            self._produce(scope, *scope.producers[name])

    def _produce(self, scope: Scope, index: int, output: int) -> None:
        """Compute all outputs of a node whose inputs are known."""
        node = scope.nodes[index]
        inside = scope.children.get((index, ""))
        if inside is None and node.op_type == "If":
            inside = self._branch(scope, index)
        if inside is not None:
            owner, inner = self._inside(inside, node, output)
            self.file.work(USE_STEPS)
            self.file.budget.memory(USE_BYTES, "its graphs")
            self.known[id(scope), node.output[output]] = self.known[id(owner), inner]
            return
        owned = [self._owned(scope, one) if one else None for one in node.input]
        keys = [None if one is None else (id(one[0]), one[1]) for one in owned]
        count = len(node.input) + len(node.output)
        steps, size = NODE_STEPS + USE_STEPS * count, NODE_BYTES + USE_BYTES * count
        self.file.budget.charge(steps, size, "its graphs")
        values = self._operate(scope, node, [None if k is None else self.known[k] for k in keys])
        is_fixed = all(key is None or key in self.fixed for key in keys)
        for name, value in zip(node.output, values, strict=False):
            if name:
                self.known[id(scope), name] = value
                self.fixed |= {(id(scope), name)} if is_fixed else set()
        if output >= len(values):
            raise self._error(node, f"its output {output} is not computed", cut=scope)

    def _operate(self, scope: Scope, node: Proto, inputs: list[Value | None]) -> list[Value]:
        builder = self.builder
        ours = node.domain in DOMAINS
        builder.source = f"{node.op_type} {label(node)}"
        try:
            attributes = scope.attributes_of(node)
            known = [value for value in inputs if not isinstance(value, Sym)]
            if ours and node.op_type in FOLDED and len(known) == len(inputs):
                extra = {"outputs of the node": len(node.output)}
                with np.errstate(all="ignore"):  # what is not finite is refused with the constants
                    results = FOLDED[node.op_type](known, attributes | extra, self.file)
                return [self.file.frozen(widened(one, self.file)) for one in results]
            if ours and node.op_type in ("Shape", "Size") and isinstance(inputs[0], Sym):
                return [_shape(inputs[0], node.op_type, attributes)]
            ours = ours or (node.domain == "com.microsoft" and node.op_type in MICROSOFT)
            lower = LOWERINGS.get(node.op_type) if ours else None
            if lower is None:
                domain = "" if ours else f" of {node.domain}"
                raise UnsupportedError(f"there is no operation for it{domain} here")
            builder.work = self.works[place(scope, node)] = Work(builder.source)
            return lower(
                Node(
                    node.op_type,
                    label(node),
                    tuple(inputs),
                    attributes,
                    self.opset,
                    sum(1 for one in node.output if one)
                    if node.op_type != "Split"
                    else len(node.output),
                    builder,
                    self.registers,
                    self._past.get(place(scope, node)),
                    self._cuts,
                )
            )
        except FormatError:
            raise
        except UnsupportedError as error:
            pairs = zip(node.input, inputs, strict=True)
            given = {name: one for name, one in pairs if isinstance(one, Sym)}
            whole = [one for one in given.values() if builder.kind(one) != "float32"]
            names = sorted({root for one in whole for root in self._roots(one)})
            text = f"{error}{_as_constants(names)}"
            raise self._error(node, text, cut=scope, given=list(given)) from error
        except NUMPY_ERRORS as error:
            text = str(error) or type(error).__name__
            raise self._error(node, f"{text}{self._misfit()}") from error

    def _misfit(self) -> str:
        """Return why a node may not take what it gets."""
        if self.inputs.is_one_frame:
            return f", with one frame: {SEVERAL}, and then say {self.inputs.say_so_many()}"
        return ", so it is damaged, or does not fit the sizes that it gets"

    def _left_with(self, scope: Scope, node: Proto, given: list[str] | None) -> str:
        """Return how to leave a node out: a part of the graph before it, or one behind it."""
        parts, owned = [], [(name, scope.owner(name)) for name in given or node.input[:1]]
        values = [self.known.get((id(one[0]), one[1])) for _, one in owned if one is not None]
        if any(isinstance(one, Sym) and one.tensor in self.builder.made for one in values):
            parts.append(f"to run what comes before it, say outputs={[name for name, _ in owned]}")
        behind = [one for one in node.output if one]
        self.file.work(2 * len(scope.nodes))
        taken = {name for other in scope.nodes for name in other.input}
        is_root = scope.parent is None and not scope.bound
        if not is_root or scope.children or taken & set(behind):
            parts.append(f"what comes behind it, inputs={behind}")
        return "".join(f"; {one}" for one in parts)

    def _error(
        self,
        node: Proto,
        text: str,
        *,
        cut: Scope | None = None,
        given: list[str] | None = None,
    ) -> FormatError:
        """Return the error of a node; cut: where it stands, for how to leave it out."""
        hint = self._left_with(cut, node, given) if cut is not None else ""
        what = f"node {label(node)!r} ({node.op_type})"
        return FormatError(f"{self.file.source}: {what}: {text}{hint}")


def _called(name: str) -> str:
    return f"input {name!r}"


def _as_constants(names: list[str]) -> str:
    """Return how to give inputs that decide what a node does, "" where there is none."""
    if not names:
        return ""
    given = f"constants={paired(dict.fromkeys(names, VALUE))}"
    return f"; where {' and '.join(map(_called, names))} never changes, give it: {given}"


def place(scope: Scope, node: Proto) -> Key:
    """Return what only one node has: several may have one name."""
    return id(scope), next(filter(None, node.output), "")


def _shape(value: Sym, op_type: str, attributes: Mapping[str, int]) -> Value:
    if op_type == "Size":
        return np.array(np.prod(value.shape, dtype=np.int64), np.int64)
    shape = np.array(value.shape, np.int64)
    return shape[attributes.get("start", 0) : attributes.get("end")]
