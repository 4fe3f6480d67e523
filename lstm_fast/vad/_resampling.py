"""From one sample rate to another, block by block, each a pure function of the samples around it.

A block of output is computed from a window of input, the block's own samples and a margin on both
sides, by windowed sinc filters (Kaiser's window: J. O. Smith, Spectral Audio Signal Processing,
"Kaiser window", where A, beta and the length come from). So all that has to be kept between blocks
is raw samples, and how a stream was cut cannot matter. The filters of a row of outputs are one
matrix, the rows of a block one convolution: a program of lstm_fast, whose sums have a stated order,
so that a block has the same bits on every CPU.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._made_once import made_once
from ..model import Model
from ..program import Input, Op, Output, Program, Tensor

LOWEST, HIGHEST = 4000, 384000  # rates that are taken, Hz
LONGEST_PERIOD = 0.040  # s after which both rates meet again; 11025 Hz and 16 kHz need that
BLOCK_SECONDS = 0.010  # about; as short as the periods allow, for a block waits for its last sample
ROW = 16  # outputs that share a row of the matrix, at least: fewer rows are fewer passes over it
TRANSITION = 0.1  # of the lower Nyquist frequency, below it: from what passes to what does not
STOPBAND_DB = 90.0  # what is left of what does not pass: less than half a step of 16 bits


@dataclass(frozen=True)
class Resampler:
    """How blocks of one rate become blocks of another.

    model: takes "window" (1, margin + block_in + margin), returns "block" (block_out,).
    """

    rate: int
    to_rate: int
    block_in: int
    block_out: int
    margin: int
    model: Model

    @property
    def window(self) -> int:
        """How many samples a block is computed from."""
        return self.block_in + 2 * self.margin


def check_rate(rate: int, to_rate: int) -> int:
    """Return rate as an int.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is out of range, or meets the other one too rarely.
    """
    if isinstance(rate, bool) or not isinstance(rate, (int, np.integer)):
        raise TypeError(f"rate is {rate!r}, expected an integer, in Hz")
    rate = int(rate)
    if not LOWEST <= rate <= HIGHEST:
        raise ValueError(f"rate is {rate} Hz, expected {LOWEST} to {HIGHEST}")
    period = 1 / math.gcd(rate, to_rate)
    if period > LONGEST_PERIOD:
        raise ValueError(
            f"rate is {rate} Hz: its samples and those at {to_rate} Hz meet only every "
            f"{period:.3g} s, and {LONGEST_PERIOD:g} s is the most that is taken; resample to a "
            f"common rate, such as {to_rate}, before"
        )
    return rate


@made_once(most=32)
def resampler(rate: int, to_rate: int, backend: str | None = None) -> Resampler:
    """Return what makes samples at to_rate of those at rate; it is made once for each pair.

    Raises:
        TypeError, ValueError: see `check_rate`.
    """
    rate = check_rate(rate, to_rate)
    common = math.gcd(rate, to_rate)
    row_in, row_out = rate // common, to_rate // common
    periods = max(1, -(-ROW // row_out))
    row_in, row_out = row_in * periods, row_out * periods
    rows = max(1, round(BLOCK_SECONDS * to_rate / row_out))
    filters, margin = _filters(rate, to_rate, row_in, row_out)
    window = rows * row_in + 2 * margin
    program = Program(
        inputs=(Input("window", 0, (1, window)),),
        outputs=(Output("block", 4),),
        states=(),
        tensors=(
            *(Tensor((1, window)), Tensor((row_out, 1, filters.shape[1]))),
            *(Tensor((row_out, rows)), Tensor((rows, row_out)), Tensor((rows * row_out,))),
        ),
        constants={1: filters[:, None, :]},
        ops=(
            Op("conv", (0, 1), (2,), {"stride": row_in}),
            Op("transpose", (2,), (3,), {"order": (1, 0)}),
            Op("reshape", (3,), (4,), {"shape": (rows * row_out,)}),
        ),
    )
    model = Model.from_program(program, backend=backend)
    return Resampler(rate, to_rate, rows * row_in, rows * row_out, margin, model)


def _filters(rate: int, to_rate: int, row_in: int, row_out: int) -> tuple[NDArray[np.float32], int]:
    """Return the filters of a row of outputs (row_out, row_in + 2 margin), and the margin."""
    nyquist = min(rate, to_rate) / 2
    width = TRANSITION * nyquist
    beta = 0.1102 * (STOPBAND_DB - 8.7)
    taps = (STOPBAND_DB - 8) / (2.285 * 2 * math.pi * width / rate)
    margin = math.ceil(taps / 2)
    cutoff = (2 * nyquist - width) / rate  # in the middle of the transition; 1 is Nyquist's
    filters = np.zeros((row_out, row_in + 2 * margin), np.float32)
    for n, row in enumerate(filters):
        at = n * (rate / to_rate)  # of an output, in samples of the input
        # All is zero beyond the margin, which of most rates is nearly all of a row.
        near = slice(math.floor(at), math.floor(at) + 2 * margin + 2)
        distance = np.arange(len(row))[near] - margin - at
        inside = 1 - (distance / margin) ** 2
        window = np.where(inside >= 0, np.i0(beta * np.sqrt(np.maximum(inside, 0))), 0)
        whole = np.zeros(len(row))
        whole[near] = np.sinc(cutoff * distance) * window
        row[:] = whole / whole.sum()
    return filters, margin
