"""`integrations.livekit` beside LiveKit's own plugin: the same events, with the same fields."""

from __future__ import annotations

import numpy as np
import pytest
from heard import NAMES, recording
from livekit_cases import FLUSH, VADEventType, assert_same, both, recorded, replayed

from lstm_fast.integrations import _livekit_windows as module

RATES = (8000, 16000, 24000, 44100, 48000)
FRAMES = {  # how a track may cut audio, in samples
    "10 ms": lambda rate: [rate // 100],
    "odd sizes": lambda rate: [1, 317, 96, 1700, 0, 41],
    "seconds": lambda rate: [2 * rate, rate // 7],
}
THRESHOLDS = [0.5, 0.35]
NAMED = (
    *("min_speech_duration", "min_silence_duration", "prefix_padding_duration"),
    *("max_buffered_speech", "activation_threshold"),
)
GRID = (  # each value beside each value of every other option
    (0.0, 0.1, 0.0, 0.5, 0.3),
    (0.0, 0.1, 0.7, 0.5, 0.8),
    (0.0, 0.9, 0.0, 60.0, 0.8),
    (0.0, 0.9, 0.7, 60.0, 0.3),
    (0.3, 0.1, 0.0, 60.0, 0.8),
    (0.3, 0.1, 0.7, 60.0, 0.3),
    (0.3, 0.9, 0.0, 0.5, 0.3),
    (0.3, 0.9, 0.7, 0.5, 0.8),
    (0.0, 0.0, 0.01, 0.0, 0.5),  # nothing fits
)


def kinds(events):
    return {event.type for event in events}


@pytest.mark.parametrize("cut", FRAMES)
@pytest.mark.parametrize("rate", RATES)
def test_events_are_theirs(rate, cut):
    check_events("mixture", rate, cut)


@pytest.mark.parametrize("name", NAMES[1:])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_events_of_speech_are_theirs(rate, name):
    check_events(name, rate, "10 ms")


def check_events(name, rate, cut):
    audio = recording(name, rate)
    ours, theirs = both(audio, rate, FRAMES[cut](rate))
    assert_same(ours, theirs, THRESHOLDS)
    assert kinds(ours) == set(VADEventType)
    assert ours[0].type == VADEventType.INFERENCE_DONE


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_events_are_theirs_with_the_model_for_8_khz(rate):
    audio = recording("mixture", rate)
    ours, theirs = both(audio, rate, [rate // 50], model_rate=8000)
    assert_same(ours, theirs, THRESHOLDS)


@pytest.mark.parametrize("rate", [11025, 12000, 22050, 32000, 96000])
def test_events_are_theirs_at_rates_that_are_less_common(rate):
    audio = recording("speech", rate)[: 4 * rate]
    ours, theirs = both(audio, rate, [rate // 90, 3])
    assert_same(ours, theirs, THRESHOLDS)


@pytest.mark.parametrize("values", GRID, ids=str)
@pytest.mark.parametrize("rate", [16000, 48000])
def test_events_are_theirs_with_other_options(rate, values):
    options = dict(zip(NAMED, values, strict=True))
    audio = recording("mixture", rate)[6 * rate : 14 * rate]
    ours, theirs = both(audio, rate, [rate // 50], options)
    activation = options["activation_threshold"]
    assert_same(ours, theirs, [activation, max(activation - 0.15, 0.01)])


@pytest.mark.parametrize("rate", [16000, 24000])
def test_events_are_theirs_with_a_deactivation_threshold(rate):
    options = {"activation_threshold": 0.6, "deactivation_threshold": 0.05}
    ours, theirs = both(recording("mixture", rate), rate, [rate // 50], options)
    assert_same(ours, theirs, [0.6, 0.05])


# ---- options that change, flush ----


CHANGES = {
    "thresholds": [(130, {"activation_threshold": 0.9}), (300, {"deactivation_threshold": 0.02})],
    "durations": [(40, {"min_speech_duration": 0.4}), (200, {"min_silence_duration": 0.05})],
    "more padding": [(130, {"prefix_padding_duration": 1.1})],
    "less padding": [(101, {"prefix_padding_duration": 0.05})],
    "less room in mid speech": [(270, {"max_buffered_speech": 0.7})],
    "more room when full": [
        (60, {"max_buffered_speech": 0.3}),
        (290, {"max_buffered_speech": 5.0, "prefix_padding_duration": 0.2}),
    ],
    "before all": [(0, {"activation_threshold": 0.7, "prefix_padding_duration": 0.1})],
}


@pytest.mark.parametrize(("rate", "of"), [(16000, "vad"), (16000, "stream"), (44100, "vad")])
@pytest.mark.parametrize("what", CHANGES)
def test_options_change_in_mid_stream(rate, what, of):
    def changer(options):
        return lambda vad, stream: (vad if of == "vad" else stream).update_options(**options)

    changes = [(number, changer(options)) for number, options in CHANGES[what]]
    audio = recording("speech", rate)[: 7 * rate]
    ours, theirs = both(audio, rate, [rate // 50], changes=changes)
    assert_same(ours, theirs, [0.5, 0.35, 0.9, 0.02, 0.7])


@pytest.mark.parametrize("rate", RATES)
def test_flush_forgets_all_in_mid_speech(rate):
    changes = [(number, FLUSH) for number in (0, 70, 71, 150, 152, 230)]
    audio = recording("speech", rate)[: 6 * rate]
    ours, theirs = both(audio, rate, [rate // 50 + 3], changes=changes)
    assert_same(ours, theirs, THRESHOLDS)
    assert [e.speaking for e in ours if e.type == VADEventType.INFERENCE_DONE].count(True) > 20
    starts = [e.type for e in ours].count(VADEventType.START_OF_SPEECH)
    assert starts > [e.type for e in ours].count(VADEventType.END_OF_SPEECH)  # it emits no end


def test_end_input_in_mid_speech_emits_no_end(monkeypatch):
    audio = recording("speech")[: int(1.6 * 16000)]
    ours, theirs = both(audio, 16000, [160])
    assert_same(ours, theirs, THRESHOLDS)
    assert ours[-1].speaking
    assert VADEventType.END_OF_SPEECH not in kinds(ours)


# ---- negative controls: another way gives other events ----


def without(name):
    """Return a reset that leaves one thing as it is."""

    def change(monkeypatch):
        whole = module.Detector.reset

        def reset(self):
            kept = getattr(self, name, None)
            whole(self)
            if kept is not None:
                setattr(self, name, kept)

        monkeypatch.setattr(module.Detector, "reset", reset)

    return change


def other(name, value):
    return lambda monkeypatch: monkeypatch.setattr(module, name, value)


def no_padding(monkeypatch):
    monkeypatch.setattr(module.SpeechBuffer, "keep_padding", lambda self: self.clear())


WAYS = {
    "another filter": other("SMOOTHING", 0.3),
    "a division by 32768": other("FULL_SCALE", np.float32(32768)),
    "a filter that flush leaves": without("_smoothed"),
    "counters that flush leaves": without("_loud_for"),
    "time that flush leaves": without("_timestamp"),
    "speech that flush leaves": without("_speaking"),
    "a fraction that flush leaves": without("_fraction"),
    "no padding": no_padding,
}


AUDIO = (recording("speech", 44100)[: 7 * 44100], 44100, [882, 5])


@pytest.fixture(scope="module")
def theirs_with_a_flush():
    return recorded(*AUDIO, changes=[(151, FLUSH)])


def compare(found):
    theirs, tape = found
    assert_same(replayed(tape, *AUDIO, changes=[(151, FLUSH)]), theirs, THRESHOLDS)


def test_where_ways_show_ours_is_theirs(theirs_with_a_flush):
    compare(theirs_with_a_flush)


@pytest.mark.parametrize("way", WAYS)
def test_another_way_would_be_noticed(way, theirs_with_a_flush, monkeypatch):
    WAYS[way](monkeypatch)
    with pytest.raises(AssertionError):
        compare(theirs_with_a_flush)


def test_a_resampler_that_flush_leaves_would_be_noticed(theirs_with_a_flush, monkeypatch):
    def started_once(self):
        if self._resampler is None:
            start(self)

    start = module.Detector._start_resampler
    monkeypatch.setattr(module.Detector, "_start_resampler", started_once)
    with pytest.raises(AssertionError):  # the tape of the first resampler ends at the flush
        compare(theirs_with_a_flush)
