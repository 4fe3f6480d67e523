"""Reproductions of failures: Python to paste, that fails as long as the mistake is there."""

from __future__ import annotations

from .target import Target

UNKNOWN = "# target: the lstm_fast.checks.Target that was checked; this takes it from here on"


def head(target: Target, *imports: str) -> str:
    """Return the imports, and what makes the target again."""
    lines = ["import numpy as np", *imports, "from lstm_fast.checks import record", ""]
    return "\n".join([*lines, target.origin or UNKNOWN, ""]) + "\n"


def code(target: Target, body: str, *imports: str) -> str:
    """Return a reproduction from its body."""
    return head(target, *imports) + "\n" + body.strip() + "\n"


SAME = """
def bits(recording):
    parts = (recording.ys, recording.hs, recording.cs)
    return [None if part is None else part.tobytes() for part in parts]
"""
