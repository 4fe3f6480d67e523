"""The types of arrays and states, and the form in which values are stored."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float32: TypeAlias = NDArray[np.float32]
FLOAT32 = np.dtype(np.float32)
SMALLEST_NORMAL = np.float32(2.0**-126)


StateLike: TypeAlias = tuple[ArrayLike, ArrayLike]  # h and c


class LSTMState(NamedTuple):
    """The state of a stream, float32: h (num_layers, output_size), c (num_layers, hidden_size).

    output_size is hidden_size, or proj_size where there is a projection.

    Example:
        >>> from lstm_fast import LSTM
        >>> h, c = LSTM.random(3, 4, num_layers=2).stream().state
        >>> h.shape, c.shape
        ((2, 4), (2, 4))
    """

    h: Float32
    c: Float32

    @property
    def is_finite(self) -> bool:
        """Whether no value is NaN or infinite."""
        return bool(np.isfinite(self.h).all() and np.isfinite(self.c).all())

    @classmethod
    def empty(cls, *sizes: int) -> LSTMState:
        """Return one to be filled; sizes: what stands before, output_size, hidden_size."""
        *before, output_size, hidden_size = sizes
        h = np.empty((*before, output_size), np.float32)
        return cls(h, np.empty((*before, hidden_size), np.float32))


def canonical(values: Float32) -> Float32:
    """Return a copy in canonical form: no subnormals (zeros of their sign), one NaN.

    This is the contract's treatment of inputs and state; see csrc/lstm_fast.h.
    """
    result = np.where(
        np.abs(values) < SMALLEST_NORMAL, np.copysign(FLOAT32.type(0), values), values
    )
    result[np.isnan(result)] = np.float32(np.nan)
    return result
