"""Whether a new session depends on what was done in the sessions before it."""

from __future__ import annotations

import numpy as np

from .._arrays import Float32
from ._context import Context
from .options import Options
from .target import Target, TargetError, record

__all__ = ["sharing"]

PRIOR, PROBE = 32, 8  # steps before, and those that are compared
# Frames this large open and shut the gates, so that what was there before the prior is forgotten.
LARGE = 30.0
NEARER = 8.0  # times, that the same past is nearer than another one
ONE_STATE = "sessions share one state: a new session continues where another one stopped"
SOMETHING = (
    "sessions share something: what a new session gives depends on what another one was given"
)
ON_ITSELF = (
    ". The module keeps its state on itself: it should take the state, and return (y, state)"
)
ADVICE = ". Each session needs a state of its own, which starts as after a reset"


def sharing(target: Target, options: Options | None = None) -> str:
    """Say in a sentence that sessions share their state, or nothing ("") where they do not.

    New sessions take the same frames after other sessions that had one or another past. They share
    where the same past leads to the same outputs, and another past to others. Where these outputs
    are those of one session that has the past and the frames together, it is one whole state.
    """
    context = Context(target, options)
    probe = context.frames(PROBE, 400).array
    pasts = [context.frames(PRIOR, 401 + n, scale=LARGE).array for n in range(2)]
    try:
        after, again = ([_after(context, past, probe) for past in pasts] for _ in range(2))
        going_on = [_going_on(context, past, probe) for past in pasts]
    except TargetError:
        return ""
    apart = _distance(after[:1], after[1:])
    if not apart > NEARER * _distance(after, again):
        return ""
    if not apart > NEARER * _distance(after, going_on):
        return SOMETHING + ADVICE
    return ONE_STATE + (ON_ITSELF if _is_torch_module(target) else ADVICE)


def _after(context: Context, past: Float32, probe: Float32) -> Float32:
    """Return what a new session gives after another one that had that past."""
    record(context.target, past)
    return record(context.target, probe).ys


def _going_on(context: Context, past: Float32, probe: Float32) -> Float32:
    """Return what the session itself gives after that past."""
    return record(context.target, np.concatenate([past, probe])).ys[len(past) :]


def _distance(some: list[Float32], others: list[Float32]) -> float:
    return max(float(np.abs(a - b).max()) for a, b in zip(some, others, strict=True))


def _is_torch_module(target: Target) -> bool:
    from .adapters import TorchTarget

    return isinstance(target, TorchTarget)
