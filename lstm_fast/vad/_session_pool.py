"""Many callers, each with a rate and rules of its own, that are computed together."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import get_ident
from types import FrameType
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from .._handles import Handles, forked, in_use, repeated, stale, to_handles
from .._process import bookkeeping, is_over, process_number
from ..errors import SnapshotError
from ..model import Model
from ..snapshots import Snapshot
from ._chunks import Chunks, header_of
from ._events import SpeechEvents
from ._resampling import check_rate
from ._samples import to_samples
from ._session import (
    Heard,
    chunks_for,
    ended,
    heard_of,
    heard_until,
    known,
    packed,
    parts_of,
)

FORKED_NEXT = "reset or close it"
MOST_CHUNKS = 1 << 14  # of all sessions in one run: 32 MB


@dataclass(frozen=True, eq=False)
class _Session:
    chunks: Chunks
    events: SpeechEvents


class _Use(NamedTuple):
    """Who uses a session: process, thread and call; and whether that changes it."""

    process: int
    thread: int
    call: FrameType
    changes: bool


class SpeechPool:
    """Many sessions, each with its own rate and rules, that are computed together.

    Each has the same bits as a `SpeechStream` of its own, whoever else is in a call. Threads may
    call at the same time as long as no two use the same session. In a process that was forked while
    another thread was inside a call on a session, each call on that one raises `ForkedError` until
    it is reset or closed (docs/forks.md).

    Example:
        >>> import numpy as np
        >>> pool = SpeechPool(1000)
        >>> phone, room = pool.open(rate=8000), pool.open(rate=48000)
        >>> second = [np.zeros(rate, np.float32) for rate in (8000, 48000)]
        >>> [len(heard.probabilities) for heard in pool.push([phone, room], second)]  # of 32 ms
        [30, 30]
    """

    __slots__ = ("_busy", "_model", "_pool", "_rate", "_rules", "_sessions")

    def __init__(self, capacity: int, model: Model | None = None, **rules: Any) -> None:
        """Make room.

        Args:
            capacity: how many sessions can be open at once; `grow` adds to it.
            model: what `silero` returns, for 16 or 8 kHz; None: `silero()`.
            rules: thresholds and times where `open` says no others, see `SpeechEvents`.

        Raises:
            TypeError, ValueError: as `SpeechEvents` and `Model.pool`; or this is not such a model.
            As `silero`, where no model is given.
        """
        self._model, self._rate, size = known(model)
        self._rules = {"rate": self._rate, "size": size, **rules}
        SpeechEvents(**self._rules)
        self._pool = self._model.pool(capacity)
        self._sessions: dict[int, _Session] = {}
        # who uses them; pools notice it only where they compute
        self._busy: dict[int, _Use] = {}

    @property
    def model(self) -> Model:
        """The model whose sessions these are."""
        return self._model

    @property
    def capacity(self) -> int:
        """How many sessions can be open at once."""
        return self._pool.capacity

    def __len__(self) -> int:
        """How many sessions are open."""
        return len(self._sessions)

    def __contains__(self, handle: object) -> bool:
        """Say whether this is the handle of an open session."""
        return handle in self._sessions

    def handles(self) -> list[int]:
        """Return the handles of all open sessions, in the order in which they were opened."""
        return [*self._sessions]

    def grow(self, n: int) -> None:
        """Add room for n more sessions; errors as of `ModelPool.grow`."""
        self._pool.grow(n)

    def open(self, *, rate: int | None = None, **rules: Any) -> int:
        """Begin a session and return its handle.

        Args:
            rate: of the samples that come, see `Chunks`; None: the model's.
            rules: thresholds and times that are other than the pool's, see `SpeechEvents`.

        Raises:
            PoolFullError: as many sessions are open as the pool has room for.
            TypeError, ValueError: as `Chunks` and `SpeechEvents`.
        """
        session = self._session(self._rate if rate is None else rate, rules)
        handle = self._pool.open()
        self._sessions[handle] = session
        return handle

    def close(self, handle: int) -> None:
        """End a session, whatever is left of it: its handle is void from here on.

        Raises:
            StaleHandleError: handle names no open session of this pool.
            ConcurrentUseError: another thread is using the session.
        """
        with self._using([handle], anew=True):
            self._pool.close(handle)
            del self._sessions[handle]

    def rate(self, handle: int) -> int:
        """Return the rate of the samples that a session takes, Hz.

        Raises:
            StaleHandleError: handle names no open session of this pool.
        """
        return self._of(handle).chunks.rate

    def is_speaking(self, handle: int) -> bool:
        """Return whether a start was announced, and no end since.

        Raises:
            StaleHandleError: handle names no open session of this pool.
        """
        return self._of(handle).events.is_speaking

    def spoiled(self, handles: Handles | Sequence[int] | None = None) -> list[int]:
        """Return the handles of sessions that a NaN has spoiled; see `ModelPool.spoiled`."""
        keys = None if handles is None else to_handles(handles)
        return [int(handle) for handle in self._pool.spoiled(keys)]

    def push(self, handles: Handles | Sequence[int], samples: Sequence[Any]) -> list[Heard]:
        """Take the next samples of each of these sessions.

        Args:
            handles: of open sessions, none twice.
            samples: of each of them any number, see `Chunks.push`.

        Returns:
            What became of each one's, in the order of the handles.

        Raises:
            StaleHandleError: a handle names no open session of this pool.
            TypeError, ValueError: some cannot be samples, the text says whose; there are more or
                fewer than handles; or a handle is given twice. Nothing has changed, of any session.
            ConcurrentUseError: another thread is using one of the sessions.
            ForkedError: this process was forked while another thread was inside a call on one.
        """
        keys = [int(handle) for handle in to_handles(handles)]
        if len(samples) != len(keys):
            raise ValueError(
                f"there are samples for {len(samples)} sessions, and {len(keys)} handles"
            )
        given = [to_samples(one, f"samples[{at}]") for at, one in enumerate(samples)]
        with self._using(keys):
            return self._hear(keys, lambda at, chunks: chunks._take(given[at]))

    def flush(self, handles: Handles | Sequence[int]) -> list[Heard]:
        """End the audio of these sessions, and begin each anew: see `SpeechStream.flush`.

        Raises:
            As `push`.
        """
        keys = [int(handle) for handle in to_handles(handles)]
        with self._using(keys):
            sessions = [self._sessions[key] for key in keys]
            until = [heard_until(one.chunks, one.events) for one in sessions]
            heard = self._hear(keys, lambda at, chunks: chunks.flush())
            for key in keys:
                self._pool.reset(key)
            parts = zip(heard, sessions, until, strict=True)
            return [ended(one, session.events, seconds) for one, session, seconds in parts]

    def reset(self, handle: int) -> None:
        """Bring a session back to the start.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
        """
        with self._using([handle], anew=True):
            self._pool.reset(handle)
            self._sessions[handle].chunks.reset()
            self._sessions[handle].events.reset()

    def snapshot(self, handle: int) -> bytes:
        """Return all of a session as bytes, from which one of the same model continues anywhere.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
            ForkedError: as `push`.
        """
        with self._using([handle], changes=False):
            session = self._sessions[handle]
            return packed(self._pool.snapshot(handle), session.chunks, session.events)

    def restore(self, snapshot: Snapshot, **rules: Any) -> int:
        """Begin a session where a snapshot was taken, with its rate, and return its handle.

        Args:
            snapshot: by a pool or a stream of the same model; bytes, or a file, as of
                `ModelStream.restore`.
            rules: as of `open`; they are not part of a snapshot.

        Raises:
            SnapshotError: it is damaged, of another model, or in no regular file.
            TypeError, OSError: as `ModelStream.restore`.
            PoolFullError: as `open`.
        """
        of_model, of_chunks, of_events = parts_of(snapshot)
        rate = header_of(of_chunks)[0]
        try:
            check_rate(rate, self._rate)
        except ValueError as error:
            raise SnapshotError(f"the snapshot is none that lstm_fast wrote: {error}") from None
        session = self._session(rate, rules)
        session.chunks.restore(of_chunks)
        session.events.restore(of_events)
        handle = self._pool.restore(of_model)
        self._sessions[handle] = session
        return handle

    def __reduce__(self) -> NoReturn:
        raise TypeError("take a snapshot of each session and restore them in a new pool")

    def __repr__(self) -> str:
        return f"<SpeechPool of {self._model!r}: {len(self)} of {self.capacity} open>"

    def _session(self, rate: int, rules: dict[str, Any]) -> _Session:
        return _Session(chunks_for(self._model, rate), SpeechEvents(**{**self._rules, **rules}))

    def _of(self, handle: int) -> _Session:
        try:
            return self._sessions[handle]
        except KeyError:
            raise stale(handle, 0) from None

    @contextmanager
    def _using(
        self, keys: list[int], *, changes: bool = True, anew: bool = False
    ) -> Iterator[None]:
        """Have all these sessions to oneself, or none; as `Alone` and `Whole` have a stream.

        Args:
            keys: their handles.
            changes: whether they are changed meanwhile.
            anew: whether it does not matter what they were.

        Raises:
            StaleHandleError, ValueError, ConcurrentUseError, ForkedError: as `push`.
        """
        call = sys._getframe(2)  # of the public method
        mine = _Use(process_number.item(), get_ident(), call, changes)
        try:  # from before the marks on, so that they go with the exception of a signal handler
            with bookkeeping:
                for at, key in enumerate(keys):
                    if key not in self._sessions:
                        raise stale(key, at)
                    other = self._busy.get(key, mine)
                    is_left = other.process != mine.process and other.changes
                    goes_on = other.thread == mine.thread and not is_over(other.thread, other.call)
                    if is_left and not anew and not goes_on:
                        raise forked(key, at, FORKED_NEXT)
                    is_others = other.process == mine.process and other.thread != mine.thread
                    if is_others and not is_over(other.thread, other.call):
                        raise in_use(key, at)
                if len({*keys}) != len(keys):
                    raise repeated(np.array(keys, np.uint64), _second(keys))
                self._busy.update(dict.fromkeys(keys, mine))
            yield
        finally:
            with bookkeeping:
                for key in keys:
                    if self._busy.get(key) is mine:  # it is another's where this was left long ago
                        del self._busy[key]

    def _hear(self, keys: list[int], take: Any) -> list[Heard]:
        sessions = [self._sessions[key] for key in keys]
        kept = [one.chunks._buffers() for one in sessions]
        try:
            chunks = [take(at, one.chunks) for at, one in enumerate(sessions)]
            found = self._probabilities(keys, chunks)
        except BaseException:
            for one, buffers in zip(sessions, kept, strict=True):
                one.chunks._set_buffers(buffers)
            raise
        return [heard_of(one, session.events) for one, session in zip(found, sessions, strict=True)]

    def _probabilities(
        self, keys: list[int], chunks: list[NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        found = [np.empty(len(one), np.float32) for one in chunks]
        most = max(map(len, chunks), default=0)
        if not most:
            return found
        # In pieces, since one session with an hour must not have room for an hour made for all.
        piece = max(1, MOST_CHUNKS // len(keys))
        before = {} if most <= piece else {key: self._pool.state(key) for key in keys}
        try:
            for begin in range(0, most, piece):
                self._run_piece(keys, [one[begin : begin + piece] for one in chunks], found, begin)
        except BaseException:
            for key, state in before.items():
                self._pool.set_state(key, state)
            raise
        return found

    def _run_piece(
        self,
        keys: list[int],
        chunks: list[NDArray[np.float32]],
        found: list[NDArray[np.float32]],
        begin: int,
    ) -> None:
        """Run these chunks of each session, and write its probabilities from begin on."""
        busy = [at for at, one in enumerate(chunks) if len(one)]
        lengths = np.array([len(chunks[at]) for at in busy])
        frames = np.zeros((len(busy), lengths.max(), chunks[0].shape[1]), np.float32)
        for row, at in enumerate(busy):
            frames[row, : lengths[row]] = chunks[at]
        made = np.asarray(self._pool.run([keys[at] for at in busy], frames, lengths))
        for row, at in enumerate(busy):
            found[at][begin : begin + lengths[row]] = made[row, : lengths[row], 0]


def _second(keys: list[int]) -> int:
    """Return where a key stands that stood before."""
    return next(at for at, key in enumerate(keys) if key in keys[:at])
