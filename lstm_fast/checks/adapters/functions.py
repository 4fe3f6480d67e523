"""Functions as targets: in Python with the state handed through, in C, or makers of sessions."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np

from ..._arrays import Float32
from ..target import NoTargetError, Session, State, Target, TargetError, to_array

__all__ = ["from_c", "from_function", "from_sessions"]

Function = Callable[[Float32, Float32, Float32], Any]
POINTER = ctypes.POINTER(ctypes.c_float)
C_FUNCTION: Any = type(ctypes.CFUNCTYPE(None)()).__mro__[1]  # of all of ctypes' functions
SIGNATURE = ctypes.CFUNCTYPE(None, POINTER, POINTER, POINTER, POINTER)


def from_sessions(
    make: Callable[[], Session],
    input_size: int | None = None,
    output_size: int | None = None,
    *,
    name: str = "sessions",
    origin: str | None = None,
    threads: bool = True,
) -> Target:
    """Return a target of a function that returns a new session: reset(), step(x), maybe `state`.

    Args:
        make: called for each session.
        input_size: I, the values in a frame; always needed.
        output_size: P, the values that a step returns; None leaves it open.
        name: for the report.
        origin: Python that makes the target again, for reproductions.
        threads: whether sessions may run in threads of their own.

    Raises:
        TargetError: input_size is not given; the text shows what to write.

    Example:
        >>> from lstm_fast import LSTM
        >>> lstm = LSTM.random(3, 4)
        >>> target = from_sessions(lstm.stream, 3, 4)  # a stream has reset() and step(x)
        >>> target.session().step([0.0] * 3).shape
        (4,)
    """
    if input_size is None:
        raise NoTargetError("from_sessions needs the values in a frame, input_size")
    return _Sessions(make, input_size, output_size, name, origin, threads)


class _Sessions(Target):
    def __init__(
        self,
        make: Callable[[], Session],
        input_size: int,
        output_size: int | None,
        name: str,
        origin: str | None,
        threads: bool,
    ) -> None:
        self._make, self.threads = make, threads
        self.input_size, self.output_size = input_size, output_size
        self.name, self.origin = name, origin

    def session(self) -> Session:
        return self._make()


def from_function(
    function: Function,
    input_size: int,
    hidden_size: int,
    *,
    num_layers: int = 1,
    proj_size: int = 0,
    initial: tuple[Any, Any] | None = None,
    name: str | None = None,
    origin: str | None = None,
    threads: bool = True,
) -> Target:
    """Return a target of a Python function of one step.

    Args:
        function: (x, h, c) -> (y, h, c). x is (I,), h (L, P), c (L, H), float32, copies that it may
            change; for one layer it may also return h and c as (P,) and (H,).
        input_size: I, the values in a frame.
        hidden_size: H, the units.
        num_layers: L.
        proj_size: P where it is not H, else 0.
        initial: (h, c) of a new session and after a reset; None is zeros.
        name: for the report.
        origin: Python that makes the target again, for reproductions.
        threads: whether sessions may run in threads of their own.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM, reference
        >>> lstm = LSTM.random(3, 4)
        >>> w = lstm.state_dict()
        >>> def step(x, h, c):
        ...     names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        ...     h, c = reference.cell(x, h, c, *(w[name] for name in names))
        ...     return h, h, c
        >>> from_function(step, 3, 4).input_size
        3
    """
    width = proj_size or hidden_size
    shapes = (num_layers, width), (num_layers, hidden_size)
    start: State = (np.zeros(shapes[0], np.float32), np.zeros(shapes[1], np.float32))
    if initial is not None:
        h, c = (np.array(part, np.float32) for part in initial)
        start = (h.reshape(shapes[0]), c.reshape(shapes[1]))

    def make() -> Session:
        return _FunctionSession(function, start)

    title = name or str(getattr(function, "__name__", "function"))
    return _Sessions(make, input_size, None, title, origin, threads)


class _FunctionSession:
    """Carries h and c from call to call."""

    def __init__(self, function: Function, start: State) -> None:
        self._function, self._start = function, start
        self.reset()

    def reset(self) -> None:
        self._h, self._c = (part.copy() for part in self._start)

    @property
    def state(self) -> State:
        return self._h.copy(), self._c.copy()

    @state.setter
    def state(self, state: State) -> None:
        self._h, self._c = (np.array(part, np.float32) for part in state)

    def step(self, x: Float32, /) -> Any:
        result = self._function(x, self._h.copy(), self._c.copy())
        try:
            y, h, c = result
        except (TypeError, ValueError):
            raise TargetError(
                f"the function returned {type(result).__name__}, expected a tuple (y, h, c)"
            ) from None
        self._h = _fitting(h, "h", self._h.shape)
        self._c = _fitting(c, "c", self._c.shape)
        return y


def _fitting(value: Any, name: str, shape: tuple[int, ...]) -> Float32:
    array = np.asarray(value)
    if array.shape == shape[1:] and shape[0] == 1:
        array = array[None]
    return to_array(array, f"the function, as {name},", shape)


def from_c(
    function: Any,
    input_size: int,
    hidden_size: int,
    output_size: int | None = None,
    *,
    num_layers: int = 1,
    proj_size: int = 0,
    initial: tuple[Any, Any] | None = None,
    name: str = "C function",
    origin: str | None = None,
    threads: bool = True,
) -> Target:
    """Return a target of a C function of one step.

        void step(const float *x,  /* [I]: the frame */
                  float *h,        /* [L][P]: in, the state; out, the new one */
                  float *c,        /* [L][H]: likewise */
                  float *y);       /* [P]: the output */

    The four never overlap, are aligned to 64 bytes, and belong to the caller. After them, and
    before x, h, c and y, lie 16 floats that must not change: what writes beyond an end is told.

    Args:
        function: its address as an int, a function of a `ctypes.CDLL`, or a cffi function pointer.
        input_size: I, the values in a frame.
        hidden_size: H, the units.
        num_layers: L.
        proj_size: P where it is not H, else 0.
        output_size: of y; None is P.
        initial: (h, c) of a new session and after a reset; None is zeros.
        name: for the report.
        origin: Python that makes the target again, for reproductions.
        threads: whether sessions may run in threads of their own.

    Raises:
        TypeError: function is none of these.

    Example:
        >>> import ctypes
        >>> import numpy as np
        >>> pointer = ctypes.POINTER(ctypes.c_float)
        >>> @ctypes.CFUNCTYPE(None, pointer, pointer, pointer, pointer)
        ... def step(x, h, c, y):  # or ctypes.CDLL("./port.so").step
        ...     y[0] = x[0] + x[1]
        >>> from_c(step, input_size=2, hidden_size=1).session().step(np.ones(2, np.float32))
        array([2.], dtype=float32)
    """
    call = SIGNATURE(_address(function))
    outputs = output_size or proj_size or hidden_size

    def one_step(x: Float32, h: Float32, c: Float32) -> tuple[Float32, Float32, Float32]:
        y = np.zeros(outputs, np.float32)
        guarded = [_Guarded(part) for part in (x, h, c, y)]
        call(*(part.values.ctypes.data_as(POINTER) for part in guarded))
        for part, letter in zip(guarded, "xhcy", strict=True):
            part.check(letter)
        if guarded[0].values.tobytes() != x.tobytes():
            raise TargetError("the C function wrote into x, which is const")
        return guarded[3].values, guarded[1].values, guarded[2].values

    target = from_function(
        one_step,
        input_size,
        hidden_size,
        num_layers=num_layers,
        proj_size=proj_size,
        initial=initial,
        name=name,
        origin=origin,
        threads=threads,
    )
    target.output_size = outputs
    return target


class _Guarded:
    """A copy of an array, aligned, with a pattern before and behind it."""

    ROOM = 16  # floats, 64 bytes
    PATTERN = np.float32(-1.2345e30)

    def __init__(self, array: Float32) -> None:
        whole = np.full(array.size + 3 * self.ROOM, self.PATTERN, np.float32)
        skip = (-whole.ctypes.data % 64) // 4
        self._whole = whole[skip : skip + array.size + 2 * self.ROOM]
        self.values = self._whole[self.ROOM : -self.ROOM].reshape(array.shape)
        self.values[...] = array

    def check(self, letter: str) -> None:
        ends = np.concatenate([self._whole[: self.ROOM], self._whole[-self.ROOM :]])
        if (ends != self.PATTERN).any():
            raise TargetError(
                f"the C function wrote outside of {letter}, which has {self.values.size} floats"
            )


def _address(function: Any) -> int:
    if isinstance(function, int) and not isinstance(function, bool):
        address = function
    elif isinstance(function, C_FUNCTION):
        address = ctypes.cast(function, ctypes.c_void_p).value or 0
    elif type(function).__module__.startswith("_cffi"):
        import cffi

        address = int(cffi.FFI().cast("uintptr_t", function))
    else:
        raise TypeError(
            "expected an address, a function of ctypes.CDLL or a cffi function pointer, found "
            f"{type(function).__name__}"
        )
    if address == 0:
        raise TypeError("the address of the function is NULL")
    return address
