"""LSTM layers as operations of a program."""

from __future__ import annotations

from ._program_writer import Writer
from ._weights import LayerWeights, Weights
from .operations import cell_attributes
from .program import Program


def add_layer(writer: Writer, x: int, n: int, layer: LayerWeights) -> int:
    """Add the nth layer, which keeps its state from step to step, and return its output."""
    h = writer.state(f"h_l{n}", (layer.output_size,), layer.h_0)
    c = writer.state(f"c_l{n}", (layer.hidden_size,), layer.c_0)
    others = (layer.weight_hr, layer.peephole, layer.layer_norm, layer.bias_hr)
    weights = [layer.weight_ih, layer.weight_hh, layer.bias, *others]
    while weights[-1] is None:
        weights.pop()
    numbers = [-1 if one is None else writer.constant(one) for one in weights]
    y, h_new, c_new = writer.emit_all("lstm", x, h, c, *numbers, **cell_attributes(layer.cell))
    writer.keep(h, h_new)
    writer.keep(c, c_new)
    return y


def program_of(weights: Weights) -> Program:
    """Return what a step of a stack of layers that run forward computes, from "x" to "y"."""
    writer = Writer()
    given = x = writer.value((weights.input_size,))
    for n, layer in enumerate(weights.layers):
        writer.source = f"layer {n}"
        x = add_layer(writer, x, n, layer)
    return writer.program(("x", given), ("y", x))
