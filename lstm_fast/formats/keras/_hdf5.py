"""HDF5 as Keras writes it: groups, arrays of floats, texts in attributes; nothing else.

It is read here, without libhdf5 (h5py), which damaged files crash or keep busy for ever: of 20,000
mutated ones 6 and 45 did so to version 2.0, and no check of ours can stand between. Keras writes
the oldest layout of the format: superblock 0, symbol tables, object headers 1, whole arrays without
filters. What else the format knows is refused by name.

The layout is that of "HDF5 File Format Specification Version 3.0"; section numbers are from there.
"""

from __future__ import annotations

import math
from typing import BinaryIO

import numpy as np

from ..._arrays import Float32
from ..._budget import Budget
from .._recognise_ours import HDF5
from ._hdf5_messages import (
    NEWER,
    Datatype,
    Hdf5Error,
    attribute_name,
    attribute_parts,
    padded,
    shape_of,
    text_of,
    type_of,
    unpack,
)

UNDEFINED = 2**64 - 1  # an address that is none

# What is charged, beside the bytes themselves: steps of work, and bytes of memory in Python.
READ_STEPS, ITEM_STEPS, BYTES_A_STEP = 5, 2, 2000
OBJECT_BYTES, MESSAGE_BYTES, LINK_BYTES, CHILD_BYTES, TEXT_BYTES = 1000, 200, 250, 150, 120
WIDEST = 4  # bytes of a character in a text with one that takes so many
LONGEST_NAME = 4096
ARRAY_STEPS, ARRAY_BYTES = 50, 1000

# Object header messages (IV.A.2).
DATASPACE, DATATYPE, EXTERNAL, LINK, LAYOUT, FILTERS = 0x1, 0x3, 0x7, 0x6, 0x8, 0xB
ATTRIBUTE, CONTINUATION, SYMBOL_TABLE, LINK_INFO, ATTRIBUTE_INFO = 0xC, 0x10, 0x11, 0x2, 0x15


class Object:
    """A group or an array, by its header's messages."""

    def __init__(self, file: File, messages: list[tuple[int, bytes]]) -> None:
        self._file = file
        self._messages: dict[int, bytes] = {}  # the first of each kind
        for kind, data in messages:
            self._messages.setdefault(kind, data)
        self._attribute_messages = [data for kind, data in messages if kind == ATTRIBUTE]
        self._links: dict[str, int] | None = None
        self._attributes: dict[bytes, bytes] | None = None

    @property
    def budget(self) -> Budget:
        """What is charged for all of the file."""
        return self._file.budget

    def _find(self, kind: int) -> bytes | None:
        return self._messages.get(kind)

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
            tree, heap = (0, 0) if table is None else unpack("QQ", table)
            self._links = {} if table is None else self._file.symbols(tree, heap)
        return self._links

    def get(self, *names: str) -> Object | None:
        """What is there along a path of names, or None."""
        found = self
        self._file.budget.work(len(names))
        for name in names:
            address = found.links.get(name)
            if address is None:
                return None
            found = self._file.object(address)
        return found

    @property
    def shape(self) -> tuple[int, ...]:
        data = self._find(DATASPACE)
        return () if data is None else shape_of(data)

    def read(self, turned: bool = False) -> Float32:
        """Return an array of floats; what is not a float32 is converted.

        Args:
            turned: whether its axes stand the other way round.
        """
        datatype, layout = type_of(self._find(DATATYPE) or b""), self._find(LAYOUT) or b""
        if datatype.kind == "opaque" and datatype.size == 2 and self.text("dtype") == "bfloat16":
            datatype = Datatype("float", 2, "bfloat16")  # as Keras marks it
        if datatype.kind != "float":
            raise Hdf5Error("its values are not floats of 16, 32 or 64 bits")
        if self._find(EXTERNAL) is not None:
            raise Hdf5Error("its values are in another file, which is not followed")
        count, budget = math.prod(self.shape), self._file.budget
        what, stored_bytes = f"an array of shape {self.shape}", count * datatype.size
        budget.memory(4 * count + stored_bytes + ARRAY_BYTES, what)
        budget.work(ARRAY_STEPS + stored_bytes / BYTES_A_STEP, what)
        name = "<u2" if datatype.name == "bfloat16" else datatype.name
        stored = np.frombuffer(self._bytes(layout, stored_bytes), name).reshape(self.shape)
        if turned:
            stored = stored.T
        if datatype.name == "bfloat16":
            words = stored.astype(np.uint32, order="C")
            words <<= 16
            values = words.view(np.float32)
        else:
            with np.errstate(over="ignore"):  # infinite then, which make_weights refuses
                values = stored.astype(np.float32, order="C", copy=False)
        budget.give_back(stored_bytes)
        return values

    def _bytes(self, layout: bytes, size: int) -> bytes:
        """Section IV.A.2.i."""
        version, kind = unpack("BB", layout)
        if version not in (3, 4) or kind not in (0, 1) or self._find(FILTERS) is not None:
            what = {2: "in chunks", 3: "views of others"}.get(kind, f"in layout {version}.{kind}")
            raise Hdf5Error(f"its values are {what}; load it with Keras and save it again")
        if kind == 0:
            (stored,), data = unpack("H", layout, 2), layout[4 : 4 + size]
            if stored < size or len(data) != size:
                raise Hdf5Error(f"it has {min(stored, len(data))} bytes of {size}")
            return data
        address, stored = unpack("QQ", layout, 2)
        if stored < size or (size and address == UNDEFINED):
            raise Hdf5Error(f"it has {stored} bytes of {size}")
        return self._file.values(address, size) if size else b""

    def attribute(self, name: str) -> list[bytes] | None:
        """Return the texts of an attribute, one where it is a single text; None without it."""
        if self._attributes is None:
            if self._find(ATTRIBUTE_INFO) is not None:
                raise Hdf5Error(f"attributes are {NEWER}")
            messages = self._attribute_messages
            self._file.budget.work(ITEM_STEPS * len(messages))
            self._attributes = {attribute_name(one): one for one in messages}
        found = self._attributes.get(name.encode())
        return None if found is None else self._file.texts(found, name)

    def text(self, name: str) -> str | None:
        """Return an attribute that is a single text; None without it."""
        found = self.attribute(name)
        if not found:
            return None
        self._file.budget.memory(WIDEST * len(found[0]), f"the attribute {name}")
        return text_of(found[0])


