"""What may have happened to frames before they were computed with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .roundings import ROUNDINGS, Float64


def _blocks(xs: Float64, width: int) -> Float64:
    return xs.reshape(len(xs), -1, width)


# What may have happened to the frames (T, I) before the machine got them; last is the frame before
# them in the recording before, or zeros.
FRAMES: dict[str, Callable[[Float64, float, Float64], Float64]] = {
    "zero_first": lambda xs, k, last: np.where(np.arange(xs.shape[1]) < k, 0.0, xs),
    "zero_last": lambda xs, k, last: np.where(np.arange(xs.shape[1]) >= xs.shape[1] - k, 0.0, xs),
    "repeat": lambda xs, k, last: np.tile(xs[:, -int(k) :], xs.shape[1] // int(k)),
    "newest_first": lambda xs, k, last: _blocks(xs, int(k))[:, ::-1].reshape(xs.shape),
    "late": lambda xs, k, last: np.concatenate([last[None] * k, xs[:-1]]),  # 0 where it is reset
    "backwards": lambda xs, k, last: xs[::-1],
    "clip": lambda xs, k, last: np.clip(xs, -k, k),
    "positive": lambda xs, k, last: np.maximum(xs, 0.0),
    "float16": lambda xs, k, last: ROUNDINGS["float16"](xs),
    "bfloat16": lambda xs, k, last: ROUNDINGS["bfloat16"](xs),
}
