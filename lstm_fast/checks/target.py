"""What the checks look at: anything that gives sessions which are reset and stepped.

    class Mine(Target):                        # or one of the adapters, see lstm_fast.checks
        def session(self):
            return MySession()                 # with reset() and step(x) -> y

Sizes: I is input_size, P is output_size, H the units, L the layers, T steps, n sessions. h is
(L, P) with a projection, else (L, H); c is (L, H).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from .._arrays import Float32
from ..errors import LstmFastError
from .probes import Frames, uniform

if TYPE_CHECKING:
    from .layout import Layout

__all__ = [
    "BatchSession",
    "NoTargetError",
    "Recording",
    "Session",
    "State",
    "Target",
    "TargetError",
    "check_target",
    "open_batch",
    "open_session",
    "record",
    "reset",
    "shown",
    "state_of",
    "step",
    "theirs",
    "told",
]

LARGEST_FRAME = 1 << 24  # values; a program that says more is not given the memory
EXAMPLE = """\
from lstm_fast.checks import adapters


def {function}():  # {session}: the class, which has reset() and step(x)
    return adapters.from_sessions({session}, input_size=40)  # 40: the values in a frame
"""
State: TypeAlias = tuple[Float32, Float32]  # h (L, P) and c (L, H)
NamedState: TypeAlias = dict[str, Float32]  # of a whole model, in shapes of its own


class TargetError(LstmFastError):
    """What is checked cannot be run: its program died, its output has no sense, a name is wrong.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import checks
        >>> mine = checks.adapters.from_function(lambda x, h, c: h, 3, 4)
        >>> try:
        ...     checks.record(mine, np.zeros((5, 3)))
        ... except checks.TargetError as error:
        ...     print(error)
        the function returned ndarray, expected a tuple (y, h, c)
    """


class NoTargetError(TargetError, TypeError):
    """What was given is not a target yet; below the text is a factory that makes one."""

    def __init__(self, text: str, session: str = "MySession", function: str = "make") -> None:
        """Take a text, the name of the class of sessions, and that of the factory."""
        super().__init__(text)
        self.example = EXAMPLE.format(session=session, function=function)

    def __str__(self) -> str:
        return f"{self.args[0]}. This works:\n\n{self.example}"


@runtime_checkable
class Session(Protocol):
    """One stream.

    What is optional is found by `getattr`:
    `state`: a property, (h, c) of shapes (L, P) and (L, H), or a mapping of names to arrays of
    any shape, or None where it can't be seen;
    `run(xs)`: (T, I) to (T, P), several frames at once, where it has a way of its own for that.
    `close()`: frees what it holds.

    Example:
        >>> class Last:  # no base class is needed
        ...     def reset(self): ...
        ...     def step(self, x):
        ...         return x
        >>> isinstance(Last(), Session)
        True
    """

    def reset(self) -> None:
        """Go back to what a new session is."""

    def step(self, x: Float32, /) -> Any:
        """Take one frame (I,) and return the output (P,), as anything `np.asarray` takes."""


@runtime_checkable
class BatchSession(Protocol):
    """Several streams that are stepped together, one row each.

    Example:
        >>> class Lasts:
        ...     def reset(self): ...
        ...     def step(self, xs):
        ...         return xs
        >>> isinstance(Lasts(), BatchSession)
        True
    """

    def reset(self) -> None:
        """Reset all of them."""

    def step(self, xs: Float32, /) -> Any:
        """Take a frame each, (n, I), and return the outputs (n, P)."""


class Target(ABC):
    """An implementation under check: what makes sessions.

    Attributes:
        name: what to call it in a report.
        input_size: I, the values in a frame.
        output_size: P, the values that one step returns; None where that is not known before.
        origin: Python that makes it again, with `target` as the name: the head of a reproduction.
        threads: whether sessions of their own may be stepped in several threads at once.
        exact: whether it promises that batches and chunks have the bits of single steps.
        remarks: what is doubtful about it, for the verdict of a report.
        layout: of a whole model, which value is where in frames and outputs; None: of an LSTM.
        has_memory: whether anything is kept from step to step.

    Example:
        >>> from lstm_fast import LSTM, checks
        >>> lstm = LSTM.random(3, 4)
        >>> class Mine(checks.Target):
        ...     input_size = 3
        ...     def session(self):
        ...         return lstm.stream()  # yours, with reset() and step(x)
        >>> checks.reset(Mine()).status
        'passed'
    """

    name: str = "target"
    input_size: int
    output_size: int | None = None
    origin: str | None = None
    threads: bool = True
    exact: bool = False
    remarks: tuple[str, ...] = ()
    layout: Layout | None = None
    has_memory: bool = True

    @property
    def holds_floats(self) -> bool:
        """Whether a frame can hold NaN."""
        return self.layout is None or self.layout.holds_floats

    def drawn(self, steps: int, seed: int, scale: float) -> Frames:
        """Return frames to check it with, (steps, I), within +-scale."""
        return uniform(steps, self.input_size, seed, scale)

    @abstractmethod
    def session(self) -> Session:
        """Return a new, independent stream, as it is after a reset."""

    def batch(self, n: int) -> BatchSession | None:
        """Return n new streams that are stepped together, or None where there is no such thing."""
        return None

    def close(self) -> None:  # noqa: B027 - most have nothing to free
        """Free what it holds."""

    def __enter__(self) -> Target:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@dataclass(frozen=True)
class Recording:
    """What a session did from its start on.

    xs (T, I) and ys (T, P) are the frames and the outputs; hs (T, L, P) and cs (T, L, H) the state
    after each step, or None where it can't be seen. float32. name: of the target. states: of a
    whole model, the state by name after each step, (T, ...) each, or None.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM, checks
        >>> target = checks.adapters.from_lstm(LSTM.random(3, 4))
        >>> found = checks.record(target, np.zeros((5, 3)))
        >>> found.ys.shape, found.cs.shape  # outputs, and c of each layer
        ((5, 4), (5, 1, 4))
    """

    xs: Float32
    ys: Float32
    hs: Float32 | None = None
    cs: Float32 | None = None
    name: str = "target"
    states: Mapping[str, Float32] | None = None

    def __len__(self) -> int:
        return len(self.xs)

    @property
    def has_state(self) -> bool:
        """Whether h and c were seen."""
        return self.hs is not None and self.cs is not None

    @classmethod
    def of(cls, xs: Float32, ys: Float32, seen: list[Any], name: str = "target") -> Recording:
        """Return one of frames, outputs and what was `shown` after each step."""
        named = [one for one in seen if isinstance(one, dict)]
        states = None
        if (
            named
            and len(named) == len(seen)
            and all(one.keys() == named[0].keys() for one in named)
        ):
            states = {key: _stacked([one[key] for one in named], None) for key in named[0]}
        hs, cs = _columns([one if isinstance(one, tuple) else None for one in seen])
        return cls(xs, ys, hs, cs, name, states)


def check_target(target: Any) -> None:
    """Refuse what is not a target.

    Raises:
        TypeError: it is none, or does not say its input_size.
        TargetError: asking for its input_size raised something, or it is more than 2^24.
    """
    if not isinstance(target, Target):
        raise TypeError(
            f"expected a checks.Target, found {type(target).__name__}: checks.adapters makes one "
            "of it, with from_torch, from_lstm, from_sessions, ..."
        )
    with theirs("input_size"):
        size = getattr(target, "input_size", None)
    if not isinstance(size, (int, np.integer)) or size < 1:
        raise TypeError(f"{target.name}.input_size must be the values in a frame, found {size!r}")
    if size > LARGEST_FRAME:
        raise TargetError(f"{target.name} takes {size} values per frame, more than {LARGEST_FRAME}")


@contextmanager
def theirs(what: str) -> Iterator[None]:
    """Run code of a target: whatever it raises is a TargetError that says what was called.

    That goes for what is not an Exception as well, such as the SystemExit of `sys.exit()` or the
    panic of a library in Rust; only the KeyboardInterrupt of a user stays what it is.

    NumPy says nothing of NaN in it: the checks give it NaN, on purpose.
    """
    try:
        with np.errstate(all="ignore"):
            yield
    except (TargetError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        raise TargetError(f"{what} raised {told(error)}") from error


def told(error: BaseException) -> str:
    """Return an error's kind and text; of one that has no text, its kind alone."""
    kind, text = type(error).__name__, str(error).strip()
    return f"{kind}: {text}" if text else kind


