"""Which ONNX files are checked as whole models, and which as an LSTM alone."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

from ..errors import LstmFastError
from ..formats._whole_models import load_model
from ..formats._whole_options import as_flags
from ..model import Model
from . import adapters
from .adapters._extras import MissingLibraryError
from .adapters._onnx_guess import FLOATS
from .adapters._onnx_signature import Signature, size_of
from .adapters.onnx import inputs_of
from .references import NoReference
from .target import Target, TargetError
from .whole_references import WholeReference

__all__ = ["is_more_than_an_lstm", "of_whole_target", "onnx_target", "whole_reference"]

OF_AN_LSTM = ("x", "y", "batch_axis", "h_and_c")  # said of frames, not of a model
OF_A_MODEL = ("history", "shapes")
# What the export of an LSTM alone has around it.
PLAIN = {"lstm", "reshape", "transpose", "concat", "slice", "gather", "expand"}
HOW = "(--no-reference does without)"
UNREADABLE = (LstmFastError, ValueError, TypeError)


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
    of_an_lstm = any(name in onnx for name in OF_AN_LSTM)
    try:
        lone = adapters.from_onnx(path, origin=origin, **onnx)
    except MissingLibraryError:
        raise
    except TargetError as error:
        if not whole or "This works" in str(error) or of_an_lstm:
            raise
        try:
            return adapters.from_onnx_model(path, origin=origin, **_of_a_model(path, onnx))
        except UNREADABLE as other:
            raise (_of_integers(path, onnx, other) or error) from None
    if not whole or of_an_lstm:
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
            "a frame (--frame) is of the one input with history (--history), or of an LSTM alone: "
            "say shapes= (--shape NAME=1,576)"
        )
    count = told["history"][names[0]]
    rows = [1] * (2 - len(frame)) + list(frame)
    told["shapes"] = {names[0]: (*rows[:-1], rows[-1] + count), **told.get("shapes", {})}
    return told


def as_options(text: str) -> str:
    """Return a message of `load_model` with its arguments as the options of `lstm-fast check`."""
    text = as_flags(text).replace("--constant ", "--set ")
    return re.sub(r"(--state [^ ,;=]+)=", r"\1:", text)


def _of_integers(path: Path, onnx: dict[str, Any], error: Exception) -> TargetError | None:
    """Return what to say of a file that takes integers alone, and so can't be an LSTM's frames."""
    free = [one for one in inputs_of(path) if one.name not in onnx.get("constants", {})]
    if not free or any(one.type in FLOATS for one in free):
        return None
    text = as_options(str(error))
    last = len(free[0].shape or ()) - 1
    may_be_time = len(free) == 1 and last > 0 and not isinstance(free[0].shape[last], int)
    if may_be_time and "time_axis" not in onnx:
        text += f"; or, where its axis {last} is time, --time-axis {last}"
    return TargetError(text)


def _more_than_an_lstm(
    path: Path, lone: adapters.OnnxTarget, onnx: dict[str, Any], origin: str
) -> Target | None:
    """Return the whole model, where it is more than what `lone` takes it for, and can be read.

    Shapes are given to the reader only where a frame was said, or where onnxruntime steps single
    frames, too: with a size of 1 the reader does not look along time, and each frame stands alone.
    """
    signature = lone.signature
    told: dict[str, Any] = {"constants": dict(onnx.get("constants", {}))}
    told |= {name: onnx[name] for name in ("states", "time_axis") if name in onnx}
    single = {**told, "shapes": {signature.x: _shape(signature)}}
    single.pop("time_axis", None)
    model, refusal = _read(path, signature.y, told)
    if model is None:
        model, _ = _read(path, signature.y, single)
        if model is not None and signature.time_axis is not None and not signature.states:
            lone.refusal = f"{as_options(refusal)} {HOW}"  # it is right for single frames alone
            return lone
        told = single
    if model is None or {op.code for op in model.program.ops} <= PLAIN:
        return None
    try:
        made = adapters.from_onnx_model(path, origin=origin, **told)
        made.remarks = lone.remarks
        return made
    except UNREADABLE as error:
        if [math.prod(one.shape) for one in model.inputs.values()] != [lone.input_size]:
            return None
        if signature.states or signature.time_axis is None:
            lone.refusal = f"{as_options(str(error))} {HOW}"
            return lone
        lone.oracle = model  # a file of whole sequences, which onnxruntime runs from their start
        return lone


def _read(path: Path, y: str, told: dict[str, Any]) -> tuple[Model | None, str]:
    """Return our Model with all outputs, else with this one alone, else None and why."""
    text = ""
    for outputs in (None, [y]):
        try:
            return load_model(path, outputs=outputs, **told), ""
        except UNREADABLE as error:
            text = text or str(error)
    return None, text


def is_more_than_an_lstm(path: str, onnx: dict[str, Any]) -> bool:
    """Say whether an ONNX file, read as the target is told to be, is a whole model."""
    try:
        return onnx_target(Path(path), onnx, "", True).layout is not None
    except (OSError, *UNREADABLE):
        return False


def whole_reference(target: Target, path: str) -> Any:
    """Return a file as the reference of a whole target; one in ONNX is read with its options."""
    if isinstance(target, adapters.OnnxModelTarget) and path.lower().endswith(".onnx"):
        return WholeReference(target.read_like(path), f"reference = target.read_like({path!r})")
    return path  # which the runner reads


def _shape(signature: Signature) -> tuple[int, ...]:
    return tuple(map(size_of, signature.x_shape))


def of_whole_target(target: Target) -> WholeReference | NoReference | None:
    """Return what a whole target should be, as far as it says so itself, or why nothing says it."""
    if isinstance(target, adapters.OnnxModelTarget):
        return target.as_reference()
    if isinstance(target, adapters.VadTarget):
        found: WholeReference = target.reference_for()
        return found
    if isinstance(target, adapters.ModelTarget):
        return WholeReference(target.model, "reference = target.model")
    if isinstance(target, adapters.OnnxTarget) and target.oracle is not None:
        return WholeReference(target.oracle, "reference = target.oracle")
    if isinstance(target, adapters.OnnxTarget) and target.refusal:
        return NoReference(target.refusal)
    return None
