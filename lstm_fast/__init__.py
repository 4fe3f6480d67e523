"""An LSTM that is stepped one frame at a time on a CPU.

    lstm = lstm_fast.LSTM.from_state_dict(weights)   # PyTorch's names and layout
    stream = lstm.stream()                           # one per live session
    y = stream.step(x)                               # one frame in, the hidden state out

See README.md for the promises, `LSTM`, `Stream` and `StreamPool` for the interface, and
`reference` for the equations in NumPy float64.
"""

from . import reference
from ._arrays import LSTMState
from ._backends import available
from .errors import (
    BackendUnavailableError,
    ConcurrentUseError,
    LstmFastError,
    PoolFullError,
    SnapshotError,
    StaleHandleError,
)
from .lstm import LSTM
from .pool import StreamPool
from .stream import Stream

__version__ = "0.1.0"

__all__ = [
    "LSTM",
    "BackendUnavailableError",
    "ConcurrentUseError",
    "LSTMState",
    "LstmFastError",
    "PoolFullError",
    "SnapshotError",
    "StaleHandleError",
    "Stream",
    "StreamPool",
    "available",
    "reference",
]
