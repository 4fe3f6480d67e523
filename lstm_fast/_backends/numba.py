"""The contract in Numba: for where no binary can be built."""

from __future__ import annotations

from .._weight_types import Types
from .._weights import Weights
from ..program import Program
from ._numba_lstm import NumbaModel, packed
from ._numba_model import NumbaProgram

name = "numba"


def isas() -> dict[str, list[str]]:
    """Return nothing: LLVM compiles for the CPU that it finds."""
    return {}


def lacks(weights: Weights) -> str:
    """Return nothing: it has every variant."""
    return ""


def build(weights: Weights, isa: str | None, weight_dtype: str) -> NumbaModel:
    """Pack the weights as the kernels read them."""
    return packed(weights, weight_dtype)


def build_program(program: Program, data: bytes, types: Types, isa: str | None) -> NumbaProgram:
    """Pack the weights of a program, compiling what no program before it has needed."""
    return NumbaProgram(program, types)
