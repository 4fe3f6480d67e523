"""`vad.SpeechEvents`, held against silero-vad's own rules, which know the whole recording."""

from __future__ import annotations

import itertools
import math
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lstm_fast import SnapshotError
from lstm_fast.vad import SpeechEvent, SpeechEvents

SIZE, RATE = 512, 16000
PROBABILITIES = st.lists(st.sampled_from([0.0, 0.2, 0.34, 0.35, 0.4, 0.5, 0.6, 1.0]), max_size=80)
TIMES = st.sampled_from([0, 31, 32, 64, 100, 250])


def segments(events):
    """Return [start, end] in chunks, of the events of a session without padding."""
    starts = [one.seconds * RATE / SIZE for one in events if one.kind == "speech_start"]
    ends = [one.seconds * RATE / SIZE for one in events if one.kind == "speech_end"]
    return [[*pair] for pair in zip(starts, ends, strict=True)]


def whole_segments(probabilities, threshold, negative, min_speech, min_silence):
    """The same by looking at the whole: speech begins at the threshold; it ends where a stretch
    begins that has none at the threshold and lasts from its first chunk below the negative one."""
    found, at, count = [], 0, len(probabilities)
    while at < count:
        if not probabilities[at] >= threshold:
            at += 1
            continue
        end, resume = count, count
        silent = None
        for now in range(at + 1, count):
            if probabilities[now] >= threshold:
                silent = None
            elif probabilities[now] < negative:
                silent = now if silent is None else silent
                if (now - silent) * SIZE >= min_silence * RATE / 1000:
                    end, resume = silent, now + 1
                    break
        if (end - at) * SIZE > min_speech * RATE / 1000:
            found.append([at, end])
        at = resume
    return found


@given(PROBABILITIES, TIMES, TIMES)
def test_it_finds_what_looking_at_the_whole_finds(probabilities, min_speech, min_silence):
    session = SpeechEvents(
        min_speech_duration_ms=min_speech, min_silence_duration_ms=min_silence, speech_pad_ms=0
    )
    events = [one for value in probabilities for one in session.push(value)]
    last = session.is_speaking
    events += session.finish()
    expected = whole_segments(probabilities, 0.5, 0.35, min_speech, min_silence)
    # A last segment is kept at the end for its silence, too, which nobody has announced by then.
    if expected and expected[-1][1] == len(probabilities) and not last:
        expected.pop()
    assert segments(events) == expected


@given(PROBABILITIES, st.integers(0, 80), st.sampled_from([None, 200, 500]))
def test_a_snapshot_anywhere_changes_nothing(probabilities, at, pause):
    options = {"min_speech_duration_ms": 64, "turn_pause_ms": pause}
    whole, first, second = (SpeechEvents(**options) for _ in range(3))
    expected = [one for value in probabilities for one in whole.push(value)] + whole.finish()
    found = [one for value in probabilities[:at] for one in first.push(value)]
    second.restore(first.snapshot())
    found += [one for value in probabilities[at:] for one in second.push(value)]
    assert found + second.finish() == expected


def test_without_its_state_it_finds_another():
    """Negative control of the test above."""
    whole, first, second = (SpeechEvents() for _ in range(3))
    values = [1.0] * 5 + [0.0] * 10
    expected = [one for value in values for one in whole.push(value)]
    found = [one for value in values[:5] for one in first.push(value)]
    found += [one for value in values[5:] for one in second.push(value)]
    assert found != expected


@given(PROBABILITIES, TIMES, TIMES, st.sampled_from([0, 30, 300]), st.sampled_from([0, 96, 700]))
def test_events_alternate_and_times_do_not_go_back(values, speech, silence, pad, pause):
    session = SpeechEvents(
        min_speech_duration_ms=speech,
        min_silence_duration_ms=silence,
        speech_pad_ms=pad,
        turn_pause_ms=pause,
    )
    events = [one for value in values for one in session.push(value)] + session.finish()
    kinds = [one.kind for one in events]
    assert [kind for kind in kinds if kind != "turn_end"] == (
        ["speech_start", "speech_end"] * kinds.count("speech_start")
    )
    speech = [one.seconds for one in events if one.kind != "turn_end"]
    assert speech == sorted(speech)
    for kind, after in itertools.pairwise(kinds):
        assert kind == "speech_end" or after != "turn_end"
    assert [one.chunk for one in events] == sorted(one.chunk for one in events)
    for one in events:
        assert one.seconds <= (one.chunk + 1) * SIZE / RATE  # nothing is told of what was not heard


