"""A whole Keras 3 model as a program: one step of it is one step of time.

Keras's values have the axes (batch, time, features). Time is there where a layer goes along it, or
the file leaves the size of the second axis open; else a step takes all of an input but the batch.
"""

from __future__ import annotations

from typing import Any

from ..._source import Source
from ...program import Program, Shape
from .._files import FormatError, checked
from .._inventory import brief
from ._config import IDLE, INPUTS, LARGEST_SIZE
from ._file import Opened, opened
from ._program_activations import LAYERS
from ._program_chain import Piece, a_dict, chain
from ._program_context import Context, precision
from ._program_layers import HANDLERS, MOST_AXES, Handler
from ._program_recurrent import recurrent

TIMED = frozenset({"LSTM", "GRU", "SimpleRNN", "RNN", "Conv1D", "TimeDistributed", "Bidirectional"})
OPERATION_STEPS, OPERATION_BYTES = 200, 4096  # of one layer, beside its values
SAVE_AGAIN = "load it with Keras 3 and save it again, as .keras"


def program(source: Source) -> Program:
    """Return what a step of the model computes.

    Raises:
        OSError: the file cannot be opened.
        FormatError: it is damaged, of Keras 2, no chain of layers, or has a layer that cannot be
            streamed or is not computed here.
    """
    with opened(source) as file:
        _check_file(source, file)
        with checked(source, "config", RecursionError):
            pieces = list(chain(a_dict(file.config), (), (), source.budget))
        context = Context(file.root, file.version.major)
        with checked(source, "config"):
            name, pieces = _begin(context, pieces)
        given = context.tensor
        for piece in pieces:
            source.budget.work(OPERATION_STEPS, "its layers")
            source.budget.memory(OPERATION_BYTES, "its layers")
            with checked(source, str(piece), RecursionError):
                lower(context, piece)
        last = pieces[-1].name if pieces else "output"
        return context.writer.program((name, given), (last, context.tensor))


def _check_file(source: Source, file: Opened) -> None:
    if file.config is None:
        raise FormatError(
            f"{source}: it holds weights alone, not what the model computes: save it as .keras"
        )
    major = file.version.major
    with checked(source, "weights"):
        is_old = file.root.get("model_weights") is not None
    if major != 3 or is_old:
        what = "it does not say which Keras wrote it" if major is None else "it is of Keras 2"
        what = "it is in the layout of Keras 2" if major == 3 else what
        raise FormatError(f"{source}: {what}; {SAVE_AGAIN}")


def _begin(context: Context, pieces: list[Piece]) -> tuple[str, list[Piece]]:
    """Make the input, and return its name and the layers behind it.

    Raises:
        ValueError: the file leaves the shape of a frame open.
    """
    if not pieces or pieces[0].kind not in INPUTS:
        raise ValueError("the model has no input of a known shape: build it, and save it again")
    first, rest = pieces[0], [one for one in pieces if one.kind not in INPUTS]
    shape = first.options.get("batch_shape")
    if not isinstance(shape, list) or len(shape) < 2:
        raise ValueError(f"{first}: batch_shape is {brief(shape, 60)}, expected a batch and more")
    _, second, *frame = shape
    context.has_time = second is None or any(piece.kind in TIMED for piece in rest)
    context.steps = second if type(second) is int else None
    if not context.has_time:
        frame = [second, *frame]
    if len(frame) > MOST_AXES or any(
        type(one) is not int or not 1 <= one < LARGEST_SIZE for one in frame
    ):
        raise ValueError(
            f"{first}: batch_shape is {brief(shape, 60)}: give every axis behind the batch and "
            "time a size"
        )
    works = [piece for piece in rest if piece.kind not in IDLE]
    is_token = bool(works) and works[0].kind == "Embedding"
    frame_shape: Shape = tuple(frame)
    context.tensor = context.writer.value(frame_shape, "int64" if is_token else "float32")
    return first.name or "input", rest


def lower(context: Context, piece: Piece) -> None:
    """Add the operations of one layer.

    Raises:
        ValueError: it cannot be streamed, or is not computed here.
    """
    writer = context.writer
    writer.source = piece.name
    if piece.is_training:
        raise ValueError("it is called with training=True, as only training does")
    if piece.kind in IDLE:
        return
    if piece.kind not in KNOWN:
        known = ", ".join(sorted({*KNOWN, *IDLE} - {"Bidirectional"}))
        raise ValueError(f"it is not read here; {known} are, and models of these")
    if (computed := precision(piece)) != "float32":
        writer.note(f"{piece}: Keras computes it in {computed}; here it is computed in float32")
    KNOWN[piece.kind](context, piece)


def _time_distributed(context: Context, piece: Piece) -> None:
    if not context.has_time:
        raise ValueError("there is no axis of time left that it could go along")
    context.has_time = False
    inner: Any = a_dict(piece.options.get("layer"))
    for one in chain(inner, (*piece.group, "layer"), piece.names, context.budget):
        if one.kind not in INPUTS:
            lower(context, one)
    context.has_time = True


def _bidirectional(context: Context, piece: Piece) -> None:
    raise ValueError(
        "one of its directions begins with the last step, which a stream has not yet; train it in "
        "one direction"
    )


KNOWN: dict[str, Handler] = {
    **HANDLERS,
    **LAYERS,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), recurrent),
    "TimeDistributed": _time_distributed,
    "Bidirectional": _bidirectional,
}
