"""Frames that make cells, and the frames themselves, as large as they may become.

A cell that is clipped at 10 is right as long as no cell gets there, and ordinary frames hardly lead
beyond 1. Where a frame pushes i and f to 1 and g to 1 or -1, a cell grows by almost 1 with each
step. Which frame does, for as many units as possible, is searched for in float64: candidates are
least squares solutions for single units, what raises all gates together, and chance; then those
that lie near the best ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._arrays import Float32
from .._weights import LayerWeights, Weights
from ._error_arithmetic import Float64
from ._mistakes import Machine, intended
from ._mistakes.stepping import step
from .probes import Frames, uniform

__all__ = ["charging", "rising"]

CHARGE, REST = 64, 16  # steps with the frame that charges, and ordinary ones that discharge
RISE = 40  # steps of frames that double every fourth
TRIAL_STEPS = 24  # to see how good a candidate is
MOST_PRODUCTS = 1e9  # multiplications for one round of candidates
MOST_CANDIDATES, MOST_SEQUENCES, ROUNDS = 48, 4, 4
PUSHES = (4.0, 16.0)  # how far gates are pushed, root mean square
LARGEST_FRAME = 1e4  # as in `slow_paths`


@dataclass
class _Trial:
    """A frame (I,), and how large it makes the cells of each layer: a score, (L,)."""

    frame: Float64
    scores: Float64


def charging(
    weights: Weights, seed: int = 0, scale: float = 2.0, charge: int = CHARGE
) -> list[Frames]:
    """Return sequences that charge the cells of each layer, and then let them discharge.

    Args:
        weights: of any variant that runs forwards.
        seed: of the candidates, and of the ordinary frames at the end of each.
        scale: of those: uniform in +-scale.
        charge: steps that charge: a cell gets no larger than that.
    """
    rng = np.random.default_rng(seed)
    machine = intended(weights)
    trials = _tried(machine, _candidates(weights, rng), weights)
    for _ in range(ROUNDS):
        near = [trial.frame for trial in _best(trials)]
        spread = [frame * rng.normal(1, 0.5, frame.shape) for frame in near for _ in range(4)]
        trials = _best(trials) + _tried(machine, spread, weights)
    chosen: list[_Trial] = []
    for trial in _best(trials):
        if not any(trial is one for one in chosen):
            chosen.append(trial)
    return [
        _sequence(trial.frame.astype(np.float32), seed + 1 + n, scale, charge)
        for n, trial in enumerate(chosen[:MOST_SEQUENCES])
    ]


def rising(size: int, seed: int = 0, scale: float = 2.0) -> Frames:
    """Return frames that begin as ordinary ones and double every fourth step."""
    base = np.random.Generator(np.random.PCG64(seed)).random((RISE, size)) * 2 - 1
    growth = 2.0 ** (np.arange(RISE) // 4)[:, None]

    def code(steps: int) -> str:
        draw = f"(np.random.Generator(np.random.PCG64({seed})).random(({steps}, {size})) * 2 - 1)"
        grown = f"2.0 ** (np.arange({steps}) // 4)[:, None]"
        return f"({draw} * {scale!r} * {grown}).astype(np.float32)"

    return Frames((base * scale * growth).astype(np.float32), code(RISE), code)


def _candidates(weights: Weights, rng: np.random.Generator) -> list[Float64]:
    """Return frames (I,) to try."""
    layers = [_Gates.of(layer) for layer in weights.layers]
    bottom = np.concatenate(layers[0].parts[:2])  # of i and f
    products = sum(one.weight_ih.size + one.weight_hh.size for one in weights.layers) * TRIAL_STEPS
    most = int(np.clip(MOST_PRODUCTS / products, 4, MOST_CANDIDATES)) // len(PUSHES)
    directions = [bottom.sum(axis=0)]
    turns = max(1, most * 3 // 4 // len(layers))
    for unit in rng.permutation(weights.hidden_size)[:turns]:
        directions += [_towards(layers[: n + 1], int(unit)) for n in reversed(range(len(layers)))]
    directions += list(rng.choice([-1.0, 1.0], (most, weights.input_size)))
    frames = []
    for direction in directions[: max(most, len(layers) + 1)]:
        strength = np.sqrt(np.mean(np.square(bottom @ direction)))
        for push in PUSHES:
            frame = direction * (push / max(strength, 1e-12))
            frames.append(frame * min(1.0, LARGEST_FRAME / max(np.abs(frame).max(), 1e-12)))
    return frames


class _Gates(NamedTuple):
    """The rows of a layer's W_ih by gate, i, f, g, o, (4, H, I), and its projection (P, H)."""

    parts: Float64
    projection: Float64 | None

    @classmethod
    def of(cls, layer: LayerWeights) -> _Gates:
        parts = layer.weight_ih.astype(np.float64).reshape(4, -1, layer.weight_ih.shape[1])
        w_hr = layer.weight_hr
        return cls(parts, None if w_hr is None else w_hr.astype(np.float64))

    def taking(self, wanted: Float64) -> Float64:
        """Return what to give the layer, so that its h becomes large with these signs (P,)."""
        wanted = wanted if self.projection is None else self.projection.T @ wanted
        weights = np.abs(wanted) / max(np.abs(wanted).max(), 1e-30)
        signs = np.ones((4, len(wanted)))
        signs[2] = np.sign(wanted)
        rows = (self.parts * weights[:, None]).reshape(-1, self.parts.shape[2])
        target = (signs * weights).ravel()
        if rows.size * rows.shape[1] > MOST_PRODUCTS:  # least squares would take too long
            return np.asarray(target @ rows)
        return np.asarray(np.linalg.lstsq(rows, target, rcond=None)[0])


