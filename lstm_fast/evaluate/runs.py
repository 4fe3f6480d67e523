"""Running a predictor over labelled sequences, and what comes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from itertools import islice
from os import PathLike
from typing import Any, Literal, NoReturn, TypeAlias

import numpy as np

from . import export, reports
from ._extras import stats, with_progress
from ._options import check_options, check_predictor, check_sequences, to_buckets
from .buckets import Buckets
from .cohorts import Cohort, StandOut, find_stand_outs, measure
from .predictors import Prediction, Predictor, known_labels, to_prediction
from .records import Recorder, Records
from .sequences import Labelled, fingerprint, last_steps, part, to_labelled, to_window

__all__ = ["Evaluation", "run"]

OnError: TypeAlias = Literal["raise", "count"]
Path: TypeAlias = "str | PathLike[str]"


class Evaluation:
    """How a predictor did, over all and by cohort; made by `run`.

    Attributes:
        records: what is kept of each sequence.
        level: of the intervals.
        alpha: the probability with which any cohort is named where all are alike, at most.
        min_difference: the difference in accuracy that matters.
        overall: everything as one cohort.
        buckets: for each way to part, by its name, the cohorts in order.
        stand_outs: the cohorts that differ from the rest, see `StandOut`.
    """

    def __init__(
        self, records: Records, level: float, alpha: float, min_difference: float, name: str
    ) -> None:
        self.records = records
        self.level, self.alpha, self.min_difference = level, alpha, min_difference
        self.name = name
        self.overall = measure(records, "all", "all", level)
        self.buckets: dict[str, list[Cohort]] = {
            bucket: [
                measure(records.select(codes == code), bucket, text, level)
                for code, text in enumerate(texts)
                if (codes == code).any()
            ]
            for bucket, (texts, codes) in records.cohorts.items()
        }
        self.stand_outs: list[StandOut] = find_stand_outs(
            self.buckets, alpha, min_difference, level
        )

    def __len__(self) -> int:
        return len(self.records)

    def cohort(self, bucket: str, name: str) -> Cohort:
        """Return one cohort.

        Raises:
            KeyError: there is no such bucket or cohort.
        """
        for cohort in self._cohorts(bucket):
            if cohort.name == name:
                return cohort
        names = ", ".join(repr(c.name) for c in self.buckets[bucket])
        raise KeyError(f"bucket {bucket!r} has no cohort {name!r}; it has {names}")

    def _cohorts(self, bucket: str) -> list[Cohort]:
        if bucket not in self.buckets:
            known = f"there are {', '.join(self.buckets)}" if self.buckets else "none was asked for"
            raise KeyError(f"there is no bucket {bucket!r}; {known}")
        return self.buckets[bucket]

    def subset(self, bucket: str, name: str) -> Evaluation:
        """Return the evaluation of one cohort alone, such as one release or one month.

        Raises:
            KeyError: there is no such bucket or cohort.
        """
        self.cohort(bucket, name)
        texts, codes = self.records.cohorts[bucket]
        records = self.records.select(codes == texts.index(name))
        return Evaluation(records, self.level, self.alpha, self.min_difference, name)

    def rows(self, details: bool = True) -> Iterator[dict[str, Any]]:
        """Give a row for each sequence: see `lstm_fast.evaluate.export`."""
        return export.rows(self.records, details)

    def write_rows(self, path: Path, details: bool = True) -> None:
        """Write the rows as .csv, .json (one list) or .jsonl (one object a line).

        Raises:
            ValueError: path ends with none of these.
            OSError: it cannot be written.
        """
        export.write(path, self.rows(details))

    def to_json(self) -> dict[str, Any]:
        """Return what was found, without the rows, as numbers, strings and dicts."""
        return {
            "name": self.name,
            "level": self.level,
            "alpha": self.alpha,
            "min_difference": self.min_difference,
            "overall": self.overall.to_json(),
            "buckets": {
                bucket: [cohort.to_json() for cohort in cohorts]
                for bucket, cohorts in self.buckets.items()
            },
            "stand_outs": [named.to_json() for named in self.stand_outs],
        }

    def report(self, rich: bool | None = None, width: int | None = None) -> str:
        """Return tables and the cohorts that stand out as text.

        Args:
            rich: whether tables are drawn by rich; None: where it is installed.
            width: of rich's tables in characters, which folds them; None: as wide as they are.

        Raises:
            ImportError: rich is True, and rich is not installed.
        """
        return reports.evaluation(self, rich, width)

    def __str__(self) -> str:
        return self.report(rich=False)

    def draw(self, path: Path) -> None:
        """Draw accuracy with its interval and latency beside it, by cohort, into a file.

        Raises:
            ImportError: matplotlib is not installed.
            OSError, ValueError: the file cannot be written, or its suffix is of no picture.
        """
        from . import pictures

        pictures.draw([self], path)


def run(
    predictor: Predictor,
    sequences: Iterable[Any],
    buckets: Buckets | Sequence[Buckets] = (),
    *,
    window: int | None = None,
    batch: int | None = None,
    name: str | None = None,
    level: float = 0.95,
    alpha: float = 0.05,
    min_difference: float = 0.05,
    on_error: OnError = "raise",
    progress: bool | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Evaluation:
    """Run a predictor over labelled sequences and measure by cohort.

    Args:
        predictor: takes the steps, shape (T, ...), an array of its own; gives a label, (label,
            confidence), a mapping from label to probability, or a `Prediction`. See `classifier`
            for an LSTM with a head.
        sequences: `Labelled`, or dicts or objects with the same names. An iterator is taken one by
            one, and of each some 50 bytes are kept.
        buckets: the ways to part them: `by_steps`, `by_gap`, `by`.
        window: how many steps it sees, the last ones; None: all. Cohorts are by the whole sequence.
        batch: that many sequences a call to `predictor.batch(list)`, which gives as many answers;
            the latency of each is the batch's, which all of it wait for. None: one by one.
        name: of the predictor in reports.
        level: of the confidence intervals.
        alpha: the probability with which any cohort is named where all are alike, at most.
        min_difference: the least difference in accuracy between a cohort and the rest that is worth
            naming, 0 to 1. There is no convention for it; 0.05 is five answers in a hundred.
        on_error: "count" takes an exception of the predictor as a failed answer; "raise" does not.
        progress: whether a bar is shown; None: on a terminal where tqdm is installed.
        clock: gives the time in seconds.

    Raises:
        ImportError: SciPy is not installed, or progress is True without tqdm.
        TypeError, ValueError: a sequence, an answer or an option is not as described; the text says
            which sequence. Labels of different kinds, such as True and 1, are an error, too, and so
            is a gold label that `classifier` was not given.
    """
    check_options(level, alpha, min_difference, on_error, clock)
    check_sequences(sequences)
    stats()  # before the long part, and not after it
    recorder = Recorder(to_buckets(buckets))
    visible = visible_steps(predictor, window)
    step = Step(predictor, batch, on_error, clock)
    shown = with_progress(sequences, progress, "sequence", length(sequences))
    for seen in prepared(shown, recorder, visible, batch or 1):
        answers = step(seen)
        for item, answer in zip(seen, answers, strict=True):
            item.add_to(recorder, answer)
    called = str(name or getattr(predictor, "__name__", type(predictor).__name__))
    return Evaluation(recorder.records(), level, alpha, min_difference, called)


class Item:
    """A sequence that is about to be predicted: its cohorts, its window and the window's hash."""

    def __init__(self, number: int, raw: Any, recorder: Recorder, window: int | None) -> None:
        self.number = number
        with located(number, part(raw, "id")):
            self.sequence: Labelled = to_labelled(raw)
            self.cohorts = recorder.cohorts(self.sequence)
        self.window = last_steps(self.sequence.xs, window)
        self.fingerprint = fingerprint(self.window)

    def again(self, window: int | None) -> Item:
        """Return the same sequence for another predictor, with a window of its own."""
        twin = copy(self)
        twin.window = last_steps(self.sequence.xs, window)
        twin.fingerprint = fingerprint(twin.window)
        return twin

    def add_to(self, recorder: Recorder, answer: Prediction | Exception) -> None:
        """Keep it with its answer."""
        with located(self.number, self.sequence.id):
            recorder.add(self.sequence, self.cohorts, len(self.window), self.fingerprint, answer)