def test_a_turn_ends_once_after_its_pause():
    session = SpeechEvents(turn_pause_ms=320, speech_pad_ms=0)
    values = [0.9] * 4 + [0.0] * 30 + [0.9] * 2 + [0.0] * 5 + [0.9] * 2 + [0.0] * 20
    events = [one for value in values for one in session.push(value)]
    assert events == [
        SpeechEvent("speech_start", 0.0, 0),
        SpeechEvent("speech_end", 0.128, 8),
        SpeechEvent("turn_end", 0.448, 13),
        SpeechEvent("speech_start", 34 * 512 / 16000, 34),
        SpeechEvent("speech_end", 36 * 512 / 16000, 40),
        SpeechEvent("speech_start", 41 * 512 / 16000, 41),
        SpeechEvent("speech_end", 43 * 512 / 16000, 47),
        SpeechEvent("turn_end", (43 * 512 + 5120) / 16000, 52),
    ]
    assert session.finish() == []


def test_a_noise_too_short_for_speech_does_not_begin_a_turn_anew():
    session = SpeechEvents(
        turn_pause_ms=320, speech_pad_ms=0, min_speech_duration_ms=64, min_silence_duration_ms=0
    )
    values = [0.9] * 4 + [0.0] * 5 + [0.9] + [0.0] * 10
    events = [one for value in values for one in session.push(value)]
    assert [one.kind for one in events] == ["speech_start", "speech_end", "turn_end"]
    assert events[-1] == SpeechEvent("turn_end", pytest.approx(0.448), 13)


def test_padding_may_be_without_end():
    session = SpeechEvents(speech_pad_ms=math.inf, min_silence_duration_ms=32)
    found = [one for value in (0, 0.9, 0.1, 0.1) for one in session.push(value)]
    assert [(one.kind, one.seconds) for one in found] == [
        ("speech_start", 0),
        ("speech_end", 0.128),
    ]


def test_nan_is_silence():
    session = SpeechEvents(speech_pad_ms=0)
    events = [one for value in [0.9, *[math.nan] * 10] for one in session.push(value)]
    assert [one.kind for one in events] == ["speech_start", "speech_end"]
    assert not session.is_speaking