def _towards(layers: list[_Gates], unit: int) -> Float64:
    """Return a frame that charges one unit of the last of these layers, as far as that goes."""
    rows = layers[-1].parts[:, unit] * np.array([1, 1, 1 - unit % 2 * 2, 1])[:, None]
    wanted = np.linalg.lstsq(rows, np.ones(4), rcond=None)[0]
    for layer in reversed(layers[:-1]):
        wanted = layer.taking(wanted)
    return np.asarray(wanted)


def _tried(machine: Machine, frames: list[Float64], weights: Weights) -> list[_Trial]:
    """Run candidates side by side."""
    xs = np.stack(frames)
    h: list[Float64] = [np.zeros((1, layer.sizes[2])) for layer in machine.layers]
    c: list[Float64] = [np.zeros((1, layer.sizes[1])) for layer in machine.layers]
    with np.errstate(all="ignore"):
        for _ in range(TRIAL_STEPS):
            below = xs
            for n, layer in enumerate(machine.layers):
                after = step(machine, layer, below, h[n], c[n], None, x_is_bounded=False, led=False)
                h[n], c[n], below = after.h, after.c, after.out
    sizes = [np.nan_to_num(np.abs(one), nan=0.0, posinf=0.0) for one in c]
    scores = np.stack([one.mean(axis=1) + one.max(axis=1) / 4 for one in sizes], axis=1)
    return [_Trial(frame, row) for frame, row in zip(xs, scores, strict=True)]


def _best(trials: list[_Trial]) -> list[_Trial]:
    """Return the best one for each layer."""
    layers = range(len(trials[0].scores))
    return [max(trials, key=lambda trial, n=n: trial.scores[n]) for n in layers]  # type: ignore[misc]


def _sequence(frame: Float32, seed: int, scale: float, charge: int) -> Frames:
    rest = uniform(REST, len(frame), seed, scale)
    one = f'np.frombuffer(bytes.fromhex("{frame.astype("<f4").tobytes().hex()}"), "<f4")'
    return Frames(
        np.concatenate([np.tile(frame, (charge, 1)), rest.array]),
        f"np.concatenate([np.tile({one}, ({charge}, 1)), {rest.code}])",
    )
