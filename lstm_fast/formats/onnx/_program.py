"""An ONNX model as a program: its graph specialised to one step of one session.

    program = program_from_onnx("silero_vad.onnx", shapes={"input": (1, 576)},
                                constants={"sr": 16000}, history={"input": 64})

Frames and outputs have no leading axes of size 1: of (1, 40) and (1, 1, 40) a step takes (40,).
State keeps its shape in the file.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..._program_checks import checked as checked_program
from ..._source import Readable, Source
from ...program import Program
from .._files import FormatError, checked
from ._file import File, Proto
from ._graph import Scope, scopes
from ._program_advice import for_a_padding, paired, stands_in_front
from ._program_arguments import axes, mapping, names
from ._program_builder import Builder, Sym, Value, shape_of
from ._program_finish import Kept, finished
from ._program_inputs import Inputs, Said
from ._program_lengths import Shorter
from ._program_nodes import Registers
from ._program_starts import check_starts, initial_of
from ._program_states import recognised
from ._program_time import Times, Verdict, alone
from ._program_trace import Key, Tracer


def program_from_onnx(
    path: Readable,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    constants: Mapping[str, Any] | None = None,
    states: Mapping[str, str] | None = None,
    history: Mapping[str, int] | None = None,
    time_axis: int | Mapping[str, int] | None = None,
) -> Program:
    """Read an ONNX model.

    Sizes that a file leaves free are 1 where they count sequences, or steps. A recurrent node that
    starts from constants keeps its state from step to step, and a convolution that pads in front of
    time the frames that it still needs.

    Args:
        path: the model, by its path, as bytes, or open; see `Source`.
        inputs: values that the caller gives instead of the model's own inputs: names of any values
            in it, so that only what comes behind them runs.
        outputs: values to return instead of the model's own outputs; any in it, likewise.
        shapes: of inputs, as in the file, with all axes: {"input": (1, 576)}.
        constants: inputs that never change: {"sr": 16000}.
        states: which output becomes which input in the next step, {"h": "hn"}, and that no others
            do; None recognises them. Each starts from zeros.
        history: of inputs, how many of the last axis' values come from the steps before:
            {"input": 64} takes 512 of 576 values in each step.
        time_axis: of inputs, which axis is time, where the file does not leave that free: {"x": 1};
            a number where there is one input. A step takes one frame of those that the file has.

    Raises:
        OSError: the file cannot be opened.
        TypeError: an argument has the wrong type.
        FormatError: it is damaged, or no ONNX model; or asks for what is not computed here; or
            does not fit the arguments. The text names the node, and says what to do.
    """
    given, wanted = names("inputs", inputs), names("outputs", outputs)
    sizes, fixed = mapping("shapes", shapes), mapping("constants", constants)
    pairs = None if states is None else mapping("states", states)
    kept, times = mapping("history", history), axes(time_axis)
    file = File(Source.of(path))
    with checked(file.source, "the graph", TypeError, AttributeError, OverflowError, LookupError):
        return _Reader(file, given, sizes, fixed, kept, times).program(wanted, pairs)


@dataclass(frozen=True)
class _Step:
    """What was read of one step of a graph.

    shown: the outputs. kept: the states, and `pairs` which output becomes which input. plain: the
    inputs that are none. needed: those of them that outputs take. reached: all tensors that they
    do. ends: the names of what leaves the step, for which so many nodes, `works`, were read.
    """

    shown: Mapping[str, Value]
    kept: Sequence[Kept]
    pairs: Mapping[str, str]
    plain: Mapping[str, Sym]
    needed: Mapping[str, Sym]
    reached: set[int]
    ends: Sequence[str]
    works: int


class _Reader:
    def __init__(
        self,
        file: File,
        inputs: list[str] | None,
        shapes: Mapping[str, Any],
        constants: Mapping[str, Any],
        history: Mapping[str, Any],
        time_axis: int | Mapping[str, int],
    ) -> None:
        self._file, self._path, self._named = file, file.source, inputs
        self._scopes = scopes(file.model, file.budget)
        self._root = self._scopes[0]
        graph = file.model.graph
        infos = {one.name: one for one in graph.input if one.name not in self._root.tensors}
        self._own = list(infos)
        self._cuts: dict[Key, str] = {(id(self._root), name): name for name in infos}
        for name in inputs or ():
            if name not in infos:
                scope, inner = self._find(name, "inputs")
                self._cuts[id(scope), inner] = name
                infos[name] = self._info(name)
        self._builder, self._history = Builder(file), history
        if isinstance(time_axis, int):
            given = [name for name in inputs or infos if name not in constants]
            time_axis = self._alone(given, time_axis)
        self._said = Said(infos, shapes, constants, time_axis, tuple(history))
        self._whole: Tracer | None = None
        self._begin()

    def _alone(self, inputs: Sequence[str], axis: int) -> dict[str, int]:
        if len(inputs) != 1:
            named = paired({inputs[0] if inputs else "<name>": axis})
            raise FormatError(
                f"{self._path}: time_axis={axis} is for a model with one input, and its inputs are "
                f"{', '.join(inputs) or 'none'}: say of which it is, time_axis={named}"
            )
        return {inputs[0]: axis}

    def _begin(self, past: Mapping[Key, int] | None = None) -> None:
        """Begin to trace. past: the nodes that keep frames of the steps before."""
        self._inputs, self._registers = self._inputs_with(None), Registers(self._builder)
        self._lengths = self._inputs.fixed()
        tracer = Tracer(
            self._file,
            _opset(self._file.model),
            self._inputs,
            self._cuts,
            self._builder,
            self._registers,
            past,
        )
        self._tracer = tracer
        if not self._lengths:
            return
        if len(lengths := sorted(set(self._lengths.values()))) > 1:
            raise FormatError(
                f"{self._path}: the axes that time_axis= names have {lengths[0]} and {lengths[1]} "
                "frames in the file, and one step takes one of each"
            )
        if self._whole is None:
            inputs, apart = self._inputs_with(self._lengths), Registers(self._builder)
            self._whole = Tracer(self._file, tracer.opset, inputs, self._cuts, self._builder, apart)
        self._tracer = Shorter(tracer, self._whole, lengths[0], past)

    def _inputs_with(self, frames: Mapping[str, int] | None) -> Inputs:
        return Inputs(self._builder, self._said, frames)

    def program(self, outputs: list[str] | None, states: dict[str, str] | None) -> Program:
        left = self._file.budget.memory_left
        try:
            return self._program(outputs, states)
        except FormatError as error:
            if not self._inputs.guessed:
                raise
            self._file.budget.give_back(left - self._file.budget.memory_left)
            why = str(error).removeprefix(f"{self._path}: ")
            self._said = replace(self._said, guesses=False)
            self._builder, self._whole = Builder(self._file), None
            self._begin()
            try:
                return self._program(outputs, states)
            except ValueError as other:
                text = str(other).removeprefix(f"{self._path}: ")
                raise FormatError(
                    f"{self._path}: {text}. It is not taken as time, because: {why}"
                ) from error

    def _program(self, outputs: list[str] | None, states: dict[str, str] | None) -> Program:
        saved = self._builder.saved()
        step = self._read(outputs, states)
        verdict = self._checked(step)
        if verdict.past:
            self._builder.restore(saved)
            first = self._tracer
            self._begin(verdict.past)
            constants = {k: v for k, v in first.known.items() if isinstance(v, np.ndarray)}
            self._tracer.known.update(constants)
            step = self._read(outputs, states)
        self._note_axes(step)
        check_starts(
            self._path,
            self._builder,
            self._registers,
            step.plain,
            {one.name: one.given for one in step.kept},
            step.reached,
            lambda name, kind: initial_of(self._tracer, self._scopes, name, kind),
            lambda tensors: self._needed(step, tensors),
            said=states is not None,
        )
        for name, output in step.pairs.items() if states is None else ():
            self._builder.note(f"output {output} becomes input {name} in the next step")
        program = finished(
            self._path,
            self._builder,
            self._registers,
            step.plain,
            step.shown,
            verdict.times,
            step.kept,
            self._history,
        )
        return checked_program(program, self._path)

    def _read(self, outputs: list[str] | None, states: dict[str, str] | None) -> _Step:
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
                    self._file.work(20)
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
        names = [*(outputs or own), *pairs.values()]
        return _Step(shown or values, kept, pairs, plain, needed, reached, names, works)

    def _value(self, name: str, what: str) -> Value:
        scope, inner = self._find(name, what)
        if self._whole is not None:
            with self._builder.aside():
                self._whole.value(scope, inner)
        return self._tracer.value(scope, inner)

    def _maybe(self, name: str, computed: dict[str, Value]) -> None:
        """Add an output that nobody asks for: it may be what a state becomes."""
        try:
            computed[name] = self._value(name, "outputs")
        except ValueError:  # and its text has the source, which is not a part of a program
            self._builder.note(f"output {name} is left out: it takes what is not computed here")

    def _needed(self, step: _Step, given: Collection[int]) -> list[str]:
        """Return the inputs that a step takes where some tensors are given instead."""
        reached = self._reached(step.shown.values(), step.kept, given)
        return [name for name, one in self._inputs.ordered().items() if one.tensor in reached]

    def _reached(
        self, values: Iterable[Value], kept: Sequence[Kept], given: Collection[int] = ()
    ) -> set[int]:
        """Return the tensors that values take, in this step or in a later one through states.

        given: those that nothing is computed for.
        """
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
            if tensor in reached or tensor in given:
                continue
            reached.add(tensor)
            op, end = self._builder.made.get(tensor), after.get(tensor)
            waiting += op.inputs if op is not None else ()
            waiting += [end.tensor] if isinstance(end, Sym) else []
        return reached

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
                f"input {name!r}, of shape {given.shape}; sizes that are free can be said: "
                f"{self._inputs.say(name)}"
            )
        return Kept(name, given, value)

    def _checked(self, step: _Step) -> Verdict:
        """Return what frames one by one come to, after refusing what they would get wrong."""
        verdict = self._verdict(step)
        for source, roots in verdict.ahead if verdict.found is None else ():
            if plain := [name for name in roots if name in step.plain]:
                verdict = replace(verdict, found=(source, stands_in_front(plain[0])))
                break
        for name in step.needed:
            if self._named is not None and name not in self._named:
                raise FormatError(
                    f"{self._path}: what inputs= leaves also takes input {name!r}: name it, or "
                    "give it in constants="
                )
            axis = " and ".join(self._inputs.assumed.get(name, ()))
            if axis and verdict.found is not None:
                raise FormatError(self._wrong(name, axis, *verdict.found))
        said = [name for name in step.needed if name in self._said.time_axis]
        if not verdict.is_traced and (unclear := [*self._inputs.guessed, *said]):
            why = verdict.error.removeprefix(f"{self._path}: ")
            raise FormatError(
                f"{self._path}: input {unclear[0]!r} has an axis of time, but the graph does not "
                f"take several frames: {why}"
            )
        return verdict

    def _verdict(self, step: _Step) -> Verdict:
        free = [one for name in step.needed for one in self._inputs.free.get(name, ())]
        names = list(dict.fromkeys(free))
        if not names:
            return Verdict()
        ends = [(name, *self._find(name, "outputs")) for name in step.ends]
        times = Times(self._path, self._builder, self._tracer, self._inputs_with, ends)
        if self._lengths:
            self._check_others(step)
            return times.fixed(self._lengths)
        verdict = times.free(names)
        if verdict.is_traced:
            return verdict
        axes = [axis for name in step.needed for axis in self._inputs.times.get(name, ())]
        found = None if 0 in axes else verdict.found  # the first axis may count sequences
        return replace(verdict, found=found or alone(self._tracer, step.works))

    def _check_others(self, step: _Step) -> None:
        """Refuse free axes beside a time axis that the file fixes: nothing shows what they are."""
        for name in step.needed:
            rank = len(self._inputs.made[name].shape)
            said = self._said.time_axis.get(name, -rank) % rank
            for axis in self._inputs.times.get(name, ()):
                if axis not in (0, said):
                    raise FormatError(
                        f"{self._path}: axis {axis} of input {name!r} has no size, and is not the "
                        f"one that time_axis= says: say {self._inputs.say(name)}"
                    )

    def _wrong(self, name: str, axis: str, node: str, why: str) -> str:
        """Return the text on a node that one frame a step gets wrong."""
        if name in self._said.time_axis:
            axis = f"axis {self._said.time_axis[name]}"
            return f"{self._path}: {axis} of input {name!r} is time, and node {node} {why}"
        return (
            f"{self._path}: {axis} of input {name!r} has no size, and node {node} {why}. If each "
            f"step really is on its own, say {self._inputs.say(name)}"
            f"{for_a_padding(self._scopes, node)}"
        )

    def _note_axes(self, step: _Step) -> None:
        for name in step.needed:
            assumed = list(self._inputs.assumed.get(name, ()))
            if self._lengths and name in self._said.time_axis:
                rank = len(self._inputs.made[name].shape)
                said = f"axis {self._said.time_axis[name] % rank}"
                assumed = [axis for axis in assumed if axis.split(" (")[0] != said]
                (length,) = set(self._lengths.values())
                self._builder.note(
                    f"input {name}: {said} is time, and a step takes one of the {length} frames of "
                    "the file"
                )
            if assumed:
                note = f"input {name}: {' and '.join(assumed)} taken as 1, one frame a step"
                self._builder.note(note)


def _opset(model: Proto) -> int:
    """Return the version of ONNX's own operators."""
    versions = [one.version for one in model.opset_import if one.domain in ("", "ai.onnx")]
    return int(max(versions, default=1))