def open_session(target: Target) -> Session:
    """Return a new session.

    Raises:
        TargetError: it raised something.
    """
    with theirs("session()"):
        return target.session()


def open_batch(target: Target, n: int) -> BatchSession | None:
    """Return n new sessions that are stepped together, or None where there is no such thing.

    Raises:
        TargetError: it raised something.
    """
    with theirs(f"batch({n})"):
        return target.batch(n)


def reset(session: Session | BatchSession) -> None:
    """Reset a session, or all of a batch.

    Raises:
        TargetError: it raised something.
    """
    with theirs("reset()"):
        session.reset()


def step(session: Session, x: Float32, output_size: int | None = None) -> Float32:
    """Return a copy of what a session gives for one frame, (P,), float32.

    The session gets a copy of x, so that one which writes into its input spoils no other.

    Raises:
        TargetError: it raised something, or returned no P real numbers.
    """
    with theirs("step(x)"):
        y = session.step(np.array(x, np.float32))
    return to_array(y, "step(x)", (output_size,))


def to_array(value: Any, what: str, shape: tuple[int | None, ...] | None) -> Float32:
    """Return a copy of what a target returned, as float32; a None in shape, or as one, is any.

    Raises:
        TargetError: it has another shape, or is not an array of real numbers.
    """
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            raise TypeError(f"dtype {array.dtype}")
    except Exception as error:  # it is theirs: its __array__ may raise anything
        raise TargetError(f"{what} returned no array of real numbers: {error}") from error
    if shape is not None and (
        len(array.shape) != len(shape)
        or any(
            want is not None and have != want for have, want in zip(array.shape, shape, strict=True)
        )
    ):
        text = ", ".join("any" if size is None else str(size) for size in shape)
        raise TargetError(f"{what} returned shape {array.shape}, expected ({text})")
    with np.errstate(over="ignore"):
        return np.array(array, np.float32)


