"""The bytes of an ONNX model before they are parsed: what that would make, without large tensors.

A message of two bytes becomes an object of some hundred: so all are counted before there are any.
And tensors stay where they are in the file until they are asked for: in the bytes that are parsed
stands where that is, so that parsing copies none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..._budget import Budget

SMALL = 1 << 16  # a model of so many bytes is parsed as it is: it cannot become much
CUT = 1 << 12  # values of so many bytes are left out
MARK = b"\0cut"  # what stands in place of values begins with it
MARK_BYTES = 20
DEEPEST = 100  # messages in messages, as protobuf's own parsers have it
MESSAGE_BYTES = 200  # that protobuf takes for one, as was measured with upb
TEXT_BYTES, NUMBER_BYTES = 32, 16  # for one in a list, beside what it holds
STEPS = 0.5  # of looking at one field

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
VARINTS = {3, 4, 5, 8, 13, 14, 17, 18}  # FieldDescriptorProto.Type: whole numbers, bool and enum


@dataclass(eq=False)
class Kind:
    """A type of messages: the kinds of its fields that are messages; and which hold other things.

    By tags, of fields that have a length in front. numbers: lists of whole numbers. raw: values of
    a tensor.
    """

    messages: dict[int, Kind] = field(default_factory=dict)
    numbers: set[int] = field(default_factory=set)
    raw: int = 0

    @cached_property
    def special(self) -> set[int]:
        """All of these tags."""
        return {*self.messages, *self.numbers, self.raw}


def kinds(descriptor: Any) -> Kind:
    """Return the kind that one of protobuf's descriptors describes."""
    known: dict[str, Kind] = {}

    def kind_of(one: Any) -> Kind:
        if one.full_name not in known:
            known[one.full_name] = kind = Kind()
            for each in one.fields:
                tag = each.number << 3 | BYTES
                if each.message_type is not None:
                    kind.messages[tag] = kind_of(each.message_type)
                elif one.name == "TensorProto" and each.name == "raw_data":
                    kind.raw = tag
                elif each.type in VARINTS:
                    kind.numbers.add(tag)
        return known[one.full_name]

    return kind_of(descriptor)


def mark(at: int, size: int) -> bytes:
    """Return what stands in place of values."""
    return MARK + at.to_bytes(8, "little") + size.to_bytes(8, "little")


def marked(values: bytes) -> tuple[int, int] | None:
    """Return where the values are that were left out, and how many bytes; None where they stand."""
    if len(values) != MARK_BYTES or not values.startswith(MARK):
        return None
    return int.from_bytes(values[4:12], "little"), int.from_bytes(values[12:], "little")


def outline(data: bytes, kind: Kind, budget: Budget) -> bytes:
    """Return a message without the large values in it, which `mark` stands for.

    Raises:
        ValueError: it is no message.
        FormatError: what it becomes is more than a file of this size can need.
    """
    if len(data) <= SMALL and MARK not in data:
        return data
    scan = _Scan(data, budget)
    try:
        scan.message(kind, 0, len(data), 0)
    except IndexError:
        raise ValueError("it ends in the middle of a field") from None
    budget.memory(scan.bytes, "what it is made of")
    budget.work(scan.steps)
    if not scan.parts:
        return data
    return b"".join([*scan.parts, data[scan.copied :]])


