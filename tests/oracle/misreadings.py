"""What somebody could make of the text of csrc/lstm_fast.h if he read it carelessly.

Each differs from `Layer` in one statement. The tests show that each gives other bits than the core.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from oracle.exact import (
    UNIT,
    add,
    canonical,
    div,
    fma,
    from_integer,
    mul,
    nearest_integer,
    rounded,
    sqrt,
    sub,
    to_float16,
    total,
    units,
)
from oracle.lstm_layers import Layer, Matrix, Row, Whole


def nearest_float(value: float) -> float:
    return float(np.float32(value))


# ---- sums ----


class ProductsRounded(Layer):
    def chain(self, start: float, row: Row, x: Row) -> float:
        s = start
        for w, value in zip(row, x, strict=True):
            s = add(mul(w, value), s)
        return s


class Descending(Layer):
    def chain(self, start: float, row: Row, x: Row) -> float:
        return super().chain(start, row[::-1], x[::-1])


class BiasLast(Layer):
    def both_sums(self, b: Row, x: Row, h: Row) -> Row:
        sums = super().both_sums([0.0] * len(b), x, h)
        return [add(one, start) for one, start in zip(sums, b, strict=True)]


class OneChain(Layer):
    def both_sums(self, b: Row, x: Row, h: Row) -> Row:
        rows = zip(b, self.w_ih.rows, self.w_hh.rows, strict=True)
        return [self.chain(start, one + other, x + h) for start, one, other in rows]


class FourSums(Layer):
    """As vectors along k have them."""

    def chain(self, start: float, row: Row, x: Row) -> float:
        sums = [super(FourSums, self).chain(0.0, row[r::4], x[r::4]) for r in range(4)]
        return add(start, add(add(sums[0], sums[1]), add(sums[2], sums[3])))


# ---- the cell ----


class CellNotFused(Layer):
    def next_cell(self, f: float, c: float, i: float, g: float) -> float:
        return self.kept(self.clipped(add(mul(f, c), mul(i, g)), self.cell.cell_clip))


class OtherProductFused(Layer):
    def next_cell(self, f: float, c: float, i: float, g: float) -> float:
        return self.kept(self.clipped(fma(i, g, mul(f, c)), self.cell.cell_clip))


class TanhOfALibrary(Layer):
    """The nearest float, as a good libm has it."""

    def activation(self, function: Any, x: float) -> float:
        return (
            nearest_float(math.tanh(x))
            if function.name == "tanh"
            else super().activation(function, x)
        )


class TanhFromExp(Layer):
    """As expf of a good libm makes it."""

    def activation(self, function: Any, x: float) -> float:
        if function.name != "tanh" or math.isnan(x):
            return super().activation(function, x)
        e = nearest_float(math.exp(-2 * abs(x)))
        return math.copysign(div(sub(1.0, e), add(1.0, e)), x)


class SigmoidOfALibrary(Layer):
    def activation(self, function: Any, x: float) -> float:
        if function.name != "sigmoid" or math.isnan(x) or x < -87:
            return super().activation(function, x)
        return nearest_float(1 / (1 + math.exp(-x)))


class EluOfALibrary(Layer):
    def activation(self, function: Any, x: float) -> float:
        if function.name != "elu" or not x < 0:
            return super().activation(function, x)
        return mul(function.alpha, nearest_float(math.expm1(x)))


class HardSigmoidNotFused(Layer):
    def activation(self, function: Any, x: float) -> float:
        if function.name != "hard_sigmoid" or math.isnan(x):
            return super().activation(function, x)
        return min(1.0, max(0.0, add(mul(function.alpha, x), function.beta)))


# ---- the canonical form ----


class FramesAsTheyCome(Layer):
    def taken(self, values: Any) -> Row:
        return list(values)


class SubnormalStateKept(Layer):
    def kept(self, value: float) -> float:
        return value


class GatesCanonical(Layer):
    """Everything that is computed, as a CPU does that flushes subnormals."""

    def activation(self, function: Any, x: float) -> float:
        return canonical(super().activation(function, canonical(x)))


# ---- float16 ----


class ProjectionInFloat32(Layer):
    def projection_stored(self, rows: list[Row]) -> Matrix:
        return Matrix(rows, [])


class Float16CutOff(Layer):
    def stored(self, rows: list[Row]) -> Matrix:
        def cut(w: float) -> float:
            nearest = to_float16(w)
            if abs(nearest) <= abs(w):
                return nearest
            return float(np.nextafter(np.float16(nearest), np.float16(0)))

        return Matrix([[cut(w) for w in row] for row in rows], [])


class Float16WithoutSubnormals(Layer):
    def stored(self, rows: list[Row]) -> Matrix:
        kept = super().stored(rows).rows
        return Matrix([[w if abs(w) >= 2.0**-14 else 0.0 for w in row] for row in kept], [])


# ---- int8 ----


class SumsNotRounded(Layer):
    """ "exact integers" goes into fma as it is."""

    def dequantised(self, matrix: Matrix, operand: Whole, start: Row) -> Row:
        result = []
        for row, scale, s in zip(matrix.rows, matrix.scales, start, strict=True):
            whole = sum(w * x for w, x in zip(row, operand.values, strict=True))
            factor = mul(scale, operand.scale)
            if not math.isfinite(factor):
                return super().dequantised(matrix, operand, start)
            exact = whole * units(factor) + units(s)
            result.append(rounded(exact, UNIT) if exact else 0.0)
        return result


class ScalesOneByOne(Layer):
    """The sum times one scale, times the other."""

    def dequantised(self, matrix: Matrix, operand: Whole, start: Row) -> Row:
        rows = zip(matrix.rows, matrix.scales, start, strict=True)
        return [
            fma(mul(self.whole_sum(row, operand.values), scale), operand.scale, s)
            for row, scale, s in rows
        ]


class RecurrentFirst(Layer):
    def pre_activations(self, x: Row, h: Row) -> Row:
        if self.dtype != "int8":
            return super().pre_activations(x, h)
        left = self.dequantised(self.w_hh, self.h_taken(h), self.bias())
        return self.dequantised(self.w_ih, self.x_taken(x), left)


class Int8BiasLast(Layer):
    def pre_activations(self, x: Row, h: Row) -> Row:
        b, zeros = self.bias(), [0.0] * (4 * self.units)
        left = self.dequantised(self.w_ih, self.x_taken(x), zeros)
        sums = self.dequantised(self.w_hh, self.h_taken(h), left)
        return [add(one, start) for one, start in zip(sums, b, strict=True)]


class TiesAwayFromZero(Layer):
    """round() as C has it."""

    def whole(self, value: float) -> int:
        value = min(127.0, max(-127.0, value))
        return int(math.copysign(math.floor(abs(value) + 0.5), value))


class WeightTiesAwayFromZero(Layer):
    def whole_row(self, row: Row, scale: float) -> list[int]:
        return [int(math.copysign(math.floor(abs(w / scale) + 0.5), w)) for w in row]


class ScaleBy128(Layer):
    def row_scale(self, row: Row) -> float:
        return div(max(map(abs, row)), 128.0)


class OneScalePerMatrix(Layer):
    def stored(self, rows: list[Row]) -> Matrix:
        scale = self.row_scale([w for row in rows for w in row])
        return Matrix([self.whole_row(row, scale) for row in rows], [scale] * len(rows))


class FrameDividedByScale(Layer):
    """x / t in place of x * (127 / m)."""

    def frame(self, values: Row) -> Whole:
        frame = super().frame(values)
        if frame.scale > 0:
            frame.values = [self.whole(div(v, frame.scale)) for v in values]
        return frame


class NeverSilent(Layer):
    def frame(self, values: Row) -> Whole:
        m = max(map(abs, values))
        if not 0 < m < 2.0**-100:
            return super().frame(values)
        return Whole([self.whole(mul(v, div(127.0, m))) for v in values], div(m, 127.0))


class RowsNeverSilent(Layer):
    def row_scale(self, row: Row) -> float:
        return div(max(map(abs, row)), 127.0)


class HiddenScaled(Layer):
    """h as a frame is."""

    def h_taken(self, h: Row) -> Whole:
        return self.frame(h)


class UpperFramesScaled(Layer):
    """x as a frame is, above the first layer, too."""

    def x_taken(self, x: Row) -> Whole:
        return self.frame(x)


class NotClipped(Layer):
    def whole(self, value: float) -> int:
        return nearest_integer(value)


class ProjectedBounded(Layer):
    """r at the scale of an h in [-1, 1]."""

    def projected(self, r: Row) -> Row:
        start = self.bias_hr or [0.0] * len(self.w_hr.rows)
        return [canonical(one) for one in self.dequantised(self.w_hr, self.bounded(r), start)]


# ---- variants ----


class OneTotal(Layer):
    def total(self, values: Row, square: bool = False) -> float:
        s = 0.0
        for one in values:
            s = fma(one, one, s) if square else add(s, one)
        return s


class SquaresRounded(Layer):
    def total(self, values: Row, square: bool = False) -> float:
        return total([mul(one, one) for one in values] if square else values)


class DividedByDeviation(Layer):
    """d / sqrt(...) in place of d * (1 / sqrt(...))."""

    def normalised(self, a: Row, weights: Row, bias: Row) -> Row:
        count = from_integer(self.units)
        m = div(self.total(a), count)
        d = [sub(one, m) for one in a]
        deviation = sqrt(add(div(total(d, True), count), self.cell.layer_norm_eps))
        return [fma(n, div(one, deviation), b) for n, one, b in zip(weights, d, bias, strict=True)]


class BiasBeforeNormalisation(Layer):
    def both_sums(self, b: Row, x: Row, h: Row) -> Row:
        return super().both_sums(self.bias(), x, h)


class OldCellForOutput(Layer):
    def peeped_by_o(self, c: Row, c_new: Row) -> Row:
        return c


class PeepholesNotFused(Layer):
    def peeped(self, at: int, c: Row, a: Row) -> Row:
        weights = self.peephole[at * self.units : (at + 1) * self.units]
        return [add(mul(p, one), s) for p, one, s in zip(weights, c, a, strict=True)]


class ProjectionBiasLast(Layer):
    def projected(self, r: Row) -> Row:
        h = [self.chain(0.0, row, r) for row in self.w_hr.rows]
        return [
            self.kept(self.clipped(add(one, b), self.cell.proj_clip))
            for one, b in zip(h, self.bias_hr, strict=True)
        ]


class ClippedAfterwards(Layer):
    """Gates in place of pre-activations."""

    def gate(self, at: int, a: Row, function: Any) -> Row:
        return [self.clipped(self.activation(function, one), self.cell.clip) for one in a]


# which, and of which case and weight dtype they are found out
FOUND_BY = [
    *(
        (one, "plain 33x9x2", "float32")
        for one in (ProductsRounded, Descending, BiasLast, OneChain)
    ),
    *((one, "plain 33x9x2", "float16") for one in (FourSums, CellNotFused, OtherProductFused)),
    *((one, "plain 7x17x1", "float32") for one in (TanhOfALibrary, TanhFromExp, SigmoidOfALibrary)),
    (EluOfALibrary, "input: elu(alpha=1.5)", "float32"),
    (HardSigmoidNotFused, "gate: hard_sigmoid(alpha=0.2, beta=0.5)", "float32"),
    (FramesAsTheyCome, "subnormal", "float32"),
    (SubnormalStateKept, "subnormal h", "float32"),
    (GatesCanonical, "subnormal sums", "float32"),
    (ProjectionInFloat32, "wide projection", "float16"),
    *((one, "plain 33x9x2", "float16") for one in (Float16CutOff, Float16WithoutSubnormals)),
    *((SumsNotRounded, f"a long {what}", "int8") for what in ("frame", "h", "r")),
    *((one, "plain 33x9x2", "int8") for one in (ScalesOneByOne, RecurrentFirst, Int8BiasLast)),
    *((one, "plain 33x9x2", "int8") for one in (ScaleBy128, OneScalePerMatrix, HiddenScaled)),
    *((one, "plain 33x9x2", "int8") for one in (UpperFramesScaled, NotClipped)),
    *((one, "half steps", "int8") for one in (TiesAwayFromZero, WeightTiesAwayFromZero)),
    (FrameDividedByScale, "nearly half steps", "int8"),
    (NeverSilent, "silent", "int8"),
    (RowsNeverSilent, "silent rows", "int8"),
    (ProjectedBounded, "projection", "int8"),
    *((one, "layer norm", "float32") for one in (OneTotal, SquaresRounded, DividedByDeviation)),
    (BiasBeforeNormalisation, "layer norm", "float32"),
    *((one, "peephole", "float32") for one in (OldCellForOutput, PeepholesNotFused)),
    (ProjectionBiasLast, "wide projection", "float32"),
    (ClippedAfterwards, "clips", "float32"),
]
