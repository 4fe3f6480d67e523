"""Ports of Silero VAD with mistakes in them: how a chunk of audio becomes what the model is given.

A `Plan` says what a port does where it could go wrong; `RIGHT` of a rate is what it should do. A
`Port` does so, around a stream of the model without its history, so that the context is its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from ..._arrays import Float32
from .._moved import Simulation, stacked
from ..layout import Layout

__all__ = ["CONTEXTS", "SCALES", "STATES", "Plan", "Port", "Window", "simulation"]

INT16 = 32768


class Window(NamedTuple):
    """What the model is given at once: its rate in Hz, new samples, context before them.

    filled: whether a chunk is filled up to so many samples with zeros, and not collected.
    """

    rate: int
    size: int
    context: int
    filled: bool = False


@dataclass(frozen=True)
class Plan:
    """What a port does.

    window: see `Window`. context, state, scale: keys of `CONTEXTS`, `STATES`, `SCALES`, or a
    number that samples are multiplied by. end: "zeroed" where the chunk's own end is zeros while it
    is the newest. late: whether a probability comes one chunk later. weights: as what they are
    stored.
    """

    window: Window
    context: str = "right"
    state: str = "kept"
    scale: str | float = "right"
    end: str = "right"
    late: bool = False
    weights: str = "float32"


# ---- context: of the chunk before, the chunk, and how many samples -------------------------------


def _behind(before: Float32, x: Float32, n: int) -> Float32:
    return np.concatenate([x, before[len(before) - n :]])


def _in_front(
    of: Callable[[Float32, Float32, int], Float32],
) -> Callable[[Float32, Float32, int], Float32]:
    return lambda before, x, n: np.concatenate([of(before, x, n), x])


CONTEXTS: Mapping[str, Callable[[Float32, Float32, int], Float32]] = MappingProxyType(
    {
        "right": _in_front(lambda before, x, n: before[len(before) - n :]),
        "zeros": _in_front(lambda before, x, n: np.zeros(n, np.float32)),
        "wrong_end": _in_front(lambda before, x, n: before[:n]),
        "of_itself": _in_front(lambda before, x, n: x[len(x) - n :]),
        "behind": _behind,
        "reflected": _in_front(lambda before, x, n: x[n:0:-1]),
        "backwards": _in_front(lambda before, x, n: before[: len(before) - n - 1 : -1]),
    }
)


# ---- state: of that of the start and that after a chunk ------------------------------------------


def _halves(a: Any, b: Any) -> Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]]:
    """Return a change of h and c, which are one tensor or two: functions of (start, after)."""

    def change(start: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
        names = sorted(after, key=lambda name: name.lower().startswith("c"))
        if len(names) == 1:
            (name,) = names
            first, now = start[name], after[name]
            return {name: np.stack([a(first[0], now[0], now[1]), b(first[1], now[1], now[0])])}
        h, c = names
        return {h: a(start[h], after[h], after[c]), c: b(start[c], after[c], after[h])}

    return change


def _kept(start: Any, own: Any, other: Any) -> Any:
    return own


def _forgotten(start: Any, own: Any, other: Any) -> Any:
    return start


def _others(start: Any, own: Any, other: Any) -> Any:
    return other


STATES = MappingProxyType(
    {
        "kept": None,
        "forgotten": _halves(_forgotten, _forgotten),
        "h_forgotten": _halves(_forgotten, _kept),
        "c_forgotten": _halves(_kept, _forgotten),
        "swapped": _halves(_others, _others),
    }
)


# ---- samples -------------------------------------------------------------------------------------


def _times(factor: float) -> Callable[[Float32], Float32]:
    return lambda x: x * np.float32(factor)


def _loudest_is_1(x: Float32) -> Float32:
    loudest = max(np.float32(np.abs(x).max(initial=0.0)), np.float32(1e-9))
    return np.asarray(x / loudest)


def _whole(x: Float32) -> Any:
    return np.clip(np.rint(x * INT16), -INT16, INT16 - 1).astype(np.int16)


def _unsigned(x: Float32) -> Float32:
    return np.asarray(_whole(x).view(np.uint16).astype(np.float32) / np.float32(INT16))


def _other_bytes(x: Float32) -> Float32:
    return np.asarray(_whole(x).byteswap().astype(np.float32) / np.float32(INT16))


SCALES: Mapping[str, Callable[[Float32], Float32]] = MappingProxyType(
    {
        "right": lambda x: x,
        "raw": _times(INT16),
        "twice": _times(1 / INT16),
        "32767": _times(INT16 / (INT16 - 1)),
        "half": _times(0.5),
        "double": _times(2.0),
        "loudest_is_1": _loudest_is_1,
        "unsigned": _unsigned,
        "other_bytes": _other_bytes,
    }
)


class Port:
    """A stream of the model without history, used as a plan says.

    Before `silent` samples were there, the right chunk's, it gives 0, as targets are taken to.
    """

    def __init__(self, stream: Any, plan: Plan, silent: int) -> None:
        self._stream, self._plan, self._silent = stream, plan, silent
        self._start = stream.state
        self._rest = np.zeros(0, np.float32)
        self._before = np.zeros(plan.window.size, np.float32)
        self._last = self._newest = np.zeros(1, np.float32)
        scale = plan.scale
        self._scale = SCALES[scale] if isinstance(scale, str) else _times(scale)

    def step(self, x: Float32) -> Float32:
        """Take a chunk, and return the probability of the newest window, 0 before there was one."""
        plan, size = self._plan, self._plan.window.size
        self._silent -= len(x)
        x = self._scale(x)
        if plan.window.filled:
            x = np.concatenate([x, np.zeros(size - len(x), np.float32)])
        self._rest = np.concatenate([self._rest, x])
        while len(self._rest) >= size:
            chunk, self._rest = self._rest[:size], self._rest[size:]
            self._last, self._newest = self._newest, self._take(chunk)
        if self._silent > 0:
            return np.zeros(1, np.float32)
        return self._last if plan.late else self._newest

    def _take(self, chunk: Float32) -> Float32:
        plan, stream = self._plan, self._stream
        change = STATES[plan.state]
        if plan.end == "zeroed":
            kept = stream.state
            cut = chunk.copy()
            cut[len(cut) - (plan.window.context or 1) :] = 0
            y = stream.step(self._given(cut))
            stream.state = kept
            stream.step(self._given(chunk))
        else:
            y = stream.step(self._given(chunk))
        if change is not None:
            stream.state = change(self._start, stream.state)
        self._before = chunk
        return np.asarray(y)

    def _given(self, chunk: Float32) -> Float32:
        count = self._plan.window.context
        if not count:
            return chunk
        return CONTEXTS[self._plan.context](self._before, chunk, count)


def simulation(plan: Plan, silent: int) -> Simulation:
    """Return a plan as a simulation over a stream of the model without history."""

    def simulate(stream: Any, layout: Layout, xs: Float32) -> tuple[Float32, dict[str, Float32]]:
        port = Port(stream, plan, silent)
        return stacked([port.step(x) for x in xs], [{} for _ in xs])

    return simulate
