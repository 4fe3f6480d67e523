"""Silero VAD as what a voice activity detector under check should be."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import vad
from ...model import Model
from .._moved import plain
from ..whole_references import WholeReference

if TYPE_CHECKING:
    from ..adapters.vad import VadTarget

__all__ = ["Collecting", "VadReference", "vad_reference"]


class Collecting:
    """A stream of Silero VAD behind chunks of another size: it steps whenever one of its is there.

    A step gives the probability of the newest chunk of its own, and 0 before there was one.
    """

    def __init__(self, stream: Any, chunk: int) -> None:
        self._stream, self._chunk = stream, chunk
        self._rest, self._last = np.zeros(0, np.float32), np.zeros(1, np.float32)

    @property
    def state(self) -> dict[str, Any]:
        """Nothing: it is not to be compared."""
        return {}

    def step(self, x: Any) -> Any:
        """Take samples, as many as there are."""
        self._rest = np.concatenate([self._rest, x])
        while len(self._rest) >= self._chunk:
            self._last = self._stream.step(self._rest[: self._chunk])
            self._rest = self._rest[self._chunk :]
        return self._last


@dataclass(frozen=True)
class VadReference(WholeReference):
    """Silero VAD; file: where it was read from, if that is known. chunk: as the target has it.

    models: those without history that were made of it so far, see `mistakes.Models`.
    """

    file: str | os.PathLike[str] | None = None
    chunk: int = 0
    models: dict[tuple[int, int, str], Model | None] = field(default_factory=dict, compare=False)

    @property
    def own_chunk(self) -> int:
        """The samples that the model takes in a step."""
        return int(self.model.inputs["input"].shape[0])

    def beside(self, stream: Any) -> Any:
        """Return a stream of the model as one that takes the target's frames."""
        return stream if self.chunk == self.own_chunk else Collecting(stream, self.own_chunk)

    def simulate(self, stream: Any, layout: Any, xs: Any) -> Any:
        """Step a stream of the model over the target's frames."""
        return plain(self.beside(stream), layout, xs)


def vad_reference(target: VadTarget, value: Any = None) -> VadReference:
    """Return what a VAD should be.

    Args:
        target: what is checked.
        value: a file that `lstm_fast.vad.silero` reads; None or "silero": that of the installed
            package; or a model that it returned.

    Raises:
        FileNotFoundError, FormatError: as `lstm_fast.vad.silero`.
        ValueError: it is a model of something else, or for another rate.
    """
    rate = target.sampling_rate
    if isinstance(value, VadReference):
        return replace(value, chunk=target.chunk)
    if isinstance(value, WholeReference):
        value = value.model
    if isinstance(value, Model):
        if [one.shape for one in value.inputs.values()] != [(target.own_chunk,)]:
            raise ValueError(
                f"the reference is {value!r}, expected what vad.silero(sampling_rate={rate}) "
                "returns"
            )
        return VadReference(value, chunk=target.chunk)
    file = vad.silero_file() if value is None or value == "silero" else value
    own = "" if value is None or value == "silero" else f"{os.fspath(file)!r}, "
    origin = f"from lstm_fast import vad\n\nreference = vad.silero({own}sampling_rate={rate})"
    model = vad.silero(file, sampling_rate=rate)
    return VadReference(model, origin, file=file, chunk=target.chunk)
