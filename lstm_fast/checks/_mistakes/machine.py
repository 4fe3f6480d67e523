"""An LSTM of any variant, rightly or wrongly: everything that ports get wrong is a field of it.

Gates are blocks of rows in the order i, f, g, o.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import reference
from ..._weights import LayerWeights, Weights
from ...cell import Activation, Cell

Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Matrix:
    """A matrix (rows, columns) in float64, with what is computed from it once."""

    value: Float64
    _rounded: dict[str, Matrix] = field(default_factory=dict, repr=False)

    @cached_property
    def norms(self) -> Float64:
        """The Euclidean norm of each row."""
        return np.asarray(np.sqrt(np.einsum("ij,ij->i", self.value, self.value)))

    def rounded(self, how: str) -> Matrix:
        """Return it as a smaller type keeps it; how: see ROUNDINGS, "" is as it is."""
        if how and how not in self._rounded:
            self._rounded[how] = Matrix(ROUNDINGS[how](self.value))
        return self._rounded[how] if how else self


def _int8_blocks(w: Float64, blocks: int) -> Float64:
    """Round to whole numbers of 1/127 of the largest magnitude in each block of rows."""
    parts = w.reshape(blocks, -1)
    largest = np.abs(parts).max(axis=1, keepdims=True)
    scale = np.where(largest == 0, 1.0, largest / 127)
    return np.asarray((np.rint(parts / scale) * scale).reshape(w.shape))


def _int8_rows(w: Float64) -> Float64:
    whole, scale = reference.quantise_rows(w)
    return np.asarray(whole * scale[:, None])


def _bfloat16(w: Float64) -> Float64:
    bits = np.float32(w).view(np.uint32).astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> np.uint64(16)) & np.uint64(1))) & np.uint64(0xFFFF0000)
    return np.asarray(rounded.astype(np.uint32).view(np.float32), np.float64)


ROUNDINGS: dict[str, Callable[[Float64], Float64]] = {
    "float16": lambda w: w.astype(np.float16).astype(np.float64),
    "bfloat16": _bfloat16,
    "int8_row": _int8_rows,
    "int8_gate": lambda w: _int8_blocks(w, 4 if len(w) % 4 == 0 else 1),
    "int8_tensor": lambda w: _int8_blocks(w, 1),
}


@dataclass(frozen=True)
class Int8:
    """How 8-bit inputs and hidden states are made and read; the default is our contract's.

    The hidden state, which lives in [-1, 1], is the whole number nearest to h * levels, and is read
    as that times unit. A frame is scaled by its own largest magnitude, unless fixed, and then read
    as x_gain times what it was.
    """

    levels: float = 127.0
    unit: float = 1 / 127
    fixed: bool = False
    x_gain: float = 1.0

    def rounded(self, values: Float64, *, bounded: bool) -> Float64:
        """Return what is read of values (B, n), in [-1, 1] where bounded.

        Disturbed rows are as far apart as they were: which whole number is the nearest is settled
        by the exact row, or else one that is nearly halfway would carry far.
        """
        exact = values[:1]
        read = self.hidden(exact) if bounded else self.frame(exact)
        return read if len(values) == 1 else np.asarray(read + (values - exact))

    def hidden(self, h: Float64) -> Float64:
        whole = np.rint(np.float32(h) * np.float32(self.levels)).clip(-127, 127)
        return np.asarray(whole * self.unit, np.float64)

    def frame(self, x: Float64) -> Float64:
        if self.fixed:
            return self.hidden(x) * self.x_gain
        largest = np.abs(np.float32(x)).max(axis=-1, keepdims=True)
        silent = largest < reference.TINY
        scale = np.float32(127) / np.where(silent, np.float32(1), largest)
        whole = np.where(silent, 0, np.rint(np.float32(x) * scale).clip(-127, 127))
        return np.asarray(whole * (np.float64(largest) / 127 * self.x_gain), np.float64)


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer as a machine computes it.

    order: where the blocks of i, f, g, o are among the rows of the matrices; bias_order: of the
    biases. gain_ih and gain_hh scale the two products, forget_gain the bias of f, to which forget
    is added.
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
    def functions(self) -> tuple[Callable[[Float64], Float64], ...]:
        """Those of the gates, of g and of the output."""
        gate, g, output = (function_of(one) for one in self.cell.activations)
        return gate, (gate if self.sigmoid_g else g), output


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
        frames: changes to the frames, one after the other: a name in FRAMES and a number.
        output: "h" or "c", times output_gain.
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
    frames: tuple[tuple[str, int], ...] = ()
    output: str = "h"
    output_gain: float = 1.0
    late: int = 0
    late_states: bool = False
    backwards: bool = False
    shows: str = "hc"

    @property
    def is_plain(self) -> bool:
        """Whether what it shows is h and c after each step, so that a record can lead it on."""
        return (self.keep, self.output, self.output_gain, self.late) == (
            "hc",
            "h",
            1.0,
            0,
        ) and not (self.backwards or self.crossed or self.crossed_states or self.stale_below)


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


@lru_cache(maxsize=64)
def function_of(one: Activation) -> Callable[[Float64], Float64]:
    alpha, beta = one.alpha or 0.0, one.beta or 0.0
    quick: dict[str, Callable[[Float64], Float64]] = {
        "sigmoid": lambda x: np.asarray(0.5 * np.tanh(0.5 * x) + 0.5),
        "tanh": np.tanh,
        "affine": lambda x: alpha * x + beta,
        "hard_sigmoid": lambda x: np.clip(alpha * x + beta, 0, 1),
    }
    return quick.get(one.name, lambda x: reference.activation(x, one.name, alpha, beta))
