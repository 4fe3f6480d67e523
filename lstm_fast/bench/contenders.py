"""What is timed: an LSTM with frames in place and answers at hand, checked before anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from .. import LSTM, _backends, available, reference
from .._arrays import Float32
from ..errors import BackendUnavailableError
from . import CannotRunError
from .shapes import Shape
from .timing import Call

CHECKED_STEPS = 32
SEED = 1

# How far a contender's h may be from the float64 reference with the float32 weights, absolute; |h|
# is below 1. This is to tell a wrong LSTM from a right one, whose error is some tenth of it; how
# right it is, the tests say. With the weights here, uniform in +-1/sqrt(H), and frames of unit
# variance, a gate's sum is of the order 1 whatever the size, and errs by about
#     float32    sqrt(K) roundings of 2^-24 each,                                    2e-6
#     float16    roundings of the weights, 2^-12 relative, that add up like noise:   1e-4
#     int8       steps of max|w| / 127 and max|x| / 127, uniform in +- half a step:  5e-3
# of which the activations pass on at most half, and the cell keeps about the last two steps; the
# largest of all units and steps is some five deviations out.
TOLERANCES = {"float32": 1e-5, "float16": 2e-3, "int8": 5e-2}


@dataclass
class Contender:
    """One implementation at one shape."""

    name: str  # "native:avx2", "onnxruntime"
    weights: str  # "float32", "float16", "int8"
    x: Float32  # (n, I): the frame of each stream that a step reads; write into it
    step: Call
    # (n, H): the h of each, after an even number of steps where two states take turns
    output: Callable[[], Float32]
    context: Callable[[], AbstractContextManager[Any]] = nullcontext  # to be in while stepping
    prepare: Call | None = None
    run: Callable[[Float32, Float32], object] | None = None  # many frames (T, I) into (T, H)
    isa: str | None = None
    bytes_per_step: int | None = None


def state_dict(shape: Shape) -> dict[str, Float32]:
    """Return the weights that every contender at that shape has."""
    return LSTM.random(*shape[1:], seed=SEED, backend="reference").state_dict()


def choose(backends: str | None, isas: str | None) -> list[tuple[str, str | None]]:
    """Return (backend, ISA) of what is asked for by names with commas, or "all", or None: the best.

    Raises:
        CannotRunError: a name is unknown, or can't run here.
    """
    here: dict[str, list[str]] = {}
    for name in available():
        backend, _, isa = name.partition(":")
        here.setdefault(backend, []).append(isa)
    try:
        module, best_isa = _backends.choose(None, None)
    except (ValueError, BackendUnavailableError) as error:
        raise CannotRunError(str(error)) from None
    chosen: list[tuple[str, str | None]] = []
    for backend in _names(backends, [*here], module.name, "backend"):
        if backend != "native":
            chosen.append((backend, None))
            continue
        for isa in _names(isas, here["native"], best_isa or here["native"][0], "ISA"):
            chosen.append((backend, isa))
    if isas is not None and not any(backend == "native" for backend, _ in chosen):
        raise CannotRunError(f"ISAs are for the native backend; asked for is {chosen[0][0]!r}")
    return chosen


def _names(asked: str | None, here: Sequence[str], best: str, what: str) -> list[str]:
    if asked is None:
        return [best]
    names = [*here] if asked == "all" else [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in here:
            raise CannotRunError(f"{what} {name!r} can't run here; choose from {', '.join(here)}")
    return names


def ours(shape: Shape, backend: str, isa: str | None, weights: str) -> Contender:
    """Return one of our own LSTMs."""
    lstm = LSTM.random(*shape[1:], seed=SEED, weight_dtype=weights, backend=backend, isa=isa)
    stream = lstm.stream()
    x, y = _frames_and_answers(lstm, 1)
    return Contender(
        name=_name(lstm),
        weights=weights,
        x=x,
        step=partial(stream.step, x[0], y[0]),
        output=lambda: y,
        prepare=None if backend == "reference" else stream.prepare,  # has nothing to prepare
        run=stream._advance,  # run() without its checks, which are 1 to 4 % of a run this short
        isa=lstm.isa,
        bytes_per_step=lstm.nbytes,
    )


def our_pool(
    shape: Shape, backend: str, isa: str | None, weights: str, count: int, capacity: int
) -> Contender:
    """Return a pool of capacity streams of which a call steps count, at random where fewer."""
    lstm = LSTM.random(*shape[1:], seed=SEED, weight_dtype=weights, backend=backend, isa=isa)
    pool = lstm.pool(capacity, prepared=0, threads=1)
    handles = np.array([pool.open() for _ in range(capacity)], np.uint64)
    if count < capacity:
        handles = np.random.default_rng(SEED).permutation(handles)[:count].copy()
    x, y = _frames_and_answers(lstm, count)
    return Contender(
        name=_name(lstm),
        weights=weights,
        x=x,
        step=partial(pool.step, handles, x, y),
        output=lambda: y,
        isa=lstm.isa,
        bytes_per_step=lstm.nbytes,
    )


def _name(lstm: LSTM) -> str:
    return lstm.backend if lstm.isa is None else f"{lstm.backend}:{lstm.isa}"


def _frames_and_answers(lstm: LSTM, count: int) -> tuple[Float32, Float32]:
    return (
        np.zeros((count, lstm.input_size), np.float32),
        np.zeros((count, lstm.hidden_size), np.float32),
    )


def check(contender: Contender, weights: dict[str, Float32]) -> float:
    """Compare CHECKED_STEPS steps from zeros with the float64 reference; return the largest error.

    Of many streams, each with frames of its own, those at the edges and in the middle are compared.
    Leaves frames of normal values in place.

    Raises:
        CannotRunError: it computes something else, so its times would mean nothing.
    """
    frames = np.random.default_rng(SEED).standard_normal((CHECKED_STEPS, *contender.x.shape))
    xs = frames.astype(np.float32)
    count = len(contender.x)
    some = sorted({0, 1 % count, 7 % count, count // 2, count - 1})
    exact = np.stack([reference.stack(xs[:, n], weights)[0] for n in some], axis=1)
    error = 0.0
    with contender.context():
        for t, (x, h) in enumerate(zip(xs, exact, strict=True)):
            contender.x[:] = x
            contender.step()
            if t % 2:
                difference = np.abs(contender.output()[some] - h)
                error = max(error, float(np.nan_to_num(difference, nan=np.inf).max()))
    tolerance = TOLERANCES[contender.weights]
    if error > tolerance:
        raise CannotRunError(
            f"{contender.name} with {contender.weights} weights is wrong, so it is not timed: "
            f"{error:.2g} from the reference where {tolerance:.2g} is allowed"
        )
    return error
