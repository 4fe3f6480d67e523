"""JSON from files that nobody vouches for."""

from __future__ import annotations

import json
from typing import Any

from .._source import Source
from ._files import checked

# What Python takes at most for each of these characters, in bytes: a number and its place in a
# list, a dict with one value, a list with one, half of a short string, a name's place in a dict and
# in the parser's own list of names.
COSTS = {b",": 36, b"{": 256, b"[": 120, b'"': 36, b":": 200}
STEPS_A_BYTE, STEPS_A_VALUE = 0.02, 0.1
LARGE = 4 << 20
MARK = b"\xef\xbb\xbf"  # of UTF-8, which editors put before a text and players pass over
WIDEST = 4  # bytes of a character, in a text with one that takes so many


def text_of(source: Source) -> bytes:
    """Return what a file holds that is a JSON text, without a mark of its encoding.

    Raises:
        OSError: it cannot be read.
        FormatError: it is not a regular file any more, or asks for too much memory.
    """
    data = source.read()
    if data.startswith(MARK):
        source.budget.memory(len(data), "its text")
        data = data[len(MARK) :]
    return data


def parse(source: Source, part: str, data: bytes, steps_a_value: float = STEPS_A_VALUE) -> Any:
    """Return what a JSON text holds.

    Args:
        source: the file, whose budget is charged.
        part: which part of it this is, for errors.
        data: the text, in UTF-8.
        steps_a_value: what a value takes, with what the caller does with all of them.

    Raises:
        FormatError: it is not JSON, or holds too many values.
    """
    counts = {character: data.count(character) for character in COSTS}
    cost = sum(COSTS[character] * count for character, count in counts.items())
    is_plain = data.isascii()
    # One emoji makes a whole text take four bytes per character, also one that is written \u.
    cost += len(data) * (1 if is_plain and b"\\u" not in data else WIDEST)
    what = f"{part}: what it holds"
    steps = STEPS_A_BYTE * len(data) + steps_a_value * sum(counts.values())
    source.budget.work(steps, what)  # also where memory is refused: its bytes were counted
    source.budget.memory(cost, what)
    text_bytes = len(data) * (1 if is_plain or len(data) > LARGE else WIDEST)
    source.budget.memory(text_bytes, what)
    # A large text is taken as a character per byte; what is lost are the accents in its names.
    encoding = "utf-8" if is_plain or len(data) <= LARGE else "latin-1"
    with checked(source, part, RecursionError):
        value = json.loads(data.decode(encoding))
    source.budget.give_back(text_bytes)
    return value
