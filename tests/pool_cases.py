"""What the tests of pools share: companions of every kind, and a stream beside each session."""

from __future__ import annotations

import numpy as np

from cases import bits, frames_for, state_bits, state_for

# Around the tiles of streams that share a load of a weight (up to 8), and the batches of 128.
COUNTS = [1, 2, 3, 4, 5, 6, 7, 8, 12, 64, 65, 127, 128, 129, 170]

SCALES = [1, 1, 1, 0, 30, 2.0**-126, 2.0**-140, 1e30, 3e38]
SPOILERS = np.array([np.nan, -np.nan, np.inf, -np.inf, 3.4e38, -1e-42, -0.0], np.float32)


def mixed_frames(rng, n, size, steps=None):
    """A frame, or a sequence of them, for each of n: loud, silent, subnormal, some not finite."""
    xs = rng.standard_normal((n, size) if steps is None else (n, steps, size))
    scales = rng.choice(SCALES, n).reshape(-1, *[1] * (xs.ndim - 1))
    with np.errstate(all="ignore"):
        xs = (xs * scales).astype(np.float32)
    for row in np.flatnonzero(rng.random(n) < 0.3):
        xs[row].flat[rng.integers(max(xs[row].size, 1)) :][:1] = rng.choice(SPOILERS)
    return xs


class Beside:
    """A pool, and for each session a stream of its own that gets the same."""

    def __init__(self, lstm, capacity, **options):
        self.lstm, self.pool = lstm, lstm.pool(capacity, **options)
        self.streams = {}
        self.shape = (lstm.input_size, lstm.hidden_size, lstm.num_layers)

    def open(self, state=None):
        handle = self.pool.open(state)
        self.streams[handle] = self.lstm.stream(state)
        return handle

    def open_many(self, count, seed=0):
        """Every other one from a state that someone may have left; their handles as an array."""
        regimes = ["normal", "saturated", "subnormal", "huge"]
        states = [state_for(self.shape, regimes[n // 2 % 4], seed + n) for n in range(count)]
        handles = [self.open(state if n % 2 else None) for n, state in enumerate(states)]
        return np.array(handles, np.uint64)  # without the type, some would become floats

    def step(self, handles, xs, **options):
        """Step the pool, check each row against the session's stream, return the rows."""
        ys = self.pool.step(handles, xs, **options)
        assert ys.shape == (len(handles), self.shape[1])
        for handle, x, y in zip(map(int, handles), xs, ys, strict=True):
            assert bits(y) == bits(self.streams[handle].step(x))
        return ys

    def run(self, handles, xs, lengths=None, **options):
        ys = self.pool.run(handles, xs, lengths, **options)
        assert ys.shape == (*xs.shape[:2], self.shape[1])
        own = [xs.shape[1]] * len(handles) if lengths is None else lengths
        for handle, x, y, length in zip(map(int, handles), xs, ys, own, strict=True):
            assert bits(y[:length]) == bits(self.streams[handle].run(x[:length]))
            assert bits(y[length:]) == bits(np.zeros_like(y[length:]))
        return ys

    def check(self):
        """Every session has its stream's state, to the bit, and the pool knows whom it holds."""
        for handle, stream in self.streams.items():
            assert bits(*self.pool.state(handle)) == state_bits(stream)
            assert handle in self.pool
        assert len(self.pool) == len(self.streams)
        assert sorted(self.pool.handles().tolist()) == sorted(self.streams)


def all_bits(pool):
    """The states of all sessions by handle: equal when nothing has changed."""
    return {int(handle): bits(*pool.state(int(handle))) for handle in pool.handles()}


def plain_frames(seed, n, size):
    return frames_for((size,), "normal", seed, n)
