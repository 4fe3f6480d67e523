"""Which known mistake explains what a whole model does: state, history, sampling rate, order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from .._arrays import Float32
from .._backends._stepwise import StepwiseStream
from ..errors import LstmFastError
from ._context import Context
from ._moved import Expected, Moved, Simulation, expected, part_of, plain, stacked
from .layout import Layout
from .options import Options
from .target import Target, TargetError
from .whole_references import WholeReference

__all__ = ["explain_whole"]

STEPS = 12
SEQUENCES = 2
HISTORY = ".history"
FAR = 1000.0  # times what is allowed: no mistake is looked at more closely beyond
SCALES = (32768.0, 1 / 32768.0)
NONE_KNOWN = (
    "nothing known explains it: tried were states that are not carried or swapped, history that is "
    "not kept, too short or of the wrong end, another sampling rate, samples in another unit, "
    "outputs one step late"
)


class Mistake(NamedTuple):
    """A mistake: what it is, and how a right model steps with it.

    load: makes the model that is stepped; None is the reference.
    """

    id: str
    words: str
    explanation: str
    simulate: Simulation = plain
    load: Callable[[], Any] | None = None


def explain_whole(
    target: Target, wanted: WholeReference, options: Options | None = None
) -> tuple[tuple[dict[str, Any], ...], str]:
    """Return the mistakes that explain what a target does, and a note on that."""
    context, layout = Context(target, options), target.layout or Layout.of(wanted.model)
    try:
        frames = [context.frames(STEPS, 500 + n).array for n in range(SEQUENCES)]
        found = [context.solo(context.frames(STEPS, 500 + n)).ys for n in range(SEQUENCES)]
    except TargetError as error:
        return (), f"not diagnosed: {error}"
    right = [expected(wanted.model, xs, layout=layout) for xs in frames]
    if all(_fits(ys, one) for ys, one in zip(found, right, strict=True)):
        return (
            (),
            f"no mistake shows in the first {STEPS} steps: it differs only later, or on others",
        )
    hits = [
        mistake
        for mistake in (*_options(wanted, layout, frames, right), *_mistakes(wanted, layout))
        if _explains(mistake, wanted, layout, frames, found, right)
    ]
    if not hits:
        return (), NONE_KNOWN
    shows = min(_first(ys, one) for ys, one in zip(found, right, strict=True))
    best = hits[0]
    explained = {
        "mistake": best.id,
        "words": best.words,
        "explanation": best.explanation,
        "same": [one.id for one in hits[1:]],
        "shows": f"first shows at step {shows}",
    }
    return (explained,), f"{best.id} explains it"


def _explains(
    mistake: Mistake,
    wanted: WholeReference,
    layout: Layout,
    frames: list[Float32],
    found: list[Float32],
    right: list[Expected],
) -> bool:
    """Say whether a mistake leads to all that was found, and not to what is right."""
    try:
        model = wanted.model if mistake.load is None else mistake.load()
        if _sizes(Layout.of(model)) != _sizes(layout):
            return False
        is_other = False
        for xs, ys, one in zip(frames, found, right, strict=True):
            quick = mistake.simulate(StepwiseStream(model, Moved(model, None)), layout, xs)[0]
            if part_of(ys, quick, FAR * one.allowed).max() > 1:
                return False
            made = expected(model, xs, mistake.simulate, layout)
            if not _fits(ys, made):
                return False
            is_other |= not _fits(made.ys, one)
    except (LstmFastError, ValueError, TypeError, OSError, MemoryError):  # of a model that is none
        return False
    return is_other


def _sizes(layout: Layout) -> tuple[list[Any], list[Any]]:
    return [one.shape for one in layout.inputs.values()], [
        one.shape for one in layout.outputs.values()
    ]


def _apart(ys: Float32, one: Expected) -> Any:
    return part_of(ys, one.ys, one.allowed) > 1


def _fits(ys: Float32, one: Expected) -> bool:
    return not _apart(ys, one).any()


def _first(ys: Float32, one: Expected) -> int:
    beyond = _apart(ys, one).any(axis=1)
    return int(np.argmax(beyond)) if beyond.any() else len(ys)


# ---- the mistakes --------------------------------------------------------------------------------


def _mistakes(wanted: WholeReference, layout: Layout) -> Iterator[Mistake]:
    """Give all of them, the likeliest first."""
    names = list(wanted.model.states)
    histories = [name for name in names if name.endswith(HISTORY)]
    states = [name for name in names if name not in histories]
    yield from _not_carried(states, histories)
    for name in histories:
        given = name.removesuffix(HISTORY)
        if given not in layout.inputs:  # frames that a node within keeps
            continue
        yield Mistake(
            f"history_of_the_wrong_end:{given}",
            f"the history of {given!r} is the beginning of the frame before, not its end",
            "What comes before the new values has to be the last ones of the frame before",
            _wrong_end(name, given),
        )
    yield from _swapped(wanted, states)
    for scale in SCALES:
        yield Mistake(
            f"input_scale:{scale:g}",
            f"inputs are {scale:g} times as large as they should be",
            "Samples of int16 have to be divided by 32768, once",
            _scaled(scale),
        )
    yield Mistake(
        "one_step_late",
        "outputs come one step late",
        "What is returned belongs to the frame before",
        _late,
    )


def _not_carried(states: list[str], histories: list[str]) -> Iterator[Mistake]:
    everything = [*states, *histories]
    groups = [("all", everything)] if histories and states else []
    groups += [("state", states)] if states else []
    groups += [("history", histories)] if histories else []
    groups += [(name, [name]) for name in everything] if len(everything) > 1 else []
    for label, names in groups:
        listed = ", ".join(map(repr, names))
        is_history = label == "history" or (len(names) == 1 and names[0] in histories)
        what = "not_kept" if is_history else "not_carried"
        yield Mistake(
            f"{what}:{label}",
            f"{listed} {'is' if len(names) == 1 else 'are'} not carried from step to step",
            "Each step starts anew: what a step puts out has to be put in again in the next one"
            if not is_history
            else "Zeros come before the new values, and not the last ones of the frame before",
            _forgetting(names),
        )


def _options(
    wanted: WholeReference, layout: Layout, frames: list[Float32], right: list[Expected]
) -> Iterator[Mistake]:
    """Give the options that were said, where one other value of one of them makes it right."""
    if wanted.described is None:
        return
    described = wanted.described
    for said, (better, load) in wanted.variants.items():
        try:
            streams = [StepwiseStream(load(), Moved(load(), None)) for _ in frames]
        except (LstmFastError, ValueError, TypeError, OSError, MemoryError):  # none at all
            continue
        if _sizes(Layout.of(streams[0].model)) != _sizes(layout):
            continue
        made = [plain(one, layout, xs)[0] for one, xs in zip(streams, frames, strict=True)]
        if all(_fits(ys, one) for ys, one in zip(made, right, strict=True)):
            yield Mistake(
                said.partition(", not ")[0].replace(" ", ":"),
                f"it runs with {said}",
                f"With {better} it is right",
                load=lambda: described,
            )


def _swapped(wanted: WholeReference, states: list[str]) -> Iterator[Mistake]:
    tensors = wanted.model.states
    for a, b in combinations(states, 2):
        if tensors[a].shape == tensors[b].shape:
            yield Mistake(
                f"states_swapped:{a},{b}",
                f"{a!r} and {b!r} are swapped as they are carried",
                "What becomes which input in the next step is the other way round",
                _swapping(a, b),
            )
    for name in states:
        if tensors[name].shape[:1] == (2,):
            yield Mistake(
                f"halves_swapped:{name}",
                f"the halves of {name!r} are swapped as they are carried",
                "One tensor holds h and c, or two layers: their order has to stay",
                _swapping(name, name),
            )


def _stepwise(change: Callable[[Any, dict[str, Any], dict[str, Any], Any], None]) -> Simulation:
    """Return a simulation that changes the state after each step, before the next one.

    change: takes the stream, its state after the step, that of the start, and the frame.
    """

    def simulate(stream: Any, layout: Layout, xs: Float32) -> tuple[Float32, dict[str, Float32]]:
        ys, states, start = [], [], stream.state
        for x in xs:
            by_name = layout.by_name(x)
            ys.append(layout.flat(stream.step(by_name)))
            state = stream.state
            change(stream, state, start, by_name)
            states.append(state)
        return stacked(ys, states)

    return simulate


def _forgetting(names: list[str]) -> Simulation:
    def change(stream: Any, state: Any, start: Any, _: Any) -> None:
        stream.state = {**state, **{name: start[name] for name in names}}

    return _stepwise(change)


def _swapping(a: str, b: str) -> Simulation:
    def change(stream: Any, state: Any, start: Any, _: Any) -> None:
        if a == b:
            stream.state = {**state, a: state[a][::-1].copy()}
        else:
            stream.state = {**state, a: state[b], b: state[a]}

    return _stepwise(change)


def _wrong_end(name: str, given: str) -> Simulation:
    def change(stream: Any, state: Any, start: Any, x: Any) -> None:
        count = state[name].shape[-1]
        if x[given].shape[-1] < count:
            raise ValueError("the frame is shorter than its history")
        stream.state = {**state, name: x[given][..., :count]}

    return _stepwise(change)


def _scaled(scale: float) -> Simulation:
    def simulate(stream: Any, layout: Layout, xs: Float32) -> tuple[Float32, dict[str, Float32]]:
        ys, states = [], []
        for x in xs:
            made = {
                name: value * np.float32(scale) if value.dtype.kind == "f" else value
                for name, value in layout.by_name(x).items()
            }
            ys.append(layout.flat(stream.step(made)))
            states.append(stream.state)
        return stacked(ys, states)

    return simulate


def _late(stream: Any, layout: Layout, xs: Float32) -> tuple[Float32, dict[str, Float32]]:
    ys, states = plain(stream, layout, xs)
    return np.concatenate([np.zeros_like(ys[:1]), ys[:-1]]), states
