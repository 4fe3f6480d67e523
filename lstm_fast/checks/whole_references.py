"""The whole model that a target should be."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..formats._whole_models import load_model
from ..lstm import LSTM
from ..model import Model
from ..program import Program
from ._moved import plain
from .layout import Layout
from .target import Target

__all__ = ["WholeReference", "is_whole", "whole_reference_for"]


@dataclass(frozen=True)
class WholeReference:
    """The whole model that a target should be.

    model: on any backend; what is expected is computed in float64 from its program. origin: Python
    that makes the reference again, with `reference` as the name. described: what the target is by
    its options, if that is known. variants: of options that may be mistaken, what was said
    ("sr=8000, not 16000") to what would be said otherwise, and what loads the model then.
    """

    model: Model
    origin: str | None = None
    described: Model | None = None
    variants: Mapping[str, tuple[str, Callable[[], Model]]] = field(default_factory=dict)
    assumptions: tuple[str, ...] = ()

    def beside(self, stream: Any) -> Any:
        """Return a stream of the model as one that takes the target's frames."""
        return stream

    def simulate(self, stream: Any, layout: Layout, xs: Any) -> Any:
        """Step a stream of the model over the target's frames; see `_moved.Simulation`."""
        return plain(stream, layout, xs)


def is_whole(target: Target, value: Any) -> bool:
    """Say whether a reference is of a whole model, and not of an LSTM alone."""
    if isinstance(value, LSTM):  # of which more is known than of what any model computes
        return False
    if isinstance(value, (Model, Program, WholeReference)):
        return True
    is_file = isinstance(value, (str, os.PathLike))
    return is_file and (target.layout is not None or Path(value).suffix.lower() == ".lfm")


def whole_reference_for(target: Target, value: Any) -> WholeReference:
    """Return a reference for a target: a Model, a program, or a file that `load_model` reads.

    Raises:
        OSError, FormatError: the file can't be read.
        ValueError: it takes or returns something else than the target.
    """
    own = getattr(target, "as_reference", None)  # it knows what may be said wrongly of it
    reads = getattr(target, "reference_for", None)  # what knows which model it should be at all
    if callable(reads):
        found: WholeReference = reads(value)
        return found
    if isinstance(value, WholeReference):
        wanted = value
    elif isinstance(value, Model):
        known: WholeReference | None = own() if callable(own) else None
        wanted = known if known and known.model is value else WholeReference(value)
    elif isinstance(value, Program):
        wanted = WholeReference(Model.from_program(value))
    else:
        wanted = WholeReference(load_model(value), f"reference = {os.fspath(value)!r}")
    layout, named = Layout.of(wanted.model), target.layout
    if named is not None and (_kinds(named.inputs), _kinds(named.outputs)) != (
        _kinds(layout.inputs),
        _kinds(layout.outputs),
    ):
        raise ValueError(
            f"the reference takes {_text(layout.inputs)} and returns {_text(layout.outputs)}, "
            f"{target.name} takes {_text(named.inputs)} and returns {_text(named.outputs)}"
        )
    if layout.input_size != target.input_size:
        raise ValueError(
            f"the reference takes {layout.input_size} values per frame, {target.name} takes "
            f"{target.input_size}"
        )
    if target.output_size not in (None, layout.output_size):
        raise ValueError(
            f"the reference returns {layout.output_size} values, {target.name} returns "
            f"{target.output_size}"
        )
    return wanted


def _kinds(tensors: Mapping[str, Any]) -> dict[str, tuple[Any, ...]]:
    return {name: (one.shape, one.kind) for name, one in tensors.items()}


def _text(tensors: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {one.shape} {one.kind}" for name, one in tensors.items())
