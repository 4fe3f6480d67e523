"""One layer's step in float64, beside rows that are disturbed as float32 may disturb them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..bounds import ACTIVATION, U
from .machine import Layer, Machine
from .roundings import ROUNDINGS, Float64, Matrix

# A value that is to be rounded may fall either way where rounding is nearer than a tie times the
# disturbance, which is some hundred times what PyTorch 2.13 is off by. Where each step starts from
# what was recorded, to be wide costs nothing. Where errors go on, every doubt blinds all after it,
# and a value that falls the other way without a doubt spoils all: so several ties are tried.
TIE_OF_RECORDED = 4.0
TIES = (0.05, 0.15, 0.5)
TIE_OF_OUTPUT = 0.5  # it goes no further, but errors before it do
IN_DOUBT = 16 * ACTIVATION  # a disturbance above this is a value before that fell either way


class Noise:
    """Signs for the disturbed rows, the same for every machine, so that results are repeatable."""

    def __init__(self, rows: int, width: int, seed: int = 0) -> None:
        """Draw signs for that many rows (the exact one among them), each of that width."""
        rng = np.random.default_rng(seed)
        shape = (61, rows - 1, width)  # a prime, so that layers and steps do not meet
        self._signs = rng.choice(np.array([-1.0, 1.0]), size=shape)
        self.rows = rows
        self._at = 0

    def next(self) -> Float64:
        """Return signs (B - 1, width)."""
        self._at = (self._at + 1) % len(self._signs)
        return np.asarray(self._signs[self._at])

    def restart(self) -> None:
        """Begin with the first ones again."""
        self._at = 0


class After(NamedTuple):
    """What a layer gives: out (B, P) to the layer above, and h (B, P) and c (B, H) to carry on."""

    out: Float64
    h: Float64
    c: Float64


def step(
    machine: Machine,
    layer: Layer,
    x: Float64,
    h: Float64,
    c: Float64,
    noise: Noise | None,
    *,
    x_is_bounded: bool,
    led: bool,
    tie: float = TIES[0],
) -> After:
    """Return what a step of one layer makes of x (B, I), h (B, P) and c (B, H).

    led: the state is a recorded one, and so will be the next. tie: see TIES.
    """
    w_ih, w_hh = layer.w_ih.rounded(machine.rounding), layer.w_hh.rounded(machine.rounding)
    int8 = machine.int8
    old_h, old_c = h, c
    if int8 is not None:
        x = int8.rounded(x, bounded=x_is_bounded)
        h = int8.rounded(h, bounded=layer.bounded)
    a = (x @ w_ih.value.T) * layer.gain_ih + (h @ w_hh.value.T) * layer.gain_hh
    units = a.shape[1] // 4
    tie = TIE_OF_RECORDED if led else tie
    if noise is not None:
        signs = noise.next()
        a = np.broadcast_to(a, (noise.rows, a.shape[1])).copy()
        a[1:] += signs[:, : 4 * units] * _sum_error(layer, w_ih, w_hh, x, h)
    if layer.in_place:
        r, c = _unit_by_unit(layer, a.reshape(len(a), 4, units), h, w_hh, c)
    else:
        r, c = _gates(layer, a.reshape(len(a), 4, units), c, tie=tie)
    if layer.w_hr is not None:
        r = _projected(machine, layer, r)
    if layer.h_clip is not None:
        r = np.clip(r, -layer.h_clip, layer.h_clip)
    if noise is not None:
        r, c = r.copy(), c.copy()
        r[1:] += signs[:, : r.shape[1]] * ACTIVATION * np.maximum(1, np.abs(r[:1]))
        c[1:] += signs[:, -units:] * ACTIVATION * np.maximum(1, np.abs(c[:1]))
    return _carried(layer, r, c, old_h, old_c, tie)


def _projected(machine: Machine, layer: Layer, r: Float64) -> Float64:
    assert layer.w_hr is not None
    r = r if machine.int8 is None else machine.int8.rounded(r, bounded=False)
    r = r @ layer.w_hr.rounded(machine.rounding).value.T
    r = r if layer.b_hr is None else r + layer.b_hr
    bound = layer.cell.proj_clip
    return r if bound is None else np.clip(r, -bound, bound)


def _carried(
    layer: Layer, r: Float64, c: Float64, old_h: Float64, old_c: Float64, tie: float
) -> After:
    """Return what becomes of the new h and c: mixed with the old, or kept in a smaller type."""
    zoneout, kept, out = layer.zoneout, layer.kept, r
    if zoneout is not None:
        r = zoneout.of_h * old_h + (1 - zoneout.of_h) * r
        out = out if zoneout.h_late else r
        c = c if zoneout.c_early else zoneout.of_c * old_c + (1 - zoneout.of_c) * c
    if kept is not None and "c" in kept.parts and not kept.c_early:
        c = settled(c, kept.how, tie)
    if kept is not None and "h" in kept.parts:
        r = settled(r, kept.how, tie)
        out = out if kept.h_late else r
    return After(out, r, c)


def settled(values: Float64, how: str, tie: float) -> Float64:
    """Return values (B, n) as a smaller type keeps them.

    Where the exact row might fall either way, one disturbed row falls one way and one the other.
    """
    rounding = ROUNDINGS[how]
    exact = rounding(values[:1])
    if len(values) == 1:
        return exact
    apart = np.abs(values[1:] - values[:1]).max() + ACTIVATION * np.maximum(1, np.abs(values[0]))
    in_doubt = apart > IN_DOUBT * np.maximum(1, np.abs(values[0]))
    reach = np.where(in_doubt, TIE_OF_RECORDED, tie) * apart
    low, high = rounding(values[0] - reach), rounding(values[0] + reach)
    rows = np.repeat(exact, len(values), axis=0)
    rows[1::2], rows[2::2] = low, high
    rows[3:, ::2] = high[::2]
    return rows


def _sum_error(layer: Layer, w_ih: Matrix, w_hh: Matrix, x: Float64, h: Float64) -> Float64:
    """Return what float32 may lose in each pre-activation, (4H,).

    n roundings of either sign lose about sqrt(n) u of the sum of magnitudes, and hardly ever some
    times that (Higham and Mary 2019, with lambda = 1; what is judged allows four times what
    comes of it). Cauchy and Schwarz bound that sum.
    """
    x_size, h_size = np.linalg.norm(x[0]), np.linalg.norm(h[0])
    sizes = w_ih.norms * (x_size * abs(layer.gain_ih)) + w_hh.norms * (h_size * abs(layer.gain_hh))
    terms = x.shape[1] + h.shape[1] + 3
    biases = np.abs(layer.b_ih) + np.abs(layer.b_hh)
    return np.asarray(np.sqrt(terms) * U * (sizes + biases))


def _unit_by_unit(
    layer: Layer, a: Float64, h: Float64, w_hh: Matrix, c: Float64
) -> tuple[Float64, Float64]:
    """As `_gates`, where the new h (B, H) of each unit takes the place of the old at once."""
    rows, _, units = a.shape
    old, c = np.broadcast_to(h, (rows, units)), np.broadcast_to(c, (rows, units)).copy()
    new, columns = old.copy(), w_hh.value.reshape(4, units, units) * layer.gain_hh
    for n in range(units):
        change = (new - old) @ columns[:, n].T
        part = slice(n, n + 1)
        new[:, part], c[:, part] = _gates(
            layer, a[:, :, part] + change[:, :, None], c[:, part], part
        )
    return new, c


def _gates(
    layer: Layer, a: Float64, c: Float64, units: slice = slice(None), tie: float = TIES[0]
) -> tuple[Float64, Float64]:
    """From pre-activations (B, 4, H), without biases, and c to r and the new c, (B, H).

    units: of which all these are, where there is no layer_norm.
    """
    cell, functions = layer.cell, layer.functions
    parts = [a[:, k] for k in layer.order]
    peep = None if layer.peephole is None else layer.peephole.reshape(3, -1)[:, units]
    scales = None if layer.layer_norm is None else layer.layer_norm.reshape(4, -1)
    if scales is None:
        parts = [part + bias for part, bias in zip(parts, layer.bias[:, units], strict=True)]
    if peep is not None:
        parts[0], parts[1] = parts[0] + peep[0] * c, parts[1] + peep[1] * c

    def ready(n: int) -> Float64:
        value = parts[n]
        if scales is not None:
            spread = np.sqrt(value.var(axis=1, keepdims=True) + cell.layer_norm_eps)
            value = (value - value.mean(axis=1, keepdims=True)) / spread * scales[n] + layer.bias[n]
        return value if cell.clip is None else np.clip(value, -cell.clip, cell.clip)

    i, f, g = (functions[gate](ready(n)) for n, gate in enumerate("ifg"))
    f = 1 - i if cell.coupled == "input" else f
    i = 1 - f if cell.coupled == "forget" else i
    new = _cell(layer, f * c + i * g, c, tie)
    if peep is not None:
        parts[3] = parts[3] + peep[2] * (c if layer.old_peephole else new)
    return functions["o"](ready(3)) * functions["output"](c if layer.old_c else new), new


def _cell(layer: Layer, new: Float64, old: Float64, tie: float) -> Float64:
    """Return what is done to the new c before h is computed of it."""
    bound, zoneout, kept = layer.cell.cell_clip, layer.zoneout, layer.kept
    new = new if bound is None else np.clip(new, -bound, bound)
    if zoneout is not None and zoneout.c_early:
        new = zoneout.of_c * old + (1 - zoneout.of_c) * new
    if kept is not None and kept.c_early and "c" in kept.parts:
        new = settled(new, kept.how, tie)
    return new
