"""Whole models: a program that is ready to run, from which streams are made."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from . import _backends, snapshots
from ._arguments import pool_sizes
from ._frames import Array, State, StateGiven, empty, to_state
from .errors import BackendUnavailableError
from .model_pool import ModelPool
from .model_stream import ModelStream
from .program import Program, Tensor

if TYPE_CHECKING:
    from ._weight_types import Types, WeightDtype

__all__ = ["Model"]


class Model:
    """A whole model, not only its LSTM: immutable, and safe to share between threads.

    Make one with `lstm_fast.load_model`, or `from_program`; then `stream()` gives one session each.
    It pickles as the bytes of its `.lfm` file and is packed anew where it lands; copying returns
    the object itself. An `LSTM` is one, too, with PyTorch's words for what it has.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM, load_model
        >>> model = load_model(LSTM.random(3, 4).to_bytes())  # any .lfm, .onnx, .keras or .nam file
        >>> [*model.inputs], [*model.outputs], [*model.states]
        (['x'], ['y'], ['h_l0', 'c_l0'])
        >>> model.stream().step(np.zeros(3, np.float32)).shape
        (4,)
    """

    __slots__ = (
        *("__weakref__", "_asked", "_backend", "_bytes", "_core", "_form", "_inputs", "_outputs"),
        *("_of_samples", "_program", "_states", "_types"),
    )

    _called: ClassVar = "a Model"  # in errors

    _program: Program
    _core: _backends.Core
    _backend: str
    _asked: str | None  # the backend that the caller named
    _types: Types
    _of_samples: bool  # its sessions refuse integers, which would be samples that nobody scaled
    _bytes: bytes
    _form: snapshots.Form  # once it is asked for
    _inputs: Mapping[str, Tensor]
    _outputs: Mapping[str, Tensor]
    _states: Mapping[str, Tensor]

    def __init__(self, *args: NoReturn, **options: NoReturn) -> None:
        raise TypeError("call lstm_fast.load_model(path) or Model.from_program(program)")

    @classmethod
    def from_program(
        cls,
        program: Program,
        *,
        weight_dtype: WeightDtype = "float32",
        backend: str | None = None,
        isa: str | None = None,
    ) -> Model:
        """Make a model of a program.

        Args:
            program: what a step computes, see `lstm_fast.program` and `lstm_fast.operations`. Its
                arrays are copied; floats among its attributes are rounded to float32.
            weight_dtype: how the packed weights are stored: "float32"; "float16", those of all
                products and recurrent layers; "int8", those of the LSTM layers; or a mapping of
                operations to one of these names: by number; by `source`, or the name of a node in
                it ("/r/LSTM" of "LSTM /r/LSTM"); or by kind ("lstm", all of them, where nothing is
                called so). Where two keys mean one operation, the later one wins.
            backend: "native", "numba" or "reference"; None takes the environment variable
                LSTM_FAST_BACKEND, or else the best there is for this program.
            isa: of the native backend, such as "avx2" (see `lstm_fast.available`); None takes
                LSTM_FAST_ISA, or else the best of this CPU. All give the same bits.

        Raises:
            TypeError: program is not a Program, or a name is not a string.
            FormatError: the program is wrong; the text names the operation.
            ValueError: weight_dtype, backend or isa is unknown, or not for this CPU or program; or
                a weight is too large for its type.
            BackendUnavailableError: the backend asked for is not installed.
        """
        cls._refuse_others("from_program(program)")
        if not isinstance(program, Program):
            raise TypeError(f"expected a Program, found {type(program).__name__}")
        from . import _lfm
        from ._program_checks import checked

        whole = checked(program, "program")
        return cls._of(whole, _lfm.to_bytes(whole), weight_dtype, backend, isa)

    @classmethod
    def _refuse_others(cls, call: str) -> None:
        """Say that a program makes a Model, also where it is that of an LSTM."""
        if cls is not Model:
            raise TypeError(
                f"{cls.__name__}.{call} makes no {cls.__name__}, since a program may be any model: "
                f"call Model.{call}; or lstm_fast.load(path), or {cls.__name__}.from_state_dict or "
                "from_weights, for an LSTM"
            )

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        *,
        weight_dtype: WeightDtype = "float32",
        backend: str | None = None,
        isa: str | None = None,
    ) -> Model:
        """Make a model of the bytes of a `.lfm` file.

        The other arguments, and what else is raised: see `from_program`.

        Raises:
            TypeError: data is not bytes.
            FormatError: they are damaged, of another version, or no such file.
        """
        cls._refuse_others("from_bytes(data)")
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"a .lfm file is bytes, found {type(data).__name__}")
        return cls._read(bytes(data), "these bytes", weight_dtype, backend, isa)

    @staticmethod
    def _read(
        data: bytes,
        where: object,
        weight_dtype: WeightDtype,
        backend: str | None,
        isa: str | None,
    ) -> Model:
        from . import _lfm

        return Model._of(_lfm.from_bytes(data, where), data, weight_dtype, backend, isa)

    @staticmethod
    def _of(
        program: Program,
        data: bytes,
        weight_dtype: WeightDtype,
        backend: str | None,
        isa: str | None,
    ) -> Model:
        """Make a model of a program that was checked, and its bytes."""
        from ._program_checks import given_tensors, kept_tensors, returned_tensors
        from ._weight_types import weight_types

        self = object.__new__(Model)
        set_once = object.__setattr__
        types = weight_types(program, weight_dtype)
        name, core = _backends.build_program(backend, isa, program, data, types)
        set_once(self, "_program", program)
        set_once(self, "_core", core)
        set_once(self, "_backend", name)
        set_once(self, "_asked", backend)
        set_once(self, "_types", types)
        set_once(self, "_bytes", data)
        set_once(self, "_of_samples", False)
        set_once(self, "_inputs", MappingProxyType(given_tensors(program)))
        set_once(self, "_outputs", MappingProxyType(returned_tensors(program)))
        set_once(self, "_states", MappingProxyType(kept_tensors(program)))
        return self

    def astype(self, weight_dtype: WeightDtype) -> Model:
        """Return a model of the same program, its weights stored so, on the same backend and ISA.

        It is made from the weights as they were given, so nothing is rounded twice.

        Raises:
            TypeError, ValueError: see `from_program`.
        """
        twin = self._of(self._program, self._bytes, weight_dtype, self._backend, self.isa)
        object.__setattr__(twin, "_asked", self._asked)
        object.__setattr__(twin, "_of_samples", self._of_samples)
        return twin

    @property
    def program(self) -> Program:
        """What a step computes, with all attributes filled in."""
        return self._program

    @property
    def inputs(self) -> Mapping[str, Tensor]:
        """The inputs of a step by name: the shape that a caller gives, and its kind."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, Tensor]:
        """The outputs of a step by name: shape and kind."""
        return self._outputs

    @property
    def states(self) -> Mapping[str, Tensor]:
        """What a session keeps by name: shape and kind. `NAME.history` is of an input or a node."""
        return self._states

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader assumed or chose where the file leaves it open."""
        return self._program.notes

    @property
    def backend(self) -> str:
        """What computes: "native", "numba" or "reference"."""
        return self._backend

    @property
    def isa(self) -> str | None:
        """The instruction set of the native backend; None elsewhere."""
        return self._core.isa

    @property
    def weight_dtype(self) -> str | Mapping[int, str]:
        """How weights are stored: the name for all of them, or else by the operation's number."""
        from ._weight_types import as_given

        return as_given(self._program, self._types)

    @property
    def nbytes(self) -> int:
        """Bytes of the weights and constants as this backend keeps them.

        What else an LSTM keeps of its weights (`LSTM.keeps_weights`) is not counted.
        """
        return self._core.nbytes

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, of the program and its constants: the checksum of its `.lfm` file."""
        from . import _lfm

        return _lfm.fingerprint(self._bytes)

    def to_bytes(self) -> bytes:
        """Return the bytes of its `.lfm` file (docs/lfm.md): the same for the same program."""
        return self._bytes

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a `.lfm` file, which `lstm_fast.load_model` reads.

        It has the weights as they were given, and no weight type: who loads it says `weight_dtype`.

        Raises:
            OSError: it cannot be written.
        """
        Path(path).write_bytes(self.to_bytes())

    def stream(self, state: StateGiven | None = None) -> ModelStream:
        """Return a new session, from the start or from state.

        Args:
            state: a mapping such as `stream.state`, with the names, shapes and kinds of `states`.

        Raises:
            TypeError, ValueError: state is not such a mapping.
        """
        stream = self._core.stream(self)
        if state is not None:
            stream.state = state
        return stream

    def pool(
        self, capacity: int, *, prepared: int | None = None, threads: int | None = None
    ) -> ModelPool:
        """Return a pool for many sessions that are stepped together over one pass of the weights.

        Args:
            capacity: how many sessions can be open at once, 1 to 2**24. All memory is taken here;
                `ModelPool.grow` adds to it.
            prepared: for how many of them `ModelPool.prepare` can keep the work done ahead, of
                4 * H floats for each LSTM layer and 3 * H for each GRU layer (2 * H unless it is
                linear before the reset), rounded up to 64 bytes; None: 64, or the capacity where
                that is less. It takes no memory where there is nothing to do ahead.
            threads: how many threads can compute in the pool at the same time, each with a
                workspace of its own; more wait for one. None: as many as this process has CPUs,
                at most 8.

        Raises:
            TypeError: a number is not an integer.
            ValueError: it is out of range.
            MemoryError: there is not enough.
        """
        return self._core.pool(self, *pool_sizes(capacity, prepared, threads))

    def __repr__(self) -> str:
        def listed(tensors: Mapping[str, Tensor]) -> str:
            return ", ".join(f"{name} {tensor.shape}" for name, tensor in tensors.items())

        dtype = "" if self.weight_dtype == "float32" else f"weight_dtype={self.weight_dtype!r}, "
        isa = "" if self.isa is None else f", isa={self.isa!r}"
        return (
            f"Model({listed(self._inputs)} -> {listed(self._outputs)}, "
            f"{len(self._program.ops)} operations, {dtype}backend={self.backend!r}{isa})"
        )

    # What a session keeps, in the form in which callers see it. An LSTM has another.

    def _empty_state(self) -> State:
        """Return one whose arrays are to be filled."""
        return dict(zip(self._states, empty(self._states), strict=True))

    def _values(self, state: Any) -> Sequence[Array]:
        """Return the arrays of a state as sessions take them."""
        return [*state.values()]

    def _to_state(self, given: StateGiven) -> State:
        """Check and convert what was given."""
        return dict(zip(self._states, to_state(given, self._states), strict=True))

    def _to_snapshot(self, state: Any) -> bytes:
        """Return a snapshot."""
        return snapshots.pack_model(self._snapshot_form(), self, state)

    def _from_snapshot(self, snapshot: snapshots.Snapshot) -> State:
        """Return the state in a snapshot."""
        return snapshots.unpack_model(self._snapshot_form(), self, snapshot)

    def _snapshot_bytes(self, snapshot: snapshots.Snapshot) -> bytes:
        """Return what was given for a snapshot as bytes."""
        return snapshots.to_bytes(snapshot, self._snapshot_form().most)

    def _snapshot_form(self) -> snapshots.Form:
        """Return what its snapshots look like; made once, for the weights of an LSTM are hashed."""
        if not hasattr(self, "_form"):
            object.__setattr__(self, "_form", self._make_form())
        return self._form

    def _make_form(self) -> snapshots.Form:
        return snapshots.model_form(self)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{self._called} is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{self._called} is immutable: cannot delete {name!r}")

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self._bytes, self.weight_dtype, self._asked, self._of_samples)


def _unpickle(
    data: bytes,
    weight_dtype: WeightDtype = "float32",
    backend: str | None = None,
    is_of_samples: bool = False,
) -> Model:
    try:
        model = Model.from_bytes(data, weight_dtype=weight_dtype, backend=backend)
    except BackendUnavailableError as error:
        warnings.warn(f"{error}; unpickled for the best backend here", RuntimeWarning, stacklevel=2)
        model = Model.from_bytes(data, weight_dtype=weight_dtype)
    return of_samples(model) if is_of_samples else model


def of_samples(model: Model) -> Model:
    """Return a model that was just made, whose sessions are to refuse integers from now on."""
    object.__setattr__(model, "_of_samples", True)
    return model
