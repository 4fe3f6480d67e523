"""Mutations of TFLite's flatbuffers that keep their structure: tables, vectors, offsets.

A file is parsed into objects, of which several places may name the same one; they are aliased,
copied, dropped and changed there, and written again with offsets that fit. Counts, offsets and
tables of offsets are then changed in some, as bytes.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field
from typing import TypeAlias

# What the fields of each table are: the size of a number; "text"; "[n" for a vector of numbers of
# so many bytes; the name of a table; "[name" for a vector of tables. "?" is a table of any kind.
SCHEMA: dict[str, list[int | str]] = {
    "Model": [4, "[Code", "[Graph", "text", "[Buffer", "[4", "[Metadata", "[Signature"],
    "Code": [1, "text", 4, 4],
    "Graph": ["[Tensor", "[4", "[4", "[Operator", "text", 4],
    "Tensor": ["[4", 1, 4, "text", "Quantised", 1, "?", "[4", 1, "[Variant"],
    "Variant": ["[4", 1, 1],
    "Quantised": ["[4", "[4", "[4", "[8", 1, "?", 4],
    "Buffer": ["[1", 8, 8],
    "Operator": [4, "[4", "[4", 1, "?", "[1", 1, "[1", "[4", 8, 8, 1, "?"],
    "Metadata": ["text", 4],
    "Signature": ["[Map", "[Map", "text", "text", 4],
    "Map": ["text", 4],
}
NUMBERS = [0, 1, 2, 3, 4, 8, 16, 24, 127, 128, 255, 256, 1000, 65535, 65536, 2**20, 2**24]
NUMBERS += [2**28, 2**31 - 1, 2**31, 2**32 - 4, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1]
MOST = 100_000  # objects that are parsed
GROWTH = 1 << 18  # entries that mutations may add


@dataclass(eq=False)
class Table:
    """A table: what is in its slots."""

    kind: str
    slots: dict[int, bytes | Item] = field(default_factory=dict)


@dataclass(eq=False)
class Tables:
    """A vector of tables."""

    kind: str
    items: list[Table] = field(default_factory=list)


@dataclass(eq=False)
class Raw:
    """A vector of numbers, a text; or a table of unknown kind, as it stands."""

    kind: str
    data: bytes
    count: int = 0
    before: bytes = b""  # of a table, its table of offsets


Item: TypeAlias = "Table | Tables | Raw"


class _Parser:
    def __init__(self, data: bytes) -> None:
        self._data, self._known = data, dict[tuple[str, int], Item]()

    def number(self, at: int, size: int) -> int:
        if at < 0 or at + size > len(self._data):
            raise ValueError("an offset leads out of the file")
        return int.from_bytes(self._data[at : at + size], "little")

    def at(self, place: int) -> int:
        return place + self.number(place, 4)

    def item(self, kind: int | str, at: int) -> Item:
        key = (str(kind), at)
        if key not in self._known:
            if len(self._known) > MOST:
                raise ValueError("too many objects")
            self._known[key] = self._item(str(kind), at, key)
        return self._known[key]

    def _item(self, kind: str, at: int, key: tuple[str, int]) -> Item:
        if kind == "text" or kind[1:].isdigit():
            size = 1 if kind == "text" else int(kind[1:])
            count = self.number(at, 4)
            return Raw(kind, self._data[at + 4 : at + 4 + size * count], count)
        if kind.startswith("["):
            vector = Tables(kind[1:])
            for n in range(min(self.number(at, 4), MOST)):
                one = self.item(kind[1:], self.at(at + 4 + 4 * n))
                assert isinstance(one, Table)
                vector.items.append(one)
            return vector
        offsets = at - struct.unpack("<i", self.number(at, 4).to_bytes(4, "little"))[0]
        size = self.number(offsets, 2)
        if kind == "?":
            inline = self._data[at + 4 : at + self.number(offsets + 2, 2)]
            return Raw("?", inline, 0, self._data[offsets : offsets + size])
        table = Table(kind)
        for slot in range(min((size - 4) // 2, len(SCHEMA[kind]))):
            place = self.number(offsets + 4 + 2 * slot, 2)
            what = SCHEMA[kind][slot]
            if place and isinstance(what, int):
                table.slots[slot] = self.number(at + place, what).to_bytes(what, "little")
            elif place:
                table.slots[slot] = self.item(what, self.at(at + place))
        return table


def parse(data: bytes) -> Table:
    """Return the model.

    Raises:
        ValueError, RecursionError: it is none.
    """
    parser = _Parser(data)
    root = parser.item("Model", parser.at(0))
    assert isinstance(root, Table)
    return root


def _children(item: Item) -> list[Item]:
    if isinstance(item, Table):
        return [one for one in item.slots.values() if not isinstance(one, bytes)]
    return list(item.items) if isinstance(item, Tables) else []


def _ordered(root: Item) -> list[Item]:
    """Return all objects, each behind all that name it: offsets only lead forwards."""
    done: list[Item] = []
    seen = set[int]()
    waiting: list[tuple[Item, bool]] = [(root, False)]
    while waiting:
        item, is_left = waiting.pop()
        if is_left:
            done.append(item)
        elif id(item) not in seen:
            seen.add(id(item))
            waiting.append((item, True))
            waiting += [(one, False) for one in _children(item)]
    return done[::-1]


def write(root: Table) -> bytes:
    """Return a file."""
    result = bytearray(b"\0\0\0\0TFL3")
    places: dict[int, int] = {}
    named: list[tuple[int, Item]] = [(0, root)]
    for item in _ordered(root):
        result += bytes(-len(result) % 16)
        if isinstance(item, Table):
            last = max(item.slots, default=-1)
            offsets, inline = [0] * (last + 1), bytearray(4)
            for slot, value in sorted(item.slots.items()):
                size = len(value) if isinstance(value, bytes) else 4
                inline += bytes(-len(inline) % size)
                offsets[slot] = len(inline)
                inline += value if isinstance(value, bytes) else bytes(4)
            before = struct.pack(f"<{last + 3}H", 2 * last + 6, len(inline), *offsets)
            result += before + bytes(-len(before) % 16)
            places[id(item)] = at = len(result)
            inline[:4] = struct.pack("<i", len(before) + -len(before) % 16)
            for slot, value in item.slots.items():
                if not isinstance(value, bytes):
                    named.append((at + offsets[slot], value))
            result += inline
        elif isinstance(item, Tables):
            places[id(item)] = at = len(result)
            result += struct.pack("<I", len(item.items))
            named += [(at + 4 + 4 * n, one) for n, one in enumerate(item.items)]
            result += bytes(4 * len(item.items))
        elif item.kind == "?":
            result += item.before + bytes(-len(item.before) % 16)
            places[id(item)] = len(result)
            result += struct.pack("<i", len(item.before) + -len(item.before) % 16) + item.data
        else:
            result += bytes(12)  # the values are aligned, and not the count in front of them
            places[id(item)] = len(result)
            result += struct.pack("<I", item.count % 2**32) + item.data + b"\0"
    for at, item in named:
        result[at : at + 4] = struct.pack("<I", places[id(item)] - at)
    return bytes(result)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return a file with some of it changed; other bytes where it is no such file."""
    try:
        root = parse(data)
    except (ValueError, RecursionError, struct.error):
        root = None
    changed = bytearray(data)
    if root is not None and rng.random() < 0.9:
        room = GROWTH
        for _ in range(rng.choice([1, 1, 1, 2, 3, 5, 12])):
            room -= _change(root, rng, room)
        changed = bytearray(write(root))
    if root is None or rng.random() < 0.2:
        _change_bytes(changed, rng)
    return bytes(changed)


