"""What recurrent nodes start a step from: what the step before left, or what would lose that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from .._files import FormatError
from ._graph import Scope, label
from ._program_advice import VALUE, listed, paired
from ._program_builder import Builder, Sym, shape_of
from ._program_nodes import Registers, Start
from ._program_states import MOVES
from ._program_trace import Tracer

OWN, STATE, GIVEN, COMPUTED = "own", "state", "given", "computed"


@dataclass(frozen=True)
class Initial:
    """What a recurrent node's h or c starts from in the file.

    name: of that value. shape: of it. last: the name of the same behind the last frame, "" where it
    has none.
    """

    name: str
    shape: Sequence[int]
    last: str


def initial_of(tracer: Tracer, scopes: Sequence[Scope], name: str, kind: str) -> Initial:
    """Return what a recurrent node of this name starts from."""
    at = {"h": 5, "c": 6}[kind]
    for scope in scopes:
        tracer.file.work(len(scope.nodes))
        for node in scope.nodes:
            if label(node) == name and len(node.input) > at:
                start, made = str(node.input[at]), list(node.output)
                last = str(made[at - 4]) if len(made) > at - 4 else ""
                return Initial(start, shape_of(tracer.value(scope, start)), last)
    return Initial(f"initial_{kind}", (), "")


def check_starts(
    path: object,
    builder: Builder,
    registers: Registers,
    inputs: Mapping[str, Sym],
    states: Mapping[str, Sym],
    reached: Collection[int],
    initial: Callable[[str, str], Initial],
    needed: Callable[[Collection[int]], Sequence[str]],
    *,
    said: bool,
) -> None:
    """Refuse nodes that lose their state between steps, and note those that keep none on purpose.

    Args:
        path: for errors.
        builder: the operations that were read.
        registers: the recurrent nodes that were read.
        inputs: those that the caller gives in each step.
        states: those that come from the step before.
        reached: the tensors that outputs take.
        initial: what a node's h or c starts from, by their names.
        needed: the inputs that outputs take where some tensors are given.
        said: the caller said which inputs are states.

    Raises:
        FormatError: a node starts from what a step computes, or keeps only a part of its state.
    """
    origins = _Origins(builder, registers, inputs, states)
    for node, starts in registers.starts.items():
        if not any(one.tensor in reached for one in starts):
            continue
        found = {one.kind: origins.of(one) for one in starts}
        if kinds := [kind for kind, origin in found.items() if origin == COMPUTED]:
            name = initial(node, kinds[0]).name
            computed = [
                (one.tensor, initial(other, one.kind))
                for other, ones in registers.starts.items()
                for one in ones
                if one.tensor in reached and origins.of(one) == COMPUTED
            ]
            rest = needed({tensor for tensor, _ in computed})
            raise FormatError(
                f"{path}: node {node!r}: its {kinds[0]} starts from {name!r}, which each step "
                f"computes, so it would forget the steps before. "
                f"{_given_instead(rest, [one for _, one in computed])}"
            )
        given = [initial(node, kind).name for kind, origin in found.items() if origin == GIVEN]
        rest = [kind for kind, origin in found.items() if origin != GIVEN]
        if given and rest and not (said and OWN not in found.values()):
            raise FormatError(
                f"{path}: node {node!r} keeps its {rest[0]} from step to step, and not the other "
                f"half of its state, {given[0]!r}: say what becomes that in the next step, "
                f'states={{"{given[0]}": <output>}}, or give it, '
                f"constants={paired({given[0]: VALUE})}"
            )
        if given:
            builder.note(
                f"node {node} starts each step from {' and '.join(given)}, "
                f"and keeps {'only its ' + rest[0] if rest else 'nothing'} by itself"
            )


def _given_instead(rest: Sequence[str], computed: Sequence[Initial]) -> str:
    """Return how to give what is computed, beside the inputs that are still needed."""
    of = {one.name: one for one in computed}
    inputs = f"inputs={listed(dict.fromkeys([*rest, *of]))}"
    shapes = ", ".join(f"{tuple(one.shape)}" for one in of.values())
    text = (
        f"If that never changes, compute it once and give it, of shape {shapes}: {inputs}, "
        f"constants={paired(dict.fromkeys(of, VALUE))}"
    )
    if all(one.last for one in computed) and len(of) == len(computed):
        lasts = {name: f'"{one.last}"' for name, one in of.items()}
        text += (
            f"; or make it a state, {inputs}, states={paired(lasts)}, "
            f"shapes={paired({name: tuple(one.shape) for name, one in of.items()})}, and set it in "
            "stream.state"
        )
    return text


class _Origins:
    def __init__(
        self,
        builder: Builder,
        registers: Registers,
        inputs: Mapping[str, Sym],
        states: Mapping[str, Sym],
    ) -> None:
        self._builder = builder
        self._own = {tensor for tensor, _ in registers.found.values()}
        self._inputs = {one.tensor for one in inputs.values()}
        self._states = {one.tensor for one in states.values()}

    def of(self, start: Start) -> str:
        """Return what a start comes from."""
        if start.own:
            return OWN
        moved, crossed, ends = True, False, set[int]()
        seen, waiting = set[int](), [start.tensor]
        while waiting:
            tensor = waiting.pop()
            op = self._builder.made.get(tensor)
            if tensor in seen or tensor < 0:
                continue
            seen.add(tensor)
            self._builder.spend()
            if op is None:
                ends.add(tensor)
            elif op.code in ("lstm", "gru"):
                count = 3 if op.code == "lstm" else 2
                if tuple(op.inputs[count:]) != start.weights:
                    return COMPUTED
                crossed = True
                waiting += op.inputs[1:count]
            else:
                moved = moved and op.code in MOVES
                waiting += op.inputs
        if ends & self._own:
            return COMPUTED
        if ends & self._states:
            return STATE
        return GIVEN if ends & self._inputs and moved and not crossed else COMPUTED
