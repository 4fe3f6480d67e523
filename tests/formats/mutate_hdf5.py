"""Damage to HDF5 files of the oldest layout that knows where sizes, addresses and names stand.

    data = mutate(path.read_bytes(), random.Random(seed))

Section numbers are of "HDF5 File Format Specification Version 3.0". There are no checksums.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

MAGIC = b"\x89HDF\r\n\x1a\n"
UNDEFINED = 2**64 - 1
MOST_OBJECTS = 400  # of a file that are walked to
NUMBERS = (0, 1, 2, 7, 8, 16, 0x7F, 0xFF, 0xFFFF, 2**31 - 1, 2**32 - 1, 2**40, 2**63, UNDEFINED)


@dataclass
class Parts:
    """Where things stand in a file: (offset, width) of each number.

    addresses: by what they lead to: "object", "tree", "heap", "names", "texts", "values".
    """

    addresses: dict[str, list[int]] = field(default_factory=dict)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    counts: list[tuple[int, int]] = field(default_factory=list)
    flags: list[tuple[int, int]] = field(default_factory=list)
    shapes: list[tuple[int, int]] = field(default_factory=list)
    name_offsets: list[int] = field(default_factory=list)
    name_blocks: list[tuple[int, int]] = field(default_factory=list)  # place, size
    messages: list[tuple[int, int]] = field(default_factory=list)  # place with its head, size
    entries: list[int] = field(default_factory=list)  # of groups, 40 bytes each


class _Walk:
    """Goes over the objects of a file, as far as they are sound."""

    def __init__(self, data: bytes) -> None:
        self._data, self.parts = data, Parts()
        self._seen: set[int] = set()
        self._waiting: list[tuple[str, int]] = []

    def run(self) -> Parts:
        base = 24 if self._number(8, 1) == 0 else 28
        self.parts.flags += [(8, 1), (13, 1), (14, 1)]
        self.parts.sizes.append((base + 16, 8))
        self._follow("object", base + 40)
        steps: dict[str, Callable[[int], None]] = {
            "object": self._object,
            "tree": self._tree,
            "heap": self._heap,
            "texts": self._texts,
        }
        while self._waiting and len(self._seen) < MOST_OBJECTS:
            kind, address = self._waiting.pop()
            if kind in steps and address not in self._seen:
                self._seen.add(address)
                try:
                    steps[kind](address)
                except (struct.error, IndexError):
                    continue
        return self.parts

    def _number(self, at: int, width: int) -> int:
        if at + width > len(self._data):
            raise IndexError(at)
        return int.from_bytes(self._data[at : at + width], "little")

    def _follow(self, kind: str, at: int) -> None:
        """Note the address that stands at a place, and go there later."""
        self.parts.addresses.setdefault(kind, []).append(at)
        address = self._number(at, 8)
        if address < len(self._data):
            self._waiting.append((kind, address))

    def _object(self, at: int) -> None:
        """An object header (IV.A.1.a)."""
        count, size = self._number(at + 2, 2), self._number(at + 8, 4)
        self.parts.flags.append((at, 1))
        self.parts.counts.append((at + 2, 2))
        self.parts.sizes.append((at + 8, 4))
        blocks = [(at + 16, size)]
        for start, length in blocks:  # which grows as it goes
            place = start
            while place + 8 <= start + length and count:
                kind, size = self._number(place, 2), self._number(place + 2, 2)
                self.parts.sizes.append((place + 2, 2))
                self.parts.flags += [(place, 2), (place + 4, 1)]
                self.parts.messages.append((place, 8 + size))
                self._message(kind, place + 8, size)
                if kind == 0x10 and len(blocks) < 8:
                    blocks.append((self._number(place + 8, 8), self._number(place + 16, 8)))
                place, count = place + 8 + size, count - 1

    def _message(self, kind: int, at: int, size: int) -> None:
        parts = self.parts
        if kind == 0x11:  # a symbol table
            self._follow("tree", at)
            self._follow("heap", at + 8)
        elif kind == 0x10:  # a continuation
            parts.addresses.setdefault("values", []).append(at)
            parts.sizes.append((at + 8, 8))
        elif kind == 0x1:
            self._shape(at)
        elif kind == 0x3:
            self._type(at)
        elif kind == 0x8:  # a layout
            parts.flags += [(at, 1), (at + 1, 1)]
            if self._number(at + 1, 1) == 1:
                parts.addresses.setdefault("values", []).append(at + 2)
                parts.sizes.append((at + 10, 8))
            else:
                parts.sizes.append((at + 2, 2))
        elif kind == 0xC:
            self._attribute(at, size)

    def _shape(self, at: int) -> None:
        version, rank = self._number(at, 1), self._number(at + 1, 1)
        self.parts.counts.append((at + 1, 1))
        first = at + (8 if version == 1 else 4)
        self.parts.shapes += [(first + 8 * n, 8) for n in range(min(rank, 8))]

    def _type(self, at: int) -> None:
        self.parts.flags += [(at, 1), (at + 1, 1)]
        self.parts.sizes.append((at + 4, 4))

    def _attribute(self, at: int, size: int) -> None:
        """IV.A.2.m, of version 1 or 3."""
        version = self._number(at, 1)
        sizes = [self._number(at + 2 + 2 * n, 2) for n in range(3)]
        self.parts.sizes += [(at + 2 + 2 * n, 2) for n in range(3)]
        place = at + 8 + (version == 3)
        places = []
        for one in sizes:
            places.append(place)
            place += -(-one // 8) * 8 if version == 1 else one
        self.parts.name_blocks.append((places[0], sizes[0]))
        self._type(places[1])
        self._shape(places[2])
        if self._number(places[1], 1) & 15 == 9:  # references to texts of variable length
            while place + 16 <= at + size:
                self.parts.sizes += [(place, 4), (place + 12, 4)]
                self._follow("texts", place + 4)
                place += 16

    def _tree(self, at: int) -> None:
        """A node of a group, or a leaf of it (III.A.1, III.B)."""
        count = self._number(at + 6, 2)
        self.parts.counts.append((at + 6, 2))
        if self._data[at : at + 4] == b"SNOD":
            for place in range(at + 8, at + 8 + 40 * count, 40):
                self.parts.entries.append(place)
                self.parts.name_offsets.append(place)
                self.parts.flags.append((place + 16, 4))
                self._follow("object", place + 8)
        elif self._data[at : at + 4] == b"TREE":
            self.parts.flags += [(at + 4, 1), (at + 5, 1)]
            for n in range(count):
                self._follow("tree", at + 32 + 16 * n)

    def _heap(self, at: int) -> None:
        """A heap of names (III.D)."""
        self.parts.sizes.append((at + 8, 8))
        self.parts.addresses.setdefault("names", []).append(at + 24)
        self.parts.name_blocks.append((self._number(at + 24, 8), self._number(at + 8, 8)))

    def _texts(self, at: int) -> None:
        """A heap of texts (III.E)."""
        size, place = self._number(at + 8, 8), at + 16
        self.parts.sizes.append((at + 8, 8))
        while place + 16 <= min(at + size, len(self._data)) and self._number(place, 2):
            self.parts.counts.append((place, 2))
            self.parts.sizes.append((place + 8, 8))
            self.parts.name_blocks.append((place + 16, self._number(place + 8, 8)))
            place += 16 + -(-self._number(place + 8, 8) // 8) * 8


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return a file with one or a few things in it changed; bytes of it where it is not an HDF5."""
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        parts = Parts()
        if result[:8] == MAGIC and len(result) >= 96:
            with suppress(struct.error, IndexError):
                parts = _Walk(bytes(result)).run()
        changes = CHANGES if parts.addresses else (_bytes,)
        rng.choice(changes)(result, parts, rng)
    if result[:8] == MAGIC and len(result) >= 96 and rng.random() < 0.9:  # else it is cut short
        at = (24 if result[8] == 0 else 28) + 16
        result[at : at + 8] = len(result).to_bytes(8, "little")
    return bytes(result)


