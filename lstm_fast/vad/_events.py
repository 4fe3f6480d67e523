"""From a probability per chunk to what a service acts on: speech starts, speech ends, turn ends."""

from __future__ import annotations

import copy
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, Literal

from .._arguments import is_number
from ..errors import SnapshotError
from ..snapshots import Snapshot, to_bytes

__all__ = ["SpeechEvent", "SpeechEvents"]

Kind = Literal["speech_start", "speech_end", "turn_end"]
STATE = struct.Struct("<8s2Iqqqqq?")  # magic, rate, size, and the fields of `reset` in order
MAGIC = b"LFEVENT2"
OLD_STATE, OLD_MAGIC = struct.Struct("<8sqqqqq?"), b"LFEVENT1"  # without rate and size
NONE = -1
MOST_SAMPLES = (
    2**62
)  # that a session can have had, so that none of its numbers grows out of 64 bits
LARGEST = 2**31 - 1  # rate and size
RULES = (
    "threshold, neg_threshold, min_speech_duration_ms, min_silence_duration_ms, speech_pad_ms and "
    "turn_pause_ms"
)
HYSTERESIS, LOWEST = 0.15, 0.01  # as silero-vad has them, where nobody says neg_threshold


@dataclass(frozen=True)
class SpeechEvent:
    """Something that happened.

    kind: "speech_start", "speech_end" or "turn_end". seconds: when, in the audio's time; padding
    is in it. chunk: the number of the chunk that decided it, from 0.

    Example:
        >>> events = SpeechEvents()
        >>> found = [event for p in [0.0] * 10 + [0.9] * 20 for event in events.push(p)]
        >>> found[0].kind, found[0].seconds, found[0].chunk
        ('speech_start', 0.29, 10)
    """

    kind: Kind
    seconds: float
    chunk: int