def state_of(session: Session) -> State | None:
    """Return copies of h (L, P) and c (L, H), or None where the session does not show them.

    Raises:
        TargetError: what it shows is neither such a pair nor a mapping.
    """
    state = shown(session)
    return state if isinstance(state, tuple) else None


def shown(session: Session) -> State | NamedState | None:
    """Return copies of a state as `state_of`, or by name where a session shows a mapping.

    Raises:
        TargetError: what it shows is not such a thing.
    """
    with theirs("state"):
        state = getattr(session, "state", None)
    if state is None:
        return None
    if isinstance(state, Mapping):
        return {str(name): to_array(one, f"state[{name!r}]", None) for name, one in state.items()}
    try:
        h, c = state
    except (TypeError, ValueError):
        raise TargetError(f"state is {type(state).__name__}, expected a pair (h, c)") from None
    return to_array(h, "state[0], h,", (None, None)), to_array(c, "state[1], c,", (None, None))


def record(target: Target | Session, xs: Any, *, name: str | None = None) -> Recording:
    """Step a new session of a target, or a session from where it is, over xs, and write all down.

    Args:
        target: either of them.
        xs: frames, shape (T, I).
        name: of the recording; None takes the target's.

    Raises:
        TargetError: see `step` and `state_of`.

    Example:
        >>> import numpy as np
        >>> from lstm_fast import LSTM, checks
        >>> lstm, xs = LSTM.random(3, 4), np.ones((5, 3), np.float32)
        >>> found = record(checks.adapters.from_lstm(lstm), xs)
        >>> bool((found.ys == lstm.stream().run(xs)).all())
        True
    """
    session = open_session(target) if isinstance(target, Target) else target
    size = target.output_size if isinstance(target, Target) else None
    frames = np.ascontiguousarray(xs, np.float32)
    ys, states = [], []
    try:
        for x in frames:
            ys.append(step(session, x, size))
            states.append(shown(session))
    finally:
        if isinstance(target, Target):
            close(session)
    title = name or str(getattr(target, "name", "target"))
    return Recording.of(frames, _stacked(ys, size), states, title)


def close(session: object) -> None:
    """Free a session or a batch, where it has anything to free.

    Raises:
        TargetError: it raised something.
    """
    with theirs("close()"):
        closing = getattr(session, "close", None)
        if callable(closing):
            closing()


def _stacked(rows: list[Float32], size: int | None) -> Float32:
    if not rows:
        return np.zeros((0, size or 0), np.float32)
    if len({row.shape for row in rows}) > 1:
        raise TargetError("step(x) returned different shapes from step to step")
    return np.stack(rows)


def _columns(states: Iterable[State | None]) -> tuple[Float32 | None, Float32 | None]:
    """Return hs and cs of the states after each step, or nothing where one is missing."""
    seen = [state for state in states if state is not None]
    if not seen or len(seen) != len(list(states)):
        return None, None
    hs, cs = zip(*seen, strict=True)
    return _stacked(list(hs), None), _stacked(list(cs), None)
