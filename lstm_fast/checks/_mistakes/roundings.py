"""Numbers as smaller types keep them: matrices, and int8 frames and hidden states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ... import reference

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Matrix:
    """A matrix (rows, columns) in float64, with what is computed from it once."""

    value: Float64
    _rounded: dict[str, Matrix] = field(default_factory=dict, repr=False)

    @cached_property
    def norms(self) -> Float64:
        """The Euclidean norm of each row."""
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", self.value, self.value)))

    def rounded(self, how: str) -> Matrix:
        """Return it as a smaller type keeps it; how: see ROUNDINGS, "" is as it is."""
        if how and how not in self._rounded:
            self._rounded[how] = Matrix(ROUNDINGS[how](self.value))
        return self._rounded[how] if how else self


def _int8_blocks(w: Float64, blocks: int) -> Float64:
    """Round to whole numbers of 1/127 of the largest magnitude in each block of rows."""
    parts = w.reshape(blocks, -1)
    largest = np.abs(parts).max(axis=1, keepdims=True)
    scale = np.where(largest == 0, 1.0, largest / 127)
    return np.asarray((np.rint(parts / scale) * scale).reshape(w.shape))


def _int8_rows(w: Float64) -> Float64:
    whole, scale = reference.quantise_rows(w)
    return np.asarray(whole * scale[:, None])


def _bfloat16(w: Float64) -> Float64:
    bits = np.float32(w).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) & np.uint64(0xFFFF0000)
    return np.asarray(rounded.astype(np.uint32).view(np.float32), np.float64)


ROUNDINGS: dict[str, Callable[[Float64], Float64]] = {
    "float16": lambda w: w.astype(np.float16).astype(np.float64),
    "bfloat16": _bfloat16,
    "int8_row": _int8_rows,
    "int8_gate": lambda w: _int8_blocks(w, 4 if len(w) % 4 == 0 else 1),
    "int8_tensor": lambda w: _int8_blocks(w, 1),
}


@dataclass(frozen=True)
class Int8:
    """How 8-bit inputs and hidden states are made and read; the default is our contract's.

    The hidden state, which lives in [-1, 1], is the whole number nearest to h * levels, and is read
    as that times unit. A frame is scaled by its own largest magnitude, unless fixed, and then read
    as x_gain times what it was.
    """

    levels: float = 127.0
    unit: float = 1 / 127
    fixed: bool = False
    x_gain: float = 1.0

    def rounded(self, values: Float64, *, bounded: bool) -> Float64:
        """Return what is read of values (B, n), in [-1, 1] where bounded.

        Disturbed rows are as far apart as they were: which whole number is the nearest is settled
        by the exact row, or else one that is nearly halfway would carry far.
        """
        exact = values[:1]
        read = self.hidden(exact) if bounded else self.frame(exact)
        return read if len(values) == 1 else np.asarray(read + (values - exact))

    def hidden(self, h: Float64) -> Float64:
        whole = np.rint(np.float32(h) * np.float32(self.levels)).clip(-127, 127)
        return np.asarray(whole * self.unit, np.float64)

    def frame(self, x: Float64) -> Float64:
        if self.fixed:
            return self.hidden(x) * self.x_gain
        largest = np.abs(np.float32(x)).max(axis=-1, keepdims=True)
        silent = largest < reference.TINY
        scale = np.float32(127) / np.where(silent, np.float32(1), largest)
        whole = np.where(silent, 0, np.rint(np.float32(x) * scale).clip(-127, 127))
        return np.asarray(whole * (np.float64(largest) / 127 * self.x_gain), np.float64)
