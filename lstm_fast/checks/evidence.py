"""What a diagnosis looks at: recordings of one session, several times over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._weights import Weights
from .references import as_weights
from .target import Recording, State, Target, close, open_session, record, reset, state_of

__all__ = ["Evidence", "evidence_of", "gather"]

MOST_STEPS = 512  # in all recordings together


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

    Raises:
        ValueError: there is no recording, or not as many starts.
    """

    recordings: tuple[Recording, ...]
    starts: tuple[State | None, ...] = ()

    def __post_init__(self) -> None:
        if not self.recordings:
            raise ValueError("evidence needs one recording at least")
        if not self.starts:
            object.__setattr__(self, "starts", (None,) * len(self.recordings))
        if len(self.starts) != len(self.recordings):
            raise ValueError(
                f"there are {len(self.recordings)} recordings and {len(self.starts)} starts"
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
        return Evidence(tuple(kept), self.starts[: len(kept)])


def gather(target: Target, weights: Any, *, steps: int = 24, seed: int = 0) -> Evidence:
    """Record what diagnosis needs from a target: fresh, after a reset, from a set state.

    Args:
        target: what to look at; one session of it is made. The last recording is left out where
            its `state` cannot be assigned.
        weights: of the reference, for the sizes: whatever `diagnose` takes.
        steps: of each recording.
        seed: of the frames, standard normal, and of the state.

    A state that is not to be seen, or has other sizes than these weights, is not set either.

    Raises:
        TargetError: see `lstm_fast.checks.target.record`.
    """
    rng = np.random.default_rng(seed)
    weights = weights if isinstance(weights, Weights) else as_weights(weights)
    layers, inputs = len(weights.layers), weights.input_size
    session = open_session(target)
    recordings, starts = [], list[State | None]()

    def note(start: State | None) -> None:
        xs = rng.standard_normal((steps, inputs)).astype(np.float32)
        recordings.append(record(session, xs, name=target.name))
        starts.append(start)

    try:
        for number in range(2):
            if number:
                reset(session)
            note(None)
        shown = state_of(session)
        sizes = (layers, weights.output_size), (layers, weights.hidden_size)
        if shown is None or (shown[0].shape, shown[1].shape) != sizes:
            return Evidence(tuple(recordings), tuple(starts))
        h = np.tanh(rng.standard_normal(sizes[0]) / 2).astype(np.float32)
        c = rng.standard_normal(sizes[1]).astype(np.float32)
        reset(session)
        try:
            session.state = (h.copy(), c.copy())  # type: ignore[attr-defined]
        except Exception:  # it is theirs: whatever it raises, it cannot be set
            return Evidence(tuple(recordings), tuple(starts))
        note((h, c))
    finally:
        close(session)
    return Evidence(tuple(recordings), tuple(starts))


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
