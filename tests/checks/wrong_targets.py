"""LSTMs in NumPy float32: a right one, and careless ones that the checks are there to find."""

from __future__ import annotations

import threading
import time

import numpy as np

from lstm_fast import LSTM
from lstm_fast.checks import Target

WEIGHTS = LSTM.random(5, 8, num_layers=2, seed=1).weights
ONE_LAYER = LSTM.random(5, 8, seed=2).weights
F32 = np.float32


def sigmoid(a):
    return F32(1) / (F32(1) + np.exp(-a))


class Session:
    """One stream: right."""

    def __init__(self, target):
        self.target = target
        self.h, self.c = target.zeros()

    def reset(self):
        self.h, self.c = self.target.zeros()

    def step(self, x):
        with np.errstate(all="ignore"):
            for n, layer in enumerate(self.target.weights.layers):
                self.h[n], self.c[n] = self.cell(layer, x, self.h[n], self.c[n])
                x = self.h[n]
        return self.h[-1].copy()

    def cell(self, layer, x, h, c):
        a = layer.weight_ih @ x + layer.weight_hh @ h + layer.bias_ih + layer.bias_hh
        return self.gates(*np.split(a, 4), c)

    def gates(self, i, f, g, o, c):
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c


class OrderOfOnnx(Session):
    """Takes the gates for i, o, f, g."""

    def gates(self, i, f, g, o, c):
        return super().gates(i, g, o, f, c)


class ShowsState:
    @property
    def state(self):
        return self.h.copy(), self.c.copy()


class Numpy(Target):
    """Right, or as careless as its sessions are."""

    name = "numpy"

    def __init__(self, session=Session, weights=WEIGHTS, seen=True):
        self.weights = weights
        self.input_size = weights.input_size
        kinds = (ShowsState, session) if seen else (session,)
        self.kind = type(session.__name__, kinds, {})
        self.shared = self.zeros()

    def zeros(self):
        shape = (len(self.weights.layers), self.weights.hidden_size)
        return np.zeros(shape, F32), np.zeros(shape, F32)

    def session(self):
        return self.kind(self)

    def batch(self, n):
        return Rows([self.session() for _ in range(n)])


class Rows:
    """A batch, one by one."""

    def __init__(self, sessions):
        self.sessions = sessions

    def reset(self):
        for session in self.sessions:
            session.reset()

    def step(self, xs):
        return np.stack([s.step(x) for s, x in zip(self.sessions, xs, strict=True)])


# ---- resets --------------------------------------------------------------------------------------


class ForgetsToResetC(Session):
    def reset(self):
        self.h[:] = 0


class ForgetsToResetALayer(Session):
    def reset(self):
        self.h[0], self.c[0] = 0, 0


class ResetsByMultiplying(Session):
    """Zero times NaN is NaN."""

    def reset(self):
        self.h *= 0
        self.c *= 0
        self.h += 0  # and no -0, which would show without NaN
        self.c += 0


class NeverStoresItsState(Session):
    def step(self, x):
        before = self.target.zeros()
        y = super().step(x)
        self.h, self.c = before
        return y


class Random(Session):
    def step(self, x):
        return super().step(x) * F32(1 + np.random.default_rng().random() * 1e-6)


# ---- isolation -----------------------------------------------------------------------------------


class SharesH(Session):
    """All sessions of a target have one h."""

    def __init__(self, target):
        super().__init__(target)
        self.h = target.shared[0]
        self.h[:] = 0

    def reset(self):
        self.h[:] = 0
        self.c[:] = 0


class OneHForAll(Session):
    """h is a global, which nobody resets."""

    def __init__(self, target):
        super().__init__(target)
        self.h = target.shared[0]

    def reset(self):
        self.h, self.c = self.target.shared[0], self.target.zeros()[1]


class SharesScratch(Session):
    """Pre-activations in one buffer, and a thread may come in between."""

    def cell(self, layer, x, h, c):
        if not hasattr(self.target, "scratch"):
            self.target.scratch = np.zeros(len(layer.weight_ih), F32)
        a = self.target.scratch
        a[:] = layer.weight_ih @ x + layer.weight_hh @ h + layer.bias_ih + layer.bias_hh
        if threading.active_count() > 2:
            time.sleep(1e-4)
        return self.gates(*np.split(a.copy(), 4), c)


class QuantisedTogether(Numpy):
    """Scales the frames of a batch by the largest of them all."""

    def batch(self, n):
        return ScaledRows(super().batch(n).sessions)


class ScaledRows(Rows):
    def step(self, xs):
        scale = np.abs(xs).max() / 127 or F32(1)
        return super().step(np.rint(xs / scale) * scale)


class MixesRows(Numpy):
    """NaN in a row reaches the others, as by a sum over the batch."""

    def batch(self, n):
        return MixedRows(super().batch(n).sessions)


class MixedRows(Rows):
    def step(self, xs):
        with np.errstate(all="ignore"):
            return super().step(xs + 0 * xs.sum())


class OtherInBatches(Numpy):
    """A batch has another activation."""

    def batch(self, n):
        sessions = super().batch(n).sessions
        for session in sessions:
            session.gates = self.other
        return Rows(sessions)

    def other(self, i, f, g, o, c):
        return Session.gates(None, i, f, g * F32(1.01), o, c)


class SpreadsNan(Session):
    """NaN in a session stays in what all share."""

    def step(self, x):
        y = super().step(x)
        self.target.shared[0][0] += 0 * self.h[0]
        return y + 0 * self.target.shared[0][0]


# ---- numbers -------------------------------------------------------------------------------------


class LosesPrecision(Session):
    """A cell state in sixteen bits."""

    def gates(self, i, f, g, o, c):
        h, c = super().gates(i, f, g, o, c)
        return h, c.astype(np.float16).astype(F32)


class WrongLater(Session):
    """Right for forty steps."""

    def reset(self):
        super().reset()
        self.steps = 0

    def step(self, x):
        self.steps = getattr(self, "steps", 0) + 1
        y = super().step(x)
        if self.steps > 40:
            self.h[-1][3] += F32(0.01)
        return self.h[-1].copy() if self.steps > 40 else y


class Drifts(Session):
    """Loses a little at every step, less than a bound of one step allows."""

    def gates(self, i, f, g, o, c):
        h, c = super().gates(i, f, g, o, c)
        self.target.lost = getattr(self.target, "lost", 0) + 1
        return h + F32(3e-9) * min(self.target.lost, 20000), c


class Doubles(Session):
    """Returns what a head makes of h."""

    def step(self, x):
        return 2 * super().step(x)


class Chunky(Session):
    """Forgets its state at the start of a chunk."""

    def run(self, xs):
        self.c[:] = 0
        return np.stack([self.step(x) for x in xs])


class RoundsChunks(Session):
    def run(self, xs):
        return np.stack([self.step(x) for x in xs]) * F32(1 + 2**-22)


class Slow(Session):
    """By a clock that it moves itself: 1 us, or 5 where the frame is subnormal."""

    now = 0

    def step(self, x):
        Slow.now += 5000 if 0 < np.abs(x).max() < 1e-30 else 1000
        return super().step(x)


class Breaks(Session):
    """Raises once it has seen NaN."""

    def step(self, x):
        if np.isnan(x).any():
            raise RuntimeError("NaN in the frame")
        return super().step(x)