class located:  # noqa: N801  # used as a function
    """Say in an error which sequence it is about.

    A plain TypeError or ValueError says it in its text; others, which may be of a class of the
    user's, in a note, where Python has notes.
    """

    def __init__(self, number: int, name: Any = None, others: int = 0) -> None:
        self._what = f"sequence {number}" + ("" if name is None else f" (id {name!r})")
        self._what += f" or one of the {others} after it" if others else ""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        for plain in (TypeError, ValueError):
            if type(error) is plain:
                raise plain(f"{self._what}: {error}") from error
        if isinstance(error, Exception) and hasattr(error, "add_note"):
            error.add_note(f"with {self._what}")


def prepared(
    sequences: Iterable[Any], recorder: Recorder, window: int | None, size: int
) -> Iterator[list[Item]]:
    """Give the sequences in lists of that many, ready to be predicted."""
    numbered = enumerate(sequences)
    while raw := list(islice(numbered, size)):
        yield [Item(number, item, recorder, window) for number, item in raw]


class Step:
    """Calls a predictor and times it."""

    def __init__(
        self,
        predictor: Predictor,
        batch: int | None,
        on_error: OnError,
        clock: Callable[[], float],
    ) -> None:
        check_predictor(predictor)
        self._many: Any = None
        if batch is not None:
            if isinstance(batch, bool) or not isinstance(batch, (int, np.integer)) or batch < 1:
                raise ValueError(f"batch must be an integer of 1 or more, found {batch!r}")
            self._many = getattr(predictor, "batch", None)
            if not callable(self._many):
                raise TypeError(
                    "batch= needs a predictor with a method batch(list of sequences), which "
                    f"{type(predictor).__name__} lacks"
                )
        self._predictor, self._on_error, self._clock = predictor, on_error, clock
        self._labels = known_labels(predictor)

    def __call__(self, items: list[Item]) -> list[Prediction | Exception]:
        """Return an answer to each one's window, or what the predictor raised.

        Raises:
            TypeError, ValueError: an answer is none, or none can be right; and what the predictor
                raises, if it shall.
        """
        for item in items:
            self._check_gold(item)
        windows = [item.window for item in items]
        start = self._clock()
        try:
            raw = [self._predictor(windows[0])] if self._many is None else [*self._many(windows)]
        except Exception as error:
            if self._on_error == "raise":
                self._raise(error, items)
            return [error] * len(windows)
        elapsed = self._clock() - start
        if len(raw) != len(items):
            raise ValueError(f"predictor.batch gave {len(raw)} answers to {len(items)} sequences")
        answers: list[Prediction | Exception] = []
        for item, given in zip(items, raw, strict=True):
            with located(item.number, item.sequence.id):
                answer = to_prediction(given)
            if answer.seconds is None:
                answer = answer._replace(seconds=elapsed)
            answers.append(answer)
        return answers

    def _check_gold(self, item: Item) -> None:
        gold, labels = item.sequence.gold, self._labels
        if labels is None or any(type(gold) is type(one) and gold == one for one in labels):
            return
        with located(item.number, item.sequence.id):
            known = ", ".join(map(repr, labels[:12])) + (", ..." if len(labels) > 12 else "")
            raise ValueError(f"gold label {gold!r} is none of the predictor's: {known}")

    def _raise(self, error: Exception, items: list[Item]) -> NoReturn:
        """Raise a predictor's error with the sequence that it is about."""
        for item in items if len(items) > 1 else ():  # of a batch, the first that fails by itself
            with located(item.number, item.sequence.id):
                self._predictor(item.window)
        with located(items[0].number, items[0].sequence.id, others=len(items) - 1):
            raise error


def visible_steps(predictor: Predictor, window: int | None) -> int | None:
    """Return how many steps a predictor sees: what is asked for, or its own `window` if less."""
    limits = [to_window(window), to_window(getattr(predictor, "window", None))]
    return min((limit for limit in limits if limit is not None), default=None)


def length(sequences: Iterable[Any]) -> int | None:
    """Return how many sequences there are, where that is known beforehand."""
    return len(sequences) if isinstance(sequences, Sequence) else None
