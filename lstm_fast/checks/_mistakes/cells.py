"""Cells that compute something else: activations that are missing or others, parts ignored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from ...cell import Activation
from .machine import Machine
from .mistake import LayerChange, Mistake, layered


def cells(machine: Machine) -> Iterator[Mistake]:
    def cell(**options: Any) -> LayerChange:
        return lambda layer: replace(layer, cell=replace(layer.cell, **options))

    linear = Activation("affine", 1.0, 0.0)
    yield layered(
        "tanh_missing:output",
        "tanh is missing on the cell: h = o c",
        "h = o tanh(c)",
        cell(output=linear),
    )
    yield layered(
        "tanh_missing:input",
        "tanh is missing on g: c' = f c + i a_g",
        "g = tanh(a_g)",
        cell(input=linear),
    )
    yield layered(
        "sigmoid_for_tanh",
        "g has the gates' activation",
        "g = tanh(a_g): only i, f and o are gates",
        lambda layer: replace(layer, sigmoid_g=True),
    )
    yield layered(
        "h_in_place",
        "h is overwritten while it is still read: each unit takes the new h of those before it",
        "keep the old h until all units are done: write the new one somewhere else, then swap",
        lambda layer: (
            replace(layer, in_place=True)
            if layer.w_hr is None and layer.layer_norm is None
            else None
        ),
        pairs=False,
    )
    yield layered(
        "old_c:output",
        "h is o tanh(c) of the c before this step",
        "h = o tanh(c'), of the new c' = f c + i g",
        lambda layer: replace(layer, old_c=True),
    )
    yield layered(
        "old_c:peephole",
        "the output gate's peephole sees the c before this step",
        "a_o += p_o c', of the new c'",
        lambda layer: None if layer.peephole is None else replace(layer, old_peephole=True),
        pairs=False,
    )
    gates = [
        ("hard_sigmoid:0.2", Activation("hard_sigmoid", 0.2, 0.5), "clip(0.2 x + 0.5, 0, 1)"),
        ("hard_sigmoid:1/6", Activation("hard_sigmoid", 1 / 6, 0.5), "clip(x / 6 + 0.5, 0, 1)"),
        ("hard_sigmoid:0.25", Activation("hard_sigmoid", 0.25, 0.5), "clip(x / 4 + 0.5, 0, 1)"),
        ("hard_sigmoid:0.5", Activation("hard_sigmoid", 0.5, 0.5), "clip((x + 1) / 2, 0, 1)"),
        ("plain_sigmoid", Activation("sigmoid"), "1 / (1 + exp(-x))"),
    ]
    right = machine.layers[0].cell.activations[0]
    for id, function, formula in gates:
        yield layered(
            id,
            f"the gates have {function} instead of {right}",
            f"i, f and o have {right} here, not {formula}",
            cell(gate=function),
            group="gate",
        )
    for which, other in (("input", "f = 1 - i"), ("forget", "i = 1 - f")):
        yield layered(
            f"coupled:{which}",
            f"{other}: the input and the forget gate are coupled",
            "compute both gates from their own rows",
            cell(coupled=which),
            pairs=False,
        )
    for name in ("clip", "cell_clip", "proj_clip", "coupled"):
        advice = f"this cell has {name}: see lstm_fast.Cell"
        yield layered(
            f"ignored:{name}", f"{name} is ignored", advice, cell(**{name: None}), pairs=False
        )
    for name in ("peephole", "layer_norm", "b_hr", "h_0", "c_0"):
        yield layered(
            f"ignored:{name}",
            f"{name} is ignored",
            f"this LSTM has {name}: see lstm_fast.Cell",
            lambda layer, name=name: replace(layer, **{name: None}),  # type: ignore[misc]
            pairs=False,
        )
