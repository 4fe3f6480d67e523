"""Whole models as somebody else would run them, right ones and careless ones."""

from __future__ import annotations

import numpy as np
from program_cases import Builder, lstm_layer

from lstm_fast import Model
from lstm_fast.checks import adapters


def program(history=4):
    """A frame of sound with history, a convolution, an LSTM whose state is seen, a probability."""
    build = Builder(3)
    x = build.input("sound", (1, 12), history=history)
    taps = build.weights(6, 1, 4)
    features = build.op("relu", build.op("conv", x, taps, build.weights(6), stride=4))
    flat = build.op("reduce", features, kind="mean", axes=(1,), keepdims=False)
    y = lstm_layer(build, flat, "a", 7)
    build.output("p", build.op("sigmoid", build.op("dense", y, build.weights(1, 7, scale=3))))
    build.output("features", flat)
    return build.program()


MODEL = Model.from_program(program())
HISTORY = "sound.history"


class Session:
    """Right: all state is held outside of the model and put in again at each step."""

    def __init__(self, model=MODEL):
        self.model = model
        self.kept = self.start()
        self.stream = model.stream()

    def start(self):
        return self.model.stream().state

    def reset(self):
        self.kept = self.start()

    @property
    def state(self):
        return {name: value.copy() for name, value in self.kept.items()}

    def step(self, x):
        self.stream.state = self.kept
        y = self.stream.step(x)
        self.kept = self.after(self.stream.state, x)
        return y

    def after(self, state, x):
        return state

    def run(self, xs):
        rows = [self.step(x) for x in xs]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


class Batch:
    def __init__(self, n, make=Session):
        self.sessions = [make() for _ in range(n)]

    def reset(self):
        for session in self.sessions:
            session.reset()

    def step(self, xs):
        rows = [session.step(x) for session, x in zip(self.sessions, xs, strict=True)]
        return self.together({name: np.stack([row[name] for row in rows]) for name in rows[0]}, xs)

    def together(self, ys, xs):
        return ys


class Shared(Session):
    """All sessions have one state."""

    common = None

    @property
    def kept(self):
        return type(self).common or self.start()

    @kept.setter
    def kept(self, value):
        type(self).common = value


class ForgetsToResetC(Session):
    def reset(self):
        self.kept = {**self.start(), "a.c": self.kept["a.c"]}


class ForgetsToResetHistory(Session):
    def reset(self):
        self.kept = {**self.start(), HISTORY: self.kept[HISTORY]}


class NoHistory(Session):
    def after(self, state, x):
        return {**state, HISTORY: np.zeros_like(state[HISTORY])}


class WrongEnd(Session):
    def after(self, state, x):
        return {**state, HISTORY: x[..., :4]}


class NotCarried(Session):
    def after(self, state, x):
        return self.start()


class SwapsStates(Session):
    def after(self, state, x):
        return {**state, "a.h": state["a.c"], "a.c": state["a.h"]}


class Unscaled(Session):
    def step(self, x):
        return super().step(x * np.float32(32768))


class OneLate(Session):
    last = None

    def reset(self):
        super().reset()
        self.last = None

    def step(self, x):
        y = super().step(x)
        late = self.last or {name: np.zeros_like(one) for name, one in y.items()}
        self.last = y
        return late


class Rough(Session):
    """Off by more than float32 loses, and by no mistake that is known."""

    def step(self, x):
        y = super().step(x)
        return {**y, "p": y["p"] + np.float32(2e-4)}


class MeanOfBatch(Batch):
    """A row depends a little on the others."""

    def together(self, ys, xs):
        return {**ys, "p": ys["p"] + np.float32(1e-3) * np.float32(np.abs(xs).max() > 10)}


class SpoiledBatch(Batch):
    """NaN in a row reaches all, as by a product with zero."""

    def together(self, ys, xs):
        return {**ys, "p": ys["p"] + 0 * ys["p"].sum()}


def target(session=Session, batch=Batch, **options):
    return adapters.from_named(session, MODEL, batch=batch, name="theirs", **options)
