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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from .._source import Readable, Source
from .._weights import Weights
from ..errors import FormatWarning, told
from ..lstm import LSTM
from ._files import FormatError, Found, MissingExtraError, Refused
from ._inventory import listed
from ._packing import charge_packing
from ._recognise_ours import FORMATS
from ._sample import HEAD, Sample

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

# What tells other kinds of files is imported where a file is read, not with the package.

# A reader is a module or package here with
#     read(path, **options)        a list of Found and Refused
#     inventory(path)              in words what is in a file without an LSTM; it need not be there
# It is imported when a file needs it. To add one, add how its files are told to FORMATS.
READERS = tuple(FORMATS)


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def _imports() -> None:
    """Name every reader in a statement, which programs that freeze an application look for.

    Never called: a reader is imported when it is needed.
    """
    from . import (  # noqa: F401
        equinox,
        keras,
        nam,
        npz,
        onnx,
        pytorch,
        rtneural,
        safetensors,
        tf1,
        tflite,
    )


def __getattr__(name: str) -> ModuleType:
    """Import a reader when it is first named, as in `formats.tf1.from_arrays`."""
    if name in READERS:
        return _module(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _choose(sample: Sample, format: str | None) -> str:
    """Return the name of a file's reader, without importing any.

    Raises:
        FormatError: it is of another kind than the readers', or than the format that was named.
    """
    from . import _recognise_others

    source, head = sample.source, sample.head
    if format is not None and format not in READERS:
        raise ValueError(f"there is no format {format!r}; choose one of {', '.join(READERS)}")
    is_safetensors = FORMATS["safetensors"].recognise(source, head)
    if text := _recognise_others.certain(sample, is_safetensors=is_safetensors):
        raise FormatError(f"{source}: {text}")
    if format is not None:
        others = [name for name, one in FORMATS.items() if one.recognise(source, head)]
        if others and format not in others:
            raise FormatError(
                f"{source}: it is not a file of the format {format!r}, but of {others[0]!r}; leave "
                "format out, or name that"
            )
        return format
    file_name = source.name.lower()
    named = [name for name, one in FORMATS.items() if file_name.endswith(one.suffixes)]
    for name in [*named, *FORMATS]:  # a file's name is believed before another format's content
        if FORMATS[name].recognise(source, head):
            return name
    if named:
        return named[0]  # its own error says best what is wrong
    if text := _recognise_others.likely(sample):
        raise FormatError(f"{source}: {text}")
    known = ", ".join(dict.fromkeys(end for one in FORMATS.values() for end in one.suffixes))
    raise FormatError(f"{source}: unknown format; known are {known}; format= names one")


def _source(given: Readable) -> Source:
    """Return what is to be read.

    Raises:
        TypeError: it is not a path, no bytes and no open file.
        OSError: it cannot be opened.
        FormatError: it is a directory or a pipe, or the common name of a checkpoint's files.
    """
    try:
        return Source(given)
    except (FormatError, FileNotFoundError) as error:
        if text := _instead(given):
            raise FormatError(text) from error
        raise


def _instead(given: Any) -> str | None:
    """Return what a path that is not a file leads to, and what to give instead."""
    if not isinstance(given, (str, os.PathLike)):
        return None
    from . import _recognise_containers
    from ._next_steps import RESAVE_CHECKPOINT

    path = Path(os.fsdecode(given))
    if path.is_dir():
        return f"{path}: {_recognise_containers.directory(path)}"
    if not path.exists() and path.with_name(f"{path.name}.index").exists():
        return f"{path}: it names a TensorFlow checkpoint: {RESAVE_CHECKPOINT}"
    return None


def _sample(source: Source) -> Sample:
    """Return how a file begins."""
    with source.open() as file:
        return Sample(source, file.read(HEAD))


def read(path: Readable, format: str | None = None, **options: Any) -> list[Found | Refused]:
    """Return every LSTM in a file; in the place of one that cannot be computed, why not.

    Args:
        path: the file: its path, what it holds as bytes, or a binary file that is open.
        format: one of READERS; None finds out by the file's name and its first bytes.
        options: of that format's `read`.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged or of another format, or no LSTM in it is of a kind that we can
            compute; or a library is missing (`MissingExtraError`).
        TypeError, ValueError: the format is unknown, or has no such option.

    Example:
        >>> import io
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> file = io.BytesIO()  # or a path
        >>> np.savez(file, **LSTM.random(3, 4).state_dict())
        >>> [found.weights.hidden_size for found in read(file.getvalue())]
        [4]
    """
    return _read(_source(path), format, options)


def _read(source: Source, format: str | None, options: Mapping[str, Any]) -> list[Found | Refused]:
    from . import _recognise_others

    sample = _sample(source)
    name = _choose(sample, format)
    module = _module(name)
    _check_options(name, module, options)
    try:
        found: list[Found | Refused] = module.read(source, **options)
        if found and all(one.error is not None for one in found):
            raise found[0].error or AssertionError
    except MissingExtraError:
        raise
    except FormatError as error:
        if text := _recognise_others.likely(sample):
            raise FormatError(f"{source}: {text}") from error
        if text := _recognise_others.shard(source):
            raise FormatError(f"{error}; {text}") from error
        raise
    except (MemoryError, RecursionError, OverflowError) as error:
        raise FormatError(f"{source}: damaged: {error or type(error).__name__}") from error
    return found


def _check_options(name: str, module: ModuleType, options: Mapping[str, Any]) -> None:
    known = list(inspect.signature(module.read).parameters)[1:]
    for option in options:
        if option not in known:
            there = ", ".join(known) or "none"
            raise TypeError(f"files of format {name} have no option {option}; they have {there}")


def no_lstm(given: Any) -> FormatError:
    """Return the error for a file in which there is no LSTM: it says what there is."""
    from . import _recognise_others

    text = f"{given}: there is no LSTM in it"
    try:
        source = Source.of(given)
    except (TypeError, OSError):  # a name that the caller has for it
        return FormatError(text)
    sample = _sample(source)
    if more := _recognise_others.likely(sample):
        return FormatError(f"{text}: {more}")
    if more := _recognise_others.shard(source):
        return FormatError(f"{text}; {more}")
    if more := _contents(_module(_choose(sample, None)), source):
        return FormatError(f"{text}; {more}")
    return FormatError(text)


def _contents(module: ModuleType, source: Source) -> str | None:
    """Return in words what there is in a file that a reader has read; None if it cannot say."""
    try:  # of a new `Source`, since reading has used up some of the budget of this one
        text: str | None = None
        if hasattr(module, "inventory"):
            text = module.inventory(Source(source))
    except Exception:  # it is no more than a help, and of a file that may be damaged
        return None
    return text


def pick(path: object, found: Sequence[Found | Refused], name: str | None) -> Found:
    """Return the one of that name, or the only one there is.

    Raises:
        FormatError: there is none, or none of that name, or several and no name; or the one of that
            name cannot be computed.
    """
    if not found:
        raise no_lstm(path)
    if name is not None:
        return _named(path, found, name)
    good = [one for one in found if isinstance(one, Found)]
    if len(good) > 1:
        names = listed(repr(one.name) for one in good)
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
    names = listed(repr(one.name) for one in found)
    text = f"{path}: there is no LSTM named {name!r} in it, but {names}"
    for one in found:
        for index, part in enumerate(one.parts):
            if name == part or part.endswith(f"/{name}"):
                text += f"; {_part_of(one, index, name)}"
                break
    raise FormatError(text)


def _part_of(stack: Found | Refused, index: int, name: str) -> str:
    """Say which part of a stack it is that was asked for by name."""
    if isinstance(stack, Refused):
        return f"{name!r} is a part of the stack {stack.name!r}, which is refused: {stack.error}"
    layer = index * stack.weights.num_layers // len(stack.parts)
    return (
        f"{name!r} is layer {layer} (counted from 0) of the stack {stack.name!r}, which is one "
        f"LSTM of {stack.weights.num_layers} layers here: take that one"
    )


def load(
    path: Readable,
    *,
    name: str | None = None,
    format: str | None = None,
    weight_dtype: str = "float32",
    keep_weights: bool | None = None,
    backend: str | None = None,
    isa: str | None = None,
    **options: Any,
) -> LSTM:
    """Read an LSTM from a file, ready to be stepped.

    Args:
        path: the file: PyTorch, safetensors, ONNX, Keras, TFLite, Neural Amp Modeler, RTNeural,
            Equinox, or arrays as .npz. docs/formats.md lists what each may hold. Given by its path;
            or as bytes, which are what it holds; or as a binary file that is open, such as BytesIO,
            which is read from its position to its end.
        name: which LSTM, where there are several; `lstm-fast inspect FILE` lists them.
        format: one of `formats.READERS`; None finds out.
        weight_dtype: see `LSTM.from_state_dict`.
        keep_weights: likewise; what is not kept is read from the file again when it is asked for,
            as long as it is there and the same; not where no path was given.
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

    Example:
        >>> import lstm_fast
        >>> lstm_fast.load(b"neither weights nor anything else")
        Traceback (most recent call last):
        lstm_fast.errors.FormatError: ...
    """
    options = {key: _settled(value) for key, value in options.items()}
    source = _source(path)
    found = pick(source, _read(source, format, options), name)
    if found.assumptions:
        text = told(f"{source}: {'; '.join(found.assumptions)}")
        warnings.warn(text, FormatWarning, stacklevel=2)
    charge_packing(source.budget, found.weights, weight_dtype)
    again = None
    if source.path is not None:
        again = partial(_read_again, os.path.abspath(source.path), name, format, options)
    return LSTM._build(found.weights, weight_dtype, backend, isa, keep_weights, again)


def _settled(option: Any) -> Any:
    """Return an option as it is now: a list may change later, and an iterator ends."""
    return tuple(option) if isinstance(option, (list, Iterator)) else option


def _read_again(
    path: str, name: str | None, format: str | None, options: dict[str, Any]
) -> Weights:
    return pick(path, read(path, format, **options), name).weights
