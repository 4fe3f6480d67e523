"""`integrations.pipecat` beside pipecat's own analyzer: the same decisions, window by window."""

from __future__ import annotations

import asyncio
import threading
from functools import cache

import numpy as np
import pytest
from heard import NAMES, frames, recording
from pipecat_cases import DEFAULTS, Ours, Theirs, VADParams, assert_same, heard, run, watched

from lstm_fast.integrations import pipecat as module

RATES = (16000, 8000)
PIECES = {  # how a transport may cut audio, in samples
    "20 ms": lambda rate: [rate // 50],
    "a window": lambda rate: [512 * rate // 16000],
    "odd sizes": lambda rate: [1, 317, 96, 0, 700, 41],
    "seconds": lambda rate: [3 * rate, rate // 7],
}
OTHERS = [("speech", "20 ms"), ("espeak", "20 ms")]
GRID = [  # each value beside each value of every other parameter
    VADParams(confidence=c, start_secs=a, stop_secs=o, min_volume=v)
    for c, a, o, v in (
        (0.3, 0.0, 0.1, 0.0),
        (0.3, 0.0, 0.8, 0.7),
        (0.3, 0.25, 0.1, 0.7),
        (0.3, 0.25, 0.8, 0.0),
        (0.85, 0.0, 0.1, 0.7),
        (0.85, 0.0, 0.8, 0.0),
        (0.85, 0.25, 0.1, 0.0),
        (0.85, 0.25, 0.8, 0.7),
    )
]


def one_of(kind, rate, audio, sizes, params=DEFAULTS, changes=()):
    """Return an analyzer after this audio, and what its calls have found."""
    analyzer = watched(kind, params=params)
    analyzer.set_sample_rate(rate)
    return analyzer, run(analyzer, [piece.tobytes() for piece in frames(audio, sizes)], changes)


def both(*arguments, **named):
    """Return ours and theirs, and what their calls have found."""
    (ours, mine), (theirs, other) = (one_of(kind, *arguments, **named) for kind in (Ours, Theirs))
    return ours, theirs, (mine, other)


@pytest.mark.parametrize(("name", "cut"), [("mixture", cut) for cut in PIECES] + OTHERS)
@pytest.mark.parametrize("rate", RATES)
def test_decisions_are_theirs(rate, name, cut):
    audio = recording(name, rate)
    ours, theirs, calls = both(rate, audio, PIECES[cut](rate))
    assert_same(ours, theirs, calls, [DEFAULTS.confidence])
    states = {call[0] for call in calls[0]}
    assert "SPEAKING" in states or cut == "seconds"  # something happens here
    assert 0 in {window[1] for window in ours.windows} or name == "espeak"  # and it is reset


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("params", GRID, ids=lambda p: " ".join(map(str, p.model_dump().values())))
def test_decisions_are_theirs_with_other_params(params, rate):
    audio = recording("mixture", rate)
    ours, theirs, calls = both(rate, audio, [rate // 50], params)
    assert_same(ours, theirs, calls, [params.confidence])


@pytest.mark.parametrize("rate", RATES)
def test_params_change_in_mid_stream_and_the_model_goes_on(rate):
    loose = VADParams(confidence=0.2, start_secs=0.0, stop_secs=1.0, min_volume=0.1)
    audio = recording("speech", rate)
    changes = [(n, lambda a, p=p: a.set_params(p)) for n, p in [(70, loose), (71, DEFAULTS)]]
    changes += [(n, lambda a: a.set_params(loose)) for n in (200, 333, 500)]
    ours, theirs, calls = both(rate, audio, [rate // 50], changes=changes)
    assert_same(ours, theirs, calls, [DEFAULTS.confidence, loose.confidence])
    plain = both(rate, audio, [rate // 50])[0]
    assert calls[0] != run(watched_again(plain, rate), pieces_of(audio, rate))


def watched_again(analyzer, rate):
    again = watched(Ours, params=analyzer.params)
    again.set_sample_rate(rate)
    return again


def pieces_of(audio, rate):
    return [piece.tobytes() for piece in frames(audio, [rate // 50])]


def test_another_rate_in_mid_stream_begins_anew():
    audio = recording("speech")
    changes = [(n, lambda a, r=r: a.set_sample_rate(r)) for n, r in ((90, 8000), (101, 16000))]
    changes.append((200, lambda a: (a.set_sample_rate(8000), a.set_sample_rate(16000))))
    ours, theirs, calls = both(16000, audio, [320], changes=changes)
    assert_same(ours, theirs, calls, [DEFAULTS.confidence])


def test_bytes_may_be_cut_anywhere():
    audio = recording("speech")[:60000].tobytes()
    pieces = [audio[a : a + 333] for a in range(0, len(audio), 333)]
    analyzers, calls = [], []
    for kind in (Ours, Theirs):
        analyzer = watched(kind, sample_rate=16000)
        analyzer.set_sample_rate(16000)
        calls.append(run(analyzer, pieces))
        analyzers.append(analyzer)
    assert_same(*analyzers, calls, [DEFAULTS.confidence])


# ---- negative controls: another rule gives other windows ----


RULES = {
    "never": {"RESET_SECONDS": 1e9},
    "a little later": {"RESET_SECONDS": 2.05},
    "at a higher probability": {"RESET_BELOW": 0.5},
    "after fewer windows": {"RESET_WINDOWS": 1},
    "after more windows": {"RESET_WINDOWS": 40},
    "a division by 32767": {"FULL_SCALE": np.float32(1 / 32767)},
}


class WhileSpeaking(Ours):
    def _is_reset_due(self):
        before, self._vad_state = self._vad_state, module.VADState.QUIET
        try:
            return super()._is_reset_due()
        finally:
            self._vad_state = before


class ResetByParams(Ours):
    def set_params(self, params):
        super().set_params(params)
        self._session = None


@pytest.mark.parametrize("rule", RULES)
def test_another_rule_would_be_noticed(rule, monkeypatch):
    for name, value in RULES[rule].items():
        monkeypatch.setattr(module, name, value)
    with pytest.raises(AssertionError):
        compare_where_rules_show(Ours)


@pytest.mark.parametrize("kind", [WhileSpeaking, ResetByParams])
def test_another_reset_would_be_noticed(kind):
    with pytest.raises(AssertionError):
        compare_where_rules_show(kind)


def test_where_rules_show_ours_is_theirs():
    compare_where_rules_show(Ours)


def compare_where_rules_show(kind):
    """Once with pauses that are too short to end speech, once where nothing is ever loud enough.

    (Whether a reset clears the counter of quiet windows cannot be seen: the next one is due 63
    windows later, and by then both counters are past 5, or neither is.)
    """
    for arguments, theirs, other in where_rules_show():
        ours, mine = one_of(kind, *arguments)
        assert_same(ours, theirs, (mine, other), [DEFAULTS.confidence])


@cache
def where_rules_show():
    speech = recording("speech")
    audio = np.concatenate([np.zeros(2 * 16000, np.int16), speech, speech[: 4 * 16000]])
    found = []
    for params in (VADParams(stop_secs=3.0), VADParams(min_volume=1.0)):
        changes = [(300, lambda a, p=params: a.set_params(p))]
        arguments = (16000, audio, [320], params, changes)
        found.append((arguments, *one_of(Theirs, *arguments)))
    return found


# ---- in pipecat ----


@pytest.mark.parametrize("options", [{}, {"shared": True, "tick": 0}], ids=["inline", "shared"])
def test_its_controller_tells_the_same(options):
    from pipecat.audio.vad.vad_controller import VADController
    from pipecat.frames.frames import InputAudioRawFrame

    async def main(analyzer):
        analyzer.set_sample_rate(16000)
        controller, told = VADController(analyzer, audio_idle_timeout=0), []
        for name in ("on_speech_started", "on_speech_stopped"):

            async def tell(_, name=name):
                told.append((number, name))

            controller.add_event_handler(name, tell)
        for number, piece in enumerate(pieces_of(recording("speech"), 16000)):  # noqa: B007
            frame = InputAudioRawFrame(audio=piece, sample_rate=16000, num_channels=1)
            await controller.process_frame(frame)
        await controller.cleanup()
        return told

    told = asyncio.run(main(Ours(**options)))
    assert told == asyncio.run(main(Theirs()))
    assert len(told) >= 6


# ---- sessions, threads, errors ----


def alone(rate, audio):
    analyzer = watched(Ours)
    analyzer.set_sample_rate(rate)
    return run(analyzer, pieces_of(audio, rate)), analyzer.windows


def test_interleaved_analyzers_have_the_bits_of_lone_ones():
    tracks = [(rate, recording(name, rate)[:80000]) for rate in RATES for name in NAMES[:2]]
    expected = [alone(*track) for track in tracks]

    async def main():
        analyzers = []
        for rate, _ in tracks:
            analyzers.append(watched(Ours))
            analyzers[-1].set_sample_rate(rate)
        jobs = [
            heard(analyzer, pieces_of(audio, rate))
            for analyzer, (rate, audio) in zip(analyzers, tracks, strict=True)
        ]
        found = await asyncio.gather(*jobs)
        return [(one, a.windows) for one, a in zip(found, analyzers, strict=True)]

    assert asyncio.run(main()) == expected


def test_no_thread_is_started():
    before = set(threading.enumerate())
    alone(16000, recording("speech")[:16000])
    assert set(threading.enumerate()) == before


def test_it_stays_in_the_callers_thread():
    threads = set()

    class Named(Ours):
        def voice_confidence(self, buffer):
            threads.add(threading.current_thread())
            return super().voice_confidence(buffer)

    analyzer = Named(sample_rate=8000)
    analyzer.set_sample_rate(8000)

    async def main():
        await analyzer.analyze_audio(bytes(512))

    asyncio.run(main())
    assert threads == {threading.current_thread()}


@pytest.mark.parametrize("rate", [0, 44100, 24000, 11025, -8000])
def test_other_rates_are_refused(rate):
    with pytest.raises(ValueError, match=f"is {rate}, Silero VAD takes 8000 or 16000"):
        Ours(sample_rate=rate)
    analyzer = Ours()
    with pytest.raises(ValueError, match=f"is {rate}, Silero VAD takes 8000 or 16000"):
        analyzer.set_sample_rate(rate)
    assert analyzer.sample_rate == 0


def test_the_constructors_rate_counts():
    analyzer = Ours(sample_rate=8000)
    analyzer.set_sample_rate(16000)
    assert (analyzer.sample_rate, analyzer.num_frames_required()) == (8000, 256)


def test_without_a_rate_it_says_what_to_call():
    analyzer = Ours()
    with pytest.raises(RuntimeError, match="call set_sample_rate"):
        asyncio.run(analyzer.analyze_audio(bytes(1024)))
    with pytest.raises(RuntimeError, match="call set_sample_rate"):
        analyzer.voice_confidence(bytes(1024))


@pytest.mark.parametrize("rate", RATES)
def test_a_window_of_another_size_is_refused_and_changes_nothing(rate):
    first, second = Ours(), Ours()
    window = recording("speech", rate)[rate : rate + 512 * rate // 16000].tobytes()
    for analyzer in (first, second):
        analyzer.set_sample_rate(rate)
        analyzer.voice_confidence(window)
    for wrong in (b"", window[:-1], window + b"\0\0"):
        with pytest.raises(ValueError, match=f"has {len(wrong)} bytes"):
            first.voice_confidence(wrong)
    assert first.voice_confidence(window) == second.voice_confidence(window)
    first.set_sample_rate(24000 - rate)
    with pytest.raises(ValueError, match=f"has {len(window)} bytes"):
        first.voice_confidence(window)
    first.set_sample_rate(rate)
    assert first.voice_confidence(window) == second.voice_confidence(window)


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_no_bytes_is_refused(shared):
    analyzer = Ours(sample_rate=16000, shared=shared)
    analyzer.set_sample_rate(16000)
    audio = recording("speech")[:512]

    async def main():
        for wrong in (audio, audio / 32768.0, memoryview(audio / 32768.0), "text", None, 7):
            with pytest.raises(TypeError, match="expected bytes of int16, found"):
                await analyzer.analyze_audio(wrong)
        assert analyzer._vad_buffer == b""
        for right in (bytearray(audio), memoryview(audio), memoryview(audio.tobytes())):
            await analyzer.analyze_audio(right)
        assert analyzer._windows_since_reset == 3

    asyncio.run(main())


@pytest.mark.parametrize("shared", [False, True])
def test_after_cleanup_it_is_refused_as_theirs_is(shared):
    for kind, options in ((Ours, {"shared": shared}), (Theirs, {})):
        analyzer = kind(sample_rate=16000, **options)
        analyzer.set_sample_rate(16000)

        async def main(analyzer=analyzer):
            await analyzer.analyze_audio(bytes(2048))
            await analyzer.cleanup()
            await analyzer.cleanup()
            with pytest.raises(RuntimeError):
                await analyzer.analyze_audio(bytes(2048))

        asyncio.run(main())