def test_padding_never_overlaps_speech_before():
    session = SpeechEvents(speech_pad_ms=300, min_silence_duration_ms=0)
    events = [one for value in [0, 0.9, 0, 0.9, 0, 0] for one in session.push(value)]
    times = [one.seconds for one in events]
    assert times[0] == 0
    assert times[2] == times[1]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"threshold": 1.5}, ValueError, "threshold is 1.5, expected 0 to 1"),
        ({"threshold": math.nan}, ValueError, "threshold is nan"),
        ({"threshold": "a"}, TypeError, "threshold is 'a', expected a number"),
        ({"neg_threshold": 0.6}, ValueError, "neg_threshold is 0.6, expected 0 to 0.5"),
        ({"speech_pad_ms": -1}, ValueError, "speech_pad_ms is -1, expected 0 to inf"),
        ({"min_speech_duration_ms": True}, TypeError, "min_speech_duration_ms"),
        ({"turn_pause_ms": -3}, ValueError, "turn_pause_ms"),
        ({"size": 0}, ValueError, "size is 0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, error, text):
    with pytest.raises(error, match=text):
        SpeechEvents(**options)


def test_damaged_snapshots_are_refused():
    session = SpeechEvents()
    session.push(0.9)
    good = session.snapshot()
    for damaged in (b"", good[:-1], b"x" + good[1:], good[:16] + b"\xff" * 33):
        with pytest.raises(SnapshotError):
            session.restore(damaged)
    with pytest.raises(TypeError, match="bytes"):
        session.restore(None)
    assert session.snapshot() == good
    assert session.chunks == 1


def test_a_snapshot_is_of_a_rate_and_a_size():
    """Seconds would be others; the numbers of both are samples."""
    taken = after([0.9, 0.9], rate=16000, size=512)
    for rate, size in ((8000, 512), (16000, 256), (8000, 256)):
        other = SpeechEvents(rate=rate, size=size)
        with pytest.raises(SnapshotError, match=f"512 at 16000 Hz, these are of {size} at {rate}"):
            other.restore(taken)
        assert other.chunks == 0
    SpeechEvents(rate=16000, size=512).restore(taken)  # the control


def after(values, **rules):
    session = SpeechEvents(**rules)
    for value in values:
        session.push(value)
    return session.snapshot()


@given(PROBABILITIES)
def test_older_snapshots_are_read(values):
    """They had neither rate nor size."""
    taken, session = after(values), SpeechEvents()
    session.restore(b"LFEVENT1" + taken[16:])
    assert session.snapshot() == taken


FIELDS = struct.Struct("<5q?")
# chunk, start, temp_end, ended, turn, announced: what no probabilities lead to
IMPOSSIBLE = {
    "before the beginning": (-1, -1, -1, 0, -1, False),
    "so long that numbers would grow out of their bytes": (2**54, -1, -1, 0, -1, False),
    "begins where no chunk does": (3, 100, -1, 0, -1, True),
    "begins after all that was heard": (3, 3 * SIZE, -1, 0, -1, False),
    "begins before the last one ended": (4, SIZE, -1, 2 * SIZE, -1, True),
    "ends before it begins": (3, SIZE, SIZE, 0, -1, True),
    "ends after all that was heard": (3, SIZE, 3 * SIZE, 0, -1, True),
    "ends, and never began": (3, -1, SIZE, 0, -1, False),
    "ended after all that was heard": (3, -1, -1, 3 * SIZE + 1, -1, False),
    "ended before the beginning": (3, -1, -1, -1, -1, False),
    "announced, and never began": (3, -1, -1, 0, -1, True),
    "a turn that ends after its speech": (3, -1, -1, SIZE, 2 * SIZE, False),
    "a turn from the beginning": (3, -1, -1, SIZE, 0, False),
    "a turn while somebody speaks": (5, 3 * SIZE, -1, 2 * SIZE, SIZE, True),
    "no place is -2": (3, -2, -1, 0, -1, False),
}


@pytest.mark.parametrize("what", IMPOSSIBLE)
def test_no_session_comes_to_such_a_state(what):
    session, good = SpeechEvents(), after([0.9, 0.0])
    for begin in (good[:16], b"LFEVENT1"):
        with pytest.raises(SnapshotError, match="no session comes to this state"):
            session.restore(begin + FIELDS.pack(*IMPOSSIBLE[what]))
    with pytest.raises(SnapshotError, match="no session comes to this state"):
        session.restore(good[:-1] + b"\2")  # true in one way only
    assert session.snapshot() == after([])
    session.restore(good[:16] + FIELDS.pack(5, 3 * SIZE, -1, 2 * SIZE, SIZE, False))  # the control


def test_rules_of_a_thousand_digits_are_out_of_range_or_infinite():
    for value in (10**1000, -(10**1000), 10**10000):
        with pytest.raises(ValueError, match=r"^threshold is -?inf, expected 0 to 1$"):
            SpeechEvents(threshold=value)
    events = SpeechEvents(min_silence_duration_ms=10**1000)
    assert [one.kind for value in (1, *[0] * 99) for one in events.push(value)] == ["speech_start"]


def test_low_thresholds():
    assert SpeechEvents(threshold=0.1).neg_threshold == 0.01
    assert SpeechEvents(threshold=0.0).neg_threshold == 0.0
    assert np.isclose(SpeechEvents().neg_threshold, 0.35)


def test_rules_may_be_numbers_of_numpy():
    given = {"threshold": np.float32(0.5), "min_silence_duration_ms": np.int64(32)}
    plain = {name: value.item() for name, value in given.items()}
    both = [SpeechEvents(**rules) for rules in (given, plain)]
    found = [[one for value in (0.9, 0, 0) for one in each.push(value)] for each in both]
    assert len(found[0]) == 2
    assert found[0] == found[1]
