"""What the oracle of csrc/lstm_fast.h is tried on: layers of every kind, and frames of every kind.

Frames and weights are of all magnitudes, with zeros of both signs and subnormals among them, and
frames have what is not finite in the end, since that spoils all that comes after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lstm_fast import Activation, Cell
from lstm_fast._weights import LayerWeights, Weights, make_weights
from oracle.exact import bits
from oracle.lstm_layers import Layer, Stack

SUBNORMAL = np.array([2.0**-127, -(2.0**-126 - 2.0**-149), 2.0**-149, -1e-40], np.float32)
OF_FLOAT16 = np.array([3e-6, -7e-8, 2e-8, 5e-5], np.float32)  # below its normal numbers
SMALL = np.concatenate([SUBNORMAL, OF_FLOAT16, np.array([0.0, -0.0, 2.0**-126], np.float32)])
FINITE, STEPS = 8, 11  # frames: of numbers that keep a state finite, and all
Parts = frozenset[str]
PARTS: Parts = frozenset({"bias", "bias_hr", "peephole", "layer_norm", "h_0", "c_0"})
BIAS: Parts = frozenset({"bias"})
NONE: Parts = frozenset()


@dataclass(frozen=True)
class Case:
    """One stack. sizes: I, H, P (0: no projection), L. parts: of PARTS, what its layers have.

    like: makes weights and frames of values in [-1, 1]; None takes values of all kinds.
    scale: of weights; 0 is 2 / sqrt(H).
    frame_scale: of frames, with `like`.
    """

    name: str
    sizes: tuple[int, int, int, int]
    cell: Cell = field(default_factory=Cell)
    parts: Parts = BIAS
    like: Callable[[np.ndarray], np.ndarray] | None = None
    scale: float = 0.0
    frame_scale: float = 1.0
    seed: int = 0

    def __str__(self) -> str:
        return self.name

    @property
    def rng(self) -> np.random.Generator:
        return np.random.default_rng([*self.name.encode(), *self.sizes, self.seed])

    def weights(self) -> Weights:
        inputs, units, projected, count = self.sizes
        width, rng, layers = projected or units, self.rng, []
        scale = self.scale or 2 / np.sqrt(units)

        def draw(*shape: int) -> np.ndarray:
            values = rng.uniform(-1, 1, shape)
            if self.like:
                return np.asarray(scale * self.like(values), np.float32)
            return sprinkled(rng, np.asarray(scale * values, np.float32), 0.1)

        for n in range(count):
            values: dict[str, Any] = {
                "weight_ih": draw(4 * units, width if n else inputs),
                "weight_hh": draw(4 * units, width),
            }
            if "bias" in self.parts:
                values |= {"bias_ih": draw(4 * units), "bias_hh": draw(4 * units)}
            if projected:
                values["weight_hr"] = draw(width, units)
            shapes = {"bias_hr": width, "peephole": 3 * units, "layer_norm": 4 * units}
            for part, size in (shapes | {"h_0": width, "c_0": units}).items():
                if part in self.parts and (projected or part != "bias_hr"):
                    values[part] = draw(size)
            cell = self.cell if projected else replace(self.cell, proj_clip=None)
            layers.append(LayerWeights(**values, cell=cell))
        return make_weights(layers)

    def frames(self) -> np.ndarray:
        """[STEPS, I], each of another kind."""
        rng = self.rng
        x = rng.standard_normal((STEPS, self.sizes[0])).astype(np.float32)
        if self.like:
            return np.asarray(self.frame_scale * self.like(np.clip(x, -1, 1)), np.float32)[:3]
        shape = x[0].shape
        x[1] = sprinkled(rng, x[1], 0.5)
        x[2] *= np.exp2(rng.uniform(-149, 3, shape)).astype(np.float32)
        x[3] = rng.choice(SUBNORMAL, shape)
        x[5] *= np.float32(2.0**-99)  # about where int8 takes a frame for silent
        x[6] *= np.float32(20)
        x[8] *= np.exp2(rng.uniform(0, 100, shape)).astype(np.float32)
        x[9] = np.copysign(np.where(rng.random(shape) < 0.3, 3e38, 1e-3), x[9])
        x[10][rng.integers(self.sizes[0])] = rng.choice([np.nan, np.inf, -np.inf])
        return x

    def states(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """States as a caller may set them: h (L, P), c (L, H)."""
        _, units, projected, count = self.sizes
        rng = self.rng
        h = np.clip(rng.standard_normal((count, projected or units)), -1.25, 1.25)
        c = 2 * rng.standard_normal((count, units))
        h, c = (sprinkled(rng, one.astype(np.float32), 0.3) for one in (h, c))
        yield h, c
        h, c = h.copy(), c.copy()
        c[-1, 0] = np.nan
        yield h, c
        h[0, -1] = np.inf
        yield h, c


def sprinkled(rng: np.random.Generator, values: np.ndarray, share: float) -> np.ndarray:
    """Values of which a share are small ones."""
    return np.where(rng.random(values.shape) < share, rng.choice(SMALL, values.shape), values)


def near_one(values: np.ndarray) -> np.ndarray:
    """Values above 0, so that sums of their int8 products are as large as can be."""
    return np.asarray(1 - np.abs(values) / 64)


def half_steps(values: np.ndarray) -> np.ndarray:
    """Values that are odd multiples of half of the scale that int8 gives them, 2^-7."""
    steps = (np.floor(values * 126) + 0.5) / 128
    steps[..., 0] = 127 / 128
    return steps


def activated(name: str, *values: float) -> Activation:
    return Activation(name, **dict(zip(("alpha", "beta"), values, strict=False)))


FUNCTIONS = [
    *map(activated, ("sigmoid", "tanh", "relu", "softsign")),
    *(activated("hard_sigmoid"), activated("hard_sigmoid", 1 / 6, 0.5)),
    *(activated("affine", 0.7, 0.1), activated("leaky_relu", 0.1), activated("elu", 1.5)),
    *(activated("thresholded_relu", 0.3), activated("scaled_tanh", 1.5, 0.8)),
]
CLIPS = {"clip": 1.5, "cell_clip": 0.5, "proj_clip": 0.25}
ALL = Cell("hard_sigmoid", "softsign", activated("scaled_tanh", 1.5, 0.8), **CLIPS)

PLAIN = [
    Case(f"plain {'x'.join(map(str, sizes))}", (*sizes[:2], 0, sizes[2]))
    for sizes in [(1, 1, 1), (3, 5, 2), (7, 17, 1), (16, 8, 1), (33, 9, 2), (2, 33, 1), (130, 3, 1)]
]
VARIANTS = [
    Case("no bias", (5, 7, 0, 2), parts=NONE),
    Case("projection", (5, 19, 4, 2)),
    Case("wide projection", (5, 7, 18, 2), Cell(proj_clip=0.25), BIAS | {"bias_hr"}),
    Case("peephole", (5, 9, 0, 2), parts=BIAS | {"peephole"}),
    Case("layer norm", (5, 19, 0, 2), Cell(layer_norm_eps=1e-5), BIAS | {"layer_norm"}),
    Case("layer norm, 33 units", (5, 33, 0, 1), parts=frozenset({"layer_norm"})),
    Case("initial state", (5, 7, 0, 2), parts=BIAS | {"h_0", "c_0"}),
    Case("clips", (5, 9, 0, 2), Cell(clip=1.5, cell_clip=0.5)),
    Case("forget from input", (5, 9, 0, 2), Cell(coupled="input")),
    Case("input from forget", (5, 9, 0, 2), Cell(coupled="forget")),
    *(Case(f"gate: {one}", (4, 6, 0, 2), Cell(gate=one)) for one in FUNCTIONS),
    *(Case(f"input: {one}", (4, 6, 0, 1), Cell(input=one, cell_clip=9.0)) for one in FUNCTIONS),
    *(Case(f"output: {one}", (4, 6, 0, 2), Cell(output=one)) for one in FUNCTIONS),
    Case("everything", (5, 19, 13, 2), ALL, PARTS),
    Case("everything, coupled", (6, 9, 0, 2), replace(ALL, coupled="forget"), PARTS),
]
# int8 sums above 2^24, of x, of h and of r.
LONG = [
    Case("a long frame", (1100, 2, 0, 1), like=near_one, scale=1 / 1100),
    Case("a longer frame", (4001, 1, 0, 2), like=near_one, scale=1 / 4001),
    Case("a long h", (2, 6, 1100, 1), parts=BIAS | {"h_0"}, like=near_one, scale=1 / 33),
    Case("a long r", (2, 1100, 9, 1), like=near_one, scale=1 / 300),
]
LONGEST = Case("the longest frame", (66311, 1, 0, 1), like=near_one, scale=1 / 66311)
# What a frame of nothing but subnormals is, and one that int8 takes for silent, or just not.
QUIET = [
    Case("subnormal", (33, 4, 0, 2), parts=NONE, like=near_one, scale=1.0, frame_scale=2.0**-127),
    Case("silent", (33, 4, 0, 1), parts=NONE, like=near_one, scale=1.0, frame_scale=2.0**-101),
    Case("not silent", (33, 4, 0, 1), parts=NONE, like=near_one, frame_scale=2.0**-99),
    Case("silent rows", (5, 4, 0, 1), parts=NONE, like=near_one, scale=2.0**-101, frame_scale=1e9),
    Case("subnormal h", (1, 4, 0, 2), parts=NONE, like=near_one, scale=1.0, frame_scale=2.0**-124),
    Case(
        *("subnormal sums", (1, 4, 0, 1), Cell(input=activated("scaled_tanh", 2.0**20, 1.0)), NONE),
        **{"like": near_one, "scale": 2.0**-5, "frame_scale": 2.0**-125},
    ),
    Case("half steps", (9, 5, 0, 1), like=half_steps, scale=1.0),
    Case("nearly half steps", (99, 2, 0, 1), like=half_steps, scale=0.9, frame_scale=0.9),
]
CASES = [*PLAIN, *VARIANTS, *QUIET]


def said(case: Case, weight_dtype: str, reading: Callable[..., Layer] = Layer) -> list[list[int]]:
    """Return what a reading of the text says of a case: the bits of each session, as `computed`."""
    layers, frames = case.weights().layers, case.frames().tolist()
    sessions = []
    for state in starts(case):
        stack, rows = Stack(layers, weight_dtype, reading), []
        if state:
            stack.set_state(*(one.tolist() for one in state))
        for part in (frames[:FINITE], frames[FINITE:]):
            rows += [stack.step(x) for x in part] + stack.h + stack.c
        sessions.append([bits(value) for row in rows for value in row])
    return sessions


def starts(case: Case) -> list[tuple[np.ndarray, np.ndarray] | None]:
    return [None] if case.like else [None, *case.states()]


def computed(case: Case, lstm: Any) -> list[list[int]]:
    """Return the bits of an LSTM of that case's weights: outputs and then states, of two parts."""
    frames, sessions = case.frames(), []
    for state in starts(case):
        stream, rows = lstm.stream(state), []
        for part in (frames[:FINITE], frames[FINITE:]):
            rows += [stream.run(part), *stream.state]
        found = [np.ascontiguousarray(one, np.float32).view(np.uint32).ravel() for one in rows]
        sessions.append(np.concatenate(found).tolist())
    return sessions
