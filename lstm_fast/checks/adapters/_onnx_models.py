"""Which target a whole ONNX model is: one that carries its state, or one of whole sequences."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import FormatError
from ...formats._whole_models import load_model
from ..target import TargetError
from ._extras import needed
from ._known import known
from ._known import shapes as shapes_of
from ._onnx_sequences import OnnxSequencesTarget
from ._onnx_whole import OnnxModelTarget, own_states

__all__ = ["from_onnx_model"]


def from_onnx_model(
    model: str | os.PathLike[str],
    *,
    shapes: Mapping[str, Sequence[int]] | None = None,
    constants: Mapping[str, Any] | None = None,
    states: Mapping[str, str] | None = None,
    history: Mapping[str, int] | None = None,
    time_axis: int | Mapping[str, int] | None = None,
    threads: bool = True,
    session_options: Any = None,
    providers: Sequence[str] = ("CPUExecutionProvider",),
    name: str | None = None,
    origin: str | None = None,
) -> OnnxModelTarget:
    """Return a whole model in onnxruntime as a target, stepped as `lstm_fast.load_model` steps it.

    The state goes from outputs to inputs after each step, and so do the last values of an input
    with history; constants stay. What the model keeps by itself along a free time axis, as an LSTM
    or a causal convolution does, onnxruntime does not keep: then each step runs all frames since
    the reset. `target.oracle` is our Model of the same file, to compare it with:
    of Silero VAD that of `lstm_fast.vad.silero`, whatever the options say; of other files that with
    the states which are recognised, where they are.

    Args:
        model: the file.
        shapes: as of `lstm_fast.load_model`.
        constants: likewise.
        states: likewise.
        history: likewise.
        time_axis: likewise.
        threads: whether sessions may run in threads of their own (onnxruntime says they may).
        session_options: onnxruntime's; None is one thread.
        providers: onnxruntime's.
        name: for the report.
        origin: Python that makes the target again, for reproductions.

    Raises:
        TargetError: onnxruntime is missing or cannot load it; or it keeps something from step to
            step by itself and takes no whole sequences of any length, which alone would show that.
        OSError, FormatError, TypeError, ValueError: as `lstm_fast.load_model`.

    Example:
        >>> from lstm_fast import vad
        >>> options = {"shapes": {"input": (1, 576)}, "constants": {"sr": 16000}}
        >>> target = from_onnx_model(vad.silero_file(), **options, history={"input": 64})
        >>> target.input_size  # beside the 64 samples of the chunk before
        512
    """
    path = Path(model)
    options: dict[str, Any] = {
        "shapes": dict(shapes or {}),
        "constants": dict(constants or {}),
        "history": dict(history or {}),
    }
    if time_axis is not None:
        options["time_axis"] = time_axis
    with needed("onnxruntime"):
        import onnxruntime as ort
    if session_options is None:
        session_options = ort.SessionOptions()
        session_options.intra_op_num_threads = session_options.inter_op_num_threads = 1
        session_options.log_severity_level = 4  # what it raises says it
    try:
        runner = ort.InferenceSession(str(path), session_options, providers=list(providers))
    except Exception as error:  # onnxruntime raises many kinds
        raise TargetError(f"onnxruntime can't load {path}: {error}") from error
    try:
        described = load_model(path, states=states, **options)
    except (FormatError, ValueError) as error:
        if problem := _known_problem(runner, options):
            raise TargetError(f"{problem} ({error})") from error
        raise
    kind = OnnxSequencesTarget if own_states(described, states) else OnnxModelTarget
    target = kind(runner, path, described, options, states)
    target.name = name or f"{path.name} in onnxruntime {ort.__version__}"
    target.origin, target.threads = origin, threads
    return target


def _known_problem(runner: Any, options: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what was said wrongly of a model that is known, or nothing."""
    which, (inputs, _) = known(runner), shapes_of(runner)
    shape = options["shapes"].get("input")
    return "" if which is None else which.problem(inputs, options["constants"], shape)
