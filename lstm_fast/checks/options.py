"""What can be chosen about the checks."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Options"]


@dataclass(frozen=True)
class Options:
    """How thorough the checks are, and what is judged.

    Args:
        seed: of all frames.
        scale: frames are uniform in +-scale.
        exact: whether a batch and a chunk must have the same bits as single steps; None takes what
            the target promises (`Target.exact`). Where they need not, rounding is allowed.
        output_is_h: whether the output is the last layer's h where it has its size; False: a head
            follows, and only the state can be compared.
        drift_steps: of the drift check.
        drift_seconds: after half of that time it goes on in chunks where a session has a `run`;
            after all of it, it ends, and says so.
        samples: steps that are timed for each of the figures of latency and slow paths.
        timing_seconds: after that time each ends with what it has.
        slow_ratio: what subnormal, decaying or saturated input may cost, as a multiple of the
            median step: more is a failure. None: more than 3 (`speed.SLOW_RATIO`) is a warning.
        sessions: how many run interleaved.
        threads: how many run at once; 0 is none.
        runs: of the same frames, for determinism.
        activation: what an activation may be off by, see `bounds`.

    Example:
        >>> from lstm_fast import LSTM, checks
        >>> lstm = LSTM.random(3, 4)
        >>> quick = Options(drift_steps=1000, samples=20, timing_seconds=0.1)
        >>> checks.run(checks.adapters.from_lstm(lstm), lstm, quick, only=["drift"]).passed
        True
    """

    seed: int = 0
    scale: float = 2.0
    exact: bool | None = None
    output_is_h: bool = True
    drift_steps: int = 100_000
    drift_seconds: float = 40.0
    samples: int = 2000
    timing_seconds: float = 2.0
    slow_ratio: float | None = None
    sessions: int = 4
    threads: int = 4
    runs: int = 5
    activation: float = 2.0**-20

    def __post_init__(self) -> None:
        for name, least in (("sessions", 2), ("runs", 2), ("samples", 10), ("drift_steps", 100)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be {least} or more, found {getattr(self, name)}")
        for name in ("scale", "timing_seconds", "drift_seconds"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be above 0 and finite, found {getattr(self, name)}")
        if self.slow_ratio is not None and not self.slow_ratio > 1:
            raise ValueError(f"slow_ratio must be above 1, found {self.slow_ratio}")


DEFAULT = Options()
