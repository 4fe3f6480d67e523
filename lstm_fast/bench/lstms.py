"""One LSTM as what is measured."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from .. import reference
from .._arrays import Float32
from . import contenders, peers, rtneural
from .contenders import CHECKED_STEPS, CHECKED_STREAMS, SEED, Contender, Expected, Subject
from .shapes import Shape

FRAME_US = 16_000.0  # 16 ms, as voice activity detectors take


class OneLSTM(Subject):
    """An LSTM with random weights."""

    frame_us = FRAME_US

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.multiply_adds = shape.fmas

    @cached_property
    def _weights(self) -> dict[str, Float32]:
        return contenders.state_dict(self.shape)

    @cached_property
    def _expected(self) -> Expected:
        shape = (CHECKED_STEPS, CHECKED_STREAMS, self.shape.input_size)
        xs = np.random.default_rng(SEED).standard_normal(shape).astype(np.float32)
        hs = [reference.stack(xs[:, n], self._weights)[0] for n in range(CHECKED_STREAMS)]
        return Expected([xs], [np.stack(hs, axis=1)])

    def expected(self) -> Expected:
        """See `Subject`."""
        return self._expected

    def tolerances(self, weights: str) -> list[float]:
        """See `Subject`."""
        return [contenders.TOLERANCES[weights]]

    def ours(self, backend: str, isa: str | None, weights: str) -> Contender:
        """See `Subject`."""
        return contenders.ours(self.shape, backend, isa, weights)

    def our_pool(
        self, backend: str, isa: str | None, weights: str, count: int, capacity: int
    ) -> Contender:
        """See `Subject`."""
        return contenders.our_pool(self.shape, backend, isa, weights, count, capacity)

    def peers(self, name: str, count: int) -> list[Contender]:
        """See `Subject`."""
        if name == rtneural.NAME:
            return rtneural.make(self.shape, self._weights) if count == 1 else []
        if name not in peers.NAMES:
            return []
        return [peers.make(name, self.shape, self._weights, count)]
