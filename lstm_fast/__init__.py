"""An LSTM that is stepped one frame at a time on a CPU.

    lstm = lstm_fast.load("model.onnx")              # or LSTM.from_state_dict(weights)
    stream = lstm.stream()                           # one per live session
    y = stream.step(x)                               # one frame in, the hidden state out

`load_model` reads a whole model, of which an LSTM is a part; `vad.silero` is Silero VAD. See
README.md for the promises, `LSTM`, `Stream`, `StreamPool` and `Model` for the interface, and
`reference` and `reference_operations` for the equations in NumPy float64.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import formats, reference
from ._arrays import LSTMState
from ._backends import available
from ._version import __version__ as __version__
from .cell import Activation, Cell
from .errors import (
    BackendUnavailableError,
    ConcurrentUseError,
    ForkedError,
    FormatError,
    FormatWarning,
    LstmFastError,
    PoolFullError,
    SnapshotError,
    StaleHandleError,
    WeightsNotKeptError,
)
from .formats import load
from .formats._whole_models import load_model
from .lstm import LSTM
from .model import Model
from .model_pool import ModelPool
from .model_stream import ModelStream
from .pool import StreamPool
from .stream import Stream

if TYPE_CHECKING:
    from . import vad as vad

__all__ = [
    "LSTM",
    "Activation",
    "BackendUnavailableError",
    "Cell",
    "ConcurrentUseError",
    "ForkedError",
    "FormatError",
    "FormatWarning",
    "LSTMState",
    "LstmFastError",
    "Model",
    "ModelPool",
    "ModelStream",
    "PoolFullError",
    "SnapshotError",
    "StaleHandleError",
    "Stream",
    "StreamPool",
    "WeightsNotKeptError",
    "available",
    "formats",
    "load",
    "load_model",
    "reference",
]


def __getattr__(name: str) -> Any:
    if name == "vad":  # which few need, so it is imported when it is first used
        return importlib.import_module(".vad", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
