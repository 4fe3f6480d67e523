"""Reproductions of failures: Python to paste, that fails as long as the mistake is there."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from .options import DEFAULT, Options
from .references import Reference
from .target import Target
from .whole_references import WholeReference

UNKNOWN = "# target: the lstm_fast.checks.Target that was checked; this takes it from here on"
UNKNOWN_REFERENCE = "# reference: the LSTM that it should be, as it was given to the check"


def code(
    target: Target, body: str, *imports: str, reference: Reference | WholeReference | None = None
) -> str:
    """Return a reproduction: imports, what makes the target and its reference again, and a body."""
    names = "record, speech" if "speech(" in body else "record"
    lines = ["import numpy as np", *imports, f"from lstm_fast.checks import {names}", ""]
    lines += [target.origin or UNKNOWN]
    if reference is not None:
        lines += [reference.origin or UNKNOWN_REFERENCE]
    return "\n".join([*lines, "", "", body.strip()]) + "\n"


def options(chosen: Options, **changed: Any) -> str:
    """Return the code of options, with some of them changed."""
    defaults = asdict(DEFAULT)
    values = {**asdict(chosen), **changed}
    parts = [f"{name}={value!r}" for name, value in values.items() if value != defaults[name]]
    return f"Options({', '.join(parts)})"


def whole(
    name: str, target: Target, chosen: Options, wanted: Reference | WholeReference | None
) -> str:
    """Return a reproduction that runs a whole check; wanted: of a check that needs a reference."""
    body = f"""
options = checks.{options(chosen)}
report = checks.run(target, {"reference" if wanted else "None"}, options, only=[{name!r}])
assert report.passed, report
"""
    return code(target, body, "from lstm_fast import checks", reference=wanted)


SAME = """
def bits(recording):
    parts = (recording.ys, recording.hs, recording.cs, *(recording.states or {}).values())
    return [None if part is None else part.tobytes() for part in parts]
"""
