"""A live call of a `FrameBatcher`, the frames that it has sent, and what can go wrong with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from ..tracing import TracedSession
    from .batcher import FrameBatcher

__all__ = ["Answer", "ClosedError", "OverloadedError", "Post", "Session", "StepFailedError"]

Receive: TypeAlias = "Callable[[Any, Exception | None], None]"


class OverloadedError(RuntimeError):
    """There is no room for the frame, or its session is too far behind. It was not taken.

    Example:
        >>> import asyncio
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> async def main(x):
        ...     async with FrameBatcher(LSTM.random(3, 4).pool(10), max_per_session=2) as batcher:
        ...         async with batcher.session() as call:
        ...             try:
        ...                 answers = [call.submit(x) for _ in range(3)]
        ...             except OverloadedError as error:  # slow down, or drop this frame
        ...                 print(error)
        >>> asyncio.run(main(np.zeros(3, np.float32)))
        2 frames of this session are unanswered
    """


class ClosedError(RuntimeError):
    """The session or the service is closed. The frame was not taken.

    Example:
        >>> import asyncio
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> async def main(x):
        ...     async with FrameBatcher(LSTM.random(3, 4).pool(10)) as batcher:
        ...         async with batcher.session() as call:
        ...             await call.step(x)
        ...         try:
        ...             await call.step(x)  # after the end
        ...         except ClosedError as error:
        ...             print(error)
        >>> asyncio.run(main(np.zeros(3, np.float32)))
        the session is closed
    """


class StepFailedError(RuntimeError):
    """The step that the frame was in has raised (see __cause__). No state has changed.

    But where the cause is not an `Exception`, such as Ctrl-C's: then the step may have been over.

    Example:
        >>> import asyncio
        >>> from unittest import mock  # to try what a service does then
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> async def main(pool):
        ...     async with FrameBatcher(pool) as batcher, batcher.session() as call:
        ...         with mock.patch.object(type(pool), "step", side_effect=MemoryError("no room")):
        ...             try:
        ...                 await call.step(np.zeros(3, np.float32))
        ...             except StepFailedError as error:
        ...                 print(repr(error.__cause__))
        >>> asyncio.run(main(LSTM.random(3, 4).pool(10)))
        MemoryError('no room')
    """


class Answer(asyncio.Future[Any]):
    """The output of a frame, to be awaited. Cancelling it withdraws the frame if in time.

    Example:
        >>> import asyncio
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> async def main():
        ...     async with FrameBatcher(LSTM.random(3, 4).pool(10)) as batcher:
        ...         async with batcher.session() as call:
        ...             first, second = (call.submit(np.zeros(3, np.float32)) for _ in range(2))
        ...             second.cancel()  # as if it had never been sent
        ...             return (await first).shape, call.unanswered
        >>> asyncio.run(main())
        ((4,), 0)
    """

    __slots__ = ("frame", "session")

    keeps = True  # what it is given
    session: Session
    frame: Any  # None once it was taken or withdrawn

    def cancel(self, msg: Any = None) -> bool:
        """Cancel as any future; a task that is cancelled does this to what it awaits."""
        if self.frame is not None:
            self.session.batcher.withdraw(self)
        return super().cancel(msg)

    def give(self, y: Any) -> None:
        """Take the output; a caller that cancelled too late is not told, and the step counts."""
        if not self.done():
            self.set_result(y)

    def refuse(self, error: Exception) -> None:
        """Take the reason why there is no output."""
        if not self.done():
            self.set_exception(error)


class Post:
    """A frame whose answer is given to a function: some 4 us less than a future costs."""

    __slots__ = ("frame", "receive", "session")

    keeps = False

    def __init__(self, session: Session, frame: Any, receive: Receive) -> None:
        self.session, self.frame, self.receive = session, frame, receive

    def give(self, y: Any) -> None:
        """Hand over the output."""
        self._call(y, None)

    def refuse(self, error: Exception) -> None:
        """Hand over the reason why there is no output."""
        self._call(None, error)

    def _call(self, y: Any, error: Exception | None) -> None:
        try:
            self.receive(y, error)
        except Exception as raised:  # of one caller, whom the others in the tick don't know
            self.session.batcher.complain(f"{self.receive!r} has raised", raised)


class Session:
    """A live call, made by `FrameBatcher.session`.

    Attributes:
        handle: what the pool knows it by.
        traced: the `TracedSession`, of a traced pool, for segments; None otherwise.
        closed: whether it has been left.

    Example:
        >>> import asyncio
        >>> import numpy as np
        >>> from lstm_fast import LSTM
        >>> async def main():
        ...     async with FrameBatcher(LSTM.random(3, 4).pool(10)) as batcher:
        ...         async with batcher.session() as call:
        ...             h = await call.step(np.zeros(3, np.float32))
        ...             return h.shape, call.unanswered
        >>> asyncio.run(main())
        ((4,), 0)
    """

    __slots__ = ("batcher", "closed", "frames", "handle", "stepping", "traced")

    def __init__(
        self, batcher: FrameBatcher, handle: int, traced: TracedSession | None = None
    ) -> None:
        self.batcher, self.handle, self.traced = batcher, handle, traced
        self.frames: list[Answer | Post] = []  # sent and not yet taken; those outside come last
        self.stepping = self.closed = False

    @property
    def unanswered(self) -> int:
        """How many frames have been sent and not been answered."""
        return len(self.frames) + self.stepping

    async def step(self, frame: Any) -> Any:
        """Advance by one frame, which must stay as it is meanwhile; return the output.

        Args:
            frame: (I,) float32 of an LSTM; of a whole model the array of its input, of that shape
                and dtype, or a mapping of names to arrays where it has several.

        Returns:
            h (H,) float32 of an LSTM; of a whole model as `ModelStream.step`.

        Raises:
            TypeError, ValueError: it is not such a frame.
            OverloadedError: too many frames of this session are unanswered.
            ClosedError: the session or the service is closed, or was before the frame was taken.
            StepFailedError: the step has failed.
        """
        return await self.batcher.send(self, frame, wait=True)

    def submit(self, frame: Any) -> Answer:
        """Do as `step`, but copy the frame, return at once, and never wait for room.

        Raises:
            TypeError, ValueError, ClosedError: as `step`.
            OverloadedError: also where there is no room.
        """
        return self.batcher.send(self, frame, wait=False)

    def post(self, frame: Any, receive: Receive) -> None:
        """Do as `submit`, for those who count microseconds: no future, and no copy.

        Args:
            frame: as of `step`; it must stay as it is until it is answered.
            receive: is called once, with the output and None, or with None and a `ClosedError` or
                `StepFailedError`, within the tick: the next one waits for it. The output is
                overwritten after that.

        Raises:
            As `submit`.
        """
        self.batcher.post(self, frame, receive)

    async def snapshot(self) -> bytes:
        """Return the state after all frames that were taken, as bytes: see `StreamPool.snapshot`.

        Frames that wait for a tick are not in it.

        Raises:
            ClosedError: the session is closed.
        """
        return (await self.batcher.snapshots([self]))[self]
