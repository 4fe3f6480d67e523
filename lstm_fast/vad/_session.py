"""One caller as they are: audio of any rate in pieces of any size, and what is said about it.

What a session is made of is in one snapshot: the audio that is not a whole chunk yet, the model's
state, and whether somebody is speaking. Layout, little-endian:

    8 bytes     b"LFSPEECH"
    3 x 4 bytes the lengths of what follows
    the snapshots of the model (snapshots.py), of `Chunks`, and of `SpeechEvents`
    32 bytes    SHA-256 of everything before
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .._backends._alone import Alone
from .._process import process_number
from ..errors import ForkedError, SnapshotError
from ..model import Model
from ..snapshots import OTHERS, Snapshot, to_bytes
from ._chunks import Chunks
from ._events import SpeechEvent, SpeechEvents
from ._silero import CHUNKS, silero

MAGIC = b"LFSPEECH"
PARTS = struct.Struct("<8s3I")  # magic, bytes of each of the three snapshots
CHECKSUM_BYTES = 32
FORKED = (
    "this process was forked while another thread of its parent was inside a call on this stream, "
    "and audio may be lost here between two of its parts: reset it, or restore a snapshot"
)


@dataclass(frozen=True, eq=False)
class Heard:
    """What became of the audio that a session was given.

    probabilities: of speech, of each chunk that was completed, shape (chunks,), float32.
    events: what they decided, one after the other.

    Example:
        >>> from lstm_fast import checks
        >>> heard = SpeechStream().push(checks.speech(100, 512, 16000).ravel())
        >>> heard.probabilities.shape, heard.events[0].kind
        ((100,), 'speech_start')
    """

    probabilities: NDArray[np.float32]
    events: list[SpeechEvent]


class Whole:
    """Whether all parts of a session have had the same audio.

    In the middle of a call they have not, and in a child which was forked there by another thread
    they never will: nobody ends that call.
    """

    __slots__ = ("_process",)

    def __init__(self) -> None:
        self._process = 0  # in which a call is changing the session; 0: none is

    @contextmanager
    def __call__(self, *, anew: bool = False) -> Iterator[None]:
        """Have parts changed meanwhile; anew: all of them, whatever they were.

        Raises:
            ForkedError: as `check`, where it is not anew.
        """
        if not anew:
            self.check()
        before = self._process
        self._process = process_number.item()
        try:
            yield
        except BaseException:
            self._process = before
            raise
        self._process = 0

    def check(self) -> None:
        """Refuse to go on with some of the parts.

        Raises:
            ForkedError: a fork came in the middle of a call.
        """
        if self._process not in (0, process_number.item()):
            raise ForkedError(FORKED)


class SpeechStream:
    """One session: audio in, probabilities and events out.

    It belongs to one thread at a time: a second caller gets `ConcurrentUseError`. A call that
    raises has changed nothing. In a process that was forked while another thread was inside a call
    here, each raises `ForkedError` until it is reset or given a snapshot (docs/forks.md).

    Example:
        >>> from lstm_fast import checks
        >>> stream = SpeechStream()  # of 16 kHz; rate= takes others
        >>> for samples in checks.speech(100, 512, 16000):  # or any other sizes
        ...     for event in stream.push(samples).events:
        ...         print(event.kind)
        speech_start
        >>> [event.kind for event in stream.flush().events]
        ['speech_end']
    """

    __slots__ = ("_alone", "_chunks", "_events", "_model", "_stream", "_whole")

    def __init__(
        self, model: Model | None = None, *, rate: int | None = None, **rules: Any
    ) -> None:
        """Begin in silence.

        Args:
            model: what `silero` returns, for 16 or 8 kHz; None: `silero()`.
            rate: of the samples that come, see `Chunks`; None: the model's.
            rules: thresholds and times, see `SpeechEvents`.

        Raises:
            TypeError, ValueError: as `Chunks` and `SpeechEvents`; or this is not such a model.
            As `silero`, where no model is given.
        """
        self._model, model_rate, size = known(model)
        self._chunks = chunks_for(self._model, model_rate if rate is None else rate)
        self._events = SpeechEvents(rate=model_rate, size=size, **rules)
        self._stream = self._model.stream()
        self._alone = Alone()  # its parts do not notice a second thread each time
        self._whole = Whole()

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
        with self._alone(), self._whole():
            return self._hear(lambda: self._chunks.push(samples))

    def flush(self) -> Heard:
        """End the audio: take what is left, filled up with zeros, end what goes on; begin anew.

        No event is later than the audio's end.

        Raises:
            ConcurrentUseError: another thread is using this stream.
        """
        with self._alone(), self._whole():
            until = heard_until(self._chunks, self._events)
            heard = self._hear(self._chunks.flush)
            self._stream.reset()
            return ended(heard, self._events, until)

    def reset(self) -> None:
        """Go back to the start.

        Raises:
            ConcurrentUseError: another thread is using this stream.
        """
        with self._alone(), self._whole(anew=True):
            self._stream.reset()
            self._chunks.reset()
            self._events.reset()

    def snapshot(self) -> bytes:
        """Return all of the session as bytes, from which one of the same model and rate continues.

        Raises:
            ConcurrentUseError: another thread is using this stream.
        """
        with self._alone():
            self._whole.check()
            return packed(self._stream.snapshot(), self._chunks, self._events)

    def restore(self, snapshot: Snapshot) -> None:
        """Continue where a snapshot was taken, by a stream or a pool; the rules are this one's own.

        Args:
            snapshot: bytes, or a file, as of `ModelStream.restore`.

        Raises:
            SnapshotError: it is damaged, of another model or rate, or in no regular file. Nothing
                has changed.
            TypeError, OSError: as `ModelStream.restore`.
            ConcurrentUseError: another thread is using this stream.
        """
        of_model, of_chunks, of_events = parts_of(snapshot)
        with self._alone(), self._whole(anew=True):
            chunks, events = chunks_for(self._model, self.rate), self._events.fresh()
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
        return heard_of(found, self._events)

    def __reduce__(self) -> NoReturn:
        raise TypeError("take a snapshot, and restore it in a SpeechStream of the same model")

    def __repr__(self) -> str:
        return f"<SpeechStream of {self._model!r} at {self.rate} Hz>"


NOTHING: NDArray[np.float32] = np.zeros(0, np.float32)


def known(model: Model | None) -> tuple[Model, int, int]:
    """Return a model, its rate, and the samples of its chunks."""
    if model is None:
        model = silero()
    if not isinstance(model, Model):
        raise TypeError(
            f"model is of type {type(model).__name__}, expected what vad.silero() returns; "
            "a rate is passed as rate="
        )
    shapes = {name: one.shape for name, one in model.inputs.items()}
    for rate, size in CHUNKS.items():
        outputs = [one.shape for one in model.outputs.values()]
        if [*shapes.values()] == [(size,)] and outputs == [(1,)]:
            return model, rate, size
    raise ValueError(f"model takes {shapes}, expected what vad.silero() returns")


def chunks_for(model: Model, rate: int) -> Chunks:
    (size,) = next(iter(model.inputs.values())).shape
    to_rate = next(one for one, samples in CHUNKS.items() if samples == size)
    return Chunks(rate, to_rate, backend=model.backend)


def heard_of(probabilities: NDArray[np.float32], events: SpeechEvents) -> Heard:
    found: Iterable[list[SpeechEvent]] = map(events.push, probabilities.tolist())
    return Heard(probabilities, [event for some in found for event in some])


def heard_until(chunks: Chunks, events: SpeechEvents) -> float:
    """Return how many seconds of audio there have been: whole samples, however they were cut."""
    made = events.chunks * chunks.size + len(chunks._ready)
    return (made * chunks.rate // chunks.model_rate + chunks._waiting) / chunks.rate


def ended(heard: Heard, events: SpeechEvents, until: float) -> Heard:
    """Return what a flush heard, with the ends of what went on; none is behind the audio's end."""
    found = [*heard.events, *events.finish()]
    return Heard(
        heard.probabilities,
        [one if one.seconds <= until else replace(one, seconds=until) for one in found],
    )


