"""Predictors: what their answers may look like, how long they took, and LSTMs with a head."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._arguments import to_float32
from .._arrays import Float32
from ..lstm import LSTM
from ..stream import Stream
from ._options import check_number, check_predictor
from .sequences import Label, kind, last_steps, to_label, to_window

__all__ = ["Classifier", "Prediction", "Predictor", "classifier", "timed", "windowed"]

# What takes the steps (T, ...) and gives a label, (label, confidence), a mapping from label to
# probability, or a Prediction.
Predictor: TypeAlias = Callable[[NDArray[Any]], Any]
Head: TypeAlias = "Callable[[NDArray[np.float32]], Any] | tuple[Any, Any]"

SLACK = 1e-6  # by which float32 probabilities may exceed 1


class Prediction(NamedTuple):
    """A predictor's answer.

    Args:
        label: what it predicts.
        confidence: 0 to 1; None where it gives none.
        seconds: how long it took; None lets the caller's clock say.
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
    """

    def __init__(self, predictor: Predictor, steps: int) -> None:
        check_predictor(predictor)
        self.predictor = predictor
        self.window = to_window(steps)

    def __call__(self, xs: NDArray[Any]) -> Any:
        """Return the predictor's answer to the last steps."""
        return self.predictor(last_steps(np.asarray(xs), self.window))


def _to_labels(labels: Any) -> list[Label]:
    """Return a head's labels, all of one kind and each once.

    Raises:
        TypeError: they are no sequence of labels, or of different kinds.
        ValueError: one stands twice.
    """
    if isinstance(labels, Mapping) or not isinstance(labels, Iterable):
        raise TypeError(
            "labels is a list with a label for each of the head's outputs, in their order, found "
            f"{type(labels).__name__}"
        )
    found = [to_label(label, "head's") for label in labels]
    if len(kinds := sorted({kind(label) for label in found})) > 1:
        raise TypeError(f"the head's labels must be of one kind, found {' and '.join(kinds)}")
    if repeated := [label for number, label in enumerate(found) if label in found[:number]]:
        raise ValueError(f"the head's labels have {repeated[0]!r} twice")
    return found


class Classifier:
    """An LSTM with a head on its last hidden state; make one with `classifier`.

    It starts from the initial state for each sequence, so none knows of the others.

    labels: the head's, in the order of its outputs; None where the head itself gives answers.
    """

    def __init__(self, lstm: LSTM | Stream, head: Head, labels: Sequence[Label] | None) -> None:
        if not isinstance(lstm, (LSTM, Stream)):
            raise TypeError(f"expected an LSTM or a Stream, found {type(lstm).__name__}")
        self._lstm = lstm if isinstance(lstm, LSTM) else lstm.lstm
        self._stream = lstm if isinstance(lstm, Stream) else None
        if self._stream is None and self._lstm.direction == "forward":
            self._stream = self._lstm.stream()
        self.labels = None if labels is None else _to_labels(labels)
        self._head = head if callable(head) else self._linear(head)

    def _linear(self, head: tuple[Any, Any]) -> Callable[[NDArray[np.float32]], Any]:
        """Check weight (C, D * P) and bias (C,), and return what scores with them."""
        try:
            weight, bias = (np.asarray(part, np.float64) for part in head)
        except (TypeError, ValueError):
            raise TypeError(
                f"a head is a callable, or a pair of weight and bias, found {type(head).__name__}"
            ) from None
        size = self._lstm.output_size * self._lstm.num_directions
        if weight.ndim != 2 or weight.shape[1] != size or bias.shape != weight.shape[:1]:
            raise ValueError(
                f"the head has shapes {weight.shape} and {bias.shape}, this LSTM needs (C, {size}) "
                "and (C,)" + (" (it looks transposed)" if weight.T.shape[1:] == (size,) else "")
            )
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise ValueError("the head's weight or bias is not finite")
        if self.labels is None or len(self.labels) != len(bias):
            found = "none" if self.labels is None else str(len(self.labels))
            raise ValueError(
                f"the head has {len(bias)} outputs, which need as many labels: {found}"
            )
        return lambda h: weight @ h + bias

    def __call__(self, xs: Any) -> Prediction:
        """Return the answer to one sequence, shape (T, I).

        Raises:
            TypeError, ValueError: it has another shape or no numbers, or the scores are not finite.
        """
        if self._stream is None:
            return self._read(self._last(self._frames(xs)[None], None)[0])
        self._stream.reset()
        self._stream.run(xs)
        return self._read(self._stream.state.h[-1])

    def batch(self, sequences: Sequence[Any]) -> list[Prediction]:
        """Return the answers to several sequences, (T, I) each, padded and run as one batch.

        Raises:
            TypeError, ValueError: as calling it, for any of them.
        """
        arrays = [self._frames(xs) for xs in sequences]
        lengths = [len(xs) for xs in arrays]
        padded = np.zeros((len(arrays), max(lengths), self._lstm.input_size), np.float32)
        for row, xs in zip(padded, arrays, strict=True):
            row[: len(xs)] = xs
        return [self._read(h) for h in self._last(padded, lengths)]

    def _frames(self, xs: Any) -> Float32:
        return to_float32(xs, "xs", (None, self._lstm.input_size), "this LSTM takes %s")

    def _last(self, xs: NDArray[Any], lengths: list[int] | None) -> NDArray[np.float32]:
        """Return the last layer's h after each row's own last step, shape (N, D * P)."""
        state = self._lstm(xs, lengths=lengths)[1]
        directions = self._lstm.num_directions
        last: NDArray[np.float32] = np.concatenate([*state.h[-directions:]], axis=-1)
        return last

    def _read(self, h: NDArray[np.float32]) -> Prediction:
        answer = self._head(h)
        if self.labels is None:
            return to_prediction(answer)
        scores = np.asarray(answer, np.float64)
        if scores.shape != (len(self.labels),):
            raise ValueError(
                f"the head gave shape {scores.shape}, its labels are {len(self.labels)}"
            )
        if not np.isfinite(scores).all():
            raise ValueError(f"the head's scores are not finite: {scores}; is there a NaN in xs?")
        shares = np.exp(scores - scores.max())
        best = int(scores.argmax())
        return Prediction(self.labels[best], float(shares[best] / shares.sum()))


def known_labels(predictor: Predictor) -> list[Label] | None:
    """Return all labels that a predictor can give, where that is known."""
    while isinstance(predictor, (timed, windowed)):
        predictor = predictor.predictor
    return predictor.labels if isinstance(predictor, Classifier) else None


def classifier(
    lstm: LSTM | Stream, head: Head, labels: Sequence[Label] | None = None
) -> Classifier:
    """Make a predictor of an LSTM and a head on its last layer's last h.

    Args:
        lstm: the LSTM; or a stream of one, which is then reset before each sequence. One thread at
            a time may call the predictor.
        head: takes h, shape (D * P,), float32; or a pair of weight (C, D * P) and bias (C,).
        labels: C of them, then the head gives C scores (logits), and the confidence is the softmax
            of the best; None: the head gives an answer as a predictor does.

    Raises:
        TypeError, ValueError: a part has the wrong type or shape.
    """
    return Classifier(lstm, head, labels)
