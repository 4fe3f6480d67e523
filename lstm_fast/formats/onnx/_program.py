"""An ONNX model as a program: its graph specialised to one step of one session.

    program = program_from_onnx("silero_vad.onnx", shapes={"input": (1, 576)},
                                constants={"sr": 16000}, history={"input": 64})

Frames and outputs have no leading axes of size 1: of (1, 40) and (1, 1, 40) a step takes (40,).
State keeps its shape in the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..._program_checks import checked as checked_program
from ...program import Program
from .._files import FormatError, checked
from ._file import File, Proto
from ._graph import Scope, label, scopes
from ._program_advice import for_a_padding
from ._program_builder import Builder, Sym, Value, shape_of
from ._program_finish import Kept, finished
from ._program_frames import ALONG, FRAMES, Longer
from ._program_inputs import Inputs
from ._program_nodes import Registers
from ._program_starts import check_starts
from ._program_states import recognised
from ._program_trace import Key, Tracer


def program_from_onnx(
    path: str | os.PathLike[str],
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    constants: Mapping[str, Any] | None = None,
    states: Mapping[str, str] | None = None,
    history: Mapping[str, int] | None = None,
) -> Program:
    """Read an ONNX model.

    Sizes that a file leaves free are 1 where they count sequences, or steps and are not the last
    axis. A recurrent node that starts from constants keeps its state from step to step.

    Args:
        path: the model.
        inputs: values that the caller gives instead of the model's own inputs: names of any values
            in it, so that only what comes behind them runs.
        outputs: values to return instead of the model's own outputs; any in it, likewise.
        shapes: of inputs, as in the file, with all axes: {"input": (1, 576)}.
        constants: inputs that never change: {"sr": 16000}.
        states: which output becomes which input in the next step, {"h": "hn"}, and that no others
            do; None recognises them. Each starts from zeros.
        history: of inputs, how many of the last axis' values come from the steps before:
            {"input": 64} takes 512 of 576 values in each step.

    Raises:
        OSError: the file cannot be opened.
        TypeError: an argument has the wrong type.
        FormatError: it is damaged, or no ONNX model; or asks for what is not computed here; or
            does not fit the arguments. The text names the node, and says what to do.
    """
    given, wanted = _names("inputs", inputs), _names("outputs", outputs)
    sizes, fixed = _mapping("shapes", shapes), _mapping("constants", constants)
    pairs = None if states is None else _mapping("states", states)
    kept = _mapping("history", history)
    file = File(Path(path))
    with checked(file.path, "the graph", TypeError, AttributeError, OverflowError, LookupError):
        return _Reader(file, given, sizes, fixed).program(wanted, pairs, kept)


def _mapping(what: str, given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
        raise TypeError(f"{what} maps names to values, found {given!r}")
    return dict(given)


def _names(what: str, given: Any) -> list[str] | None:
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f"{what} is a list of names, found {given!r}")
    if not all(isinstance(name, str) for name in given):
        raise TypeError(f"{what} is a list of names, found {given!r}")
    if not given or len(set(given)) < len(given):
        raise FormatError(f"{what} names nothing, or something twice: {list(given)}")
    return list(given)


class _Reader:
    def __init__(
        self,
        file: File,
        inputs: list[str] | None,
        shapes: Mapping[str, Any],
        constants: Mapping[str, Any],
    ) -> None:
        self._file, self._path, self._named = file, file.path, inputs
        self._scopes = scopes(file.model)
        self._root = self._scopes[0]
        graph = file.model.graph
        infos = {one.name: one for one in graph.input if one.name not in self._root.tensors}
        self._own = list(infos)
        cuts: dict[Key, str] = {(id(self._root), name): name for name in infos}
        for name in inputs or ():
            if name not in infos:
                scope, inner = self._find(name, "inputs")
                cuts[id(scope), inner] = name
                infos[name] = self._info(name)
        self._builder = Builder(file)
        self._registers = Registers(self._builder)
        self._given = (infos, shapes, constants)
        self._inputs = Inputs(self._builder, *self._given)
        self._tracer = Tracer(
            file, _opset(file.model), self._inputs, cuts, self._builder, self._registers
        )

    def program(
        self, outputs: list[str] | None, states: dict[str, str] | None, history: dict[str, Any]
    ) -> Program:
        own = [one.name for one in self._file.model.graph.output]
        values = {name: self._value(name, "outputs") for name in outputs or own}
        if not values:
            raise FormatError(f"{self._path}: it has no outputs")
        works = len(self._tracer.works)
        also_y = set[str]()
        if states is None:
            computed, until = dict(values), dict.fromkeys(values, works)
            for name in own:
                if name not in computed:
                    self._maybe(name, computed)
                    until[name] = len(self._tracer.works)
            pairs, also_y = recognised(self._builder, self._inputs.ordered(), computed)
            works = max([works, *(until[output] for output in pairs.values())])
        else:
            pairs = dict(states)
            computed = values | {n: self._value(n, "states") for n in states.values()}
            works = len(self._tracer.works)
        known = [name for name in self._inputs.ordered() if name in pairs]
        pairs = {name: pairs[name] for name in [*known, *pairs]}
        kept = [self._state(name, output, computed[output]) for name, output in pairs.items()]
        ends = set(pairs.values()) - also_y
        shown = values if outputs else {n: v for n, v in values.items() if n not in ends}
        plain = {name: one for name, one in self._inputs.ordered().items() if name not in pairs}
        reached = self._reached((shown or values).values(), kept)
        needed = {name: one for name, one in plain.items() if one.tensor in reached}
        if pairs and not needed and states is None:
            raise FormatError(
                f"{self._path}: all its inputs, {', '.join(pairs)}, look like states: say "
                'which are, states={"h": "hn"}, or states={} if none is'
            )
        self._check_inputs(needed, [*(outputs or own), *pairs.values()], works)
        check_starts(
            self._path,
            self._builder,
            self._registers,
            plain,
            {one.name: one.given for one in kept},
            reached,
            self._initial,
            said=states is not None,
        )
        for name, output in pairs.items() if states is None else ():
            self._builder.note(f"output {output} becomes input {name} in the next step")
        program = finished(
            self._path, self._builder, self._registers, plain, shown or values, kept, history
        )
        return checked_program(program, self._path)

    def _value(self, name: str, what: str) -> Value:
        scope, inner = self._find(name, what)
        return self._tracer.value(scope, inner)

    def _maybe(self, name: str, computed: dict[str, Value]) -> None:
        """Add an output that nobody asks for: it may be what a state becomes."""
        try:
            computed[name] = self._value(name, "outputs")
        except ValueError:  # and its text has the path, which is no part of a program
            self._builder.note(f"output {name} is left out: it takes what is not computed here")

    def _reached(self, values: Iterable[Value], kept: Sequence[Kept]) -> set[int]:
        """Return the tensors that values take, in this step or in a later one through states."""
        after = {one.given.tensor: one.next for one in kept}
        registers = self._registers
        after.update(
            (tensor, Sym(registers.next[name], ()))
            for name, (tensor, _) in registers.found.items()
            if name in registers.next
        )
        waiting = [one.tensor for one in values if isinstance(one, Sym)]
        reached = set[int]()
        while waiting:
            tensor = waiting.pop()
            if tensor in reached:
                continue
            reached.add(tensor)
            op, end = self._builder.made.get(tensor), after.get(tensor)
            waiting += op.inputs if op is not None else ()
            waiting += [end.tensor] if isinstance(end, Sym) else []
        return reached

    def _initial(self, name: str, kind: str) -> str:
        """Return what a recurrent node's h or c starts from in the file."""
        at = {"h": 5, "c": 6}[kind]
        for scope in self._scopes:
            for node in scope.nodes:
                if label(node) == name and len(node.input) > at:
                    return str(node.input[at])
        return f"initial_{kind}"

    def _find(self, name: str, what: str) -> tuple[Scope, str]:
        """Return where a value is computed that the caller names."""
        if (owned := self._root.owner(name)) is not None:
            return owned
        found = [one for one in self._scopes if name in one.producers or name in one.tensors]
        if len(found) == 1:
            return found[0], name
        text = "there is no value of that name in it"
        if found:
            text = f"there are {len(found)} values of that name in its inner graphs"
        raise FormatError(f"{self._path}: {what} names {name!r}, but {text}")

    def _info(self, name: str) -> Proto:
        """Return what the file says of a value inside of the graph: maybe nothing."""
        graph = self._file.model.graph
        for one in [*graph.value_info, *graph.output]:
            if one.name == name and one.type.HasField("tensor_type"):
                return one
        import onnx

        return onnx.ValueInfoProto(
            name=name, type=onnx.TypeProto(tensor_type=onnx.TypeProto.Tensor(elem_type=1))
        )

    def _state(self, name: str, output: str, value: Value) -> Kept:
        """Return a state after a check of its two ends."""
        if name not in self._inputs.made:
            known = ", ".join(self._inputs.made) or "none"
            raise FormatError(
                f"{self._path}: states names input {name!r}, which nothing that runs takes: "
                f"the inputs are {known}"
            )
        given = self._inputs.made[name]
        if self._builder.kind(given) != "float32" or self._builder.kind(value) != "float32":
            raise FormatError(f"{self._path}: state {name!r} holds no floats")
        if shape_of(value) != given.shape:
            raise FormatError(
                f"{self._path}: output {output!r}, of shape {shape_of(value)}, does not become "
                f"input {name!r}, of shape {given.shape}; shapes= says sizes that are free"
            )
        return Kept(name, given, value)

    def _check_inputs(self, plain: Mapping[str, Sym], ends: list[str], works: int) -> None:
        """Refuse what one frame a step would get wrong.

        ends: names of what leaves a step; works: so many nodes were read for them.
        """
        wrong = self._wrong(plain, ends, works)
        for name in plain:
            if self._named is not None and name not in self._named:
                raise FormatError(
                    f"{self._path}: what inputs= leaves also takes input {name!r}: name it, or "
                    "give it in constants="
                )
            axis = " and ".join(self._inputs.assumed.get(name, ()))
            if axis and wrong is not None:
                raise FormatError(
                    f"{self._path}: {axis} of input {name!r} has no size, and node {wrong[0]} "
                    f"{wrong[1]}. If each step really stands alone, say {self._inputs.say(name)}"
                    f"{for_a_padding(self._scopes, wrong[0])}"
                )
            if axis:
                self._builder.note(f"input {name}: {axis} taken as 1, one frame a step")

    def _wrong(
        self, plain: Mapping[str, Sym], ends: list[str], works: int
    ) -> tuple[str, str] | None:
        """Return the node that does not take each frame alone, and why; None for none."""
        free = [one for name in plain for one in self._inputs.free.get(name, ())]
        names = list(dict.fromkeys(free))
        groups = [names, *([name] for name in names)] if len(names) > 1 else [names]
        alone = [one for one in list(self._tracer.works.values())[:works] if 1 in one.along]
        for group in groups if names else []:
            try:
                return self._with_frames(dict.fromkeys(group, FRAMES), ends)
            except ValueError:  # the graph does not take several frames, of all inputs or at all
                continue
        return (alone[0].source, ALONG) if alone else None

    def _with_frames(self, frames: dict[str, int], ends: list[str]) -> tuple[str, str] | None:
        inputs = Inputs(self._builder, *self._given, frames)
        with self._builder.aside():
            longer = Longer(self._tracer, inputs, Registers(self._builder))
            for name in ends:
                longer.output(*self._find(name, "outputs"))
        return longer.found


def _opset(model: Proto) -> int:
    """Return the version of ONNX's own operators."""
    versions = [one.version for one in model.opset_import if one.domain in ("", "ai.onnx")]
    return int(max(versions, default=1))
