"""Readers of files in which an LSTM may be: each gives its weights and what variant it is.

    lstm = lstm_fast.load("model.onnx")                 # the only LSTM in it, ready to be stepped
    for found in lstm_fast.formats.read("model.onnx"):  # or all that there are
        print(found.name, found.weights.hidden_size, found.sources)

Files are untrusted: none is executed, sizes are checked before memory is taken, and one that is
damaged raises `FormatError`. A format whose library is not installed says which extra brings it.
"""

from __future__ import annotations

import importlib
import inspect
import os
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import FormatWarning
from ..lstm import LSTM
from ._files import FormatError, Found, MissingExtraError, Refused

__all__ = [
    "READERS",
    "FormatError",
    "FormatWarning",
    "Found",
    "MissingExtraError",
    "Refused",
    "load",
    "read",
]

# A reader is a module here with
#     SUFFIXES                     of file names, such as (".onnx",)
#     recognise(path, head)        whether a file that begins with these bytes is one
#     read(path, **options)        a list of Found and Refused
# To add one, add its name.
READERS = ("safetensors", "pytorch", "onnx", "keras", "tflite", "nam", "tf1")


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def __getattr__(name: str) -> ModuleType:
    """Import a reader when it is first named, as in `formats.tf1.from_arrays`."""
    if name in READERS:
        return _module(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _choose(path: Path, format: str | None) -> ModuleType:
    if format is not None:
        if format not in READERS:
            raise ValueError(f"there is no format {format!r}; choose one of {', '.join(READERS)}")
        return _module(format)
    with path.open("rb") as file:
        head = file.read(4096)
    modules = [_module(name) for name in READERS]
    named = [module for module in modules if path.name.lower().endswith(module.SUFFIXES)]
    for module in [*named, *modules]:  # a name is believed before the content of another format
        if module.recognise(path, head):
            return module
    if named:
        return named[0]  # its own error says best what is wrong
    known = ", ".join(suffix for module in modules for suffix in module.SUFFIXES)
    raise FormatError(f"{path}: unknown format; known are {known}; format= names one")


def read(
    path: str | os.PathLike[str], format: str | None = None, **options: Any
) -> list[Found | Refused]:
    """Return every LSTM in a file; in the place of one that cannot be computed, why not.

    Args:
        path: the file.
        format: one of READERS; None finds out by the file's name and its first bytes.
        options: of that format's `read`.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged or of another format, or no LSTM in it is of a kind that we can
            compute; or a library is missing (`MissingExtraError`).
        TypeError, ValueError: the format is unknown, or has no such option.
    """
    path = Path(path)
    module = _choose(path, format)
    _check_options(module, options)
    try:
        found: list[Found | Refused] = module.read(path, **options)
    except (MemoryError, RecursionError, OverflowError) as error:
        raise FormatError(f"{path}: damaged: {error or type(error).__name__}") from error
    if found and all(one.error is not None for one in found):
        raise found[0].error or AssertionError
    return found


def _check_options(module: ModuleType, options: Mapping[str, Any]) -> None:
    known = list(inspect.signature(module.read).parameters)[1:]
    for option in options:
        if option not in known:
            title = module.__name__.rpartition(".")[2]
            there = ", ".join(known) or "none"
            raise TypeError(f"files of format {title} have no option {option}; they have {there}")


def pick(path: object, found: Sequence[Found | Refused], name: str | None) -> Found:
    """Return the one of that name, or the only one there is.

    Raises:
        FormatError: there is none, or none of that name, or several and no name; or the one of that
            name cannot be computed.
    """
    if not found:
        raise FormatError(f"{path}: there is no LSTM in it")
    if name is not None:
        return _named(path, found, name)
    good = [one for one in found if isinstance(one, Found)]
    if len(good) > 1:
        names = ", ".join(repr(one.name) for one in good)
        raise FormatError(f"{path}: there are {len(good)} LSTMs in it, say which: name= {names}")
    refused = [one for one in found if isinstance(one, Refused)]
    if not good:
        raise refused[0].error
    others = tuple(f"left out, since it cannot be computed: {one.error}" for one in refused)
    return replace(good[0], assumptions=(*good[0].assumptions, *others))


def _named(path: object, found: Sequence[Found | Refused], name: str) -> Found:
    for one in found:
        if one.name == name and isinstance(one, Refused):
            raise one.error
        if one.name == name and isinstance(one, Found):
            return one
    names = ", ".join(repr(one.name) for one in found)
    text = f"{path}: there is no LSTM named {name!r} in it, but {names}"
    for one in found:
        if name in one.parts:
            layer = f"layer {one.parts.index(name)} (counted from 0)"
            text += f"; {name!r} is {layer} of the stack {one.name!r}"
    raise FormatError(text)


def load(
    path: str | os.PathLike[str],
    *,
    name: str | None = None,
    format: str | None = None,
    weight_dtype: str = "float32",
    backend: str | None = None,
    isa: str | None = None,
    **options: Any,
) -> LSTM:
    """Read an LSTM from a file, ready to be stepped.

    Args:
        path: the file: PyTorch, safetensors, ONNX, Keras, TFLite, Neural Amp Modeler, or arrays of
            TensorFlow 1 as .npz. README.md has the list with what each may hold.
        name: which LSTM, where there are several; `lstm-fast inspect FILE` lists them.
        format: one of `formats.READERS`; None finds out.
        weight_dtype: see `LSTM.from_state_dict`.
        backend: likewise.
        isa: likewise.
        options: of the format, such as forget_bias for TensorFlow 1; see its module.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, holds no such LSTM, or one that cannot be computed; or a library
            is missing.
        TypeError, ValueError, BackendUnavailableError: see `LSTM.from_state_dict`.

    Warns:
        FormatWarning: once, with all that was assumed or left out and can change a result.
    """
    found = pick(path, read(path, format, **options), name)
    if found.assumptions:
        warnings.warn(f"{path}: {'; '.join(found.assumptions)}", FormatWarning, stacklevel=2)
    return LSTM.from_weights(found.weights, weight_dtype=weight_dtype, backend=backend, isa=isa)
