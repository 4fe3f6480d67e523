"""What a diagnosis looks at: recordings of one session, several times over."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._weights import Weights
from ._context import ROUNDING
from .charging import charging, rising
from .oracle import Oracle
from .references import as_weights
from .target import (
    Recording,
    Session,
    State,
    Target,
    close,
    open_session,
    record,
    reset,
    state_of,
    step,
)

__all__ = ["Evidence", "evidence_of", "gather"]

AROUND = 48  # steps that are kept around a late one
MOST_STEPS = 512  # in all recordings together
RISING = "after a reset, with frames that grow"
CHARGED = "after a reset, with frames that make cells large"


@dataclass(frozen=True)
class Evidence:
    """What one session did, several times over.

    Args:
        recordings: in the order in which they were made, by one session. Before each it was reset
            (or new). Two are needed to see what a reset leaves behind; 20 to 50 steps each are
            enough, and of more than 512 in all the rest is not looked at. h and c in them are not
            needed, but make it surer.
        starts: for each, the state (h (L, P), c (L, H)) that it was set to before its first step,
            or None where it was reset. Empty: none was set.
        labels: for each, what to say of it, such as "after a reset". Empty: as it was started.
        done: for each, the steps that were taken before it since the reset. Empty: none.

    Raises:
        ValueError: there is no recording, or not as many starts, labels or done.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM, checks
        >>> lstm = LSTM.random(3, 4)
        >>> one = checks.record(checks.adapters.from_lstm(lstm), np.ones((20, 3)))
        >>> diagnose(Evidence((one,)), lstm).agrees
        True
    """

    recordings: tuple[Recording, ...]
    starts: tuple[State | None, ...] = ()
    labels: tuple[str, ...] = ()
    done: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.recordings:
            raise ValueError("evidence needs one recording at least")
        count = len(self.recordings)
        for name, filled in (("starts", (None,)), ("labels", ("",)), ("done", (0,))):
            if not getattr(self, name):
                object.__setattr__(self, name, filled * count)
            if len(getattr(self, name)) != count:
                raise ValueError(
                    f"there are {count} recordings and {len(getattr(self, name))} {name}"
                )

    def label(self, number: int) -> str:
        """Say how a recording was made."""
        if self.labels[number]:
            return self.labels[number]
        if self.starts[number] is not None:
            return f"of recording {number}, from a state that was set"
        return "of a new session" if number == 0 else f"of recording {number}, after a reset"

    def only(self, chosen: Sequence[int]) -> Evidence:
        """Return some of the recordings, by number."""
        return Evidence(
            tuple(self.recordings[n] for n in chosen),
            tuple(self.starts[n] for n in chosen),
            tuple(self.labels[n] for n in chosen),
            tuple(self.done[n] for n in chosen),
        )

    def first_steps(self, most: int) -> Evidence:
        """Return what was recorded up to that many steps."""
        kept, left = [], most
        for recording in self.recordings:
            if left == 0:
                break
            cut: dict[str, Any] = {
                name: None if value is None else value[:left]
                for name in ("xs", "ys", "hs", "cs")
                for value in [getattr(recording, name)]
            }
            kept.append(replace(recording, **cut))
            left -= len(kept[-1])
        count = len(kept)
        return Evidence(tuple(kept), self.starts[:count], self.labels[:count], self.done[:count])


def gather(
    target: Target, weights: Any, *, steps: int = 24, seed: int = 0, large: bool = True
) -> Evidence:
    """Record what diagnosis needs from a target: fresh, after a reset, from a set state.

    Then, after resets, with frames that grow and with some that make cells large.

    Args:
        target: what to look at; one session of it is made. The last recording is left out where
            its `state` cannot be assigned.
        weights: those that it should have: whatever `diagnose` takes.
        steps: of each of the first three recordings.
        large: whether to record large cells and frames, too.
        seed: of the frames, standard normal, and of the state.

    A state that is not to be seen, or has other sizes than these weights, is not set either.

    Raises:
        TargetError: see `lstm_fast.checks.target.record`.

    Example:
        >>> from lstm_fast import LSTM
        >>> from lstm_fast.checks import adapters
        >>> lstm = LSTM.random(3, 4)
        >>> evidence = gather(adapters.from_lstm(lstm), lstm, steps=10)
        >>> [len(one) for one in evidence.recordings[:3]]  # new, after a reset, from a set state
        [10, 10, 10]
    """
    rng = np.random.default_rng(seed)
    weights = weights if isinstance(weights, Weights) else as_weights(weights)
    session, inputs = open_session(target), weights.input_size
    made = _Made(session, target.name)
    try:
        for number in range(2):
            if number:
                reset(session)
            made.note(rng.standard_normal((steps, inputs)).astype(np.float32))
        state = _settable(session, weights, rng)
        if state is not None:
            made.note(rng.standard_normal((steps, inputs)).astype(np.float32), state)
        if large:
            reset(session)
            made.note(rising(inputs, seed).array, label=RISING)
            for frames in charging(weights, seed):
                reset(session)
                made.note(frames.array, label=CHARGED)
    finally:
        close(session)
    return made.evidence()


def gather_later(
    target: Target, weights: Any, *, steps: int = 10_000, seconds: float = 5.0, seed: int = 1
) -> Evidence | None:
    """Step one session until its output is off, and record the steps around that.

    The recording starts from the state that float64 has there.

    Args:
        target: what to look at; its output should be h.
        weights: those that it should have.
        steps: as many at most.
        seconds: as long at most.
        seed: of the frames, standard normal.

    Returns:
        The evidence, or None where nothing is off in that many steps, or the output is not h.
    """
    weights = weights if isinstance(weights, Weights) else as_weights(weights)
    rng, oracle, session = np.random.default_rng(seed), Oracle(weights), open_session(target)
    kept: deque[tuple[Any, Any, Any, Any]] = deque(maxlen=AROUND)  # state, frame, output, state
    end, left = time.monotonic() + seconds, steps
    after = None  # steps to go once one was off
    try:
        while left and after != 0:
            before = oracle.h.copy(), oracle.c.copy()
            x = rng.standard_normal(weights.input_size).astype(np.float32)
            y, exact = step(session, x), oracle.step(x)
            if y.shape != exact.shape:
                return None
            kept.append((before, x, y, state_of(session)))
            off = not np.abs(y - exact).max() <= ROUNDING
            after = after - 1 if after is not None else AROUND // 2 if off else None
            left -= 1
            if after is None and time.monotonic() > end:
                return None
    finally:
        close(session)
    if after is None:
        return None
    befores, xs, ys, states = zip(*kept, strict=True)
    seen = None if any(state is None for state in states) else list(zip(*states, strict=True))
    hs, cs = (None, None) if seen is None else map(np.stack, seen)
    made = Recording(np.stack(xs), np.stack(ys), hs, cs, target.name)
    return Evidence((made,), (befores[0],), ("after a reset",), (steps - left - len(kept),))


class _Made:
    """What was recorded so far."""

    def __init__(self, session: Session, name: str) -> None:
        self._session, self._name = session, name
        self._recordings = list[Recording]()
        self._starts, self._labels = list[State | None](), list[str]()

    def note(self, xs: Any, start: State | None = None, label: str = "") -> None:
        """Record the session from where it is."""
        self._recordings.append(record(self._session, xs, name=self._name))
        self._starts.append(start)
        self._labels.append(label)

    def evidence(self) -> Evidence:
        return Evidence(tuple(self._recordings), tuple(self._starts), tuple(self._labels))


def _settable(session: Session, weights: Weights, rng: np.random.Generator) -> State | None:
    """Reset a session and set its state; return that state, or None where it can't be set."""
    sizes = [(len(weights.layers), n) for n in (weights.output_size, weights.hidden_size)]
    shown = state_of(session)
    if shown is None or [part.shape for part in shown] != sizes:
        return None
    h = np.tanh(rng.standard_normal(sizes[0]) / 2).astype(np.float32)
    c = rng.standard_normal(sizes[1]).astype(np.float32)
    reset(session)
    try:
        session.state = (h.copy(), c.copy())  # type: ignore[attr-defined]
    except Exception:  # it is theirs: whatever it raises, it cannot be set
        return None
    return h, c


