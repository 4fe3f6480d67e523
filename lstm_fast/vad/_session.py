"""Callers as they are: audio of any rate in pieces of any size, and what is said about it.

`SpeechStream` is one session, `SpeechPool` many that are computed together. What a session is made
of (the audio that is no whole chunk yet, the model's state, and whether somebody is speaking) is in
one snapshot.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .._handles import Handles, stale, to_handles
from ..errors import SnapshotError
from ..model import Model
from ._chunks import HEADER, Chunks
from ._events import SpeechEvent, SpeechEvents
from ._samples import to_samples
from ._silero import CHUNKS, silero

MAGIC = b"LFSPEECH"
PARTS = struct.Struct("<8s3I")  # magic, bytes of each of the three snapshots
CHECKSUM_BYTES = 32


@dataclass(frozen=True, eq=False)
class Heard:
    """What became of the audio that a session was given.

    probabilities: of speech, of each chunk that was completed, shape (chunks,), float32.
    events: what they decided, in the order of time.
    """

    probabilities: NDArray[np.float32]
    events: list[SpeechEvent]


class SpeechStream:
    """One session: audio in, probabilities and events out.

    It belongs to one thread at a time: a second caller gets `ConcurrentUseError`. A call that
    raises has changed nothing.
    """

    __slots__ = ("_chunks", "_events", "_model", "_stream")

    def __init__(
        self, model: Model | None = None, *, rate: int | None = None, **rules: Any
    ) -> None:
        """Begin in silence.

        Args:
            model: what `silero` returns, for 16 or 8 kHz; None: `silero()`.
            rate: of the samples that come, see `Chunks`; None: the model's.
            rules: thresholds and times, see `SpeechEvents`.

        Raises:
            TypeError, ValueError: as `Chunks` and `SpeechEvents`; or this is no such model.
            As `silero`, where no model is given.
        """
        self._model, model_rate, size = _known(model)
        self._chunks = _chunks(self._model, model_rate if rate is None else rate)
        self._events = SpeechEvents(rate=model_rate, size=size, **rules)
        self._stream = self._model.stream()

    @property
    def model(self) -> Model:
        """The model that this is a session of."""
        return self._model

    @property
    def rate(self) -> int:
        """The rate of the samples that come, Hz."""
        return self._chunks.rate

    @property
    def is_speaking(self) -> bool:
        """Whether a start was announced, and no end since."""
        return self._events.is_speaking

    @property
    def is_finite(self) -> bool:
        """Whether no value of the model's state is NaN or infinite; else only a reset helps."""
        return self._stream.is_finite

    def push(self, samples: Any) -> Heard:
        """Take the next samples.

        Args:
            samples: any number of them, see `Chunks.push`.

        Raises:
            TypeError, ValueError: these cannot be samples.
            ConcurrentUseError: another thread is using this stream.
        """
        return self._hear(lambda: self._chunks.push(samples))

    def flush(self) -> Heard:
        """End the audio: take what is left, filled up with zeros, end what goes on; begin anew.

        Raises:
            ConcurrentUseError: another thread is using this stream.
        """
        heard = self._hear(self._chunks.flush)
        heard.events.extend(self._events.finish())
        self._stream.reset()
        return heard

    def reset(self) -> None:
        """Go back to the start.

        Raises:
            ConcurrentUseError: another thread is using this stream.
        """
        self._stream.reset()
        self._chunks.reset()
        self._events.reset()

    def snapshot(self) -> bytes:
        """Return all of the session as bytes, from which one of the same model and rate continues.

        Raises:
            ConcurrentUseError: another thread is using this stream.
        """
        return _packed(self._stream.snapshot(), self._chunks, self._events)

    def restore(self, snapshot: bytes) -> None:
        """Continue where a snapshot was taken, by a stream or a pool; the rules are this one's own.

        Raises:
            TypeError: it is no bytes.
            SnapshotError: it is damaged, or of another model or rate. Nothing has changed.
            ConcurrentUseError: another thread is using this stream.
        """
        of_model, of_chunks, of_events = _parts(snapshot)
        chunks, events = _chunks(self._model, self.rate), self._events.fresh()
        chunks.restore(of_chunks)
        events.restore(of_events)
        self._stream.restore(of_model)
        self._chunks, self._events = chunks, events

    def _hear(self, take: Any) -> Heard:
        kept = self._chunks._buffers()
        try:
            chunks = take()
            found = np.asarray(self._stream.run(chunks))[:, 0] if len(chunks) else NOTHING
        except BaseException:
            self._chunks._set_buffers(kept)
            raise
        return _heard(found, self._events)

    def __reduce__(self) -> NoReturn:
        raise TypeError("take a snapshot, and restore it in a SpeechStream of the same model")

    def __repr__(self) -> str:
        return f"<SpeechStream of {self._model!r} at {self.rate} Hz>"


