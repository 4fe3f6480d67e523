"""HDF5 as Keras writes it: groups, arrays of floats, texts in attributes; nothing else.

It is read here, without libhdf5 (h5py), which damaged files crash or keep busy for ever: of 20,000
mutated ones 6 and 45 did so to version 2.0, and no check of ours can stand between. Keras writes
the oldest layout of the format: superblock 0, symbol tables, object headers 1, whole arrays without
filters. What else the format knows is refused by name.

The layout is that of "HDF5 File Format Specification Version 3.0"; section numbers are from there.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .._recognise_ours import HDF5

UNDEFINED = 2**64 - 1  # an address that is none
WORK = 1 << 20  # bytes of structure that a file of any size may have; see File._read

# Object header messages (IV.A.2).
DATASPACE, DATATYPE, EXTERNAL, LINK, LAYOUT, FILTERS = 0x1, 0x3, 0x7, 0x6, 0x8, 0xB
ATTRIBUTE, CONTINUATION, SYMBOL_TABLE, LINK_INFO, ATTRIBUTE_INFO = 0xC, 0x10, 0x11, 0x2, 0x15
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


def _unpack(layout: str, data: bytes, offset: int = 0) -> tuple[int, ...]:
    try:
        return struct.unpack_from("<" + layout, data, offset)
    except struct.error:
        raise Hdf5Error("a structure is cut short") from None


def _padded(size: int) -> int:
    return -(-size // 8) * 8


def _text(data: bytes) -> str:
    return data.split(b"\0")[0].decode("utf-8", "replace")


@dataclass(frozen=True)
class Datatype:
    """Floats (by a name of NumPy's, or bfloat16), or texts of fixed or of variable length."""

    kind: str  # "float"; "fixed" and "variable" texts; "opaque"; "" for others
    size: int
    name: str = ""


def _datatype(data: bytes) -> Datatype:
    """Section IV.A.2.d."""
    first, bits, bits_8, _, size = _unpack("BBBBI", data)
    kind = first & 15
    if kind != 1:
        is_text = kind == 9 and bits & 15 == 1
        return Datatype("variable" if is_text else {3: "fixed", 5: "opaque"}.get(kind, ""), size)
    name = FLOATS.get(_unpack("HHBBBBI", data, 8), "")
    is_big = bool(bits & 1)
    is_odd = bits & 0x40 or bits_8 != 8 * size - 1 or (is_big and name == "bfloat16")
    if not name or is_odd:
        return Datatype("", size)
    return Datatype("float", size, name if name == "bfloat16" else "<>"[is_big] + name)


def _shape(data: bytes) -> tuple[int, ...]:
    """Section IV.A.2.b."""
    version, rank, _, kind = _unpack("BBBB", data)
    if version not in (1, 2) or rank > 8 or (version == 2 and kind > 1):
        raise Hdf5Error(f"a shape is of version {version}, rank {rank}")
    return _unpack(f"{rank}Q", data, 8 if version == 1 else 4)


def _attribute_parts(data: bytes) -> list[bytes]:
    """Return an attribute's name, type, shape and values (IV.A.2.m)."""
    version, flags, *sizes = _unpack("BBHHH", data)
    if version not in (1, 2, 3):
        raise Hdf5Error(f"an attribute is of version {version}")
    if version > 1 and flags:
        raise Hdf5Error(f"an attribute's type is shared: {NEWER}")
    at, parts = 8 + (version == 3), []
    for size in sizes:
        parts.append(data[at : at + size])
        at += _padded(size) if version == 1 else size
    return [*parts, data[at:]]


def _attribute_name(data: bytes) -> bytes:
    return _attribute_parts(data)[0].split(b"\0")[0]


class Object:
    """A group or an array, by its header's messages."""

    def __init__(self, file: File, messages: list[tuple[int, bytes]]) -> None:
        self._file = file
        self._messages = messages
        self._links: dict[str, int] | None = None
        self._attributes: dict[bytes, bytes] | None = None

    def _find(self, kind: int) -> bytes | None:
        return next((data for k, data in self._messages if k == kind), None)

    @property
    def is_array(self) -> bool:
        return self._find(LAYOUT) is not None

    @property
    def links(self) -> dict[str, int]:
        """What a group holds: names and addresses; empty for an array."""
        if self._links is None:
            table = self._find(SYMBOL_TABLE)
            if table is None and (self._find(LINK) or self._find(LINK_INFO)):
                raise Hdf5Error(f"a group is {NEWER}")
            tree, heap = (0, 0) if table is None else _unpack("QQ", table)
            self._links = {} if table is None else self._file.symbols(tree, heap)
        return self._links

    def get(self, *names: str) -> Object | None:
        """What is there along a path of names, or None."""
        found = self
        for name in names:
            address = found.links.get(name)
            if address is None:
                return None
            found = self._file.object(address)
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        data = self._find(DATASPACE)
        return () if data is None else _shape(data)

    def read(self, limit: int) -> NDArray[np.float32]:
        """Return an array of floats; what is not a float32 is converted.

        Args:
            limit: how many bytes it may take as float32.
        """
        datatype, layout = _datatype(self._find(DATATYPE) or b""), self._find(LAYOUT) or b""
        if datatype.kind == "opaque" and datatype.size == 2 and self.text("dtype") == "bfloat16":
            datatype = Datatype("float", 2, "bfloat16")  # as Keras marks it
        if datatype.kind != "float":
            raise Hdf5Error("its values are not floats of 16, 32 or 64 bits")
        if self._find(EXTERNAL) is not None:
            raise Hdf5Error("its values are in another file, which is not followed")
        count = math.prod(self.shape)
        if 4 * count > limit:
            text = f"it claims the shape {self.shape}, too much for a file of this size"
            raise WholeFileError(text)
        data = self._bytes(layout, count * datatype.size)
        if datatype.name == "bfloat16":
            words = np.frombuffer(data, "<u2").astype(np.uint32) << 16
            return words.view(np.float32).reshape(self.shape)
        with np.errstate(over="ignore"):  # infinite then, which make_weights refuses
            values = np.frombuffer(data, datatype.name).astype(np.float32, copy=False)
        return values.reshape(self.shape)

    def _bytes(self, layout: bytes, size: int) -> bytes:
        """Section IV.A.2.i."""
        version, kind = _unpack("BB", layout)
        if version not in (3, 4) or kind not in (0, 1) or self._find(FILTERS) is not None:
            what = {2: "in chunks", 3: "views of others"}.get(kind, f"in layout {version}.{kind}")
            raise Hdf5Error(f"its values are {what}; load it with Keras and save it again")
        if kind == 0:
            (stored,), data = _unpack("H", layout, 2), layout[4 : 4 + size]
            if stored < size or len(data) != size:
                raise Hdf5Error(f"it has {min(stored, len(data))} bytes of {size}")
            return data
        address, stored = _unpack("QQ", layout, 2)
        if stored < size or (size and address == UNDEFINED):
            raise Hdf5Error(f"it has {stored} bytes of {size}")
        return self._file.values(address, size) if size else b""

    def attribute(self, name: str) -> list[bytes] | None:
        """Return the texts of an attribute, one where it is a single text; None without it."""
        if self._attributes is None:
            if self._find(ATTRIBUTE_INFO) is not None:
                raise Hdf5Error(f"attributes are {NEWER}")
            data = [data for kind, data in self._messages if kind == ATTRIBUTE]
            self._attributes = {_attribute_name(one): one for one in data}
        found = self._attributes.get(name.encode())
        return None if found is None else self._file.texts(found, name)

    def text(self, name: str) -> str | None:
        """Return an attribute that is a single text; None without it."""
        found = self.attribute(name)
        return None if not found else _text(found[0])


class File:
    """A file to look around in; what is damaged is found when it is met.

    Args:
        file: open for reading, seekable. It stays the caller's.

    Raises:
        Hdf5Error: here and in every method: it is damaged, or of a layout that is not read here.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        self._work = 2 * self._size + WORK
        self._objects: dict[int, Object] = {}
        self._heaps: dict[int, dict[int, bytes]] = {}
        head = self._read(0, 96)
        version, *_, offset_size, length_size = _unpack("BBBBBBB", head, 8)
        if head[:8] != HDF5:
            raise Hdf5Error("it does not begin as an HDF5 file does")
        if version not in (0, 1):
            raise Hdf5Error(f"it is {NEWER}" if version < 4 else "its superblock is damaged")
        if (offset_size, length_size) != (8, 8):
            raise Hdf5Error(f"its addresses have {offset_size} and {length_size} bytes, not 8")
        base, _, end, _, _, root = _unpack("QQQQQQ", head, 24 if version == 0 else 28)
        if base or end > self._size:
            raise Hdf5Error(f"it is cut short: {self._size} bytes of {end}")
        self.root = self.object(root)

    def _read(self, address: int, size: int) -> bytes:
        """Read a piece of structure.

        No piece is read twice in a sound file, so that all of them together are bounded: in a
        damaged one they may overlap, or go in a circle.
        """
        self._work -= size + 16
        if self._work < 0:
            raise Hdf5Error("its structures overlap")
        return self.values(address, size)

    def values(self, address: int, size: int) -> bytes:
        """Read what is at an address."""
        if address + size > self._size:
            raise Hdf5Error(f"bytes {address} to {address + size} are beyond its end, {self._size}")
        self._file.seek(address)
        data = self._file.read(size)
        if len(data) != size:
            raise Hdf5Error(f"it is cut short at {address + len(data)}")
        return data

    def object(self, address: int) -> Object:
        """Read an object header (IV.A.1.a)."""
        if address not in self._objects:
            head = self._read(address, 16)
            version, _, count, _, size = _unpack("BBHII", head)
            if head[:4] == b"OHDR":
                raise Hdf5Error(f"an object is {NEWER}")
            if version != 1:
                raise Hdf5Error(f"there is no object header at {address}")
            self._objects[address] = Object(self, self._messages(address + 16, size, count))
        return self._objects[address]

    def _messages(self, address: int, size: int, count: int) -> list[tuple[int, bytes]]:
        messages: list[tuple[int, bytes]] = []
        blocks = [(address, size)]
        for start, length in blocks:  # which grows as it goes
            block, at = self._read(start, length), 0
            while at + 8 <= length and len(messages) < count:
                kind, size, flags = _unpack("HHB", block, at)
                data = block[at + 8 : at + 8 + size]
                if len(data) != size:
                    raise Hdf5Error(f"the object header at {start} is damaged")
                if flags & 2 and kind in (DATASPACE, DATATYPE, LAYOUT, ATTRIBUTE):
                    raise Hdf5Error(f"an object's message is shared: {NEWER}")
                if kind == CONTINUATION:
                    blocks.append(_unpack("QQ", data))  # type: ignore[arg-type]
                messages.append((kind, data))
                at += 8 + size
        if len(messages) < count:
            raise Hdf5Error(f"the object header at {address} lacks messages of its {count}")
        return messages

    def symbols(self, tree: int, heap: int) -> dict[str, int]:
        """Read a group's names and addresses (III.A.1, III.B, III.C, III.D)."""
        head = self._read(heap, 32)
        size, _, address = _unpack("QQQ", head, 8)
        if head[:4] != b"HEAP":
            raise Hdf5Error(f"there is no heap of names at {heap}")
        names, links = self._read(address, size), {}
        nodes, seen = [tree], {tree}
        for node in nodes:  # which grows as it goes
            head = self._read(node, 8)
            if head[:4] == b"SNOD":
                (count,) = _unpack("H", head, 6)
                entries = self._read(node + 8, 40 * count)
                for at in range(0, 40 * count, 40):
                    name, target, cached = _unpack("QQI", entries, at)
                    if cached == 2 or target == UNDEFINED:
                        continue  # a symbolic link, which is not followed
                    end = names.find(b"\0", name)
                    if name >= len(names) or end < 0:
                        raise Hdf5Error(f"a name in the group at {tree} is damaged")
                    links[names[name:end].decode("utf-8", "replace")] = target
            elif head[:5] == b"TREE\0":
                (count,) = _unpack("H", head, 6)
                body = self._read(node + 24, 16 * count + 8)
                children = _unpack("8xQ" * count, body)
                if seen.intersection(children) or len(set(children)) < count:
                    raise Hdf5Error(f"the group at {tree} goes in a circle")
                seen.update(children)
                nodes.extend(children)
            else:
                raise Hdf5Error(f"there is no group at {node}")
        return links

    def texts(self, data: bytes, name: str) -> list[bytes]:
        """Read an attribute's texts."""
        _, datatype_data, shape_data, rest = _attribute_parts(data)
        datatype, count = _datatype(datatype_data), math.prod(_shape(shape_data))
        if count == 0:
            return []
        if datatype.kind not in ("fixed", "variable") or datatype.size < 1:
            raise Hdf5Error(f"the attribute {name} is not text")
        if count * datatype.size > len(rest):
            raise Hdf5Error(f"the attribute {name} is cut short")
        pieces = [rest[datatype.size * n : datatype.size * (n + 1)] for n in range(count)]
        return [self._variable(one) for one in pieces] if datatype.kind == "variable" else pieces

    def _variable(self, reference: bytes) -> bytes:
        """Return a text of variable length, which stands elsewhere."""
        length, address, index = _unpack("IQI", reference)
        if address not in self._heaps:
            self._heaps[address] = self._heap(address)
        data = self._heaps[address].get(index, b"")
        if len(data) < length:
            raise Hdf5Error(f"a text is missing in the heap at {address}")
        return data[:length]

    def _heap(self, address: int) -> dict[int, bytes]:
        """Read a heap of texts (III.E)."""
        head = self._read(address, 16)
        (size,) = _unpack("Q", head, 8)
        if head[:4] != b"GCOL" or size < 16:
            raise Hdf5Error(f"there is no heap of texts at {address}")
        heap, at, texts = self._read(address + 16, size - 16), 0, {}
        while at + 16 <= len(heap):
            index, _, _, size = _unpack("HHIQ", heap, at)
            if index == 0:  # what is free
                break
            texts[index] = heap[at + 16 : at + 16 + size]
            at += 16 + _padded(size)
        return texts
