"""Which reader makes a program of a file, for `lstm_fast.load_model`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..program import Program
from . import _choose, _sample
from ._files import FormatError

ENDINGS = (".onnx", ".keras", ".nam", ".lfm")  # of files of which whole models are read


class Reader(NamedTuple):
    """Makes a program of a file. options: those that it takes."""

    read: Callable[..., Program]
    options: tuple[str, ...] = ()


def _onnx() -> Reader:
    from .onnx._program import program_from_onnx

    options = ("inputs", "outputs", "shapes", "constants", "states", "history", "time_axis")
    return Reader(program_from_onnx, options)


def _keras() -> Reader:
    from .keras._program import program

    return Reader(program)


def _nam() -> Reader:
    from .nam import program

    return Reader(program)


# By the name of the format; each imports its reader.
READERS: dict[str, Callable[[], Reader]] = {"onnx": _onnx, "keras": _keras, "nam": _nam}


def program_of(path: Path, options: Mapping[str, Any]) -> Program:
    """Return what a step of the model in a file computes.

    Args:
        path: the file, of any format but `.lfm`.
        options: of `load_model`; those that are None are not given.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged or of another format, or cannot be read; or a library is missing.
        TypeError, ValueError: an option is wrong, or not for such a file.
    """
    name = _choose(_sample(path), None)
    if name not in READERS:
        raise FormatError(
            f"{path}: whole models are read from {', '.join(ENDINGS[:-1])} and {ENDINGS[-1]} "
            "files; lstm_fast.load reads the LSTM alone from others"
        )
    reader = READERS[name]()
    given = {key: value for key, value in options.items() if value is not None}
    if unknown := [key for key in given if key not in reader.options]:
        raise ValueError(
            f"{path}: a file of format {name} is ready as it is, and takes no {unknown[0]}"
        )
    try:
        return reader.read(path, **given)
    except (MemoryError, RecursionError, OverflowError) as error:
        raise FormatError(f"{path}: damaged: {error or type(error).__name__}") from error