class SpeechEvents:
    """Watches the probabilities of one session.

    Speech begins with the first chunk at or above `threshold`, and is announced once it is longer
    than the shortest; it ends where chunks begin that are below `neg_threshold`, once they have
    lasted `min_silence_duration_ms` with none at or above `threshold` among them: as in
    silero-vad's `get_speech_timestamps`, but as it happens. A turn ends once, when nobody has
    spoken for `turn_pause_ms` since speech ended. A probability that is NaN counts as silence.

    Padding moves a start to before the first chunk (not before the end of the speech before, nor
    of the audio's beginning) and an end to after the last (not beyond what was heard by then).

    Example:
        >>> events = SpeechEvents()
        >>> [event.kind for p in [0.0] * 9 + [0.9] * 20 + [0.0] * 20 for event in events.push(p)]
        ['speech_start', 'speech_end']
    """

    __slots__ = (
        *("_announced", "_chunk", "_ended", "_min_silence", "_min_speech", "_pad", "_pause"),
        *("_rate", "_size", "_start", "_temp_end", "_turn", "neg_threshold", "threshold"),
    )

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        neg_threshold: float | None = None,
        min_speech_duration_ms: float = 0,
        min_silence_duration_ms: float = 100,
        speech_pad_ms: float = 30,
        turn_pause_ms: float | None = None,
        rate: int = 16000,
        size: int = 512,
        **unknown: Any,
    ) -> None:
        """Begin in silence.

        Args:
            threshold: the probability from which on a chunk is speech, 0 to 1.
            neg_threshold: the one below which it is silence again; None: 0.15 less, at least 0.01.
            min_speech_duration_ms: what is not longer than this does not count as speech.
            min_silence_duration_ms: what is shorter than this ends no speech.
            speech_pad_ms: how much is added on both sides.
            turn_pause_ms: after how much silence a turn ends; None: never.
            rate: of the model, Hz.
            size: samples in a chunk of the model.
            unknown: none; whatever is given here is an error.

        Raises:
            TypeError: one of them is not a number, or there is no such rule.
            ValueError: one is out of range.
        """
        if unknown:
            raise TypeError(f"there is no rule {next(iter(unknown))!r}: there are {RULES}")
        self.threshold = _between("threshold", threshold, 0, 1)
        if neg_threshold is None:
            neg_threshold = max(self.threshold - HYSTERESIS, min(LOWEST, self.threshold))
        self.neg_threshold = _between("neg_threshold", neg_threshold, 0, self.threshold)
        self._rate = int(_between("rate", rate, 1, LARGEST))
        self._size = int(_between("size", size, 1, LARGEST))
        self._min_speech = self._samples("min_speech_duration_ms", min_speech_duration_ms)
        self._min_silence = self._samples("min_silence_duration_ms", min_silence_duration_ms)
        self._pad = self._samples("speech_pad_ms", speech_pad_ms)
        self._pause = (
            math.inf if turn_pause_ms is None else self._samples("turn_pause_ms", turn_pause_ms)
        )
        self.reset()

    def reset(self) -> None:
        """Go back to the start."""
        self._chunk = 0  # how many have been
        self._start = NONE  # of what is, or may become, speech; in samples, as all of these
        self._temp_end = NONE  # where it may have ended
        self._ended = 0  # the last speech that was announced, with its padding
        self._turn = NONE  # where speech ended whose turn has not
        self._announced = False

    def fresh(self) -> SpeechEvents:
        """Return another one with the same rules, at the start."""
        twin = copy.copy(self)
        twin.reset()
        return twin

    @property
    def is_speaking(self) -> bool:
        """Whether a start was announced, and no end since."""
        return self._announced

    @property
    def chunks(self) -> int:
        """How many probabilities there have been."""
        return self._chunk

    def push(self, probability: float) -> list[SpeechEvent]:
        """Take the next chunk's probability and return what it decides."""
        begin = self._chunk * self._size
        end = begin + self._size
        found: list[SpeechEvent] = []
        if probability >= self.threshold:
            self._temp_end = NONE
            if self._start == NONE:
                self._start = begin
        elif not probability >= self.neg_threshold and self._start != NONE:
            if self._temp_end == NONE:
                self._temp_end = begin
            if begin - self._temp_end >= self._min_silence:
                self._end(self._temp_end, end, found)
        if self._start != NONE and self._temp_end == NONE and not self._announced:
            self._begin(end, found)
        if self._turn != NONE and self._start == NONE and end - self._turn >= self._pause:
            found.append(self._event("turn_end", max(self._turn + self._pause, self._ended)))
            self._turn = NONE
        self._chunk += 1
        return found

    def finish(self) -> list[SpeechEvent]:
        """End the audio: return the end of the speech that goes on, and of the turn; begin anew."""
        found: list[SpeechEvent] = []
        end = self._chunk * self._size
        self._chunk = max(0, self._chunk - 1)  # the last one decides
        if self._announced:
            self._ended = end
            found.append(self._event("speech_end", end))
            self._turn = end
        if self._turn != NONE and self._pause < math.inf:
            found.append(self._event("turn_end", end))
        self.reset()
        return found

    def snapshot(self) -> bytes:
        """Return the state as 57 bytes, from which another one continues."""
        return STATE.pack(MAGIC, self._rate, self._size, *self._fields)

    def restore(self, snapshot: Snapshot) -> None:
        """Continue where a snapshot was taken; thresholds and times are this one's own.

        Older ones (`LFEVENT1`) say no rate and size, and are believed to be of these.

        Raises:
            TypeError, OSError: as `ModelStream.restore`, which takes files, too.
            SnapshotError: it is none, or of chunks of another rate or size. Nothing changed.
        """
        data = to_bytes(snapshot, STATE.size)
        rate, size = self._rate, self._size
        if len(data) == STATE.size and data.startswith(MAGIC):
            _, rate, size, *fields = STATE.unpack(data)
            again = STATE.pack(MAGIC, rate, size, *fields)
        elif len(data) == OLD_STATE.size and data.startswith(OLD_MAGIC):
            _, *fields = OLD_STATE.unpack(data)
            again = OLD_STATE.pack(OLD_MAGIC, *fields)
        else:
            raise SnapshotError(
                f"this is not a snapshot of events: it is not {MAGIC!r} and its state"
            )
        if (rate, size) != (self._rate, self._size):
            raise SnapshotError(
                f"the snapshot is of events in chunks of {size} at {rate} Hz, these are of "
                f"{self._size} at {self._rate} Hz"
            )
        if again != data or not self._can_be(*fields):
            raise SnapshotError("the snapshot of events is damaged: no session comes to this state")
        self._fields = fields

    @property
    def _fields(self) -> Sequence[Any]:
        samples = (self._start, self._temp_end, self._ended, self._turn)
        return self._chunk, *samples, self._announced

    @_fields.setter
    def _fields(self, fields: Sequence[Any]) -> None:
        self._chunk, self._start, self._temp_end, self._ended, self._turn, self._announced = fields

    def _can_be(
        self, chunk: int, start: int, temp_end: int, ended: int, turn: int, announced: bool
    ) -> bool:
        """Say whether a session can come to this state, under whatever rules."""
        now = chunk * self._size
        if not 0 <= now <= MOST_SAMPLES or not 0 <= ended <= now:
            return False
        if any(at % self._size for at in (start, temp_end, turn) if at != NONE):
            return False
        is_speech = start == NONE or ended <= start < now
        is_end = temp_end == NONE or (start != NONE and start < temp_end < now)
        is_turn = turn == NONE or (0 < turn <= ended and not announced)
        return is_speech and is_end and is_turn and (start != NONE or not announced)

    def _begin(self, now: int, found: list[SpeechEvent]) -> None:
        if now - self._start > self._min_speech:
            self._announced, self._turn = True, NONE
            found.append(self._event("speech_start", max(self._start - self._pad, self._ended)))

    def _end(self, end: int, now: int, found: list[SpeechEvent]) -> None:
        if self._announced:
            self._ended = math.floor(min(end + self._pad, now))
            self._turn = end
            found.append(self._event("speech_end", self._ended))
        self._start, self._temp_end, self._announced = NONE, NONE, False

    def _event(self, kind: Kind, samples: float) -> SpeechEvent:
        return SpeechEvent(kind, samples / self._rate, self._chunk)

    def _samples(self, name: str, ms: Any) -> float:
        return _between(name, ms, 0, math.inf) * self._rate / 1000


def _between(name: str, value: Any, low: float, high: float) -> float:
    if not is_number(value) and (isinstance(value, bool) or not isinstance(value, Real)):
        raise TypeError(f"{name} is {value!r}, expected a number")
    try:
        number = float(value)
    except OverflowError:  # of an integer of a thousand bits
        number = -math.inf if value < 0 else math.inf
    if not low <= number <= high:
        raise ValueError(f"{name} is {number:g}, expected {low:g} to {high:g}")
    return number
