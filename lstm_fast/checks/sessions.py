"""Does a reset reset, does the same input give the same bits, does NaN stay where it is."""

from __future__ import annotations

import numpy as np

from . import reproduction
from ._compare import Difference, difference
from ._context import ROUNDING, SEE_DETERMINISM, Context
from .options import Options
from .probes import Frames, full
from .results import CheckResult
from .target import Recording, Session, Target, record, shown, theirs, to_array
from .target import reset as to_start

__all__ = ["chunks", "determinism", "reset"]

PROBE = 8  # frames that are compared
LENGTHS = (1, 2, 5, 16, 48)  # of what comes before a reset
CHUNKS = ((1, 1, 1), (5, 2, 9), (16,), (3, 13))  # 16 frames are split like this, again and again


def reset(target: Target, options: Options | None = None) -> CheckResult:
    """Check that a session is, after a reset, exactly what a new one is.

    The same frames are given to a new session and after a reset that follows each of many other
    sequences: short, long, saturating, tiny, all zeros, with NaN and infinities. Every bit of the
    output, and of the state where it is seen, must be the same. And as a control: without the reset
    the output must differ, or the session ignores its state.

    Example:
        >>> from lstm_fast import LSTM
        >>> from lstm_fast.checks import adapters, reset
        >>> reset(adapters.from_lstm(LSTM.random(3, 4))).status
        'passed'
    """
    context = Context(target, options)
    if not target.has_memory:
        return CheckResult("reset", "skipped", "it keeps nothing from one step to the next")
    probe = context.frames(PROBE)
    fresh = context.solo(probe)
    if difference(fresh, context.solo(probe)):
        return CheckResult(
            "reset",
            "failed",
            "two new sessions give different outputs for the same frames, so there is nothing that "
            f"a reset could return to{SEE_DETERMINISM}",
            reproduction=_fresh_reproduction(target, probe),
        )
    remembered, failed = 0, []
    priors = _priors(context)
    for name, prior in priors.items():
        with context.session() as session:
            record(session, prior.array)
            to_start(session)
            found = difference(fresh, record(session, probe.array))
            if found:
                failed.append((name, prior, found))
        with context.session() as session:
            record(session, prior.array)
            remembered += difference(fresh, record(session, probe.array)) is not None
    numbers = {
        "prior_sequences": len(priors),
        "differ_after_reset": [name for name, *_ in failed],
        "differ_without_reset": remembered,
    }
    if not remembered:
        return _without_memory(context, probe, numbers)
    if failed:
        return _not_reset(context, failed, probe, fresh, numbers)
    return CheckResult(
        "reset",
        "passed",
        f"the same bits as a new session after each of {len(priors)} other sequences and a reset"
        f"{', NaN and infinities among them' if context.target.holds_floats else ''}; without the "
        f"reset, {remembered} of them differ",
        numbers,
    )


def _priors(context: Context) -> dict[str, Frames]:
    """Return what to feed before a reset, by name; shorter ones first."""
    size = context.target.input_size
    priors = {f"{n} frames": context.frames(n, 1 + k) for k, n in enumerate(LENGTHS)}
    priors["saturating"] = context.frames(4, 20, scale=1e4)
    priors["tiny"] = full(4, size, 1e-40)
    priors["zeros"] = full(8, size, 0.0)
    if not context.target.holds_floats:
        return priors
    normal = context.frames(4, 21)
    priors["a NaN"] = normal.with_frame(2, float("nan"))
    priors["an infinity"] = normal.with_frame(2, float("inf"))
    priors["all NaN"] = full(4, size, float("nan"))
    return priors


def _without_memory(context: Context, probe: Frames, numbers: dict[str, object]) -> CheckResult:
    body = f"""{reproduction.SAME}
prior = {context.frames(LENGTHS[2], 3).code}
probe = {probe.first(2).code}
fresh = record(target.session(), probe)
session = target.session()
record(session, prior)  # and no reset
assert bits(record(session, probe)) != bits(fresh), "the session ignores its own past"
"""
    return CheckResult(
        "reset",
        "failed",
        "the output never depends on earlier frames: the state is not stored, or not used. (It was "
        f"the same after each of {numbers['prior_sequences']} sequences without any reset.)",
        numbers,
        reproduction.code(context.target, body),
    )


def _not_reset(
    context: Context,
    failed: list[tuple[str, Frames, Difference]],
    probe: Frames,
    fresh: Recording,
    numbers: dict[str, object],
) -> CheckResult:
    name, prior, found = failed[0]
    steps = len(prior)
    if name.endswith("frames"):  # the first that fails; shrink it
        steps = _shortest(context, prior, probe, fresh)
    prior, probe = prior.first(steps), probe.first(found.step + 1)
    body = f"""{reproduction.SAME}
prior = {prior.code}
probe = {probe.code}
fresh = record(target.session(), probe)
session = target.session()
record(session, prior)
session.reset()
again = record(session, probe)
assert bits(again) == bits(fresh), f"after a reset: {{again.ys[-1]}}, new: {{fresh.ys[-1]}}"
"""
    only = "after NaN or infinities only: the reset computes with the old state, such as by times 0"
    spoilt = ("a NaN", "an infinity", "all NaN")
    kept = _kept_names(context, prior)
    which = (
        only
        if all(one[0] in spoilt for one in failed)
        else f"after {', '.join(one[0] for one in failed)}"
    )
    return CheckResult(
        "reset",
        "failed",
        f"a reset does not bring back the initial state{kept}: {found} ({which})",
        numbers | found.numbers(),
        reproduction.code(context.target, body),
    )


