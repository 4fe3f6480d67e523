"""Analyzers of pipecat that ride in one pool: the bits of lone ones, whatever the others do."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest
from heard import NAMES, frames, recording
from pipecat_cases import DEFAULTS, Ours, Theirs, assert_same, heard, run, watched

from lstm_fast.integrations import _sessions, _ticks
from outside import in_child

WINDOW = 512


def analyzer_of(rate=16000, **options):
    analyzer = watched(Ours, shared=True, **options)
    analyzer.set_sample_rate(rate)
    return analyzer


def pieces_of(audio, sizes=(320,)):
    return [piece.tobytes() for piece in frames(audio, sizes)]


def alone(rate, pieces):
    analyzer = watched(Ours)
    analyzer.set_sample_rate(rate)
    return run(analyzer, pieces), analyzer.windows


def speech(windows, first=60):
    return recording("speech")[first * WINDOW : (first + windows) * WINDOW]


@pytest.mark.parametrize("name", NAMES)
def test_decisions_are_theirs(name):
    theirs = watched(Theirs, sample_rate=16000)
    theirs.set_sample_rate(16000)
    ours = analyzer_of(tick=0)
    pieces = pieces_of(recording(name))
    calls = [run(one, pieces) for one in (ours, theirs)]
    assert_same(ours, theirs, calls, [DEFAULTS.confidence])


@pytest.mark.parametrize("tick", [0, 0.001])
def test_each_has_the_bits_of_a_lone_one(tick):
    cuts = ((320,), (512,), (2000, 7), (160, 160, 1100))
    tracks = [
        (rate, pieces_of(recording(name, rate)[at : at + 50000], cuts[(at // 700) % 4]))
        for at in range(0, 2800, 700)
        for name in NAMES[:2]
        for rate in (16000, 8000)
    ]

    async def main():
        analyzers = [analyzer_of(rate, tick=tick) for rate, _ in tracks]
        calls = await asyncio.gather(
            *(heard(one, pieces) for one, (_, pieces) in zip(analyzers, tracks, strict=True))
        )
        return [(call, one.windows) for call, one in zip(calls, analyzers, strict=True)]

    assert asyncio.run(main()) == [alone(*track) for track in tracks]


def test_a_tick_is_one_step_for_all():
    window, count = speech(1).tobytes(), 100

    async def main():
        analyzers = [analyzer_of() for _ in range(count)]
        tick = _ticks.tick_of_this_loop(0.002)
        for turn in range(1, 4):
            await asyncio.gather(*(one.analyze_audio(window) for one in analyzers))
            assert (tick.steps, tick.windows) == (turn, turn * count)
        assert len({one._session.pool for one in analyzers}) == 1
        assert len({tuple(one.windows) for one in analyzers}) == 1
        return analyzers[0].windows

    assert asyncio.run(main()) == alone(16000, [window] * 3)[1]


def test_calls_of_one_analyzer_keep_their_order():
    audio = speech(40)
    pieces = pieces_of(audio, (700, 5, 320, 0, 900))

    async def main():
        one = analyzer_of()
        for at in range(0, len(pieces), 7):
            await asyncio.gather(*(one.analyze_audio(piece) for piece in pieces[at : at + 7]))
        return one.windows

    assert asyncio.run(main()) == alone(16000, pieces)[1]


def test_a_call_that_is_cancelled_was_never_sent():
    pieces = pieces_of(speech(9), (512,))

    async def main():
        one, other = analyzer_of(tick=0.01), analyzer_of(tick=0.01)
        for turn, piece in enumerate(pieces):
            tasks = [asyncio.create_task(a.analyze_audio(piece)) for a in (one, other)]
            await asyncio.sleep(0)
            if turn % 3 == 1:
                tasks[0].cancel()
            await asyncio.wait(tasks)
            assert tasks[0].cancelled() == (turn % 3 == 1)
        return one.windows, other.windows

    kept = [piece for turn, piece in enumerate(pieces) if turn % 3 != 1]
    assert asyncio.run(main()) == (alone(16000, kept)[1], alone(16000, pieces)[1])


def test_cleanup_in_mid_tick_answers_and_then_releases():
    window = speech(1).tobytes()

    async def main():
        one = analyzer_of()
        task = asyncio.create_task(one.analyze_audio(window))
        await asyncio.sleep(0)
        await one.cleanup()
        assert not task.done()
        assert (await task).name == "QUIET"
        assert one._session is None
        return one.windows

    assert asyncio.run(main()) == alone(16000, [window])[1]


def test_sessions_end_with_their_analyzers(monkeypatch):
    monkeypatch.setattr(_sessions, "_pools", weakref.WeakKeyDictionary())
    monkeypatch.setattr(_sessions, "CAPACITY", 50)
    window = speech(1).tobytes()

    async def main():
        analyzers = [analyzer_of() for _ in range(70)]
        await asyncio.gather(*(one.analyze_audio(window) for one in analyzers))
        assert _ticks.tick_of_this_loop(0.002).steps == 2
        (pools,) = _sessions._pools.values()
        assert [len(pool.sessions) for pool in pools] == [50, 20]
        assert len({tuple(one.windows) for one in analyzers}) == 1
        await asyncio.gather(*(one.cleanup() for one in analyzers[:30]))
        del analyzers[50:]
        gc.collect()
        assert [len(pool.left) for pool in pools] == [30, 20]
        again = analyzer_of()
        await again.analyze_audio(window)
        assert [len(pool.sessions) for pool in pools] == [21, 20]
        assert again.windows == analyzers[40].windows

    asyncio.run(main())


def test_an_error_of_one_is_none_of_the_others():
    window = speech(1).tobytes()

    class Failing(Ours):
        def _get_smoothed_volume(self, audio):
            raise ArithmeticError("no volume")

    async def main():
        failing = Failing(shared=True)
        unset = analyzer_of()
        unset._vad_frames_num_bytes = 10  # so that its windows are refused
        good = [analyzer_of() for _ in range(3)]
        failing.set_sample_rate(16000)
        everyone = [good[0], failing, good[1], unset, good[2]]
        found = await asyncio.gather(
            *(one.analyze_audio(window) for one in everyone), return_exceptions=True
        )
        assert isinstance(found[1], ArithmeticError)
        assert isinstance(found[3], ValueError)
        return [one.windows for one in good]

    assert asyncio.run(main()) == [alone(16000, [window])[1]] * 3


def test_ctrl_c_in_a_tick_leaves_nobody_waiting():
    window = speech(1).tobytes()

    class Interrupted(Ours):
        def _get_smoothed_volume(self, audio):
            raise KeyboardInterrupt

    second = Interrupted(sample_rate=16000, shared=True)
    second.set_sample_rate(16000)
    loop = asyncio.new_event_loop()
    try:
        tasks = [
            loop.create_task(one.analyze_audio(window))
            for one in (analyzer_of(), second, analyzer_of())
        ]
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(asyncio.wait(tasks))
        loop.run_until_complete(asyncio.wait(tasks, timeout=60))
        assert [task.cancelled() for task in tasks] == [False, True, True]
    finally:
        loop.close()


def test_a_step_that_fails_for_one_fails_for_nobody_else(monkeypatch):
    """A pool takes all or none, so then each goes on alone."""
    window = speech(1).tobytes()

    def fails(self, seats, windows):
        raise RuntimeError("one of these is in use")

    monkeypatch.setattr(_sessions.Pool, "step", fails)

    async def main():
        analyzers = [analyzer_of() for _ in range(3)]
        await asyncio.gather(*(one.analyze_audio(window) for one in analyzers))
        assert _ticks.tick_of_this_loop(0.002).steps == 0
        return [one.windows for one in analyzers]

    assert asyncio.run(main()) == [alone(16000, [window])[1]] * 3


# ---- several event loops ----


def test_another_loop_continues_the_session():
    pieces = pieces_of(speech(60), (512,))
    one = analyzer_of()

    async def some(part):
        others = [analyzer_of() for _ in range(2)]  # so that its handle is another one
        for piece in part:
            await asyncio.gather(*(a.analyze_audio(piece) for a in (*others, one)))

    for at in range(0, 60, 20):
        asyncio.run(some(pieces[at : at + 20]))
    assert one.windows == alone(16000, pieces)[1]


def test_loops_in_threads_do_not_meet():
    tracks = [pieces_of(recording(NAMES[n % 2])[n * 999 : 60000], (320,)) for n in range(4)]
    found = {}

    def thread(n):
        found[n] = run(analyzer_of(), tracks[n])

    threads = [threading.Thread(target=thread, args=(n,)) for n in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == {n: alone(16000, track)[0] for n, track in enumerate(tracks)}


def test_one_that_waits_in_a_loop_is_refused_in_another():
    window = speech(1).tobytes()
    one = analyzer_of(tick=0.2)

    async def main():
        task = asyncio.create_task(one.analyze_audio(window))
        await asyncio.sleep(0)
        refused = await asyncio.to_thread(lambda: asyncio.run(attempt()))
        assert "another event loop" in str(refused)
        await task

    async def attempt():
        with pytest.raises(RuntimeError) as refused:
            await one.analyze_audio(window)
        return refused.value

    asyncio.run(main())
    assert one.windows == alone(16000, [window])[1]


def test_a_window_without_a_loop_is_the_same():
    one = analyzer_of()
    one.voice_confidence(speech(1).tobytes())
    assert one.windows == alone(16000, [speech(1).tobytes()])[1]


def test_a_loop_that_ends_with_calls_waiting_leaves_nothing():
    loops = []

    async def main():
        loops.append(weakref.ref(asyncio.get_running_loop()))
        one = analyzer_of(tick=0.5)
        task = asyncio.create_task(one.analyze_audio(speech(1).tobytes()))
        await asyncio.sleep(0)
        assert not task.done()

    asyncio.run(main())
    gc.collect()
    assert loops[0]() is None


def test_a_fork_continues_in_a_loop_of_its_own():
    pieces = pieces_of(speech(20), (512,))
    one = analyzer_of()
    run_some(one, pieces[:10])
    expected = [found for found, *_ in alone(16000, pieces)[1]]

    def rest():
        run_some(one, pieces[10:])
        return [found for found, *_ in one.windows]

    assert in_child(rest) == str(expected)
    assert rest() == expected


def run_some(analyzer, pieces):
    async def main():
        for piece in pieces:
            await analyzer.analyze_audio(piece)

    asyncio.run(main())
