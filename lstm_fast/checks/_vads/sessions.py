"""What a reset leaves of a VAD's session, and what its sessions share: context, state, or all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..._arrays import Float32
from .._context import Context
from .._moved import Simulation, expected, stacked
from ..isolation import interleave
from ..layout import Layout
from ..options import Options
from ..target import TargetError, close, open_session, record, reset
from .mistakes import Told, first_apart
from .references import VadReference

if TYPE_CHECKING:
    from ..adapters.vad import VadTarget

__all__ = ["explain_reset", "explain_sharing"]

PRIOR, PROBE = 8, 6  # chunks before a reset, and those that are compared
TURNS = 6  # chunks of each of two sessions that take turns
HISTORY = ".history"


class _Part(NamedTuple):
    """A part of a session: what to call it, and which of the model's states it is."""

    id: str
    words: str
    names: tuple[str, ...]


def explain_reset(target: VadTarget, wanted: VadReference, options: Options | None = None) -> Told:
    """Say what a reset leaves as it was: the context, the LSTM's state, or both."""
    if target.chunk != target.own_chunk:
        return (), ""
    context = Context(target, options)
    prior, probe = context.frames(PRIOR, 510).array, context.frames(PROBE, 511).array
    session = open_session(target)
    try:
        reset(session)
        record(session, prior)
        reset(session)
        found = record(session, probe).ys
    except TargetError:
        return (), ""
    finally:
        close(session)
    both = np.concatenate([prior, probe])
    for part in _parts(wanted):
        if _is(found, wanted, both, _left_over(part.names), target.layout):
            right = expected(wanted.model, probe)
            return _told(
                f"not_reset:{part.id}",
                f"a reset leaves {part.words} as it was",
                "A reset sets the LSTM's state and the context to zeros, and forgets samples that "
                "wait for their chunk",
                f"first shows at step {first_apart(found, right)} after a reset",
            )
    return (), ""


def explain_sharing(
    target: VadTarget, wanted: VadReference, options: Options | None = None
) -> Told:
    """Say what two sessions share that take turns: the context, the LSTM's state, or both."""
    if target.chunk != target.own_chunk:
        return (), ""
    context = Context(target, options)
    inputs = [context.frames(TURNS, 520 + n) for n in range(2)]
    try:
        taken = interleave(context, inputs, [0, 1] * TURNS, fresh=True)
    except TargetError:
        return (), ""
    found = np.stack([one.ys for one in taken], axis=1).reshape(2 * TURNS, -1)
    xs = np.stack([one.array for one in inputs], axis=1).reshape(2 * TURNS, -1)
    for part in _parts(wanted):
        if _is(found, wanted, xs, _in_common(part.names), target.layout):
            alone = expected(wanted.model, xs, _in_common(()), target.layout)
            step = first_apart(found, alone)
            return _told(
                f"shared:{part.id}",
                f"sessions share one {part.id}: what one is given changes {part.words} of the "
                "others",
                "Each session needs one of its own, and a model that keeps it in itself has to be "
                "made once for each session",
                f"first shows at step {step // 2} of session {step % 2}, of two that take turns",
            )
    return (), ""


def _told(name: str, words: str, advice: str, shows: str) -> Told:
    one = {"mistake": name, "words": words, "explanation": advice, "same": [], "shows": shows}
    return (one,), f"{name} explains it"


def _parts(wanted: VadReference) -> Iterator[_Part]:
    names = tuple(wanted.model.states)
    states = tuple(name for name in names if not name.endswith(HISTORY))
    histories = tuple(name for name in names if name.endswith(HISTORY))
    if histories:
        yield _Part("context", "the context (the last samples before)", histories)
    yield _Part("state", "the LSTM's state", states)
    if histories:
        yield _Part("session", "the LSTM's state and the context", names)


def _is(
    found: Float32, wanted: VadReference, xs: Float32, simulate: Simulation, layout: Layout | None
) -> bool:
    """Say whether that is what a simulation gives, and it is not what is right."""
    made = expected(wanted.model, xs, simulate, layout)
    if first_apart(found, made) < len(found):
        return False
    right = expected(wanted.model, xs, _without(simulate), layout)
    return first_apart(made.ys, right) < len(found)


def _without(simulate: Any) -> Simulation:
    """Return the same simulation of a session without the mistake."""
    right: Simulation = simulate.right
    return right


def _left_over(names: Sequence[str]) -> Simulation:
    """Return a reset after PRIOR frames that leaves these parts; what comes after it counts."""

    def simulate(stream: Any, layout: Layout, xs: Float32) -> tuple[Float32, dict[str, Float32]]:
        start = stream.state
        for x in xs[:PRIOR]:
            stream.step(layout.values(x))
        kept = stream.state
        stream.state = {**start, **{name: kept[name] for name in names}}
        ys = [layout.flat(stream.step(layout.values(x))) for x in xs[PRIOR:]]
        return stacked(ys, [{} for _ in ys])

    simulate.right = simulate if not names else _left_over(())  # type: ignore[attr-defined]
    return simulate


def _in_common(names: Sequence[str]) -> Simulation:
    """Return two sessions that take turns, frame by frame, and have these parts in common."""

    def simulate(stream: Any, layout: Layout, xs: Float32) -> tuple[Float32, dict[str, Float32]]:
        own = [stream.state, stream.state]
        ys = []
        for turn, x in enumerate(xs):
            stream.state = own[turn % 2]
            ys.append(layout.flat(stream.step(layout.values(x))))
            own[turn % 2] = stream.state
            other = own[1 - turn % 2]
            own[1 - turn % 2] = {**other, **{name: own[turn % 2][name] for name in names}}
        return stacked(ys, [{} for _ in ys])

    simulate.right = simulate if not names else _in_common(())  # type: ignore[attr-defined]
    return simulate