def evidence_of(given: Evidence | Recording | Sequence[Recording], weights: Weights) -> Evidence:
    """Return evidence, cut to what is looked at.

    Raises:
        TypeError: it is a target, of which nothing was recorded yet.
        ValueError: it does not fit the weights, or holds no step; the LSTM does not run forwards.
    """
    if isinstance(given, Target):
        raise TypeError(
            f"expected recordings, found a target: gather({given.name}, ...) makes them"
        )
    if isinstance(given, Recording):
        given = [given]
    evidence = given if isinstance(given, Evidence) else Evidence(tuple(given))
    if weights.direction != "forward":
        raise ValueError(f"diagnosis is for LSTMs that run forwards, not {weights.direction}")
    layers = len(weights.layers)
    state = {"h": (layers, weights.output_size), "c": (layers, weights.hidden_size)}
    for number, (one, start) in enumerate(zip(evidence.recordings, evidence.starts, strict=True)):
        sizes: dict[str, tuple[int, ...]] = {"xs": (weights.input_size,)}
        sizes["ys"] = (weights.output_size,)
        for part in state:  # any number of layers may be shown: one may be missing
            seen = getattr(one, f"{part}s")
            count = layers if seen is None or seen.ndim != 3 else seen.shape[1]
            sizes[f"{part}s"] = (count, state[part][1])
        for name, shape in sizes.items():
            value = getattr(one, name)
            if value is not None and value.shape != (len(one.xs), *shape):
                text = ", ".join(map(str, (len(one.xs), *shape)))
                raise ValueError(
                    f"recordings[{number}].{name} has shape {value.shape}, expected ({text})"
                )
        for part, value in zip(state, start or (), strict=False):
            if np.shape(value) != state[part]:
                raise ValueError(
                    f"{part} of starts[{number}] has shape {np.shape(value)}, expected "
                    f"{state[part]}"
                )
    if not any(len(one.xs) for one in evidence.recordings):
        raise ValueError("there is no step in the recordings")
    return evidence.first_steps(MOST_STEPS)
