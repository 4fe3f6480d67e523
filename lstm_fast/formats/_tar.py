"""Tar files that nobody vouches for, perhaps compressed by gzip: members are read, never unpacked.

The format: POSIX.1-2017, pax, "ustar Interchange Format"; GNU's names of more than 100 bytes.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

from .._source import Source

BLOCK = 512
GZIP = b"\x1f\x8b"
GZIP_WINDOW = 31  # of zlib: a gzip header, and the largest window
PIECE = 1 << 18
LONGEST_TEXT = 1 << 16
RECORD = re.compile(rb"([0-9]{1,9}) ([^=\n]*)=")  # of pax: its whole length, its key
REGULAR = b"0\0\x37"
LONG_NAME, PAX = b"L", b"x"
RECORD_STEPS = 2  # of one record of pax
MEMBER_STEPS, STEPS_A_BYTE = 10, 0.003  # of gzip, whose bombs have a thousand bytes for each


class Member(NamedTuple):
    """A member: its name without "./", whether it is a regular file, its size in bytes."""

    name: str
    is_file: bool
    size: int
    read: Callable[[], bytes]


class _Plain:
    """An open tar file."""

    def __init__(self, source: Source, file: BinaryIO) -> None:
        self._source, self._file = source, file

    def read(self, count: int) -> bytes:
        """Return so many bytes, fewer at the end."""
        return self._file.read(count)

    def skip(self, count: int) -> None:
        place = self._file.tell() + count
        if place > self._source.size:
            raise ValueError("it is cut short")
        self._file.seek(place)


class _Gzip:
    """One that is compressed."""

    def __init__(self, source: Source, file: BinaryIO) -> None:
        self._source, self._file = source, file
        self._stream = zlib.decompressobj(GZIP_WINDOW)
        self._given = b""

    def _piece(self, most: int) -> bytes:
        """Return some bytes, at most so many; none at the end."""
        while not self._stream.eof:
            given = self._given or self._file.read(PIECE)
            if not given:
                raise ValueError("it is cut short")
            try:
                piece = self._stream.decompress(given, min(most, PIECE))
            except zlib.error as error:
                raise ValueError(f"damaged gzip data: {error}") from error
            self._given = self._stream.unconsumed_tail
            self._source.budget.work(1 + STEPS_A_BYTE * len(piece), "unpacking it")
            if piece:
                return piece
        return b""

    def read(self, count: int) -> bytes:
        pieces, left = [], count
        while left and (piece := self._piece(left)):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def skip(self, count: int) -> None:
        while count:
            piece = self._piece(count)
            if not piece:
                raise ValueError("it is cut short")
            count -= len(piece)


def members(source: Source, file: BinaryIO) -> Iterator[Member]:
    """Yield the members; what one holds can be read until the next is asked for.

    Raises:
        ValueError: it is damaged, or cut short.
        FormatError: it takes more than a file of this size is worth.
        OSError: of the file.
    """
    is_packed = file.read(2) == GZIP
    file.seek(0)
    stream = (_Gzip if is_packed else _Plain)(source, file)
    name, size = "", -1  # that a member before says of the next one
    while (header := stream.read(BLOCK)) and header.strip(b"\0"):
        source.budget.work(MEMBER_STEPS, "its members")
        _check(header)
        kind, own = header[156:157], _number(header[124:136])
        count = own if size < 0 else size
        if kind in (LONG_NAME, PAX):
            text = _text(stream, own)
            if kind == LONG_NAME:
                name = text.rstrip(b"\0").decode("utf-8", "replace")
            else:
                source.budget.work(RECORD_STEPS * text.count(b"="), "its headers of pax")
                name, size = _pax(text)
            continue
        taken = False

        def read(count: int = count) -> bytes:
            nonlocal taken
            taken = True
            return _contents(source, stream, count)

        yield Member(_plain(name or _name(header)), kind in REGULAR and bool(kind), count, read)
        if not taken:
            stream.skip(_rounded(count))
        name, size = "", -1


def has(source: Source, names: tuple[str, ...]) -> bool:
    """Return whether there is a file of one of these names in it, in any folder."""
    try:
        with source.open() as file:
            return any(one.name.rpartition("/")[2] in names for one in members(source, file))
    except ValueError:  # it is damaged, or takes too much: its reader says so
        return False


def _contents(source: Source, stream: _Plain | _Gzip, count: int) -> bytes:
    what = "a member of it"
    source.budget.memory(2 * count, what)  # the pieces, and all of them
    data = stream.read(count)
    source.budget.give_back(count)
    if len(data) != count:
        raise ValueError("it is cut short")
    stream.skip(_rounded(count) - count)
    return data


def _rounded(count: int) -> int:
    return -(-count // BLOCK) * BLOCK


def _text(stream: _Plain | _Gzip, count: int) -> bytes:
    """Return what a header of names holds."""
    if count > LONGEST_TEXT:
        raise ValueError("a header in it is too long")
    data = stream.read(_rounded(count))
    if len(data) < count:
        raise ValueError("it is cut short")
    return data[:count]


def _check(header: bytes) -> None:
    """Compare the sum of the bytes, in which its own place counts as spaces."""
    expected = sum(header[:148]) + 8 * 32 + sum(header[156:])
    if len(header) != BLOCK or _number(header[148:156]) != expected:
        raise ValueError("damaged tar file, or cut short")


def _number(field: bytes) -> int:
    """Return a number: octal digits, or the bytes themselves behind a bit that says so."""
    if field[:1] >= b"\x80":
        value = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    else:
        digits = field.strip(b" \0")
        if not all(digit in b"01234567" for digit in digits):
            raise ValueError("damaged tar file: a size in it is not a number")
        value = int(digits or b"0", 8)
    if value >= 2**62:
        raise ValueError("damaged tar file: a size in it makes no sense")
    return value


def _name(header: bytes) -> str:
    name = header[:100].rstrip(b"\0")
    if header[257:263] == b"ustar\0" and (before := header[345:500].rstrip(b"\0")):
        name = before + b"/" + name
    return name.decode("utf-8", "replace")


def _plain(name: str) -> str:
    return name.removeprefix("./")


def _pax(text: bytes) -> tuple[str, int]:
    """Return the name and the size that records of pax say; "" and -1 where there are none."""
    name, size, at = "", -1, 0
    while at < len(text):
        match = RECORD.match(text, at)
        end = at + int(match[1]) if match else 0
        if match is None or not match.end() < end <= len(text):
            raise ValueError("damaged tar file: a record of pax makes no sense")
        value = text[match.end() : end].rstrip(b"\n")
        if match[2] == b"path":
            name = value.decode("utf-8", "replace")
        elif match[2] == b"size":
            if not value.isdigit() or len(value) > 18:
                raise ValueError("damaged tar file: a size in it is not a number")
            size = int(value)
        at = end
    return name, size
