"""The arrays of TensorFlow 1's LSTM cells in an .npz file, read without trusting it."""

from __future__ import annotations

import math
import re
import zipfile

import numpy as np

from ..._arguments import to_float32
from ..._arrays import Float32
from ..._shown import shown
from ..._source import Source
from .. import _zip
from .._files import FormatError

DIAGONALS = ("w_i_diag", "w_f_diag", "w_o_diag")  # peepholes, in our order i, f, o
ARRAYS = ("kernel", "bias", *DIAGONALS, "projection/kernel", "projection/bias")
NAME = re.compile(rf"(?s)(?:(.*?)/)?({'|'.join(ARRAYS)})(?::0)?")
UNKNOWN_CELLS = {
    "layer_norm": "LayerNormBasicLSTMCell normalises its state too",
    "coupled_input_forget": "CoupledInputForgetGateLSTMCell has three gates",
    "conv_lstm": "a convolutional LSTM",
    "conv_1d_lstm": "a convolutional LSTM",
}
MAGIC = b"\x93NUMPY"
# What NumPy writes, also in Python 2: a dict of three, of which the shape may be any tuple.
HEADER = re.compile(
    rb"\{ *'descr' *: *'([<>|=]?[a-z?][0-9]{0,3})' *, *'fortran_order' *: *(True|False) *, *"
    rb"'shape' *: *\(((?: *[0-9]{1,19}[lL]? *,)* *(?:[0-9]{1,19}[lL]? *)?)\) *(?:, *)?\} *\n?"
)
LONGEST_HEADER = 4096
# What is charged for one name, and for one array of a cell beside its values.
NAME_STEPS, ARRAY_STEPS, ARRAY_BYTES, COPIES, COPIES_OF_VALUES = 2, 250, 8192, 6, 2
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

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, or takes more than a file of its size can need.
    """
    with source.open() as file:
        try:
            with _zip.opened(source, file) as archive:
                return _read_members(source, archive)
        except FormatError:
            raise
        except Exception as error:  # zipfile has many errors for damaged files
            text = error or type(error).__name__
            raise FormatError(f"{source}: damaged zip file: {text}") from error


def _read_members(
    source: Source, archive: zipfile.ZipFile
) -> tuple[dict[str, Value], dict[str, FormatError]]:
    arrays: dict[str, Value] = {}
    refused: dict[str, FormatError] = {}
    members = archive.infolist()
    if sum(member.file_size for member in members) > source.budget.memory_left:
        raise FormatError(f"{source}: its arrays claim more bytes than the file can hold")
    names = {member.filename.removesuffix(".npy"): member for member in members}
    for name, member in names.items():
        source.budget.work(NAME_STEPS + len(name) / 100, "its names")
        if not _is_wanted(name):
            continue
        source.budget.memory(ARRAY_BYTES + COPIES * len(name), "its names")
        if reason := _reason(name):
            text = f"{source}: {shown(name)}: {reason}, which cannot be computed here"
            refused.setdefault(name.rpartition("/")[0], FormatError(text))
            continue
        source.budget.work(ARRAY_STEPS, "its arrays")
        try:
            data = _zip.read(source, archive, member)
            arrays[name] = _array(source, name, data)
        except (ValueError, TypeError, *_zip.ERRORS) as error:
            if isinstance(error, FormatError):  # of the budget
                raise
            text = f"damaged: {error or type(error).__name__}"
            arrays[name] = FormatError(f"{source}: array {shown(name)}: {text}")
    return arrays, refused


def _array(source: Source, name: str, data: bytes) -> Float32:
    """Return an array, as NumPy writes it in a .npy file.

    Raises:
        ValueError: it is damaged, or no array of real numbers.
    """
    if data[:6] != MAGIC or data[6:7] not in (b"\1", b"\2"):
        raise ValueError("it does not begin as an array does")
    begin = 8 + (2 if data[6] == 1 else 4)
    end = begin + int.from_bytes(data[8:begin], "little")
    header = HEADER.fullmatch(data[begin : min(end, begin + LONGEST_HEADER)])
    if header is None or end > len(data):
        raise ValueError(f"its header is {data[begin : begin + 60]!r}, not as NumPy writes it")
    shape = tuple(int(size.strip(b" Ll")) for size in header[3].split(b",") if size.strip())
    dtype = np.dtype(header[1].decode())
    if dtype.kind not in "fiub":
        raise ValueError(f"it holds {dtype}, expected real numbers")
    count = math.prod(shape)
    if count * dtype.itemsize > len(data) - end:
        raise ValueError(f"{shape} of {dtype} is not what it holds")
    source.budget.memory(COPIES_OF_VALUES * 4 * count, f"array {shown(name)}")
    values = np.frombuffer(data, dtype, count, end)
    values = values.reshape(shape, order="F" if header[2] == b"True" else "C")
    return to_float32(values, name, None, "")
