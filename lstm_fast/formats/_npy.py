"""Arrays as `numpy.save` writes them: their headers, read without trusting them."""

from __future__ import annotations

import io
import math
from typing import IO, Any, NamedTuple

import numpy as np

from .._arguments import to_float32
from .._arrays import Float32
from .._budget import Budget
from ._state_dicts import decode

MAGIC = b"\x93NUMPY"
LONGEST_HEADER = 1 << 14
USUAL_HEADER = 128  # bytes, which those who call charge with the array
# To parse each byte more; and each byte where NumPy may take numbers as Python 2 wrote them, 2L.
STEPS_A_BYTE, STEPS_A_TOKEN_BYTE = 2.5, 6.0
BFLOAT16 = np.dtype("V2")  # as which NumPy writes the one that it has not


class Header(NamedTuple):
    """What stands before the values of an array."""

    shape: tuple[int, ...]
    is_fortran: bool
    dtype: np.dtype[Any]

    @property
    def size_bytes(self) -> int:
        """How long the values are."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def kept_bytes(self) -> int:
        """How long they are in float32."""
        return 4 * math.prod(self.shape)

    @property
    def raw_bytes(self) -> int:
        """How much more they take until they are in float32, which some are from the first."""
        return 0 if self.dtype == np.float32 else self.size_bytes

    def values(self, data: bytes, name: str) -> Float32:
        """Return the values of these bytes in float32.

        Raises:
            TypeError, ValueError: they are not numbers.
        """
        if self.dtype == BFLOAT16:
            array: Any = decode(data, "BF16")
        else:
            array = np.frombuffer(data, self.dtype)
        shaped = array.reshape(self.shape, order="F" if self.is_fortran else "C")
        return to_float32(shaped, name, None, "")


def read_header(file: IO[bytes], budget: Budget | None = None) -> Header:
    """Return the header of the array that a file has next, and leave the file behind it.

    Args:
        file: open, where the array begins.
        budget: of the file; None: nothing is charged, for a few bytes that are at hand.

    Raises:
        ValueError: there is none, or it is damaged, or of an array of Python objects.
        FormatError: it is longer than the file is worth.
    """
    start = file.read(8)
    if start[:6] != MAGIC or len(start) < 8:
        raise ValueError("there is no array where one should begin")
    width = {1: 2, 2: 4, 3: 4}.get(start[6], 0)
    length = int.from_bytes(lead := file.read(width), "little")
    if not width or length > LONGEST_HEADER:
        raise ValueError(f"its header is of version {start[6]} and claims {length} bytes")
    header = file.read(length)
    if budget is not None:
        steps = STEPS_A_BYTE * max(0, len(header) - USUAL_HEADER)
        steps = STEPS_A_TOKEN_BYTE * len(header) if b"L" in header else steps
        budget.work(steps, "the headers of its arrays")
    text = io.BytesIO(lead + header)
    read = (
        np.lib.format.read_array_header_1_0 if width == 2 else np.lib.format.read_array_header_2_0
    )
    try:
        shape, is_fortran, dtype = read(text, max_header_size=LONGEST_HEADER)
    except Exception as error:  # a damaged header can raise anything
        raise ValueError(f"damaged: {error or type(error).__name__}") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    if len(shape) > 64 or not all(type(size) is int and 0 <= size < 2**63 for size in shape):
        raise ValueError("its shape is not a tuple of sizes")
    return Header(shape, is_fortran, dtype)
