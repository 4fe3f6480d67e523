"""What is kept of each sequence: a few numbers in columns, and never the steps themselves."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .buckets import Buckets
from .predictors import Prediction
from .sequences import Label, Labelled, kind

__all__ = ["Records"]

NO_LABEL = -1  # the code of a predictor's answer that it never gave


@dataclass
class Names:
    """Texts and their codes 0, 1, 2 ..., in the order in which they came up."""

    codes: dict[str, int] = field(default_factory=dict)

    def code(self, text: str) -> int:
        """Return a text's code."""
        return self.codes.setdefault(text, len(self.codes))

    @property
    def texts(self) -> list[str]:
        """All texts, in the order of their codes."""
        return list(self.codes)


@dataclass(frozen=True)
class Records:
    """Columns of N sequences: 48 bytes each, 4 more per way to part them, and ids if there are any.

    Attributes:
        labels: the texts of all labels; the codes below are their numbers.
        gold, predicted: codes, shape (N,); predicted is -1 where the predictor raised.
        confidence: shape (N,), NaN where the predictor gave none.
        seconds: what the call took, shape (N,); of a batch, the whole one.
        steps, seen: T of the whole sequence, and of the window the predictor saw, shape (N,).
        windows: fingerprints of what it saw, shape (N,).
        cohorts: for each way to part its cohorts' names, and codes of shape (N,).
        ids: what names a sequence, where one has an id, by its number.
        errors: what a predictor raised, by the number of the sequence.
    """

    labels: list[str]
    gold: NDArray[np.int32]
    predicted: NDArray[np.int32]
    confidence: NDArray[np.float64]
    seconds: NDArray[np.float64]
    steps: NDArray[np.int64]
    seen: NDArray[np.int64]
    windows: NDArray[np.int64]
    cohorts: dict[str, tuple[list[str], NDArray[np.int32]]]
    ids: dict[int, Any]
    errors: dict[int, str]

    def __len__(self) -> int:
        return len(self.gold)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether predicted and gold label are exactly the same, shape (N,)."""
        equal: NDArray[np.bool_] = self.gold == self.predicted
        return equal

    def select(self, mask: NDArray[np.bool_]) -> Records:
        """Return only those where mask, shape (N,), is true."""
        numbers = {int(old): new for new, old in enumerate(np.flatnonzero(mask))}
        return Records(
            labels=self.labels,
            **{name: getattr(self, name)[mask] for name in COLUMNS},
            cohorts={name: (texts, codes[mask]) for name, (texts, codes) in self.cohorts.items()},
            ids={numbers[old]: value for old, value in self.ids.items() if old in numbers},
            errors={numbers[old]: value for old, value in self.errors.items() if old in numbers},
        )


COLUMNS = ("gold", "predicted", "confidence", "seconds", "steps", "seen", "windows")


class Recorder:
    """Takes sequences and answers one by one, and gives the records at the end."""

    def __init__(self, buckets: Sequence[Buckets]) -> None:
        self._buckets = buckets
        self._labels = Names()
        self._kind: str | None = None
        self._columns: list[array[Any]] = [array(code) for code in "iiddqqq"]
        self._cohorts = [(Names(), array("i")) for _ in buckets]
        self._ids: dict[int, Any] = {}
        self._errors: dict[int, str] = {}

    def cohorts(self, sequence: Labelled) -> list[str]:
        """Return the name of its cohort for each way to part.

        Raises:
            ValueError: it lacks what one needs.
        """
        return [bucket(sequence) for bucket in self._buckets]

    def add(
        self,
        sequence: Labelled,
        cohorts: Sequence[str],
        seen: int,
        window: int,
        answer: Prediction | Exception,
    ) -> None:
        """Keep one sequence's answer, or the error that the predictor raised.

        Raises:
            TypeError: the labels are of different kinds, and so could never be equal.
        """
        number = len(self._columns[0])
        gold = self._code(sequence.gold, "gold")
        if isinstance(answer, Exception):
            self._errors[number] = f"{type(answer).__name__}: {answer}"
            predicted, confidence, seconds = NO_LABEL, None, None
        else:
            label, confidence, seconds = answer
            predicted = self._code(label, "predicted")
        nan = float("nan")
        values = (
            gold,
            predicted,
            nan if confidence is None else confidence,
            nan if seconds is None else seconds,
            sequence.steps,
            seen,
            window,
        )
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)
        for (names, codes), cohort in zip(self._cohorts, cohorts, strict=True):
            codes.append(names.code(cohort))
        if sequence.id is not None:
            self._ids[number] = sequence.id

    def _code(self, label: Label, what: str) -> int:
        found = kind(label)
        if self._kind is None:
            self._kind = found
        elif found != self._kind:
            raise TypeError(
                f"{what} label {label!r} is {found}, those before it are {self._kind.split()[-1]}s:"
                " they would never match; make both the same kind"
            )
        return self._labels.code(str(label))

    def records(self) -> Records:
        """Return all of them.

        Raises:
            ValueError: there are none.
        """
        if not len(self._columns[0]):
            raise ValueError("there were no sequences")
        columns: dict[str, Any] = {
            name: np.array(column) for name, column in zip(COLUMNS, self._columns, strict=True)
        }
        return Records(
            labels=self._labels.texts,
            **columns,
            cohorts={
                bucket.name: _in_order(bucket.order, names.texts, np.array(codes, np.int32))
                for bucket, (names, codes) in zip(self._buckets, self._cohorts, strict=True)
            },
            ids=self._ids,
            errors=self._errors,
        )


def _in_order(
    order: Sequence[str], texts: list[str], codes: NDArray[np.int32]
) -> tuple[list[str], NDArray[np.int32]]:
    """Return the names that came up in their bucket's order, others sorted after them."""
    known = {text: number for number, text in enumerate(order)}
    ordered = sorted(texts, key=lambda text: (known.get(text, len(known)), text))
    place = {text: number for number, text in enumerate(ordered)}
    renumbered = np.array([place[text] for text in texts], np.int32)
    return ordered, renumbered[codes]