def _change(root: Table, rng: random.Random, room: int) -> int:
    """Change one thing; return by how many entries it has grown."""
    items = _ordered(root)
    tables = [one for one in items if isinstance(one, Table) and one.slots]
    vectors = [one for one in items if isinstance(one, Tables) and one.items]
    raws = [one for one in items if isinstance(one, Raw)]
    kind = rng.randrange(9)
    if kind <= 2 and tables:
        _change_table(rng.choice(tables), raws, vectors, rng, kind)
    elif kind == 3 and vectors:  # one table in many places
        vector = rng.choice(vectors)
        count = min(rng.choice([1, 1, 2, 10, 100, 10_000]), max(1, room))
        at = rng.randrange(len(vector.items))
        vector.items[at:at] = [rng.choice(vector.items)] * count
        return count
    elif kind == 4 and vectors:  # another table of the same kind
        vector = rng.choice(vectors)
        others = [t for v in vectors if v.kind == vector.kind for t in v.items]
        vector.items[rng.randrange(len(vector.items))] = rng.choice(others)
    elif kind == 5 and vectors:
        vector = rng.choice(vectors)
        at = rng.randrange(len(vector.items))
        old = vector.items[at]
        if rng.random() < 0.5:
            del vector.items[at]
        else:  # a copy that may be changed alone
            vector.items.insert(at, Table(old.kind, dict(old.slots)))
    elif kind == 6 and raws:  # a count that claims other than what is there
        raw = rng.choice(raws)
        raw.count = rng.choice([*NUMBERS, raw.count + 1, raw.count - 1])
    elif raws:
        return _change_raw(rng.choice(raws), rng, room)
    return 0