@dataclass(frozen=True, eq=False)
class _Session:
    chunks: Chunks
    events: SpeechEvents


class SpeechPool:
    """Many sessions, each with its own rate and rules, that are computed together.

    Each has the same bits as a `SpeechStream` of its own, whoever else is in a call. Threads may
    call at the same time as long as no two use the same session.
    """

    __slots__ = ("_model", "_pool", "_rate", "_rules", "_sessions")

    def __init__(self, capacity: int, model: Model | None = None, **rules: Any) -> None:
        """Make room.

        Args:
            capacity: how many sessions can be open at once; `grow` adds to it.
            model: what `silero` returns, for 16 or 8 kHz; None: `silero()`.
            rules: thresholds and times where `open` says no others, see `SpeechEvents`.

        Raises:
            TypeError, ValueError: as `SpeechEvents` and `Model.pool`; or this is no such model.
            As `silero`, where no model is given.
        """
        self._model, self._rate, size = _known(model)
        self._rules = {"rate": self._rate, "size": size, **rules}
        SpeechEvents(**self._rules)
        self._pool = self._model.pool(capacity)
        self._sessions: dict[int, _Session] = {}

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
                fewer than handles; or a handle stands twice. Nothing has changed, of any session.
            ConcurrentUseError: another thread is using one of the sessions.
        """
        keys = [int(handle) for handle in to_handles(handles)]
        if len(samples) != len(keys):
            raise ValueError(
                f"there are samples for {len(samples)} sessions, and {len(keys)} handles"
            )
        given = [to_samples(one, f"samples[{at}]") for at, one in enumerate(samples)]
        return self._hear(keys, lambda at, chunks: chunks.push(given[at]))

    def flush(self, handles: Handles | Sequence[int]) -> list[Heard]:
        """End the audio of these sessions, and begin each anew: see `SpeechStream.flush`.

        Raises:
            As `push`.
        """
        keys = [int(handle) for handle in to_handles(handles)]
        heard = self._hear(keys, lambda at, chunks: chunks.flush())
        for one, key in zip(heard, keys, strict=True):
            one.events.extend(self._sessions[key].events.finish())
            self._pool.reset(key)
        return heard

    def reset(self, handle: int) -> None:
        """Bring a session back to the start.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
        """
        self._pool.reset(handle)
        self._sessions[handle].chunks.reset()
        self._sessions[handle].events.reset()

    def snapshot(self, handle: int) -> bytes:
        """Return all of a session as bytes, from which one of the same model continues anywhere.

        Raises:
            StaleHandleError, ConcurrentUseError: as `close`.
        """
        session = self._of(handle)
        return _packed(self._pool.snapshot(handle), session.chunks, session.events)

    def restore(self, snapshot: bytes, **rules: Any) -> int:
        """Begin a session where a snapshot was taken, with its rate, and return its handle.

        Args:
            snapshot: by a pool or a stream of the same model.
            rules: as of `open`; they are no part of a snapshot.

        Raises:
            TypeError: it is no bytes.
            SnapshotError: it is damaged, or of another model.
            PoolFullError: as `open`.
        """
        of_model, of_chunks, of_events = _parts(snapshot)
        session = self._session(_rate_of(of_chunks), rules)
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
        return _Session(_chunks(self._model, rate), SpeechEvents(**{**self._rules, **rules}))

    def _of(self, handle: int) -> _Session:
        try:
            return self._sessions[handle]
        except KeyError:
            raise stale(handle, 0) from None

    def _hear(self, keys: list[int], take: Any) -> list[Heard]:
        for at, key in enumerate(keys):
            if key not in self._sessions:
                raise stale(key, at)
        if len({*keys}) != len(keys):
            raise ValueError("a handle stands twice")
        sessions = [self._sessions[key] for key in keys]
        kept = [one.chunks._buffers() for one in sessions]
        try:
            chunks = [take(at, one.chunks) for at, one in enumerate(sessions)]
            found = self._probabilities(keys, chunks)
        except BaseException:
            for one, buffers in zip(sessions, kept, strict=True):
                one.chunks._set_buffers(buffers)
            raise
        return [_heard(one, session.events) for one, session in zip(found, sessions, strict=True)]

    def _probabilities(
        self, keys: list[int], chunks: list[NDArray[np.float32]]
    ) -> list[NDArray[np.float32]]:
        counts = [len(one) for one in chunks]
        if not any(counts):
            return [NOTHING] * len(keys)
        busy = [at for at, count in enumerate(counts) if count]
        lengths = np.array([counts[at] for at in busy])
        frames = np.zeros((len(busy), lengths.max(), chunks[0].shape[1]), np.float32)
        for row, at in enumerate(busy):
            frames[row, : counts[at]] = chunks[at]
        made = np.asarray(self._pool.run([keys[at] for at in busy], frames, lengths))
        found = [NOTHING] * len(keys)
        for row, at in enumerate(busy):
            found[at] = made[row, : counts[at], 0].copy()
        return found


NOTHING: NDArray[np.float32] = np.zeros(0, np.float32)


def _known(model: Model | None) -> tuple[Model, int, int]:
    """Return a model, its rate, and the samples of its chunks."""
    if model is None:
        model = silero()
    if not isinstance(model, Model):
        raise TypeError(f"model is a {type(model).__name__}, expected what vad.silero() returns")
    shapes = {name: one.shape for name, one in model.inputs.items()}
    for rate, size in CHUNKS.items():
        outputs = [one.shape for one in model.outputs.values()]
        if [*shapes.values()] == [(size,)] and outputs == [(1,)]:
            return model, rate, size
    raise ValueError(f"model takes {shapes}, expected what vad.silero() returns")


def _chunks(model: Model, rate: int) -> Chunks:
    (size,) = next(iter(model.inputs.values())).shape
    to_rate = next(one for one, samples in CHUNKS.items() if samples == size)
    return Chunks(rate, to_rate, backend=model.backend)


def _heard(probabilities: NDArray[np.float32], events: SpeechEvents) -> Heard:
    found: Iterable[list[SpeechEvent]] = map(events.push, probabilities.tolist())
    return Heard(probabilities, [event for some in found for event in some])


def _packed(of_model: bytes, chunks: Chunks, events: SpeechEvents) -> bytes:
    parts = (of_model, chunks.snapshot(), events.snapshot())
    body = PARTS.pack(MAGIC, *map(len, parts)) + b"".join(parts)
    return body + hashlib.sha256(body).digest()


def _parts(snapshot: Any) -> tuple[bytes, bytes, bytes]:
    """Return the snapshots of model, chunks and events that are in one.

    Raises:
        TypeError: it is no bytes.
        SnapshotError: it is none, or damaged.
    """
    if not isinstance(snapshot, (bytes, bytearray, memoryview)):
        raise TypeError(f"a snapshot is bytes, found {type(snapshot).__name__}")
    data = bytes(snapshot)
    if not data.startswith(MAGIC):
        raise SnapshotError(f"this is no snapshot of speech: it does not begin with {MAGIC!r}")
    body, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if len(body) < PARTS.size or hashlib.sha256(body).digest() != checksum:
        raise SnapshotError("the snapshot is damaged or cut short: its checksum does not fit")
    _, first, second, third = PARTS.unpack_from(body)
    if PARTS.size + first + second + third != len(body):
        raise SnapshotError("the snapshot is none that lstm_fast wrote: its sizes do not fit")
    one, two = PARTS.size + first, PARTS.size + first + second
    return body[PARTS.size : one], body[one:two], body[two:]


def _rate_of(of_chunks: bytes) -> int:
    if len(of_chunks) < HEADER.size:
        raise SnapshotError("the snapshot of chunks is cut short")
    rate: int = HEADER.unpack_from(of_chunks)[1]
    return rate
