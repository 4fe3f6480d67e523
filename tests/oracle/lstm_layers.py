"""A stack of LSTM layers, as csrc/lstm_fast.h says it: at its beginning, at LF_INT8, and at
lf_cell_options.

Each method is one statement of the text, so that `misreadings.py` can misread one at a time. What
comes in are the weights as a caller gives them; nothing here is shared with what it judges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from oracle.activation_formulas import ACTIVATIONS
from oracle.exact import (
    NAN,
    add,
    are_finite,
    canonical,
    div,
    fma,
    from_integer,
    mul,
    nearest_integer,
    sqrt,
    sub,
    to_float16,
    total,
)

Row = list[float]
BOUNDED = {"sigmoid", "tanh", "hard_sigmoid", "softsign"}


@dataclass
class Matrix:
    """Rows as they are stored: floats, or whole numbers with a scale for each row."""

    rows: list[Any]
    scales: Row


@dataclass
class Whole:
    """What a matrix of int8 is multiplied with."""

    values: list[int]
    scale: float


class Layer:
    """One layer; gates i, f, g, o.

    weights: an object with the names of lf_layer_weights, arrays or None, and `cell`.
    x_is_bounded: whether x lives in [-1, 1], which int8 takes at a fixed scale.
    """

    def __init__(self, weights: Any, weight_dtype: str, x_is_bounded: bool = False) -> None:
        self.cell, self.dtype = weights.cell, weight_dtype
        self.x_is_bounded = x_is_bounded
        self.units = len(weights.weight_ih) // 4
        self.w_ih = self.stored(weights.weight_ih.tolist())
        self.w_hh = self.stored(weights.weight_hh.tolist())
        self.w_hr = None
        if weights.weight_hr is not None:
            self.w_hr = self.projection_stored(weights.weight_hr.tolist())
        names = "bias_ih", "bias_hh", "bias_hr", "peephole", "layer_norm", "h_0", "c_0"
        for name in names:
            value = getattr(weights, name)
            setattr(self, name, None if value is None else value.tolist())
        self.h_is_bounded = (
            self.w_hr is None
            and self.cell.gate.name in BOUNDED
            and self.cell.output.name in BOUNDED
        )

    # ---- how weights are stored ----

    def stored(self, rows: list[Row]) -> Matrix:
        if self.dtype == "float16":
            return Matrix([[to_float16(w) for w in row] for row in rows], [])
        if self.dtype == "int8":
            scales = [self.row_scale(row) for row in rows]
            return Matrix([self.whole_row(*one) for one in zip(rows, scales, strict=True)], scales)
        return Matrix(rows, [])

    def projection_stored(self, rows: list[Row]) -> Matrix:
        return self.stored(rows)

    def row_scale(self, row: Row) -> float:
        largest = max(map(abs, row))
        return 0.0 if largest < 2.0**-100 else div(largest, 127.0)

    def whole_row(self, row: Row, scale: float) -> list[int]:
        return [nearest_integer(div(w, scale)) if scale else 0 for w in row]

    def bias(self) -> Row:
        rows = 4 * self.units
        ih, hh = (one or [0.0] * rows for one in (self.bias_ih, self.bias_hh))
        return [add(a, b) for a, b in zip(ih, hh, strict=True)]

    # ---- sums ----

    def chain(self, start: float, row: Row, x: Row) -> float:
        s = start
        for w, value in zip(row, x, strict=True):
            s = fma(w, value, s)
        return s

    def pre_activations(self, x: Row, h: Row) -> Row:
        b = [0.0] * (4 * self.units) if self.layer_norm else self.bias()
        if self.dtype == "int8":
            left = self.dequantised(self.w_ih, self.x_taken(x), b)
            return self.dequantised(self.w_hh, self.h_taken(h), left)
        return self.both_sums(b, x, h)

    def both_sums(self, b: Row, x: Row, h: Row) -> Row:
        first = [self.chain(start, row, x) for start, row in zip(b, self.w_ih.rows, strict=True)]
        second = [self.chain(0.0, row, h) for row in self.w_hh.rows]
        return [add(one, other) for one, other in zip(first, second, strict=True)]

    # ---- int8 ----

    def dequantised(self, matrix: Matrix, operand: Whole, start: Row) -> Row:
        rows = zip(matrix.rows, matrix.scales, start, strict=True)
        return [
            fma(self.whole_sum(row, operand.values), mul(scale, operand.scale), s)
            for row, scale, s in rows
        ]

    def whole_sum(self, row: list[int], values: list[int]) -> float:
        return from_integer(sum(w * x for w, x in zip(row, values, strict=True)))

    def x_taken(self, x: Row) -> Whole:
        return self.bounded(x) if self.x_is_bounded else self.frame(x)

    def h_taken(self, h: Row) -> Whole:
        return self.bounded(h) if self.h_is_bounded else self.frame(h)

    def bounded(self, values: Row) -> Whole:
        if not are_finite(*values):
            return Whole([0] * len(values), NAN)
        return Whole([self.whole(mul(v, 127.0)) for v in values], div(1.0, 127.0))

    def frame(self, values: Row) -> Whole:
        if not are_finite(*values):
            return Whole([0] * len(values), NAN)
        m = max(map(abs, values))
        if m < 2.0**-100:
            return Whole([0] * len(values), 0.0)
        factor = div(127.0, m)
        return Whole([self.whole(mul(v, factor)) for v in values], div(m, 127.0))

    def whole(self, value: float) -> int:
        return nearest_integer(min(127.0, max(-127.0, value)))

    # ---- the cell ----

    def step(self, x: Row, h: Row, c: Row) -> tuple[Row, Row]:
        """Return the new h and c; all that comes in is canonical."""
        n, cell = self.units, self.cell
        a = self.pre_activations(x, h)
        a_i, a_f, a_g, a_o = (a[gate * n : (gate + 1) * n] for gate in range(4))
        if self.peephole:
            a_i, a_f = self.peeped(0, c, a_i), self.peeped(1, c, a_f)
        i = self.gate(0, a_i, cell.gate)
        f = self.gate(1, a_f, cell.gate)
        g = self.gate(2, a_g, cell.input)
        if cell.coupled == "input":  # LF_FORGET_FROM_INPUT
            f = [sub(1.0, one) for one in i]
        if cell.coupled == "forget":  # LF_INPUT_FROM_FORGET
            i = [sub(1.0, one) for one in f]
        c_new = [self.next_cell(*one) for one in zip(f, c, i, g, strict=True)]
        if self.peephole:
            a_o = self.peeped(2, self.peeped_by_o(c, c_new), a_o)
        o = self.gate(3, a_o, cell.gate)
        r = [self.output(*one) for one in zip(o, c_new, strict=True)]
        return (self.projected(r) if self.w_hr else r), c_new

    def peeped(self, at: int, c: Row, a: Row) -> Row:
        weights = self.peephole[at * self.units : (at + 1) * self.units]
        return [fma(*one) for one in zip(weights, c, a, strict=True)]

    def peeped_by_o(self, c: Row, c_new: Row) -> Row:
        return c_new

    def gate(self, at: int, a: Row, function: Any) -> Row:
        if self.layer_norm:
            part = slice(at * self.units, (at + 1) * self.units)
            a = self.normalised(a, self.layer_norm[part], self.bias()[part])
        return [self.activation(function, self.clipped(one, self.cell.clip)) for one in a]

    def normalised(self, a: Row, weights: Row, bias: Row) -> Row:
        count = from_integer(self.units)
        m = div(self.total(a), count)
        d = [sub(one, m) for one in a]
        variance = div(self.total(d, square=True), count)
        v = div(1.0, sqrt(add(variance, self.cell.layer_norm_eps)))
        return [fma(n, mul(one, v), b) for n, one, b in zip(weights, d, bias, strict=True)]

    def total(self, values: Row, square: bool = False) -> float:
        return total(values, square)

    def clipped(self, y: float, bound: float | None) -> float:
        if not bound:
            return y
        y = -bound if y < -bound else y
        return bound if bound < y else y

    def activation(self, function: Any, x: float) -> float:
        return ACTIVATIONS[function.name](x, function.alpha or 0.0, function.beta or 0.0)

    def next_cell(self, f: float, c: float, i: float, g: float) -> float:
        return self.kept(self.clipped(fma(f, c, mul(i, g)), self.cell.cell_clip))

    def output(self, o: float, c_new: float) -> float:
        return self.kept(mul(o, self.activation(self.cell.output, c_new)))

    def projected(self, r: Row) -> Row:
        start = self.bias_hr or [0.0] * len(self.w_hr.rows)
        if self.dtype == "int8":
            h = self.dequantised(self.w_hr, self.frame(r), start)
        else:
            h = [self.chain(s, row, r) for s, row in zip(start, self.w_hr.rows, strict=True)]
        return [self.kept(self.clipped(one, self.cell.proj_clip)) for one in h]

    def kept(self, value: float) -> float:
        return canonical(value)

    def taken(self, values: Sequence[float]) -> Row:
        """Return what comes from a caller."""
        return [canonical(one) for one in values]


class Stack:
    """The layers of an LSTM from the bottom up, and one session's state.

    layers: as `Layer` takes them. reading: `Layer`, or a misreading of it.
    """

    def __init__(
        self, layers: Sequence[Any], weight_dtype: str, reading: Callable[..., Layer] = Layer
    ) -> None:
        self.layers: list[Layer] = []
        for one in layers:
            below = self.layers[-1].h_is_bounded if self.layers else False
            self.layers.append(reading(one, weight_dtype, below))
        self.h, self.c = [], []
        for layer in self.layers:
            width = len(layer.w_hh.rows[0])
            self.h.append(layer.taken(layer.h_0 or [0.0] * width))
            self.c.append(layer.taken(layer.c_0 or [0.0] * layer.units))

    def set_state(self, h: list[Row], c: list[Row]) -> None:
        self.h = [layer.taken(one) for layer, one in zip(self.layers, h, strict=True)]
        self.c = [layer.taken(one) for layer, one in zip(self.layers, c, strict=True)]

    def step(self, x: Row) -> Row:
        x = self.layers[0].taken(x)
        for n, layer in enumerate(self.layers):
            self.h[n], self.c[n] = layer.step(x, self.h[n], self.c[n])
            x = self.h[n]
        return list(x)
