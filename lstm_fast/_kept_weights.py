"""The float32 weights behind an LSTM's packed ones: kept, or how to get them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from . import snapshots
from ._arguments import keeps
from ._weights import Weights
from .errors import WeightsNotKeptError

# Gives the weights again, such as by reading a file; a functools.partial, so that it pickles.
Source: TypeAlias = Callable[[], Weights]


class Kept:
    """What `state_dict`, `astype` and pickle need; of an LSTM with small weights often nothing."""

    __slots__ = ("_fingerprint", "source", "weight_dtype", "weights")

    def __init__(
        self, weights: Weights, weight_dtype: str, keep: bool | None, source: Source | None
    ) -> None:
        self.weight_dtype = weight_dtype
        self.source = source
        self.weights = weights if keeps(keep, weight_dtype) else None
        # Of weights that go it is made before they do.
        self._fingerprint = "" if self.weights else snapshots.fingerprint(weights, weight_dtype)

    @property
    def fingerprint(self) -> str:
        if not self._fingerprint and self.weights:
            self._fingerprint = snapshots.fingerprint(self.weights, self.weight_dtype)
        return self._fingerprint

    def get(self) -> Weights:
        """Return the weights.

        Raises:
            WeightsNotKeptError: they were not kept, and there is no file or seed to get them from,
                or it does not give them any more.
        """
        if self.weights is not None:
            return self.weights
        if self.source is None:
            raise WeightsNotKeptError(
                f"this LSTM stores its weights as {self.weight_dtype} and has not kept the float32 "
                "ones that it was made from: make it with keep_weights=True"
            )
        advice = "load it with keep_weights=True where the file may change"
        try:
            weights = self.source()
        except (OSError, ValueError, ImportError) as error:
            raise WeightsNotKeptError(
                f"the float32 weights of this LSTM cannot be read again: {error}; {advice}"
            ) from error
        if snapshots.fingerprint(weights, self.weight_dtype) != self.fingerprint:
            raise WeightsNotKeptError(
                "the file that this LSTM was read from holds other weights by now, so its float32 "
                f"weights cannot be read again; {advice}"
            )
        return weights
