"""Readers that do what none may, for the negative controls of the fuzzer.

Each is harmless the first time, when the fuzzer has it read the sound file.
"""

import os
import time
from functools import wraps

from lstm_fast import FormatError


def harmless_at_first(reader):
    calls = []

    @wraps(reader)
    def read(path, **options):
        calls.append(path)
        if len(calls) > 1:
            reader(path.read_bytes())

    return read


@harmless_at_first
def good(data):
    pass


@harmless_at_first
def raises(data):
    raise KeyError("not a FormatError")


class EndlessError(FormatError):
    """One that does not end its text, as `FormatError` does."""

    def __str__(self):
        return "x" * 100_000


@harmless_at_first
def tells_too_much(data):
    raise EndlessError


@harmless_at_first
def crashes(data):
    os.abort()


@harmless_at_first
def hangs(data):
    until = time.process_time() + 5
    while time.process_time() < until:
        pass


@harmless_at_first
def swallows_memory(data):
    bytearray(200 << 20)[:: 1 << 12] = b"x" * (200 << 8)
