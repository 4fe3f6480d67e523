"""An LSTM of this package as a target, on any backend."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._arrays import Float32
from ...lstm import LSTM
from ...stream import Stream
from ..target import Target

__all__ = ["LstmTarget", "from_lstm"]


def from_lstm(lstm: LSTM, *, name: str | None = None, origin: str | None = None) -> LstmTarget:
    """Return an `lstm_fast.LSTM` as a target: its streams, and its pools as batches.

    Raises:
        TypeError: it is not an LSTM.
        ValueError: it does not run forward.

    Example:
        >>> from lstm_fast import LSTM
        >>> from_lstm(LSTM.random(3, 4)).output_size
        4
    """
    return LstmTarget(lstm, name, origin)


class LstmTarget(Target):
    """See `from_lstm`.

    Example:
        >>> from lstm_fast import LSTM
        >>> target = from_lstm(LSTM.random(3, 4), name="mine")
        >>> target.name, target.input_size, target.lstm.hidden_size
        ('mine', 3, 4)
    """

    exact = True

    def __init__(self, lstm: LSTM, name: str | None = None, origin: str | None = None) -> None:
        if not isinstance(lstm, LSTM):
            raise TypeError(f"expected an lstm_fast.LSTM, found {type(lstm).__name__}")
        lstm.stream()  # says why, where it cannot
        isa = f":{lstm.isa}" if lstm.isa else ""
        self.lstm, self.origin = lstm, origin
        self.name = name or f"lstm_fast {lstm.backend}{isa} {lstm.weight_dtype}"
        self.input_size, self.output_size = lstm.input_size, lstm.output_size

    def session(self) -> Stream:
        """Return a new stream."""
        return self.lstm.stream()

    def batch(self, n: int) -> _Pool:
        """Return n sessions of one pool."""
        return _Pool(self.lstm, n)


class _Pool:
    def __init__(self, lstm: LSTM, n: int) -> None:
        self._pool = lstm.pool(n)
        self._handles = np.array([self._pool.open() for _ in range(n)], np.uint64)

    def reset(self) -> None:
        for handle in self._handles:
            self._pool.reset(int(handle))

    def step(self, xs: Float32, /) -> Any:
        return self._pool.step(self._handles, xs)
