"""Text for a terminal: names that can be anything, lines that fit, sizes that one can read."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap


def width() -> int:
    """Return how many columns to fill."""
    return min(max(shutil.get_terminal_size().columns, 60), 120)


def words_of(error: Exception) -> str:
    """Return what is wrong, of the system's errors without their number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    return str(error)


def printable(text: str) -> str:
    """Return text in one line that any terminal can show; names in files can be anything."""
    encoding = sys.stdout.encoding or "utf-8"
    text = text.encode(encoding, "backslashreplace").decode(encoding)
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def wrapped(title: str, text: str, columns: int) -> list[str]:
    """Return text behind a title, in lines of so many columns."""
    wrapper = textwrap.TextWrapper(
        columns, initial_indent=title, subsequent_indent=" " * len(title)
    )
    wrapper.break_on_hyphens = False
    return wrapper.wrap(text) or [title.rstrip()]


def as_bytes(size: float) -> str:
    """Return a number of bytes with three digits."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
