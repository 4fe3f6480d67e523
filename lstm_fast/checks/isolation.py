"""Does a session ever see another one: interleaved, in a batch, in threads."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from . import reproduction
from ._compare import Difference, difference
from ._context import ROUNDING, Context
from .options import Options
from .probes import Frames, full
from .results import CheckResult
from .target import (
    BatchSession,
    Recording,
    Target,
    TargetError,
    close,
    open_batch,
    open_session,
    reset,
    shown,
    step,
    theirs,
    to_array,
)

__all__ = ["isolation"]

STEPS = 24
SIZES = re.compile("size|shape|dim|batch.*expected|broadcast", re.IGNORECASE)
LIKELY_SHARED = (
    ". Where it keeps a state of another batch size, the likely cause is that sessions share one "
    "state: a session, or a batch, has to start with one of its own"
)
LOOPS = 3  # each thread runs its frames that often


def isolation(target: Target, options: Options | None = None) -> CheckResult:
    """Check that what a session gives does not depend on the other sessions.

    - interleaved: several sessions take steps in turns, in an order that changes: every bit must be
      that of a session alone.
    - mates: in a batch, a row must have the same bits whatever the other rows hold, at the same
      size of the batch and in the same place. (Scaling or quantising over a batch fails here.)
    - batch: a row of a batch against a session alone: the same bits where the target promises them
      (`Target.exact`), else within rounding.
    - threads: sessions of their own in several threads at once: every bit.

    Example:
        >>> from lstm_fast import LSTM
        >>> from lstm_fast.checks import adapters, isolation
        >>> isolation(adapters.from_lstm(LSTM.random(3, 4))).status
        'passed'
    """
    context = Context(target, options)
    numbers: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    done: list[str] = []
    for part in (_interleaved, _mates, _threads):
        problem = part(context, numbers, done)
        if problem:
            problems.append(problem)
    if problems:
        text = "; ".join(text for text, _ in problems)
        return CheckResult("isolation", "failed", text, numbers, problems[0][1])
    return CheckResult("isolation", "passed", "; ".join(done), numbers)


def _interleaved(
    context: Context, numbers: dict[str, Any], done: list[str]
) -> tuple[str, str] | None:
    target, count = context.target, context.options.sessions
    inputs = [context.frames(STEPS, 50 + n) for n in range(count)]
    alone = [context.solo(frames) for frames in inputs]
    together = interleave(context, inputs, _order(count, STEPS))
    found = [difference(a, b) for a, b in zip(alone, together, strict=True)]
    worst = _worst(found)
    numbers["interleaved"] = {"sessions": count, **(worst.numbers() if worst else {})}
    if worst is None:
        done.append(f"{count} interleaved sessions have the bits that each has alone")
        return None
    text = f"sessions that take turns change each other: {worst}"
    return text, _interleaved_reproduction(context, inputs, target)


def _order(count: int, steps: int) -> list[int]:
    """Return whose turn it is: each `steps` times, in an order that changes."""
    rng = np.random.Generator(np.random.PCG64(count))
    return [int(n) for _ in range(steps) for n in rng.permutation(count)]


def interleave(
    context: Context, inputs: list[Frames], order: list[int], *, fresh: bool = False
) -> list[Recording]:
    """Record sessions that take steps in that order; fresh: each is reset before, all of them."""
    size = context.target.output_size
    sessions = [open_session(context.target) for _ in inputs]
    try:
        for session in sessions if fresh else ():
            reset(session)
        rows: list[list[Any]] = [[] for _ in inputs]
        for n in order:
            x = inputs[n].array[len(rows[n])]
            y = step(sessions[n], x, size)
            rows[n].append((y, shown(sessions[n])))
        return [recording_of(frames, taken) for frames, taken in zip(inputs, rows, strict=True)]
    finally:
        for session in sessions:
            close(session)


def recording_of(frames: Frames, taken: list[Any]) -> Recording:
    return Recording.of(frames.array, np.stack([y for y, _ in taken]), [one for _, one in taken])


def _worst(found: list[Difference | None]) -> Difference | None:
    """Return the earliest, and of these the largest."""
    there = [one for one in found if one is not None]
    return min(there, key=lambda one: (one.step, -one.largest), default=None)


def _interleaved_reproduction(context: Context, inputs: list[Frames], target: Target) -> str:
    """Return the shortest of: two sessions, taking turns for one, two, ... steps."""
    steps = next((n for n in (1, 2, 4, 8) if _pair_differs(context, inputs, n)), None)
    if steps is None:  # it takes more than two, or more steps
        steps, count = STEPS, len(inputs)
    else:
        count = 2
    codes = ",\n    ".join(frames.first(steps).code for frames in inputs[:count])
    body = f"""
