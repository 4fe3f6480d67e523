"""The LSTM: immutable weights, packed once for a backend, from which streams are made."""

from __future__ import annotations

import operator
import os
import warnings
from collections.abc import Mapping
from typing import Any, final

from . import _backends, snapshots
from ._arrays import Float32, StateLike
from ._weights import Weights, check_weight_dtype, random_weights, read_weights
from .errors import BackendUnavailableError
from .pool import StreamPool, to_count
from .stream import Stream

__all__ = ["LSTM"]

MAX_SIZE = 2**28  # LF_MAX_SIZE in csrc/lstm_fast.h
PREPARED = 64  # sessions that a pool has room to prepare, unless it is told
THREADS = 8  # workspaces at most, unless it is told: each takes some 2 KiB times H
MAX_THREADS = 4096


@final
class LSTM:
    """A stack of LSTM layers with fixed weights, in PyTorch's layout and gate order (i, f, g, o).

    Make one with `from_state_dict` or `random`; then `stream()` gives one session each. It is
    immutable and may be shared between threads. It pickles as its weights and is packed anew where
    it lands; copying returns the object itself.
    """

    __slots__ = (
        "__weakref__",
        "_asked",
        "_backend",
        "_fingerprint",
        "_model",
        "_weight_dtype",
        "_weights",
    )

    _weights: Weights
    _model: _backends.Model
    _backend: str
    _weight_dtype: str
    _fingerprint: str  # made when first asked for
    _asked: str | None  # the backend that the caller named

    def __init__(self) -> None:
        raise TypeError("make an LSTM with LSTM.from_state_dict(...) or LSTM.random(...)")

    @classmethod
    def _build(
        cls, weights: Weights, weight_dtype: str, backend: str | None, isa: str | None
    ) -> LSTM:
        check_weight_dtype(weights, weight_dtype)
        module, isa = _backends.choose(backend, isa)
        self = object.__new__(cls)
        set_once = object.__setattr__
        set_once(self, "_weights", weights)
        set_once(self, "_model", module.build(weights, isa, weight_dtype))
        set_once(self, "_backend", module.name)
        set_once(self, "_weight_dtype", weight_dtype)
        set_once(self, "_asked", backend)
        return self

    @classmethod
    def from_state_dict(
        cls,
        mapping: Mapping[str, Any],
        prefix: str = "",
        *,
        weight_dtype: str = "float32",
        backend: str | None = None,
        isa: str | None = None,
    ) -> LSTM:
        """Make an LSTM from weights under PyTorch's names.

        Args:
            mapping: weight_ih_l0 (4H, I), weight_hh_l0 (4H, H) and so on per layer, as
                `torch.nn.LSTM` has them, or weight_ih and weight_hh as `torch.nn.LSTMCell`; bias_ih
                and bias_hh (4H,) everywhere or nowhere. Values: anything `np.asarray` takes; they
                are rounded to float32. Names that are none of these are ignored.
            prefix: what stands before the names, such as "model.decoder.rnn.".
            weight_dtype: how the packed weights are stored: "float32"; "float16", half the size; or
                "int8", a quarter, with a scale per row, and with 8-bit inputs and hidden state in
                the sums. State and everything else is float32 with each.
            backend: "native", "numba" or "reference"; None takes the environment variable
                LSTM_FAST_BACKEND, or else the best there is.
            isa: of the native backend, such as "avx2" (see `lstm_fast.available`); None takes
                LSTM_FAST_ISA, or else the best of this CPU. All give the same bits.

        Raises:
            TypeError: mapping is no mapping, or a value has no real dtype.
            ValueError: a weight is missing, misshapen, not finite or too large for weight_dtype;
                it is projected or bidirectional; or weight_dtype, backend or isa is unknown, or
                not for this CPU.
            BackendUnavailableError: the backend asked for is not installed.
        """
        return cls._build(read_weights(mapping, prefix), weight_dtype, backend, isa)

    @classmethod
    def random(
        cls,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        seed: int | None = 0,
        bias: bool = True,
        weight_dtype: str = "float32",
        backend: str | None = None,
        isa: str | None = None,
    ) -> LSTM:
        """Make an LSTM with PyTorch's default initialisation: uniform in +-1 / sqrt(hidden_size).

        The same seed gives the same weights everywhere (they are not the weights that PyTorch
        draws for that seed); None draws different ones each time. weight_dtype, backend, isa and
        what is raised: see `from_state_dict`.
        """
        sizes = {
            name: _size(value, name)
            for name, value in (
                ("input_size", input_size),
                ("hidden_size", hidden_size),
                ("num_layers", num_layers),
            )
        }
        weights = random_weights(**sizes, seed=seed, bias=bias)
        return cls._build(weights, weight_dtype, backend, isa)

    def astype(self, weight_dtype: str) -> LSTM:
        """Return an LSTM of the same weights, stored as weight_dtype, on the same backend and ISA.

        It is made from the weights as they were given, so nothing is rounded twice.

        Raises:
            ValueError: weight_dtype is unknown, or a weight is too large for it.
        """
        twin = type(self)._build(self._weights, weight_dtype, self._backend, self.isa)
        object.__setattr__(twin, "_asked", self._asked)
        return twin

    @property
    def input_size(self) -> int:
        """I: the values in one frame."""
        return self._weights.input_size

    @property
    def hidden_size(self) -> int:
        """H: the units of each layer."""
        return self._weights.hidden_size

    @property
    def num_layers(self) -> int:
        """L: the layers, each fed by the one below."""
        return len(self._weights.layers)

    @property
    def output_size(self) -> int:
        """The values that one step returns: hidden_size."""
        return self._weights.hidden_size

    @property
    def backend(self) -> str:
        """What computes: "native", "numba" or "reference"."""
        return self._backend

    @property
    def isa(self) -> str | None:
        """The instruction set of the native backend; None elsewhere."""
        return self._model.isa

    @property
    def weight_dtype(self) -> str:
        """How the packed weights are stored: "float32", "float16" or "int8"."""
        return self._weight_dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the packed weights, which is what one step reads of them."""
        return self._model.nbytes

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of the weights and how they are stored: what a snapshot is bound to."""
        try:
            return self._fingerprint
        except AttributeError:
            object.__setattr__(self, "_fingerprint", snapshots.fingerprint(self))
            return self._fingerprint

    def state_dict(self) -> dict[str, Float32]:
        """Return copies of the weights under the names of `torch.nn.LSTM`.

        They are the float32 weights that this was made from, to the bit, whatever weight_dtype is.
        """
        return self._weights.state_dict()

    def stream(self, state: StateLike | None = None) -> Stream:
        """Return a new session that starts from zeros, or from state.

        Args:
            state: a pair (h, c), each of shape (num_layers, hidden_size), such as `stream.state`.

        Raises:
            TypeError, ValueError: state is no such pair.
        """
        stream = self._model.stream(self)
        if state is not None:
            stream.state = state
        return stream

    def pool(
        self, capacity: int, *, prepared: int | None = None, threads: int | None = None
    ) -> StreamPool:
        """Return a pool for many sessions that are stepped together over one pass of the weights.

        Args:
            capacity: how many sessions can be open at once, 1 to 2**24. All memory is taken here;
                `StreamPool.grow` adds to it.
            prepared: for how many of them `StreamPool.prepare` can keep the work done ahead, of
                4 * H * L floats each; None: 64, or the capacity where that is less.
            threads: how many threads can compute in the pool at the same time, each with a
                workspace of its own; more wait for one. None: as many as this process has CPUs,
                at most 8.

        Raises:
            TypeError: a number is no integer.
            ValueError: it is out of range.
            MemoryError: there is not enough.
        """
        size = to_count(capacity, "capacity", 1)
        halves = min(size, PREPARED) if prepared is None else to_count(prepared, "prepared", 0)
        workspaces = (
            min(usable_cpus(), THREADS)
            if threads is None
            else to_count(threads, "threads", 1, MAX_THREADS)
        )
        return self._model.pool(self, size, halves, workspaces)

    def __repr__(self) -> str:
        dtype = "" if self.weight_dtype == "float32" else f"weight_dtype={self.weight_dtype!r}, "
        isa = "" if self.isa is None else f", isa={self.isa!r}"
        return (
            f"LSTM({self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, "
            f"{dtype}backend={self.backend!r}{isa})"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"an LSTM is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an LSTM is immutable: cannot delete {name!r}")

    def __copy__(self) -> LSTM:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> LSTM:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self.state_dict(), self._weight_dtype, self._asked)


def usable_cpus() -> int:
    """Return how many CPUs this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # some systems have no such thing, some sandboxes forbid it
        return os.cpu_count() or 1


def _size(value: Any, name: str) -> int:
    try:
        size = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, found {type(value).__name__}") from None
    if size < 1:
        raise ValueError(f"{name} must be 1 or more, found {size}")
    if size > MAX_SIZE:
        raise ValueError(f"{name} must be at most {MAX_SIZE}, found {size}")
    return size


def _unpickle(weights: dict[str, Float32], weight_dtype: str, backend: str | None) -> LSTM:
    try:
        return LSTM.from_state_dict(weights, weight_dtype=weight_dtype, backend=backend)
    except BackendUnavailableError as error:
        warnings.warn(f"{error}; unpickled for the best backend here", RuntimeWarning, stacklevel=2)
        return LSTM.from_state_dict(weights, weight_dtype=weight_dtype)
