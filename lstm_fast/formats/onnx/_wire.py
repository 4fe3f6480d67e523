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
BYTES_A_BYTE = 17  # at most, of texts and numbers
UNCOUNTED = 12 << 20  # what a model may take beside what is charged
MADE_OF = "what it is made of"
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
    begins: bytes = b""  # how fields of messages begin, in it and in all that is in it

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

    found = kind_of(descriptor)
    tags = {_encoded(tag)[0] for one in known.values() for tag in one.messages}
    found.begins = bytes(
        {*tags, *(tag | 128 for tag in tags)}
    )  # as a number of more bytes than due
    return found


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
        ValueError: it is not a message.
        FormatError: what it becomes is more than a file of this size can need.
    """
    if len(data) <= SMALL and MARK not in data:
        return data
    scan = _scanned(_Scan(data, budget), kind)
    short = scan.outline()
    if short.count(MARK) != scan.cuts:  # some are the file's own
        scan = _scanned(_Scan(data, budget, has_marks=True), kind)
        short = scan.outline()
    if _most(short, kind) > UNCOUNTED:
        budget.memory(_scanned(_Scan(short, budget, is_exact=True), kind).bytes, MADE_OF)
    return short


def _scanned(scan: _Scan, kind: Kind) -> _Scan:
    try:
        scan.message(kind, 0, scan.size, 0)
    except IndexError:
        raise ValueError("it ends in the middle of a field") from None
    scan.budget.work(scan.steps, MADE_OF)
    return scan


def _most(data: bytes, kind: Kind) -> int:
    """Return how many bytes parsing takes at most, by how often there is what begins a message."""
    tags = kind.begins
    return MESSAGE_BYTES * (len(data) - len(data.translate(None, tags))) + BYTES_A_BYTE * len(data)


class _Scan:
    """Looks at all fields; where it is not exact, at those of messages that may hold large values.

    bytes, steps: what the messages so far take. parts: what was written of the outline, and copied:
    up to where in the data. cuts: how often something was left out. has_marks: what looks like a
    mark stands in the data, so that small messages are looked at, too.
    """

    def __init__(
        self, data: bytes, budget: Budget, *, is_exact: bool = False, has_marks: bool = False
    ) -> None:
        self._data, self.budget, self._is_exact = data, budget, is_exact
        self.size = len(data)
        self.bytes, self.steps = 0, 0.0
        self.parts: list[bytes] = []
        self.copied, self.cuts = 0, 0
        self._has_marks = has_marks

    def outline(self) -> bytes:
        """Return the message without what was cut out of it."""
        if not self.parts:
            return self._data
        return b"".join([*self.parts, self._data[self.copied :]])

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
        if self._is_exact:
            self.bytes += MESSAGE_BYTES + TEXT_BYTES * texts + NUMBER_BYTES * numbers + size
        self.steps += STEPS * (2 + texts) + 0.1 * numbers
        if self.bytes > self.budget.memory_left or self.steps > self.budget.work_left:
            self.budget.memory(self.bytes, MADE_OF)
            self.budget.work(self.steps, MADE_OF)

    def _special(self, kind: Kind, tag: int, begin: int, at: int, stop: int, depth: int) -> int:
        """Look at a field that is more than a text; return by how much it is shorter."""
        if not self._is_exact and stop - at < CUT and not self._has_marks:
            return 0
        if tag in kind.messages:
            return self._inner(kind.messages[tag], begin, at, stop, depth)
        if tag == kind.raw:
            is_cut = stop - at >= CUT or self._data.startswith(MARK, at)
            return self._cut(begin, at, stop) if is_cut and not self._is_exact else 0
        if self._is_exact:
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
        if self._is_exact:
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
        self.cuts += 1
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