def _put(data: bytearray, at: int, width: int, value: int) -> None:
    if at + width <= len(data):
        data[at : at + width] = (value % 256**width).to_bytes(width, "little")


def _get(data: bytearray, at: int, width: int) -> int:
    return int.from_bytes(data[at : at + width], "little")


def _number(data: bytearray, place: tuple[int, int], rng: random.Random) -> None:
    at, width = place
    old = _get(data, at, width)
    new = (
        rng.choice(NUMBERS),
        old + rng.choice((-8, -1, 1, 8)),
        old * rng.choice((2, 3, 1000)),
        len(data) + rng.randrange(-64, 64),
        rng.randrange(1 << 8 * width),
    )
    _put(data, at, width, rng.choice(new))


def _sizes(data: bytearray, parts: Parts, rng: random.Random) -> None:
    if places := rng.choice((parts.sizes, parts.counts, parts.shapes)):
        _number(data, rng.choice(places), rng)


def _alias(data: bytearray, parts: Parts, rng: random.Random) -> None:
    """Let an address, or many, lead to where another of its kind does, or one of any kind."""
    kind = rng.choice(sorted(parts.addresses))
    places = parts.addresses[kind]
    other = parts.addresses[kind if rng.random() < 0.7 else rng.choice(sorted(parts.addresses))]
    target = _get(data, rng.choice(other), 8)
    count = rng.choice((1, 1, 2, len(places)))
    for at in rng.sample(places, min(count, len(places))):
        _put(data, at, 8, target)


