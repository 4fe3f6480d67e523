"""Bounds that clip, zoneout and residual sums: mistakes whose numbers have to be found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from .machine import Layer, Machine, Zoneout
from .mistake import Family
from .stacking import residuals

BOUNDS = tuple((bound,) for bound in (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0))
RATES = ((0.1, 0.1), (0.5, 0.05))
SMALLEST = 1e-6
CLIP_ADVICE = "clip nothing that the equations do not clip"


def numbered(machine: Machine, *, in_one_layer: bool = False) -> Iterator[Family]:
    """Yield bounds, zoneout and residual sums; or the same in one layer alone."""
    layered = [*_bounds(machine), *_zoneouts()]
    if in_one_layer:
        for index in range(len(machine.layers)):
            yield from (family.in_layer(index) for family in layered)
        return
    yield _input_clip()
    yield from layered
    yield from _residuals(machine)


def _in_layers(change: Callable[..., Layer]) -> Callable[..., Machine]:
    """Return a change of a machine that changes each layer."""
    return lambda m, *numbers: replace(
        m, layers=tuple(change(layer, *numbers) for layer in m.layers)
    )


def _input_clip() -> Family:
    return Family(
        "input_clip",
        lambda k: f"the frames are clipped to +-{k:.5g}",
        "take the frames as they are, or clip them before both implementations",
        lambda m, k: replace(m, frames=(*m.frames, ("clip", abs(k)))),
        "context",
        (float("inf"),),
        BOUNDS,
    )


def _bounds(machine: Machine) -> Iterator[Family]:
    def cell(name: str) -> Callable[..., Layer]:
        def change(layer: Layer, k: float) -> Layer:
            bound: Any = max(abs(k), SMALLEST) if np.isfinite(k) else None
            return replace(layer, cell=replace(layer.cell, **{name: bound}))

        return change

    changes: list[tuple[str, str, Callable[..., Layer]]] = [
        ("cell_clip", "the cell state c is", cell("cell_clip")),
        ("gate_clip", "what the gates and g are computed of is", cell("clip")),
    ]
    if machine.layers[0].w_hr is None:
        changes.append(("h_clip", "h is", lambda layer, k: replace(layer, h_clip=abs(k))))
    else:
        changes.append(("proj_clip", "h, the projection, is", cell("proj_clip")))
    right = machine.layers[0].cell
    for name, what, change in changes:
        field = {"gate_clip": "clip"}.get(name, name)
        neutral = getattr(right, field, None) or float("inf")
        yield Family(
            name,
            lambda k, what=what: f"{what} clipped to +-{abs(k):.5g}",
            CLIP_ADVICE if neutral == float("inf") else f"the bound is {neutral:g}",
            _in_layers(change),
            name,
            (neutral,),
            BOUNDS,
        )


def _zoneouts() -> Iterator[Family]:
    for h_late, c_early in ((False, False), (True, False), (False, True), (True, True)):
        options: dict[str, Any] = {"h_late": h_late, "c_early": c_early}

        def change(layer: Layer, of_h: float, of_c: float, options: Any = options) -> Layer:
            return replace(layer, zoneout=Zoneout(of_h, of_c, **options))

        yield Family(
            "zoneout",
            _zoneout_words,
            "zoneout belongs to training; a network that was trained with it may need its rates as "
            "a mean in inference, and then the reference lacks them",
            _in_layers(change),
            "zoneout",
            (0.0, 0.0),
            RATES,
            _zoneout_name,
            lambda *rates: all(0 <= rate < 1 for rate in rates),
        )


def _zoneout_name(of_h: float, of_c: float) -> str:
    if not of_c:
        return f"zoneout:h:{of_h:.4g}"
    if not of_h:
        return f"zoneout:c:{of_c:.4g}"
    return f"zoneout:{of_h:.4g}" if of_h == of_c else f"zoneout:h,c:{of_h:.4g},{of_c:.4g}"


def _zoneout_words(of_h: float, of_c: float) -> str:
    mixed = [
        f"{rate:.6g} of the old {part} stays in the new"
        for part, rate in (("h", of_h), ("c", of_c))
        if rate
    ]
    return f"zoneout: {', '.join(mixed)}"


def _residuals(machine: Machine) -> Iterator[Family]:
    advice = "an LSTM's layers are not added to what they take: leave the residual sum out"
    for which, words, ones in residuals(machine):
        for kept in (False, True):

            def change(m: Machine, k: float, ones: Any = ones, kept: bool = kept) -> Machine:
                sums = tuple(k * one for one in ones)
                return replace(m, residual=sums, residual_kept=kept)

            id = f"residual:{which}" + (":carried" if kept else "")
            more = ", and is carried on as h" if kept else ""
            yield Family(
                id,
                _residual_words(f"what {words} takes", f"what it gives{more}"),
                advice,
                change,
                "residual",
                (0.0,),
                ((1.0,),),
                _residual_name(id),
            )
    first, last = machine.layers[0], machine.layers[-1]
    if len(machine.layers) > 1 and first.sizes[0] == last.sizes[2]:
        yield Family(
            "residual:frame",
            _residual_words("the frame", "the output"),
            advice,
            lambda m, k: replace(m, skip=k),
            "residual",
            (0.0,),
            ((1.0,),),
            _residual_name("residual:frame"),
        )


def _residual_name(id: str) -> Callable[[float], str]:
    return lambda k: id if k == 1 else f"{id}:{k:.4g}"


def _residual_words(what: str, target: str) -> Callable[[float], str]:
    return lambda k: f"{what}{'' if k == 1 else f' times {k:.6g}'} is added to {target}"
