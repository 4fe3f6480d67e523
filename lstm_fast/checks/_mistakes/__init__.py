"""The mistakes that ports of an LSTM make, each as a change to a machine that can be run.

A `Machine` computes an LSTM of any variant in float64, rightly or wrongly: everything that ports
are known to get wrong is a field of it. `run` steps it, and `catalogue` and `families` list what
can be changed. Nothing here judges; see diagnosis.py.
"""

from __future__ import annotations

from .activations import activations, norms
from .cells import cells
from .fitted import numbered
from .keeping import kept, timers
from .loading import biases, gate_orders, matrices, stacks
from .machine import Machine, intended, same
from .mistake import Family, Mistake
from .roundings import Float64
from .running import Moment, run
from .scales import families, int8_scales, roundings
from .stacking import swaps
from .stepping import TIES, Noise
from .streaming import contexts, states, times

__all__ = [
    "TIES",
    "Family",
    "Float64",
    "Machine",
    "Mistake",
    "Moment",
    "Noise",
    "catalogue",
    "families",
    "intended",
    "numbered",
    "run",
    "same",
    "timers",
]


def catalogue(machine: Machine) -> list[Mistake]:
    """Return all mistakes without a number that the right machine can be given, simplest first."""
    return [
        *roundings(machine),
        *gate_orders(),
        *biases(),
        *matrices(),
        *cells(machine),
        *activations(machine),
        *norms(machine),
        *states(machine),
        *times(machine),
        *stacks(machine),
        *swaps(machine),
        *kept(),
        *contexts(machine),
        *int8_scales(),
    ]
