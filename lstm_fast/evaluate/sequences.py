"""Labelled sequences: what they hold, how much a predictor sees, and when two are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._arguments import is_integer

__all__ = ["Label", "Labelled"]

Label: TypeAlias = "str | int | bool"
Steps: TypeAlias = "NDArray[Any] | Mapping[str, NDArray[Any]]"  # (T, ...) each


@dataclass(frozen=True, eq=False)
class Labelled:
    """A sequence with the label that it should get.

    A dict with these keys, or any object with these attributes, is taken in its place; for xs and
    gold there is no default.

    Args:
        xs: the steps, shape (T, ...), T first: what the predictor takes. Anything that `np.asarray`
            makes numbers or strings of. For a model of several inputs, a mapping of names to them.
        gold: the right label: a string, an integer or a bool.
        timestamps: when each step was, shape (T,): seconds, or datetime64; they never go back. None
            where no bucket needs them.
        keys: what else is known, such as {"device": "phone", "release": "1.4"}.
        id: a name for it in rows and errors; None numbers it.

    Example:
        >>> one = Labelled(xs=[[1.0], [2.0], [3.0]], gold="yes", timestamps=[0, 0.5, 3])
        >>> one.steps, one.largest_gap
        (3, 2.5)
    """

    xs: Any
    gold: Label
    timestamps: Any = None
    keys: Mapping[str, Any] = field(default_factory=dict)
    id: Any = None

    @property
    def steps(self) -> int:
        """T, of the whole sequence."""
        return count(self.xs)

    @property
    def largest_gap(self) -> float | None:
        """The largest time between two neighbouring steps, in seconds; None with fewer than two.

        Raises:
            ValueError: there are no timestamps, not T of them, or they are not finite or go back.
        """
        times = seconds(self.timestamps, self.steps)
        return float(np.diff(times).max()) if len(times) > 1 else None


def seconds(timestamps: Any, steps: int) -> NDArray[np.float64]:
    """Return timestamps as seconds since the first, shape (T,).

    Raises:
        ValueError: there are none, not one per step, or they are not finite or go back.
    """
    if timestamps is None:
        raise ValueError("it has no timestamps, which a bucket by time gap needs")
    times = np.asarray(timestamps)
    if times.shape != (steps,):
        raise ValueError(
            f"its timestamps have shape {times.shape}, its {steps} steps need one each"
        )
    if times.dtype.kind == "M":
        if np.isnat(times).any():
            raise ValueError("a timestamp is NaT")
        times = (times - times[:1]) / np.timedelta64(1, "s")
    if times.dtype.kind not in "iuf":
        raise ValueError(f"its timestamps are {times.dtype}, expected seconds or datetime64")
    times = times.astype(np.float64)
    if not np.isfinite(times).all():
        raise ValueError("a timestamp is not finite")
    if (np.diff(times) < 0).any():
        at = int(np.argmax(np.diff(times) < 0))
        raise ValueError(f"its timestamps go back after step {at}, {times[at]} to {times[at + 1]}")
    return times


def part(item: Any, name: str) -> Any:
    """Return what a dict or an object has under a name, or None."""
    return item.get(name) if isinstance(item, Mapping) else getattr(item, name, None)


def to_labelled(item: Any) -> Labelled:
    """Return a labelled sequence as one, with xs as an array.

    Raises:
        TypeError, ValueError: it is none, or its parts have the wrong type or shape.
    """
    xs, gold = part(item, "xs"), part(item, "gold")
    if xs is None or gold is None:
        raise TypeError(
            "expected a Labelled, or a dict or object with xs and gold, found "
            f"{type(item).__name__} that lacks {'xs' if xs is None else 'gold'}"
        )
    array = _to_steps(xs)
    keys = part(item, "keys")
    if keys is not None and not isinstance(keys, Mapping):
        raise TypeError(f"its keys are {type(keys).__name__}, expected a mapping")
    return Labelled(
        array, to_label(gold, "gold"), part(item, "timestamps"), keys or {}, part(item, "id")
    )


def _to_steps(xs: Any) -> Steps:
    """Return the steps as an array, or as arrays by name.

    Raises:
        TypeError, ValueError: they are none, empty, or of different lengths.
    """
    if not isinstance(xs, Mapping):
        return _to_array(xs, "its xs")
    if not xs:
        raise ValueError("its xs are an empty mapping, expected the steps of each input by name")
    arrays = {str(name): _to_array(one, f"its xs[{name!r}]") for name, one in xs.items()}
    if len({len(one) for one in arrays.values()}) > 1:
        lengths = ", ".join(f"{name!r} {len(one)}" for name, one in arrays.items())
        raise ValueError(f"its xs have different numbers of steps: {lengths}")
    return arrays


def _to_array(xs: Any, what: str) -> NDArray[Any]:
    verb = "have" if what == "its xs" else "has"
    try:
        array = np.asarray(xs)
    except ValueError as error:
        raise ValueError(f"{what} are not an array: {error}") from None
    if array.ndim == 0 or array.dtype.kind not in "biufUSM":
        raise TypeError(
            f"{what} {verb} dtype {array.dtype} and shape {array.shape}, expected (T, ...) of "
            "numbers or strings"
        )
    if len(array) == 0:
        raise ValueError(f"it is empty: {what} {verb} shape {array.shape}, expected a step or more")
    return array


def to_label(value: Any, what: str) -> Label:
    """Return a label as a plain string, int or bool; NumPy's scalars are converted.

    Raises:
        TypeError: it is something else. A float is never equal for sure, so it is not a label.
    """
    if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # the value of an enum of strings, not its name
    if isinstance(value, int):
        return int(value)
    raise TypeError(
        f"{what} label {value!r} is {type(value).__name__}, expected a string, an integer or a bool"
    )


def kind(label: Label) -> str:
    """Return what sort of label it is, in words."""
    if isinstance(label, bool):
        return "a bool"
    return "an integer" if isinstance(label, int) else "a string"


def to_window(window: Any) -> int | None:
    """Return how many steps are to be seen, or None for all.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is below 1.
    """
    if window is None:
        return None
    if not is_integer(window):
        raise TypeError(f"window must be an integer or None, found {type(window).__name__}")
    if window < 1:
        raise ValueError(f"window must be 1 step or more, found {window}")
    return int(window)


def as_steps(xs: Any) -> Steps:
    """Return steps as an array, or as arrays by name."""
    if isinstance(xs, Mapping):
        return {name: np.asarray(one) for name, one in xs.items()}
    return np.asarray(xs)


def count(xs: Any) -> int:
    """Return how many steps there are, of an array or of arrays by name."""
    return len(next(iter(xs.values())) if isinstance(xs, Mapping) else xs)


def last_steps(xs: Steps, window: int | None) -> Any:
    """Return the last `window` steps, a copy that its receiver may write to."""
    if isinstance(xs, Mapping):
        return {name: last_steps(one, window) for name, one in xs.items()}
    return np.array(xs if window is None else xs[-window:])


def fingerprint(xs: Steps) -> int:
    """Return 63 bits of a hash of dtype, shape and values: equal for the same input windows."""
    digest = hashlib.blake2b(digest_size=8)
    for name, one in xs.items() if isinstance(xs, Mapping) else (("", xs),):
        digest.update(f"{name}{one.dtype.str}{one.shape}".encode())
        digest.update(np.ascontiguousarray(one).tobytes())
    return int.from_bytes(digest.digest(), "little") >> 1