class _Scan:
    """Looks at all fields.

    bytes, steps: what the messages so far take. parts: what was written of the outline, and copied:
    up to where in the data.
    """

    def __init__(self, data: bytes, budget: Budget) -> None:
        self._data, self._budget = data, budget
        self.bytes, self.steps = 0, 0.0
        self.parts: list[bytes] = []
        self.copied = 0
        self._has_marks = MARK in data

    def message(self, kind: Kind, at: int, end: int, depth: int) -> int:
        """Look at one message; return by how much it is shorter in the outline."""
        data, special = self._data, kind.special
        first, texts, count, shorter = at, 0, 0, 0
        while at < end:
            begin, tag = at, data[at]
            at += 1
            if tag > 127:
                tag, at = self._varint(begin)
            wire = tag & 7
            if wire == BYTES:
                size, at = data[at], at + 1
                if size > 127:
                    size, at = self._varint(at - 1)
                stop = at + size
                if stop > end:
                    raise ValueError("a field is longer than what it is in")
                if tag in special:
                    shorter += self._special(kind, tag, begin, at, stop, depth)
                else:
                    texts += 1
                at = stop
            elif wire == VARINT:
                while data[at] > 127:
                    at += 1
                at += 1
                count += 1
            elif wire in (FIXED32, FIXED64):
                at += 4 if wire == FIXED32 else 8
                count += 1
            else:
                raise ValueError(f"there is a field of wire type {wire}, which ONNX has none of")
        if at > end:
            raise ValueError("a field is longer than what it is in")
        self._charge(texts, count, end - first)
        return shorter

    def _charge(self, texts: int, numbers: int, size: int) -> None:
        """Count a message of so many bytes, and see whether it is too much by now."""
        self.bytes += MESSAGE_BYTES + TEXT_BYTES * texts + NUMBER_BYTES * numbers + size
        self.steps += STEPS * (2 + texts) + 0.1 * numbers
        if self.bytes > self._budget.memory_left or self.steps > self._budget.work_left:
            self._budget.memory(self.bytes, "what it is made of")
            self._budget.work(self.steps)

    def _special(self, kind: Kind, tag: int, begin: int, at: int, stop: int, depth: int) -> int:
        """Look at a field that is more than a text; return by how much it is shorter."""
        if tag in kind.messages:
            return self._inner(kind.messages[tag], begin, at, stop, depth)
        if tag == kind.raw:
            is_cut = stop - at >= CUT or self._data.startswith(MARK, at)
            return self._cut(begin, at, stop) if is_cut else 0
        count = self._count(at, stop - at)
        self.bytes += NUMBER_BYTES * count
        self.steps += 0.1 * count
        return 0

    def _inner(self, kind: Kind, begin: int, at: int, stop: int, depth: int) -> int:
        """Look at a message in one; where it becomes shorter, so does the length before it."""
        if depth >= DEEPEST:
            raise ValueError(f"its messages are nested more than {DEEPEST} times")
        size = stop - at
        place, copied = len(self.parts), self.copied
        shorter = self.message(kind, at, stop, depth + 1)
        self.bytes -= size  # which was counted with what is in it
        if not shorter:
            return 0
        length = _encoded(size - shorter)
        tag = self._tag(begin)
        self.parts[place:place] = [self._data[copied:begin], tag, length]
        # What stands behind them begins with this message, and not where copying had come to.
        self.parts[place + 3] = self._data[at : copied + len(self.parts[place + 3])]
        return shorter + (at - begin - len(tag)) - len(length)

    def _cut(self, begin: int, at: int, stop: int) -> int:
        tag, found = self._tag(begin), mark(at, stop - at)
        self.parts += [self._data[self.copied : begin], tag + _encoded(len(found)) + found]
        self.copied = stop
        self.bytes -= stop - at
        return (stop - begin) - len(tag) - 1 - len(found)

    def _count(self, at: int, size: int) -> int:
        """Return how many numbers stand packed in so many bytes."""
        return int(np.count_nonzero(np.frombuffer(self._data, np.uint8, size, at) < 128))

    def _tag(self, begin: int) -> bytes:
        return _encoded(self._varint(begin)[0])

    def _varint(self, at: int) -> tuple[int, int]:
        number = 0
        for shift in range(0, 70, 7):
            byte = self._data[at]
            at += 1
            number |= (byte & 127) << shift
            if byte < 128:
                return number, at
        raise ValueError("a number has more than 10 bytes")


def _encoded(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
