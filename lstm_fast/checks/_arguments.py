"""What the options of `lstm-fast check` may look like, each with an error that says so."""

from __future__ import annotations

import argparse
import re
from typing import Any

import numpy as np

from .runner import NAMES
from .target import LARGEST_FRAME

__all__ = ["constant", "frame", "history", "names", "shape", "state"]


def names(text: str) -> tuple[str, ...]:
    """Return names of checks."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in found:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"there is no check {name!r}: {', '.join(NAMES)}")
    return found


def frame(text: str) -> list[int]:
    """Return the shape of a frame, from "576", "1,80", "1x80" or "(1, 80)"."""
    inner = re.sub(r"^[(\[](.*)[)\]]$", r"\1", text.strip())
    parts = [part.strip() for part in re.split("[x,]", inner.lower().rstrip(", "))]
    sizes = [int(part) if re.fullmatch("[0-9]{1,9}", part) else 0 for part in parts]
    if not all(sizes) or np.prod(sizes, dtype=float) > LARGEST_FRAME:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a shape of a frame: expected sizes above 0, such as 576, 1,80 or 1x80"
        )
    return sizes


def state(text: str) -> tuple[str, str]:
    """Return the names of a state's input and output, from "IN:OUT".

    A name may hold colons ("lstm/h:0"): where there are several, the one in the middle counts.
    """
    colons = [n for n, letter in enumerate(text) if letter == ":"]
    at = colons[len(colons) // 2] if len(colons) % 2 else 0
    one, other = text[:at].strip(), text[at + 1 :].strip()
    if not one or not other:
        raise argparse.ArgumentTypeError(f"{text!r} is not a state: expected IN:OUT, such as h:hn")
    return one, other


def constant(text: str) -> tuple[str, Any]:
    """Return the name and the value of an input, from "IN=NUMBER"."""
    name, _, value = (part.strip() for part in text.rpartition("="))
    words = {"true": True, "false": False}
    try:
        number: Any = words[value.lower()] if value.lower() in words else _number(value)
    except ValueError:
        number = None
    if not name or number is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a value of an input: expected IN=NUMBER, such as sr=16000"
        )
    return name, number


def history(text: str) -> tuple[str, int]:
    """Return the name of an input and how many values it keeps, from "IN=N"."""
    name, _, value = (part.strip() for part in text.rpartition("="))
    if not name or not re.fullmatch("[0-9]{1,9}", value):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a history: expected IN=N, such as input=64"
        )
    return name, int(value)


def shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Return the name of an input and its shape, from "IN=1,576"."""
    name, _, value = (part.strip() for part in text.rpartition("="))
    if not name:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a shape: expected IN=1,N, such as x=1,576"
        )
    return name, tuple(frame(value))


def _number(text: str) -> Any:
    try:
        return np.array(int(text), np.int64)
    except OverflowError as error:
        raise ValueError(str(error)) from error
    except ValueError:
        return np.array(float(text), np.float32)
