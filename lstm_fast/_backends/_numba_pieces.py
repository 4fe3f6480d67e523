"""Long runs of the Numba backend in pieces, between which Python's signal handlers get their turn.

Compiled, so that no handler comes anywhere else: what one raises finds the stream as it was before
the run. As `lf_stream_run_in_pieces` in csrc/stream.c.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numba import carray, types
from numpy.typing import NDArray

from . import _numba_cache as cache
from ._numba_flags import ADVANCES, DONE, FORKED, enter, leave, new_flags
from ._numba_intrinsics import as_float, as_int, call_address

STOPPED = -1
PIECE_BYTES, LEAST_STEP_BYTES = 64 << 20, 4 << 10  # of weights read; some 10 to 20 ms
INT_BITS = 0xFFFFFFFF
ADDRESSES_OF_FLAGS = 5  # see the kernels

python = ctypes.pythonapi
SAVE, RESTORE, CHECK = (
    ctypes.cast(function, ctypes.c_void_p).value or 0
    for function in (
        python.PyEval_SaveThread,
        python.PyEval_RestoreThread,
        python.PyErr_CheckSignals,
    )
)


def piece_steps(nbytes: int) -> int:
    """Return how many steps of a stream with weights of that many bytes are one piece."""
    return PIECE_BYTES // (nbytes + LEAST_STEP_BYTES) or 1


# All are int64: the kernel, its weights and addresses; the same addresses but for flags of its own,
# which are free, as the true ones are held all the time; xs, ys, their bytes per step; the steps,
# and those of a piece; h and c, how many values, and room for what they were; three functions of
# Python.
@cache.compiled(types.int64(types.CPointer(types.int64)))
def _run_in_pieces(arguments):
    kernel, weights, held, inner, x, y, x_bytes, y_bytes = carray(arguments, 8)
    steps, piece, state_p, count, before_p, save, restore, check = carray(arguments, 16)[8:]
    flags, state, before = as_int(carray(as_int(held), 6)[5]), as_float(state_p), as_float(before_p)
    status = enter(flags, ADVANCES)
    if status != DONE:
        return status
    process_p, prepared = as_int(carray(flags, 3)[2]), carray(flags, 3)[1:]
    process = carray(process_p, 1)[0]
    inner_flags = carray(as_int(carray(as_int(inner), 6)[5]), 3)
    inner_flags[1] = prepared[0]
    for j in range(count):
        carray(before, count)[j] = carray(state, count)[j]
    result = DONE
    while steps > 0 and result == DONE:
        now = min(steps, piece)
        thread = call_address(save, ())
        call_address(kernel, (weights, inner, x, y, now))
        call_address(restore, (thread,))
        x, y, steps = x + now * x_bytes, y + now * y_bytes, steps - now
        if steps > 0 and call_address(check, ()) & INT_BITS != 0:
            result = STOPPED
        if carray(process_p, 1)[0] != process:  # a handler has forked, and this is the child
            return FORKED
    if result == STOPPED:
        for j in range(count):
            carray(state, count)[j] = carray(before, count)[j]
    prepared[0] = 0
    leave(flags)
    return result


# Raises what a signal handler has raised, since ctypes looks for that with a function of this type.
_call = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p)(_run_in_pieces.address)


def run_in_pieces(
    kernel: int,
    weights: int,
    addresses: NDArray[np.int64],
    frames: tuple[int, int, int],
    outputs: tuple[int, int],
    state: NDArray[np.float32],
    piece: int,
) -> int:
    """Take many steps, and return what a kernel would.

    Args:
        kernel: its address.
        weights: their address.
        addresses: as a kernel takes them.
        frames: address, bytes of a frame, and how many there are.
        outputs: address, and bytes of one.
        state: h and c.
        piece: how many steps go before Python's signal handlers may have a turn.
    """
    flags, inner, before = new_flags(), addresses.copy(), np.empty_like(state)
    inner[ADDRESSES_OF_FLAGS] = flags.ctypes.data
    x, x_bytes, steps = frames
    y, y_bytes = outputs
    arguments = np.array(
        [
            *(kernel, weights, addresses.ctypes.data, inner.ctypes.data, x, y, x_bytes, y_bytes),
            *(steps, piece, state.ctypes.data, state.size, before.ctypes.data),
            *(SAVE, RESTORE, CHECK),
        ],
        np.int64,
    )
    result: Any = _call(arguments.ctypes.data)
    return int(result)
