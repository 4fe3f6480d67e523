"""Zip files that nobody vouches for: their members, within the budget of the file."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from .._source import Source
from ._files import FormatError

ERRORS = (  # what zipfile raises for damaged files
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError),
    *(NotImplementedError, RuntimeError, KeyError, OverflowError),
)
END, END_64, LOCATOR_64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"
END_BYTES, END_64_BYTES, LOCATOR_64_BYTES = 22, 56, 20
LONGEST_COMMENT = 1 << 16
# Of an entry in the list of members: the fewest bytes of it, what zipfile makes of it, the steps.
ENTRY_BYTES, ENTRY_MEMORY, ENTRY_STEPS = 46, 750, 8
STEPS_A_BYTE = 0.01  # of what is unpacked, and summed


@contextmanager
def opened(source: Source, file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """Open an archive, after its list of members has been charged.

    Raises:
        FormatError: there are too many members for a file of this size.
        ERRORS, and others: it is damaged.
    """
    size, what = _directory_size(source, file), "its list of members"
    entries = size // ENTRY_BYTES
    memory = ENTRY_MEMORY * entries + 3 * size
    source.budget.work(ENTRY_STEPS * entries, what)
    source.budget.memory(memory, what)
    with zipfile.ZipFile(file) as archive:
        yield archive
    source.budget.give_back(memory)


def names(source: Source) -> list[str]:
    """Return the names in an archive; none where it is damaged.

    Raises:
        FormatError: there are too many for a file of this size.
    """
    try:
        with source.open() as file, opened(source, file) as archive:
            return archive.namelist()
    except FormatError:
        raise
    except Exception:  # zipfile has many errors for damaged files
        return []


def read(source: Source, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return what a member holds, which is charged.

    Raises:
        FormatError: it claims too much for a file of this size, or is compressed in a way that no
            reader's files are.
        ERRORS, and others: it is damaged.
    """
    name, size = member.filename[:80], member.file_size
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FormatError(f"{source}: {name}: it is compressed in a way that is not read here")
    unpacking = 0 if member.compress_type == zipfile.ZIP_STORED else size  # zlib joins pieces
    source.budget.memory(size + unpacking, name)
    source.budget.work(STEPS_A_BYTE * size, name)
    with archive.open(member) as file:
        data = file.read(size)  # and not all that it can be unpacked to
    if len(data) != size:
        raise FormatError(f"{source}: {name}: it has {len(data)} bytes of {size}")
    source.budget.give_back(unpacking)
    return data


def _directory_size(source: Source, file: BinaryIO) -> int:
    """Return how many bytes the list of members has, at most."""
    size = file.seek(0, 2)
    start = max(0, size - LONGEST_COMMENT - END_BYTES - LOCATOR_64_BYTES - END_64_BYTES)
    file.seek(start)
    tail, largest = file.read(), 0
    source.budget.work(tail.count(END), "its end")
    at = tail.find(END)
    while at >= 0:  # zipfile takes one of these
        largest = max(largest, int.from_bytes(tail[at + 12 : at + 16], "little"))
        locator = tail[max(0, at - LOCATOR_64_BYTES) : at]
        if locator.startswith(LOCATOR_64):
            place = int.from_bytes(locator[8:16], "little")
            before = at - LOCATOR_64_BYTES - END_64_BYTES
            ends = [tail[max(0, before) : before + END_64_BYTES]]
            if place < size:
                file.seek(place)
                ends.append(file.read(END_64_BYTES))
            sizes = [int.from_bytes(one[40:48], "little") for one in ends if one[:4] == END_64]
            largest = max(largest, *sizes, 0)
        at = tail.find(END, at + 1)
    file.seek(0)
    return min(largest, size)
