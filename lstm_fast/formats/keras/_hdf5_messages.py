"""What stands in an HDF5 object's messages: types, shapes, attributes; see `_hdf5`."""

from __future__ import annotations

import struct
from dataclasses import dataclass

NEWER = "in HDF5's newer layout, which Keras does not write; load it with Keras and save it again"

# Floats: bit offset and precision, where exponent and mantissa are and their sizes, bias. bfloat16
# is the upper half of a float32, and NumPy has none.
FLOATS: dict[tuple[int, ...], str] = {
    (0, 16, 10, 5, 0, 10, 15): "f2",
    (0, 32, 23, 8, 0, 23, 127): "f4",
    (0, 64, 52, 11, 0, 52, 1023): "f8",
    (0, 16, 7, 8, 0, 7, 127): "bfloat16",
}


class Hdf5Error(ValueError):
    """The file is damaged, or of a layout that is not read here."""


class WholeFileError(Hdf5Error):
    """Nothing in the file is to be believed, not one of its LSTMs alone."""


def unpack(layout: str, data: bytes, offset: int = 0) -> tuple[int, ...]:
    """Return numbers, by a layout of `struct` in little endian."""
    try:
        return struct.unpack_from("<" + layout, data, offset)
    except struct.error:
        raise Hdf5Error("a structure is cut short") from None


def padded(size: int) -> int:
    """Return a size with what fills it up to eight bytes."""
    return -(-size // 8) * 8


def text_of(data: bytes) -> str:
    """Return a text that ends with its first zero, or where it does."""
    return data.partition(b"\0")[0].decode("utf-8", "replace")


@dataclass(frozen=True)
class Datatype:
    """Floats (by a name of NumPy's, or bfloat16), or texts of fixed or of variable length."""

    kind: str  # "float"; "fixed" and "variable" texts; "opaque"; "" for others
    size: int
    name: str = ""


def type_of(data: bytes) -> Datatype:
    """Return what an array or attribute consists of (IV.A.2.d)."""
    first, bits, bits_8, _, size = unpack("BBBBI", data)
    kind = first & 15
    if kind != 1:
        is_text = kind == 9 and bits & 15 == 1
        return Datatype("variable" if is_text else {3: "fixed", 5: "opaque"}.get(kind, ""), size)
    name = FLOATS.get(unpack("HHBBBBI", data, 8), "")
    is_big = bool(bits & 1)
    is_odd = bits & 0x40 or bits_8 != 8 * size - 1 or (is_big and name == "bfloat16")
    if not name or is_odd:
        return Datatype("", size)
    return Datatype("float", size, name if name == "bfloat16" else "<>"[is_big] + name)


def shape_of(data: bytes) -> tuple[int, ...]:
    """Return the shape of an array or attribute (IV.A.2.b)."""
    version, rank, _, kind = unpack("BBBB", data)
    if version not in (1, 2) or rank > 8 or (version == 2 and kind > 1):
        raise Hdf5Error(f"a shape is of version {version}, rank {rank}")
    return unpack(f"{rank}Q", data, 8 if version == 1 else 4)


def attribute_parts(data: bytes) -> list[bytes]:
    """Return an attribute's name, type, shape and values (IV.A.2.m)."""
    version, flags, *sizes = unpack("BBHHH", data)
    if version not in (1, 2, 3):
        raise Hdf5Error(f"an attribute is of version {version}")
    if version > 1 and flags:
        raise Hdf5Error(f"an attribute's type is shared: {NEWER}")
    at, parts = 8 + (version == 3), []
    for size in sizes:
        parts.append(data[at : at + size])
        at += padded(size) if version == 1 else size
    return [*parts, data[at:]]


def attribute_name(data: bytes) -> bytes:
    """Return an attribute's name."""
    return attribute_parts(data)[0].partition(b"\0")[0]
