"""A look at a file of unknown kind: its first bytes, its last, and a few in between."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from .._source import Source

HEAD = 4096


@dataclass(frozen=True)
class Sample:
    """The first bytes of a file, and what else a test asks for."""

    source: Source
    head: bytes

    @property
    def size(self) -> int:
        """Its size in bytes."""
        return self.source.size

    @property
    def name(self) -> str:
        """Its name, in small letters."""
        return self.source.name.lower()

    def at(self, offset: int, count: int) -> bytes:
        """Return some bytes; fewer where the file ends."""
        if offset < 0 or offset > self.size:
            return b""
        with self.source.open() as file:
            file.seek(offset)
            return file.read(count)

    @cached_property
    def tail(self) -> bytes:
        """Its last bytes."""
        return self.at(max(0, self.size - HEAD), HEAD)

    @cached_property
    def end(self) -> bytes:
        """Its last 64 KiB and a bit, in which a zip file says what is in it."""
        count = (1 << 16) + 22
        return self.at(max(0, self.size - count), count)

    @cached_property
    def text(self) -> str | None:
        """How it begins, if that is text: without a mark of byte order and space before it."""
        head = self.head
        for mark, encoding in (
            (b"\xff\xfe", "utf-16-le"),
            (b"\xfe\xff", "utf-16-be"),
            (b"\xef\xbb\xbf", "utf-8"),
        ):
            if head.startswith(mark):
                return head[len(mark) :].decode(encoding, "replace").lstrip()
        try:
            text = head.decode()
        except UnicodeDecodeError as error:
            if len(head) < HEAD or error.start < len(head) - 4:  # not a character that is cut
                return None
            text = head[: error.start].decode()
        printable = all(char.isprintable() or char.isspace() for char in text)
        return text.lstrip() if printable else None


def varint(data: bytes, at: int = 0) -> tuple[int, int]:
    """Return a whole number of a protobuf message and where it ends; -1 where there is none."""
    value = 0
    for n, byte in enumerate(data[at : at + 10]):
        value |= (byte & 127) << 7 * n
        if byte < 128:
            return value, at + n + 1
    return -1, at


def field(data: bytes, at: int = 0) -> tuple[int, int, int] | None:
    """Return the next field of a protobuf message if it has a length: number, start, end."""
    tag, at = varint(data, at)
    if tag < 8 or tag & 7 != 2:
        return None
    length, start = varint(data, at)
    return None if length < 0 else (tag >> 3, start, start + length)
