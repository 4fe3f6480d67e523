"""Machines that run: in float64, beside rows that are disturbed as float32 may disturb them.

B rows are stepped together; row 0 is exact, and the others, where there are any, are disturbed, to
see how far that carries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..bounds import ACTIVATION, U
from ..target import Recording, State
from .machine import Float64, Layer, Machine, Matrix


def _blocks(xs: Float64, width: int) -> Float64:
    return xs.reshape(len(xs), -1, width)


# What may have happened to the frames (T, I) before the machine got them; last is the frame before
# them in the recording before, or zeros.
FRAMES: dict[str, Callable[[Float64, int, Float64], Float64]] = {
    "zero_first": lambda xs, k, last: np.where(np.arange(xs.shape[1]) < k, 0.0, xs),
    "zero_last": lambda xs, k, last: np.where(np.arange(xs.shape[1]) >= xs.shape[1] - k, 0.0, xs),
    "repeat": lambda xs, k, last: np.tile(xs[:, -k:], xs.shape[1] // k),
    "newest_first": lambda xs, k, last: _blocks(xs, k)[:, ::-1].reshape(xs.shape),
    "late": lambda xs, k, last: np.concatenate([last[None] * k, xs[:-1]]),  # 0 where it is reset
    "backwards": lambda xs, k, last: xs[::-1],
}


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


class Moment(NamedTuple):
    """What a machine shows after a step: y (B, P), and per layer h (B, P) and c (B, H)."""

    sequence: int
    t: int
    y: Float64
    hs: list[Float64]
    cs: list[Float64]


def run(
    machine: Machine,
    recordings: Sequence[Recording],
    starts: Sequence[State | None],
    noise: Noise | None = None,
    *,
    steps: int | None = None,
) -> Iterator[Moment]:
    """Step a machine over recordings, one after the other, each after a reset.

    Args:
        machine: what computes.
        recordings: the frames; an int8 machine goes on from the h in them where it is there, since
            float32's last bit may decide which whole number it becomes.
        starts: a state that is set before each, instead of the reset; None is the reset.
        noise: what disturbs rows 1 and up; None has row 0 only.
        steps: at most so many of each recording.
    """
    if noise is not None:
        noise.restart()
    first = [_start(layer) for layer in machine.layers]
    h, c = [a for a, _ in first], [b for _, b in first]
    last = np.zeros(machine.layers[0].sizes[0])
    for number, (recording, start) in enumerate(zip(recordings, starts, strict=True)):
        xs = given = np.asarray(recording.xs, np.float64)
        for name, argument in machine.frames:
            xs = FRAMES[name](xs, argument, last)
        last = given[-1] if len(given) else last
        recorded = _recorded(machine, recording)
        h, c = _begin(machine, first, h, c, start, is_first=number == 0)
        for t, x in enumerate(xs[:steps]):
            if t and machine.keep != "hc":
                h = h if "h" in machine.keep else [a for a, _ in first]
                c = c if "c" in machine.keep else [b for _, b in first]
            below, old, new_h, new_c = x[None], h, [], []
            for n, layer in enumerate(machine.layers):
                if n and machine.stale_below:
                    below = old[n - 1]
                is_bounded = machine.layers[n - 1].bounded if n else machine.x_bounded
                below, after = _step(machine, layer, below, h[n], c[n], noise, is_bounded)
                new_h.append(below)
                new_c.append(after)
                below = recorded[t][n] if recorded is not None else below
            h, c = new_h, new_c
            y = (h[-1] if machine.output == "h" else c[-1]) * machine.output_gain
            shown = (c, h) if machine.crossed_states else (h, c)
            yield Moment(number, t, y, *shown)
            if machine.crossed:
                h, c = c, h
            if recorded is not None:
                h = recorded[t]
            elif machine.int8 is not None and machine.is_plain:
                h = [*h[:-1], np.asarray(recording.ys[t], np.float64)[None]]


def _start(layer: Layer) -> tuple[Float64, Float64]:
    _, units, outputs = layer.sizes
    h_0 = np.zeros(outputs) if layer.h_0 is None else layer.h_0
    c_0 = np.zeros(units) if layer.c_0 is None else layer.c_0
    return h_0[None], c_0[None]


def _begin(
    machine: Machine,
    first: list[tuple[Float64, Float64]],
    h: list[Float64],
    c: list[Float64],
    start: State | None,
    *,
    is_first: bool,
) -> tuple[list[Float64], list[Float64]]:
    """Return the state that a sequence begins with."""
    fresh_h, fresh_c = [a for a, _ in first], [b for _, b in first]
    if start is not None:
        parts = [[row[None] for row in np.asarray(part, np.float64)] for part in start]
        given_h, given_c = parts[::-1] if machine.crossed_start else parts
        return (
            given_h[: len(h)] if "h" in machine.takes else fresh_h,
            given_c[: len(c)] if "c" in machine.takes else fresh_c,
        )
    if is_first:
        return fresh_h, fresh_c
    layers = machine.leak_layers
    stays = [layers is None or n in layers for n in range(len(h))]
    return (
        [a if "h" in machine.leak and s else b for a, b, s in zip(h, fresh_h, stays, strict=True)],
        [a if "c" in machine.leak and s else b for a, b, s in zip(c, fresh_c, stays, strict=True)],
    )


def _recorded(machine: Machine, recording: Recording) -> list[list[Float64]] | None:
    """Return h (1, P) of each step and layer for an int8 machine to go on from, where recorded."""
    hs, count = recording.hs, len(machine.layers)
    if machine.int8 is None or not machine.is_plain or hs is None or hs.shape[1] != count:
        return None
    return [[row[None] for row in np.asarray(h, np.float64)] for h in hs]


def _step(
    machine: Machine,
    layer: Layer,
    x: Float64,
    h: Float64,
    c: Float64,
    noise: Noise | None,
    x_is_bounded: bool,
) -> tuple[Float64, Float64]:
    """Return h (B, P) and c (B, H) after a step of one layer."""
    w_ih, w_hh = layer.w_ih.rounded(machine.rounding), layer.w_hh.rounded(machine.rounding)
    int8 = machine.int8
    if int8 is not None:
        x = int8.rounded(x, bounded=x_is_bounded)
        h = int8.rounded(h, bounded=layer.bounded)
    a = (x @ w_ih.value.T) * layer.gain_ih + (h @ w_hh.value.T) * layer.gain_hh
    units = a.shape[1] // 4
    if noise is not None:
        signs = noise.next()
        a = np.broadcast_to(a, (noise.rows, a.shape[1])).copy()
        a[1:] += signs[:, : 4 * units] * _sum_error(layer, w_ih, w_hh, x, h)
    if layer.in_place:
        r, c = _unit_by_unit(layer, a.reshape(len(a), 4, units), h, w_hh, c)
    else:
        r, c = _gates(layer, a.reshape(len(a), 4, units), c)
    if layer.w_hr is not None:
        r = int8.rounded(r, bounded=False) if int8 is not None else r
        r = r @ layer.w_hr.rounded(machine.rounding).value.T
        r = r if layer.b_hr is None else r + layer.b_hr
        bound = layer.cell.proj_clip
        r = r if bound is None else np.clip(r, -bound, bound)
    if noise is not None:
        r, c = r.copy(), c.copy()
        r[1:] += signs[:, : r.shape[1]] * ACTIVATION * np.maximum(1, np.abs(r[:1]))
        c[1:] += signs[:, -units:] * ACTIVATION * np.maximum(1, np.abs(c[:1]))
    return r, c


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
    layer: Layer, a: Float64, c: Float64, units: slice = slice(None)
) -> tuple[Float64, Float64]:
    """From pre-activations (B, 4, H), without biases, and c to r and the new c, (B, H).

    units: of which all these are, where there is no layer_norm.
    """
    cell, (gate, g_function, output) = layer.cell, layer.functions
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

    i, f, g = gate(ready(0)), gate(ready(1)), g_function(ready(2))
    f = 1 - i if cell.coupled == "input" else f
    i = 1 - f if cell.coupled == "forget" else i
    c = f * c + i * g
    c = c if cell.cell_clip is None else np.clip(c, -cell.cell_clip, cell.cell_clip)
    if peep is not None:
        parts[3] = parts[3] + peep[2] * c
    return gate(ready(3)) * output(c), c
