"""Running a predictor over labelled sequences."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from itertools import islice
from typing import Any, Literal, NoReturn, TypeAlias

from .._arguments import is_integer
from ._extras import stats, with_progress
from ._options import check_options, check_predictor, check_sequences, to_buckets
from .buckets import Buckets
from .evaluations import Evaluation
from .predictors import Prediction, Predictor, known_labels, to_prediction
from .records import Recorder
from .sequences import Labelled, count, fingerprint, last_steps, part, to_labelled, to_window

__all__ = ["Evaluation", "run"]

OnError: TypeAlias = Literal["raise", "count"]


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
            for an LSTM with a head, or a whole model.
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

    Example:
        >>> from lstm_fast import evaluate
        >>> sequences = [{"xs": [[n]] * 30, "gold": n % 2 == 0} for n in range(10)]
        >>> is_even = lambda xs: xs[-1][0] % 2 == 0
        >>> result = evaluate.run(is_even, sequences, [evaluate.by_steps([25])])
        >>> result.overall.accuracy.value
        1.0
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
            recorder.add(self.sequence, self.cohorts, count(self.window), self.fingerprint, answer)


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
            if not is_integer(batch) or batch < 1:
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
