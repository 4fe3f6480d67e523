"""Machines that run: in float64, beside rows that are disturbed as float32 may disturb them.

B rows are stepped together; row 0 is exact, and the others, where there are any, are disturbed, to
see how far that carries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..target import Recording, State
from .frames import FRAMES
from .machine import Layer, Machine
from .roundings import ROUNDINGS, Float64
from .stepping import TIE_OF_OUTPUT, TIES, After, Noise, settled, step

Rows = list[Float64]  # of each layer


class Moment(NamedTuple):
    """What a machine shows after a step: y (B, P), and per layer h (B, P) and c (B, H).

    led: this step started from the state that was recorded before it.
    """

    sequence: int
    t: int
    y: Float64
    hs: Rows
    cs: Rows
    led: bool = False


def run(
    machine: Machine,
    recordings: Sequence[Recording],
    starts: Sequence[State | None],
    noise: Noise | None = None,
    *,
    steps: int | None = None,
    done: Sequence[int] = (),
    tie: float = TIES[0],
) -> Iterator[Moment]:
    """Step a machine over recordings, one after the other, each after a reset.

    Args:
        machine: what computes.
        recordings: the frames; a machine that rounds its state goes on from the h (and c) in them
            where it is there, since float32's last bit may decide which way a value fell.
        starts: a state that is set before each, instead of the reset; None is the reset.
        noise: what disturbs rows 1 and up; None has row 0 only.
        steps: at most so many of each recording.
        done: the steps since its reset that were taken before each; (): none.
        tie: how wide a doubt about rounding is, see TIES.
    """
    if noise is not None:
        noise.restart()
    session = _Session(machine, noise, tie)
    for number, (recording, start) in enumerate(zip(recordings, starts, strict=True)):
        before = done[number] if done else 0
        session.begin(recording, start, before, is_first=number == 0)
        for t in range(len(recording.xs) if steps is None else min(steps, len(recording.xs))):
            yield session.step(number, t)


class _Session:
    """A machine's state, and the frames that it is given."""

    def __init__(self, machine: Machine, noise: Noise | None, tie: float) -> None:
        self._machine, self._noise, self._tie = machine, noise, tie
        first = [_start(layer) for layer in machine.layers]
        self._first_h, self._first_c = [h for h, _ in first], [c for _, c in first]
        self._h, self._c = self._first_h, self._first_c
        self._last = np.zeros(machine.layers[0].sizes[0])
        self._count = 0  # steps, of which a timer counts

    def begin(
        self, recording: Recording, start: State | None, done: int, *, is_first: bool
    ) -> None:
        """Reset it, or set its state, and take the frames that follow."""
        machine, xs = self._machine, np.asarray(recording.xs, np.float64)
        given = xs
        for name, argument in machine.frames:
            xs = FRAMES[name](xs, argument, self._last)
        self._last = given[-1] if len(given) else self._last
        self._xs, self._recording = xs, recording
        if machine.timer is None or not machine.timer.counts_on or is_first:
            self._count = done
        self._h, self._c = self._begun(start, is_first)

    def _begun(self, start: State | None, is_first: bool) -> tuple[Rows, Rows]:
        """Return the state that a sequence begins with."""
        machine, h, c = self._machine, self._h, self._c
        if start is not None:
            parts = [[row[None] for row in np.asarray(part, np.float64)] for part in start]
            given_h, given_c = parts[::-1] if machine.crossed_start else parts
            return (
                given_h[: len(h)] if "h" in machine.takes else self._first_h,
                given_c[: len(c)] if "c" in machine.takes else self._first_c,
            )
        if is_first:
            return self._first_h, self._first_c
        layers = machine.leak_layers
        stays = [layers is None or n in layers for n in range(len(h))]

        def part(letter: str, old: Rows, first: Rows) -> Rows:
            leaks = letter in machine.leak
            return [a if leaks and s else b for a, b, s in zip(old, first, stays, strict=True)]

        return part("h", h, self._first_h), part("c", c, self._first_c)

    def step(self, number: int, t: int) -> Moment:
        """Take a frame and return what is shown."""
        machine = self._machine
        if t and machine.keep != "hc":
            self._h = self._h if "h" in machine.keep else self._first_h
            self._c = self._c if "c" in machine.keep else self._first_c
        seen_h, seen_c = self._recorded(t)
        led = machine.rounds and seen_h is not None and (seen_c is not None or not machine.keeps)
        y, h, c = self._layers(t, seen_h, led)
        y = y if machine.output == "h" else c[-1]
        y = y * machine.output_gain + (machine.skip * self._xs[t] if machine.skip else 0.0)
        if machine.output_rounding:
            y = settled(y, machine.output_rounding, TIE_OF_OUTPUT)
        self._count += 1
        is_due = machine.timer is not None and self._count % machine.timer.steps == 0
        after = self._reset_by_timer(h, c) if is_due else (h, c)
        is_shown = machine.timer is not None and machine.timer.shown
        shown = self._shown(*(after if is_shown else (h, c)))
        h, c = after
        h, c = (c, h) if machine.crossed else (h, c)
        if seen_h is not None:
            h = seen_h
        elif machine.rounds and machine.is_plain:
            h = [*h[:-1], self._top(t)]
        self._h, self._c = h, c if seen_c is None else seen_c
        return Moment(number, t, y, *shown, led)

    def _layers(self, t: int, seen: Rows | None, led: bool) -> tuple[Float64, Rows, Rows]:
        """Step all layers, and return what the last gives, and each one's new h and c."""
        machine, old, new_h, new_c = self._machine, self._h, Rows(), Rows()
        below = self._xs[t][None]
        for n, layer in enumerate(machine.layers):
            if n and machine.stale_below:
                below = old[n - 1]
            bounded = machine.layers[n - 1].bounded if n else machine.x_bounded
            h, c = self._own(n, t, "h", old, new_h), self._own(n, t, "c", self._c, new_c)
            after = step(
                machine,
                layer,
                below,
                h,
                c,
                self._noise,
                x_is_bounded=bounded,
                led=led,
                tie=self._tie,
            )
            after = self._with_residual(n, after, below)
            new_h.append(after.h)
            new_c.append(after.c)
            below = after.out
            if seen is not None and not (layer.kept is not None and layer.kept.h_late):
                below = seen[n]
        return after.out, new_h, new_c

    def _own(self, n: int, t: int, part: str, old: Rows, new: Rows) -> Float64:
        """Return the state that layer n takes for its own."""
        slots = self._machine.slots
        if slots is None or part not in slots.parts:
            return old[n]
        other = slots.order[n]
        if slots.fresh and other < n:
            return new[other]
        return old[other if (slots.carried if t else slots.start) else n]

    def _with_residual(self, n: int, after: After, below: Float64) -> After:
        residual = self._machine.residual
        if not residual or not residual[n]:
            return after
        out = after.out + residual[n] * below
        return After(out, out if self._machine.residual_kept else after.h, after.c)

    def _reset_by_timer(self, h: Rows, c: Rows) -> tuple[Rows, Rows]:
        assert self._machine.timer is not None
        parts = self._machine.timer.parts
        return self._first_h if "h" in parts else h, self._first_c if "c" in parts else c

    def _shown(self, h: Rows, c: Rows) -> tuple[Rows, Rows]:
        """Return the state as it is shown."""
        slots = self._machine.slots
        if slots is not None and (slots.shown or slots.top):
            order = [len(h) - 1] * len(h) if slots.top else slots.order
            h = [h[n] for n in order] if "h" in slots.parts else h
            c = [c[n] for n in order] if "c" in slots.parts else c
        return (c, h) if self._machine.crossed_states else (h, c)

    def _recorded(self, t: int) -> tuple[Rows | None, Rows | None]:
        """Return h and c of each layer as they were recorded, for a machine that is led by them."""
        machine, hs, cs = self._machine, self._recording.hs, self._recording.cs
        count = len(machine.layers)
        if not (machine.rounds and machine.is_plain) or hs is None or hs.shape[1] != count:
            return None, None
        h = [row[None] for row in np.asarray(hs[t], np.float64)]
        if not machine.keeps or cs is None or cs.shape[1] != count:
            return h, None
        return h, [row[None] for row in np.asarray(cs[t], np.float64)]

    def _top(self, t: int) -> Float64:
        """Return the last layer's h as the output tells it."""
        y, kept = np.asarray(self._recording.ys[t], np.float64)[None], self._machine.layers[-1].kept
        return ROUNDINGS[kept.how](y) if kept is not None and "h" in kept.parts else y


def _start(layer: Layer) -> tuple[Float64, Float64]:
    _, units, outputs = layer.sizes
    h_0 = np.zeros(outputs) if layer.h_0 is None else layer.h_0
    c_0 = np.zeros(units) if layer.c_0 is None else layer.c_0
    return h_0[None], c_0[None]
