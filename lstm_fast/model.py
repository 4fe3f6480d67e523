"""Whole models: a program that is ready to run, from which streams are made."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NoReturn, final

from ._backends import BACKEND_VARIABLE, NAMES
from .errors import FormatError
from .model_stream import ModelStream
from .program import Program, Tensor

if TYPE_CHECKING:
    from ._backends._reference_model import ReferenceModel

__all__ = ["Model", "load_model"]


def _choose(backend: str | None) -> str:
    """Return the backend that whole models run on.

    Raises:
        TypeError: it is no string.
        ValueError: there is no such backend, or it has no whole models.
    """
    if backend is not None and not isinstance(backend, str):
        raise TypeError(f"backend must be a string or None, found {type(backend).__name__}")
    name, asked = backend, "backend="
    if name is None:
        name, asked = os.environ.get(BACKEND_VARIABLE) or "reference", f"{BACKEND_VARIABLE}="
    if name not in NAMES:
        raise ValueError(f"{asked}{name!r} is no backend; choose one of {', '.join(NAMES)}")
    if name != "reference":
        raise ValueError(
            f"{asked}{name!r}: whole models run on backend='reference' only in this version; name "
            "that, or take the LSTM alone with lstm_fast.load"
        )
    return name


@final
class Model:
    """A whole model, not only its LSTM: immutable, and safe to share between threads.

    Make one with `lstm_fast.load_model`, or `from_program`; then `stream()` gives one session each.
    It computes in float64 and is slow: whole models run on the reference backend in this version.
    It pickles as the bytes of its `.lfm` file; copying returns the object itself.
    """

    __slots__ = ("__weakref__", "_bytes", "_core", "_inputs", "_outputs", "_program", "_states")

    _program: Program
    _core: ReferenceModel
    _bytes: bytes
    _inputs: Mapping[str, Tensor]
    _outputs: Mapping[str, Tensor]
    _states: Mapping[str, Tensor]

    def __init__(self, *args: NoReturn, **options: NoReturn) -> None:
        raise TypeError("call lstm_fast.load_model(path) or Model.from_program(program)")

    @classmethod
    def from_program(cls, program: Program, *, backend: str | None = None) -> Model:
        """Make a model of a program.

        Args:
            program: what a step computes, see `lstm_fast.program` and `lstm_fast.operations`. Its
                arrays are copied; floats among its attributes are rounded to float32.
            backend: "reference", or None; in this version there is no other for whole models.

        Raises:
            TypeError: program is no Program, or backend no string.
            FormatError: the program is wrong; the text names the operation.
            ValueError: another backend was asked for, here or by LSTM_FAST_BACKEND.
        """
        if not isinstance(program, Program):
            raise TypeError(f"expected a Program, found {type(program).__name__}")
        _choose(backend)
        return cls._check(program, "program")

    @classmethod
    def _check(cls, program: Program, where: object) -> Model:
        from . import _lfm
        from ._program_checks import checked

        whole = checked(program, where)
        return cls._of(whole, _lfm.to_bytes(whole))

    @classmethod
    def from_bytes(cls, data: bytes, *, backend: str | None = None) -> Model:
        """Make a model of the bytes of a `.lfm` file.

        Raises:
            TypeError: data is no bytes.
            FormatError: they are damaged, of another version, or no such file.
            ValueError: another backend was asked for, here or by LSTM_FAST_BACKEND.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"a .lfm file is bytes, found {type(data).__name__}")
        return cls._read(bytes(data), "these bytes", backend)

    @classmethod
    def _read(cls, data: bytes, where: object, backend: str | None) -> Model:
        from . import _lfm

        _choose(backend)
        return cls._of(_lfm.from_bytes(data, where), data)

    @classmethod
    def _of(cls, program: Program, data: bytes) -> Model:
        """Make a model of a program that was checked, and its bytes."""
        from ._backends._reference_model import ReferenceModel
        from ._program_checks import history_name

        self = object.__new__(cls)
        set_once = object.__setattr__
        core = ReferenceModel(program)
        tensors = program.tensors
        inputs = {one.name: Tensor(one.shape, tensors[one.tensor].kind) for one in program.inputs}
        outputs = {one.name: tensors[one.tensor] for one in program.outputs}
        names = [one.name for one in program.states]
        kinds = [tensors[one.tensor].kind for one in program.states]
        for one in program.inputs:
            if one.history:
                names.append(history_name(one.name))
                kinds.append(tensors[one.tensor].kind)
        states = {
            name: Tensor(value.shape, kind)
            for name, kind, value in zip(names, kinds, core.initial, strict=True)
        }
        set_once(self, "_program", program)
        set_once(self, "_core", core)
        set_once(self, "_bytes", data)
        set_once(self, "_inputs", MappingProxyType(inputs))
        set_once(self, "_outputs", MappingProxyType(outputs))
        set_once(self, "_states", MappingProxyType(states))
        return self

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
        """What a session keeps by name: shape and kind. `NAME.history` is what an input keeps."""
        return self._states

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader assumed or chose where the file leaves it open."""
        return self._program.notes

    @property
    def backend(self) -> str:
        """What computes: "reference"."""
        return "reference"

    @property
    def nbytes(self) -> int:
        """Bytes of the constants as this backend keeps them, in float64."""
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

        Raises:
            OSError: it cannot be written.
        """
        Path(path).write_bytes(self._bytes)

    def stream(self, state: Mapping[str, Any] | None = None) -> ModelStream:
        """Return a new session, from the start or from state.

        Args:
            state: a mapping such as `stream.state`, with the names, shapes and kinds of `states`.

        Raises:
            TypeError, ValueError: state is no such mapping.
        """
        stream = ModelStream(self)
        if state is not None:
            stream.state = state
        return stream

    def __repr__(self) -> str:
        def listed(tensors: Mapping[str, Tensor]) -> str:
            return ", ".join(f"{name} {tensor.shape}" for name, tensor in tensors.items())

        return (
            f"Model({listed(self._inputs)} -> {listed(self._outputs)}, "
            f"{len(self._program.ops)} operations, backend={self.backend!r})"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Model is immutable: cannot set {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a Model is immutable: cannot delete {name!r}")

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self._bytes,)


def _unpickle(data: bytes) -> Model:
    return Model.from_bytes(data)


def load_model(
    path: str | os.PathLike[str],
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    constants: Mapping[str, Any] | None = None,
    states: Mapping[str, str] | None = None,
    history: Mapping[str, int] | None = None,
    backend: str | None = None,
) -> Model:
    """Read a whole model from a file: ONNX, or our own `.lfm`.

    Args:
        path: the file.
        inputs: names of values in the graph where the part that is wanted begins; None: the file's.
        outputs: where it ends, likewise.
        shapes: the shape of an input by name, where the file leaves sizes open.
        constants: values of inputs that never change, by name.
        states: which output becomes which input in the next step: {"h": "hn"}; None finds out.
        history: how many of the last values stand in front of an input's new ones: {"input": 64}.
        backend: "reference", or None; in this version there is no other for whole models.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged or of another format, or has an operation that is not there; or a
            library is missing.
        TypeError, ValueError: an option is wrong, or not for a `.lfm` file, which is ready as it
            is; or another backend was asked for.
    """
    _choose(backend)
    options: dict[str, Any] = {
        "inputs": inputs,
        "outputs": outputs,
        "shapes": shapes,
        "constants": constants,
        "states": states,
        "history": history,
    }
    path = Path(path)
    if _begins_as_lfm(path):
        if given := [name for name, value in options.items() if value is not None]:
            raise ValueError(f"{path}: a .lfm file is ready as it is, and takes no {given[0]}")
        return Model._read(path.read_bytes(), path, backend)
    if path.suffix.lower() != ".onnx":
        raise FormatError(
            f"{path}: whole models are read from .onnx and .lfm files; lstm_fast.load reads the "
            "LSTM alone from others"
        )
    from .formats.onnx._program import program_from_onnx

    return Model._check(program_from_onnx(path, **options), path)


def _begins_as_lfm(path: Path) -> bool:
    """Return whether a file is one by its name, or its first bytes.

    Raises:
        OSError: it cannot be opened.
        FormatError: it is a directory or a pipe.
    """
    from . import _lfm

    if path.exists() and not path.is_file():
        raise FormatError(f"{path}: it is no regular file")
    with path.open("rb") as file:
        return file.read(len(_lfm.MAGIC)) == _lfm.MAGIC or path.suffix.lower() == ".lfm"
