"""What the properties are tried on: shapes off every vector width, and values of every kind."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")

# Sizes around the vector widths (8, 16) and the panels (16, 32), and some far from them.
SIZES = [1, 2, 3, 5, 7, 8, 9, 13, 15, 16, 17, 24, 31, 32, 33, 40, 47, 48, 49, 63, 64, 65, 80, 97]
CORNERS = [(1, 1, 1), (1, 1, 4), (300, 257, 1), (257, 300, 2), (1, 129, 3), (129, 1, 3)]

# The scale of the frames, of the weights (in units of 1 / sqrt(H)) and of the state.
REGIMES = {
    "normal": (1.0, 1.0, 1.0),
    "saturated": (30.0, 20.0, 5.0),
    "tiny": (1e-20, 1e-10, 1e-15),
    "subnormal": (2.0**-126, 1.0, 2.0**-126),
    "huge": (1e30, 1.0, 1e4),
    "silent": (0.0, 1.0, 0.0),
}


@st.composite
def shapes(draw, max_layers=4):
    size = st.sampled_from(SIZES)
    return draw(size), draw(size), draw(st.integers(1, max_layers))


seeds = st.integers(0, 2**32 - 1)
regimes = st.sampled_from(sorted(REGIMES))


def weights_for(shape, regime, seed, bias=True):
    """A state dict for that shape, with values of that regime."""
    input_size, hidden_size, num_layers = shape
    rng = np.random.default_rng(seed)
    scale = REGIMES[regime][1] / np.sqrt(hidden_size)
    columns = {"weight_ih": input_size, "weight_hh": hidden_size}
    result = {}
    for n in range(num_layers):
        for kind in KINDS if bias else KINDS[:2]:
            shape = (4 * hidden_size, columns[kind]) if kind in columns else (4 * hidden_size,)
            result[f"{kind}_l{n}"] = (rng.uniform(-scale, scale, shape)).astype(np.float32)
        columns["weight_ih"] = hidden_size
    return result


def frames_for(shape, regime, seed, steps):
    """Frames (steps, I) of that regime."""
    rng = np.random.default_rng(seed + 1)
    return (REGIMES[regime][0] * rng.standard_normal((steps, shape[0]))).astype(np.float32)


def state_for(shape, regime, seed):
    """A state as a previous sequence may have left it: |h| <= 1."""
    rng = np.random.default_rng(seed + 2)
    scale = REGIMES[regime][2]
    h = np.clip(scale * rng.standard_normal((shape[2], shape[1])), -1, 1)
    return h.astype(np.float32), (scale * rng.standard_normal(h.shape)).astype(np.float32)


def layers_of(weights):
    """The layers of a state dict as tuples (w_ih, w_hh, b_ih, b_hh)."""
    count = sum(name.startswith("weight_hh") for name in weights)
    return [tuple(weights.get(f"{kind}_l{n}") for kind in KINDS) for n in range(count)]


def bits(*arrays):
    """The bits of arrays, so that NaN equals NaN and 0 is not -0."""
    return b"".join(np.ascontiguousarray(a, np.float32).tobytes() for a in arrays)


def state_bits(stream):
    return bits(*stream.state)


def steps(stream, xs):
    """The bits of what a stream answers frame by frame, and of its state after that."""
    return bits(*(stream.step(x) for x in xs)) + state_bits(stream)


def run(stream, xs):
    """The same of all frames at once."""
    return bits(stream.run(xs)) + state_bits(stream)
