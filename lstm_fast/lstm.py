"""The LSTM: immutable weights, packed once for a backend, from which streams are made."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, final

from . import _backends, _call_instead, snapshots
from ._arguments import keeps, to_count, to_size
from ._arrays import Float32, LSTMState, StateLike
from ._batches import Parts, run_batch
from ._kept_weights import Kept, Source
from ._sizes import HasSizes
from ._state_dict import read_mapping
from ._weights import Weights, check_weight_dtype, make_weights, random_weights
from .cell import PLAIN, Cell
from .errors import BackendUnavailableError, FormatWarning
from .model import Model
from .pool import StreamPool
from .program import Program
from .stream import Stream

if TYPE_CHECKING:
    from ._frames import StateGiven
    from ._weight_types import WeightDtype

__all__ = ["LSTM"]


@final
class LSTM(HasSizes, Model):
    """A stack of LSTM layers with fixed weights, in PyTorch's layout and gate order (i, f, g, o).

    Make one with `lstm_fast.load`, `from_state_dict` or `random`; then `stream()` gives one session
    each, `pool()` many that are stepped together, and calling it runs a batch of whole sequences.
    It is a `Model` from "x" to "y", and does what any other does.
    It is immutable and may be shared between threads. It pickles as its float32 weights, where it
    has kept them or can read them again (see `keep_weights` of `from_state_dict`), and is packed
    anew where it lands; copying returns the object itself.

    Example:
        >>> import numpy as np
        >>> lstm = LSTM.random(3, 4, num_layers=2)
        >>> stream = lstm.stream()
        >>> stream.step(np.ones(3, np.float32)).shape
        (4,)
        >>> ys, state = lstm(np.zeros((2, 5, 3), np.float32))  # 2 sequences of 5 frames
        >>> ys.shape, state.h.shape
        ((2, 5, 4), (2, 2, 4))
    """

    __slots__ = ("_kept", "_outline", "_weight_dtype")

    _called: ClassVar = "an LSTM"

    _kept: Kept
    _weight_dtype: str

    def __init__(self, *args: NoReturn, **options: NoReturn) -> None:
        raise TypeError(_call_instead.of_lstm(args, options))

    @classmethod
    def _build(
        cls,
        weights: Weights,
        weight_dtype: str,
        backend: str | None,
        isa: str | None,
        keep: bool | None,
        source: Source | None = None,
    ) -> LSTM:
        keeps(keep, weight_dtype)  # says what is wrong with it before the work
        check_weight_dtype(weights, weight_dtype)
        self = cls._pack(weights, weight_dtype, backend, isa)
        object.__setattr__(self, "_kept", Kept(weights, weight_dtype, keep, source))
        return self

    @classmethod
    def _pack(
        cls, weights: Weights, weight_dtype: str, backend: str | None, isa: str | None
    ) -> LSTM:
        module, isa = _backends.choose(backend, isa, lambda one: str(one.lacks(weights)))
        self = object.__new__(cls)
        set_once = object.__setattr__
        set_once(self, "_outline", weights.outline())
        if weights.direction == "forward":
            set_once(self, "_core", module.build(weights, isa, weight_dtype))
        else:
            parts = [cls._pack(part, weight_dtype, module.name, isa) for part in weights.parts()]
            set_once(self, "_core", Parts(weights.direction, parts))
        set_once(self, "_backend", module.name)
        set_once(self, "_weight_dtype", weight_dtype)
        set_once(self, "_asked", backend)
        set_once(self, "_of_samples", False)
        return self

    @classmethod
    def from_state_dict(
        cls,
        mapping: Mapping[str, Any],
        prefix: str = "",
        *,
        cell: Cell = PLAIN,
        ignore: str | Iterable[str] = (),
        weight_dtype: str = "float32",
        keep_weights: bool | None = None,
        backend: str | None = None,
        isa: str | None = None,
    ) -> LSTM:
        """Make an LSTM from weights under PyTorch's names.

        Args:
            mapping: weight_ih_l0 (4H, I), weight_hh_l0 (4H, H) and so on per layer, as
                `torch.nn.LSTM` has them, or weight_ih and weight_hh as `torch.nn.LSTMCell`; bias_ih
                and bias_hh (4H,) everywhere or nowhere, or one bias (4H,) for their sum; weight_hr
                (P, H) with a projection, where the others have P for H; and names that end in
                _reverse for the other direction of a bidirectional LSTM (or, where all do, of one
                that runs backwards). What PyTorch has no name for: peephole_l0 (3H,), gates i, f,
                o; layer_norm_l0 (4H,); bias_hr_l0 (P,); h_0_l0 (P,) and c_0_l0 (H,), a trained
                initial state. A weight that PyTorch computes from others (weight norm, spectral
                norm, pruning) is computed. Values: anything `np.asarray` takes, and tensors of any
                kind; they are rounded to float32.
            prefix: what comes before the names, such as "model.decoder.rnn.". Names that do not
                begin with it are of no interest; one that does, and is neither of these nor clearly
                another layer, is an error, since the module may compute something with it.
            cell: what the cells compute where they are not plain ones, see `Cell`.
            ignore: patterns, as of `fnmatch`, of names that are to be left out all the same.
            weight_dtype: how the packed weights are stored: "float32"; "float16", half the size; or
                "int8", a quarter, with a scale per row, and with 8-bit inputs and hidden state in
                the sums. State and everything else is float32 with each.
            keep_weights: whether the float32 weights stay in memory beside the packed ones, for
                `state_dict`, `weights`, `astype` and pickle; None: with weight_dtype "float32"
                alone. Without them these four raise `WeightsNotKeptError`, but for what `load` can
                read, or `random` draw, once more.
            backend: "native", "numba" or "reference"; None takes the environment variable
                LSTM_FAST_BACKEND, or else the best there is.
            isa: of the native backend, such as "avx2" (see `lstm_fast.available`); None takes
                LSTM_FAST_ISA, or else the best of this CPU. All give the same bits.

        Raises:
            TypeError: mapping is not a mapping, a value has no real dtype, or keep_weights is
                neither a bool nor None.
            ValueError: a weight is missing, misshapen, not finite or too large for weight_dtype; a
                name beside the weights is not understood; or weight_dtype, backend or isa is
                unknown, or not for this CPU or this cell.
            BackendUnavailableError: the backend asked for is not installed.

        Warns:
            FormatWarning: a weight that is kept raw, for dropout of weights, is taken for the one
                beside it.

        Example:
            >>> import numpy as np
            >>> weights = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.zeros((8, 2))}
            >>> lstm = LSTM.from_state_dict(weights)
            >>> lstm.input_size, lstm.hidden_size, lstm.num_layers
            (3, 2, 1)
        """
        stack = read_mapping(mapping, prefix, cell, ignore)
        if stack.assumptions:
            warnings.warn("; ".join(stack.assumptions), FormatWarning, stacklevel=2)
        return cls._build(stack.weights, weight_dtype, backend, isa, keep_weights)

    @classmethod
    def from_weights(
        cls,
        weights: Weights,
        *,
        weight_dtype: str = "float32",
        keep_weights: bool | None = None,
        backend: str | None = None,
        isa: str | None = None,
    ) -> LSTM:
        """Make an LSTM from `lstm.weights` of another, or what `formats.read` has found.

        The other arguments, and what is raised: see `from_state_dict`.
        """
        if not isinstance(weights, Weights):
            raise TypeError(f"expected Weights, found {type(weights).__name__}")
        copy = keeps(keep_weights, weight_dtype)
        checked = make_weights([*weights.layers], weights.direction, copy=copy)
        return cls._build(checked, weight_dtype, backend, isa, keep_weights)

    @classmethod
    def random(
        cls,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        seed: int | None = 0,
        bias: bool = True,
        proj_size: int = 0,
        bidirectional: bool = False,
        cell: Cell = PLAIN,
        weight_dtype: str = "float32",
        keep_weights: bool | None = None,
        backend: str | None = None,
        isa: str | None = None,
    ) -> LSTM:
        """Make an LSTM with PyTorch's default initialisation: uniform in +-1 / sqrt(hidden_size).

        The same seed gives the same weights everywhere (they are not the weights that PyTorch
        draws for that seed); None draws different ones each time.

        proj_size: the size of h with a projection, below hidden_size; 0 is without. cell: what the
        cells compute where they are not plain ones. weight_dtype, keep_weights, backend, isa and
        what is raised: see `from_state_dict`.

        Example:
            >>> LSTM.random(40, 128, num_layers=2).state_dict()["weight_ih_l1"].shape
            (512, 128)
        """
        sizes = {
            name: to_size(value, name)
            for name, value in (
                ("input_size", input_size),
                ("hidden_size", hidden_size),
                ("num_layers", num_layers),
            )
        }
        projected = to_count(proj_size, "proj_size", 0, sizes["hidden_size"] - 1)
        draw = partial(
            random_weights,
            **sizes,
            seed=seed,
            bias=bias,
            proj_size=projected,
            direction="bidirectional" if bidirectional else "forward",
            cell=cell,
        )
        again = None if seed is None else draw
        return cls._build(draw(), weight_dtype, backend, isa, keep_weights, again)

    def astype(self, weight_dtype: WeightDtype, *, keep_weights: bool | None = None) -> LSTM:
        """Return an LSTM of the same weights, stored as weight_dtype, on the same backend and ISA.

        It is made from the weights as they were given, so nothing is rounded twice. keep_weights:
        see `from_state_dict`.

        Raises:
            TypeError: weight_dtype is not a string.
            ValueError: it is unknown, or a weight is too large for it.
            WeightsNotKeptError: the weights as they were given are no longer there.

        Example:
            >>> lstm = LSTM.random(16, 32)
            >>> lstm.weight_dtype, lstm.astype("int8").weight_dtype
            ('float32', 'int8')
        """
        if not isinstance(weight_dtype, str):
            raise TypeError(
                f"weight_dtype must be a string, found {type(weight_dtype).__name__}: an LSTM has "
                "one for all layers; Model.from_program(lstm.program, weight_dtype=...) need not"
            )
        weights, source = self._kept.get(), self._kept.source
        build = type(self)._build
        twin = build(weights, weight_dtype, self._backend, self.isa, keep_weights, source)
        object.__setattr__(twin, "_asked", self._asked)
        return twin

    @property
    def weights(self) -> Weights:
        """The float32 weights and the variant that this was made from, read-only.

        Read from their file again where they were not kept, each time.

        Raises:
            WeightsNotKeptError: they were not kept, and cannot be read again.
        """
        return self._kept.get()

    @property
    def keeps_weights(self) -> bool:
        """Whether the float32 weights are in memory beside the packed ones, 4 bytes each."""
        return self._kept.weights is not None

    @property
    def weight_dtype(self) -> str:
        """How the packed weights are stored: "float32", "float16" or "int8"."""
        return self._weight_dtype

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of the weights and how they are stored: what a snapshot is bound to."""
        return self._kept.fingerprint

    @property
    def program(self) -> Program:
        """What a step computes, made anew each time: `Model.from_program` takes it, and goes on.

        From there a layer before or behind it can be added. The states are called h_l0, c_l0 and so
        on; the weights are those that this was made from.

        Raises:
            ValueError: it is bidirectional or runs backwards, so there are no single steps.
            WeightsNotKeptError: see `weights`.
        """
        from ._lstm_program import program_of
        from ._program_checks import checked

        self._check_steps()
        return checked(program_of(self.weights), "this LSTM")

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing: what a reader assumed of an LSTM, it has said as a `FormatWarning`."""
        return ()

    def to_bytes(self) -> bytes:
        """Return the bytes of its program's `.lfm` file (docs/lfm.md), made anew each time.

        Raises:
            ValueError, WeightsNotKeptError: see `program`.
        """
        from . import _lfm

        return _lfm.to_bytes(self.program)

    def state_dict(self) -> dict[str, Float32]:
        """Return copies of the weights under the names of `torch.nn.LSTM`.

        They are the float32 weights that this was made from, to the bit, whatever weight_dtype is.

        Raises:
            WeightsNotKeptError: see `weights`.
        """
        return self._kept.get().state_dict()

    def stream(self, state: StateGiven | None = None) -> Stream:
        """Return a new session that starts from `initial_state`, or from state.

        Args:
            state: a pair (h, c) of shapes (num_layers, output_size) and (num_layers, hidden_size),
                such as `stream.state`, or a mapping by the names of `states`; None is
                `initial_state`.

        Raises:
            TypeError, ValueError: state is neither.
            ValueError: the LSTM is bidirectional or runs backwards, so it cannot stream.
        """
        return super().stream(state)  # type: ignore[return-value]  # an LSTM's core makes those

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
            TypeError: a number is not an integer.
            ValueError: it is out of range; or the LSTM cannot stream.
            MemoryError: there is not enough.
        """
        made = super().pool(capacity, prepared=prepared, threads=threads)
        return made  # type: ignore[return-value]

    def __call__(
        self, xs: Any, state: StateLike | None = None, lengths: Any = None
    ) -> tuple[Float32, LSTMState]:
        """Run whole sequences, a batch of them, padded to one length.

        Each row gives the same bits as a session of its own, whatever the others hold. Ctrl-C ends
        it within some milliseconds, as it does `Stream.run`.

        Args:
            xs: the sequences, shape (N, T, I); real numbers, converted as by `Stream.step`.
            state: a pair (h, c) to start from, of shapes (L * D, N, P) and (L * D, N, H) as in
                PyTorch; None is `initial_state`.
            lengths: how many of the T frames are a row's own, shape (N,), 0 to T each; None: all.

        Returns:
            ys of shape (N, T, D * P), the last layer's h at each frame, forward before reverse, and
            zeros beyond a row's length; and the state (h, c) after each row's own last step.

        Raises:
            TypeError: the values are not real numbers, or lengths no integers.
            ValueError: a shape does not fit, or a length is out of range.
        """
        return run_batch(self, self._core, xs, state, lengths)

    def _to_snapshot(self, state: LSTMState) -> bytes:
        return snapshots.pack(self._snapshot_form(), state)

    def _from_snapshot(self, snapshot: snapshots.Snapshot) -> LSTMState:
        return snapshots.unpack(self._snapshot_form(), self, snapshot)

    def _make_form(self) -> snapshots.Form:
        return snapshots.form(self)

    def __repr__(self) -> str:
        weights = self._outline
        variant = f"proj_size={self.proj_size}, " if self.proj_size else ""
        if weights.direction != "forward":
            variant += f"direction={weights.direction!r}, "
        cells = {layer.cell for layer in weights.layers} - {PLAIN}
        variant += "".join(f"cell=Cell({cell}), " for cell in cells)
        if not weights.is_plain and not (self.proj_size or cells):
            variant += "cell with peepholes or layer normalisation, "
        dtype = "" if self.weight_dtype == "float32" else f"weight_dtype={self.weight_dtype!r}, "
        isa = "" if self.isa is None else f", isa={self.isa!r}"
        return (
            f"LSTM({self.input_size}, {self.hidden_size}, num_layers={self.num_layers}, "
            f"{variant}{dtype}backend={self.backend!r}{isa})"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        kept = self._kept
        state = (self._weight_dtype, self._asked, self.keeps_weights, kept.source)
        return _unpickle, (kept.get(), *state)


def _unpickle(
    weights: Weights,
    weight_dtype: str,
    backend: str | None,
    keep: bool = True,
    source: Source | None = None,
) -> LSTM:
    checked = make_weights([*weights.layers], weights.direction)
    try:
        return LSTM._build(checked, weight_dtype, backend, None, keep, source)
    except BackendUnavailableError as error:
        warnings.warn(f"{error}; unpickled for the best backend here", RuntimeWarning, stacklevel=2)
        return LSTM._build(checked, weight_dtype, None, None, keep, source)
