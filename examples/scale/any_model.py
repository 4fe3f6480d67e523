"""One way to load an LSTM or a whole model, and to ask for its sizes."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import lstm_fast
from lstm_fast import LSTM, Model

AnyModel: TypeAlias = LSTM | Model
WHOLE = (".lfm", ".onnx", ".keras", ".nam")  # read by load_model; the others hold an LSTM


def load(path: str | None, rate: int = 16000, backend: str | None = None) -> AnyModel:
    """Load a model.

    Args:
        path: of a file; None is Silero VAD.
        rate: of Silero VAD, 16000 or 8000.
        backend: as of `load_model`.

    Raises:
        ValueError: it has more than one input or output, or they are no rows of numbers.
        OSError, LstmFastError: as `lstm_fast.load` and `load_model`.
    """
    if path is None:
        return lstm_fast.vad.silero(sampling_rate=rate, backend=backend)
    is_whole = Path(path).suffix.lower() in WHOLE
    model = (lstm_fast.load_model if is_whole else lstm_fast.load)(path, backend=backend)
    if isinstance(model, LSTM):
        return model
    given, made = [*model.inputs.values()], [*model.outputs.values()]
    if len(given) != 1 or len(made) != 1 or len(given[0].shape) != 1 or len(made[0].shape) != 1:
        raise ValueError(
            f"{path}: {model!r} is not scored here: one input (I,) and one output (P,) are"
        )
    return model


def sizes(model: AnyModel) -> tuple[int, int]:
    """Return I and P: how many numbers a step takes and returns."""
    if isinstance(model, LSTM):
        return model.input_size, model.output_size
    ((given,), (made,)) = ((*one.values(),) for one in (model.inputs, model.outputs))
    return int(given.shape[0]), int(made.shape[0])
