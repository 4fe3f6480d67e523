"""What is timed: an LSTM or a whole model with frames in place, checked before anything."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from .. import LSTM, Model, _backends, available
from .._arrays import Float32
from .._frames import Array
from .._handles import Handles
from ..errors import BackendUnavailableError
from ..model_pool import ModelPool
from . import CannotRunError
from .shapes import Shape
from .timing import Call

CHECKED_STEPS = 32
CHECKED_STREAMS = 3  # with frames of their own; the others of a call take turns with these
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
    """One implementation of one subject."""

    name: str  # "native:avx2", "onnxruntime"
    weights: str  # "float32", "float16", "int8"
    xs: list[Array]  # (n, ...) of each input: the frame of each stream that a step reads; write it
    step: Call
    # (n, ...) of each output, after an even number of steps where two states take turns
    outputs: Callable[[], list[Array]]
    context: Callable[[], AbstractContextManager[Any]] = nullcontext  # to be in while stepping
    prepare: Call | None = None
    run: Callable[[int], Call] | None = None  # a call that takes so many frames of one stream
    isa: str | None = None
    bytes_per_step: int | None = None
    has_own_weights: bool = False  # a peer that brings a model of its own

    @property
    def count(self) -> int:
        """How many streams a call steps."""
        return len(self.xs[0])


class Expected(NamedTuple):
    """What the float64 reference makes of some frames, of each input and each output in a list."""

    frames: list[Array]  # (CHECKED_STEPS, CHECKED_STREAMS, ...)
    outputs: list[Array]  # likewise


class Subject(ABC):
    """What contenders implement: one LSTM with its weights, or one whole model."""

    shape: Shape
    multiply_adds: int  # of a step, in the sums
    frame_us: float | None  # how long a frame lasts where that is known

    @abstractmethod
    def expected(self) -> Expected:
        """Return what is right: the same at each call."""

    @abstractmethod
    def tolerances(self, weights: str) -> list[float]:
        """Return how far each output may be from what is expected, with weights stored so."""

    @abstractmethod
    def ours(self, backend: str, isa: str | None, weights: str) -> Contender | None:
        """Return a stream of ours; None where that backend or these weights are not for it."""

    @abstractmethod
    def our_pool(
        self, backend: str, isa: str | None, weights: str, count: int, capacity: int
    ) -> Contender | None:
        """Return a pool of capacity streams of which a call steps count; None likewise."""

    @abstractmethod
    def peers(self, name: str, count: int) -> list[Contender]:
        """Return what a peer has for count streams a call, nothing where it has no way to do it.

        Raises:
            CannotRunError: it is not installed, or is to be told more.
        """


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

    def run(steps: int) -> Call:
        frames = np.random.default_rng(0).standard_normal((steps, lstm.input_size))
        ys = np.empty((steps, lstm.hidden_size), np.float32)
        # run() without its checks, which are 1 to 4 % of a run this short
        return partial(stream._advance, [frames.astype(np.float32)], steps, [ys])

    return Contender(
        name=name_of(lstm),
        weights=weights,
        xs=[x],
        step=partial(stream.step, x[0], y[0]),
        outputs=lambda: [y],
        prepare=None if backend == "reference" else stream.prepare,  # has nothing to prepare
        run=run,
        isa=lstm.isa,
        bytes_per_step=lstm.nbytes,
    )


def our_pool(
    shape: Shape, backend: str, isa: str | None, weights: str, count: int, capacity: int
) -> Contender:
    """Return a pool of capacity streams of which a call steps count, at random where fewer."""
    lstm = LSTM.random(*shape[1:], seed=SEED, weight_dtype=weights, backend=backend, isa=isa)
    pool = lstm.pool(capacity, prepared=0, threads=1)
    handles = opened(pool, count)
    x, y = _frames_and_answers(lstm, count)
    return Contender(
        name=name_of(lstm),
        weights=weights,
        xs=[x],
        step=partial(pool.step, handles, x, y),
        outputs=lambda: [y],
        isa=lstm.isa,
        bytes_per_step=lstm.nbytes,
    )


def opened(pool: ModelPool, count: int) -> Handles:
    """Fill a pool and return the handles of count of its sessions, at random where not all."""
    handles = np.array([pool.open() for _ in range(pool.capacity)], np.uint64)
    if count < pool.capacity:
        handles = np.random.default_rng(SEED).permutation(handles)[:count].copy()
    return handles


def name_of(ours: Model) -> str:
    """Return "native:avx2", or the backend alone where it has no instruction sets."""
    return ours.backend if ours.isa is None else f"{ours.backend}:{ours.isa}"


def _frames_and_answers(lstm: LSTM, count: int) -> tuple[Float32, Float32]:
    return (
        np.zeros((count, lstm.input_size), np.float32),
        np.zeros((count, lstm.hidden_size), np.float32),
    )


def check(contender: Contender, subject: Subject) -> float:
    """Compare CHECKED_STEPS steps from the start with what is right; return the largest error.

    Of many streams those at the edges and in the middle are compared. Leaves frames of normal
    values in place. A model of a peer's own may be as far off as it likes.

    Raises:
        CannotRunError: it computes something else, so its times would mean nothing.
    """
    expected, count = subject.expected(), contender.count
    turns = np.arange(count) % CHECKED_STREAMS
    some = sorted({0, 1 % count, 7 % count, count // 2, count - 1})
    errors = np.zeros(len(expected.outputs))
    with contender.context():
        for t in range(CHECKED_STEPS):
            for x, frames in zip(contender.xs, expected.frames, strict=True):
                x[:] = frames[t, turns]
            contender.step()
            if t % 2:
                right = [exact[t, turns[some]] for exact in expected.outputs]
                found = [output[some] for output in contender.outputs()]
                errors = np.maximum(errors, _distances(found, right))
    for error, tolerance in zip(errors, subject.tolerances(contender.weights), strict=True):
        if error > tolerance and not (contender.has_own_weights and np.isfinite(error)):
            raise CannotRunError(
                f"{contender.name} with {contender.weights} weights is wrong, so it is not timed: "
                f"{error:.2g} from the reference where {tolerance:.2g} is allowed"
            )
    return float(errors.max(initial=0.0))


def _distances(found: list[Array], right: list[Array]) -> list[float]:
    """Return the largest distance in each output; a NaN is infinitely far."""
    pairs = zip(found, right, strict=True)
    differences = (np.abs(one.astype(np.float64) - exact) for one, exact in pairs)
    return [float(np.nan_to_num(one, nan=np.inf).max(initial=0.0)) for one in differences]
