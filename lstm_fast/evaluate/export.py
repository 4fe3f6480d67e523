"""Rows for other tools: one per sequence, with `generated_value` and `expected_value`.

These two are the inputs of FutureAGI's evaluation `ground_truth_match`, both strings:

    for row in evaluation.rows():
        evaluator.evaluate("ground_truth_match", row)  # fi.evals.Evaluator of PyPI's ai-evaluation

The client of ai-evaluation sends only the inputs that the evaluation requires, so that what else is
in a row does no harm; `details=False` leaves it out for those who send rows by themselves, since
the service refuses inputs that it does not know.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any

from .records import NO_LABEL, Records

__all__ = ["rows", "write"]


def rows(records: Records, details: bool = True) -> Iterator[dict[str, Any]]:
    """Give a row for each sequence, in order.

    generated_value and expected_value are the labels as strings; generated_value is empty where the
    predictor raised. Details: id (or the number), correct, confidence, seconds, steps, seen, error,
    and the cohort under "cohort: " and the name of each bucket; None where there is nothing.
    """
    correct = records.correct
    for n in range(len(records)):
        predicted = int(records.predicted[n])
        row: dict[str, Any] = {
            "generated_value": "" if predicted == NO_LABEL else records.labels[predicted],
            "expected_value": records.labels[int(records.gold[n])],
        }
        if details:
            row["id"] = str(records.ids.get(n, n))
            row["correct"] = bool(correct[n])
            row["confidence"] = _number(records.confidence[n])
            row["seconds"] = _number(records.seconds[n])
            row["steps"], row["seen"] = int(records.steps[n]), int(records.seen[n])
            row["error"] = records.errors.get(n)
            for bucket, (texts, codes) in records.cohorts.items():
                row[f"cohort: {bucket}"] = texts[int(codes[n])]
        yield row


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def write(path: str | PathLike[str], items: Iterable[dict[str, Any]]) -> None:
    """Write rows as .csv, .json or .jsonl, one by one.

    Raises:
        ValueError: path ends with none of these.
        OSError: it cannot be written.
    """
    path = Path(path)
    writers = {".csv": _write_csv, ".json": _write_json, ".jsonl": _write_lines}
    if path.suffix not in writers:
        raise ValueError(f"{path} ends with none of {', '.join(writers)}")
    with path.open("w", encoding="utf-8", newline="" if path.suffix == ".csv" else None) as file:
        writers[path.suffix](file, items)


def _write_csv(file: Any, items: Iterable[dict[str, Any]]) -> None:
    writer = None
    for row in items:
        if writer is None:
            writer = csv.DictWriter(file, row.keys())
            writer.writeheader()
        writer.writerow(row)


def _write_json(file: Any, items: Iterable[dict[str, Any]]) -> None:
    file.write("[")
    for number, row in enumerate(items):
        file.write(("," if number else "") + "\n" + json.dumps(row, ensure_ascii=False))
    file.write("\n]\n")


def _write_lines(file: Any, items: Iterable[dict[str, Any]]) -> None:
    for row in items:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
