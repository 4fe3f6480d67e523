"""Two reports against each other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from . import CannotRunError
from .machine import size_text
from .schema import Report, Row, check
from .table import shape_of

LEAST = 0.03  # differences below this are never called real: runs of one build differ by as much
TIMES_NOISE = 2.0  # and below this multiple of both rows' noise


def load(path: Path) -> Report:
    """Read a report from a JSON file.

    Raises:
        CannotRunError: it can't be read, or is none.
    """
    try:
        report: Report = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CannotRunError(f"cannot read {path}: {error}") from None
    check(report)
    return report


def _key(row: Row) -> tuple[object, ...]:
    return (*shape_of(row)[1:], row["contender"], row["weights"], row["mode"])


def verdict(old: Row, new: Row, floor: float = 0.0) -> tuple[float, str]:
    """Return old p50 / new p50 and "faster", "slower" or "" where that may be noise.

    Args:
        old: a row.
        new: the same of another run.
        floor: what the machines' own unsteadiness makes of any time, relative.
    """
    ratio = old["p50"] / new["p50"]
    if old["noise"] is None or new["noise"] is None:
        return ratio, ""
    noise = max(LEAST, floor, TIMES_NOISE * (old["noise"] + new["noise"]))
    if ratio > 1 + noise:
        return ratio, "faster"
    return ratio, "slower" if ratio < 1 / (1 + noise) else ""


def text(old: Report, new: Report) -> str:
    """Return a line per row that both have: p50 before and now, the ratio, and what to think."""
    return "\n".join(_lines(old, new))


def _lines(old: Report, new: Report) -> Iterator[str]:
    before = {_key(row): row for row in old["rows"]}
    both = [(before[_key(row)], row) for row in new["rows"] if _key(row) in before]
    floor = max(report["noise"]["spread"] for report in (old, new))
    yield f"against {old['created']}, lstm_fast {old['machine']['packages'].get('lstm_fast')}"
    if old["machine"]["cpu"] != new["machine"]["cpu"]:
        yield f"ANOTHER CPU: that was {old['machine']['cpu']}, this is {new['machine']['cpu']}"
    swept, sweep = (report["settings"]["sweep_bytes"] for report in (old, new))
    if swept != sweep:
        yield f"ANOTHER COLD: that read {size_text(swept)} before a step, this {size_text(sweep)}"
    yield f"{'':<61} {'old us':>9} {'new us':>9} {'old/new':>8}"
    for row_before, row in both:
        shape = shape_of(row)
        ratio, word = verdict(row_before, row, floor)
        label = f"{shape.name or 'LSTM'} {shape.sizes}"
        yield (
            f"{label:<31} {row['contender']:<17} {row['weights']:<8} {row['mode']:<8}"
            f"{row_before['p50']:>6.2f} {row['p50']:>9.2f} {ratio:>7.2f}x  {word}".rstrip()
        )
    words = [verdict(*pair, floor)[1] for pair in both]
    yield (
        f"{len(both)} rows in both: {words.count('faster')} faster, {words.count('slower')} "
        f"slower, {words.count('')} within the noise"
    )
