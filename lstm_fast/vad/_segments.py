"""From the probabilities of a whole recording to segments, by the rules of silero-vad 6.2."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rules:
    """Thresholds, and durations in samples."""

    threshold: float
    negative: float
    shortest: float
    longest: float
    silence: float
    pause: float
    takes_longest_pause: bool


class Cutter:
    """Goes through probabilities once and notes [start, end] of speech, in samples.

    start: of the segment that goes on; quiet: where it may have ended; pauses: (where, how long) of
    the silences in it that are long enough to cut at; last_pause: the last of them, and resumed:
    where speech went on after it.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._found: list[tuple[int, int]] = []
        self._begin(None)

    def all_of(
        self, probabilities: Sequence[float], size: int, length: int
    ) -> list[tuple[int, int]]:
        """Go through probabilities of chunks of a size, in a recording of so many samples."""
        for number, probability in enumerate(probabilities):
            self._take(probability, number * size)
        if self._start is not None and length - self._start > self._rules.shortest:
            self._found.append((self._start, length))
        return self._found

    def _begin(self, start: int | None) -> None:
        self._start: int | None = start
        self._quiet: int | None = None
        self._pauses: list[tuple[int, int]] = []
        self._last_pause: int | None = None
        self._resumed = 0

    def _take(self, probability: float, now: int) -> None:
        rules = self._rules
        if probability >= rules.threshold:
            self._go_on(now)
            if self._start is None:
                self._start = now
                return
        if self._start is not None and now - self._start > rules.longest:
            self._cut(self._start, now)
        if self._start is not None and probability < rules.negative:
            self._fall_silent(self._start, now)

    def _go_on(self, now: int) -> None:
        """Note the silence that ends here."""
        if self._quiet is None:
            return
        if now - self._quiet > self._rules.pause:
            self._pauses.append((self._quiet, now - self._quiet))
        self._quiet = None
        if self._last_pause is not None and self._resumed < self._last_pause:
            self._resumed = now

    def _cut(self, start: int, now: int) -> None:
        """End a segment that is too long, and begin the next where there was speech again."""
        if self._rules.takes_longest_pause and self._pauses:
            end, lasted = max(self._pauses, key=lambda pause: pause[1])
            self._found.append((start, end))
            self._begin(end + lasted)
        elif self._last_pause is not None:
            self._found.append((start, self._last_pause))
            self._begin(self._resumed if self._resumed >= self._last_pause else None)
        else:
            self._found.append((start, now))
            self._begin(None)

    def _fall_silent(self, start: int, now: int) -> None:
        rules = self._rules
        if self._quiet is None:
            self._quiet = now
        lasted = now - self._quiet
        if not rules.takes_longest_pause and lasted > rules.pause:
            self._last_pause = self._quiet
        if lasted >= rules.silence:
            if self._quiet - start > rules.shortest:
                self._found.append((start, self._quiet))
            self._begin(None)


def padded(found: list[tuple[int, int]], pad: float, length: int) -> list[tuple[int, int]]:
    """Return segments with padding; where two would overlap, each gets half of what is between."""
    starts, ends = [one for one, _ in found], [one for _, one in found]
    for number in range(len(found)):
        if number == 0:
            starts[0] = int(max(0, starts[0] - pad))
        if number == len(found) - 1:
            ends[number] = int(min(length, ends[number] + pad))
            continue
        between = starts[number + 1] - ends[number]
        if between < 2 * pad:
            ends[number] += int(between // 2)
            starts[number + 1] = int(max(0, starts[number + 1] - between // 2))
        else:
            ends[number] = int(min(length, ends[number] + pad))
            starts[number + 1] = int(max(0, starts[number + 1] - pad))
    return list(zip(starts, ends, strict=True))