def _kept_names(context: Context, prior: Frames) -> str:
    """Return which parts of a state that is seen by name a reset leaves as they were."""
    with context.session() as session:
        fresh = shown(session)
        record(session, prior.array)
        to_start(session)
        after = shown(session)
    if not isinstance(fresh, dict) or not isinstance(after, dict):
        return ""
    names = [
        repr(name)
        for name in fresh.keys() & after.keys()
        if fresh[name].tobytes() != after[name].tobytes()
    ]
    return f" of {', '.join(sorted(names))}" if names else ""


def _shortest(context: Context, prior: Frames, probe: Frames, fresh: Recording) -> int:
    """Return how few of these frames before the reset still show it."""
    for steps in range(1, len(prior)):
        with context.session() as session:
            record(session, prior.array[:steps])
            to_start(session)
            if difference(fresh, record(session, probe.array)):
                return steps
    return len(prior)


def _fresh_reproduction(target: Target, probe: Frames) -> str:
    body = f"""{reproduction.SAME}
probe = {probe.code}
runs = [bits(record(target.session(), probe)) for _ in range(10)]
assert all(run == runs[0] for run in runs), "new sessions differ from each other"
"""
    return reproduction.code(target, body)


def determinism(target: Target, options: Options | None = None) -> CheckResult:
    """Check that the same frames give the same bits in every new session.

    Example:
        >>> from lstm_fast import LSTM
        >>> from lstm_fast.checks import adapters, determinism
        >>> determinism(adapters.from_lstm(LSTM.random(3, 4))).status
        'passed'
    """
    context = Context(target, options)
    probe = context.frames(32, 30)
    first = context.solo(probe)
    runs = context.options.runs
    for run in range(1, runs):
        found = difference(first, context.solo(probe))
        if found:
            return CheckResult(
                "determinism",
                "failed",
                f"run {run + 1} of the same frames in a new session: {found}",
                {"runs": runs, **found.numbers()},
                _fresh_reproduction(target, probe),
            )
    text = f"{runs} runs of {len(probe)} frames gave the same bits"
    return CheckResult("determinism", "passed", text, {"runs": runs})


def chunks(target: Target, options: Options | None = None) -> CheckResult:
    """Check that several frames at once give what single steps give.

    Example:
        >>> from lstm_fast import LSTM
        >>> from lstm_fast.checks import adapters, chunks
        >>> chunks(adapters.from_lstm(LSTM.random(3, 4))).status  # its streams have run(xs)
        'passed'
    """
    context = Context(target, options)
    probe = context.frames(48, 40)
    with context.session() as session:
        if not callable(getattr(session, "run", None)):
            return CheckResult("chunks", "skipped", "it takes one frame at a time")
    steps = context.solo(probe)
    worst: Difference | None = None
    worst_split: tuple[int, ...] = ()
    for split in (*CHUNKS, (len(probe),)):
        with context.session() as session:
            found = difference(
                Recording(steps.xs, steps.ys),
                Recording(steps.xs, _in_chunks(session, steps, split)),
            )
        if found and (worst is None or found.largest > worst.largest):
            worst, worst_split = found, split
    if worst is None:
        return CheckResult("chunks", "passed", "chunks of any size have the bits of single steps")
    numbers = {"split": list(worst_split), "exact": context.exact, **worst.numbers()}
    allowed = 0.0 if context.exact else ROUNDING * max(1.0, float(np.abs(steps.ys).max()))
    if worst.largest <= allowed:
        text = f"within rounding of single steps: {worst}; no bits are promised"
        return CheckResult("chunks", "passed", text, numbers)
    body = f"""
xs = {probe.code}
single = record(target.session(), xs).ys
session, chunks, split = target.session(), [], {worst_split!r}
while xs.size:
    for n in split:
        chunks.append(np.array(session.run(xs[:n].copy()), np.float32))
        xs = xs[n:]
chunks = np.concatenate(chunks)
assert np.abs(chunks - single).max() <= {allowed!r}, np.abs(chunks - single).max(axis=1)
"""
    text = f"{len(probe)} frames in chunks of {worst_split}: {worst}"
    return CheckResult("chunks", "failed", text, numbers, reproduction.code(target, body))


def _in_chunks(session: Session, steps: Recording, split: tuple[int, ...]) -> np.ndarray:
    """Run the frames in chunks of these sizes, in turns."""
    rest, parts = steps.xs, []
    while len(rest):
        for size in split:
            chunk, rest = rest[:size], rest[size:]
            with theirs("run(xs)"):
                ys = session.run(chunk.copy())  # type: ignore[attr-defined]
            parts.append(to_array(ys, "run(xs)", (len(chunk), steps.ys.shape[1])))
    return np.concatenate(parts)
