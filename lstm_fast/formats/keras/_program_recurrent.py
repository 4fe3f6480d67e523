"""Keras's LSTM and GRU as operations of a program, which keep their state from step to step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ...cell import Activation, Cell
from ...operations import cell_attributes
from .._inventory import brief
from ..gates import gru_to_pytorch, to_pytorch
from ._calls import kind_of
from ._config import group_names
from ._model import Path, activation
from ._program_chain import Piece, a_dict
from ._program_context import Context, flag, size

LAST = (
    "{}: return_sequences is False: each step gives what Keras returns of the sequence that ends "
    "with it"
)


def recurrent(context: Context, piece: Piece) -> None:
    """A layer of one cell, or of several on top of each other."""
    if not context.has_time:
        raise ValueError("there is no axis of time left that it could go along")
    if len(context.shape) != 1:
        raise ValueError(f"a frame has shape {context.shape}, expected one axis of features")
    if flag(piece, "go_backwards", False):
        raise ValueError("go_backwards: it begins with the last step, which a stream has not yet")
    for kind, cell in _cells(context, piece):
        if kind not in CELLS:
            known = ", ".join(CELLS)
            raise ValueError(f"its cell is {kind[:80]!r}, which is not computed here; {known} are")
        CELLS[kind](context, cell)
    context.writer.note(f"{piece} keeps its state from step to step")
    if not flag(piece, "return_sequences", False):
        context.has_time = False
        context.writer.note(LAST.format(piece))


def _cells(context: Context, piece: Piece) -> Iterator[tuple[str, Piece]]:
    """Yield the cells of a layer from the bottom up, each as if it were a layer, and its class."""

    def cell(kind: str, options: dict[str, Any], group: Path, name: str) -> tuple[str, Piece]:
        return kind, Piece(piece.kind, options, group, (*piece.names[:-1], name))

    group, name = (*piece.group, "cell"), piece.names[-1] if piece.names else ""
    if piece.kind != "RNN":
        yield cell(f"{piece.kind}Cell", piece.options, group, name)
        return
    one = a_dict(piece.options.get("cell"))
    if kind_of(one) != "StackedRNNCells":
        yield cell(_kind(one), a_dict(one.get("config")), group, name)
        return
    listed = a_dict(one.get("config")).get("cells")
    cells = [a_dict(inner) for inner in listed] if isinstance(listed, list) else []
    if not cells:
        raise ValueError("it has no cells")
    places = group_names(cells, context.budget)
    for n, (inner, place) in enumerate(zip(cells, places, strict=True)):
        options = a_dict(inner.get("config"))
        yield cell(_kind(inner), options, (*group, "cells", place), f"{name}/{n}")


def _kind(cell: dict[str, Any]) -> str:
    return brief(cell.get("registered_name") or kind_of(cell))


def _activations(context: Context, piece: Piece) -> tuple[Activation, Activation]:
    """Return what the gates compute, and what the others do."""
    return (
        activation(
            piece.options.get("recurrent_activation", "sigmoid"),
            context.major,
            "recurrent_activation",
        ),
        activation(piece.options.get("activation", "tanh"), context.major, "activation"),
    )


def _lstm(context: Context, piece: Piece) -> None:
    units, width, writer = size(piece, "units"), context.shape[0], context.writer
    gate, main = _activations(context, piece)
    shapes = [(width, 4 * units), (units, 4 * units)]
    biases = [(4 * units,)] if flag(piece, "use_bias", True) else []
    kernel, own, *bias = context.arrays(piece.group, [*shapes, *biases], turned=True)
    weights = [writer.constant(to_pytorch(one, "keras")) for one in (kernel, own, *bias)]
    h, c = (writer.state(f"{piece.name}.{part}", (units,)) for part in "hc")
    cell = cell_attributes(Cell(gate=gate, input=main, output=main))
    context.tensor, h_new, c_new = writer.emit_all("lstm", context.tensor, h, c, *weights, **cell)
    writer.keep(h, h_new)
    writer.keep(c, c_new)


def _gru(context: Context, piece: Piece) -> None:
    units, width, writer = size(piece, "units"), context.shape[0], context.writer
    found = [one.name for one in _activations(context, piece)]
    if found != ["sigmoid", "tanh"]:
        raise ValueError(
            f"its recurrent_activation and activation are {' and '.join(found)}; of a GRU only "
            "sigmoid and tanh are computed here"
        )
    # With reset_after the recurrent product has a bias of its own, else the reset comes before it.
    is_after = flag(piece, "reset_after", True)
    shapes = [(width, 3 * units), (units, 3 * units)]
    biases = [(2, 3 * units) if is_after else (3 * units,)]
    use_bias = flag(piece, "use_bias", True)
    kernel, own, *bias = context.arrays(piece.group, [*shapes, *(biases if use_bias else [])])
    rows = [row for one in bias for row in one.reshape(-1, 3 * units)]
    weights = [writer.constant(gru_to_pytorch(one.T, "keras")) for one in (kernel, own, *rows)]
    h = writer.state(f"{piece.name}.h", (units,))
    context.tensor, h_new = writer.emit_all(
        "gru", context.tensor, h, *weights, linear_before_reset=is_after
    )
    writer.keep(h, h_new)


CELLS: dict[str, Callable[[Context, Piece], None]] = {"LSTMCell": _lstm, "GRUCell": _gru}
