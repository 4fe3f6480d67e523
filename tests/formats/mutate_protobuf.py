"""Mutations of protobuf messages that keep their structure: fields, lengths and names.

The wire format is parsed without a schema into a tree; fields are copied, moved, nested, dropped
and changed there, and all lengths are right when it is written again.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
NUMBERS = [0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 13, 16, 28, 127, 128, 255, 256, 65535, 65536]
NUMBERS += [2**20, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1]
DEEPEST = 24
MOST_FIELDS = 5000  # that are looked at in one message
GROWTH = 1 << 20  # bytes that mutations may add


@dataclass
class Field:
    """One field: its number, its wire type, and a number, bytes, or the fields of a message."""

    number: int
    wire: int
    value: int | bytes | list[Field] = field(default_factory=list)


def varint(number: int) -> bytes:
    number %= 2**64
    result = bytearray()
    while number > 127:
        result.append(number & 127 | 128)
        number >>= 7
    result.append(number)
    return bytes(result)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = 0
    for shift in range(0, 70, 7):
        byte = data[at]  # an IndexError where it ends
        number |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return number, at
    raise ValueError("a varint has more than 10 bytes")


def parse(data: bytes, depth: int = 0) -> list[Field]:
    """Return the fields of a message.

    Raises:
        ValueError, IndexError: it is none.
    """
    fields: list[Field] = []
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, wire = tag >> 3, tag & 7
        if not 1 <= number < 1000:
            raise ValueError("no such field")
        value: int | bytes | list[Field]
        if wire == VARINT:
            value, at = _read_varint(data, at)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
            value, at = data[at : at + size], at + size
        elif wire == BYTES:
            size, at = _read_varint(data, at)
            value, at = data[at : at + size], at + size
            if at > len(data):
                raise ValueError("it ends early")
            value = _message(value, depth + 1)
        else:
            raise ValueError("no such wire type")
        if at > len(data) or len(fields) >= MOST_FIELDS:
            raise ValueError("it ends early, or has too many fields")
        fields.append(Field(number, wire, value))
    return fields


def _message(data: bytes, depth: int) -> bytes | list[Field]:
    """Return the fields that some bytes seem to be; else the bytes."""
    if not data or depth > DEEPEST or data.isalnum():
        return data
    try:
        return parse(data, depth)
    except (ValueError, IndexError):
        return data


def write(fields: list[Field]) -> bytes:
    """Return the bytes of a message."""
    parts: list[bytes] = []
    for one in fields:
        parts.append(varint(one.number << 3 | one.wire))
        if isinstance(one.value, int):
            parts.append(varint(one.value))
        else:
            content = write(one.value) if isinstance(one.value, list) else one.value
            if one.wire == BYTES:
                parts.append(varint(len(content)))
            parts.append(content)
    return b"".join(parts)


def copied(one: Field) -> Field:
    value = [copied(inner) for inner in one.value] if isinstance(one.value, list) else one.value
    return Field(one.number, one.wire, value)


def _messages(fields: list[Field]) -> Iterator[list[Field]]:
    yield fields
    for one in fields:
        if isinstance(one.value, list):
            yield from _messages(one.value)


def _size(one: Field) -> int:
    if isinstance(one.value, list):
        return 2 + sum(_size(inner) for inner in one.value)
    return 2 if isinstance(one.value, int) else 2 + len(one.value)


def _depth(one: Field) -> int:
    if not isinstance(one.value, list):
        return 0
    return 1 + max((_depth(inner) for inner in one.value), default=0)


def mutate(data: bytes, rng: random.Random) -> bytes:
    """Return a message with some of its fields changed; other bytes where it is not a message."""
    try:
        root = parse(data)
    except (ValueError, IndexError):
        root = []
    if not root:
        at = rng.randrange(len(data) + 1)
        return data[:at] + rng.randbytes(rng.choice([1, 2, 8])) + data[at + rng.choice([0, 1]) :]
    room = GROWTH
    for _ in range(rng.choice([1, 1, 1, 2, 3, 5, 12])):
        room -= _change(root, rng, room)
    result = write(root)
    if rng.random() < 0.02:  # and now and then one whose lengths are wrong
        at = rng.randrange(len(result) + 1)
        result = result[:at] + varint(rng.choice(NUMBERS)) + result[at + 1 :]
    return result


def _change(root: list[Field], rng: random.Random, room: int) -> int:
    """Change one thing; return by how much it may have grown."""
    messages = [one for one in _messages(root) if one]
    fields = rng.choice(messages)
    at = rng.randrange(len(fields))
    one = fields[at]
    kind = rng.randrange(11)
    if kind == 0 and len(fields) > 1:
        del fields[at]
    elif kind == 1:  # the same field many times
        size = _size(one)
        count = min(rng.choice([1, 1, 2, 10, 100, 3000]), max(1, room // size))
        fields[at:at] = [copied(one) for _ in range(count)]
        return size * count
    elif kind == 2:  # to another message, or another place
        rng.choice(messages).insert(0, copied(one))
        return _size(one)
    elif kind == 3:  # a message in itself
        others = [each for each in messages if _depth(Field(1, BYTES, each)) < DEEPEST]
        if others and _depth(one) < DEEPEST:
            rng.choice(others).append(copied(one))
            return _size(one)
    elif kind == 4:  # another value of the same kind
        values = [other for each in messages for other in each if other.wire == one.wire]
        other = rng.choice(values)
        one.value = copied(other).value
        return _size(other)
    elif kind in (5, 6):
        _change_value(messages, rng, kind)
    elif kind == 7:
        _change_bytes(messages, rng)
    elif kind in (8, 9):
        _change_kind(one, fields, rng, kind)
    else:  # numbers, packed or one by one
        return _add_numbers(fields, at, rng, room)
    return 0


def _change_value(messages: list[list[Field]], rng: random.Random, kind: int) -> None:
    if kind == 5:  # another name of those that are there
        names = [f for each in messages for f in each if isinstance(f.value, bytes)]
        names = [f for f in names if f.wire == BYTES and len(f.value) < 200]
        if len(names) > 1:
            rng.choice(names).value = rng.choice(names).value
        return
    numbers = [f for each in messages for f in each if f.wire == VARINT]
    if numbers:
        rng.choice(numbers).value = rng.choice(NUMBERS)


def _change_kind(one: Field, fields: list[Field], rng: random.Random, kind: int) -> None:
    if kind == 8:  # another field of the same type
        one.number = rng.choice([*(other.number for other in fields), *range(1, 26)])
        return
    one.wire = rng.choice([VARINT, FIXED64, BYTES, FIXED32])
    sizes = {FIXED64: 8, FIXED32: 4, BYTES: 3}
    number = rng.choice(NUMBERS)
    one.value = number if one.wire == VARINT else rng.randbytes(sizes[one.wire])


def _add_numbers(fields: list[Field], at: int, rng: random.Random, room: int) -> int:
    number = fields[at].number
    count = min(rng.choice([1, 3, 8, 1000]), max(1, room // 10))
    if rng.random() < 0.5:
        packed = b"".join(varint(rng.choice(NUMBERS)) for _ in range(count))
        fields.insert(at, Field(number, BYTES, packed))
    else:
        fields[at:at] = [Field(number, VARINT, rng.choice(NUMBERS)) for _ in range(count)]
    return 10 * count


def _change_bytes(messages: list[list[Field]], rng: random.Random) -> None:
    texts = [f for each in messages for f in each if isinstance(f.value, bytes) and f.value]
    if not texts:
        return
    one = rng.choice(texts)
    assert isinstance(one.value, bytes)
    changed = bytearray(one.value)
    at = rng.randrange(len(changed))
    kind = rng.randrange(5) if one.wire == BYTES else 0
    if kind == 0:
        changed[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del changed[at:]
    elif kind == 2:
        changed[at:at] = rng.randbytes(rng.choice([1, 4, 8]))
    elif kind == 3:  # as a shape or an axis that is computed with
        number = rng.choice(NUMBERS).to_bytes(8, "little")
        changed[at // 8 * 8 : at // 8 * 8 + 8] = number
    else:
        changed *= rng.choice([2, 3, 64]) if len(changed) < 1000 else 2
    one.value = bytes(changed)
