"""The arrays of TensorFlow 1's LSTM cells in an .npz file, read without trusting it."""

from __future__ import annotations

import math
import re
import zipfile

import numpy as np

from ..._arguments import to_float32
from ..._arrays import Float32
from ..._source import Source
from .._files import FormatError, checked, size_limit

DIAGONALS = ("w_i_diag", "w_f_diag", "w_o_diag")  # peepholes, in our order i, f, o
ARRAYS = ("kernel", "bias", *DIAGONALS, "projection/kernel", "projection/bias")
NAME = re.compile(rf"(?s)(?:(.*?)/)?({'|'.join(ARRAYS)})(?::0)?")
UNKNOWN_CELLS = {
    "layer_norm": "LayerNormBasicLSTMCell normalises its state too",
    "coupled_input_forget": "CoupledInputForgetGateLSTMCell has three gates",
    "conv_lstm": "a convolutional LSTM",
    "conv_1d_lstm": "a convolutional LSTM",
}
Value = Float32 | FormatError  # an array, or why it cannot be read


def _is_wanted(name: str) -> bool:
    """Return whether an array is part of an LSTM cell, also of one that is not computed here."""
    match = NAME.fullmatch(name) if len(name) < 4096 else None
    if match is None:
        return False
    cell = (match[1] or "").lower().rpartition("/")[2]
    return "lstm" in cell or not cell or _reason(name) is not None


def _reason(name: str) -> str | None:
    """Return why the cell cannot be computed that an array belongs to."""
    match = NAME.fullmatch(name)
    cell = (match[1] or "").lower().rpartition("/")[2] if match else ""
    return next((reason for word, reason in UNKNOWN_CELLS.items() if word in cell), None)


def read_arrays(source: Source) -> tuple[dict[str, Value], dict[str, FormatError]]:
    """Return the arrays of LSTM cells, and by scope why others cannot be computed.

    Each is checked against the file before it is read; one that is damaged is an error in its
    place.
    """
    with source.open() as file:
        try:
            archive = zipfile.ZipFile(file)
        except Exception as error:  # zipfile has many errors for damaged files
            text = error or type(error).__name__
            raise FormatError(f"{source}: damaged zip file: {text}") from error
        return _read_members(source, archive)


def _read_members(
    source: Source, archive: zipfile.ZipFile
) -> tuple[dict[str, Value], dict[str, FormatError]]:
    limit = size_limit(source)
    arrays: dict[str, Value] = {}
    refused: dict[str, FormatError] = {}
    with archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > limit:
            raise FormatError(f"{source}: its arrays claim more bytes than the file can hold")
        names = {member.filename.removesuffix(".npy"): member for member in members}
        for name, member in names.items():
            if not _is_wanted(name):
                continue
            if reason := _reason(name):
                text = f"{source}: {name}: {reason}, which cannot be computed here"
                refused.setdefault(name.rpartition("/")[0], FormatError(text))
                continue
            try:
                arrays[name] = _read_array(source, archive, name, member)
            except FormatError as error:
                arrays[name] = error
    return arrays, refused


def _read_array(
    source: Source, archive: zipfile.ZipFile, name: str, member: zipfile.ZipInfo
) -> Float32:
    with checked(source, f"array {name!r}", TypeError):
        try:
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                reader = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }[version]
                shape, _, dtype = reader(file)
            if dtype.hasobject or math.prod(shape) * dtype.itemsize > member.file_size:
                raise ValueError(f"{shape} of {dtype} is not what it holds")
            with archive.open(member) as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
        except Exception as error:  # a damaged member or header can raise anything
            raise ValueError(f"damaged: {error or type(error).__name__}") from error
        return to_float32(array, name, None, "")
