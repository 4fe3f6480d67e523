"""What every check is given: a target, options, and ways to run sessions that are then freed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from .options import DEFAULT, Options
from .probes import Frames
from .target import Recording, Session, Target, check_target, close, open_session, record

ROUNDING = 2.0**-12
"""What rounding alone may change of values near 1 in a few dozen steps, where no bits are promised.

Steps that differ by float32 rounding (2^-24, some dozen times) stay within 2^-18 in every framework
that was tried; a state in the wrong place, or a quantisation that depends on the batch, makes 2^-8
and more. This stands between.
"""

SEE_DETERMINISM = "; see determinism"
"""Ends a text; left out of a report without that check."""


class Context:
    """A target with what a check needs to use it."""

    def __init__(self, target: Target, options: Options | None = None) -> None:
        check_target(target)
        self.target = target
        self.options = options or DEFAULT

    @property
    def exact(self) -> bool:
        """Whether batches and chunks must have the bits of single steps."""
        wanted = self.options.exact
        return self.target.exact if wanted is None else wanted

    def frames(self, steps: int, number: int = 0, scale: float = 1.0) -> Frames:
        """Return frames; each number gives others."""
        options = self.options
        seed = options.seed * 1000 + number
        return self.target.drawn(steps, seed, options.scale * scale)

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Give a new session, and close it at the end."""
        session = open_session(self.target)
        try:
            yield session
        finally:
            close(session)

    def solo(self, frames: Frames) -> Recording:
        """Record a new session over frames."""
        return record(self.target, frames.array)