class File:
    """A file to look around in; what is damaged is found when it is met.

    Args:
        file: open for reading, seekable. It stays the caller's.
        budget: what is charged.

    Raises:
        Hdf5Error: here and in every method: it is damaged, or of a layout that is not read here.
        FormatError: likewise: it takes more than a file of this size can need.
    """

    def __init__(self, file: BinaryIO, budget: Budget) -> None:
        self._file = file
        self._size = file.seek(0, 2)
        self.budget = budget
        self._objects: dict[int, Object] = {}
        self._heaps: dict[int, dict[int, bytes]] = {}
        head = self._read(0, 96)
        version, *_, offset_size, length_size = unpack("BBBBBBB", head, 8)
        if head[:8] != HDF5:
            raise Hdf5Error("it does not begin as an HDF5 file does")
        if version not in (0, 1):
            raise Hdf5Error(f"it is {NEWER}" if version < 4 else "its superblock is damaged")
        if (offset_size, length_size) != (8, 8):
            raise Hdf5Error(f"its addresses have {offset_size} and {length_size} bytes, not 8")
        base, _, end, _, _, root = unpack("QQQQQQ", head, 24 if version == 0 else 28)
        if base or end > self._size:
            raise Hdf5Error(f"it is cut short: {self._size} bytes of {end}")
        self.root = self.object(root)

    def _read(self, address: int, size: int) -> bytes:
        """Read a piece of structure.

        No piece is read twice in a sound file. In a damaged one they may overlap, or go in a
        circle, until the budget ends.
        """
        self._check(address, size)
        self.budget.work(READ_STEPS + size / BYTES_A_STEP, "its structure")
        self.budget.memory(size, "its structure")
        return self.values(address, size)

    def values(self, address: int, size: int) -> bytes:
        """Read what is at an address."""
        self._check(address, size)
        self._file.seek(address)
        data = self._file.read(size)
        if len(data) != size:
            raise Hdf5Error(f"it is cut short at {address + len(data)}")
        return data

    def _check(self, address: int, size: int) -> None:
        if address + size > self._size:
            raise Hdf5Error(f"bytes {address} to {address + size} are beyond its end, {self._size}")

    def object(self, address: int) -> Object:
        """Read an object header (IV.A.1.a)."""
        if address not in self._objects:
            self.budget.memory(OBJECT_BYTES, "its objects")
            head = self._read(address, 16)
            version, _, count, _, size = unpack("BBHII", head)
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
            here = min(length // 8, count - len(messages))
            self.budget.memory(MESSAGE_BYTES * here, "its objects")
            self.budget.work(ITEM_STEPS * here, "its objects")
            while at + 8 <= length and len(messages) < count:
                kind, size, flags = unpack("HHB", block, at)
                data = block[at + 8 : at + 8 + size]
                if len(data) != size:
                    raise Hdf5Error(f"the object header at {start} is damaged")
                if flags & 2 and kind in (DATASPACE, DATATYPE, LAYOUT, ATTRIBUTE):
                    raise Hdf5Error(f"an object's message is shared: {NEWER}")
                if kind == CONTINUATION:
                    blocks.append(unpack("QQ", data))  # type: ignore[arg-type]
                messages.append((kind, data))
                at += 8 + size
        if len(messages) < count:
            raise Hdf5Error(f"the object header at {address} lacks messages of its {count}")
        return messages

    def symbols(self, tree: int, heap: int) -> dict[str, int]:
        """Read a group's names and addresses (III.A.1, III.B, III.C, III.D)."""
        head = self._read(heap, 32)
        size, _, address = unpack("QQQ", head, 8)
        if head[:4] != b"HEAP":
            raise Hdf5Error(f"there is no heap of names at {heap}")
        names, links = self._read(address, size), {}
        nodes, seen = [tree], {tree}
        for node in nodes:  # which grows as it goes
            head = self._read(node, 8)
            if head[:4] == b"SNOD":
                (count,) = unpack("H", head, 6)
                entries = self._read(node + 8, 40 * count)
                self.budget.work(2 * ITEM_STEPS * count, "its groups")
                for at in range(0, 40 * count, 40):
                    name, target, cached = unpack("QQI", entries, at)
                    if cached == 2 or target == UNDEFINED:
                        continue  # a symbolic link, which is not followed
                    end = names.find(b"\0", name, name + LONGEST_NAME)
                    if name >= len(names) or end < 0:
                        raise Hdf5Error(f"a name in the group at {tree} is damaged or too long")
                    self.budget.memory(LINK_BYTES + WIDEST * (end - name), "its groups")
                    links[names[name:end].decode("utf-8", "replace")] = target
                self.budget.give_back(40 * count)
            elif head[:5] == b"TREE\0":
                (count,) = unpack("H", head, 6)
                body = self._read(node + 24, 16 * count + 8)
                self.budget.work(count, "its groups")
                self.budget.memory(CHILD_BYTES * count, "its groups")
                children = unpack("8xQ" * count, body)
                if seen.intersection(children) or len(set(children)) < count:
                    raise Hdf5Error(f"the group at {tree} goes in a circle")
                seen.update(children)
                nodes.extend(children)
            else:
                raise Hdf5Error(f"there is no group at {node}")
        self.budget.give_back(len(names))
        return links

    def texts(self, data: bytes, name: str) -> list[bytes]:
        """Read an attribute's texts."""
        _, datatype_data, shape_data, rest = attribute_parts(data)
        datatype, count = type_of(datatype_data), math.prod(shape_of(shape_data))
        if count == 0:
            return []
        if datatype.kind not in ("fixed", "variable") or datatype.size < 1:
            raise Hdf5Error(f"the attribute {name} is not text")
        if count * datatype.size > len(rest):
            raise Hdf5Error(f"the attribute {name} is cut short")
        self.budget.work(ITEM_STEPS * count, f"the attribute {name}")
        self.budget.memory((TEXT_BYTES + datatype.size) * count, f"the attribute {name}")
        pieces = [rest[datatype.size * n : datatype.size * (n + 1)] for n in range(count)]
        return [self._variable(one) for one in pieces] if datatype.kind == "variable" else pieces

    def _variable(self, reference: bytes) -> bytes:
        """Return a text of variable length, which stands elsewhere."""
        length, address, index = unpack("IQI", reference)
        if address not in self._heaps:
            self._heaps[address] = self._heap(address)
        data = self._heaps[address].get(index, b"")
        if len(data) < length:
            raise Hdf5Error(f"a text is missing in the heap at {address}")
        if length < len(data):
            self.budget.work(length / BYTES_A_STEP, "its texts")
            self.budget.memory(length, "its texts")
        return data[:length]

    def _heap(self, address: int) -> dict[int, bytes]:
        """Read a heap of texts (III.E)."""
        head = self._read(address, 16)
        (size,) = unpack("Q", head, 8)
        if head[:4] != b"GCOL" or size < 16:
            raise Hdf5Error(f"there is no heap of texts at {address}")
        heap, at, texts = self._read(address + 16, size - 16), 0, {}
        while at + 16 <= len(heap):
            index, _, _, size = unpack("HHIQ", heap, at)
            if index == 0:  # what is free
                break
            self.budget.work(ITEM_STEPS, "its texts")
            self.budget.memory(TEXT_BYTES + min(size, len(heap)), "its texts")
            texts[index] = heap[at + 16 : at + 16 + size]
            at += 16 + padded(size)
        return texts