def _change_table(
    table: Table, raws: list[Raw], vectors: list[Tables], rng: random.Random, kind: int
) -> None:
    slot = rng.choice(list(table.slots))
    value = table.slots[slot]
    what = SCHEMA[table.kind][slot]
    if kind == 0:
        del table.slots[slot]
    elif isinstance(value, bytes):
        number = rng.choice(NUMBERS) % 256 ** len(value)
        if rng.random() < 0.6:
            number = rng.randrange(24)  # most of them are indices
        table.slots[slot] = number.to_bytes(len(value), "little")
    else:  # another object of the same kind, which other places have, too
        same: list[Item] = [one for one in raws if one.kind == what]
        same += [one for one in vectors if f"[{one.kind}" == what]
        table.slots[slot] = rng.choice(same) if same else value


def _change_raw(raw: Raw, rng: random.Random, room: int) -> int:
    size = int(raw.kind[1:]) if raw.kind[1:].isdigit() else 1
    if not raw.data:
        return 0
    changed, at = bytearray(raw.data), rng.randrange(len(raw.data)) // size * size
    kind = rng.randrange(4)
    if kind == 0:
        changed[at : at + size] = (rng.choice(NUMBERS) % 256**size).to_bytes(size, "little")
    elif kind == 1:
        changed[at : at + size] = rng.randrange(24).to_bytes(size, "little")
    elif kind == 2 and raw.kind != "?":  # values many times
        count = min(rng.choice([1, 2, 10, 1000, 100_000]), max(1, room))
        changed[at:at] = changed[at : at + size] * count
    elif raw.kind != "?":
        del changed[at:]
    if raw.kind != "?" and len(changed) != len(raw.data):
        raw.count = len(changed) // size
    grown = max(0, len(changed) - len(raw.data))
    raw.data = bytes(changed)
    return grown


def _change_bytes(changed: bytearray, rng: random.Random) -> None:
    """Change an offset, a count or a table of offsets."""
    for _ in range(rng.choice([1, 1, 2, 8])):
        size = rng.choice([1, 2, 4])
        at = rng.randrange(max(1, len(changed) // size)) * size
        if rng.random() < 0.5:
            at = at % 4096
        old = int.from_bytes(changed[at : at + size], "little")
        number = rng.choice([*NUMBERS, old + 4, old - 4, old * 2, old + 16])
        changed[at : at + size] = (number % 256**size).to_bytes(size, "little")
