"""Whole batches of padded sequences: what calling an LSTM does, in either direction or both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ._arguments import to_float32, to_lengths, to_state
from ._arrays import Float32, LSTMState, StateLike
from ._sizes import no_steps
from ._weights import Direction

if TYPE_CHECKING:
    from ._backends import Core
    from .lstm import LSTM

ROWS = 1024  # in one pool at a time, so that memory stays bounded
Lengths = NDArray[np.uint64]


class Parts:
    """The core of an LSTM that does not run forward: one forward LSTM per layer and direction."""

    def __init__(self, direction: Direction, lstms: list[LSTM]) -> None:
        self.direction = direction
        self.lstms = lstms

    @property
    def isa(self) -> str | None:
        return self.lstms[0].isa

    @property
    def nbytes(self) -> int:
        return sum(lstm.nbytes for lstm in self.lstms)

    def stream(self, lstm: LSTM) -> NoReturn:
        raise ValueError(no_steps(self.direction))

    def pool(self, lstm: LSTM, capacity: int, prepared: int, threads: int) -> NoReturn:
        raise ValueError(no_steps(self.direction))


def run_batch(
    lstm: LSTM, core: Core, xs: Any, state: StateLike | None, lengths: Any
) -> tuple[Float32, LSTMState]:
    """See `LSTM.__call__`."""
    shape = (None, None, lstm.input_size)
    frames = to_float32(xs, "xs", shape, "this LSTM takes %s", free="N, T")
    rows, steps = frames.shape[:2]
    own = np.full(rows, steps, np.uint64)
    if lengths is not None:
        own = to_lengths(lengths, rows, steps, "row")
    stack = (lstm.num_layers * lstm.num_directions, rows)
    sizes = (*stack, lstm.output_size, lstm.hidden_size)
    if state is None:
        start = LSTMState(*(np.repeat(part[:, None], rows, axis=1) for part in lstm.initial_state))
    else:
        start = to_state(state, *sizes, names="num_layers * num_directions, N")
    end = LSTMState.empty(*sizes)
    if not isinstance(core, Parts):
        return _run_forward(lstm, frames, start, own, end), end
    directions = lstm.num_directions
    for n in range(lstm.num_layers):
        outputs = []
        for index in range(n * directions, (n + 1) * directions):
            layer = slice(index, index + 1)
            backwards = lstm.direction == "reverse" or index % directions == 1
            outputs.append(
                _run_layer(
                    core.lstms[index],
                    frames,
                    LSTMState(start.h[layer], start.c[layer]),
                    own,
                    LSTMState(end.h[layer], end.c[layer]),
                    backwards,
                )
            )
        frames = outputs[0] if directions == 1 else np.concatenate(outputs, axis=2)
    return frames, end


def _run_layer(
    lstm: LSTM, xs: Float32, start: LSTMState, own: Lengths, end: LSTMState, backwards: bool
) -> Float32:
    """Run one layer in one direction; backwards begins at each row's own last frame."""
    if not backwards:
        return _run_forward(lstm, xs, start, own, end)
    return _reversed(_run_forward(lstm, _reversed(xs, own), start, own, end), own)


def _reversed(values: Float32, own: Lengths) -> Float32:
    """Return (N, T, ...) with each row's own frames in reverse and zeros behind them."""
    result = np.zeros_like(values)
    for to, row, length in zip(result, values, own.tolist(), strict=True):
        to[:length] = row[:length][::-1]
    return result


def _run_forward(
    lstm: LSTM, xs: Float32, start: LSTMState, own: Lengths, end: LSTMState
) -> Float32:
    """Run each row as a session of its own, in one pool, and leave its last state in `end`."""
    ys = np.empty((*xs.shape[:2], lstm.output_size), np.float32)
    for first in range(0, len(xs), ROWS):
        part = slice(first, first + ROWS)
        rows = range(first, min(first + ROWS, len(xs)))
        pool = lstm.pool(len(rows), prepared=0, threads=1)
        handles = [pool.open((start.h[:, row], start.c[:, row])) for row in rows]
        pool.run(handles, xs[part], own[part], ys[part])
        for row, handle in zip(rows, handles, strict=True):
            end.h[:, row], end.c[:, row] = pool.state(handle)
    return ys
