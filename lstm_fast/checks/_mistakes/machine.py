"""An LSTM of any variant, rightly or wrongly: everything that ports get wrong is a field of it.

Gates are blocks of rows in the order i, f, g, o.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..._weights import LayerWeights, Weights
from ...cell import Cell
from .functions import Function, function_of
from .roundings import Float64, Int8, Matrix


@dataclass(frozen=True)
class Kept:
    """A state that is kept in a smaller type.

    how: see ROUNDINGS. parts: of "h" and "c", which are. h_late: h is rounded only where it is
    carried on, and the output and the layer above get it as it was. c_early: c is rounded before
    h is computed of it.
    """

    how: str
    parts: str = "hc"
    h_late: bool = False
    c_early: bool = False


@dataclass(frozen=True)
class Zoneout:
    """A new state that is h times (1 - of_h), and of_h times the old; likewise c.

    h_late: the output and the layer above get the new h without the old. c_early: h is computed of
    the mixed c.
    """

    of_h: float = 0.0
    of_c: float = 0.0
    h_late: bool = False
    c_early: bool = False


@dataclass(frozen=True)
class Slots:
    """Layers that take each other's state.

    order: layer n takes the state of layer order[n]. parts: of "h" and "c", which. carried: from
    the step before; fresh: from this step, where that layer comes first. shown: so in the state
    that is shown. start: so in a state that is set. top: the state shown is the last layer's, in
    each.
    """

    order: tuple[int, ...]
    parts: str = "hc"
    carried: bool = False
    fresh: bool = False
    shown: bool = False
    start: bool = False
    top: bool = False


@dataclass(frozen=True)
class Timer:
    """A state that is reset after that many steps, and again.

    parts: of "h" and "c", which are. shown: the state that is shown after such a step is reset
    already. counts_on: a reset in between does not set the count back.
    """

    steps: int
    parts: str = "hc"
    shown: bool = False
    counts_on: bool = False


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer as a machine computes it.

    order: where the blocks of i, f, g, o are among the rows of the matrices; bias_order: of the
    biases. gain_ih and gain_hh scale the two products, forget_gain the bias of f, to which forget
    is added. others replaces functions: of "i", "f", "g", "o" and "output".
    """

    w_ih: Matrix  # (4H, I)
    w_hh: Matrix  # (4H, P)
    b_ih: Float64  # (4H,)
    b_hh: Float64  # (4H,)
    cell: Cell
    w_hr: Matrix | None = None  # (P, H)
    b_hr: Float64 | None = None  # (P,)
    peephole: Float64 | None = None  # (3H,)
    layer_norm: Float64 | None = None  # (4H,)
    h_0: Float64 | None = None  # (P,)
    c_0: Float64 | None = None  # (H,)
    order: tuple[int, ...] = (0, 1, 2, 3)
    bias_order: tuple[int, ...] = (0, 1, 2, 3)
    gain_ih: float = 1.0
    gain_hh: float = 1.0
    forget: float = 0.0
    forget_gain: float = 1.0
    sigmoid_g: bool = False  # the gates' activation for g, too
    in_place: bool = False  # a unit's new h is there for the units after it
    old_c: bool = False  # h is o times output of the c before this step
    old_peephole: bool = False  # the output gate's peephole sees the c before this step
    others: tuple[tuple[str, Function], ...] = ()
    h_clip: float | None = None
    kept: Kept | None = None
    zoneout: Zoneout | None = None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """I, H and P."""
        (rows, inputs), outputs = self.w_ih.value.shape, self.w_hh.value.shape[1]
        return inputs, rows // 4, outputs

    @cached_property
    def bounded(self) -> bool:
        """Whether h lives in [-1, 1]."""
        return self.w_hr is None and self.cell.bounded

    @cached_property
    def bias(self) -> Float64:
        """The sum of the biases, (4, H), gates i, f, g, o."""
        blocks = (self.b_ih + self.b_hh).reshape(4, -1)[list(self.bias_order)]
        blocks[1] *= self.forget_gain
        blocks[1] += self.forget
        return blocks

    @cached_property
    def functions(self) -> dict[str, Function]:
        """Those of i, f, g, o and of the output."""
        gate, g, output = (function_of(one) for one in self.cell.activations)
        g = gate if self.sigmoid_g else g
        return {"i": gate, "f": gate, "g": g, "o": gate, "output": output} | dict(self.others)

    def with_others(self, functions: dict[str, Function]) -> Layer:
        """Return it with other functions for some."""
        return replace(self, others=tuple((dict(self.others) | functions).items()))


