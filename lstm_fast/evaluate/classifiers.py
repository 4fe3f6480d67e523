"""Predictors made of an LSTM with a head, or of a whole model."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._arguments import to_float32
from .._arrays import Float32
from ..lstm import LSTM
from ..stream import Stream
from .predictors import Labelling, Prediction, to_prediction
from .sequences import Label, kind, to_label

__all__ = ["Classifier", "Head", "linear", "scored", "to_labels"]

Head: TypeAlias = "Callable[[NDArray[np.float32]], Any] | tuple[Any, Any]"


def to_labels(labels: Any) -> list[Label]:
    """Return a head's labels, all of one kind and each once.

    Raises:
        TypeError: they are not a sequence of labels, or of different kinds.
        ValueError: one is given twice.
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


def linear(
    head: Any, size: int, labels: Sequence[Label] | None, whose: str
) -> Callable[[NDArray[np.float32]], Any]:
    """Check weight (C, size) and bias (C,), and return what scores with them.

    Raises:
        TypeError: they are not a pair of numbers.
        ValueError: they do not fit, are not finite, or there are not C labels.
    """
    try:
        weight, bias = (np.asarray(part, np.float64) for part in head)
    except (TypeError, ValueError):
        raise TypeError(
            f"a head is a callable, or a pair of weight and bias, found {type(head).__name__}"
        ) from None
    if weight.ndim != 2 or weight.shape[1] != size or bias.shape != weight.shape[:1]:
        raise ValueError(
            f"the head has shapes {weight.shape} and {bias.shape}, {whose} needs (C, {size}) "
            "and (C,)" + (" (it looks transposed)" if weight.T.shape[1:] == (size,) else "")
        )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ValueError("the head's weight or bias is not finite")
    if labels is None or len(labels) != len(bias):
        found = "none" if labels is None else str(len(labels))
        raise ValueError(f"the head has {len(bias)} outputs, which need as many labels: {found}")
    return lambda h: weight @ h + bias


def scored(answer: Any, labels: Sequence[Label]) -> Prediction:
    """Return the label of the best of C scores (logits), and its softmax.

    Raises:
        ValueError: they are not C, or not finite.
    """
    scores = np.asarray(answer, np.float64)
    if scores.shape != (len(labels),):
        raise ValueError(f"the head gave shape {scores.shape}, its labels are {len(labels)}")
    if not np.isfinite(scores).all():
        raise ValueError(f"the head's scores are not finite: {scores}; is there a NaN in xs?")
    shares = np.exp(scores - scores.max())
    best = int(scores.argmax())
    return Prediction(labels[best], float(shares[best] / shares.sum()))


class Classifier(Labelling):
    """An LSTM with a head on its last hidden state; make one with `classifier`.

    It starts from the initial state for each sequence, so none knows of the others.

    labels: the head's, in the order of its outputs; None where the head itself gives answers.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> head = np.zeros((2, 4)), [0.0, 1.0]  # weight and bias: here the second always wins
        >>> predict = classifier(LSTM.random(3, 4), head, labels=["goes on", "ends"])
        >>> [found.label for found in predict.batch([np.zeros((10, 3)), np.zeros((5, 3))])]
        ['ends', 'ends']
    """

    def __init__(self, lstm: LSTM | Stream, head: Head, labels: Sequence[Label] | None) -> None:
        if not isinstance(lstm, (LSTM, Stream)):
            raise TypeError(f"expected an LSTM or a Stream, found {type(lstm).__name__}")
        self._lstm = lstm if isinstance(lstm, LSTM) else lstm.lstm
        self._stream = lstm if isinstance(lstm, Stream) else None
        if self._stream is None and self._lstm.direction == "forward":
            self._stream = self._lstm.stream()
        self.labels = None if labels is None else to_labels(labels)
        size = self._lstm.output_size * self._lstm.num_directions
        self._head = head if callable(head) else linear(head, size, self.labels, "this LSTM")

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
        return to_prediction(answer) if self.labels is None else scored(answer, self.labels)
