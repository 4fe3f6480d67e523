"""What `run`, `compare` and `drift` are asked for, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .._arguments import is_number
from ..lstm import LSTM
from ..model import Model
from ..model_stream import ModelStream
from ..stream import Stream
from .buckets import Buckets

__all__ = [
    "check_number",
    "check_options",
    "check_predictor",
    "check_sequences",
    "to_buckets",
    "to_names",
]


def check_number(value: Any, what: str) -> None:
    """Raise TypeError where a value is not a plain number."""
    if not is_number(value):
        raise TypeError(f"{what} must be a number, found {value!r}")


def check_options(
    level: Any, alpha: Any, min_difference: Any, on_error: Any, clock: Any = None
) -> None:
    """Raise TypeError or ValueError for options that make no sense."""
    for what, value in (("level", level), ("alpha", alpha)):
        check_number(value, what)
        if not 0 < value < 1:
            raise ValueError(f"{what} must be between 0 and 1, found {value}")
    check_number(min_difference, "min_difference")
    if not 0 <= min_difference <= 1:
        raise ValueError(f"min_difference must be 0 to 1, found {min_difference}")
    if on_error not in ("raise", "count"):
        raise ValueError(f"on_error is 'raise' or 'count', found {on_error!r}")
    if clock is not None and not callable(clock):
        raise TypeError(f"clock gives the time in seconds when it is called, found {clock!r}")


def check_predictor(predictor: Any) -> None:
    """Raise TypeError where it gives no answers."""
    if isinstance(predictor, (LSTM, Stream)):
        raise TypeError(
            f"a predictor gives labels, which {type(predictor).__name__} does not: "
            "evaluate.classifier(lstm, (weight, bias), labels) makes one of an LSTM and a head"
        )
    if isinstance(predictor, (Model, ModelStream)):
        raise TypeError(
            f"a predictor gives labels, which {type(predictor).__name__} does not: "
            "evaluate.classifier(model, labels=(False, True)) makes one of a model that gives "
            "probabilities"
        )
    if not callable(predictor):
        raise TypeError(f"a predictor is callable, found {type(predictor).__name__}")


def check_sequences(sequences: Any) -> None:
    """Raise TypeError where it is not a collection of sequences."""
    if isinstance(sequences, Mapping) and {"xs", "gold"} <= sequences.keys():
        raise TypeError("sequences is one sequence: put it into a list, [sequence]")
    if isinstance(sequences, (str, bytes, Mapping)) or not isinstance(sequences, Iterable):
        raise TypeError(
            "sequences must be a list or an iterator of Labelled, or of dicts with xs and gold, "
            f"found {type(sequences).__name__}"
        )


def to_buckets(buckets: Any) -> list[Buckets]:
    """Return the ways to part as a list.

    Raises:
        TypeError: one is not a Buckets.
        ValueError: two have one name.
    """
    is_list = isinstance(buckets, Iterable) and not isinstance(buckets, (str, Mapping))
    ways: list[Any] = [*buckets] if is_list else [buckets]
    for way in ways:
        if not isinstance(way, Buckets):
            raise TypeError(
                f"buckets come from by_steps, by_gap or by, found {type(way).__name__}: {way!r}"
            )
    names = [way.name for way in ways]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two buckets have the name {repeated[0]!r}; give one another by name=")
    return ways


def to_names(names: Any) -> tuple[str, str]:
    """Return the names of two predictors.

    Raises:
        TypeError: they are not a pair.
    """
    if isinstance(names, str) or not isinstance(names, Sequence) or len(names) != 2:
        raise TypeError(f"names is a pair, such as ('old', 'new'), found {names!r}")
    return str(names[0]), str(names[1])
