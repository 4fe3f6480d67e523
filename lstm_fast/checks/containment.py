"""Do NaN and infinities stay in the session that got them, and does a reset heal it."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import reproduction
from ._compare import difference
from ._context import Context
from .isolation import mates_reproduction, recording_of, run_batch
from .options import Options
from .probes import Frames, full
from .results import CheckResult
from .target import (
    Recording,
    Session,
    Target,
    close,
    open_batch,
    open_session,
    record,
    reset,
    shown,
    step,
)

__all__ = ["nan_containment"]

STEPS = 24


def nan_containment(target: Target, options: Options | None = None) -> CheckResult:
    """Check that NaN and infinities in one session harm no other, and that a reset heals it.

    Example:
        >>> from lstm_fast import LSTM
        >>> from lstm_fast.checks import adapters, nan_containment
        >>> nan_containment(adapters.from_lstm(LSTM.random(3, 4))).status
        'passed'
    """
    context = Context(target, options)
    if not target.holds_floats:
        return CheckResult("nan", "skipped", "its inputs hold no floats, and so no NaN")
    good, size = context.frames(STEPS, 100), target.output_size
    alone, numbers = context.solo(good), {}
    numbers["interleaved"] = _with_spoilt(context, good, alone)
    problems, reproductions = [], []
    if numbers["interleaved"]["hurt_by"]:
        kind = numbers["interleaved"]["hurt_by"][0]
        problems.append(f"{kind} in one session changes another one's output")
        reproductions.append(_spoilt_reproduction(context, good, float(kind)))
    if numbers["interleaved"]["not_healed"]:
        kind = numbers["interleaved"]["not_healed"][0]
        problems.append(f"a reset does not heal a session that had {kind}")
        reproductions.append(_healing_reproduction(context, good, float(kind)))
    batch = open_batch(target, 2)
    if batch is not None:
        try:
            bad = full(STEPS, target.input_size, float("nan"))
            mild = context.frames(STEPS, 101)
            beside = [run_batch(batch, [good, one], size)[0] for one in (mild, bad, mild)]
        finally:
            close(batch)
        numbers["batch"] = {"hurt": difference(beside[0], beside[1]) is not None}
        numbers["batch"]["not_healed"] = difference(beside[0], beside[2]) is not None
        if numbers["batch"]["hurt"] or numbers["batch"]["not_healed"]:
            problems.append("NaN in one row of a batch changes another row")
            reproductions.append(mates_reproduction(target, good, ([mild], [bad]), STEPS))
    if problems:
        return CheckResult("nan", "failed", "; ".join(problems), numbers, reproductions[0])
    where = "session" if batch is None else "session or row"
    text = f"NaN and infinities change no other {where}, and a reset heals the one that had them"
    return CheckResult("nan", "passed", text, numbers)


def _with_spoilt(context: Context, good: Frames, alone: Recording) -> dict[str, Any]:
    """Interleave a good session with one that gets NaN or infinities, and then reset that one."""
    hurt, not_healed, visible = [], [], False
    for value in (float("nan"), float("inf"), float("-inf")):
        bad = context.frames(STEPS, 102).with_frame(3, value)
        pair = [open_session(context.target), open_session(context.target)]
        try:
            beside, spoilt = _take_turns(pair, (good, bad), context)
            hurt += [str(value)] if difference(alone, beside) else []
            visible |= bool(np.isnan(spoilt.ys).any())
            reset(pair[1])
            healed = record(pair[1], good.array)
            not_healed += [str(value)] if difference(alone, healed) else []
        finally:
            for session in pair:
                close(session)
    return {"hurt_by": hurt, "not_healed": not_healed, "output_shows_nan": visible}


def _take_turns(
    pair: list[Session], inputs: tuple[Frames, Frames], context: Context
) -> list[Recording]:
    rows: list[list[Any]] = [[], []]
    for t in range(STEPS):
        for n, session in enumerate(pair):
            y = step(session, inputs[n].array[t], context.target.output_size)
            rows[n].append((y, shown(session)))
    return [recording_of(frames, taken) for frames, taken in zip(inputs, rows, strict=True)]


def _spoilt_reproduction(context: Context, good: Frames, value: float) -> str:
    bad = context.frames(STEPS, 102).with_frame(3, value)
    body = f"""
good = {good.code}
bad = {bad.code}
alone = record(target.session(), good).ys
sessions, ys = (target.session(), target.session()), []
for t in range({STEPS}):
    ys.append(np.array(sessions[0].step(good[t].copy()), np.float32))
    sessions[1].step(bad[t].copy())
assert np.stack(ys).tobytes() == alone.tobytes(), "the good session was changed by the bad one"
"""
    return reproduction.code(context.target, body)


def _healing_reproduction(context: Context, good: Frames, value: float) -> str:
    bad = context.frames(STEPS, 102).with_frame(3, value)
    body = f"""
good = {good.first(2).code}
bad = {bad.code}
fresh = record(target.session(), good).ys
session = target.session()
record(session, bad)
session.reset()
again = record(session, good).ys
assert again.tobytes() == fresh.tobytes(), f"after a reset: {{again[-1]}}"
"""
    return reproduction.code(context.target, body)
