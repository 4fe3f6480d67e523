"""Predictors made of a whole model, such as a voice activity detector; and `classifier`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._arguments import is_number
from .._frames import Array, to_steps
from ..lstm import LSTM
from ..model import Model
from ..model_stream import ModelStream
from ..stream import Stream
from .classifiers import Classifier, Head, linear, scored, to_labels
from .predictors import SLACK, Labelling, Prediction, to_prediction
from .sequences import Label

__all__ = ["ModelClassifier", "classifier"]

Over: TypeAlias = Literal["last", "max", "mean"]
OVER: dict[str, Callable[[Array], Array]] = {
    "last": lambda ys: ys[-1],
    "max": lambda ys: ys.max(axis=0),
    "mean": lambda ys: ys.mean(axis=0),
}


class ModelClassifier(Labelling):
    """A whole model whose output is an answer, or leads to one; make one with `classifier`.

    It starts from the model's own start for each sequence, so none knows of the others.

    labels: in the order of the probabilities; None where the head itself gives answers. output: the
    name of the output that is looked at.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import vad
        >>> spoke = classifier(vad.silero(), labels=(False, True), over="max")
        >>> spoke(np.zeros((30, 512), np.float32)).label
        False
    """

    def __init__(
        self,
        model: Model | ModelStream,
        head: Head | None,
        labels: Sequence[Label] | None,
        output: str | None,
        over: str,
        threshold: float,
    ) -> None:
        if not isinstance(model, (Model, ModelStream)):
            raise TypeError(
                f"expected an LSTM, a Model, or a stream of one, found {type(model).__name__}"
            )
        self._model = model if isinstance(model, Model) else model.model
        self._stream = model.stream() if isinstance(model, Model) else model
        self.labels = None if labels is None else to_labels(labels)
        self.output = _output(self._model, output)
        if over not in OVER:
            raise ValueError(f"over is {over!r}, expected one of {', '.join(OVER)}")
        if not is_number(threshold) or not 0 < threshold < 1:
            raise ValueError(f"threshold must be a number between 0 and 1, found {threshold!r}")
        self._over, self._threshold = OVER[over], float(threshold)
        size = math.prod(self._model.outputs[self.output].shape)
        self._head: Callable[[NDArray[np.float32]], Any] | None = None
        if head is not None:
            called = f"output {self.output!r} of this model"
            self._head = head if callable(head) else linear(head, size, self.labels, called)
        elif self.labels is None:
            raise ValueError(
                "a model without a head needs labels: the one of each probability, or of one "
                "probability what it means where it is low and where it is high, (False, True)"
            )
        elif len(self.labels) != (2 if size == 1 else size):
            raise ValueError(
                f"output {self.output!r} has {size} values, which need {2 if size == 1 else size} "
                f"labels: {len(self.labels)}"
            )

    def __call__(self, xs: Any) -> Prediction:
        """Return the answer to one sequence, T in front of every input.

        Raises:
            TypeError, ValueError: it has another shape or kind, or the answer is none.
        """
        self._stream.reset()
        return self._read(self._ys(self._stream.run(xs)))

    def batch(self, sequences: Sequence[Any]) -> list[Prediction]:
        """Return the answers to several sequences, padded and run in one pool: the same bits.

        Raises:
            TypeError, ValueError: as calling it, for any of them.
        """
        inputs = self._model.inputs
        given = [to_steps(xs, self._model, (None,)) for xs in sequences]
        lengths = [len(arrays[0]) for arrays in given]
        padded: dict[str, Array] = {}
        for n, name in enumerate(inputs):
            shape = (len(given), max(lengths), *inputs[name].shape)
            padded[name] = np.zeros(shape, given[0][n].dtype)
            for row, arrays in zip(padded[name], given, strict=True):
                row[: len(arrays[n])] = arrays[n]
        pool = self._model.pool(len(given))
        ys = self._ys(pool.run([pool.open() for _ in given], padded, lengths))
        return [self._read(row[:length]) for row, length in zip(ys, lengths, strict=True)]

    def _ys(self, results: Any) -> Array:
        ys: Array = results[self.output] if isinstance(results, Mapping) else results
        return ys

    def _read(self, ys: Array) -> Prediction:
        """Return the answer to the outputs (T, ...) of one sequence."""
        y = np.asarray(self._over(ys))
        if self._head is not None:
            answer = self._head(y.reshape(-1) if self.labels is not None else y)
            return to_prediction(answer) if self.labels is None else scored(answer, self.labels)
        assert self.labels is not None
        shares = np.float64(y.reshape(-1))
        if not (shares >= 0).all() or not (shares <= 1 + SLACK).all():
            raise ValueError(
                f"output {self.output!r} is {y}, expected probabilities of 0 to 1: give a head, "
                "head=lambda y: y where these are scores; or is there a NaN in xs?"
            )
        if len(shares) > 1:
            best = int(shares.argmax())
            return Prediction(self.labels[best], min(float(shares[best]), 1.0))
        share = min(float(shares[0]), 1.0)
        is_high = share >= self._threshold
        return Prediction(self.labels[int(is_high)], share if is_high else 1 - share)


def _output(model: Model, name: str | None) -> str:
    """Return the name of the output that is looked at.

    Raises:
        ValueError: there is no such output, or several and none was named.
    """
    known = ", ".join(map(repr, model.outputs))
    if name is None and len(model.outputs) != 1:
        raise ValueError(f"which output is the answer? Say output=, one of {known}")
    if name is not None and name not in model.outputs:
        raise ValueError(f"there is no output {name!r}, expected one of {known}")
    return next(iter(model.outputs)) if name is None else name


def classifier(
    lstm: Model | ModelStream,
    head: Head | None = None,
    labels: Sequence[Label] | None = None,
    *,
    output: str | None = None,
    over: Over = "last",
    threshold: float = 0.5,
) -> Classifier | ModelClassifier:
    """Make a predictor of an LSTM and a head on its last layer's last h, or of a whole model.

    Args:
        lstm: the LSTM, or the whole model; or a stream of one, which is then reset before each
            sequence. One thread at a time may call the predictor.
        head: takes h, shape (D * P,), float32; or a pair of weight (C, D * P) and bias (C,). Of a
            model it takes the output, flat where there are labels, and None is none: the output
            has probabilities.
        labels: C of them, then the head gives C scores (logits), and the confidence is the softmax
            of the best; None: the head gives an answer as a predictor does. Of a model without a
            head: the label of each probability, the greatest of which is the confidence; or of one
            probability p two: what it means below the threshold, with confidence 1 - p, and above,
            with p.
        output: of a model with several, the one that is looked at.
        over: of a model, what becomes of its outputs (T, ...): the "last" one, or their "max" or
            "mean" over the steps, value by value.
        threshold: from which on one probability means the second label.

    Raises:
        TypeError, ValueError: a part has the wrong type or shape.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> predict = classifier(LSTM.random(3, 4), lambda h: "ends" if h[0] < 2 else "goes on")
        >>> predict(np.zeros((10, 3), np.float32)).label
        'ends'
    """
    if not isinstance(lstm, (LSTM, Stream)):
        return ModelClassifier(lstm, head, labels, output, over, threshold)
    if (output, over, threshold) != (None, "last", 0.5):
        raise ValueError("output, over and threshold are of a whole model, not of an LSTM")
    return Classifier(lstm, head, labels)  # type: ignore[arg-type]  # refuses None itself
