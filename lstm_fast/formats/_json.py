"""JSON from files that nobody vouches for."""

from __future__ import annotations

import json
from typing import Any

from ._files import FormatError, checked

# What Python takes at most for each of these characters, in bytes: a number and its place in a
# list, an empty dict, an empty list, half of a short string, a name's place in a dict.
COSTS = {b",": 36, b"{": 256, b"[": 96, b'"': 36, b":": 112}
LARGE = 4 << 20


def parse(path: object, part: str, data: bytes, limit: int) -> Any:
    """Return what a JSON text holds.

    Args:
        path: the file, for errors.
        part: which part of it this is, for errors.
        data: the text, in UTF-8.
        limit: how many bytes of memory its values may take.

    Raises:
        FormatError: it is not JSON, or holds too many values.
    """
    cost = sum(size * data.count(character) for character, size in COSTS.items())
    if cost > limit:
        raise FormatError(f"{path}: {part}: there are too many values for a file of this size")
    # One emoji makes a whole text take four bytes per character. A large one is therefore taken
    # as a character per byte; what is lost are the accents in its names.
    encoding = "utf-8" if data.isascii() or len(data) <= LARGE else "latin-1"
    with checked(path, part, RecursionError):
        return json.loads(data.decode(encoding))
