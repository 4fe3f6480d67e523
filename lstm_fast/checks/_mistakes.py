"""The mistakes that ports of an LSTM make, each as a change to a machine that can be run.

A `Machine` computes an LSTM of any variant in float64, rightly or wrongly: everything that ports
are known to get wrong is a field of it. `run` steps it, and `catalogue` and `families` list what
can be changed. Nothing here judges; see diagnosis.py.

Shapes: B rows are stepped together; row 0 is exact, and the others, where there are any, are
disturbed as float32 may disturb them, to see how far that carries. Gates are blocks of rows in the
order i, f, g, o.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import reference
from .._weights import LayerWeights, Weights
from ..cell import Activation, Cell
from .bounds import ACTIVATION, U
from .target import Recording, State

Float64 = NDArray[np.float64]
OURS = "ifgo"


# ---- a machine -----------------------------------------------------------------------------------


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
    biases. gain_ih and gain_hh scale the two products, forget is added to a_f.
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
    sigmoid_g: bool = False  # the gates' activation for g, too

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
        blocks[1] += self.forget
        return blocks

    @cached_property
    def functions(self) -> tuple[Callable[[Float64], Float64], ...]:
        """Those of the gates, of g and of the output."""
        gate, g, output = (_function(one) for one in self.cell.activations)
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


BIASES = ("b_ih", "b_hh", "bias_order", "forget")


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


# ---- running it ----------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _function(one: Activation) -> Callable[[Float64], Float64]:
    alpha, beta = one.alpha or 0.0, one.beta or 0.0
    quick: dict[str, Callable[[Float64], Float64]] = {
        "sigmoid": lambda x: np.asarray(0.5 * np.tanh(0.5 * x) + 0.5),
        "tanh": np.tanh,
        "affine": lambda x: alpha * x + beta,
        "hard_sigmoid": lambda x: np.clip(alpha * x + beta, 0, 1),
    }
    return quick.get(one.name, lambda x: reference.activation(x, one.name, alpha, beta))


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


def _gates(layer: Layer, a: Float64, c: Float64) -> tuple[Float64, Float64]:
    """From pre-activations (B, 4, H), without biases, and c to r and the new c, (B, H)."""
    cell, (gate, g_function, output) = layer.cell, layer.functions
    parts = [a[:, k] for k in layer.order]
    peep = None if layer.peephole is None else layer.peephole.reshape(3, -1)
    scales = None if layer.layer_norm is None else layer.layer_norm.reshape(4, -1)
    if scales is None:
        parts = [part + bias for part, bias in zip(parts, layer.bias, strict=True)]
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


# ---- the mistakes --------------------------------------------------------------------------------

Change = Callable[[Machine], "Machine | None"]  # None where there is nothing to get wrong
LayerChange = Callable[[Layer], "Layer | None"]


@dataclass(frozen=True)
class Mistake:
    """One thing that may be wrong.

    id: short and stable; words: what is wrong; advice: what to change; change: makes a machine that
    has it. No two of a group are made at once, and none that is not in pairs together with another.
    layer_change is there where it is made in each layer, and so might be in one alone.
    """

    id: str
    words: str
    advice: str
    change: Change
    group: str
    pairs: bool = True
    layer_change: LayerChange | None = None

    def in_layer(self, index: int) -> Mistake:
        """Return the same in one layer alone."""
        assert self.layer_change is not None
        return replace(
            self,
            id=f"{self.id}@layer{index}",
            words=f"{self.words}, in layer {index} alone",
            change=_in_layers(self.layer_change, index),
            layer_change=None,
        )


@dataclass(frozen=True)
class Family:
    """A mistake with a number in it that has to be found.

    neutral is the number that changes nothing; starts is where to look first; words takes the
    number.
    """

    id: str
    words: Callable[[float], str]
    advice: str
    change: Callable[[Machine, float], Machine]
    group: str
    neutral: float
    starts: tuple[float, ...]

    def at(self, number: float) -> Mistake:
        """Return it as a mistake, with that number."""
        return Mistake(
            f"{self.id}:{number:.4g}",
            self.words(number),
            self.advice,
            lambda machine: self.change(machine, number),
            self.group,
        )


def _in_layers(change: LayerChange, index: int | None = None) -> Change:
    def changed(machine: Machine) -> Machine | None:
        layers = [
            change(layer) if index in (None, n) else None for n, layer in enumerate(machine.layers)
        ]
        if all(layer is None for layer in layers):
            return None
        kept = (new or old for new, old in zip(layers, machine.layers, strict=True))
        return replace(machine, layers=tuple(kept))

    return changed


def _layered(id: str, words: str, advice: str, change: LayerChange, **options: Any) -> Mistake:
    group = options.pop("group", id.partition(":")[0])
    return Mistake(id, words, advice, _in_layers(change), group, layer_change=change, **options)


def _whole(id: str, words: str, advice: str, group: str = "", **options: Any) -> Mistake:
    """Return a mistake that sets fields of a machine."""
    pairs = options.pop("pairs", True)
    group = group or id.partition(":")[0]
    return Mistake(id, words, advice, lambda m: replace(m, **options), group, pairs)


def catalogue(machine: Machine) -> list[Mistake]:
    """Return all mistakes without a number that the right machine can be given, simplest first."""
    return [
        *_roundings(machine),
        *_gate_orders(),
        *_biases(),
        *_matrices(),
        *_cells(machine),
        *_states(machine),
        *_times(machine),
        *_stacks(machine),
        *_contexts(machine),
        *_int8_scales(),
    ]


def _gate_orders() -> Iterator[Mistake]:
    famous = {"iofg": "ONNX's", "igfo": "TensorFlow 1's"}
    scopes = {"": ["order", "bias_order"], ":matrices": ["order"], ":biases": ["bias_order"]}
    for scope, parts in scopes.items():
        for letters in map("".join, itertools.permutations(OURS)):
            if letters == OURS:
                continue
            order = tuple(letters.index(gate) for gate in OURS)
            where = scope.replace(":", " of the ") + " alone" if scope else ""
            whose = f" (that is {famous[letters]} order)" if letters in famous else ""
            yield _layered(
                f"gate_order:{letters}{scope}",
                f"gate order {', '.join(letters)} instead of {', '.join(OURS)}{where}",
                f"the rows{where} are read as blocks of {', '.join(letters)}{whose}; they are "
                f"{', '.join(OURS)}, as in PyTorch: reorder the blocks when loading",
                lambda layer, parts=parts, order=order: replace(  # type: ignore[misc]
                    layer, **dict.fromkeys(parts, order)
                ),
                pairs=not scope,
            )


def _biases() -> Iterator[Mistake]:
    once = "a = W_ih x + W_hh h + b_ih + b_hh: add each of the two biases once"
    for name, words, (k, m) in (
        ("none", "the bias is not added", (0, 0)),
        ("only_b_ih", "only b_ih is added, b_hh is missing", (1, 0)),
        ("only_b_hh", "only b_hh is added, b_ih is missing", (0, 1)),
        ("twice", "the bias b_ih + b_hh is added twice", (2, 2)),
        ("b_ih_twice", "b_ih is added twice, and b_hh once", (2, 1)),
        ("b_hh_twice", "b_hh is added twice, and b_ih once", (1, 2)),
        ("b_ih_for_both", "b_ih is added in place of b_hh, too", (2, 0)),
        ("b_hh_for_both", "b_hh is added in place of b_ih, too", (0, 2)),
    ):
        yield _layered(
            f"bias:{name}",
            words,
            once,
            lambda layer, k=k, m=m: replace(  # type: ignore[misc]
                layer, b_ih=layer.b_ih * k, b_hh=layer.b_hh * m
            ),
            pairs=name in ("none", "only_b_ih", "only_b_hh", "twice"),
        )
    for number, words in ((1.0, "is added once too often"), (-1.0, "is missing")):
        yield _layered(
            f"forget_bias:{number:+g}",
            f"a forget bias of 1.0 {words}",
            FORGET_ADVICE,
            lambda layer, number=number: replace(  # type: ignore[misc]
                layer, forget=layer.forget + number
            ),
        )


FORGET_ADVICE = (
    "the forget bias is part of the biases already (as Keras and PyTorch store it); TensorFlow 1 "
    "adds it when it runs: add it in one place alone"
)


def _transposed(matrix: Matrix, blocks: int) -> Matrix:
    """Return each block of rows read as though it had been stored by columns."""
    rows, columns = matrix.value.shape
    parts = matrix.value.reshape(blocks, rows // blocks, columns)
    turned = parts.reshape(blocks, columns, rows // blocks).transpose(0, 2, 1)
    return Matrix(np.ascontiguousarray(turned.reshape(rows, columns)))


def _matrices() -> Iterator[Mistake]:
    def swap(layer: Layer) -> Layer | None:
        outputs = layer.sizes[2]
        both = np.concatenate([layer.w_ih.value, layer.w_hh.value], axis=1)
        w_hh, w_ih = Matrix(both[:, :outputs].copy()), Matrix(both[:, outputs:].copy())
        return replace(layer, w_ih=w_ih, w_hh=w_hh)

    yield _layered(
        "swapped:w_ih_w_hh",
        "W_ih and W_hh are swapped",
        "W_ih takes the frame and W_hh the hidden state; in a joint matrix the columns of the "
        "frame come first",
        swap,
        group="matrices",
    )
    names = {"w_ih": ("w_ih",), "w_hh": ("w_hh",), "w_ih_w_hh": ("w_ih", "w_hh")}
    for how, blocks, where in (("", 4, "in each gate"), (":whole", 1, "as a whole")):
        for id, which in names.items():
            text = " and ".join(name.replace("w_", "W_") for name in which)
            many = "are" if len(which) > 1 else "is"

            def turn(layer: Layer, which: Any = which, blocks: int = blocks) -> Layer:
                turned: dict[str, Any] = {
                    name: _transposed(getattr(layer, name), blocks) for name in which
                }
                return replace(layer, **turned)

            yield _layered(
                f"transposed:{id}{how}",
                f"{text} {many} transposed, {where}",
                f"{text} {many} stored with a row (4H of them) for each gate and unit; read by "
                "rows, or transpose when loading from a format that stores columns (Keras, "
                "TensorFlow)",
                turn,
                group="matrices",
            )


def _cells(machine: Machine) -> Iterator[Mistake]:
    def cell(**options: Any) -> LayerChange:
        return lambda layer: replace(layer, cell=replace(layer.cell, **options))

    linear = Activation("affine", 1.0, 0.0)
    yield _layered(
        "tanh_missing:output",
        "tanh is missing on the cell: h = o c",
        "h = o tanh(c)",
        cell(output=linear),
    )
    yield _layered(
        "tanh_missing:input",
        "tanh is missing on g: c' = f c + i a_g",
        "g = tanh(a_g)",
        cell(input=linear),
    )
    yield _layered(
        "sigmoid_for_tanh",
        "g has the gates' activation",
        "g = tanh(a_g): only i, f and o are gates",
        lambda layer: replace(layer, sigmoid_g=True),
    )
    gates = [
        ("hard_sigmoid:0.2", Activation("hard_sigmoid", 0.2, 0.5), "clip(0.2 x + 0.5, 0, 1)"),
        ("hard_sigmoid:1/6", Activation("hard_sigmoid", 1 / 6, 0.5), "clip(x / 6 + 0.5, 0, 1)"),
        ("hard_sigmoid:0.25", Activation("hard_sigmoid", 0.25, 0.5), "clip(x / 4 + 0.5, 0, 1)"),
        ("hard_sigmoid:0.5", Activation("hard_sigmoid", 0.5, 0.5), "clip((x + 1) / 2, 0, 1)"),
        ("plain_sigmoid", Activation("sigmoid"), "1 / (1 + exp(-x))"),
    ]
    right = machine.layers[0].cell.activations[0]
    for id, function, formula in gates:
        yield _layered(
            id,
            f"the gates have {function} instead of {right}",
            f"i, f and o have {right} here, not {formula}",
            cell(gate=function),
            group="gate",
        )
    for which, other in (("input", "f = 1 - i"), ("forget", "i = 1 - f")):
        yield _layered(
            f"coupled:{which}",
            f"{other}: the input and the forget gate are coupled",
            "compute both gates from their own rows",
            cell(coupled=which),
            pairs=False,
        )
    for name in ("clip", "cell_clip", "proj_clip", "coupled"):
        advice = f"this cell has {name}: see lstm_fast.Cell"
        yield _layered(
            f"ignored:{name}", f"{name} is ignored", advice, cell(**{name: None}), pairs=False
        )
    for name in ("peephole", "layer_norm", "b_hr", "h_0", "c_0"):
        yield _layered(
            f"ignored:{name}",
            f"{name} is ignored",
            f"this LSTM has {name}: see lstm_fast.Cell",
            lambda layer, name=name: replace(layer, **{name: None}),  # type: ignore[misc]
            pairs=False,
        )


PARTS = {"h": "h", "c": "c", "hc": "h and c"}


def _states(machine: Machine) -> Iterator[Mistake]:
    carry = "keep h and c from one step to the next, per session"
    for part, text in PARTS.items():
        kept = "hc".translate({ord(letter): None for letter in part})
        many = "are" if part == "hc" else "is"
        yield _whole(
            f"not_carried:{part}",
            f"{text} {many} not carried to the next step",
            carry,
            keep=kept,
            shows=kept,
        )
        yield _whole(
            f"not_carried:{part}",
            f"{text} {many} not carried to the next step, nor from a state that is set",
            carry,
            keep=kept,
            shows=kept,
            takes=kept,
        )
        yield _whole(
            f"not_set:{part}",
            f"{text} of a state that is set {many} not taken",
            "a session that is given a state begins with its h and c",
            pairs=False,
            takes=kept,
        )
    clear = "a reset sets h and c of every layer to zeros (or to the trained initial state)"
    for part, text in PARTS.items():
        many = "are" if part == "hc" else "is"
        words = f"{text} {many} carried over a reset"
        yield _whole(f"carried_over_reset:{part}", words, clear, leak=part)
        for n in range(len(machine.layers) if len(machine.layers) > 1 else 0):
            others = tuple(m for m in range(len(machine.layers)) if m != n)
            id = f"carried_over_reset:{part}"
            yield _whole(
                f"{id}@layer{n}",
                f"{words}, in layer {n} alone",
                clear,
                pairs=False,
                leak=part,
                leak_layers=(n,),
            )
            if len(others) > 1:
                yield _whole(
                    f"{id}@not_layer{n}",
                    f"{words}, in every layer but {n}",
                    clear,
                    pairs=False,
                    leak=part,
                    leak_layers=others,
                )
    if machine.layers[0].w_hr is not None:
        return  # h and c have different sizes
    order = "the state is the pair (h, c), h first; the output is h"
    name = "h_c_swapped"
    for words, id, options in (
        ("h and c are swapped in the output: y = c", "output", {"output": "c"}),
        (
            "h and c are swapped in the output and in the state shown",
            "output",
            {"output": "c", "crossed_states": True},
        ),
        ("h and c are swapped in the state shown", "shown", {"crossed_states": True}),
        ("h and c are swapped in the state handed on", "carried", {"crossed": True}),
        (
            "h and c are swapped in the state handed on",
            "carried",
            {"crossed": True, "crossed_states": True},
        ),
        (
            "h and c are swapped in the state that a step takes",
            "carried",
            {"crossed": True, "crossed_start": True},
        ),
        ("h and c are swapped in a state that is set", "start", {"crossed_start": True}),
        (
            "h and c are swapped in a state that is set, and in the state shown",
            "start",
            {"crossed_start": True, "crossed_states": True},
        ),
    ):
        yield _whole(f"{name}:{id}", words, order, **options)


def _times(machine: Machine) -> Iterator[Mistake]:
    late = "return the h of this step, computed from this frame"
    words = "the output is one step late"
    yield _whole("one_step_late", words, late, "time", late=1)
    yield _whole("one_step_late", words, late, "time", late=1, late_states=True)
    for kept, more in ((0, ""), (1, ", and a reset keeps the last one")):
        yield _whole(
            "one_step_late:input",
            f"the frame is one step late: each step computes with the frame before{more}",
            "a step takes the frame that it was called with",
            "time",
            frames=(("late", kept),),
        )
    if len(machine.layers) > 1:
        yield _whole(
            "one_step_late:layers",
            "each layer takes what the one below gave a step before",
            "step the layers from the bottom up: layer n takes the new h of layer n - 1",
            "time",
            stale_below=True,
        )
    early = "the output at step t has seen the frames up to t, and no more"
    for states in (False, True):
        yield _whole(
            "one_step_early",
            "the output is one step early",
            early,
            "time",
            late=-1,
            late_states=states,
        )
    for backwards, more in ((True, ""), (False, ", and the outputs are in that order")):
        yield _whole(
            "reversed_time",
            f"the frames are taken last first{more}",
            "step from the first frame to the last",
            "time",
            frames=(("backwards", 0),),
            backwards=backwards,
            pairs=False,
        )


def _stacks(machine: Machine) -> Iterator[Mistake]:
    layers = machine.layers
    count = len(layers)
    if count < 2:
        return
    ids = {
        "layer_order": (layers[::-1], "the layers are in the reversed order"),
        "layer_missing:last": (layers[:-1], f"layer {count - 1}, the last, is missing"),
        "layer_missing:first": (layers[1:], "layer 0 is missing"),
        "layer_repeated:first": (layers[:1] * count, "every layer has the weights of layer 0"),
        "layer_repeated:last": (layers[-1:] * count, "every layer has the weights of the last"),
    }
    for id, (wrong, words) in ids.items():
        sizes = [layers[0].sizes[0], *(layer.sizes[2] for layer in wrong[:-1])]
        if [layer.sizes[0] for layer in wrong] == sizes:
            yield _whole(
                id, words, "layer 0 takes the frame, layer n the h of layer n - 1", layers=wrong
            )


def _contexts(machine: Machine) -> Iterator[Mistake]:
    size = machine.layers[0].sizes[0]
    widths = [width for width in range(size - 1, 0, -1) if size % width == 0]
    advice = "give a step all {0} values of its frame: the context of the frames before is in it"
    others = [k for k in range(1, size) if size - k not in widths]
    for width in widths:
        for name, words in (
            ("zero_first", f"the first {size - width} of {size} columns are zeros: no context"),
            ("repeat", f"the last {width} of {size} columns are there instead of the others"),
            ("newest_first", f"the frames of {width} values in a window are newest first"),
        ):
            number = size - width if name == "zero_first" else width
            yield _whole(
                f"context:{name}:{number}",
                words,
                advice.format(size),
                frames=((name, number),),
                pairs=name == "zero_first" and size // width in (2, 3),
            )
    for which, numbers in (("first", others), ("last", range(1, size))):
        for k in numbers:
            yield _whole(
                f"context:zero_{which}:{k}",
                f"the {which} {k} of {size} columns are zeros",
                advice.format(size),
                pairs=False,
                frames=((f"zero_{which}", k),),
            )


def _roundings(machine: Machine) -> Iterator[Mistake]:
    advice = "keep the weights (and frames and hidden states) as {0}, or compare with weight_dtype="
    right = advice.format(machine.rounding.replace("_row", "") or "float32")
    for id, rounding, int8, words in (
        ("not_rounded", "", None, "the weights are not rounded"),
        ("rounded:float16", "float16", None, "the weights are rounded to float16"),
        ("rounded:bfloat16", "bfloat16", None, "the weights are rounded to bfloat16"),
        ("rounded:int8", "int8_row", Int8(), "weights, frames and h are rounded to int8"),
        ("rounded:int8_row", "int8_row", None, "the weights are rounded to int8, by rows"),
        ("rounded:int8_gate", "int8_gate", None, "the weights are rounded to int8, by gates"),
        ("rounded:int8_tensor", "int8_tensor", None, "the weights are rounded to int8, by matrix"),
    ):
        yield _whole(id, words, right, "rounding", rounding=rounding, int8=int8)


def _int8_scales() -> Iterator[Mistake]:
    scales = "int8 scale off: "
    for id, words, options in (
        ("h/128", "h is stored as 127 h and read as 1/128 of it", {"unit": 1 / 128}),
        ("128h", "h is stored as 128 h and read as 1/127 of it", {"levels": 128.0}),
        ("128h/128", "h is stored as 128 h, not 127 h", {"levels": 128.0, "unit": 1 / 128}),
        ("x_fixed", "frames are stored as 127 x, as though |x| were at most 1", {"fixed": True}),
        ("x/128", "x is scaled by 127 and read as 1/128", {"x_gain": 127 / 128}),
    ):

        def change(machine: Machine, options: Any = options) -> Machine | None:
            if machine.int8 is None:
                return None
            return replace(machine, int8=replace(machine.int8, **options))

        advice = "quantise with 127 and read with 1/127; frames by their own largest magnitude"
        yield Mistake(f"int8_scale:{id}", scales + words, advice, change, "int8_scale")
    yield _layered(
        "int8_scale:h/128",
        f"{scales}h is stored as 127 h and read as 1/128 of it, beside W_hh alone",
        "quantise with 127 and read with 1/127",
        lambda layer: replace(layer, gain_hh=layer.gain_hh * 127 / 128),
    )
    for rounding, words in (("int8_tensor", "one scale per matrix"), ("int8_gate", "one per gate")):

        def regroup(machine: Machine, rounding: str = rounding) -> Machine | None:
            return None if machine.int8 is None else replace(machine, rounding=rounding)

        yield Mistake(
            f"int8_scale:{rounding.replace('int8_', 'per_')}",
            f"{scales}{words} instead of one per row",
            "give each row of the matrices a scale of its own, max |w| / 127",
            regroup,
            "int8_scale",
        )


# ---- those with a number -------------------------------------------------------------------------

FACTORS = (127 / 128, 128 / 127, 0.5, 2.0, 1 / 127, 127.0, 1 / 128, 128.0, 1 / 255, 255.0)


def fraction(number: float) -> str:
    """Write a factor, with the fraction that it is known as."""
    for value, name in zip(FACTORS, ("127/128", "128/127", "", "", "1/127"), strict=False):
        if name and abs(number / value - 1) < 2e-5:
            return f"{number:.6g} = {name}"
    return f"{number:.6g}"


def families(machine: Machine) -> list[Family]:
    """Return the mistakes with a number that the right machine can be given, simplest first."""
    scale = "int8_scale" if machine.rounding or machine.int8 else "scale"
    off = "int8 scale off: " if scale == "int8_scale" else ""
    advice = "apply each scale once, to the product that it belongs to"

    def layers(m: Machine, **gains: Callable[[Layer], Any]) -> Machine:
        changes: list[dict[str, Any]] = [
            {name: gain(layer) for name, gain in gains.items()} for layer in m.layers
        ]
        changed = (replace(layer, **one) for layer, one in zip(m.layers, changes, strict=True))
        return replace(m, layers=tuple(changed))

    def forget(m: Machine, k: float) -> Machine:
        return layers(m, forget=lambda layer: layer.forget + k)

    def w_hh(m: Machine, k: float) -> Machine:
        return layers(m, gain_hh=lambda layer: layer.gain_hh * k)

    def w_ih(m: Machine, k: float) -> Machine:
        return layers(m, gain_ih=lambda layer: layer.gain_ih * k)

    def frame(m: Machine, k: float) -> Machine:
        bottom = replace(m.layers[0], gain_ih=m.layers[0].gain_ih * k)
        return replace(m, layers=(bottom, *m.layers[1:]))

    def output(m: Machine, k: float) -> Machine:
        return replace(m, output_gain=m.output_gain * k)

    def times(what: str) -> Callable[[float], str]:
        return lambda k: f"{off}{what} is {fraction(k)} times what it should be"

    found = [
        Family(
            "forget_bias",
            lambda k: f"the bias of the forget gate is {k:.6g} too {'large' if k > 0 else 'small'}",
            FORGET_ADVICE,
            forget,
            "forget_bias",
            0.0,
            (1.0, -1.0, 5.0),
        ),
        Family(f"{scale}:w_hh", times("the product W_hh h"), advice, w_hh, scale, 1.0, FACTORS),
        Family(f"{scale}:w_ih", times("the product W_ih x"), advice, w_ih, scale, 1.0, FACTORS),
        Family(
            f"{scale}:both",
            times("each of the products W_ih x and W_hh h"),
            advice,
            lambda m, k: w_ih(w_hh(m, k), k),
            scale,
            1.0,
            FACTORS,
        ),
        Family(f"{scale}:output", times("the output"), advice, output, scale, 1.0, FACTORS),
    ]
    if len(machine.layers) > 1:
        loud = times("the product W_ih x of layer 0")
        found.append(Family(f"{scale}:frame", loud, advice, frame, scale, 1.0, FACTORS))
    return found
