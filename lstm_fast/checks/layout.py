"""Values by name in flat frames, so that every check runs on whole models as it does on LSTMs.

A frame of a model is the values of its inputs one after the other, (I,) float32; what a step
returns is those of its outputs, (P,). Integers and bools are drawn from the same frames: -2...2, as
the frames of `Options.scale` 2 are, is spread over what is valid.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arrays import Float32
from ..program import Op, Program, Tensor
from .target import TargetError

if TYPE_CHECKING:
    from ..model import Model

__all__ = ["Layout"]

SPREAD = 2.0  # frames within +- this are spread over the valid integers
SMALL = (0, 8)  # integers of which nothing says what is valid; half open
MOVES = ("reshape", "transpose", "concat", "slice", "gather", "expand")


@dataclass(frozen=True)
class Layout:
    """Where values are in flat frames and outputs.

    inputs, outputs: shape and kind by name, without axes of steps or sessions. integers: of inputs
    that hold integers, what is valid: from the first to before the second.
    """

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    integers: Mapping[str, tuple[int, int]]

    @classmethod
    def of(cls, model: Model) -> Layout:
        """Return that of a model; the rows of embeddings say which integers are valid."""
        program = model.program
        tensors = {one.name: one.tensor for one in program.inputs}
        integers = {
            name: _valid(program, tensors[name])
            for name, one in model.inputs.items()
            if one.kind == "int64"
        }
        return cls(dict(model.inputs), dict(model.outputs), integers)

    @property
    def input_size(self) -> int:
        """How many values a frame has."""
        return sum(math.prod(one.shape) for one in self.inputs.values())

    @property
    def output_size(self) -> int:
        """How many values a step returns."""
        return sum(math.prod(one.shape) for one in self.outputs.values())

    @property
    def holds_floats(self) -> bool:
        """Whether an input can hold NaN."""
        return any(one.kind == "float32" for one in self.inputs.values())

    def values(self, xs: Float32) -> Any:
        """Return frames (..., I) as a model takes them: the only input, or all by name."""
        ahead, at, made = xs.shape[:-1], 0, dict[str, Any]()
        for name, one in self.inputs.items():
            size = math.prod(one.shape)
            part: Any = np.reshape(xs[..., at : at + size], (*ahead, *one.shape))
            at += size
            if one.kind == "int64":
                part = _spread(part, *self.integers[name])
            elif one.kind == "bool":
                part = part > 0
            made[name] = np.array(part)
        return made if len(made) > 1 else next(iter(made.values()))

    def by_name(self, xs: Float32) -> dict[str, Any]:
        """Return frames (..., I) as values by name, also where there is one input."""
        made = self.values(xs)
        return made if isinstance(made, dict) else {next(iter(self.inputs)): made}

    def flat(self, results: Any, ahead: tuple[int, ...] = ()) -> Float32:
        """Return what a model returned, with these axes in front, as (..., P).

        Raises:
            TargetError: an output is missing, or has another size.
        """
        if not isinstance(results, Mapping):
            if len(self.outputs) > 1:
                known = ", ".join(map(repr, self.outputs))
                raise TargetError(
                    f"a step returned {type(results).__name__}, expected a mapping of {known}"
                )
            results = {next(iter(self.outputs)): results}
        rows = []
        for name, one in self.outputs.items():
            if name not in results:
                raise TargetError(f"a step returned no output {name!r}, but {sorted(results)}")
            array = np.asarray(results[name])
            if array.dtype.kind not in "fiub" or array.size != math.prod((*ahead, *one.shape)):
                raise TargetError(
                    f"output {name!r} is {array.dtype} of shape {array.shape}, expected "
                    f"{one.kind} of {(*ahead, *one.shape)}"
                )
            with np.errstate(over="ignore", invalid="ignore"):
                rows.append(array.reshape(*ahead, math.prod(one.shape)).astype(np.float32))
        return np.concatenate(rows, axis=-1)

    def parts(self) -> dict[str, slice]:
        """Return where each output is among the P values."""
        found, at = {}, 0
        for name, one in self.outputs.items():
            found[name] = slice(at, at + math.prod(one.shape))
            at = found[name].stop
        return found


def _spread(values: Float32, low: int, high: int) -> Any:
    """Return integers of low...high - 1; what is not a number is as 0."""
    share = np.clip(np.nan_to_num(values, nan=0.0), -SPREAD, SPREAD).astype(np.float64)
    index = np.floor((share + SPREAD) / (2 * SPREAD) * (high - low)).astype(np.int64)
    return np.minimum(index, high - low - 1) + low


def _valid(program: Program, tensor: int) -> tuple[int, int]:
    """Return which integers a tensor may hold: rows of the smallest table that it leads to."""
    reached, rows = {tensor}, []
    for op in program.ops:
        if op.code == "embedding" and op.inputs[1] in reached:
            rows.append(_rows(program, op))
        elif op.code in MOVES and reached & set(op.inputs):
            reached.update(op.outputs)
    return (-min(rows), min(rows)) if rows else SMALL


def _rows(program: Program, op: Op) -> int:
    return program.tensors[op.inputs[0]].shape[0]
