"""Whole models from files: which reader makes a program of one, and `lstm_fast.load_model`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from .._source import Readable, Source
from ..model import Model
from ..program import Program
from . import _choose, _sample, _source
from ._files import FormatError, MissingExtraError

if TYPE_CHECKING:
    from .._weight_types import WeightDtype

__all__ = ["ENDINGS", "READERS", "is_whole", "load_model", "program_of"]

# Of files of which whole models are read.
ENDINGS = (".onnx", ".keras", ".nam", ".aidax", ".json", ".lfm")
INDEX = ".index.json"  # of shards, which hold tensors alone


class Reader(NamedTuple):
    """Makes a program of a file.

    options: those that it takes. is_checked: whether the program is one that `checked` returned.
    """

    read: Callable[..., Program]
    options: tuple[str, ...] = ()
    is_checked: bool = False


def _onnx() -> Reader:
    from .onnx._program import program_from_onnx

    options = ("inputs", "outputs", "shapes", "constants", "states", "history", "time_axis")
    return Reader(program_from_onnx, options, is_checked=True)


def _keras() -> Reader:
    from .keras._program import program

    return Reader(program)


def _nam() -> Reader:
    from .nam import program

    return Reader(program)


def _rtneural() -> Reader:
    from .rtneural import program

    return Reader(program)


# By the name of the format; each imports its reader.
READERS: dict[str, Callable[[], Reader]] = {
    "onnx": _onnx,
    "keras": _keras,
    "nam": _nam,
    "rtneural": _rtneural,
}


def is_whole(name: str) -> bool:
    """Return whether a file of this name may hold a whole model."""
    return name.lower().endswith(ENDINGS) and not name.lower().endswith(INDEX)


def program_of(source: Source, options: Mapping[str, Any]) -> Program:
    """Return what a step of the model in a file computes.

    Args:
        source: the file, of any format but `.lfm`.
        options: of `load_model`; those that are None are not given.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged or of another format, or cannot be read; or a library is missing.
        TypeError, ValueError: an option is wrong, or not for such a file.
    """
    from .._program_checks import checked
    from ._recognise_containers import json_kind  # which takes json

    sample = _sample(source)
    name = _choose(sample, None)
    if name not in READERS:
        raise FormatError(
            f"{source}: whole models are read from {', '.join(ENDINGS[:-1])} and {ENDINGS[-1]} "
            "files; lstm_fast.load reads the LSTM alone from others"
        )
    reader = READERS[name]()
    given = {key: value for key, value in options.items() if value is not None}
    if unknown := [key for key in given if key not in reader.options]:
        raise ValueError(
            f"{source}: a file of format {name} is ready as it is, and takes no {unknown[0]}"
        )
    try:
        program = reader.read(source, **given)
        return program if reader.is_checked else checked(program, source)
    except MissingExtraError:
        raise
    except FormatError as error:
        if text := json_kind(sample):
            raise FormatError(f"{source}: it is {text}") from error
        raise
    except (MemoryError, RecursionError, OverflowError) as error:
        raise FormatError(f"{source}: damaged: {error or type(error).__name__}") from error


def load_model(
    path: Readable,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    constants: Mapping[str, Any] | None = None,
    states: Mapping[str, str] | None = None,
    history: Mapping[str, int] | None = None,
    time_axis: int | Mapping[str, int] | None = None,
    weight_dtype: WeightDtype = "float32",
    backend: str | None = None,
    isa: str | None = None,
) -> Model:
    """Read a whole model: ONNX, Keras 3, Neural Amp Modeler, RTNeural's JSON, or our own `.lfm`.

    All options but the last three are of ONNX; other files are ready as they are.

    Args:
        path: the file: its path; or what it holds, as bytes; or a binary file that is open, which
            is read from its position to its end.
        inputs: names of values in the graph where the part that is wanted begins; None: the file's.
        outputs: where it ends, likewise.
        shapes: the shape of an input by name, where the file leaves sizes open.
        constants: values of inputs that never change, by name.
        states: which output becomes which input in the next step: {"h": "hn"}; None finds out.
        history: how many of the last values come in front of an input's new ones: {"input": 64}.
        time_axis: which axis of an input is time, where the file does not leave its size free: a
            number, or {"x": 1}. A step then takes one frame.
        weight_dtype: how the packed weights are stored, see `Model.from_program`.
        backend: what computes, likewise.
        isa: of the native backend, likewise.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged or of another format, or has an operation that is not there; or a
            library is missing.
        TypeError, ValueError: an option is wrong, or not for such a file; or as
            `Model.from_program`.
        BackendUnavailableError: the backend asked for is not installed.

    Example:
        >>> import lstm_fast
        >>> model = lstm_fast.load_model(lstm_fast.LSTM.random(3, 4).to_bytes())  # or a path
        >>> model.inputs["x"].shape
        (3,)
    """
    options: dict[str, Any] = {
        "inputs": inputs,
        "outputs": outputs,
        "shapes": shapes,
        "constants": constants,
        "states": states,
        "history": history,
        "time_axis": time_axis,
    }
    from .. import _lfm

    source = _source(path)
    if is_lfm(source):
        if given := [name for name, value in options.items() if value is not None]:
            raise ValueError(f"{source}: a .lfm file is ready as it is, and takes no {given[0]}")
        return Model._read(source.read(), source, weight_dtype, backend, isa)
    program = program_of(source, options)
    return Model._of(program, _lfm.to_bytes(program), weight_dtype, backend, isa)


def is_lfm(source: Source) -> bool:
    """Return whether a file is one by its name, or its first bytes."""
    from .. import _lfm

    with source.open() as file:
        return file.read(len(_lfm.MAGIC)) == _lfm.MAGIC or source.suffix == ".lfm"