xs = [
    {codes},
]
alone = [record(target.session(), x).ys for x in xs]
sessions = [target.session() for _ in xs]
together = [[] for _ in xs]
for t in range({steps}):  # in turns
    for session, x, ys in zip(sessions, xs, together):
        ys.append(np.array(session.step(x[t].copy()), np.float32))
for n, ys in enumerate(together):
    assert np.stack(ys).tobytes() == alone[n].tobytes(), f"session {{n}} was changed by another"
"""
    return reproduction.code(target, body)


def _pair_differs(context: Context, inputs: list[Frames], steps: int) -> bool:
    pair = [frames.first(steps) for frames in inputs[:2]]
    together = interleave(context, pair, [0, 1] * steps)
    return any(
        difference(Recording(one.array, context.solo(one).ys), Recording(one.array, both.ys))
        for one, both in zip(pair, together, strict=True)
    )


# ---- batches -------------------------------------------------------------------------------------


def run_batch(batch: BatchSession, xs: list[Frames], size: int | None) -> list[Recording]:
    """Reset a batch and record its rows."""
    reset(batch)
    frames = np.stack([one.array for one in xs], axis=1)  # (T, n, I)
    try:
        with theirs(f"step(xs) of a batch of {len(xs)}"):
            rows = [to_array(batch.step(now.copy()), "step(xs)", (len(xs), size)) for now in frames]
    except TargetError as error:
        if SIZES.search(str(error)):
            raise TargetError(f"{error}{LIKELY_SHARED}") from error
        raise
    ys = np.stack(rows, axis=1)
    return [
        Recording(one.array, np.ascontiguousarray(row)) for one, row in zip(xs, ys, strict=True)
    ]


def _mates(context: Context, numbers: dict[str, Any], done: list[str]) -> tuple[str, str] | None:
    """Compare a row beside different others, and with a session alone."""
    target = context.target
    mine = context.frames(STEPS, 60)
    alone = Recording(mine.array, context.solo(mine).ys)
    for count in (2, 5):
        batch = open_batch(target, count)
        if batch is None:
            if count == 2:
                numbers["batch"] = "none"
                return None
            continue
        try:
            problem = _beside(context, batch, mine, alone, count, numbers)
        finally:
            close(batch)
        if problem:
            return problem
    done.append(
        "rows of a batch have the bits of a session alone"
        if numbers.get("batch_max_difference", 0.0) == 0.0
        else "rows of a batch have the same bits whatever is beside them, and differ from a "
        f"session alone by rounding ({numbers['batch_max_difference']:.3g})"
    )
    return None


def _beside(
    context: Context,
    batch: BatchSession,
    mine: Frames,
    alone: Recording,
    count: int,
    numbers: dict[str, Any],
) -> tuple[str, str] | None:
    target, size = context.target, context.target.output_size
    others = {
        "frames": [context.frames(STEPS, 70 + n) for n in range(1, count)],
        "larger frames": [context.frames(STEPS, 80 + n, scale=50.0) for n in range(1, count)],
        "zeros": [full(STEPS, target.input_size, 0.0)] * (count - 1),
    }
    rows = {name: run_batch(batch, [mine, *mates], size)[0] for name, mates in others.items()}
    first = rows["frames"]
    for name, row in rows.items():
        found = difference(first, row)
        if found:
            numbers["mates"] = {"batch": count, "beside": name, **found.numbers()}
            text = (
                f"in a batch of {count}, a row depends on what the others hold: beside {name}, "
                f"{found}"
            )
            mates = (others["frames"], others[name])
            return text, mates_reproduction(target, mine, mates, found.step + 1)
    apart = difference(alone, first)
    if apart is None:
        return None
    worst = max(apart.largest, numbers.get("batch_max_difference", 0.0))
    numbers["batch_max_difference"], numbers["batch_max_ulp"] = worst, apart.ulp
    allowed = 0.0 if context.exact else ROUNDING * max(1.0, float(np.abs(alone.ys).max()))
    if apart.largest <= allowed:
        return None
    text = f"a row of a batch of {count} is not what a session gives alone: {apart}"
    return text, _batch_reproduction(target, mine, others["frames"], allowed)


def mates_reproduction(
    target: Target, mine: Frames, mates: tuple[list[Frames], list[Frames]], steps: int
) -> str:
    first, second = (",\n    ".join(one.first(steps).code for one in many) for many in mates)
    body = f"""
