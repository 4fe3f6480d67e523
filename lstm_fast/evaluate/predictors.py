"""Predictors: what their answers may look like, how long they took, and what they see."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._options import check_number, check_predictor
from .sequences import Label, as_steps, last_steps, to_label, to_window

__all__ = ["Prediction", "Predictor", "timed", "windowed"]

# What takes the steps (T, ...) and gives a label, (label, confidence), a mapping from label to
# probability, or a Prediction.
Predictor: TypeAlias = Callable[[NDArray[Any]], Any]

SLACK = 1e-6  # by which float32 probabilities may exceed 1


class Prediction(NamedTuple):
    """A predictor's answer.

    Args:
        label: what it predicts.
        confidence: 0 to 1; None where it gives none.
        seconds: how long it took; None lets the caller's clock say.

    Example:
        >>> Prediction("ends", confidence=0.93).label
        'ends'
    """

    label: Label
    confidence: float | None = None
    seconds: float | None = None


def to_prediction(answer: Any) -> Prediction:
    """Read an answer: a Prediction, a label, (label, confidence), or label -> probability.

    Of a mapping the most probable label is taken, the first where several are.

    Raises:
        TypeError: it is nothing of that.
        ValueError: a confidence is not within 0 to 1, or a mapping is empty.
    """
    if isinstance(answer, Prediction):
        label, confidence, seconds = answer
        if seconds is not None:
            check_number(seconds, "a prediction's seconds")
        if seconds is not None and not (seconds >= 0 and math.isfinite(seconds)):
            raise ValueError(f"a prediction took {seconds} seconds, expected 0 or more")
        return Prediction(to_label(label, "predicted"), _confidence(confidence), seconds)
    if isinstance(answer, Mapping):
        if not answer:
            raise ValueError("the predictor gave an empty mapping, expected label -> probability")
        odds = [(to_label(label, "predicted"), _confidence(p)) for label, p in answer.items()]
        label, confidence = max(odds, key=lambda pair: -1.0 if pair[1] is None else pair[1])
        return Prediction(label, confidence)
    if isinstance(answer, tuple):
        if len(answer) != 2:
            raise TypeError(
                f"the predictor gave a tuple of {len(answer)}, expected (label, confidence)"
            )
        return Prediction(to_label(answer[0], "predicted"), _confidence(answer[1]))
    if isinstance(answer, (list, np.ndarray)) and np.ndim(answer):
        raise TypeError(
            f"the predictor gave {answer!r}, expected a label, a tuple (label, confidence), a "
            "mapping from label to probability, or a Prediction"
        )
    return Prediction(to_label(answer, "predicted"))


def _confidence(value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"a confidence is {type(value).__name__}, expected a number") from None
    if not 0 <= number <= 1 + SLACK:
        raise ValueError(f"a confidence is {number}, expected 0 to 1")
    return min(number, 1.0)


class timed:  # noqa: N801  # used as a function
    """Wrap a predictor so that each answer says how long it took.

    `run` and `compare` time every predictor around the whole call by themselves. Wrap the part that
    counts where that is less than the call: the model without the preprocessing around it.

    Args:
        predictor: what is timed.
        clock: gives the time in seconds.

    Example:
        >>> clock = iter([10.0, 10.25]).__next__
        >>> timed(lambda xs: "ends", clock)([1, 2, 3])
        Prediction(label='ends', confidence=None, seconds=0.25)
    """

    def __init__(
        self, predictor: Predictor, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        check_predictor(predictor)
        self.predictor = predictor
        self.clock = clock
        self.window: int | None = getattr(predictor, "window", None)

    def __call__(self, xs: NDArray[Any]) -> Prediction:
        """Return the predictor's answer with its seconds.

        Raises:
            TypeError, ValueError: it gave no such answer.
        """
        start = self.clock()
        answer = self.predictor(xs)
        end = self.clock()
        return to_prediction(answer)._replace(seconds=end - start)


class windowed:  # noqa: N801  # used as a function
    """Wrap a predictor that can see only so many steps, such as a transformer: the last ones.

    `compare` knows by its attribute `window` that it sees less than the other one.

    Example:
        >>> last_two = windowed(lambda xs: float(sum(xs)), 2)
        >>> last_two([9, 1, 1])
        2.0
    """

    def __init__(self, predictor: Predictor, steps: int) -> None:
        check_predictor(predictor)
        self.predictor = predictor
        self.window = to_window(steps)

    def __call__(self, xs: NDArray[Any]) -> Any:
        """Return the predictor's answer to the last steps."""
        return self.predictor(last_steps(as_steps(xs), self.window))


class Labelling:
    """A predictor that may know all labels it can give; labels: None where it does not."""

    labels: Sequence[Label] | None


def known_labels(predictor: Predictor) -> list[Label] | None:
    """Return all labels that a predictor can give, where that is known."""
    while isinstance(predictor, (timed, windowed)):
        predictor = predictor.predictor
    known = predictor.labels if isinstance(predictor, Labelling) else None
    return None if known is None else list(known)
