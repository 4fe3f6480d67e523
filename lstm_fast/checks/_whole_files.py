"""Which ONNX files are checked as whole models, and which as an LSTM alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..errors import LstmFastError
from ..model import load_model
from . import adapters
from .adapters._extras import MissingLibraryError
from .adapters._onnx_signature import Signature, size_of
from .target import Target, TargetError
from .whole_references import WholeReference

__all__ = ["of_whole_target", "onnx_target"]

OF_AN_LSTM = ("x", "y", "time_axis", "batch_axis", "h_and_c")  # said of frames, not of a model
OF_A_MODEL = ("history", "shapes")
# What the export of an LSTM alone has around it.
PLAIN = {"lstm", "reshape", "transpose", "concat", "slice", "gather", "expand"}


def onnx_target(path: Path, onnx: dict[str, Any], origin: str, whole: bool) -> Target:
    """Return an ONNX file as a target in onnxruntime.

    It is a whole model where history or shapes are said, which only those have, and, if that is
    allowed, where it is more than an LSTM, or where what it takes can't be guessed otherwise.

    Args:
        path: the file.
        onnx: what was said of it; see `adapters.from_onnx` and `from_onnx_model`.
        origin: Python that makes the target again.
        whole: whether a file that is more than an LSTM is a whole model.

    Raises:
        TargetError: it can't be run, or what was said of it does not go together.
        OSError, FormatError, TypeError, ValueError: as `load_model`.
    """
    if said := [name for name in OF_A_MODEL if name in onnx]:
        if wrong := [name for name in OF_AN_LSTM if name in onnx]:
            raise TargetError(f"{said[0]}= is of whole models, {wrong[0]}= of an LSTM's frames")
        return adapters.from_onnx_model(path, origin=origin, **_of_a_model(path, onnx))
    try:
        lone = adapters.from_onnx(path, origin=origin, **onnx)
    except MissingLibraryError:
        raise
    except TargetError as error:
        if not whole or "This works" in str(error) or any(name in onnx for name in OF_AN_LSTM):
            raise
        try:
            return adapters.from_onnx_model(path, origin=origin, **_of_a_model(path, onnx))
        except (LstmFastError, ValueError, TypeError):
            raise error from None
    if not whole or any(name in onnx for name in OF_AN_LSTM):
        return lone
    return _more_than_an_lstm(path, lone, onnx, origin) or lone


def _of_a_model(path: Path, onnx: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a whole model; the frame of its one free input becomes a shape.

    Raises:
        TargetError: it is not clear whose frame it is.
    """
    told = {name: value for name, value in onnx.items() if name not in ("frame_shape", *OF_AN_LSTM)}
    frame = onnx.get("frame_shape")
    if frame is None:
        return told
    names = list(told.get("history", {}))
    if len(names) != 1:
        raise TargetError(
            "say shapes= (--shape NAME=1,576) of a model of several inputs, not a frame"
        )
    count = told["history"][names[0]]
    rows = [1] * (2 - len(frame)) + list(frame)
    told["shapes"] = {names[0]: (*rows[:-1], rows[-1] + count), **told.get("shapes", {})}
    return told


def _more_than_an_lstm(
    path: Path, lone: adapters.OnnxTarget, onnx: dict[str, Any], origin: str
) -> Target | None:
    """Return the whole model, where it is more than what `lone` takes it for, and can be read."""
    signature = lone.signature
    told: dict[str, Any] = {
        "shapes": {signature.x: _shape(signature)},
        "constants": dict(onnx.get("constants", {})),
    }
    if "states" in onnx:
        told["states"] = dict(onnx["states"])
    try:
        model = load_model(path, outputs=[signature.y], **told)
    except (LstmFastError, ValueError, TypeError):
        return None
    if {op.code for op in model.program.ops} <= PLAIN:
        return None
    try:
        made = adapters.from_onnx_model(path, origin=origin, **told)
        made.remarks = lone.remarks
        return made
    except (LstmFastError, ValueError, TypeError):
        if [math.prod(one.shape) for one in model.inputs.values()] != [lone.input_size]:
            return None
        lone.oracle = model  # a file of whole sequences, which onnxruntime runs from their start
        return lone


def _shape(signature: Signature) -> tuple[int, ...]:
    return tuple(map(size_of, signature.x_shape))


def of_whole_target(target: Target) -> WholeReference | None:
    """Return what a whole target should be, as far as it says so itself."""
    if isinstance(target, adapters.OnnxModelTarget):
        return target.as_reference()
    if isinstance(target, adapters.ModelTarget):
        return WholeReference(target.model, "reference = target.model")
    if isinstance(target, adapters.OnnxTarget) and target.oracle is not None:
        return WholeReference(target.oracle, "reference = target.oracle")
    return None
