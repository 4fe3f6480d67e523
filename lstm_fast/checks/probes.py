"""Frames to feed to targets, each with the Python that makes them again, to the bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._arrays import Float32

__all__ = ["Frames", "full", "given", "uniform"]


@dataclass(frozen=True)
class Frames:
    """Frames (T, I), float32, and an expression in Python that gives the same."""

    array: Float32
    code: str
    shorter: Callable[[int], str] | None = field(default=None, compare=False)  # code of fewer

    def __len__(self) -> int:
        return len(self.array)

    def first(self, steps: int) -> Frames:
        """Return the first of them."""
        if steps == len(self):
            return self
        code = self.shorter(steps) if self.shorter else f"{self.code}[:{steps}]"
        return Frames(self.array[:steps], code, self.shorter)

    def with_frame(self, at: int, value: float) -> Frames:
        """Return them with one frame full of a value, such as NaN."""
        array = self.array.copy()
        array[at] = value
        where = f"np.arange({len(array)})[:, None] == {at}"
        text = f"np.where({where}, {_number(value)}, {self.code})"
        return Frames(array, text)


def uniform(steps: int, size: int, seed: int, scale: float = 2.0) -> Frames:
    """Return frames of values that are uniform in +-scale, such as features of variance ~1.

    PCG64's stream is the same in all versions of NumPy, and a shorter draw is the beginning of a
    longer one.
    """
    array = np.random.Generator(np.random.PCG64(seed)).random((steps, size)) * 2 - 1

    def code(steps: int) -> str:
        draw = f"np.random.Generator(np.random.PCG64({seed})).random(({steps}, {size}))"
        return f"(({draw} * 2 - 1) * {scale!r}).astype(np.float32)"

    return Frames((array * scale).astype(np.float32), code(steps), code)


def full(steps: int, size: int, value: float) -> Frames:
    """Return frames that hold one value."""

    def code(steps: int) -> str:
        return f"np.full(({steps}, {size}), {_number(value)}, np.float32)"

    return Frames(np.full((steps, size), value, np.float32), code(steps), code)


def given(xs: Any) -> Frames:
    """Return the caller's own frames (T, I); the code holds all their bits."""
    array = np.ascontiguousarray(xs, np.float32)
    if array.ndim != 2:
        raise ValueError(f"frames have shape {array.shape}, expected (T, I)")
    data = array.astype("<f4").tobytes().hex()
    return Frames(
        array, f'np.frombuffer(bytes.fromhex("{data}"), "<f4").reshape({array.shape}).copy()'
    )


def _number(value: float) -> str:
    return repr(float(value)) if np.isfinite(value) else f'np.float32("{float(value)}")'
