"""What recurrent nodes start a step from: what the step before left, or what would lose that."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from .._files import FormatError
from ._program_builder import Builder, Sym
from ._program_nodes import Registers, Start
from ._program_states import MOVES

OWN, STATE, GIVEN, COMPUTED = "own", "state", "given", "computed"


def check_starts(
    path: Path,
    builder: Builder,
    registers: Registers,
    inputs: Mapping[str, Sym],
    states: Mapping[str, Sym],
    reached: Collection[int],
    initial: Callable[[str, str], str],
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
        initial: the name in the file of what a node's h or c starts from.
        said: the caller said which inputs are states.

    Raises:
        FormatError: a node starts from what a step computes, or keeps only a part of its state.
    """
    origins = _Origins(builder, registers, inputs, states)
    for node, starts in registers.starts.items():
        if not any(one.tensor in reached for one in starts):
            continue
        found = {one.kind: origins.of(one) for one in starts}
        for kind, origin in found.items():
            if origin == COMPUTED:
                name = initial(node, kind)
                raise FormatError(
                    f"{path}: node {node!r}: its {kind} starts from {name!r}, which each step "
                    "computes, so it would forget the steps before. If that never changes, give "
                    "what it is computed from: constants={...}; or make it a state, inputs=[..., "
                    f'"{name}"], states={{"{name}": "the last {kind}"}}, and set it in stream.state'
                )
        given = [initial(node, kind) for kind, origin in found.items() if origin == GIVEN]
        rest = [kind for kind, origin in found.items() if origin != GIVEN]
        if given and rest and not (said and OWN not in found.values()):
            raise FormatError(
                f"{path}: node {node!r} keeps its {rest[0]} from step to step, and not the other "
                f"half of its state, {given[0]!r}: say what becomes that in the next step, "
                f'states={{"{given[0]}": ...}}, or give it in constants='
            )
        if given:
            builder.note(
                f"node {node} starts each step from {' and '.join(given)}, "
                f"and keeps {'only its ' + rest[0] if rest else 'nothing'} by itself"
            )


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