mine = {mine.first(steps).code}
mates = [
    {first},
]
others = [
    {second},
]
batch = target.batch({len(mates[0]) + 1})
rows = []
for beside in (mates, others):
    batch.reset()
    rows.append([np.array(batch.step(np.stack(now)), np.float32)[0] for now in zip(mine, *beside)])
rows = np.array(rows)
assert rows[0].tobytes() == rows[1].tobytes(), np.abs(rows[0] - rows[1]).max(axis=1)
"""
    return reproduction.code(target, body)


def _batch_reproduction(target: Target, mine: Frames, mates: list[Frames], allowed: float) -> str:
    codes = ",\n    ".join(one.code for one in mates)
    body = f"""
mine = {mine.code}
mates = [
    {codes},
]
alone = record(target.session(), mine).ys
batch = target.batch({len(mates) + 1})
batch.reset()
row = np.array([np.array(batch.step(np.stack(now)), np.float32)[0] for now in zip(mine, *mates)])
assert np.abs(row - alone).max() <= {allowed!r}, np.abs(row - alone).max(axis=1)
"""
    return reproduction.code(target, body)


# ---- threads -------------------------------------------------------------------------------------


def _threads(context: Context, numbers: dict[str, Any], done: list[str]) -> tuple[str, str] | None:
    target, count = context.target, context.options.threads
    if not target.threads or count < 2:
        numbers["threads"] = "none"
        return None
    inputs = [context.frames(STEPS, 90 + n) for n in range(count)]
    alone = [context.solo(frames) for frames in inputs]
    runs = [frames for frames in inputs for _ in range(LOOPS)]
    together, errors = concurrently(
        [lambda frames=frames: context.solo(frames) for frames in runs]  # type: ignore[misc]
    )
    if errors:
        raise errors[0]
    found = [
        difference(alone[n // LOOPS], run) for n, run in enumerate(together) if run is not None
    ]
    worst = _worst(found)
    numbers["threads"] = {"threads": len(runs), **(worst.numbers() if worst else {})}
    if worst is None:
        done.append(f"{len(runs)} threads have the bits of one")
        return None
    codes = ",\n    ".join(frames.code for frames in inputs)
    body = f"""
from concurrent.futures import ThreadPoolExecutor

xs = [
    {codes},
]
alone = [record(target.session(), x).ys for x in xs]
for _ in range(100):  # until the threads meet
    with ThreadPoolExecutor(len(xs)) as pool:
        together = list(pool.map(lambda x: record(target.session(), x).ys, xs))
    for n, ys in enumerate(together):
        assert ys.tobytes() == alone[n].tobytes(), f"session {{n}} was changed by another thread"
"""
    text = f"sessions in threads of their own change each other: {worst}"
    return text, reproduction.code(target, body)


def concurrently(
    calls: list[Callable[[], Recording]],
) -> tuple[list[Recording | None], list[BaseException]]:
    """Run calls in a thread each, all starting together; return results and errors."""
    results: list[Recording | None] = [None] * len(calls)
    errors: list[BaseException] = []
    start = threading.Barrier(len(calls))

    def work(n: int) -> None:
        try:
            start.wait()
            results[n] = calls[n]()
        except BaseException as error:
            errors.append(error)

    workers = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(len(calls))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return results, errors