@dataclass(frozen=True, eq=False)
class Machine:
    """How an implementation computes a stack, and what it shows of it.

    Args:
        layers: from the bottom up.
        rounding: of all matrices, see ROUNDINGS.
        int8: what becomes of frames and hidden states in products; None leaves them as they are.
        x_bounded: the frames live in [-1, 1], so that int8 takes them for hidden states.
        keep: of "h" and "c", what goes on to the next step; the rest starts anew.
        leak: of "h" and "c", what a reset forgets to reset, in the layers of leak_layers (None:
            all).
        takes: of "h" and "c", what it takes of a state that is set; the rest starts anew.
        crossed: h and c change places in the state that is handed on.
        crossed_start: likewise in a state that is set.
        crossed_states: likewise in the state that is shown.
        stale_below: a layer is fed with what the one below gave a step before.
        slots: layers that take each other's state.
        timer: what resets the state without being asked.
        residual: how much of what a layer takes is added to what it gives, layer by layer; (): 0.
        residual_kept: that sum is the h that is carried on, too.
        skip: how much of the frame is added to the output.
        frames: changes to the frames, one after the other: a name in FRAMES and a number.
        output: "h" or "c", times output_gain; output_rounding: see ROUNDINGS.
        late: the output shows that many steps late (early where negative); the state with it where
            late_states.
        backwards: the outputs come in the reversed order.
        shows: of "h" and "c", what in the shown state can be compared.
    """

    layers: tuple[Layer, ...]
    rounding: str = ""
    int8: Int8 | None = None
    x_bounded: bool = False
    keep: str = "hc"
    leak: str = ""
    leak_layers: tuple[int, ...] | None = None
    takes: str = "hc"
    crossed: bool = False
    crossed_start: bool = False
    crossed_states: bool = False
    stale_below: bool = False
    slots: Slots | None = None
    timer: Timer | None = None
    residual: tuple[float, ...] = ()
    residual_kept: bool = False
    skip: float = 0.0
    frames: tuple[tuple[str, float], ...] = ()
    output: str = "h"
    output_gain: float = 1.0
    output_rounding: str = ""
    late: int = 0
    late_states: bool = False
    backwards: bool = False
    shows: str = "hc"

    @property
    def is_plain(self) -> bool:
        """Whether what it shows is h and c after each step, so that a record can lead it on."""
        usual = (self.keep, self.output, self.output_gain, self.output_rounding, self.late)
        turned = (self.backwards, self.crossed, self.crossed_states, self.stale_below)
        others = (self.slots, self.timer, self.residual, self.skip)
        return usual == ("hc", "h", 1.0, "", 0) and not any((*turned, *others))

    @property
    def rounds(self) -> bool:
        """Whether it rounds its state, so that float32's last bit may decide what it becomes."""
        return self.int8 is not None or self.keeps

    @property
    def keeps(self) -> bool:
        """Whether a layer keeps its state in a smaller type."""
        return any(layer.kept is not None for layer in self.layers)


def intended(weights: Weights, weight_dtype: str = "float32") -> Machine:
    """Return the machine that is right for weights stored as float32, float16 or int8."""
    rounding = {"float32": "", "float16": "float16", "int8": "int8_row"}[weight_dtype]
    return Machine(
        tuple(_layer(layer) for layer in weights.layers),
        rounding=rounding,
        int8=Int8() if weight_dtype == "int8" else None,
        x_bounded=weights.x_is_bounded,
    )


def _layer(layer: LayerWeights) -> Layer:
    def wide(value: Any) -> Any:
        return None if value is None else np.asarray(value, np.float64)

    zeros = np.zeros(len(layer.weight_ih))
    b_ih, b_hh = (zeros if b is None else wide(b) for b in (layer.bias_ih, layer.bias_hh))
    return Layer(
        Matrix(wide(layer.weight_ih)),
        Matrix(wide(layer.weight_hh)),
        b_ih,
        b_hh,
        layer.cell,
        None if layer.weight_hr is None else Matrix(wide(layer.weight_hr)),
        wide(layer.bias_hr),
        wide(layer.peephole),
        wide(layer.layer_norm),
        h_0=wide(layer.h_0),
        c_0=wide(layer.c_0),
    )


BIASES = ("b_ih", "b_hh", "bias_order", "forget", "forget_gain")


def same(a: Any, b: Any) -> bool:
    """Say whether two machines, or parts of them, are equal in every number."""
    if a is b or type(a) is not type(b):
        return a is b
    if isinstance(a, Matrix):
        a, b = a.value, b.value
    if isinstance(a, np.ndarray):
        return np.array_equal(a, b)
    if isinstance(a, (Machine, Layer)):
        names = [one.name for one in fields(a)]
        if isinstance(a, Layer):  # what the biases come to is all that counts
            names = [name for name in names if name not in BIASES] + ["bias"]
        return all(same(getattr(a, name), getattr(b, name)) for name in names)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)