def _wild(data: bytearray, parts: Parts, rng: random.Random) -> None:
    places = parts.addresses[rng.choice(sorted(parts.addresses))]
    _put(data, rng.choice(places), 8, rng.choice((0, UNDEFINED, rng.randrange(len(data)))))


def _names(data: bytearray, parts: Parts, rng: random.Random) -> None:
    """Give entries the same name, or a part of one; or take the ends out of a block of names."""
    if parts.name_offsets and rng.random() < 0.6:
        value = _get(data, rng.choice(parts.name_offsets), 8) + rng.choice((0, 0, 1, 8))
        for at in rng.sample(parts.name_offsets, rng.choice((1, len(parts.name_offsets)))):
            _put(data, at, 8, value)
    elif parts.name_blocks:
        at, size = rng.choice(parts.name_blocks)
        size = min(size, len(data) - at, 1 << 16)
        if size > 0:
            block = data[at : at + size].replace(b"\0", rng.choice((b"a", b"/", b"\xff", b"\0")))
            data[at : at + size] = block


def _flags(data: bytearray, parts: Parts, rng: random.Random) -> None:
    if parts.flags:
        at, width = rng.choice(parts.flags)
        bit = _get(data, at, width) ^ (1 << rng.randrange(8 * width))
        _put(data, at, width, rng.choice((bit, rng.randrange(20))))


def _swap(data: bytearray, parts: Parts, rng: random.Random) -> None:
    """Put a message in the place of another, as much of it as there is room for."""
    if len(parts.messages) > 1:
        (source, size), (target, room) = rng.sample(parts.messages, 2)
        count = min(size, room)
        data[target : target + count] = data[source : source + count]


def _many_entries(data: bytearray, parts: Parts, rng: random.Random) -> None:
    """Move a group to the end, with one of its entries many times: under one name or several."""
    trees = [at for at in parts.addresses.get("tree", []) if _get(data, at, 8) < len(data)]
    if not trees or not parts.entries:
        return
    count = rng.choice((2, 50, 2000))
    one = bytearray(data[(at := rng.choice(parts.entries)) : at + 40])
    if len(one) < 40:
        return
    node = bytearray(b"SNOD\1\0") + count.to_bytes(2, "little")
    step = rng.choice((0, 0, 1, 8))
    for n in range(count):
        _put(one, 0, 8, _get(one, 0, 8) + (step if n else 0))
        node += one
    _put(data, rng.choice(trees), 8, len(data))
    data += node


def _large_names(data: bytearray, parts: Parts, rng: random.Random) -> None:
    """Move a block of names to the end, and make it long."""
    if places := parts.addresses.get("names", []):
        at = rng.choice(places)
        size = min(_get(data, at - 16, 8), 1 << 16, len(data))
        old = data[_get(data, at, 8) :][:size] if _get(data, at, 8) < len(data) else b""
        block = old + rng.choice((b"a", b"\0", b"ab/")) * rng.choice((100, 5000, 100_000)) + b"\0"
        _put(data, at, 8, len(data))
        _put(data, at - 16, 8, len(block))
        data += block


def _many_references(data: bytearray, parts: Parts, rng: random.Random) -> None:
    """Let a shape of an attribute or array be large, and all texts be one."""
    for at, width in rng.sample(parts.shapes, min(3, len(parts.shapes))):
        _put(data, at, width, rng.choice((1000, 4096, 1 << 20)))
    if places := parts.addresses.get("texts"):
        target = _get(data, places[0], 8)
        for at in places:
            _put(data, at, 8, target)


def _cut(data: bytearray, parts: Parts, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _bytes(data: bytearray, parts: Parts, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 4, 16))):
        if data:
            data[rng.randrange(len(data))] = rng.choice((0, 1, 0xFF, rng.randrange(256)))


Change = Callable[[bytearray, Parts, random.Random], None]
CHANGES: tuple[Change, ...] = (
    *(_sizes, _sizes, _sizes, _alias, _alias, _wild, _names, _names, _flags, _swap),
    *(_many_entries, _large_names, _many_references, _cut, _bytes),
)