def packed(of_model: bytes, chunks: Chunks, events: SpeechEvents) -> bytes:
    parts = (of_model, chunks.snapshot(), events.snapshot())
    body = PARTS.pack(MAGIC, *map(len, parts)) + b"".join(parts)
    return body + _sha256(body)


def parts_of(snapshot: Any) -> tuple[bytes, bytes, bytes]:
    """Return the snapshots of model, chunks and events that are in one.

    Raises:
        TypeError, OSError: as `to_bytes`.
        SnapshotError: it is none, or damaged.
    """
    data = to_bytes(snapshot, OTHERS)
    if not data.startswith(MAGIC):
        raise SnapshotError(f"this is not a snapshot of speech: it does not begin with {MAGIC!r}")
    body, checksum = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
    if len(body) < PARTS.size or _sha256(body) != checksum:
        raise SnapshotError("the snapshot is damaged or cut short: its checksum does not fit")
    _, first, second, third = PARTS.unpack_from(body)
    if PARTS.size + first + second + third != len(body):
        raise SnapshotError("the snapshot is none that lstm_fast wrote: its sizes do not fit")
    one, two = PARTS.size + first, PARTS.size + first + second
    return body[PARTS.size : one], body[one:two], body[two:]


def _sha256(data: bytes) -> bytes:
    import hashlib  # here, for the reason that snapshots.py has

    return hashlib.sha256(data).digest()
