"""What lstm_fast raises beyond `TypeError` and `ValueError`."""

from __future__ import annotations

__all__ = [
    "BackendUnavailableError",
    "ConcurrentUseError",
    "ForkedError",
    "FormatError",
    "FormatWarning",
    "LstmFastError",
    "PoolFullError",
    "SnapshotError",
    "StaleHandleError",
    "WeightsNotKeptError",
]


LONGEST_TEXT = 2000  # characters of an error


class LstmFastError(Exception):
    """Base of the errors that only lstm_fast raises.

    Example:
        >>> import lstm_fast
        >>> pool = lstm_fast.LSTM.random(3, 4).pool(1)
        >>> handle = pool.open()
        >>> for call in (pool.open, lambda: pool.close(handle + 1)):
        ...     try:
        ...         call()
        ...     except lstm_fast.LstmFastError as error:
        ...         print(type(error).__name__)
        PoolFullError
        StaleHandleError
    """


class ConcurrentUseError(LstmFastError, RuntimeError):
    """One session was used by two threads at once. Nothing has changed; each needs its own.

    Example:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> import numpy as np
        >>> import lstm_fast
        >>> lstm = lstm_fast.LSTM.random(3, 4)
        >>> def run(xs):
        ...     return lstm.stream().run(xs)  # a stream for each call, and not one for both threads
        >>> with ThreadPoolExecutor(2) as threads:
        ...     first, second = threads.map(run, np.ones((2, 10, 3), np.float32))
        >>> bool((first == second).all())
        True
    """


class ForkedError(LstmFastError, RuntimeError):
    """The process was forked while another thread was inside a call on this session.

    In the child its state is half of a step, and each call on it raises this until it is reset,
    given a state, or closed. In the parent, and for all other sessions, nothing is wrong.
    """


class BackendUnavailableError(LstmFastError, RuntimeError):
    """A backend was asked for by name that is not installed or does not run here.

    Example:
        >>> import lstm_fast
        >>> try:
        ...     lstm = lstm_fast.LSTM.random(3, 4, backend="numba")
        ... except lstm_fast.BackendUnavailableError:  # the extra is not installed
        ...     lstm = lstm_fast.LSTM.random(3, 4)  # on the best that there is
        >>> lstm.hidden_size
        4
    """


class StaleHandleError(LstmFastError, ValueError):
    """A handle names no open session of this pool. Nothing has changed, for any session.

    Example:
        >>> import lstm_fast
        >>> pool = lstm_fast.LSTM.random(3, 4).pool(1)
        >>> handle = pool.open()
        >>> pool.close(handle)
        >>> try:
        ...     pool.reset(handle)
        ... except lstm_fast.StaleHandleError:
        ...     print("closed")
        closed
    """


class PoolFullError(LstmFastError, RuntimeError):
    """As many sessions are open as the pool has room for; `StreamPool.grow` makes more.

    Example:
        >>> import lstm_fast
        >>> pool = lstm_fast.LSTM.random(3, 4).pool(1)
        >>> handle = pool.open()
        >>> try:
        ...     pool.open()
        ... except lstm_fast.PoolFullError:
        ...     pool.grow(1)
        >>> pool.capacity
        2
    """


class SnapshotError(LstmFastError, ValueError):
    """A snapshot is damaged, or belongs to other weights. Nothing was restored.

    Example:
        >>> import lstm_fast
        >>> data = lstm_fast.LSTM.random(3, 4, seed=0).stream().snapshot()
        >>> try:
        ...     lstm_fast.LSTM.random(3, 4, seed=1).stream().restore(data)
        ... except lstm_fast.SnapshotError:
        ...     print("of other weights")
        of other weights
    """


class WeightsNotKeptError(LstmFastError, RuntimeError):
    """An LSTM was asked for float32 weights that it neither kept nor can read again.

    Example:
        >>> import lstm_fast
        >>> weights = lstm_fast.LSTM.random(3, 4).state_dict()
        >>> small = lstm_fast.LSTM.from_state_dict(weights, weight_dtype="int8")
        >>> try:
        ...     small.state_dict()
        ... except lstm_fast.WeightsNotKeptError:
        ...     print("keep_weights=True keeps them")
        keep_weights=True keeps them
    """


class FormatError(LstmFastError, ValueError):
    """A file is damaged, cut short, of another format, or holds no LSTM that can be read.

    The text names the file and the part of it. It stays short and printable, whatever names a file
    has.

    Example:
        >>> import lstm_fast
        >>> try:
        ...     lstm_fast.load(b"not a model")  # or a path
        ... except lstm_fast.FormatError as error:
        ...     print(error)
        <bytes>: it is a text that begins with 'not a model': give a model
    """

    def __init__(self, *args: object) -> None:
        super().__init__(*(told(one) if isinstance(one, str) else one for one in args))


def told(text: str) -> str:
    """Return a text that is short, and in which nothing controls a terminal or a log's lines."""
    text = shortened(text)
    if text.isprintable():
        return text
    return shortened("".join(one if one.isprintable() else repr(one)[1:-1] for one in text))


def shortened(text: str) -> str:
    """Return a text of at most `LONGEST_TEXT` characters: its beginning and its end."""
    if len(text) <= LONGEST_TEXT:
        return text
    half = LONGEST_TEXT // 2 - 3
    return f"{text[:half]} ... {text[-half:]}"


class FormatWarning(UserWarning):
    """What a file leaves open was assumed, or what it asks for left out, so results may differ.

    `load` warns once, with all that there is to say of the LSTM; `formats.read` keeps the same
    texts in `Found.assumptions`.

    Example:
        >>> import io, warnings
        >>> import numpy as np
        >>> import lstm_fast
        >>> file = io.BytesIO()
        >>> np.savez(file, kernel=np.zeros((7, 16), np.float32))  # of TensorFlow 1
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("error", lstm_fast.FormatWarning)  # nothing may be assumed
        ...     try:
        ...         lstm_fast.load(file.getvalue(), forget_bias=1.0)
        ...     except lstm_fast.FormatWarning as warning:
        ...         print(warning)
        <bytes>: ...taken are activation tanh, no cell_clip; ...
    """
