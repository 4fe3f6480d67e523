"""HDF5 files made by hand, without libhdf5: also such as it would never write.

Section numbers are of "HDF5 File Format Specification Version 3.0".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

Message = tuple[int, bytes]
MOST_ENTRIES = 65_535  # of one node
FLOAT32 = bytes.fromhex("11 20 1f 00 04 00 00 00 00 00 20 00 17 08 00 17 7f 00 00 00")
TEXT = bytes.fromhex("19 01 00 00 10 00 00 00") + bytes.fromhex("10 00 00 00 01 00 00 00")


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def shape_message(shape: Sequence[int]) -> bytes:
    return struct.pack(f"<BBBx4x{len(shape)}Q", 1, len(shape), 0, *shape)


class Hdf5:
    """A file that grows; each method adds something, and returns where it is."""

    def __init__(self) -> None:
        self.data = bytearray(96)

    def put(self, piece: bytes) -> int:
        address = len(self.data)
        self.data += padded(piece)
        return address

    def object(self, messages: Iterable[Message], count: int | None = None) -> int:
        """An object header (IV.A.1.a)."""
        every = list(messages)
        body = b"".join(
            struct.pack("<HHB3x", kind, len(padded(data)), 0) + padded(data) for kind, data in every
        )
        number = len(every) if count is None else count
        return self.put(struct.pack("<BxHII4x", 1, number, 1, len(body)) + body)

    def names(self, data: bytes) -> int:
        """A heap of names (III.D)."""
        block = self.put(data)
        return self.put(b"HEAP" + struct.pack("<4xQQQ", len(padded(data)), 2**64 - 1, block))

    def entries(self, pairs: Sequence[tuple[int, int]]) -> int:
        """A group's leaves, of places of names and of objects, under a node (III.A.1, III.B)."""
        leaves = []
        for start in range(0, max(len(pairs), 1), MOST_ENTRIES):
            some = pairs[start : start + MOST_ENTRIES]
            rows = b"".join(struct.pack("<QQ24x", *one) for one in some)
            leaves.append(self.put(b"SNOD\1\0" + struct.pack("<H", len(some)) + rows))
        if len(leaves) == 1:
            return leaves[0]
        keys = b"".join(struct.pack("<QQ", 0, one) for one in leaves) + bytes(8)
        return self.put(b"TREE\0\1" + struct.pack("<HQQ", len(leaves), 0, 0) + keys)

    def group(self, links: Iterable[tuple[str, int]], attributes: Sequence[bytes] = ()) -> int:
        names, pairs = bytearray(8), []
        for name, target in links:
            pairs.append((len(names), target))
            names += name.encode() + b"\0"
        table = struct.pack("<QQ", self.entries(pairs), self.names(bytes(names)))
        return self.object([(0x11, table), *((0xC, one) for one in attributes)])

    def array(self, shape: Sequence[int], values: bytes | int) -> int:
        """An array of float32: its bytes, or where they are."""
        count = 4
        for size in shape:
            count *= size
        address = values if isinstance(values, int) else self.put(values)
        layout = struct.pack("<BBQQ", 3, 1, address, count)
        return self.object([(0x1, shape_message(shape)), (0x3, FLOAT32), (0x8, layout)])

    def texts(self, *pieces: bytes) -> int:
        """A heap of texts, which are numbered from 1 (III.E)."""
        body = b"".join(
            struct.pack("<HH4xQ", n, 1, len(one)) + padded(one) for n, one in enumerate(pieces, 1)
        )
        return self.put(b"GCOL\1\0\0\0" + struct.pack("<Q", 16 + len(body)) + body)

    def finish(self, root: int) -> bytes:
        head = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0])
        head += struct.pack("<HHI", 4, 16, 0)
        head += struct.pack("<QQQQQQ", 0, 2**64 - 1, len(self.data), 2**64 - 1, 0, root)
        self.data[: len(head)] = head
        return bytes(self.data)


def attribute(name: str, references: Sequence[tuple[int, int, int]]) -> bytes:
    """An attribute of texts of variable length: each a length, a heap and a number in it."""
    label = name.encode() + b"\0"
    shape = shape_message([len(references)])
    head = struct.pack("<BxHHH", 1, len(label), len(TEXT), len(shape))
    rows = b"".join(struct.pack("<IQI", *one) for one in references)
    return head + padded(label) + padded(TEXT) + padded(shape) + rows


def lstm(file: Hdf5, inputs: int = 1, units: int = 1) -> int:
    """The group of an LSTM in the layout of Keras 3."""
    arrays = [
        file.array(shape, bytes(4 * shape[0] * (shape[1] if len(shape) > 1 else 1)))
        for shape in ((inputs, 4 * units), (units, 4 * units), (4 * units,))
    ]
    variables = file.group((str(n), one) for n, one in enumerate(arrays))
    return file.group([("cell", file.group([("vars", variables)]))])
